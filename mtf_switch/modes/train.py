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

"""The modes that train and measure perplexity, configured by gin."""

from collections.abc import Callable, Sequence
import functools
import json
import math
import os
from typing import Any

import gin
import numpy as np
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.planning import accounting
from mtf_switch.training import caching
from mtf_switch.training import checkpoints
from mtf_switch.training import estimator as estimator_lib
from mtf_switch.training import inputs
from mtf_switch.training import metrics_file as metrics_file_lib
from mtf_switch.training import progress
from mtf_switch.training import progress_hook
from mtf_switch.training import tensorboard
from mtf_switch.training import vocabulary_record
from mtf_switch.training.experiment import Experiment

# Evaluates the checkpoint of a step, unless that is done already.
Evaluate = Callable[[int], None]
# Takes the split.
MakeEvaluate = Callable[[Experiment, str, progress.Display], Evaluate]
MakeHooks = Callable[[estimator_lib.TrainingGraph], Sequence[Any]]


@gin.configurable(module="mtf_switch.modes")
def train(
    experiment: Experiment,
    console: rich.console.Console,
    steps: int = gin.REQUIRED,
    save_checkpoints_steps: int = 1000,
    keep_checkpoint_max: int = 5,
    metrics_every: int = 10,
    eval_every: int | None = None,
    eval_split: str = "validation",
    steps_per_block: int = 10000,
    iterations_per_loop: int = 100,
    make_evaluate: MakeEvaluate | None = None,
    make_more_hooks: MakeHooks | None = None,
):
  """Trains, from the latest checkpoint if there is one.

  Args:
    experiment: what the run is about.
    console: where progress is shown.
    steps: updates to be made in all, those before the checkpoint included.
    save_checkpoints_steps: steps between two checkpoints.
    keep_checkpoint_max: how many of the latest checkpoints stay.
    metrics_every: steps between two "train" lines of metrics.jsonl.
    eval_every: steps between two evaluations; each saves a checkpoint, and one
      follows at the end. None for none.
    eval_split: the split for them.
    steps_per_block: steps after which the examples are shuffled afresh, in a
      new session. Resuming reads at most so many batches again.
    iterations_per_loop: steps that a TPU makes between two looks at the host.
    make_evaluate: makes the function that evaluates, for modes that are built
      on this one. None evaluates as `perplexity_eval` does.
    make_more_hooks: makes hooks that come before the others, for such modes.

  Raises:
    UserError: no learning rate is set, the checkpoints are of another
      vocabulary, a cache is missing, or the loss is no longer a number.
  """
  if experiment.learning_rate_schedule is None:
    raise errors.UserError(
        "Experiment.learning_rate_schedule is not set; add for example "
        "--gin_file=schedules/rsqrt_no_ramp_down.gin."
    )
  model_dir = experiment.model_dir
  vocabulary_record.keep(model_dir, experiment.vocabularies)
  caching.check(experiment.provider, "train", "mesh_train_dataset_fn")
  if eval_every:
    caching.check(experiment.provider, eval_split, "mesh_eval_dataset_fn")
  display = progress.Display(console)
  metrics_file = metrics_file_lib.MetricsFile(model_dir)
  save_at_multiples_of = [save_checkpoints_steps]
  # The pipeline of a block is a graph of its own: of a mixture of a hundred
  # tasks, a large one.
  stop_at = {*range(steps_per_block, steps, steps_per_block), steps}
  listeners = []

  def make_hooks(graph):
    _write_model_size(experiment, graph)
    return [
        *(make_more_hooks(graph) if make_more_hooks else ()),
        progress_hook.ProgressHook(
            model_dir,
            experiment.task,
            graph.figures,
            graph.layer_figures,
            graph.summaries,
            display,
            metrics_file,
            steps,
            experiment.positions_per_batch,
            metrics_every,
        ),
        checkpoints.CheckpointHook(
            model_dir,
            graph.lowering,
            save_at_multiples_of,
            keep_checkpoint_max,
            listeners,
        ),
    ]

  estimator = estimator_lib.make_estimator(
      experiment,
      estimator_lib.training_model_fn(experiment, steps, make_hooks),
      iterations_per_loop,
  )

  def train_until(last_step):
    first_step = checkpoints.latest_step(model_dir)
    display.status(f"building the model, to train from step {first_step}")
    try:
      estimator.train(
          lambda params: inputs.training_batches(
              experiment.task,
              experiment.lengths,
              experiment.sequences_per_batch,
              experiment.seed,
              first_step,
              steps_per_block,
          ),
          max_steps=last_step,
      )
    except tf.estimator.NanLossDuringTrainingError:
      raise errors.UserError(
          "the loss is no longer a number; the last checkpoint is of step "
          f"{checkpoints.latest_step(model_dir)}. A lower learning rate or a "
          "longer warm-up may help."
      ) from None

  with display:
    first_step = checkpoints.latest_step(model_dir)
    if first_step >= steps:
      display.note(
          f"nothing to train: {model_dir} has a checkpoint of step "
          f"{first_step}, and train.steps = {steps}"
      )
    if eval_every:
      make_evaluate = make_evaluate or _make_perplexity_evaluate
      evaluate = make_evaluate(experiment, eval_split, display)
      save_at_multiples_of.append(eval_every)
      if experiment.tpu:
        # A TPU serves one session at a time: training stops to evaluate.
        stop_at.update(range(eval_every, steps, eval_every))
      else:
        listeners.append(_EvaluationListener(eval_every, evaluate))
      if first_step and first_step % eval_every == 0:
        evaluate(first_step)  # Unless an interruption prevented it, it is done.
    for step in sorted(stop_at):
      if step > first_step:
        train_until(step)
        if experiment.tpu and eval_every and step % eval_every == 0:
          evaluate(step)
    if eval_every:
      evaluate(checkpoints.latest_step(model_dir))


@gin.configurable(module="mtf_switch.modes")
def perplexity_eval(
    experiment: Experiment,
    console: rich.console.Console,
    split: str = "validation",
    checkpoint_step: checkpoints.Selection = None,
):
  """Measures the cross-entropy of each task over a whole split.

  Appends an "eval" line to metrics.jsonl for each task of a mixture.

  Args:
    experiment: what the run is about.
    console: where progress is shown.
    split: the split.
    checkpoint_step: which checkpoints; see checkpoints.Selection.

  Raises:
    UserError: the checkpoint, the split or its examples are missing.
  """
  steps = checkpoints.select(experiment.model_dir, checkpoint_step)
  caching.check(experiment.provider, split, "mesh_eval_dataset_fn")
  metrics_file = metrics_file_lib.MetricsFile(experiment.model_dir)
  with progress.Display(console) as display:
    for step in steps:
      _evaluate(experiment, step, split, metrics_file, display, again=True)


class _EvaluationListener(tf.train.CheckpointSaverListener):
  """Evaluates checkpoints while the training session stays open.

  TensorFlow's own train_and_evaluate does the same. Stopping and starting
  again would build the training graph and fill the shuffle buffers each time.
  """

  def __init__(self, every: int, evaluate: Evaluate):
    self._every = every
    self._evaluate = evaluate

  def after_save(self, session, global_step_value):
    if global_step_value % self._every == 0:
      self._evaluate(int(global_step_value))


def _make_perplexity_evaluate(
    experiment: Experiment, split: str, display: progress.Display
) -> Evaluate:
  """What evaluates a step as `perplexity_eval` does."""
  metrics_file = metrics_file_lib.MetricsFile(experiment.model_dir)
  return functools.partial(
      _evaluate,
      experiment,
      split=split,
      metrics_file=metrics_file,
      display=display,
      again=False,
  )


def _evaluate(
    experiment: Experiment,
    step: int,
    split: str,
    metrics_file: metrics_file_lib.MetricsFile,
    display: progress.Display,
    again: bool,
):
  """Measures each task at one step and appends a line to metrics.jsonl.

  Args:
    experiment: what the run is about.
    step: the step of the checkpoint.
    split: the split.
    metrics_file: where the figures go.
    display: where they are shown.
    again: whether to measure what metrics_file has already.

  Raises:
    UserError: there is no such split, or nothing in it.
  """
  datasets = [
      dataset
      for dataset in inputs.evaluation_datasets(
          experiment.task, experiment.lengths, split
      )
      if again or not metrics_file.has("eval", step, dataset.name)
  ]
  if not datasets:
    return
  names = [dataset.name for dataset in datasets]
  what = names[0] if len(names) == 1 else f"{len(names)} tasks"
  display.status(f"evaluating {what} at step {step}")
  dataset_fns = [dataset.dataset_fn for dataset in datasets]
  all_figures = _figures_of(experiment, step, dataset_fns)
  for number, name in enumerate(names):
    figures = {key: values[number] for key, values in all_figures.items()}
    if math.isnan(figures["cross_entropy"]):
      raise errors.UserError(
          f"the {split!r} split of {name!r} has no target tokens to evaluate."
      )
    metrics_file.append(step, "eval", name, figures)
    tensorboard.write_scalars(
        os.path.join(experiment.model_dir, f"eval_{name}"),
        step,
        {key: value for key, value in figures.items() if not value.shape},
    )
    display.note(
        f"step {step}  {name}  "
        + "  ".join(
            f"{key} {figures[key]:.4f}"
            for key in ("neg_log_perplexity", "fraction_dropped")
            if key in figures
        )
    )


def _figures_of(experiment: Experiment, step: int, dataset_fns):
  """The figures of a checkpoint over datasets, `[num_datasets, ...]` by name.

  All of them in one session: there may be a hundred languages, and each would
  build the model's graph again.
  """
  batch_size = experiment.sequences_per_batch
  num_batches = None
  if experiment.tpu:  # Elsewhere the examples end by themselves.
    num_batches = inputs.count_batches(dataset_fns, batch_size)
  figures = estimator_lib.make_estimator(
      experiment,
      estimator_lib.perplexity_model_fn(experiment, len(dataset_fns)),
  ).evaluate(
      lambda params: inputs.evaluation_batches(dataset_fns, batch_size),
      steps=num_batches,
      checkpoint_path=checkpoints.path(experiment.model_dir, step),
  )
  # What the Estimator adds is of all batches.
  return {name: x for name, x in figures.items() if np.ndim(x)}


def _write_model_size(
    experiment: Experiment, graph: estimator_lib.TrainingGraph
):
  """Writes model.json: parameters, and FLOPs of the forward pass.

  FLOPs are null for a model whose layers Table 9's way of counting does not
  know.
  """
  variables = graph.lowering.graph.trainable_variables
  size = {
      "parameters": sum(variable.size for variable in variables),
      "flops_per_sequence": accounting.flops_of_model(
          graph.model, experiment.lengths
      ),
  }
  path = os.path.join(experiment.model_dir, "model.json")
  files.write_lines(path, [json.dumps(size)])
