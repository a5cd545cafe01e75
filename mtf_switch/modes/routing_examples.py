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

"""The examples of --mode=routing: lines of a file, or a split of a task."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.modes import decode
from mtf_switch.pages import routing_record as record_lib
from mtf_switch.training import inputs
from mtf_switch.training import prediction
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib


def lines_of(experiment, input_file: str) -> dict[int, list[str]]:
  """Returns the columns of the lines of a file that are not blank, by number.

  Args:
    experiment: the Experiment.
    input_file: the file's path.

  Raises:
    UserError: there are none, or one has too many columns.
    DataError: the file cannot be read.
  """
  lines = {
      number: line.split("\t")
      for number, line in enumerate(decode.read_lines(input_file), start=1)
      if line.strip()
  }
  if not lines:
    raise errors.UserError(f"--input_file={input_file} has no text.")
  names = _features(experiment)
  for number, texts in lines.items():
    if len(texts) > len(names):
      raise errors.UserError(
          f"{input_file}:{number}: {len(texts)} columns where "
          f"{' and '.join(names)} are expected, with a tab between columns."
      )
  return lines


def _features(experiment) -> list[str]:
  is_lm = experiment.model_type == "lm"
  return ["targets"] if is_lm else ["inputs", "targets"]


def of_lines(
    run: run_lib.Run,
    experiment,
    lines: Mapping[int, Sequence[str]],
    step: int,
    display: progress.Display,
) -> list[record_lib.Example]:
  """Returns the examples of a file, with own outputs where it has no targets.

  Args:
    run: the run, whose decoder writes them.
    experiment: the Experiment of the examples' task.
    lines: of `lines_of`.
    step: the checkpoint's step.
    display: the display for progress.
  """
  ids = {number: {} for number in lines}
  for column, name in enumerate(_features(experiment)):
    texts = {n: x[column] for n, x in lines.items() if len(x) > column}
    rows = inputs.encode_lines(
        texts,
        experiment.vocabularies[name == "targets"],
        experiment.lengths[name],
        add_eos=True,
        feature=name,
    )
    for number, row in zip(texts, rows):
      ids[number][name] = _without_padding(row)
  own = [number for number, found in ids.items() if "targets" not in found]
  if own:
    decoded = prediction.predict(
        run,
        prediction_functions.decoding_model_fn(run),
        padded([ids[number] for number in own], experiment.lengths),
        step,
        display,
        "decoded",
    )
    length = experiment.lengths["targets"]
    for predicted, number in zip(decoded, own):
      ids[number]["targets"] = _without_padding(predicted["outputs"][:length])
  return [
      record_lib.Example(number, "", found, number in own)
      for number, found in ids.items()
  ]


def of_split(
    experiment, split: str, display: progress.Display
) -> list[record_lib.Example]:
  """Returns the examples of the split of each task.

  Args:
    experiment: the Experiment of the task.
    split: the split.
    display: the display for progress.

  Raises:
    UserError: there are none.
  """
  inputs.warn_of_losses(
      experiment,
      split,
      "mesh_eval_dataset_fn",
      inputs.EVALUATION_EXAMPLES_COUNTED,
      display,
  )
  datasets = inputs.evaluation_datasets(
      experiment.task, experiment.lengths, split
  )
  examples = []
  names = experiment.provider.output_features
  with display.working(f"reading the {split} split", unit="examples") as report:
    for dataset in datasets:
      with tf.Graph().as_default():
        # tf.data mixes the graph's seed into each of its own.
        tf.set_random_seed(inputs.EVALUATION_SEED)
        found = inputs.without_autograph(dataset.dataset_fn)
        for number, example in enumerate(tfds.as_numpy(found), start=1):
          ids = {
              name: _without_padding(example[name][: experiment.lengths[name]])
              for name in names
          }
          examples.append(record_lib.Example(number, dataset.name, ids))
          report(len(examples))
  if not examples:
    raise errors.UserError(
        f"the {split!r} split of {experiment.task!r} has no examples."
    )
  return examples


def _without_padding(ids: np.ndarray) -> np.ndarray:
  return np.trim_zeros(np.asarray(ids), "b")


def padded(
    sequences: Sequence[Mapping[str, np.ndarray]], lengths: Mapping[str, int]
) -> dict[str, np.ndarray]:
  """Returns sequences as `[sequences, length]` int32 by feature.

  Args:
    sequences: `[tokens]` ids by feature.
    lengths: positions of each feature.
  """
  return {
      name: (
          np.stack(
              [
                  np.pad(x[name], (0, lengths[name] - len(x[name])))
                  for x in sequences
              ]
          ).astype(np.int32)
      )
      for name in sequences[0]
  }
