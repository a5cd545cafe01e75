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

"""Extraction of docstrings from Python source files, on all cores.

This file is also the program of the worker processes. It imports the standard
library only, so that a worker starts in milliseconds, and it is run by its
path, so that a worker imports neither `tasks` nor the user's main module.
"""

import ast
from collections.abc import Callable, Iterator, Sequence
import gc
import json
import os
import signal
import subprocess
import sys
from typing import Any, NamedTuple
import warnings

_DOCUMENTED = (
    ast.Module,
    ast.ClassDef,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
)
# The fields that hold statements; expressions have no docstrings.
_STATEMENTS = ("body", "handlers", "orelse", "finalbody", "cases")


# The names of a method's first parameter.
_RECEIVERS = {"self", "cls"}


class Documented(NamedTuple):
  """A docstring and what it describes.

  Attributes:
    text: the docstring, without indentation.
    kind: "module", "class", "function" or "method".
    name: of the class or function; "" of a module.
    parameters: the names of a function's, without self and cls.
  """

  text: str
  kind: str
  name: str
  parameters: list[str]


def docstrings(source: bytes) -> list[str] | None:
  """Returns the texts of `documented`."""
  found = documented(source)
  return None if found is None else [one.text for one in found]


def documented(source: bytes) -> list[Documented] | None:
  """Returns the docstrings of a source file, in the order of the file.

  Args:
    source: the file's bytes, in any encoding that Python recognizes.

  Returns:
    those of the module, its classes and functions at any depth; None if the
    source is not Python.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # For example of invalid escapes.
      module = ast.parse(source)
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return None
  found = []
  pending = [module]
  while pending:
    node = pending.pop()
    if isinstance(node, _DOCUMENTED):
      text = (ast.get_docstring(node) or "").strip()
      if text:
        # A lone surrogate is valid in Python but not in UTF-8.
        text = text.encode("utf-8", "ignore").decode("utf-8")
        found.append(
            Documented(
                text, _kind(node), getattr(node, "name", ""), _parameters(node)
            )
        )
    inner = [
        child for field in _STATEMENTS for child in getattr(node, field, ())
    ]
    pending.extend(reversed(inner))
  return found


def _kind(node: ast.AST) -> str:
  """Returns the kind of what is documented; methods have a receiver."""
  if isinstance(node, ast.Module):
    return "module"
  if isinstance(node, ast.ClassDef):
    return "class"
  return "method" if set(_own(node)[:1]) & _RECEIVERS else "function"


def _parameters(node: ast.AST) -> list[str]:
  """Returns the names of a function's parameters; none of other nodes."""
  return [name for name in _own(node) if name not in _RECEIVERS]


def _own(node: ast.AST) -> list[str]:
  """Returns the names of all parameters of a function."""
  if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
    return []
  every = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
  return [one.arg for one in every]


def read_docstrings(path: str) -> list[str] | None:
  """Returns the docstrings of a file; None if it is not readable Python."""
  source = _read(path)
  return None if source is None else docstrings(source)


def read_documented(path: str) -> list[Documented] | None:
  """Returns `documented` of a file; None if it is not readable Python."""
  source = _read(path)
  return None if source is None else documented(source)


def _read(path: str) -> bytes | None:
  """Returns the content of a file; None if it cannot be read."""
  try:
    with open(path, "rb") as file:
      return file.read()
  except OSError:
    return None


def num_cores() -> int:
  """Returns the number of cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def extract(
    paths: Sequence[str],
    num_workers: int,
    read: Callable[[str], list[Any] | None] = read_docstrings,
) -> Iterator[list[Any] | None]:
  """Yields the docstrings of each file.

  Args:
    paths: source files.
    num_workers: processes that read in parallel; with 1 this process reads. The
      result does not depend on it.
    read: `read_docstrings` or `read_documented`.

  Yields:
    the results of `read`, in the order of the paths. If the caller stops early,
    only the files that workers have read ahead are read in vain.

  Raises:
    RuntimeError: a worker died.
  """
  if num_workers == 1:
    yield from map(read, paths)
    return
  workers = []
  try:
    for index in range(num_workers):
      worker = subprocess.Popen(
          [
              sys.executable,
              "-I",
              "-S",
              os.path.abspath(__file__),
              read.__name__,
          ],
          stdin=subprocess.PIPE,
          stdout=subprocess.PIPE,
      )
      workers.append(worker)
      with worker.stdin as pipe:
        pipe.write(json.dumps(list(paths[index::num_workers])).encode())
    for index in range(len(paths)):
      worker = workers[index % num_workers]
      line = worker.stdout.readline()
      if not line:
        raise RuntimeError(
            f"A worker that reads docstrings ended with {worker.wait()}."
        )
      found = json.loads(line)
      if read is read_documented and found is not None:
        found = [Documented(*one) for one in found]  # JSON has lists.
      yield found
  finally:
    for worker in workers:
      worker.kill()
      worker.wait()
      worker.stdout.close()


def main():
  """Prints a line of JSON for each path of a JSON list on stdin.

  The program's argument is the name of the function that reads the files.
  """
  # On Ctrl-C the parent ends its workers; without this each prints a traceback.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  gc.disable()  # Syntax trees have no cycles, and the search for them is slow.
  read = {f.__name__: f for f in (read_docstrings, read_documented)}[
      sys.argv[1]
  ]
  try:
    for path in json.load(sys.stdin):
      print(json.dumps(read(path)))
    sys.stdout.flush()
  except BrokenPipeError:  # The parent is gone.
    os._exit(1)


if __name__ == "__main__":
  main()
