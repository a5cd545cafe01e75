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

"""Suggestions for misspelt names."""

from collections.abc import Iterable
import difflib


def did_you_mean(
    name: str, known: Iterable[str], similarity: float = 0.6
) -> str:
  """Returns "did you mean a or b?" for an unknown name.

  Args:
    name: the unknown name.
    known: the valid names.
    similarity: the least similarity of a suggestion, from 0 (any) to 1 (equal).

  Returns:
    the question, the most similar name first; "" if no name is similar.
  """
  near = difflib.get_close_matches(name, sorted(known), cutoff=similarity)
  return f"did you mean {' or '.join(near)}?" if near else ""


def near_or_all(name: str, known: Iterable[str]) -> str:
  """Returns the suggestion for an unknown name, or else all valid ones.

  Args:
    name: the unknown name.
    known: the valid names, a few.
  """
  known = list(known)
  return did_you_mean(name, known) or f"there are {', '.join(known)}."
