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

"""The mode, from its start to the signal that ends it."""

import mtf_switch  # isort: skip  # noqa: F401
import concurrent.futures
import http.client
import io
import json
import os
import re
import signal
import socket
import threading
import time
import urllib.request

import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.modes import serve
from mtf_switch.serving import served_model
from tests.serving import made_server as made

# The signals that this process gets outside of a server.
pytestmark = pytest.mark.usefixtures("received")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  path = tmp_path_factory.mktemp("model")
  made.write(path)
  return str(path)


class Clients:
  """Talks to a server that the main thread runs, and has it end.

  Attributes:
    console: the server's.
  """

  def __init__(self, talk):
    """Creates the clients.

    Args:
      talk: their requests, a function of this object.
    """
    self.console = rich.console.Console(file=io.StringIO(), width=500)
    self._talk = talk

  @property
  def text(self) -> str:
    """What the server has printed."""
    return self.console.file.getvalue()

  @property
  def address(self) -> str:
    """The server's, once it says that it is there."""
    wait_for(lambda: re.search(r"at (http://\S+);", self.text))
    return re.search(r"at (http://\S+);", self.text)[1]

  def ask(self, path, content=None):
    return made.ask(self, path, content)[:2]

  def end(self):
    os.kill(os.getpid(), signal.SIGTERM)

  def serve(self, directory, **options):
    """Runs the server in this thread; returns what `talk` returns."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
      talk = pool.submit(self._talk, self)
      talk.add_done_callback(lambda _: self.end())
      with pytest.raises(KeyboardInterrupt):
        serve.serve(None, self.console, directory, **{"port": 0, **options})
      return talk.result(made.LONG)


def wait_for(condition):
  end = time.monotonic() + made.LONG
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


def test_a_server_answers_until_a_signal_comes(directory, received):
  def talk(clients):
    return [
        clients.ask("/healthz"),
        clients.ask("/v1/decode", {"inputs": ["a", "b"]}),
        clients.ask("/v1/decode", {"inputs": "fail"}),
        clients.ask("/v1/score", {"inputs": "abc", "targets": "d"}),
    ]

  clients = Clients(talk)
  health, decoded, failed, scored = clients.serve(directory)
  assert health == (200, {"state": "ready"})
  assert decoded == (200, {"outputs": ["A", "B"]})
  assert failed[0] == 500 and "it fails" in failed[1]["error"]
  assert scored == (200, {"scores": [2.0]})
  *_, last = clients.text.splitlines()
  assert f"serving beam, greedy, score, serving_default of {directory} at" in (
      clients.text
  )
  assert last.startswith("a batch of 1 failed (serving_default): ")
  assert "warning" not in clients.text
  assert received == [signal.SIGTERM]  # The program's own handler.


def test_what_waits_is_answered_at_the_end(directory):
  def talk(clients):
    with concurrent.futures.ThreadPoolExecutor() as pool:
      answer = pool.submit(clients.ask, "/v1/decode", {"inputs": "a"})
      # It waits for more examples.
      url = f"{clients.address}/metrics"
      line = b"\nmtf_switch_queued_examples 1.0\n"
      wait_for(lambda: line in urllib.request.urlopen(url).read())
      clients.end()
      return answer.result(made.LONG)

  answer = Clients(talk).serve(directory, batch_milliseconds=10**6)
  assert answer == (200, {"outputs": ["A"]})


@pytest.fixture
def held(monkeypatch):
  """A model that waits at each batch."""
  model = made.Held()
  monkeypatch.setattr(served_model.ServedModel, "warm_up", lambda self: None)
  monkeypatch.setattr(
      served_model.ServedModel, "run", lambda self, *batch: model.run(*batch)
  )
  return model


def test_what_is_computed_is_answered_at_the_end(directory, held):
  def talk(clients):
    with concurrent.futures.ThreadPoolExecutor() as pool:
      answer = pool.submit(clients.ask, "/v1/decode", {"inputs": "a"})
      assert held.entered.wait(made.LONG)
      clients.end()
      draining = (503, {"state": "draining"})
      wait_for(lambda: clients.ask("/healthz") == draining)
      held.let_go()
      return answer.result(made.LONG)

  assert Clients(talk).serve(directory)[0] == 200


def test_what_takes_too_long_at_the_end_is_given_up(directory, held):
  def talk(clients):
    with concurrent.futures.ThreadPoolExecutor() as pool:
      answer = pool.submit(clients.ask, "/v1/decode", {"inputs": "a"})
      assert held.entered.wait(made.LONG)
      clients.end()
      return answer.result(made.LONG)

  clients = Clients(talk)
  status, answer = clients.serve(directory, shutdown_seconds=0.05)
  assert (status, answer["error"]) == (503, "the server is shutting down.")
  assert clients.text.splitlines()[-1] == (
      "examples that were not answered in 0.05 s: 1."
  )
  held.let_go()


def test_while_a_model_is_loaded_the_server_is_there(directory, monkeypatch):
  loads = threading.Event()
  is_asked = threading.Event()

  def warm_up(self):
    loads.set()
    assert is_asked.wait(made.LONG)

  monkeypatch.setattr(served_model.ServedModel, "warm_up", warm_up)
  with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]

  def talk(clients):
    assert loads.wait(made.LONG)
    address = f"127.0.0.1:{port}"
    connection = http.client.HTTPConnection(address, timeout=made.LONG)
    connection.request("GET", "/healthz")
    response = connection.getresponse().read()
    connection.close()
    is_asked.set()
    wait_for(lambda: "Ctrl-C" in clients.text)
    return json.loads(response)

  clients = Clients(talk)
  assert clients.serve(directory, port=port) == {"state": "loading"}


def test_another_host_is_warned_of(directory):
  clients = Clients(lambda clients: clients.ask("/healthz"))
  clients.serve(directory, host="0.0.0.0")
  assert clients.text.startswith(
      "warning: --host=0.0.0.0 lets whoever reaches it use the model; this "
      "server asks for no name and encrypts nothing.\n"
  )


def test_settings_that_do_not_go_together(directory):
  with pytest.raises(errors.UserError) as error:
    serve.serve(None, None, directory, queue_examples=3, request_examples=4)
  assert str(error.value).startswith(
      "serve.request_examples = 4 is more than serve.queue_examples = 3, so"
  )
