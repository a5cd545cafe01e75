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

"""What a run has left in its model_dir, also one of an earlier version.

A file that is missing leaves its field empty. One that has been damaged is a
mistake that the user is told of; lines of metrics.jsonl are left out and noted.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import functools
import math
import os
from typing import Any
import warnings

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import versions
from mtf_switch.training import gin_sources
from mtf_switch.training import metrics_file
from mtf_switch.training import vocabulary_record

Record = Mapping[str, Any]

# Steps of larger numbers are no steps.
_MOST_STEPS = 2**53
# Of maps with a hundred columns: their means are as good as those of all.
_LINES_OF_MAPS = 6000
# The object of a line with the figures of a student.
_OF_TEACHER = "distillation"
_OPERATIVE_CONFIG = "operative_config.gin"


@dataclasses.dataclass(frozen=True)
class Run:
  """What is known of a run.

  Attributes:
    name: for people; another than those of the runs beside it.
    directory: its model_dir.
    training: the "train" lines of metrics.jsonl by step; of lines of the same
      step and task, the last.
    evaluations: its "eval" lines, likewise.
    scores: the lines of metrics.jsonl in each <split>_eval, by split.
    warnings: the "warning" lines, in the order of the file.
    model: the content of model.json.
    configuration: the values of the bindings of operative_config.gin, as text.
    gin: that file's text; "" without it.
    versions: those of Python and the libraries.
    vocabularies: the content of vocabulary.json, by feature.
    commands: the command lines, the first one first.
    not_finite: the steps at which numbers were not finite.
    notes: what was left out in reading, one line each.
  """

  name: str
  directory: str
  training: Sequence[Record]
  evaluations: Sequence[Record]
  scores: Mapping[str, Sequence[Record]]
  warnings: Sequence[Record]
  model: Mapping[str, Any]
  configuration: Mapping[str, str]
  gin: str
  versions: Mapping[str, str]
  vocabularies: Mapping[str, Record]
  commands: Sequence[str]
  not_finite: Sequence[int]
  notes: Sequence[str]

  @property
  def tasks(self) -> list[str]:
    """The tasks of the evaluations, in their order."""
    return list(self.evaluations_of_tasks)

  @functools.cached_property
  def evaluations_of_tasks(self) -> Mapping[str, Sequence[Record]]:
    """The evaluations by task."""
    found = {}
    for record in self.evaluations:
      found.setdefault(record["task"], []).append(record)
    return found

  @functools.cached_property
  def figures(self) -> Mapping[str, np.ndarray]:
    """The numbers of `training` by name, [lines], NaN where there is none."""
    names = dict.fromkeys(name for x in self.training for name in x)
    columns = {name: column(self.training, name) for name in names}
    if _OF_TEACHER in names:
      lines = [_object(x.get(_OF_TEACHER)) for x in self.training]
      names = dict.fromkeys(name for x in lines for name in x)
      columns |= {f"{_OF_TEACHER}: {x}": column(lines, x) for x in names}
    return {name: x for name, x in columns.items() if np.isfinite(x).any()}

  @functools.cached_property
  def some_training(self) -> Sequence[Record]:
    """Lines of `training` at equal distances, enough for a map of layers."""
    every = max(1, len(self.training) // _LINES_OF_MAPS)
    return self.training[::-every][::-1]

  @functools.cached_property
  def layer_names(self) -> Sequence[str]:
    """The names of the Switch layers, in the order of the file."""
    return list(dict.fromkeys(x for r in self.some_training for x in layers(r)))


def read_all(directories: Sequence[str]) -> list[Run]:
  """Returns what several runs have left.

  Args:
    directories: their model_dirs.

  Raises:
    UserError: one of them has no run, is given twice, or has a damaged file.
  """
  same = [os.path.normpath(x) for x in directories]
  for directory, path in zip(directories, same):
    if same.count(path) > 1:
      raise errors.UserError(
          f"--model_dir={directory} is given twice; name each run once."
      )
  return [
      _read(directory, name)
      for directory, name in zip(directories, _names(same))
  ]


def _names(paths: Sequence[str]) -> list[str]:
  """The last parts of paths, as many as make them different."""
  parts = [path.split(os.sep) for path in paths]
  for count in range(1, max(map(len, parts)) + 1):
    names = [os.sep.join(part[-count:]) for part in parts]
    if len(set(names)) == len(names):
      return names
  return list(paths)


def _read(directory: str, name: str) -> Run:
  """What one run has left."""
  files.check_directory(directory, f"--model_dir={directory}")
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    records = _with_steps(metrics_file.read(directory))
    scores = {
        split: _with_steps(
            metrics_file.read(os.path.join(directory, f"{split}_eval"))
        )
        for split in _decoded_splits(directory)
    }
  if not records and not any(scores.values()):
    raise errors.UserError(
        f"--model_dir={directory} has no figures of a run in metrics.jsonl; "
        "name the --model_dir of a run that has reached its first steps."
    )
  gin = _text(os.path.join(directory, _OPERATIVE_CONFIG))
  not_finite = files.read_json(
      os.path.join(directory, "not_finite.json"), [{"step": int}]
  )
  return Run(
      name=name,
      directory=directory,
      training=_by_step(x for x in records if x.get("kind") == "train"),
      evaluations=_by_step(metrics_file.evaluations(records)),
      scores={split: _by_step(lines) for split, lines in scores.items()},
      warnings=[x for x in records if x.get("kind") == "warning"],
      model=files.read_json(
          os.path.join(directory, "model.json"), dict[str, Any]
      )
      or {},
      configuration=_configuration(gin),
      gin=gin,
      versions=versions.parse(_text(os.path.join(directory, versions.FILE))),
      vocabularies=files.read_json(
          os.path.join(directory, "vocabulary.json"), vocabulary_record.SHAPE
      )
      or {},
      commands=_commands(os.path.join(directory, "commands")),
      not_finite=[x["step"] for x in not_finite or ()],
      notes=[
          str(x.message)
          for x in caught
          if issubclass(x.category, errors.UserNotice)
      ],
  )


def _with_steps(records: Iterable[Record]) -> list[Record]:
  return [x for x in records if 0 <= x["step"] < _MOST_STEPS]


def _by_step(records: Iterable[Record]) -> list[Record]:
  """Records in the order of their steps; the last one of a step and a task."""
  last = {(x["step"], x["task"]): x for x in records}
  return sorted(last.values(), key=lambda x: x["step"])


def _decoded_splits(directory: str) -> list[str]:
  """The splits that were decoded, from the names of directories."""
  names = (name.rstrip("/") for name in tf.io.gfile.listdir(directory))
  return sorted(x.removesuffix("_eval") for x in names if x.endswith("_eval"))


def _text(path: str) -> str:
  """The text of a file; "" without it."""
  if not tf.io.gfile.exists(path):
    return ""
  with tf.io.gfile.GFile(path, "rb") as file:
    return file.read().decode(errors="replace")


def _commands(directory: str) -> list[str]:
  """The command lines, by the numbers in their files' names."""
  if not tf.io.gfile.isdir(directory):
    return []
  names = {}
  for name in tf.io.gfile.listdir(directory):
    number = name.removeprefix("command.")
    if number.isascii() and number.isdecimal():
      names[int(number)] = name
  return [
      _text(os.path.join(directory, names[number])).strip()
      for number in sorted(names)
  ]


def _configuration(gin: str) -> dict[str, str]:
  """The bindings of a text in gin, by what they set. Nothing is executed."""
  found = {}
  for binding in gin_sources.bindings([], [gin], {}):
    scope = f"{binding.scope}/" if binding.scope else ""
    parameter = f".{binding.parameter}" if binding.parameter else ""
    name = f"{scope}{binding.selector}{parameter}"
    found[name] = _gin_text(binding.value)
  return found


def _gin_text(value: Any) -> str:
  """A value as gin writes it."""
  if isinstance(value, gin_sources.Reference):
    return f"{'%' if value.is_macro else '@'}{value.name}"
  if isinstance(value, Mapping):
    pairs = (f"{_gin_text(k)}: {_gin_text(v)}" for k, v in value.items())
    return f"{{{', '.join(pairs)}}}"
  if isinstance(value, list):
    return f"[{', '.join(map(_gin_text, value))}]"
  if isinstance(value, tuple):
    end = "," if len(value) == 1 else ""
    return f"({', '.join(map(_gin_text, value))}{end})"
  return repr(value)


def number(value: Any) -> float:
  """Returns a number of a record, NaN for what is none or is infinite."""
  if type(value) not in (int, float):
    return math.nan
  try:
    value = float(value)
  except OverflowError:
    return math.nan
  return value if math.isfinite(value) else math.nan


def column(records: Sequence[Record], name: str) -> np.ndarray:
  """Returns [records], the number that each has by a name, or NaN."""
  values = [record.get(name) for record in records]
  if {type(value) for value in values} <= {float, type(None)}:
    numbers = np.array(values, float)  # None becomes NaN.
    return np.where(np.isfinite(numbers), numbers, math.nan)
  return np.array([number(value) for value in values], float)


def layers(record: Record) -> Mapping[str, Record]:
  """Returns the figures of a record's Switch layers, by their names."""
  found = _object(record.get("layers"))
  return {
      name: figures for name, figures in found.items() if type(figures) is dict
  }


def _object(value: Any) -> Record:
  """An object of a record, without content for what is none."""
  return value if type(value) is dict else {}
