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

"""The signals that ask a training to stop, which then loses no step."""

from collections.abc import Iterator
import contextlib
import signal
import threading

import tensorflow.compat.v1 as tf

# Ctrl-C, preemption, and the end of a terminal.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Request:
  """Receives the signals, for a context.

  A signal acts as it did before, or raises KeyboardInterrupt where it had no
  handler; while signals are deferred, it is only remembered.

  Attributes:
    signal: the first signal; None without one.
    is_deferred: whether signals are deferred.
  """

  def __init__(self):
    self.signal: signal.Signals | None = None
    self.is_deferred = False
    self._earlier = {}

  def __enter__(self):
    # Python runs handlers in the main thread, and only there they can be set.
    if threading.current_thread() is threading.main_thread():
      for number in _SIGNALS:
        handler = signal.getsignal(number)
        if handler not in (signal.SIG_IGN, None):
          self._earlier[number] = signal.signal(number, self._receive)
    return self

  def __exit__(self, *exception):
    for number, handler in self._earlier.items():
      signal.signal(number, handler)

  def _receive(self, number, unused_frame):
    self.signal = self.signal or signal.Signals(number)
    if not self.is_deferred:
      self.act()

  def act(self):
    """Acts on the signal, if there was one, as it did before the context."""
    if not self.signal:
      return
    handler = self._earlier[self.signal]
    if callable(handler):
      handler(self.signal, None)
    raise KeyboardInterrupt

  @contextlib.contextmanager
  def deferring(self, is_deferred: bool) -> Iterator[None]:
    """Sets whether signals are deferred, for a context.

    Args:
      is_deferred: whether they are. If not, one that came before acts at once.

    Yields:
      nothing.
    """
    before, self.is_deferred = self.is_deferred, is_deferred
    try:
      if not is_deferred:
        self.act()
      yield
    finally:
      self.is_deferred = before


class StopHook(tf.train.SessionRunHook):
  """Ends a training session after the step in which a signal comes.

  The session's other hooks then end as they do after the last step, and save a
  checkpoint. Before the session has weights, there is nothing to save, and
  signals are not deferred.
  """

  def __init__(self, request: Request):
    """Creates the hook.

    Args:
      request: receives the signals, within `deferring(False)`.
    """
    self._request = request

  def after_create_session(self, session, coord):
    """Defers the signals from now on."""
    del session, coord
    self._request.is_deferred = True

  def after_run(self, run_context, run_values):
    """Ends the session if there was a signal."""
    del run_values
    if self._request.signal:
      run_context.request_stop()
