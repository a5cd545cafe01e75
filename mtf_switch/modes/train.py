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

"""The mode that trains, configured by gin."""

from collections.abc import Callable, Mapping, Sequence
import functools
import os
from typing import Any, Literal

import gin
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.modes import perplexity
from mtf_switch.planning import accounting
from mtf_switch.planning import least_memory
from mtf_switch.training import alarms
from mtf_switch.training import best_checkpoints
from mtf_switch.training import checkpoint_hook
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import data_checks
from mtf_switch.training import endings
from mtf_switch.training import estimators
from mtf_switch.training import inputs
from mtf_switch.training import metrics_file as metrics_file_lib
from mtf_switch.training import model_functions
from mtf_switch.training import not_finite
from mtf_switch.training import progress
from mtf_switch.training import progress_hook
from mtf_switch.training import recovery
from mtf_switch.training import replay
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches
from mtf_switch.training import stopping
from mtf_switch.training import vocabulary_record

STEPS_PER_BLOCK = 10_000

# From batches, the number of the first one and those that are left out.
ChangeBatches = Callable[[tf.data.Dataset, int, Sequence[int]], tf.data.Dataset]
# Evaluates the checkpoint of a step, unless that is done already.
Evaluate = Callable[[int], None]
# From the run, the split and the display.
MakeEvaluate = Callable[
    [run_lib.Run, str, progress.Display], best_checkpoints.Evaluation
]


@gin.configurable(module="mtf_switch.modes")
@values.checked
def train(
    run: run_lib.Run,
    console: rich.console.Console,
    steps: values.Steps = gin.REQUIRED,
    save_checkpoints_steps: values.Count = 1000,
    keep_checkpoint_max: values.CountOrZero | None = 5,
    keep_best: values.CountOrZero = 0,
    metrics_every: values.Count = 10,
    eval_every: values.CountOrZero | None = None,
    eval_split: str = "validation",
    steps_per_block: values.Count = STEPS_PER_BLOCK,
    iterations_per_loop: values.Count = 100,
    on_not_finite: Literal["stop", "skip"] = "stop",
    max_skipped_batches: values.CountOrZero = 10,
    make_evaluate: MakeEvaluate | None = None,
    make_more_hooks: model_functions.MakeHooks | None = None,
    change_loss_at: model_functions.ChangeLossAt | None = None,
    change_batches: ChangeBatches | None = None,
):
  """Trains, from the latest checkpoint if there is one.

  Args:
    run: the run.
    console: the console for progress.
    steps: number of updates in all, those before the checkpoint included.
    save_checkpoints_steps: steps between two checkpoints.
    keep_checkpoint_max: how many of the latest checkpoints stay; all of them if
      None or 0.
    keep_best: how many of the best checkpoints stay as well, by the evaluations
      of every eval_every steps: those of the best neg_log_perplexity, or, in
      fine-tuning, of the best score of each task and mixture.
    metrics_every: steps between two "train" lines of metrics.jsonl.
    eval_every: steps between two evaluations; each saves a checkpoint, and one
      follows at the end. None or 0 for none.
    eval_split: the split for them.
    steps_per_block: steps after which the examples are shuffled afresh, in a
      new session. Resuming reads at most so many batches again.
    iterations_per_loop: steps that a TPU makes between two looks at the host.
    on_not_finite: what to do when the loss or the weights are NaN or infinite:
      "stop", or "skip" to go on from the last checkpoint without the batch with
      which it began.
    max_skipped_batches: how many batches a run may leave out.
    make_evaluate: makes the functions that evaluate, for modes that are built
      on this one. None evaluates as `perplexity_eval` does.
    make_more_hooks: makes hooks that come before the others, for such modes.
    change_loss_at: changes the loss of the targets, for such modes.
    change_batches: adds to the batches, for such modes.

  Raises:
    UserError: no learning rate is set, the checkpoints are of another
      vocabulary, a split or a cache is missing, numbers are not finite, another
      run trains in model_dir, or model_dir cannot be written.
    Stopped: there was a signal to stop, and a checkpoint is saved.
  """
  if run.tpu and on_not_finite == "skip":
    raise errors.UserError(
        "train.on_not_finite = 'skip' needs CPUs or GPUs: a TPU's host cannot "
        "see which of many steps has failed."
    )
  if keep_best and not eval_every:
    raise errors.UserError(
        f"train.keep_best = {keep_best} needs evaluations that tell which "
        "checkpoints are the best; set train.eval_every."
    )
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the data"):
      least_memory.check(run, trains=True)
      _check_and_record(run, eval_split if eval_every else None)
  metrics_file = run.metrics_file  # Its clock starts.
  with (
      endings.losing_nothing(run.model_dir) as request,
      progress.Display(console) as display,
  ):
    with display.working("reading the checkpoint to go on from"):
      first_step = checkpoints.resume(run.model_dir)
    if first_step >= steps:
      display.note(
          f"nothing to train: {run.model_dir} has a checkpoint of step "
          f"{first_step}, and train.steps = {steps}"
      )
    elif not first_step:
      _warn_of_losses(
          run, eval_split if eval_every else None, metrics_file, display
      )
    # A block's pipeline is a graph of its own: a large one for a mixture of a
    # hundred tasks.
    checkpoint_periods = [save_checkpoints_steps]
    listeners = []
    evaluation = session_length = None
    scores, drop_after = dict, None
    if eval_every:
      make_evaluate = make_evaluate or perplexity.make_evaluate
      evaluate, scores, drop_after = make_evaluate(run, eval_split, display)
      evaluation = _PeriodicEvaluation(eval_every, evaluate, request)
      checkpoint_periods.append(eval_every)
      if run.tpu:
        # A TPU serves one session at a time: training stops to evaluate.
        session_length = eval_every
      else:
        listeners.append(evaluation)
      # Already done, unless the run was interrupted before.
      evaluation.evaluate_if_due(first_step)

    steps_per_call = iterations_per_loop if run.tpu else 1
    make_more_hooks = make_more_hooks or (lambda graph: ())

    def choose_best(available):
      if not keep_best:
        return ()
      return best_checkpoints.best_steps(scores(), keep_best, available)

    def prune():
      return checkpoints.prune(run.model_dir, keep_checkpoint_max, choose_best)

    def make_hooks(graph):
      _write_model_size(run, graph, steps)
      return [
          *make_more_hooks(graph),
          make_progress_hook(
              run,
              graph,
              display,
              metrics_file,
              steps,
              metrics_every,
          ),
          checkpoint_hook.CheckpointHook(
              run.model_dir,
              graph.lowering,
              checkpoint_periods,
              prune,
              [
                  progress_hook.SavingListener(display),
                  not_finite.WeightsListener(),
                  *listeners,
              ],
              steps_per_call,
          ),
          stopping.StopHook(request),
      ]

    estimator = estimators.make(
        run,
        model_functions.training_model_fn(
            run,
            steps,
            make_hooks,
            counted_lowering.shown_by(display),
            change_loss_at=change_loss_at,
            norms_every=metrics_every,
        ),
        iterations_per_loop,
    )
    input_fn = functools.partial(
        _batches, run, display, steps_per_block, change_batches
    )
    while (first_step := checkpoints.latest_step(run.model_dir)) < steps:
      last_step = session_ends(
          first_step,
          steps,
          steps_per_block,
          session_length,
          skipped_batches.read(run.model_dir),
      )[0]
      display.status(f"building the model, to train from step {first_step}")
      try:
        with request.deferring(False):
          estimator.train(
              input_fn, hooks=[not_finite.LossHook()], max_steps=last_step
          )
      except not_finite.NotFiniteError as error:
        recovery.recover(
            run,
            error,
            replay.Training(
                steps, metrics_every, input_fn, make_more_hooks, change_loss_at
            ),
            on_not_finite == "skip",
            max_skipped_batches,
            display,
        )
        if drop_after:
          drop_after(checkpoints.latest_step(run.model_dir))
        continue
      request.act()
      endings.check_step(run.model_dir, last_step)
      if evaluation and run.tpu:
        evaluation.evaluate_if_due(last_step)
    if evaluation:
      evaluation.evaluate(checkpoints.latest_step(run.model_dir))
      prune()  # The last evaluation may have found a better one.


def session_ends(
    first_step: int,
    steps: int,
    steps_per_block: int,
    session_length: int | None = None,
    skipped: Sequence[int] = (),
) -> list[int]:
  """Returns the steps at which training closes its session.

  Args:
    first_step: the step that training starts from.
    steps: the last step.
    steps_per_block: batches in a block, whose end ends a session.
    session_length: a number of steps, each multiple of which ends a session;
      None for none.
    skipped: the numbers of the batches that are left out.

  Returns:
    those after first_step and until steps, in order; none if first_step is not
    before steps.
  """
  ends = {steps}
  if session_length:
    ends.update(range(session_length, steps, session_length))
  for batch in range(steps_per_block, steps + len(skipped), steps_per_block):
    ends.add(skipped_batches.steps_before(batch, skipped))
  return sorted(step for step in ends if first_step < step <= steps)


class _PeriodicEvaluation(tf.train.CheckpointSaverListener):
  """Evaluates checkpoints, if need be while the training session stays open.

  TensorFlow's own train_and_evaluate does the same. Stopping and starting
  again would build the training graph and fill the shuffle buffers each time.

  Attributes:
    evaluate: evaluates the checkpoint of a step.
  """

  def __init__(self, every: int, evaluate: Evaluate, request: stopping.Request):
    self._every = every
    self.evaluate = evaluate
    self._request = request

  def evaluate_if_due(self, step: int):
    """Evaluates the checkpoint of a step that is a multiple of the period."""
    if step and step % self._every == 0:
      self.evaluate(step)

  def after_save(self, session, global_step_value):
    """Evaluates the checkpoint that was just saved, if it is due.

    Returns:
      whether to stop training, because of a signal. The run that goes on makes
      the evaluation.
    """
    if not self._request.signal:
      try:
        with self._request.deferring(False):
          self.evaluate_if_due(int(global_step_value))
      except KeyboardInterrupt:
        if not self._request.signal:
          raise
    return self._request.signal is not None


def _check_and_record(run: run_lib.Run, eval_split: str | None):
  """Refuses a run that could only fail later; records its vocabulary."""
  experiment = run.experiment
  if experiment.learning_rate_schedule is None:
    raise errors.UserError(
        "Experiment.learning_rate_schedule is not set; add for example "
        "--gin_file=schedules/rsqrt_no_ramp_down.gin."
    )
  vocabulary_record.keep(run.model_dir, experiment.vocabularies)
  provider = experiment.provider
  data_checks.check_split(provider, "train", "mesh_train_dataset_fn")
  data_checks.check_rates(provider)
  if eval_split:
    data_checks.check_split(provider, eval_split, "mesh_eval_dataset_fn")


def _warn_of_losses(
    run: run_lib.Run,
    eval_split: str | None,
    metrics_file: metrics_file_lib.MetricsFile,
    display: progress.Display,
):
  """Says how many of the first examples are cut, and pieces unknown.

  Of a run that was killed before its first checkpoint, the file has it already.
  """
  recorded = alarms.begun(metrics_file.read())
  splits = {"train": "mesh_train_dataset_fn"}
  if eval_split:
    splits[eval_split] = "mesh_eval_dataset_fn"
  for split, reader in splits.items():
    for change in inputs.warn_of_losses(
        run.experiment,
        split,
        reader,
        inputs.TRAINING_EXAMPLES_COUNTED,
        display,
    ):
      if (change.what, change.where) not in recorded:
        metrics_file.append_warning(0, run.experiment.task, change)


def _batches(
    run: run_lib.Run,
    display: progress.Display,
    steps_per_block: int,
    change_batches: ChangeBatches | None,
    params: Mapping[str, Any],
) -> tf.data.Dataset:
  """The batches from the latest checkpoint to the end of its block."""
  del params
  experiment = run.experiment
  num_tasks = len(seqio.get_subtasks(experiment.provider))
  first_step = checkpoints.latest_step(run.model_dir)
  skipped = skipped_batches.read(run.model_dir)
  with display.opening("building the data pipelines", num_tasks, "tasks"):
    batches = inputs.training_batches(
        experiment.task,
        experiment.lengths,
        experiment.sequences_per_batch,
        run.seed,
        first_step,
        steps_per_block,
        skipped,
    )
  if change_batches:
    first_batch = skipped_batches.batch_of(first_step, skipped)
    batches = change_batches(batches, first_batch, skipped)
  return batches


def make_progress_hook(
    run: run_lib.Run,
    graph: model_functions.TrainingGraph,
    display: progress.Display,
    metrics_file: metrics_file_lib.MetricsFile,
    steps: int,
    metrics_every: int,
) -> progress_hook.ProgressHook:
  """Returns the hook that shows and records the figures of a training graph.

  Args:
    run: the run.
    graph: its training graph.
    display: shows them.
    metrics_file: records them.
    steps: the last step.
    metrics_every: steps between two records.
  """
  return progress_hook.ProgressHook(
      run.model_dir,
      run.experiment.task,
      graph.figures,
      graph.layer_figures,
      graph.summaries,
      display,
      metrics_file,
      steps,
      run.experiment.positions_per_batch,
      metrics_every,
      progress_hook.layers_of(graph.model),
  )


def _write_model_size(
    run: run_lib.Run, graph: model_functions.TrainingGraph, steps: int
):
  """Writes model.json: parameters, FLOPs of the forward pass, and the steps.

  Of steps, the positions in a batch and the last one. FLOPs are null for a
  model with layers that Table 9's rule does not cover.
  """
  variables = graph.lowering.graph.trainable_variables
  size = {
      "parameters": sum(variable.size for variable in variables),
      "flops_per_sequence": accounting.flops_of_model(
          graph.model, run.experiment.lengths
      ),
      "positions_per_batch": run.experiment.positions_per_batch,
      "train_steps": steps,
  }
  path = os.path.join(run.model_dir, "model.json")
  files.write_lines(path, [files.json_text(size)])
