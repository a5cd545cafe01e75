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

"""How the program ends on a signal."""

import io
import os
import select
import signal
import threading
import time

# Ctrl-C, preemption, and the end of a terminal.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Programs such as `timeout` send a signal to a process and to its group.
_SECONDS_OF_ONE_SIGNAL = 0.1
_SECONDS_TO_ANSWER = 1


class Signals:
  """Ends the program on signals: on the first in order, on the second at once.

  Attributes:
    first: the first signal that has raised KeyboardInterrupt.
  """

  def __init__(self, terminal: io.TextIOWrapper):
    self.first = None
    self._is_over = False
    self._terminal = terminal
    self._reader, self._writer = os.pipe()
    os.set_blocking(self._writer, False)
    signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
    for number in _SIGNALS:
      if signal.getsignal(number) not in (signal.SIG_IGN, None):
        signal.signal(number, self._interrupt)
    threading.Thread(target=self._watch, daemon=True).start()

  def close(self):
    """Leaves signals to the system."""
    self._is_over = True
    for number in _SIGNALS:
      if signal.getsignal(number) == self._interrupt:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)

  def _interrupt(self, number, unused_frame):
    if not self.first:
      self.first = signal.Signals(number)
      raise KeyboardInterrupt

  def _watch(self):
    """Waits for signals beside the main thread, which may be inside C++."""
    first = self._next()
    time.sleep(_SECONDS_OF_ONE_SIGNAL)
    while self._has_next(0):
      self._next()
    if not self._has_next(_SECONDS_TO_ANSWER) and not self._is_over:
      print(
          f"{first.name}: ending in order; a second signal ends at once.",
          file=self._terminal,
      )
    second = self._next()
    if self._terminal.isatty():
      print("\x1b[?25h", end="", file=self._terminal, flush=True)  # The cursor.
    os._exit(128 + second)  # pylint: disable=protected-access

  def _has_next(self, seconds: float) -> bool:
    return bool(select.select([self._reader], [], [], seconds)[0])

  def _next(self) -> signal.Signals:
    while (number := os.read(self._reader, 1)[0]) not in _SIGNALS:
      pass
    return signal.Signals(number)
