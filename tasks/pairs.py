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

"""The pairs in the rows of the user's files."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tasks import errors
from tasks import pair_metrics
from tasks import pair_options
from tasks import pair_rows
from tasks import prepared_text
from tasks import records

# T5's text in the place of a label that is missing.
NO_LABEL = "<unk>"


class Pair(NamedTuple):
  """An example.

  Attributes:
    inputs: the text to read.
    answers: the texts that are correct; the first is the one to learn.
  """

  inputs: str
  answers: Sequence[str]


def read(
    options: pair_options.Options, file: str, split: str
) -> Iterator[Pair]:
  """Yields the pairs of a file; skips broken records.

  Args:
    options: say how.
    file: one of `find_files`.
    split: the split, which is a part of the file if one is held out.

  Raises:
    DataError: as `pair_rows.read`; or there are no pairs in the file.
  """
  is_test = split == "test"
  optional = _target_alone(options) if is_test else None
  limit = int((options.validation_share or 0) * 2**64)
  prefix = options.prefix.rstrip()
  is_empty = True
  for place, row in pair_rows.read(
      file, options.fields, optional, options.delimiter
  ):
    try:
      pair = pair_of(options, row, is_test)
    except ValueError as error:
      records.skip(place, str(error))
      continue
    is_empty = False
    is_held_out = prepared_text.text_hash(pair.inputs) < limit if limit else 0
    if is_test or not limit or is_held_out == (split == "validation"):
      if prefix:
        pair = pair._replace(inputs=f"{prefix} {pair.inputs}")
      yield pair
  if is_empty:
    raise errors.DataError(f"{file}: there are no pairs in it{_broken(file)}.")


def _broken(file: str) -> str:
  """Returns a remark about a file's broken records, if there are any."""
  skipped = {
      place: problem
      for place, problem in records.skipped().items()
      if place.startswith(f"{file}, ")
  }
  if not skipped:
    return ""
  place, problem = next(iter(skipped.items()))
  count = f"{len(skipped):,} broken record{'s'[: len(skipped) != 1]}"
  return f"; {count}, the first is {place}: {problem}"


def pair_of(
    options: pair_options.Options, row: pair_rows.Row, is_test: bool
) -> Pair:
  """Returns the pair of a row, without the prefix.

  Args:
    options: say how.
    row: the fields by their names.
    is_test: whether the targets may be missing, which become NO_LABEL.

  Raises:
    ValueError: there is none.
  """
  inputs = _filled(options.inputs, row)
  if not inputs.strip():
    raise ValueError("the inputs are empty")
  name = str(options.targets)
  if is_test and _is_missing(options, row):
    return Pair(inputs, [NO_LABEL])
  if isinstance(row.get(name), list):
    answers = [_named_text(name, x) for x in row[name]]
    if not answers:
      raise ValueError(f"{name!r} is an empty list")
  else:
    answers = [_filled(options.targets, row)]
  if options.labels:
    label_of = options.label_of
    for answer in answers:
      if pair_metrics.same_form(answer) not in label_of:
        listed = ", ".join(map(repr, label_of))
        raise ValueError(f"{name!r} is {answer!r}, and labels are {listed}")
    answers = [label_of[pair_metrics.same_form(answer)] for answer in answers]
  if set(options.metric_names) & set(pair_metrics.OF_NUMBERS):
    if pair_metrics.number_of(answers[0]) is None:
      raise ValueError(f"{name!r} is {answers[0]!r}, which is no number")
  return Pair(inputs, answers)


def _target_alone(options: pair_options.Options) -> str | None:
  """Returns the field of the targets, if it is one and only of them."""
  name = str(options.targets)
  is_alone = name not in pair_options.fields_of(options.inputs)
  return name if is_alone and not pair_options.FIELD.search(name) else None


def _is_missing(options: pair_options.Options, row: pair_rows.Row) -> bool:
  """Returns whether the row of a test set has no label."""
  if not _target_alone(options):
    return False
  value = row.get(str(options.targets))
  if not options.labels:
    return value is None or value == []
  # TensorFlow Datasets writes -1.
  text = "" if value is None else str(value).strip()
  return text in ("", "-1") and text not in options.label_of


def _filled(template: str | int, row: pair_rows.Row) -> str:
  """Returns the text of a field, or a template with those of its fields."""
  name = str(template)
  if not pair_options.FIELD.search(name):
    return _named_text(name, row[name])
  return pair_options.FIELD.sub(
      lambda match: _named_text(match[1], row[match[1]]), name
  )


def _named_text(name: str, value: Any) -> str:
  """Returns a field's text; a ValueError that names the field if it is none."""
  try:
    return pair_options.as_text(value)
  except ValueError as error:
    raise ValueError(f"{name!r} {error}") from error
