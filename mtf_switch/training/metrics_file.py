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

import datetime
import json
import math
import os
import time
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import files

_NAME = "metrics.jsonl"


def read(model_dir: str) -> list[dict[str, Any]]:
  """Returns the records of a metrics.jsonl, without a line that was cut off.

  Args:
    model_dir: the directory of the file; without the file there are none.
  """
  path = os.path.join(model_dir, _NAME)
  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path) as file:
    text = file.read()
  return [json.loads(line) for line in text.split("\n")[:-1]]


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
    earlier_seconds = [record.get("seconds") or 0.0 for record in self.read()]
    self._started_at = time.monotonic() - max(earlier_seconds, default=0.0)

  def read(self) -> list[dict[str, Any]]:
    """Returns the records so far, without a last line that was cut off."""
    return read(self._model_dir)

  def has(self, kind: str, step: int, task: str) -> bool:
    """Whether there is such a line."""
    return any(
        (r["kind"], r["step"], r["task"]) == (kind, step, task)
        for r in self.read()
    )

  def append(
      self,
      step: int,
      kind: str,
      task: str,
      figures: dict[str, float],
      tokens_per_second: float | None = None,
  ):
    """Adds a line; "seconds" and "date" are those of the call.

    Args:
      step: updates made; the figures of a training step are those of the
        batch that its update learns from.
      kind: "train" or "eval".
      task: the name of the task or mixture.
      figures: "cross_entropy", "neg_log_perplexity", "packing_efficiency" and,
        for sparse models, "aux_loss", "z_loss", "fraction_dropped" and
        "<layer>/<name>", which become the object "layers"; others are left out.
      tokens_per_second: positions of inputs and targets, padding included.
    """

    def number(value):
      if np.ndim(value):
        return [number(x) for x in value]
      return (
          float(value) if value is not None and math.isfinite(value) else None
      )

    layers = {}
    for path, value in figures.items():
      layer, _, name = path.rpartition("/")
      if layer:
        layers.setdefault(layer, {})[name] = number(value)
    record = {
        "step": int(step),
        "kind": kind,
        "cross_entropy": number(figures["cross_entropy"]),
        "neg_log_perplexity": number(figures["neg_log_perplexity"]),
        "aux_loss": number(figures.get("aux_loss")),
        "z_loss": number(figures.get("z_loss")),
        "fraction_dropped": number(figures.get("fraction_dropped")),
        "packing_efficiency": number(figures["packing_efficiency"]),
        "tokens_per_second": number(tokens_per_second),
        "seconds": round(time.monotonic() - self._started_at, 3),
        "date": (
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        ),
        "task": task,
        "layers": layers or None,
    }
    files.append_record(self._path, record)

  def drop_after(self, step: int):
    """Drops the lines of steps that a run resumed at a step makes again."""
    if tf.io.gfile.exists(self._path):
      kept = [record for record in self.read() if record["step"] <= step]
      files.write_lines(self._path, map(json.dumps, kept))
