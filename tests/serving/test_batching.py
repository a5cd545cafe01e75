# Copyright 2026 The mtf_switch Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Batches of concurrent requests."""

import mtf_switch  # isort: skip  # noqa: F401
import time

import pytest

from mtf_switch.serving import batching
from tests.serving import made_server as made


def examples(*texts):
  return [(text,) for text in texts]


def test_what_waits_shares_batches_in_its_order():
  with made.busy() as (held, queue):
    requests = [
        queue.submit("greedy", examples("a", "b", "c")),
        queue.submit("beam", examples("xy")),
        queue.submit("greedy", examples("d", "e")),
    ]
    assert queue.num_queued == 6
    held.let_go(4)
    assert all(request.wait(made.LONG) for request in requests)
    assert [x.results for x in requests] == [
        ["A", "B", "C"],
        ["yx"],
        ["D", "E"],
    ]
  # Four fit; beam is older than what is left of greedy.
  assert held.model.batches == [
      ("greedy", 1),
      ("greedy", 4),
      ("beam", 1),
      ("greedy", 1),
  ]


def test_an_example_waits_for_others_unless_its_batch_is_full():
  model = made.Upper()
  with made.batcher(model.run, batch_size=2, wait_seconds=made.LONG) as queue:
    one = queue.submit("greedy", examples("a"))
    assert not one.wait(0.05)
    other = queue.submit("greedy", examples("b"))
    assert one.wait(made.LONG / 2) and other.wait(made.LONG / 2)
  assert model.batches == [("greedy", 2)]


def test_the_wait_for_others_ends():
  with made.batcher(made.Upper().run, wait_seconds=0.02) as queue:
    start = time.monotonic()
    assert queue.submit("greedy", examples("a")).wait(made.LONG)
    assert 0.02 <= time.monotonic() - start < made.LONG / 2


def test_a_batch_that_fails_fails_its_own_requests():
  told = []
  with made.batcher(
      made.Upper().run, batch_size=2, on_batch=told.append
  ) as queue:
    bad = queue.submit("greedy", examples("a", "b", "fail"))
    assert bad.wait(made.LONG)
    assert isinstance(bad.error, ValueError)
    good = queue.submit("greedy", examples("c"))
    assert good.wait(made.LONG) and good.results == ["C"] and not good.error
  assert [(x.num_examples, x.error) for x in told] == [
      (2, None),
      (1, bad.error),
      (1, None),
  ]


def test_results_that_are_too_few_are_an_error():
  with made.batcher(lambda signature, rows: rows[1:]) as queue:
    request = queue.submit("greedy", examples("a", "b"))
    assert request.wait(made.LONG)
    assert str(request.error) == "1 results for a batch of 2 examples"


def test_what_nobody_waits_for_is_skipped():
  with made.busy(batch_size=2) as (held, queue):
    gone = queue.submit("greedy", examples("a", "b", "c"))
    kept = queue.submit("greedy", examples("d"))
    gone.cancel()
    held.let_go(2)
    assert kept.wait(made.LONG) and kept.results == ["D"]
  assert held.model.batches == [("greedy", 1), ("greedy", 1)]
  assert not gone.wait(0)


def test_a_queue_has_an_end_and_says_how_long_it_lasts():
  with made.busy(queue_size=6) as (_, queue):
    queue.submit("greedy", examples("a", "b"))
    with pytest.raises(batching.QueueIsFull) as full:
      queue.submit("greedy", examples("c", "d", "e", "f"))
    assert (full.value.num_examples, full.value.seconds) == (3, 1)
    gone = queue.submit("greedy", examples("c", "d", "e"))
    gone.cancel()  # Its room is free again.
    queue.submit("greedy", examples("f", "g", "h"))
    queue._seconds_of_last = 2.5
    with pytest.raises(batching.QueueIsFull) as full:
      queue.submit("greedy", examples("i"))
    assert full.value.seconds == 5  # Two batches of six.


def test_closing_answers_what_waits():
  model = made.Upper()
  queue = batching.Batcher(model.run, 4, wait_seconds=made.LONG, queue_size=10)
  waiting = queue.submit("greedy", examples("a"))
  assert queue.close(made.LONG) == 0
  assert waiting.wait(0) and waiting.results == ["A"]
  with pytest.raises(batching.IsClosed):
    queue.submit("greedy", examples("b"))


def test_closing_does_not_wait_for_ever():
  held = made.Held()
  queue = batching.Batcher(held.run, 1, wait_seconds=0, queue_size=10)
  waiting = queue.submit("greedy", examples("a", "b", "c"))
  assert held.entered.wait(made.LONG)
  assert queue.close(0.01) == 3
  assert waiting.wait(0) and isinstance(waiting.error, batching.IsClosed)
  held.let_go(3)
  queue._thread.join(made.LONG)
  assert not queue._thread.is_alive()
  assert held.model.batches == [("greedy", 1)]
