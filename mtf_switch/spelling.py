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

"""Suggestions for names that are not known."""

from collections.abc import Iterable
import difflib


def did_you_mean(
    name: str, known: Iterable[str], similarity: float = 0.6
) -> str:
  """Returns "did you mean ...?" with the names that are near, or nothing.

  Args:
    name: what was asked for.
    known: the names that would have been right.
    similarity: from 0 to 1, how alike they must be.
  """
  near = difflib.get_close_matches(name, sorted(known), cutoff=similarity)
  return f"did you mean {' or '.join(near)}?" if near else ""
