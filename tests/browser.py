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

"""A headless Chromium, spoken to over pipes in its DevTools protocol."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 60
# The browser reads commands from descriptor 3 and answers on 4.
_FIRST_FREE = 10


def find():
  """The path of a browser of this system, or None."""
  return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
  """A browser with one page.

  Attributes:
    problems: what the page's console and its scripts have said.
    requests: the URLs that the page has asked for.
  """

  def __init__(self, path, directory):
    self.problems, self.requests = [], []
    self._count, self._rest, self._session = 0, b"", None
    reader, answers = os.pipe()
    commands, writer = os.pipe()
    moved = [
        fcntl.fcntl(x, fcntl.F_DUPFD, _FIRST_FREE) for x in (commands, answers)
    ]
    os.close(commands)
    os.close(answers)
    self._reader, self._writer = reader, writer
    self._process = subprocess.Popen(
        [
            *("bash", "-c", f'exec "$@" 3<&{moved[0]} 4>&{moved[1]}', "bash"),
            *(path, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--no-first-run", "--disable-background-networking"),
            *("--remote-debugging-pipe", f"--user-data-dir={directory}"),
        ],
        pass_fds=moved,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for descriptor in moved:
      os.close(descriptor)
    target = self._call("Target.createTarget", url="about:blank")["targetId"]
    attached = self._call(
        "Target.attachToTarget", targetId=target, flatten=True
    )
    self._session = attached["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
      self._call(f"{domain}.enable")

  def open(self, path):
    """Opens a local file, and waits until it is loaded."""
    self.problems.clear()
    self.requests.clear()
    self._call("Page.navigate", url=f"file://{path}")
    limit = time.monotonic() + _SECONDS
    while self.evaluate("document.readyState") != "complete":
      assert time.monotonic() < limit
      time.sleep(0.05)

  def evaluate(self, expression):
    """The value of an expression in JavaScript."""
    result = self._call(
        "Runtime.evaluate", expression=expression, returnByValue=True
    )
    assert "exceptionDetails" not in result, result
    return result["result"].get("value")

  def show(self, width, height=900, scheme="light"):
    """Sets the window's size and the scheme of colours that is preferred."""
    self._call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=False,
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    self._call("Emulation.setEmulatedMedia", features=[feature])

  def titles(self):
    """The titles of the page's sections."""
    return self.evaluate(
        "[...document.querySelectorAll('h2')].map(x => x.textContent)"
    )

  def check_harmless(self, path, evil):
    """Checks that a page shows a name that would be HTML, and asks for nothing.

    Args:
      path: the page's file, which is open.
      evil: the name.
    """
    assert self.evaluate("document.querySelectorAll('img').length") == 0
    assert self.evaluate("document.scripts.length") == 1
    assert evil in self.evaluate("document.body.textContent")
    others = [x for x in self.requests if not x.startswith("data:image/png")]
    assert others == [f"file://{path}"]
    assert not self.problems

  def check_fits(self, width):
    """Checks that the page, unfolded, is no wider than a window."""
    self.show(width)
    self.evaluate("document.querySelectorAll('details').forEach(x => x.open=1)")
    assert self.evaluate("document.documentElement.scrollWidth") <= width

  def point_at(self, x, y):
    """Moves the mouse."""
    self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

  def close(self):
    """Ends the browser."""
    with contextlib.suppress(BrokenPipeError, EOFError):
      self._session = None
      self._call("Browser.close")
    try:
      self._process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    os.close(self._reader)
    os.close(self._writer)

  def _call(self, method, **params):
    self._count += 1
    message = {"id": self._count, "method": method, "params": params}
    if self._session:
      message["sessionId"] = self._session
    os.write(self._writer, json.dumps(message).encode() + b"\0")
    while (answer := self._next()).get("id") != self._count:
      self._note(answer.get("method"), answer.get("params", {}))
    assert "error" not in answer, answer
    return answer["result"]

  def _next(self):
    while b"\0" not in self._rest:
      assert select.select([self._reader], [], [], _SECONDS)[0], "no answer"
      part = os.read(self._reader, 1 << 16)
      if not part:
        raise EOFError
      self._rest += part
    message, _, self._rest = self._rest.partition(b"\0")
    return json.loads(message)

  def _note(self, method, params):
    if method == "Network.requestWillBeSent":
      self.requests.append(params["request"]["url"])
    elif method in (
        *("Runtime.consoleAPICalled", "Runtime.exceptionThrown"),
        "Log.entryAdded",
    ):
      self.problems.append(params)
