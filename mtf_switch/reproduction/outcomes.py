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

"""The record of a run, made of the files that the run has left behind."""

from collections.abc import Iterable, Mapping, Sequence
import os
import pathlib
import shlex
import statistics
from typing import Any

from mtf_switch import files
from mtf_switch import machine
from mtf_switch import versions as versions_lib
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs as runs_lib
from mtf_switch.reproduction import small_card
from mtf_switch.training import metrics_file

# As files.read_json takes it.
_MODEL = {"parameters": int, "flops_per_sequence": float | None}
_NOT_FINITE = "not_finite.json"
_MEANS_OF_LAYERS = ("load_max", "load_cv")
# Lines of metrics.jsonl at the start, while memory is taken for the first time.
_LINES_BEFORE_FULL_SPEED = 2


def record_of(
    run: runs_lib.Run,
    cards: runs_lib.Cards,
    output_dir: str,
    gin: str,
    configuration: str,
    started: str,
    num_cores: int,
    failure: str | None,
    published_files: str = small_card.PUBLISHED_PLACE,
) -> records_lib.Record:
  """Returns the record of a run that has ended.

  Args:
    run: the run.
    cards: all small cards, by name.
    output_dir: the directory of all runs.
    gin: the text of its card.
    configuration: the hash of its settings.
    started: when it was started; ISO 8601, UTC.
    num_cores: how many cores it had.
    failure: None, or one line that says why it failed. If it says that numbers
      were not finite, the run has diverged and has not failed.
    published_files: the directory of the published files that cards read.

  Raises:
    UserError: a file of the run is damaged.
  """
  directory = runs_lib.model_dir(output_dir, run)
  lines = metrics_file.read(directory)
  diverged = None
  if failure and _NOT_FINITE in failure:
    reports = files.read_json(
        os.path.join(directory, _NOT_FINITE), [{"step": int}]
    )
    if reports:
      diverged, failure = reports[-1]["step"], None
  if failure:
    # Records are of no machine's paths.
    failure = failure.replace(os.path.join(output_dir, ""), "")
    failure = failure.replace(published_files, small_card.PUBLISHED_PLACE)
  model = files.read_json(os.path.join(directory, "model.json"), _MODEL) or {}
  best = files.read_json(
      os.path.join(directory, "best.json"),
      [{"task": str, "metric": str, "step": int, "value": float}],
  )
  command = ["run_switch", *runs_lib.flags("", run, cards)]
  return records_lib.Record(
      card=run.card,
      seed=run.seed,
      kind=records_lib.SPEED if run.is_timed else records_lib.QUALITY,
      contest=run.contest,
      round=run.round,
      mode=cards[run.card].mode,
      command=shlex.join(command),
      gin=gin,
      configuration=configuration,
      versions=_versions(directory),
      machine={**machine.device(), "run_cores": num_cores},
      started=started,
      seconds=max((line.get("seconds") or 0.0 for line in lines), default=0.0),
      evaluations=[
          {
              name: line[name]
              for name in ("step", "seconds", "task", "neg_log_perplexity")
          }
          for line in lines
          if line.get("kind") == "eval"
      ],
      scores={
          score["task"]: {
              name: score[name] for name in ("metric", "step", "value")
          }
          for score in best or ()
      },
      figures={
          **{name: model.get(name) for name in _MODEL},
          **figures_of(lines, run.is_timed),
      },
      diverged=diverged,
      failed=failure,
  )


def figures_of(
    lines: Sequence[Mapping[str, Any]], is_timed: bool
) -> dict[str, float | None]:
  """Returns the figures of a run, as records.Record describes them.

  Args:
    lines: of its metrics.jsonl.
    is_timed: whether it was made for its speed.
  """
  training = [line for line in lines if line.get("kind") == "train"]
  last_step = training[-1]["step"] if training else 0
  late = [line for line in training if 2 * line["step"] > last_step]
  layers = [
      layer for line in late for layer in (line.get("layers") or {}).values()
  ]
  speeds = [line.get("tokens_per_second") for line in training]
  if is_timed:
    speeds = speeds[_LINES_BEFORE_FULL_SPEED:]
  speeds = [speed for speed in speeds if speed is not None]
  return {
      "steps": last_step,
      "tokens_per_second": statistics.median(speeds) if speeds else None,
      "fraction_dropped": _mean(x.get("fraction_dropped") for x in late),
      **{
          name: _mean(layer.get(name) for layer in layers)
          for name in _MEANS_OF_LAYERS
      },
  }


def _mean(numbers: Iterable[float | None]) -> float | None:
  known = [number for number in numbers if number is not None]
  return statistics.fmean(known) if known else None


def _versions(directory: str) -> dict[str, str]:
  """The versions of what a run's numbers depend on."""
  path = pathlib.Path(directory, versions_lib.FILE)
  if not path.exists():  # The program ended before it opened the directory.
    return {}
  versions = versions_lib.parse(path.read_text())
  return {
      name: versions[name] for name in versions_lib.MAIN if name in versions
  }
