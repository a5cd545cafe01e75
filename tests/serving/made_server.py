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

"""A small SavedModel with the signatures of an exported model, and clients."""

import mtf_switch  # isort: skip  # noqa: F401
from collections.abc import Mapping
import contextlib
import http.client
import json
import threading
from typing import Any

import tensorflow as tf2

from mtf_switch.serving import application as application_lib
from mtf_switch.serving import batching
from mtf_switch.serving import bodies
from mtf_switch.serving import http_server
from mtf_switch.serving import served_model

# More than a test takes: nothing here waits for it in vain.
LONG = 20
LIMITS = bodies.Limits(examples=4, characters=20)


def write(directory, has_texts: bool = True):
  """Writes a SavedModel that decodes texts to upper case, or as they are.

  It fails for the text "fail". The score is the difference of the lengths, NaN
  for an empty target. Tokens are words.

  Args:
    directory: where to write it.
    has_texts: whether it has more than ids.
  """
  texts = tf2.TensorSpec([None], tf2.string)

  @tf2.function(input_signature=[texts])
  def greedy(inputs):
    tf2.debugging.assert_none_equal(inputs, "fail", message="it fails")
    return {"outputs": tf2.strings.upper(inputs)}

  @tf2.function(input_signature=[texts])
  def beam(inputs):
    return {"outputs": tf2.strings.join(["beam of ", inputs])}

  @tf2.function(input_signature=[texts, texts])
  def score(inputs, targets):
    inputs, targets = (
        tf2.cast(tf2.strings.length(x, "UTF8_CHAR"), tf2.float32)
        for x in (inputs, targets)
    )
    return {"scores": (inputs - targets) * targets / targets}

  @tf2.function(input_signature=[texts])
  def tokenize(inputs):
    words = tf2.strings.split(inputs)
    return {"ids": words.to_tensor(), "lengths": words.row_lengths()}

  @tf2.function(input_signature=[tf2.TensorSpec([None, None], tf2.int32)])
  def greedy_ids(inputs):
    return {"outputs": inputs + 1}

  signatures = {"greedy_ids": greedy_ids}
  if has_texts:
    signatures |= {
        "serving_default": greedy,
        "greedy": greedy,
        "beam": beam,
        "score": score,
        "tokenize": tokenize,
    }
  tf2.saved_model.save(tf2.Module(), str(directory), signatures)


class Upper:
  """A model in Python that decodes to upper case, or backwards.

  It fails for texts that have "fail", and tokens are words.

  Attributes:
    batches: the signature and the size of each batch that was run.
  """

  signatures = {
      "greedy": served_model.Signature(("inputs",), "outputs"),
      "beam": served_model.Signature(("inputs",), "outputs"),
      "score": served_model.Signature(("inputs", "targets"), "scores"),
  }
  decodings = ["greedy", "beam"]
  facts = {"step": 7, "vocabularies": {"inputs": {"path": "/home"}}}
  most_tokens = 3

  def __init__(self):
    self.batches = []

  def count_tokens(self, texts):
    return [len(text.split()) for text in texts]

  def run(self, signature, examples):
    self.batches.append((signature, len(examples)))
    if any("fail" in text for example in examples for text in example):
      raise ValueError("this text\nis no text")
    if signature == "score":
      return [float(len(x) - len(y)) for x, y in examples]
    return [
        x.upper() if signature == "greedy" else x[::-1] for (x,) in examples
    ]


class Held:
  """A model that waits at each batch until it is let go.

  Attributes:
    entered: is set while it waits.
  """

  def __init__(self):
    self.model = Upper()
    self.entered = threading.Event()
    self._go = threading.Semaphore(0)

  def run(self, signature, examples):
    self.entered.set()
    assert self._go.acquire(timeout=LONG)
    return self.model.run(signature, examples)

  def let_go(self, times=1):
    self.entered.clear()
    self._go.release(times)


@contextlib.contextmanager
def batcher(run, **options):
  options = {"batch_size": 4, "wait_seconds": 0, "queue_size": 10} | options
  made = batching.Batcher(run, **options)
  yield made
  made.close(LONG)


@contextlib.contextmanager
def busy(**options):
  """A batcher whose model is at work on a text "first"."""
  held = Held()
  with batcher(held.run, **options) as queue:
    first = queue.submit("greedy", [("first",)])
    assert held.entered.wait(LONG)
    yield held, queue
    held.let_go(100)
    assert first.wait(LONG)


@contextlib.contextmanager
def served(run, model=None, host="127.0.0.1", num_waiting=16, **options):
  """A server on a free port; yields it and its application.

  Args:
    run: runs the model on a batch.
    model: the model; None for `Upper`.
    host: where it listens.
    num_waiting: how many requests can wait.
    **options: the batcher's.
  """
  options = {"batch_size": 8, "wait_seconds": 0, "queue_size": 100} | options
  limits = bodies.Limits(examples=4, characters=200) if model else LIMITS
  application = application_lib.Application(limits, LONG, is_local=True)
  on_batch = application.measures.add_batch
  queue = batching.Batcher(run, on_batch=on_batch, **options)
  server = http_server.Server(
      application, host, 0, num_waiting, request_bytes=2_000
  )
  with server:
    application.open(model or Upper(), queue)
    yield server, application
    queue.close(LONG)


def ask(
    server: http_server.Server, path: str, body: Any = None
) -> tuple[int, Any, Mapping[str, str]]:
  """Sends a request; returns the status, the JSON, and the headers."""
  connection = http.client.HTTPConnection(
      server.address.removeprefix("http://"), timeout=20
  )
  with contextlib.closing(connection):
    if body is None:
      connection.request("GET", path)
    else:
      connection.request("POST", path, json.dumps(body))
    response = connection.getresponse()
    return response.status, json.loads(response.read()), response.headers
