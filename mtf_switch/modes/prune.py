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
"""The mode that makes smaller models of a Switch model, configured by gin."""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from typing import Any

import gin
import numpy as np
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.conversion import account
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import fewer_experts
from mtf_switch.conversion import output_directory
from mtf_switch.conversion import saved_variables
from mtf_switch.modes import decode
from mtf_switch.modes import perplexity
from mtf_switch.modes import routing_examples
from mtf_switch.modes import upcycle
from mtf_switch.training import checkpoints
from mtf_switch.training import data_checks
from mtf_switch.training import evaluated_examples
from mtf_switch.training import gin_configuration
from mtf_switch.training import metrics_file
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import token_routing
from mtf_switch.training import vocabulary_record
from mtf_switch.transformer import feed_forward

_RECORD = "pruned.json"


@gin.configurable(module="mtf_switch.modes")
@values.checked
def prune(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    keep: values.Count | None = None,
    merging: fewer_experts.Merging | None = None,
    new_gin: str | Sequence[str] = (),
    new_params: Sequence[str] = (),
    split: str = "validation",
    checkpoint_step: checkpoints.Step = None,
):
  """Writes a model with the experts that a task uses, or with none.

  Counts which experts the tokens of a split take, writes a checkpoint of the
  same step, with fresh slots of the optimizer, and evaluates both models on the
  split: by decoding, or, where the task has no metrics, by cross-entropy. What
  it found is in pruned.json beside the checkpoint.

  Args:
    run: the Switch model's run.
    console: the console for progress.
    output_dir: the smaller model's directory, which has no checkpoint.
    keep: how many experts each layer keeps, those with most tokens; None to
      make a dense model.
    merging: how each layer of a dense model is made of experts; None to keep
      some.
    new_gin: the gin file or files of the smaller model's run, in the place of
      this run's; needed for a dense model.
    new_params: gin bindings that override those of new_gin.
    split: the split.
    checkpoint_step: the step of the checkpoint; None for the latest.

  Raises:
    UserError: the model has no experts, or not more than are kept, the smaller
      model differs in more than experts, or output_dir has checkpoints.

  Source: section 8.
  """
  _check_settings(run, keep, merging, new_gin, new_params)
  upcycle.check_new(output_dir, f"--output_dir={output_dir}")
  data_checks.check_split(
      run.experiment.provider, split, "mesh_eval_dataset_fn"
  )
  new_run = _smaller_run(run, output_dir, keep, new_gin, new_params)
  configuration = gin_configuration.Configuration(new_run.configure)
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the checkpoint"):
      (step,) = run.select_checkpoints(checkpoint_step)
    path = checkpoints.path(run.model_dir, step)
    with (
        display.working("building the smaller model"),
        configuration.in_place(),
    ):
      new_run.experiment.check_layout()
      variables = saved_variables.SavedVariables(new_run)
    match = fewer_experts.match_pruned if keep else fewer_experts.match_dense
    sparse = checkpoint_writer.variables_in(path)
    sources = match(
        checkpoint_writer.shapes(variables.weights),
        checkpoint_writer.shapes(sparse),
    )
    output_directory.check_space(
        output_dir, variables.num_bytes, f"--output_dir={output_dir}"
    )
    uses = _uses(run, split, step, display)
  # What fails is found before anything is written.
  before = _scores(run, console, split, step)
  vocabulary_record.keep(output_dir, run.experiment.vocabularies)
  with progress.Display(console) as display:
    upcycle.write(
        output_dir,
        step,
        variables,
        _value_of(path, variables, sources, uses, keep, merging),
        display,
    )
  account.show(
      fewer_experts.entries(
          sources, variables.weights.values(), sparse, merging
      )
  )
  with configuration.in_place():
    after = _scores(new_run, console, split, step)
  record = {
      "sparse_dir": run.model_dir,
      "step": step,
      "task": run.experiment.task,
      "split": split,
      "keep": keep,
      "merging": merging,
      "gin_files": list(new_run.gin_files),
      "gin_params": list(new_run.gin_params),
      "layers": {name: _of_layer(use, keep) for name, use in uses.items()},
      "before": before,
      "after": after,
  }
  files.write_json(os.path.join(output_dir, _RECORD), record)
  _print(console, record)


def _check_settings(run, keep, merging, new_gin, new_params):
  """Refuses what does not say one smaller model."""
  switches = feed_forward.switches(run.experiment.build_model())
  if not switches:
    raise errors.UserError(
        "the model has no Switch layers, so that it has no experts to remove; "
        "--mode=prune is for models with SwitchFeedForward."
    )
  if (keep is None) == (merging is None):
    raise errors.UserError(
        f"prune.keep = {keep} and prune.merging = {merging!r}: set one of the "
        "two, how many experts stay or how a dense layer is made of them."
    )
  fewest = min(x.num_experts for x in switches)
  if keep and keep >= fewest:
    raise errors.UserError(
        f"prune.keep = {keep} must be below the {fewest} experts of the model."
    )
  if (merging or new_params) and not new_gin:
    raise errors.UserError(
        "prune.new_gin is not set, the gin files of the smaller model's run, "
        "such as ['models/t5_tiny.gin', ...]; prune.merging and "
        "prune.new_params need it."
    )


def _smaller_run(run, output_dir, keep, new_gin, new_params) -> run_lib.Run:
  """The smaller model's run, as the command line would describe it."""
  if new_gin:
    gin_files = [new_gin] if isinstance(new_gin, str) else list(new_gin)
    gin_params = list(new_params)
  else:
    gin_files = run.gin_files
    # This mode's own settings are none of the smaller model's.
    own = [x for x in run.gin_params if not x.strip().startswith("prune.")]
    gin_params = [*own, *_params_of_pruned(run, keep)]
  return dataclasses.replace(
      run, model_dir=output_dir, gin_files=gin_files, gin_params=gin_params
  )


def _params_of_pruned(run: run_lib.Run, keep: int) -> list[str]:
  """The bindings by which a model has fewer experts."""
  switches = feed_forward.switches(run.experiment.build_model())
  columns = {x.num_experts + x.num_removed_experts for x in switches}
  if len(columns) > 1:
    raise errors.UserError(
        f"the layers have {' and '.join(map(str, sorted(columns)))} experts; "
        "describe the smaller model with prune.new_gin and prune.new_params."
    )
  name = "num_experts"
  if name not in strict_gin.macros():
    name = "SwitchFeedForward.num_experts"
  return [
      f"{name} = {keep}",
      f"SwitchFeedForward.num_removed_experts = {columns.pop() - keep}",
  ]


def _uses(
    run: run_lib.Run, split: str, step: int, display: progress.Display
) -> dict[str, fewer_experts.Use]:
  """The use of each layer's experts by a split, by the layer's name."""
  examples = routing_examples.of_split(run.experiment, split, display)
  features = routing_examples.padded(
      [x.ids for x in examples], run.experiment.lengths
  )
  reader = token_routing.Reader(run, tf.estimator.ModeKeys.PREDICT)
  uses = {}
  for of_layers in reader.read(features, step, display):
    for layer, tokens in zip(reader.layers, of_layers):
      if layer.name not in uses:
        uses[layer.name] = fewer_experts.Use(np.zeros(layer.num_experts, int))
      uses[layer.name].add(tokens.experts, tokens.gates, tokens.asked)
  return uses


def _value_of(path, variables, sources, uses, keep, merging):
  """The function of a variable to its values; see checkpoint_writer.write."""
  reader = tf.train.load_checkpoint(path)

  def value_of(variable: checkpoint_writer.Variable) -> np.ndarray:
    name = variable.name
    if name in sources.copied:
      value = reader.get_tensor(sources.copied[name])
    elif name in sources.routers:
      use = fewer_experts.use_of(name, uses)
      value = reader.get_tensor(name)
      columns = fewer_experts.kept_columns(
          use.most_used(keep), value.shape[1], variable.shape[1]
      )
      value = value[:, columns]
    elif name in sources.of_experts:
      source = sources.of_experts[name]
      use = fewer_experts.use_of(source, uses)
      value = reader.get_tensor(source)
      if keep:
        value = value[use.most_used(keep)]
      else:
        value = fewer_experts.merged(
            value,
            use.weights(merging),
            fewer_experts.dense_factor(name, use),
        )
    else:
      value = variables.initial_value(name)
    return value.astype(variable.dtype, copy=False)

  return value_of


def _scores(
    run: run_lib.Run, console: rich.console.Console, split: str, step: int
) -> dict[str, dict[str, float]]:
  """Evaluates a checkpoint; returns the scores of each task by metric."""
  experiment = run.experiment
  has_metrics = experiment.model_type != "lm" and any(
      task.metric_fns for task in seqio.get_subtasks(experiment.provider)
  )
  if has_metrics:
    decode.evaluate(run, console, split=split, checkpoint_step=step)
    directory = os.path.join(run.model_dir, f"{split}_eval")
    records = metrics_file.read(directory)
  else:
    perplexity.perplexity_eval(run, console, split=split, checkpoint_step=step)
    records = metrics_file.evaluations(run.metrics_file.read())
  # The last evaluation of a task is the one that was made now.
  last = {x["task"]: x for x in records if x["step"] == step}
  return {
      task: _metrics_of(record, has_metrics) for task, record in last.items()
  }


def _metrics_of(record: Mapping[str, Any], has_metrics: bool):
  """The metrics in a line of metrics.jsonl."""
  if not has_metrics:
    return {"cross_entropy": record["cross_entropy"]}
  return {
      name: value
      for name, value in record.items()
      if name not in ("step", "task", *evaluated_examples.RECORDED)
  }


def _of_layer(use: fewer_experts.Use, keep: int | None) -> dict[str, Any]:
  """What is recorded of a layer."""
  kept = use.most_used(keep) if keep else None
  return {
      "kept": kept,
      "share": use.share(kept) if keep else None,
      "choices": use.choices.tolist(),
      "mean_gate": use.mean_gate,
  }


def _print(console: rich.console.Console, record: Mapping[str, Any]):
  """Prints the experts that stay and the scores."""
  if record["keep"]:
    terminal.table(
        console,
        ("layer", "experts kept", "of", "share of tokens"),
        [
            (
                name,
                str(len(x["kept"])),
                str(len(x["choices"])),
                f"{x['share']:.1%}",
            )
            for name, x in record["layers"].items()
        ],
    )
  terminal.table(
      console,
      ("task", "metric", "before", "after"),
      [
          (task, metric, f"{value:.4g}", f"{record['after'][task][metric]:.4g}")
          for task, of_task in record["before"].items()
          for metric, value in of_task.items()
      ],
      num_left=2,
  )
  settings = [f"--gin_file={x}" for x in record["gin_files"]]
  settings += [f'--gin_param="{x}"' for x in record["gin_params"]]
  terminal.say(console, f"its model is that of {' '.join(settings)}")
