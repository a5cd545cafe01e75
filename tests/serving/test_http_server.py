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

"""A server on a port of this machine, and its clients."""

import mtf_switch  # isort: skip  # noqa: F401
import concurrent.futures
import contextlib
import http.client
import json
import socket
import time

import pytest

from mtf_switch import errors
from mtf_switch.serving import http_server
from tests.serving import made_server as made


def place(server: http_server.Server) -> tuple[str, int]:
  host, _, port = server.address.removeprefix("http://").rpartition(":")
  return host, int(port)


def wait_for_line(application, line: str):
  """Waits for a figure of a server."""
  end = time.monotonic() + made.LONG
  while f"\n{line}\n" not in application.measures.text().decode():
    assert time.monotonic() < end
    time.sleep(0.01)


def test_many_clients_get_what_one_gets():
  """A load of 24 clients with 8 requests each, of 1 to 4 examples."""
  requests = [
      (
          "/v1/decode",
          {
              "inputs": [f"{client} {i} {j}" for j in range(1 + i % 4)],
              "decoding": ["greedy", "beam"][i % 2],
          },
      )
      if i % 3
      else ("/v1/score", {"inputs": [str(10**i)], "targets": [str(client)]})
      for client in range(24)
      for i in range(8)
  ]
  model = made.Upper()
  with made.served(model.run) as (server, _):
    alone = [made.ask(server, *request)[:2] for request in requests]
  sequential = len(model.batches)
  assert {status for status, _ in alone} == {200}
  assert len({json.dumps(content) for _, content in alone}) > 100
  model.batches.clear()
  with made.served(model.run, wait_seconds=0.005, num_waiting=24) as (
      server,
      application,
  ):

    def client(number):
      connection = http.client.HTTPConnection(*place(server), timeout=made.LONG)
      answers = []
      with contextlib.closing(connection):
        for path, content in requests[number * 8 : number * 8 + 8]:
          connection.request("POST", path, json.dumps(content))
          response = connection.getresponse()
          answers.append((response.status, json.loads(response.read())))
      return answers

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
      answers = [x for found in pool.map(client, range(24)) for x in found]
  assert answers == alone
  assert len(model.batches) < sequential
  assert max(size for _, size in model.batches) > 4  # Of several requests.


def test_what_is_no_request_is_answered_in_json():
  with made.served(made.Upper().run) as (server, application):
    status, body, _ = made.ask(server, "/v1/decode", {"inputs": "a" * 2000})
    assert (status, body["error"]) == (
        413,
        "the body is larger than the 2,000 bytes that it may have.",
    )
    with socket.create_connection(place(server), timeout=made.LONG) as client:
      client.sendall(b"GET\r\n\r\n")
      head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ")
    assert json.loads(body)["error"].startswith("Bad Request: ")
    text = application.measures.text().decode()
  assert 'mtf_switch_requests_total{endpoint="unread",status="413"} 1.0' in text


def test_what_is_refused_without_waiting_is_refused_while_all_wait():
  held = made.Held()
  options = dict(batch_size=1, queue_size=2, num_waiting=2)
  with made.served(held.run, **options) as (server, application):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      waiting = [
          pool.submit(made.ask, server, "/v1/decode", {"inputs": text})
          for text in "ab"
      ]
      assert held.entered.wait(made.LONG)
      wait_for_line(application, "mtf_switch_queued_examples 1.0")
      status, _, headers = made.ask(server, "/v1/decode", {"inputs": "c"})
      assert (status, headers["Retry-After"]) == (503, "1")
      assert made.ask(server, "/healthz")[:2] == (200, {"state": "ready"})
      held.let_go(10)
      assert [x.result(made.LONG)[1] for x in waiting] == [
          {"outputs": ["A"]},
          {"outputs": ["B"]},
      ]


def test_a_client_that_has_left_is_noticed():
  held = made.Held()
  with made.served(held.run, batch_size=1) as (server, application):
    with socket.create_connection(place(server), timeout=made.LONG) as client:
      body = b'{"inputs": "a"}'
      client.sendall(
          b"POST /v1/decode HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
          b"%d\r\n\r\n%s" % (len(body), body)
      )
      assert held.entered.wait(made.LONG)
    wait_for_line(
        application,
        'mtf_switch_requests_total{endpoint="decode",status="499"} 1.0',
    )
    held.let_go(10)


def test_closing_sends_the_answers_that_are_there():
  with made.served(made.Upper().run) as (server, _):
    with socket.create_connection(place(server), timeout=made.LONG) as client:
      client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
      first = client.recv(1)
      server.close(made.LONG)
      answer = first + client.makefile("rb").read()  # To its end.
      assert answer.endswith(b'\r\n\r\n{"state":"ready"}')
    server.close(made.LONG)  # Again.
    with pytest.raises(ConnectionRefusedError):
      socket.create_connection(place(server), timeout=made.LONG)


@pytest.mark.parametrize(
    "host, port, line",
    [
        ("127.0.0.1", None, "cannot be used: Address already in use; choose"),
        ("192.0.2.1", 0, "cannot be used: Cannot assign requested address"),
        ("no name", 0, "--host=no name is no address and no name of one: "),
    ],
)
def test_an_address_that_cannot_be_used(host, port, line, silent):
  if port is None:
    port = int(silent.rpartition(":")[2])
  with pytest.raises(errors.UserError) as error:
    http_server.Server(None, host, port, num_waiting=1, request_bytes=1)
  assert line in str(error.value)
  assert len(str(error.value).splitlines()) == 1


def test_addresses_of_the_next_version():
  with made.served(made.Upper().run, host="::1") as (server, _):
    assert server.address.startswith("http://[::1]:")
    assert made.ask(server, "/healthz")[0] == 200
