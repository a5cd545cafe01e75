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

"""metrics.jsonl: the figures of a run, one JSON object a line."""

from collections.abc import Iterable, Mapping
import datetime
import json
import math
import os
import time
from typing import Any, NamedTuple
import warnings

import orjson
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import alarms
from mtf_switch.training import figures as figures_lib

_NAME = "metrics.jsonl"
# Lines of steps that were made again, and lines that are no records.
_DROPPED = "metrics.dropped.jsonl"
_BROKEN = "metrics.broken.jsonl"
# The figures of a training step alone.
_OF_TRAINING = ("learning_rate", "gradient_norm", "weight_norm")
# Of the load of each expert, of which there may be thousands in a line.
_DIGITS_OF_LOAD = 4


def read(model_dir: str) -> list[dict[str, Any]]:
  """Returns the records of a metrics.jsonl; notes how many lines are broken.

  Args:
    model_dir: the directory of the file; without the file there are none.
  """
  path = os.path.join(model_dir, _NAME)
  lines = _read_lines(path)
  broken = sum(line.record is None for line in lines if line.is_whole)
  if broken:
    warnings.warn(
        f"{_lines(broken)} of {path} cannot be read as records, and are left "
        "out.",
        errors.UserNotice,
        stacklevel=1,
    )
  return [line.record for line in lines if line.record is not None]


def tasks(
    records: Iterable[Mapping[str, Any]], step: int, kind: str | None = None
) -> set[str]:
  """Returns the tasks that have a record of a kind at a step.

  Args:
    records: of a metrics.jsonl.
    step: the step.
    kind: "train" or "eval"; None in <split>_eval, where records have none.
  """
  return {
      record["task"]
      for record in records
      if (record.get("kind"), record["step"]) == (kind, step)
  }


def evaluations(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the records of evaluations that have a neg log perplexity.

  Args:
    records: of a metrics.jsonl.
  """
  return [
      record
      for record in records
      if record.get("kind") == "eval"
      and record["neg_log_perplexity"] is not None
  ]


class _Line(NamedTuple):
  """A line of the file.

  Attributes:
    text: the line without its end.
    is_whole: whether it has an end; without one, it may just be written.
    record: its content, with null for NaN; None where it is no record.
  """

  text: bytes
  is_whole: bool
  record: dict[str, Any] | None


def _read_lines(path: str) -> list[_Line]:
  """The lines of a file that are not blank; none if there is no file."""
  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path, "rb") as file:
    *whole, last = file.read().split(b"\n")
  lines = [_Line(text, True, _parse(text)) for text in whole]
  lines.append(_Line(last, False, _parse(last)))
  return [line for line in lines if line.text.strip()]


def _parse(text: bytes) -> dict[str, Any] | None:
  """The record of a line, or None."""
  try:
    record = orjson.loads(text)
  except ValueError:
    try:
      # Earlier versions wrote NaN, which is no JSON.
      record = json.loads(text.decode(), parse_constant=lambda constant: None)
    except (ValueError, RecursionError):
      return None
  return record if _is_record(record) else None


def _is_record(content: Any) -> bool:
  """Whether content has what all readers need.

  Lines of <split>_eval have no "kind" but metrics of their own.
  """
  if not isinstance(content, Mapping):
    return False
  if type(content.get("step")) is not int:
    return False
  if not isinstance(content.get("task"), str):
    return False
  return content.get("kind") != "eval" or isinstance(
      content.get("neg_log_perplexity", ""), float | int | None
  )


def _lines(count: int) -> str:
  return "1 line" if count == 1 else f"{count:,} lines"


class MetricsFile:
  """metrics.jsonl: one JSON object a line, with the keys of `append`.

  Each line has the time since the start of the run. Opened again, the file
  continues from the time of its last line.
  """

  def __init__(self, model_dir: str):
    """Opens the file, and starts the clock.

    Args:
      model_dir: the directory of the file; neither needs to exist.
    """
    self._model_dir = model_dir
    self._path = os.path.join(model_dir, _NAME)
    # Lines of version 0.2.0 have no time.
    earlier = [record.get("seconds") for record in self.read()]
    earlier = [x for x in earlier if isinstance(x, float) and x < math.inf]
    self._started_at = time.monotonic() - max(earlier, default=0.0)

  def read(self) -> list[dict[str, Any]]:
    """Returns the records so far; see the function `read`."""
    return read(self._model_dir)

  def append(
      self,
      step: int,
      kind: str,
      task: str,
      figures: dict[str, float],
      tokens_per_second: float | None = None,
      evaluated: Mapping[str, Any] | None = None,
  ) -> dict[str, Any]:
    """Adds a line; "seconds" and "date" are those of the call.

    Args:
      step: updates made; the figures of a training step are those of the
        batch that its update learns from.
      kind: "train" or "eval".
      task: the name of the task or mixture.
      figures: "cross_entropy", "neg_log_perplexity", "packing_efficiency" and,
        for sparse models, "aux_loss", "z_loss", "fraction_dropped" and
        "<layer>/<name>", which become the object "layers". Those of
        figures.OF_DISTILLATION become the object "distillation", which is there
        only with them, as "learning_rate", "gradient_norm" and "weight_norm"
        are; others are left out.
      tokens_per_second: positions of inputs and targets, padding included.
      evaluated: which examples these are, if not all: see
        evaluated_examples.Cap.record.

    Returns:
      the record of the line.
    """
    layers = {}
    for path, value in figures.items():
      layer, _, name = path.rpartition("/")
      if layer:
        if name == "load":
          value = [round(float(x), _DIGITS_OF_LOAD) for x in value]
        layers.setdefault(layer, {})[name] = value
    record = {
        "step": int(step),
        "kind": kind,
        "cross_entropy": figures["cross_entropy"],
        "neg_log_perplexity": figures["neg_log_perplexity"],
        "aux_loss": figures.get("aux_loss"),
        "z_loss": figures.get("z_loss"),
        "fraction_dropped": figures.get("fraction_dropped"),
        "packing_efficiency": figures["packing_efficiency"],
        "tokens_per_second": tokens_per_second,
        **self._now(),
        "task": task,
        "layers": layers or None,
        **{name: figures[name] for name in _OF_TRAINING if name in figures},
        **(evaluated or {}),
    }
    of_distillation = {
        name: figures[name]
        for name in figures_lib.OF_DISTILLATION
        if name in figures
    }
    if of_distillation:
      record["distillation"] = of_distillation
    files.append_record(self._path, record)
    return record

  def append_warning(self, step: int, task: str, change: alarms.Change):
    """Adds a line of kind "warning".

    Args:
      step: updates made.
      task: the name of the task or mixture.
      change: what begins or ends.
    """
    record = {
        "step": int(step),
        "kind": "warning",
        **self._now(),
        "task": task,
        **change._asdict(),
    }
    files.append_record(self._path, record)

  def _now(self) -> dict[str, Any]:
    """The time, of the run and of the world."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "seconds": round(time.monotonic() - self._started_at, 3),
        "date": now.isoformat(timespec="seconds"),
    }

  def drop_after(self, step: int):
    """Moves lines to files beside this one, and notes it.

    Args:
      step: that of the checkpoint which a run resumes from. Lines of later
        steps, which it makes again, go to metrics.dropped.jsonl; lines that are
        no records, to metrics.broken.jsonl.
    """
    kept, dropped, broken = [], [], []
    for line in _read_lines(self._path):
      if line.record is None:
        broken.append(line.text)
      else:
        (kept if line.record["step"] <= step else dropped).append(line.text)
    if not (dropped or broken):
      return
    for lines, name, what in (
        (dropped, _DROPPED, f"later than step {step}"),
        (broken, _BROKEN, "that cannot be read as records"),
    ):
      if lines:
        files.append_lines(os.path.join(self._model_dir, name), lines)
        warnings.warn(
            f"{_lines(len(lines))} {what} moved from {self._path} to {name}.",
            errors.UserNotice,
            stacklevel=1,
        )
    files.write_bytes(self._path, b"".join(line + b"\n" for line in kept))
