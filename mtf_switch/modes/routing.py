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

"""The mode that shows where tokens go, configured by gin."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import os
import sys

import gin
import mesh_tensorflow as mtf
import numpy as np
import rich.console
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.modes import routing_examples
from mtf_switch.modes import train
from mtf_switch.pages import pieces
from mtf_switch.pages import routing_page
from mtf_switch.pages import routing_record as record_lib
from mtf_switch.pages import routing_text
from mtf_switch.training import checkpoints
from mtf_switch.training import data_checks
from mtf_switch.training import filled_batches
from mtf_switch.training import inputs
from mtf_switch.training import microbatches
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import token_routing
from mtf_switch.transformer import feed_forward

_NUM_SHOWN = 200
# On the terminal; the page and the record have the others.
_NUM_PRINTED = 3
_MODES = tf.estimator.ModeKeys


@gin.configurable(module="mtf_switch.modes")
@values.checked
def routing(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    input_file: str | None = None,
    task: str | None = None,
    split: str | None = None,
    num_examples: values.Count | None = None,
    other_model_dir: str | None = None,
    checkpoint_step: checkpoints.Selection = None,
    training_batch: values.CountOrZero | None = 0,
):
  """Writes and prints which experts tokens go to.

  Args:
    run: the run.
    console: the console for progress.
    output_dir: the directory for routing.html and routing.json.
    input_file: the examples, one a line: inputs, a tab and targets; without
      targets a decoder's own output takes their place. For an "lm" targets
      alone. None for a split.
    task: the name of the task whose split is read, and whose training batch
      shows what is dropped; None for the run's.
    split: the split; None for "validation". It is read whole, or as far as
      eval.num_examples says.
    num_examples: how many examples are shown token by token; None for 200.
    other_model_dir: a run with the same model, to compare with.
    checkpoint_step: which checkpoints, of both runs; see
      checkpoints.Selection. The tokens of the last one of the run are shown.
    training_batch: the number of the training batch in which tokens compete for
      slots; None leaves that out.

  Raises:
    UserError: the model has no experts, there are no examples, or what is
      needed is missing.
  """
  if input_file and split:
    raise errors.UserError(
        "--input_file and --split do not go together: the examples are those "
        "of a file or of a split."
    )
  if not feed_forward.switches(run.experiment.build_model()):
    raise errors.UserError(
        "the model has no Switch layers, so that no token has an expert to go "
        "to; --mode=routing is for models with SwitchFeedForward."
    )
  experiment = _with_task(run.experiment, task)
  if training_batch is not None:
    _check_training_split(experiment)
  if input_file:
    lines = routing_examples.lines_of(experiment, input_file)
  else:
    split = split or "validation"
    data_checks.check_split(experiment.provider, split, "mesh_eval_dataset_fn")
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the checkpoints"):
      sources = [
          (source, step)
          for source in _runs(run, other_model_dir)
          for step in source.select_checkpoints(checkpoint_step)
      ]
      main = sum(source is run for source, _ in sources) - 1
    batch = None
    if training_batch is not None:
      batch = _training_batch(experiment, run.seed, training_batch, display)
    if input_file:
      examples = routing_examples.of_lines(
          run, experiment, lines, sources[main][1], display
      )
    else:
      examples = routing_examples.of_split(
          experiment, split or "validation", display
      )
    num_shown = num_examples or _NUM_SHOWN
    readings = [
        _read(source, step, examples, num_shown, display)
        for source, step in sources
    ]
    in_training = None
    if batch is not None:
      in_training = _read_in_training(
          run,
          sources[main][1],
          batch,
          training_batch,
          examples[:num_shown],
          display,
      )
    found = record_lib.Routing(
        source=input_file or f"the {split} split",
        task=experiment.task,
        pieces=dict(
            zip(
                ("inputs", "targets"),
                map(pieces.Pieces, experiment.vocabularies),
            )
        ),
        examples=examples,
        readings=readings,
        main=main,
        in_training=in_training,
    )
    with display.working("counting"):
      analyses = [record_lib.analyse(found, x) for x in readings]
      changed = record_lib.changes(found)
    page = routing_page.render(found, analyses, changed)
    record = files.json_text(record_lib.as_json(found, analyses, changed))
  paths = []
  for name, content in (("json", record), ("html", page)):
    paths.append(os.path.join(output_dir, f"routing.{name}"))
    files.write_bytes(paths[-1], content.encode())
  _print(found, analyses, changed)
  terminal.say(console, f"wrote {' and '.join(paths)}.")


def _runs(run: run_lib.Run, other_model_dir: str | None) -> list[run_lib.Run]:
  """The run, and the one to compare it with, if any."""
  if other_model_dir is None:
    return [run]
  files.check_directory(other_model_dir, f"--model_dir={other_model_dir}")
  return [run, dataclasses.replace(run, model_dir=other_model_dir)]


def _with_task(experiment, task: str | None):
  """The Experiment with another task of the same features and vocabulary."""
  if task is None:
    return experiment
  other = dataclasses.replace(experiment, task=task)
  if other.vocabularies != experiment.vocabularies:
    raise errors.UserError(
        f"--task={task} has another vocabulary than the task of the run, "
        f"{experiment.task!r}, so that the model cannot read it."
    )
  return other


def _check_training_split(experiment):
  """Refuses a task without a training batch."""
  if "train" not in experiment.provider.splits:
    raise errors.UserError(
        f"{experiment.task!r} has no 'train' split, of which a batch shows what"
        " is dropped; routing.training_batch = None leaves that out."
    )
  data_checks.check_split(experiment.provider, "train", "mesh_train_dataset_fn")


def _training_batch(
    experiment, seed: int, number: int, display: progress.Display
) -> dict[str, np.ndarray]:
  """A batch of the task's training, `[batch_size, length]` by name."""
  with display.working("reading a training batch"), tf.Graph().as_default():
    tf.set_random_seed(seed)  # As Estimators do, for tf.data mixes it in.
    batches = inputs.training_batches(
        experiment.task,
        experiment.lengths,
        experiment.sequences_per_batch,
        seed,
        number,
        strict_gin.value("train.steps_per_block") or train.STEPS_PER_BLOCK,
    )
    return next(iter(tfds.as_numpy(batches.take(1))))


def _read(
    run: run_lib.Run,
    step: int,
    examples: Sequence[record_lib.Example],
    num_shown: int,
    display: progress.Display,
) -> record_lib.Reading:
  """The routing of all examples with a checkpoint."""
  reader = token_routing.Reader(run, _MODES.PREDICT)
  shown, experts, asked = [], [], []
  features = routing_examples.padded(
      [x.ids for x in examples], run.experiment.lengths
  )
  for layers, example in zip(reader.read(features, step, display), examples):
    layers = _cut(layers, reader.layers, example, {})
    if len(shown) < num_shown:
      shown.append(layers)
    smallest = [np.min_scalar_type(x.num_experts) for x in reader.layers]
    experts.append([x.experts.astype(t) for x, t in zip(layers, smallest)])
    asked.append([x.asked for x in layers])
  return record_lib.Reading(
      run.model_dir,
      step,
      reader.layers,
      shown,
      [np.concatenate(of_layer) for of_layer in zip(*experts)],
      [np.concatenate(of_layer) for of_layer in zip(*asked)],
  )


def _cut(
    tokens: Iterable[token_routing.Tokens],
    layers: Sequence[token_routing.Layer],
    example: record_lib.Example,
    starts: Mapping[str, int],
) -> list[token_routing.Tokens]:
  """The tokens of an example in a row of a batch, for each layer."""
  found = []
  for of_layer, layer in zip(tokens, layers):
    start = starts.get(layer.feature, 0)
    end = start + len(example.ids[layer.feature])
    found.append(token_routing.Tokens(*(x[start:end] for x in of_layer)))
  return found


def _read_in_training(
    run: run_lib.Run,
    step: int,
    batch: Mapping[str, np.ndarray],
    number: int,
    examples: Sequence[record_lib.Example],
    display: progress.Display,
) -> record_lib.InTraining:
  """The routing of a training batch, and of examples that are put into it."""
  experiment = run.experiment
  batch_dim = mtf.Dimension("batch", experiment.sequences_per_batch)
  shapes = {
      name: mtf.Shape([batch_dim, mtf.Dimension("length", length)])
      for name, length in experiment.lengths.items()
  }
  filled = filled_batches.fill(
      batch,
      [x.ids for x in examples],
      microbatches.rows_together(experiment.build_model(), shapes, 1),
  )
  in_row = {}
  for example, place in zip(examples, filled.places):
    in_row.setdefault(place.row, []).append((example, place.starts))
  reader = token_routing.Reader(run, _MODES.TRAIN, number)
  asked, dropped, shown = [], [], []
  for row, layers in enumerate(reader.read(filled.features, step, display)):
    if row < batch_dim.size:
      asked.append([int(x.asked.sum()) for x in layers])
      dropped.append([int(record_lib.is_dropped(x).sum()) for x in layers])
    for example, starts in in_row.get(row, ()):
      shown.append(_cut(layers, reader.layers, example, starts))
  return record_lib.InTraining(
      number,
      run.seed,
      np.sum(asked, axis=0).tolist(),
      np.sum(dropped, axis=0).tolist(),
      [place.row % batch_dim.size for place in filled.places],
      shown,
  )


def _print(
    found: record_lib.Routing,
    analyses: Sequence[Sequence[record_lib.LayerAnalysis]],
    changed: Sequence,
):
  """Prints the first examples and the figures to stdout."""
  output = rich.console.Console(file=sys.stdout)
  output.print(routing_text.legend(found), highlight=False, soft_wrap=True)
  for number in range(min(_NUM_PRINTED, len(found.shown))):
    for line in routing_text.example(found, number):
      output.print(line, soft_wrap=True)
  for reading, of_reading in zip(found.readings, analyses):
    rows = [(reading.name,), *routing_text.specialisation(of_reading)]
    terminal.table(output, routing_text.columns(of_reading), rows, num_left=2)
  pairs = zip(found.readings, found.readings[1:])
  for (one, other), of_pair in zip(pairs, changed):
    title = f"from {one.name} to {other.name}"
    rows = [(title,), *routing_text.changes(one.layers, of_pair)]
    terminal.table(output, routing_text.CHANGE_COLUMNS, rows)
