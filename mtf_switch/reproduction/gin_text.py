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

"""Values in the gin files of cards."""

from typing import Any


def value(of: Any) -> str:
  """Returns a value as gin writes it.

  Args:
    of: the value. Strings that begin with @ or % are references.
  """
  if isinstance(of, str):
    if of[0] in "@%":
      return of
    is_plain = of.isprintable() and not set(of) & set('"\\')
    return f'"{of}"' if is_plain else repr(of)
  if isinstance(of, tuple):
    return f"({', '.join(map(value, of))})"
  if isinstance(of, list):
    return "[\n" + "".join(f"    {value(x)},\n" for x in of) + "]"
  return repr(of)
