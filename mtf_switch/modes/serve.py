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

"""The mode that serves an exported model over HTTP, configured by gin."""

import time

import gin
import rich.console

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.serving import application as application_lib
from mtf_switch.serving import batching
from mtf_switch.serving import bodies
from mtf_switch.serving import http_server
from mtf_switch.serving import served_model
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import stopping

# Of a model that does not say it.
_BATCH_SIZE = 16
_SECONDS_OF_LOOKS = 0.1
# Beyond those for the queue, to send the last answers.
_SECONDS_TO_SEND = 2.0


@gin.configurable(module="mtf_switch.modes")
@values.checked
def serve(
    run: run_lib.Run,
    console: rich.console.Console,
    saved_model: str,
    host: str = "127.0.0.1",
    port: int = 8500,
    batch_size: values.Count | None = None,
    batch_milliseconds: values.NotNegative = 5.0,
    queue_examples: values.Count = 128,
    request_examples: values.Count = 64,
    request_bytes: values.Count = 2**20,
    characters: values.Count = 10_000,
    request_seconds: values.Positive = 60.0,
    shutdown_seconds: values.NotNegative = 30.0,
):
  """Serves a SavedModel over HTTP until a signal comes.

  Args:
    run: the run, of which nothing is needed.
    console: the console for what is served, and for what goes wrong.
    saved_model: what --mode=export has written; see served_model.ServedModel.
    host: the address to listen at, or its name.
    port: the port; 0 for one that is free.
    batch_size: the most examples that the model is run on at once; None for
      what it was exported with.
    batch_milliseconds: how long an example waits for others to fill its batch.
    queue_examples: how many examples may wait or be in a batch; requests beyond
      are refused.
    request_examples: the most examples of a request.
    request_bytes: the most bytes of a request's body.
    characters: the most characters of a text.
    request_seconds: how long a request may take.
    shutdown_seconds: how long the examples that wait may take after a signal.

  Raises:
    UserError: the directory has no model that can be served, or the address
      cannot be used.
    KeyboardInterrupt: a signal has come, and what waited is answered.
  """
  del run
  if request_examples > queue_examples:
    raise errors.UserError(
        f"serve.request_examples = {request_examples:,} is more than "
        f"serve.queue_examples = {queue_examples:,}, so that such a request "
        "would never be taken; lower the one or raise the other."
    )
  files.check_directory(saved_model, f"--saved_model={saved_model}")
  limits = bodies.Limits(request_examples, characters)
  is_local = application_lib.is_loopback(host)
  application = application_lib.Application(
      limits,
      request_seconds,
      is_local,
      lambda text: terminal.say(console, text),
  )
  server = http_server.Server(
      application, host, port, queue_examples, request_bytes
  )
  with server, stopping.Request() as stop:
    if not is_local:
      terminal.say(
          console,
          f"warning: --host={host} lets whoever reaches it use the model; this "
          "server asks for no name and encrypts nothing.",
      )
    with progress.Display(console) as display:
      with display.working("loading the model"):
        model = served_model.ServedModel(saved_model)
        model.warm_up()
    batcher = batching.Batcher(
        model.run,
        batch_size or model.facts.get("batch_size", _BATCH_SIZE),
        batch_milliseconds / 1000,
        queue_examples,
        lambda batch: _note(console, application, batch),
    )
    with stop.deferring(True):
      application.open(model, batcher)
      terminal.say(
          console,
          f"serving {', '.join(model.signatures)} of {model.directory} "
          f"at {server.address}; Ctrl-C ends it.",
      )
      while not stop.signal:
        time.sleep(_SECONDS_OF_LOOKS)
      application.drain()
      if lost := batcher.close(shutdown_seconds):
        terminal.say(
            console,
            f"examples that were not answered in {shutdown_seconds:g} s: "
            f"{lost:,}.",
        )
      server.close(_SECONDS_TO_SEND)
    stop.act()


def _note(
    console: rich.console.Console,
    application: application_lib.Application,
    batch: batching.Batch,
):
  """Counts a batch, and says of one that failed why."""
  application.measures.add_batch(batch)
  if batch.error is not None:
    terminal.say(
        console,
        f"a batch of {batch.num_examples} failed ({batch.signature}): "
        f"{errors.shown(str(batch.error) or repr(batch.error))}",
    )
