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

"""Renews the record of four models' losses, and shows old beside new.

`python -m scripts.losses` trains the models of tests/regression/losses.py with
one and with two threads an operation, with and without oneDNN, each in a
process of its own.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import rich.console

from mtf_switch import files
from mtf_switch import terminal
from tests.regression import losses

_CHECKOUT = pathlib.Path(__file__).resolve().parents[1]


def measure() -> list[dict]:
  """The rows of the record: the losses with each setting."""
  rows = []
  for threads, onednn in itertools.product((1, 2), (0, 1)):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.regression.losses",
            f"--threads={threads}",
        ],
        cwd=_CHECKOUT,
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": str(onednn)},
        stdout=subprocess.PIPE,
        check=True,
    )
    # TensorFlow's own lines come before.
    *_, last = done.stdout.decode().splitlines()
    rows += [
        {"threads": threads, "onednn": onednn, **row}
        for row in json.loads(last)
    ]
  return rows


def compare(old: list[dict], new: list[dict]) -> list[list[str]]:
  """The rows of a table: mean losses, old beside new.

  Args:
    old: rows of a record; there may be none.
    new: likewise.
  """
  rows = []
  for name, which in itertools.product(
      losses.CONFIGURATIONS, ("first", "last")
  ):
    before, after = (
        sum(values) / len(values) if values else None
        for values in (losses.recorded(x, name, which) for x in (old, new))
    )
    rows.append(
        [
            f"{name}, {which}",
            "-" if before is None else f"{before:.7f}",
            f"{after:.7f}",
            "-" if before is None else f"{after - before:+.1e}",
            f"{losses.tolerance(new, which):.1e}",
        ]
    )
  return rows


def main():
  """Prints the table and writes the record."""
  path = str(losses.RECORD)
  old = files.read_json(path) or []
  new = measure()
  terminal.table(
      rich.console.Console(),
      ["loss", "old", "new", "difference", "tolerance"],
      compare(old, new),
  )
  files.write_json(path, new)


if __name__ == "__main__":
  main()
