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

"""Batches of the examples of concurrent requests, run by one thread.

Requests wait in one queue. The thread takes the oldest example and others of
its signature, up to the size of a batch, in their order; while there are fewer,
it waits a few milliseconds for more. Examples are independent of each other, so
that a request may be spread over batches and share them with others.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math
import threading
import time
from typing import Any

# Of a model's signature, an example is a text for each of its inputs.
Example = Sequence[str]


class QueueIsFull(Exception):
  """A request is refused because too many examples are not answered yet.

  Attributes:
    num_examples: how many are not.
    seconds: after which it may be tried again.
  """

  def __init__(self, num_examples: int, seconds: int):
    super().__init__(num_examples, seconds)
    self.num_examples = num_examples
    self.seconds = seconds


class IsClosed(Exception):
  """A request is refused because no more are taken."""


class Request:
  """The examples of one request, and their results as they come.

  Attributes:
    signature: the signature that they are for.
    examples: the examples.
    results: a result for each of them, once `wait` has returned True and there
      is no error.
    error: what has become of the request instead; None for nothing.
    is_cancelled: whether nobody waits for the results any more.
  """

  def __init__(self, signature: str, examples: Sequence[Example]):
    self.signature = signature
    self.examples = examples
    self.results: list[Any] = [None] * len(examples)
    self.error: Exception | None = None
    self.is_cancelled = False
    self._num_missing = len(examples)
    self._ended = threading.Event()

  @property
  def is_of_use(self) -> bool:
    """Whether more results would change anything."""
    return not self.is_cancelled and self.error is None

  def wait(self, seconds: float) -> bool:
    """Waits for the results, or the error, and returns whether they came."""
    return self._ended.wait(seconds)

  def cancel(self):
    """Has the examples skipped that are not in a batch yet."""
    self.is_cancelled = True

  def finish(self, index: int, result: Any):
    """Takes the result of an example, in the batcher's thread."""
    self.results[index] = result
    self._num_missing -= 1
    if not self._num_missing:
      self._ended.set()

  def fail(self, error: Exception):
    """Ends the request without its results."""
    self.error = error
    self._ended.set()


@dataclasses.dataclass(frozen=True)
class _Queued:
  """An example that waits: its request, its place there, since when."""

  request: Request
  index: int
  since: float


@dataclasses.dataclass(frozen=True)
class Batch:
  """What is said of a batch that was run.

  Attributes:
    signature: its signature.
    num_examples: its examples.
    seconds: the time that it took.
    error: what the model has raised; None for nothing.
  """

  signature: str
  num_examples: int
  seconds: float
  error: Exception | None


class Batcher:
  """A queue of examples, and the thread that runs a model on its batches."""

  def __init__(
      self,
      run: Callable[[str, Sequence[Example]], Sequence[Any]],
      batch_size: int,
      wait_seconds: float,
      queue_size: int,
      on_batch: Callable[[Batch], None] = lambda batch: None,
  ):
    """Creates the queue and starts the thread.

    Args:
      run: the model: a signature and examples for it to a result for each.
      batch_size: the most examples of a batch.
      wait_seconds: how long an example waits for others to fill its batch.
      queue_size: how many examples may wait or be in a batch.
      on_batch: is told of each batch, in the thread.
    """
    self._run = run
    self._batch_size = batch_size
    self._wait_seconds = wait_seconds
    self._queue_size = queue_size
    self._on_batch = on_batch
    self._queue: list[_Queued] = []
    self._running: list[_Queued] = []
    self._changed = threading.Condition()
    self._is_closed = False
    self._seconds_of_last = 0.0
    self._thread = threading.Thread(target=self._work, daemon=True)
    self._thread.start()

  @property
  def num_queued(self) -> int:
    """How many examples wait."""
    return len(self._queue)

  def submit(self, signature: str, examples: Sequence[Example]) -> Request:
    """Puts a request into the queue.

    Args:
      signature: the signature that its examples are for.
      examples: one or more.

    Returns:
      the request, to be waited for.

    Raises:
      QueueIsFull: there is no room for all of its examples.
      IsClosed: the batcher is closed.
    """
    request = Request(signature, examples)
    now = time.monotonic()
    with self._changed:
      if self._is_closed:
        raise IsClosed()
      self._drop_useless()
      taken = len(self._queue) + len(self._running)
      if taken + len(examples) > self._queue_size:
        raise QueueIsFull(taken, self._seconds_to_empty(taken))
      self._queue += [_Queued(request, i, now) for i in range(len(examples))]
      self._changed.notify_all()
    return request

  def close(self, seconds: float) -> int:
    """Takes no more requests and ends when those that wait are answered.

    Args:
      seconds: how long that may take; the others then fail.

    Returns:
      how many examples were not answered.
    """
    with self._changed:
      self._is_closed = True
      self._changed.notify_all()
    self._thread.join(seconds)
    if not self._thread.is_alive():
      return 0
    with self._changed:
      left, self._queue = self._queue, []
      running, self._running = self._running, []
    for item in (*running, *left):
      item.request.fail(IsClosed())
    return len(running) + len(left)

  def _seconds_to_empty(self, num_examples: int) -> int:
    """How long examples last if their batches take as long as the last one."""
    batches = math.ceil(num_examples / self._batch_size)
    return max(1, math.ceil(batches * self._seconds_of_last))

  def _work(self):
    while batch := self._next_batch():
      self._run_batch(batch)

  def _next_batch(self) -> list[_Queued]:
    """Waits for a batch and takes it off the queue; it is empty at the end."""
    with self._changed:
      while True:
        self._drop_useless()
        batch = self._first_batch()
        if not batch and self._is_closed:
          return []
        seconds = None
        if batch:
          seconds = batch[0].since + self._wait_seconds - time.monotonic()
          if (
              seconds <= 0
              or len(batch) == self._batch_size
              or self._is_closed  # Nothing more will come.
          ):
            taken = set(map(id, batch))
            self._queue = [x for x in self._queue if id(x) not in taken]
            self._running = batch
            return batch
        self._changed.wait(seconds)

  def _drop_useless(self):
    self._queue = [x for x in self._queue if x.request.is_of_use]

  def _first_batch(self) -> list[_Queued]:
    """The oldest example, and the next ones of its signature."""
    if not self._queue:
      return []
    signature = self._queue[0].request.signature
    same = [x for x in self._queue if x.request.signature == signature]
    return same[: self._batch_size]

  def _run_batch(self, batch: Sequence[_Queued]):
    signature = batch[0].request.signature
    start = time.monotonic()
    error = None
    try:
      results = self._run(
          signature, [x.request.examples[x.index] for x in batch]
      )
      if len(results) != len(batch):
        raise ValueError(
            f"{len(results)} results for a batch of {len(batch)} examples"
        )
    except Exception as raised:  # pylint: disable=broad-exception-caught
      error = raised
    self._seconds_of_last = time.monotonic() - start
    self._on_batch(Batch(signature, len(batch), self._seconds_of_last, error))
    with self._changed:
      self._running = []
    for number, item in enumerate(batch):
      if error is not None:
        item.request.fail(error)
      elif item.request.error is None:
        item.request.finish(item.index, results[number])
