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

"""Options of the user's pairs, and the files that they name."""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import os
import re
from typing import Annotated, Any

import gin
import tensorflow.compat.v1 as tf

from tasks import errors
from tasks import pair_metrics
from tasks import paths
from tasks import records

SPLITS = ("train", "validation", "test")

# A field in a template.
FIELD = re.compile(r"\{([^{}]+)\}")


# What the types of values are, and how a line about others says it.
_Paths = Annotated[
    str | Sequence[str] | None, "a text in quotes or a list of texts"
]
_Field = Annotated[
    str | int,
    "the name of a field, the number of a column, or a text with such fields "
    "in braces",
]
_Labels = Annotated[
    Sequence[str | int] | Mapping[str | int | bool, str | int] | None,
    "a list of texts, or a dictionary from ids to texts",
]


@dataclasses.dataclass(frozen=True)
class Options:
  """The user's pairs.

  Attributes:
    train: a file, a glob pattern or a list of these, local or remote.
    validation: the same.
    test: the same; its files may lack the targets.
    validation_share: the share of `train` to validate with instead: the pairs
      whose inputs have certain hashes, always the same ones.
    inputs: the field of the inputs: the name of a column of the header, a key
      of JSON objects, or the number of a column, from 1, of files without a
      header; or a text with such fields in braces, "premise: {premise}
      hypothesis: {hypothesis}".
    targets: the same for the targets. A list in JSON has several texts that are
      all correct, the first of which is learned.
    prefix: the start of all inputs, with a space after it.
    labels: the texts that targets can be, in the order of their ids 0, 1, ...
      if the files have ids; or a dictionary from ids to texts.
    metrics: of pair_metrics.NAMES, one or several.
    delimiter: between the fields of .csv files.
  """

  train: _Paths = None
  validation: _Paths = None
  test: _Paths = None
  validation_share: float | None = None
  inputs: _Field = "inputs"
  targets: _Field = "targets"
  prefix: str = ""
  labels: _Labels = None
  metrics: Annotated[
      str | Sequence[str], "a text in quotes or a list of texts"
  ] = ("exact_match",)
  delimiter: str = ","

  def __post_init__(self):
    """Raises a DataError for options that cannot work."""
    unknown = set(self.metric_names) - set(pair_metrics.NAMES)
    if unknown or not self.metric_names:
      raise errors.DataError(
          f"pairs_files.metrics = {self.metrics!r}: use one or several of "
          f"{', '.join(pair_metrics.NAMES)}."
      )
    for name in self.metric_names:
      if name in pair_metrics.OF_LABELS and len(self.label_texts) < 2:
        raise errors.DataError(
            f"pairs_files.metrics: {name!r} needs pairs_files.labels, for "
            "example ['negative', 'positive']"
            + ("; 'squad' has an F1 of words." if name == "f1" else ".")
        )
    if "f1" in self.metric_names and len(self.label_texts) != 2:
      raise errors.DataError(
          "pairs_files.metrics: 'f1' needs two pairs_files.labels, the second "
          f"is the positive one; of {len(self.label_texts)} take 'macro_f1'."
      )
    if self.validation is not None and self.validation_share is not None:
      raise errors.DataError(
          "pairs_files.validation and pairs_files.validation_share cannot both "
          "be set."
      )
    labels = list(map(str, self.labels or ()))
    if not isinstance(self.labels, Mapping) and len(
        set(map(pair_metrics.same_form, labels))
    ) < len(labels):
      raise errors.DataError(
          f"pairs_files.labels = {self.labels!r} has a label twice; several "
          "ids of one are {0: 'a', 1: 'a'}."
      )
    numbers = [name.isdecimal() for name in self.fields]
    if any(numbers) != all(numbers) or "0" in self.fields:
      raise errors.DataError(
          f"pairs_files.inputs = {self.inputs!r} and pairs_files.targets = "
          f"{self.targets!r} must be names of fields, or numbers of columns "
          "from 1."
      )
    if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
      raise errors.DataError(
          f"pairs_files.delimiter = {self.delimiter!r} must be one character, "
          "such as ';' or '\\t'."
      )

  @functools.cached_property
  def metric_names(self) -> Sequence[str]:
    """The metrics."""
    return [self.metrics] if isinstance(self.metrics, str) else self.metrics

  @functools.cached_property
  def fields(self) -> list[str]:
    """The fields that are needed, those of the targets last."""
    return list(dict.fromkeys(fields_of(self.inputs) + fields_of(self.targets)))

  @functools.cached_property
  def label_texts(self) -> list[str]:
    """The labels, each once."""
    labels = self.labels or ()
    if isinstance(labels, Mapping):
      labels = labels.values()
    return list(dict.fromkeys(map(str, labels)))

  @functools.cached_property
  def label_of(self) -> dict[str, str]:
    """The label by what may stand for it in a file, as `same_form` has it."""
    form = pair_metrics.same_form
    of_texts = {form(text): text for text in self.label_texts}
    if isinstance(self.labels, Mapping):
      return of_texts | {
          form(text_of_key): str(text)
          for key, text in self.labels.items()
          # True is "true" in JSON, and "True" in the CSV that pandas writes.
          for text_of_key in (str(key), as_text(key))
      }
    if any(text.isdecimal() for text in of_texts):
      return of_texts  # Such as 1 to 5 stars, which are no ids.
    return of_texts | {str(n): text for n, text in enumerate(self.label_texts)}

  def describe(self) -> str:
    """Returns all that the pairs depend on, in a few words."""
    files = [path for split in SPLITS for path in as_list(getattr(self, split))]
    if not files:
      return "pairs_files.train, which is not set"
    inputs = " ".join(filter(None, [self.prefix.strip(), str(self.inputs)]))
    labels = f" as {', '.join(self.label_texts)}" if self.labels else ""
    fields = f"{inputs!r} -> {str(self.targets)!r}{labels}"
    return f"{fields} of {', '.join(files)}"


# A subclass: those that are made by hand take nothing from gin.
from_gin = gin.external_configurable(Options, "pairs_files", module="tasks")


def fields_of(template: str | int) -> list[str]:
  """Returns the fields in a template, or the one that it is."""
  return FIELD.findall(str(template)) or [str(template)]


def as_list(value: str | os.PathLike | Sequence[str] | None) -> list[str]:
  """Returns the texts of an option that may be one."""
  if isinstance(value, str | os.PathLike):
    return [os.fspath(value)]
  return list(map(os.fspath, value or ()))


def as_text(value: Any) -> str:
  """Returns a text, or a number or truth value as JSON writes it.

  Raises:
    ValueError: the value is none of these; the message follows a name.
  """
  if isinstance(value, bool):
    return "true" if value else "false"
  text = str(value)
  if isinstance(value, float) and pair_metrics.number_of(text) is None:
    raise ValueError("is no finite number")
  if not isinstance(value, str | int | float):
    kind = {type(None): "null", dict: "an object", list: "a list"}
    raise ValueError(f"is {kind.get(type(value))}, no text")
  if not records.is_unicode(text):
    raise ValueError("is not Unicode")
  return text


def find_files(options: Options, split: str) -> list[str]:
  """Returns the files of a split in their order.

  Raises:
    DataError: there are none.
  """
  name = split
  if split == "validation" and options.validation_share is not None:
    name = "train"
  value = getattr(options, name)
  if not value:
    advice = "name a file, a pattern or a list of these"
    if name == "validation":
      advice = (
          "name a file, or hold out a part of train with for example "
          "pairs_files.validation_share = 0.1"
      )
    raise errors.DataError(f"pairs_files.{name} is not set; {advice}.")
  found = [
      file
      for path in as_list(value)
      for file in _files_of(f"pairs_files.{name} = {path!r}", path)
  ]
  return list(dict.fromkeys(found))


def _files_of(setting: str, path: str) -> list[str]:
  """Returns the files that a path or a pattern denotes, sorted."""
  path = os.path.expanduser(path)
  if problem := paths.problem_of_remote(path):
    raise errors.DataError(f"{setting} {problem}.")
  try:
    is_there = tf.io.gfile.exists(path)  # Even if it looks like a pattern.
    files = [path] if is_there else sorted(tf.io.gfile.glob(path))
  except tf.errors.OpError as error:
    raise errors.DataError(f"{setting}: {error.message}") from error
  if not files:
    raise errors.DataError(f"{setting}: no file matches.")
  for file in files:
    if "://" not in file and not os.path.isfile(file):
      kind = "a directory" if os.path.isdir(file) else "no regular file"
      raise errors.DataError(
          f"{setting}: {file} is {kind}; name files, also by a pattern such as "
          "'/data/*.tsv'."
      )
  return files
