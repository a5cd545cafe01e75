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

"""Tables that tests write, in the forms of tasks/tables.py."""

import csv
import json


def write_lines(path, rows):
  """Writes a JSON object in each line and returns the path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
  return path


def write_array(path, rows):
  """Writes one JSON array and returns the path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(rows, indent=1))
  return path


def write_csv(path, rows):
  """Writes a table with a header and returns the path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, "w", newline="", encoding="utf-8") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  return path
