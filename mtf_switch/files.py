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

"""Text and JSON files that are written whole or not at all."""

from collections.abc import Iterable, Mapping
import json
import os
from typing import Any

import tensorflow.compat.v1 as tf


def write_lines(path: str, lines: Iterable[Any]):
  """Writes texts, one a line; the file is there with all of them or not.

  Args:
    path: the file, local or remote; its directory is made.
    lines: texts, or what can be turned into them; line breaks become spaces.
  """
  directory = os.path.dirname(path)
  if directory:
    tf.io.gfile.makedirs(directory)
  with tf.io.gfile.GFile(path + ".new", "w") as file:
    file.write("")  # What is never written to is not made.
    for line in lines:
      file.write(" ".join(str(line).splitlines()) + "\n")
  tf.io.gfile.rename(path + ".new", path, overwrite=True)


def write_json(path: str, content: Any, sort_keys: bool = False):
  """Writes an indented JSON file; it is there with all of that or not at all.

  Args:
    path: the file; its directory is made.
    content: in JSON types.
    sort_keys: whether keys come in order of the alphabet, or as they are.
  """
  text = json.dumps(content, indent=2, sort_keys=sort_keys)
  write_lines(path, text.splitlines())


def read_json(path: str) -> Any:
  """The content of a JSON file; None if it is not there."""
  if not tf.io.gfile.exists(path):
    return None
  with tf.io.gfile.GFile(path) as file:
    return json.load(file)


def append_record(path: str, record: Mapping[str, Any]):
  """Adds a line of JSON to a file.

  Opened for each line and written at once, so that a run can be killed at any
  time and leaves whole lines.

  Args:
    path: the file; its directory exists.
    record: what the line says; NumPy's numbers become Python's.
  """
  with tf.io.gfile.GFile(path, "a") as file:
    file.write(json.dumps(record, default=float) + "\n")
