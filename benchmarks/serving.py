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

"""What do clients of a server wait, one at a time and many at once?

The command line, as a user types it: a model is trained for a step, exported,
and served; each request has one text and is decoded greedily. An exported model
computes as many rows at a time as its batch size says.
"""

from collections.abc import Iterator, Sequence
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple

import rich.progress

from benchmarks import contest
from benchmarks import models
from benchmarks import program
from benchmarks import questions

_MODEL = (
    "--gin_file=models/switch_tiny.gin",
    f"--gin_file={program.SMALL_TEXT}",
    "--gin_param=num_cores = 1",
    # Outputs depend on the inputs, without training: with tied embeddings each
    # token would predict itself.
    "--gin_param=initializer_scale = 1.0",
    "--gin_param=Unitransformer.shared_embedding_and_softmax_weights = False",
)
_TOKENS = 32
# All outputs have as many tokens.
_DECODING = (
    f"--gin_param=Bitransformer.decode.max_decode_length = {_TOKENS}",
    "--gin_param=Unitransformer.sample_autoregressive.stop_at_token = -1",
)
_BATCH_SIZES = (1, 8)
_CLIENTS = (1, 4, 16)
# Of all clients in a round, and the texts that they have.
_REQUESTS = 64
_WORDS = "return the sum of two lists a file with names and values".split()
_ADDRESS = re.compile(r"http://\S+:(\d+)")


class Answers(NamedTuple):
  """What clients have got.

  Attributes:
    outputs: of each request, in the order of the texts.
    latencies: the seconds of each.
    seconds: those of all together.
  """

  outputs: Sequence[str]
  latencies: Sequence[float]
  seconds: float


def ask(port: int, texts: Sequence[str], num_clients: int) -> Answers:
  """Sends a request for each text, each client one after the other.

  Args:
    port: of the server on this machine.
    texts: the texts.
    num_clients: the clients, which keep their connections.

  Returns:
    the answers.
  """
  own = threading.local()
  connections = []

  def send(text):
    if not hasattr(own, "connection"):
      own.connection = http.client.HTTPConnection("127.0.0.1", port)
      connections.append(own.connection)
    start = time.perf_counter()
    own.connection.request("POST", "/v1/decode", json.dumps({"inputs": text}))
    response = own.connection.getresponse()
    body = json.loads(response.read())
    latency = time.perf_counter() - start
    if response.status != 200:
      raise contest.ContenderError(f"the server: {body['error']}")
    return body["outputs"][0], latency

  start = time.perf_counter()
  with concurrent.futures.ThreadPoolExecutor(num_clients) as pool:
    answers = list(pool.map(send, texts))
  seconds = time.perf_counter() - start
  for connection in connections:
    connection.close()
  return Answers(*zip(*answers), seconds)


def row(
    batch_size: int, num_clients: int, rounds: Sequence[Answers]
) -> dict[str, object]:
  """The row of the results of some clients of a server.

  Args:
    batch_size: the rows that it computes at a time.
    num_clients: the clients.
    rounds: their answers in each round.
  """
  latencies = sorted(x for answers in rounds for x in answers.latencies)
  *_, last = statistics.quantiles(latencies, n=20, method="inclusive")
  return {
      "batch": batch_size,
      "clients": num_clients,
      "seconds": contest.spread(latencies),
      "seconds_95": last,
      "requests_per_second": statistics.median(
          len(x.latencies) / x.seconds for x in rounds
      ),
  }


def _texts() -> list[str]:
  """Different texts of one to ten words."""
  words = _WORDS * 8
  return [
      " ".join(words[i : i + 1 + i % 10]) + f" {i}" for i in range(_REQUESTS)
  ]


@contextlib.contextmanager
def _server(exported: pathlib.Path) -> Iterator[int]:
  """Serves an export; yields the port."""
  process = subprocess.Popen(
      program.command("--mode=serve", f"--saved_model={exported}", "--port=0"),
      stderr=subprocess.PIPE,
      text=True,
  )
  try:
    lines = []
    for line in process.stderr:
      lines.append(line)
      if found := _ADDRESS.search(line):
        yield int(found[1])
        break
    else:
      raise program.failed("".join(lines))
  finally:
    process.send_signal(signal.SIGTERM)
    process.communicate()


def answer(
    session: contest.Contest, quick: bool, rounds: int
) -> questions.Findings:
  """Serves an export for each batch size; there are no other contenders."""
  del session
  bindings = models.QUICK_TEXT if quick else []
  model = [*_MODEL, *(f"--gin_param={x}" for x in bindings)]
  texts = _texts()
  measured = {}
  with (
      tempfile.TemporaryDirectory() as directory,
      contextlib.ExitStack() as stack,
  ):
    of_model = [f"--model_dir={directory}/model", *model]
    program.run(*of_model, "--gin_param=train_steps = 1")
    ports = {}
    for batch_size in _BATCH_SIZES:
      exported = pathlib.Path(directory, f"export_{batch_size}")
      program.run(
          "--mode=export",
          f"--output_dir={exported}",
          *of_model,
          *_DECODING,
          f"--gin_param=batch_size = {batch_size}",
      )
      ports[batch_size] = stack.enter_context(_server(exported))
    for _ in rich.progress.track(range(rounds), "serving", transient=True):
      for batch_size, port in ports.items():
        for clients in _CLIENTS:
          answers = ask(port, texts, clients)
          measured.setdefault((batch_size, clients), []).append(answers)
  outputs, *others = {
      x.outputs for of_case in measured.values() for x in of_case
  }
  if others:
    raise contest.ContenderError("the server's answers depend on its clients.")
  rows = [row(*case, of_case) for case, of_case in measured.items()]
  speeds = {(x["batch"], x["clients"]): x["requests_per_second"] for x in rows}
  small, large, many = _BATCH_SIZES[0], _BATCH_SIZES[-1], _CLIENTS[-1]
  goals = [
      questions.goal(
          f"{many} clients, {large} rows at a time: requests per second "
          f"relative to one client, {alone} at a time",
          speeds[large, many] / speeds[alone, 1],
      )
      for alone in (large, small)
  ]
  shapes = {
      "requests": len(texts),
      "different outputs": len(set(outputs)),
      "tokens": _TOKENS,
  }
  return questions.Findings(shapes, rows, goals)


QUESTION = questions.Question("serving", __doc__, 3, answer)

if __name__ == "__main__":
  questions.run([QUESTION])
