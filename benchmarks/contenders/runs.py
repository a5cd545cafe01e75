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

"""Configurations and graphs of this project that its works are made of."""

from benchmarks.contenders import tensorflow_graphs as graphs  # isort: skip
from collections.abc import Mapping, Sequence
import pathlib
import tempfile

import mesh_tensorflow as mtf
import numpy as np
import seqio
import tensorflow as tf2
import tensorflow.compat.v1 as tf

from benchmarks.contenders import worker
from mtf_switch.planning import accounting
from mtf_switch.training import estimators
from mtf_switch.training import model_functions
from mtf_switch.training.experiment import Experiment
from mtf_switch.training.run import Run
import tasks  # noqa: F401  Registers this project's tasks.

GIN = str(pathlib.Path(__file__).resolve().parents[2] / "gin")
TRAINING_FILES = (
    "layouts/single.gin",
    "schedules/constant_0_001.gin",
    "runs/pretrain.gin",
)
# The task only gives the size of the vocabulary: the ids are made here.
_TASK = "benchmark"


def make(files: Sequence[str], bindings: Sequence[str]) -> Run:
  """A configured run in a directory of its own."""
  run = Run(
      tempfile.mkdtemp(),
      gin_files=files,
      gin_params=bindings,
      gin_directories=[GIN],
  )
  run.configure()
  return run


def _no_examples(split: str, shuffle_files: bool):
  raise NotImplementedError


def data_bindings(sizes: Mapping[str, int]) -> list[str]:
  """The bindings for batches of given ids."""
  feature = seqio.Feature(seqio.PassThroughVocabulary(sizes["vocabulary"]))
  seqio.TaskRegistry.add(
      _TASK,
      source=seqio.FunctionDataSource(_no_examples, splits=["train"]),
      preprocessors=[],
      output_features={"inputs": feature, "targets": feature},
  )
  return [
      f"task = '{_TASK}'",
      f"batch_size = {sizes['batch']}",
      f"sequence_length = {{'inputs': {sizes['inputs']}, "
      f"'targets': {sizes['targets']}}}",
  ]


def sparse_bindings(sizes: Mapping[str, int]) -> list[str]:
  """The bindings that give models/switch_tiny.gin other sizes."""
  names = ("d_model", "d_ff", "d_kv", "num_heads", "num_blocks", "num_experts")
  return [
      *(f"{name} = {sizes[name]}" for name in names),
      # Groups of the same size in the encoder and in the decoder.
      "num_cores = None",
      f"SwitchFeedForward.group_size = {sizes['group_size']}",
  ]


def bindings(sizes: Mapping[str, int]) -> list[str]:
  """Those of a sparse model and of its batches."""
  return [*sparse_bindings(sizes), *data_bindings(sizes)]


def dense_run(sizes: Mapping[str, int]) -> Run:
  """A run of models/t5_tiny.gin, as deep as the sparse model."""
  names = ("d_model", "d_ff", "d_kv", "num_heads")
  return make(
      ["models/t5_tiny.gin", *TRAINING_FILES],
      [
          *(f"{name} = {sizes[name]}" for name in names),
          f"num_layers = {2 * sizes['num_blocks']}",
          *data_bindings(sizes),
          "train_steps = 1",
      ],
  )


def config(run: Run) -> tf.ConfigProto:
  """The session configuration of the run's modes."""
  return estimators.make(
      run, lambda features, labels, mode, params: None
  ).config.session_config


def batch_of(experiment: Experiment) -> dict[str, np.ndarray]:
  """Random ids for a batch of the experiment."""
  return {
      name: worker.ids(
          experiment.sequences_per_batch,
          experiment.lengths[name],
          vocabulary.vocab_size,
          seed=len(name),
      )
      for name, vocabulary in zip(
          ("inputs", "targets"), experiment.vocabularies
      )
  }


def features_of(experiment: Experiment) -> dict[str, tf.Tensor]:
  """The same, in the graph."""
  return {
      name: graphs.constant(name, ids)
      for name, ids in batch_of(experiment).items()
  }


def flops(experiment: Experiment, model) -> int:
  """The FLOPs of a batch's forward pass, counted as in Table 9."""
  return experiment.sequences_per_batch * accounting.flops_per_sequence(
      accounting.size_of(model),
      experiment.lengths["inputs"],
      experiment.lengths["targets"],
  )


def training_work(
    run: Run,
    features: Mapping[str, tf.Tensor] | None = None,
    change_loss_at: model_functions.ChangeLossAt | None = None,
    make_more_hooks: model_functions.MakeHooks = lambda graph: (),
    norms_every: int | None = None,
) -> worker.Work:
  """A training step, and its forward pass alone.

  Args:
    run: the run.
    features: the batch; None for features_of the run's experiment.
    change_loss_at: see model_functions.training_model_fn.
    make_more_hooks: makes hooks of the session.
    norms_every: see model_functions.training_model_fn.

  Returns:
    the runs "step" and "forward".
  """
  experiment = run.experiment
  training_graphs = []

  def make_hooks(graph):
    training_graphs.append(graph)
    return make_more_hooks(graph)

  tf.train.create_global_step()
  spec = model_functions.training_model_fn(
      run,
      1000,
      make_hooks,
      change_loss_at=change_loss_at,
      norms_every=norms_every,
  )(features or features_of(experiment), None, tf.estimator.ModeKeys.TRAIN, {})
  (graph,) = training_graphs
  session = graphs.open_session(config(run), spec.training_hooks)
  return worker.Work(
      {
          "forward": lambda: session.run(spec.loss),
          "step": lambda: session.run(spec.train_op),
      },
      {
          "flops": flops(experiment, graph.model),
          "weight_bytes": graphs.weight_bytes(graph.lowering.graph),
          "state_bytes": _state_bytes(graph.lowering.graph),
          "examples": experiment.sequences_per_batch,
          "tokens": experiment.positions_per_batch,
      },
  )


def _state_bytes(graph: mtf.Graph) -> int:
  """The memory of the weights and the optimizer's slots, all float32."""
  return sum(4 * variable.size for variable in graph.all_variables)


def reserve(run: Run, num_bytes: int):
  """Has TensorFlow's allocator reserve memory.

  An arena that grows step by step hands out chunks of up to twice the size
  asked for; from one large chunk each tensor is cut to size. Nothing is written
  to it, so it takes no memory of its own.
  """
  with tf.Graph().as_default(), tf.Session(config=config(run)) as once:
    arena = tf.raw_ops.Empty(
        shape=[num_bytes // 2**20, 2**20], dtype=tf.uint8, init=False
    )
    once.run(arena.op)


def watched(work: worker.Work, name: str) -> worker.Work:
  """One run of a work, with its tensors' peak memory as a fact."""
  facts = dict(work.facts)

  def run():
    tf2.config.experimental.reset_memory_stats("CPU:0")
    work.runs[name]()
    statistics = tf2.config.experimental.get_memory_info("CPU:0")
    facts["tensor_bytes"] = statistics["peak"]

  return worker.Work({name: run}, facts)
