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

"""The mode that measures perplexity, and the same evaluation during training.

Configured by gin.
"""

from collections.abc import Sequence
import functools
import math
import os

import gin
import numpy as np
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.training import best_checkpoints
from mtf_switch.training import caching
from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import estimators
from mtf_switch.training import evaluated_examples
from mtf_switch.training import inputs
from mtf_switch.training import metrics_file
from mtf_switch.training import model_functions
from mtf_switch.training import progress
from mtf_switch.training import progress_hook
from mtf_switch.training import run as run_lib
from mtf_switch.training import tensorboard
from mtf_switch.training import watching


@gin.configurable(module="mtf_switch.modes")
@values.checked
def perplexity_eval(
    run: run_lib.Run,
    console: rich.console.Console,
    split: str = "validation",
    checkpoint_step: checkpoints.Selection = None,
    watch: bool = False,
    watch_minutes: values.Count | None = None,
):
  """Measures the cross-entropy of each task over a whole split.

  Appends an "eval" line to metrics.jsonl for each task of a mixture.

  Args:
    run: the run.
    console: the console for progress.
    split: the split.
    checkpoint_step: which checkpoints; see checkpoints.Selection.
    watch: whether to evaluate all checkpoints as they come, each once.
    watch_minutes: how long to wait for one; None to wait without an end.

  Raises:
    UserError: the checkpoint, the split or its examples are missing.
  """
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the checkpoints"):
      steps = () if watch else run.select_checkpoints(checkpoint_step)
    caching.check(run.experiment.provider, split, "mesh_eval_dataset_fn")
    inputs.warn_of_losses(
        run.experiment,
        split,
        "mesh_eval_dataset_fn",
        inputs.EVALUATION_EXAMPLES_COUNTED,
        display,
    )
    counts = {}
    for step in steps:
      _evaluate(run, step, split, display, counts, again=True)
    if watch:
      watching.evaluate(
          run,
          checkpoint_step,
          watch_minutes,
          make_evaluate(run, split, display).evaluate,
          display,
      )


def make_evaluate(
    run: run_lib.Run, split: str, display: progress.Display
) -> best_checkpoints.Evaluation:
  """Returns the evaluation of a run's checkpoints.

  Args:
    run: the run.
    split: the split.
    display: the display for progress.

  Returns:
    functions, of which the first does nothing if metrics.jsonl already has the
    step's figures.
  """
  return best_checkpoints.Evaluation(
      functools.partial(
          _evaluate, run, split=split, display=display, counts={}, again=False
      ),
      lambda: best_checkpoints.mean_perplexities(
          run.metrics_file.read(),
          [task.name for task in seqio.get_subtasks(run.experiment.provider)],
      ),
  )


def _evaluate(
    run: run_lib.Run,
    step: int,
    split: str,
    display: progress.Display,
    counts: dict[Sequence[str], int],
    again: bool,
):
  """Measures each task at one step and appends a line to metrics.jsonl.

  Args:
    run: the run.
    step: the step of the checkpoint.
    split: the split.
    display: the display for progress and figures.
    counts: the batches of tasks that have been measured before, by the names of
      the tasks; those of this call are added.
    again: whether to measure tasks that metrics.jsonl already has.

  Raises:
    UserError: there is no such split, or nothing in it.
  """
  done = (
      set()
      if again
      else metrics_file.tasks(run.metrics_file.read(), step, "eval")
  )
  datasets = [
      dataset
      for dataset in inputs.evaluation_datasets(
          run.experiment.task, run.experiment.lengths, split
      )
      if dataset.name not in done
  ]
  if not datasets:
    return
  names = tuple(dataset.name for dataset in datasets)
  tasks = names[0] if len(names) == 1 else f"{len(names)} tasks"
  dataset_fns = [dataset.dataset_fn for dataset in datasets]
  text = f"evaluating {tasks} at step {step}"
  with display.working(
      text, counts.get(names), "batches", at_once=True
  ) as report:
    batches = progress_hook.BatchesHook(report)
    all_figures = _figures_of(run, step, dataset_fns, report, batches)
  counts[names] = batches.done
  cap = evaluated_examples.cap()
  for number, name in enumerate(names):
    figures = {key: values[number] for key, values in all_figures.items()}
    if math.isnan(figures["cross_entropy"]):
      raise errors.UserError(
          f"the {split!r} split of {name!r} has no cross-entropy at step "
          f"{step}: it has no target tokens, or the weights make it NaN."
      )
    num_examples = 0
    if cap.num_examples is not None:
      num_examples = evaluated_examples.count(dataset_fns[number])
    run.metrics_file.append(
        step, "eval", name, figures, evaluated=cap.record(num_examples)
    )
    tensorboard.write_scalars(
        os.path.join(run.model_dir, f"eval_{name}"),
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
        + cap.describe(num_examples)
    )


def _figures_of(
    run: run_lib.Run,
    step: int,
    dataset_fns,
    report: progress.Report,
    batches: progress_hook.BatchesHook,
):
  """The figures of a checkpoint over datasets, `[num_datasets, ...]` by name.

  All datasets share one session: there may be a hundred languages, and each
  session builds the model's graph again.
  """
  batch_size = run.experiment.sequences_per_batch
  num_batches = None
  if run.tpu:  # Elsewhere the examples end by themselves.
    num_batches = inputs.count_batches(dataset_fns, batch_size)
  path = checkpoints.path(run.model_dir, step)

  def lower(graph, mesh_to_impl):
    of = f"of {counted_lowering.count(graph):,} tensors"
    return counted_lowering.lower(
        lambda done: report(0, f"building the model: {done:,} {of}"),
        graph,
        mesh_to_impl,
    )

  estimator = estimators.make(
      run,
      model_functions.perplexity_model_fn(run, len(dataset_fns), lower),
  )
  with tf.Graph().as_default():
    # The Estimator takes this writer and adds no graph of megabytes to it.
    tf.summary.FileWriterCache.get(estimator.eval_dir())
  figures = estimator.evaluate(
      lambda params: inputs.evaluation_batches(dataset_fns, batch_size, report),
      steps=num_batches,
      hooks=[checkpoint_fit.CheckHook(path), batches],
      checkpoint_path=path,
  )
  # The figures that the Estimator adds are of all batches together.
  return {name: x for name, x in figures.items() if np.ndim(x)}
