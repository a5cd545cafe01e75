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

"""What a conversion has done with each variable, in a table."""

from collections.abc import Iterable, Sequence
import dataclasses
import math
import re
import sys

import rich.console

from mtf_switch import errors
from mtf_switch import terminal
from mtf_switch.conversion import checkpoint_writer

COLUMNS = ("from", "to", "shape", "values", "done")


@dataclasses.dataclass(frozen=True)
class Entry:
  """A variable on both sides.

  Attributes:
    sources: the names it had; none for what is fresh.
    targets: the names it has; none for what is left out.
    shape: what it has here, or had if it is left out.
    dtypes: what it had and has.
    done: what was done to the values, a phrase each.
  """

  sources: tuple[str, ...]
  targets: tuple[str, ...]
  shape: tuple[int, ...]
  dtypes: tuple[str, str]
  done: tuple[str, ...] = ()

  @property
  def num_values(self) -> int:
    """The number of values, of one of the names where several are copies."""
    return math.prod(self.shape)


def entry(
    source: checkpoint_writer.Variable | None,
    target: checkpoint_writer.Variable | None,
    *done: str,
) -> Entry:
  """Returns the entry of a variable of one checkpoint that is in another.

  Args:
    source: what it was; None for what is fresh.
    target: what it is; None for what is left out.
    *done: what was done to the values, a phrase each.
  """
  one, other = source or target, target or source
  return Entry(
      sources=(source.name,) if source else (),
      targets=(target.name,) if target else (),
      shape=other.shape,
      dtypes=(str(one.dtype), str(other.dtype)),
      done=done,
  )


def left_out(name: str, shape: tuple[int, ...], dtype: str, why: str) -> Entry:
  """Returns the entry of what nothing becomes of.

  Args:
    name: the name it had.
    shape: its shape.
    dtype: its type.
    why: a phrase.
  """
  return Entry((name,), (), shape, (dtype, dtype), (why,))


def show(entries: Sequence[Entry]):
  """Prints the table and the sums to the standard output.

  Args:
    entries: of all variables.
  """
  output = rich.console.Console(file=sys.stdout)
  terminal.table(output, COLUMNS, rows(entries), num_left=3)
  output.print(summary(entries), highlight=False, soft_wrap=True)


def rows(entries: Iterable[Entry]) -> list[Sequence[str]]:
  """Returns the rows of the table with COLUMNS.

  Args:
    entries: of all variables.
  """
  found = []
  for one_entry in entries:
    one, other = one_entry.dtypes
    done = [*one_entry.done]
    if one != other:
      done.append(f"{one} to {other}")
    found.append(
        (
            _names(one_entry.sources) or "fresh",
            _names(one_entry.targets) or "left out",
            errors.sizes(one_entry.shape) or "one value",
            f"{one_entry.num_values:,}",
            ", ".join(done) or "as it is",
        )
    )
  return found


def summary(entries: Sequence[Entry]) -> str:
  """Returns the sums, in one line.

  Args:
    entries: of all variables.
  """
  kept = [x for x in entries if x.sources and x.targets]
  fresh = [x for x in entries if not x.sources]
  left_out = [x for x in entries if not x.targets]
  line = (
      f"{sum(len(x.sources) for x in kept):,} tensors with "
      f"{sum(x.num_values for x in kept):,} values became "
      f"{sum(len(x.targets) for x in kept):,}"
  )
  if fresh:
    line += (
        f"; {sum(len(x.targets) for x in fresh):,} are fresh, with "
        f"{sum(x.num_values for x in fresh):,} values"
    )
  if left_out:
    line += (
        f"; {sum(len(x.sources) for x in left_out):,} left out, with "
        f"{sum(x.num_values for x in left_out):,} values"
    )
  return line + "."


def _names(names: Sequence[str]) -> str:
  """The names of experts as one, and others in lines."""
  if len(names) > 1:
    first, last = (re.search(r"expert_(\d+)", x) for x in (names[0], names[-1]))
    if first and last:
      return names[0].replace(first[0], f"expert_{first[1]}..{last[1]}")
  return "\n".join(names)
