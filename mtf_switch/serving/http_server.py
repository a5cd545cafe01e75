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

"""A WSGI application at an address, by waitress.

Each request has a thread while it waits for its answer. The sockets belong to
one more thread.
"""

import socket
import threading
import time

from waitress import channel
from waitress import server as waitress_server
from waitress import task
from waitress import utilities
from waitress import wasyncore

from mtf_switch import errors
from mtf_switch.serving import application as application_lib

# For requests beside those that wait for the model: health, metrics, refusals.
_MORE_THREADS = 8
# Connections are open beyond the requests that have a thread: clients keep them
# for the next one.
_MORE_CONNECTIONS = 256
# After which a connection without a request is closed.
_IDLE_SECONDS = 120
_SECONDS_OF_LOOKS = 0.05
# Those of threads that have nothing to do, to end.
_SECONDS_OF_THREADS = 1.0


class Server:
  """A server that listens, and answers within its context."""

  def __init__(
      self,
      application: application_lib.Application,
      host: str,
      port: int,
      num_waiting: int,
      request_bytes: int,
  ):
    """Listens at an address.

    Args:
      application: answers the requests.
      host: the address or its name.
      port: the port; 0 for one that is free.
      num_waiting: how many requests can wait for the model.
      request_bytes: the largest body of a request.

    Raises:
      UserError: the address is not one of this machine's, or the port is used.
    """
    threads = num_waiting + _MORE_THREADS
    self._map = {}
    self._server = waitress_server.create_server(
        application,
        map=self._map,
        sockets=[_bound(host, port)],
        threads=threads,
        connection_limit=threads + _MORE_CONNECTIONS,
        channel_timeout=_IDLE_SECONDS,
        # It sees that a client is gone because it reads on.
        channel_request_lookahead=1,
        # It refuses bodies of this size, and not only larger ones.
        max_request_body_size=request_bytes + 1,
        asyncore_use_poll=True,
        log_socket_errors=False,
        ident=None,
    )
    self._server.channel_class = _Channel
    self._server.refusal = application.refusal
    self._thread = threading.Thread(target=self._server.run, daemon=True)

  @property
  def address(self) -> str:
    """The server's URL."""
    host = self._server.effective_host
    if ":" in host:
      host = f"[{host}]"
    return f"http://{host}:{self._server.effective_port}"

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *exception):
    self.close(_SECONDS_OF_THREADS)

  def close(self, seconds: float):
    """Ends when the answers that are there are sent; again, it does nothing.

    Args:
      seconds: how long that may take.
    """
    if not self._thread.is_alive():
      return
    end = time.monotonic() + seconds
    self._server.task_dispatcher.shutdown(timeout=seconds)
    while self._has_unsent() and time.monotonic() < end:
      time.sleep(_SECONDS_OF_LOOKS)
    # In the thread that the sockets belong to, which ends without them.
    self._server.trigger.pull_trigger(
        lambda: wasyncore.close_all(self._map, ignore_all=True)
    )
    self._thread.join()

  def _has_unsent(self) -> bool:
    channels = list(self._server.active_channels.values())
    return any(x.total_outbufs_len for x in channels)


class _ErrorTask(task.ErrorTask):
  """The answer to what is no request, or too large, in JSON."""

  def execute(self):
    error = self.request.error
    text = f"{error.reason}: {error.body}."
    if isinstance(error, utilities.RequestEntityTooLarge):
      most = self.channel.adj.max_request_body_size - 1
      text = f"the body is larger than the {most:,} bytes that it may have."
    body = self.channel.server.refusal(error.code, text)
    self.status = f"{error.code} {error.reason}"
    self.response_headers.append(("Content-Type", "application/json"))
    self.set_close_on_finish()
    self.content_length = len(body)
    self.write(body)


class _Channel(channel.HTTPChannel):
  """A connection."""

  error_task_class = _ErrorTask


def _bound(host: str, port: int) -> socket.socket:
  """A socket at an address."""
  where = f"--host={host} --port={port}"
  try:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
  except (socket.gaierror, UnicodeError) as error:
    raise errors.UserError(
        f"--host={errors.shown(host)} is no address and no name of one: "
        f"{error}."
    ) from error
  family, kind, protocol, _, address = found[0]
  listener = socket.socket(family, kind, protocol)
  try:
    # Else a port of which connections have just ended cannot be used.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
  except OSError as error:
    listener.close()
    raise errors.UserError(
        f"{where} cannot be used: {error.strerror}; choose another --port, or 0"
        " for any that is free."
    ) from error
  return listener
