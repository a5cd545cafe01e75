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

"""What a run does after its numbers have stopped being finite."""

from collections.abc import Iterator, Mapping, Sequence
import datetime
import os
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.training import checkpoints
from mtf_switch.training import not_finite
from mtf_switch.training import progress
from mtf_switch.training import replay
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches

_REPORTS = "not_finite.json"
# Where checkpoints go that must not be resumed from.
_SET_ASIDE = "not_finite"
# Examples of a batch in a report, and characters of each text.
_NUM_EXAMPLES = 16
_NUM_CHARACTERS = 500


def recover(
    run: run_lib.Run,
    error: not_finite.NotFiniteError,
    training: replay.Training,
    skips: bool,
    max_skipped_batches: int,
    display: progress.Display,
):
  """Finds where it began and, if it may, leaves out the batch.

  Training then goes on from the last checkpoint.

  Args:
    run: the run.
    error: what training has seen.
    training: as the run has called it.
    skips: whether the batch may be left out.
    max_skipped_batches: how many the run may leave out in all.
    display: the display.

  Raises:
    UserError: the run stops here.
  """
  model_dir = run.model_dir
  for step, names in set_aside(model_dir):
    display.note(
        f"the checkpoint of step {step} is moved to "
        f"{os.path.join(model_dir, _SET_ASIDE)}: {not_finite.fault_of(names)}"
    )
  checkpoint = checkpoints.latest_step(model_dir)
  display.status(
      f"step {error.step}: {error.what}; looking for its origin from step "
      f"{checkpoint} on"
  )
  finding = replay.find(run, error, training, display)
  skipped = skipped_batches.read(model_dir)
  batch = skipped_batches.batch_of(finding.step - 1, skipped)
  _report(run, error, finding, checkpoint, batch)
  line = (
      f"step {finding.step}: {finding.place or finding.what}; see "
      f"{os.path.join(model_dir, _REPORTS)}."
  )
  good = (
      f" The last good checkpoint is of step {checkpoint}."
      if checkpoint
      else " There is no checkpoint before it."
  )
  if not skips or (finding.place and finding.place.phase == "weights"):
    raise errors.UserError(
        f"{line}{good} A lower learning rate or a longer warm-up may help, or "
        "train.on_not_finite = 'skip', which leaves such batches out."
    )
  if len(skipped) >= max_skipped_batches:
    raise errors.UserError(
        f"{line}{good} train.max_skipped_batches = {max_skipped_batches} are "
        "left out already; this is hardly due to single batches. A lower "
        "learning rate or a longer warm-up may help."
    )
  skipped_batches.add(model_dir, batch, finding.step)
  display.note(
      f"{line} Batch {batch} is left out ({len(skipped) + 1} of at most "
      f"{max_skipped_batches}); going on from step {checkpoint}"
  )


def set_aside(model_dir: str) -> Iterator[tuple[int, list[str]]]:
  """Moves the latest checkpoints away whose variables are not finite.

  Such checkpoints are not saved, but older versions did.

  Args:
    model_dir: the directory of the checkpoints.

  Yields:
    The step of each one that is moved, and the names of the variables.
  """
  while step := checkpoints.latest_step(model_dir):
    names = _not_finite_in(checkpoints.path(model_dir, step))
    if not names:
      return
    checkpoints.set_aside(model_dir, step, os.path.join(model_dir, _SET_ASIDE))
    yield step, names


def _not_finite_in(path: str) -> list[str]:
  """The names of a checkpoint's variables that are not finite."""
  reader = tf.train.load_checkpoint(path)
  dtypes = reader.get_variable_to_dtype_map()
  return [
      name
      for name, dtype in sorted(dtypes.items())
      if dtype.is_floating
      and not np.isfinite(reader.get_tensor(name).astype(np.float32)).all()
  ]


def _report(
    run: run_lib.Run,
    error: not_finite.NotFiniteError,
    finding: replay.Finding,
    checkpoint: int,
    batch: int,
):
  """Adds a finding to the file of reports."""
  path = os.path.join(run.model_dir, _REPORTS)
  report = {
      "step": finding.step,
      "seen_at_step": error.step,
      "seen": error.what,
      "place": finding.place and finding.place._asdict(),
      "last_good_checkpoint": checkpoint or None,
      "batch": batch,
      "examples": examples(finding.batch, run.experiment.vocabularies),
      "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }
  files.write_json(path, [*(files.read_json(path, [Any]) or []), report])


def examples(
    batch: Mapping[str, np.ndarray], vocabularies: Sequence[Any]
) -> list[dict[str, str]]:
  """Returns the first examples of a batch as text.

  Args:
    batch: `[batch_size, length]` ids by name; "<name>_segmentation" numbers the
      examples of a row from 1, where rows have several.
    vocabularies: of inputs and targets.

  Returns:
    texts by feature, cut to a length that can be read.
  """
  named = dict(zip(("inputs", "targets"), vocabularies))
  features = {name: v for name, v in named.items() if name in batch}
  numbers = {
      name: np.asarray(batch.get(f"{name}_segmentation", batch[name] != 0))
      for name in features
  }
  found = []
  for row in range(max((len(x) for x in numbers.values()), default=0)):
    last = max(int(numbers[name][row].max()) for name in features)
    for number in range(1, last + 1):
      texts = {}
      for name, vocabulary in features.items():
        ids = batch[name][row][numbers[name][row] == number]
        text = vocabulary.decode([int(i) for i in ids])
        texts[name] = text[:_NUM_CHARACTERS]
      found.append(texts)
      if len(found) == _NUM_EXAMPLES:
        return found
  return found
