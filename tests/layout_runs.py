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

"""Training steps of a small Switch Transformer under any layout.

A `Run` has its own graph and session, on devices of this process or of others.
Its weights and the optimizer's state can be set, to compare two runs step by
step.
"""

import mtf_switch  # isort: skip  # noqa: F401
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import gin
import mesh_tensorflow as mtf
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from mtf_switch.mesh import draws
from mtf_switch.mesh import placement
import mtf_switch.modes  # noqa: F401  Its names are in gin/runs.
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import training_step
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import reports
from tests import gin_files
from tests import toy_tasks  # noqa: F401

BATCH = 8
VOCABULARY = 259  # The task's, of bytes.
FILES = (
    "models/switch_tiny.gin",
    "schedules/rsqrt_no_ramp_down.gin",
    "runs/pretrain.gin",
)
# Every dimension that layouts split is divisible by four.
BINDINGS = (
    f"batch_size = {BATCH}",
    "train_steps = 20",
    "d_model = 16",
    "d_ff = 32",
    "d_kv = 8",
    "num_heads = 4",
    "num_experts = 8",
    "num_cores = 4",
    "dropout_rate = 0.1",
    "expert_dropout_rate = 0.2",
    # Smooth: at the kink of relu, rounding of a sum decides between gradients.
    "activation = 'gelu'",
    "SwitchFeedForward.z_loss_coefficient = 1e-3",
    # Weights change by a tenth and more in 20 steps.
    "truncated_rsqrt.warmup_steps = 1000",
    # Some of the optimizer's state is factored, and some is not.
    "AdafactorOptimizer.min_dim_size_to_factor = 16",
)
# Few layers of each kind, or the smallest possible model, because graphs take
# time to build.
ENCODER_DECODER = (
    "task = 'toy_copy'",
    "sequence_length = {'inputs': 16, 'targets': 8}",
    "encoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @transformer_layers.DenseReluDense, "
    "@ObservedSwitchFeedForward]",
    "decoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @TruncatedNormalEncDecAttention, "
    "@ObservedSwitchFeedForward]",
)
LM = (
    "model_type = 'lm'",
    "task = 'toy_lm'",
    "sequence_length = {'targets': 16}",
    "transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @transformer_layers.DenseReluDense, "
    "@ObservedSwitchFeedForward]",
)
# The largest difference between float32 sums in different orders.
CLOSE = 1e-5


@gin.configurable("ObservedSwitchFeedForward")
class SwitchFeedForward(feed_forward.SwitchFeedForward):
  """Counts the tokens whose choice of an expert is as good as even.

  Variables keep their names, which are those of the class.
  """

  def _add_losses(self, context, name, routing, dims):
    super()._add_losses(context, name, routing, dims)
    probs = mtf.stop_gradient(routing.router_probs)
    two = mtf.Dimension("choices", 2)
    best, _ = mtf.top_k(probs, probs.shape.dims[-1], two)
    first, second = mtf.unstack(best, two)
    is_close = mtf.cast(mtf.less(first - second, CLOSE), tf.float32)
    close_calls = mtf.reduce_sum(is_close * routing.nonpadding)
    reports.add(context.model, "close_calls", close_calls)


def batch(number: int, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Returns a packed batch: up to two examples in a row, then padding.

  Args:
    number: the batch's, which determines it.
    lengths: positions by feature.

  Returns:
    int32 `[BATCH, length]` by name, for example "inputs_segmentation".
  """
  rng = np.random.RandomState(number)
  features = {}
  for name, length in lengths.items():
    ends = np.sort(rng.randint(1, length + 1, [BATCH, 2]), axis=1)[:, :, None]
    positions = np.arange(length)
    segments = 1 + (positions >= ends[:, 0]).astype(np.int32)
    segments[positions >= ends[:, 1]] = 0
    features[f"{name}_segmentation"] = segments
    features[f"{name}_position"] = (segments > 0) * (
        positions - (segments == 2) * ends[:, 0]
    )
    ids = rng.randint(1, VOCABULARY, [BATCH, length])
    features[name] = (segments > 0) * ids
  return {name: x.astype(np.int32) for name, x in features.items()}


class Step(NamedTuple):
  """The results of a step.

  Attributes:
    loss: the loss that it minimizes.
    close_calls: the number of tokens, over all Switch layers, whose two best
      experts' probabilities are within CLOSE.
    dropped: the number of choices without a slot.
    gradients: float32 gradients by variable, each of the whole variable.
    state: weights and the optimizer's state after the step, by variable.
  """

  loss: float
  close_calls: float
  dropped: float
  gradients: dict[str, np.ndarray]
  state: dict[str, np.ndarray]


class Run:
  """A training graph in a session; a context manager."""

  def __init__(
      self,
      layout: str,
      *bindings: str,
      model: Sequence[str] = ENCODER_DECODER,
      devices: Sequence[str] | None = None,
      target: str = "",
      seed: int = 0,
      num_threads: int = 0,
  ):
    """Builds the graph.

    Args:
      layout: a gin file of gin/layouts, without directory and extension.
      *bindings: gin bindings, after those of all runs.
      model: ENCODER_DECODER or LM.
      devices: one for each core; None for CPUs of this process.
      target: the session's, for example "grpc://localhost:1234".
      seed: of the noise and the initial weights.
      num_threads: of an operation; the first session of a process decides for
        all that follow. 0 for one a core.
    """
    gin_files.clear()
    strict_gin.parse(
        [*FILES, f"layouts/{layout}.gin"], [*BINDINGS, *model, *bindings], []
    )
    experiment = experiment_lib.Experiment()
    num_cores = experiment.mesh.size
    self._graph = tf.Graph()
    with self._graph.as_default():
      tf.set_random_seed(seed)
      self._build(
          experiment,
          devices or [f"cpu:{i}" for i in range(num_cores)],
          seed,
      )
    self._session = tf.Session(
        target,
        self._graph,
        tf.ConfigProto(
            device_count={"CPU": num_cores},
            intra_op_parallelism_threads=num_threads,
            # Otherwise servers share variables between their sessions.
            isolate_session_state=True,
            # Optimizing the graph takes longer than the steps.
            graph_options=tf.GraphOptions(
                rewrite_options=rewriter_config_pb2.RewriterConfig(
                    disable_meta_optimizer=True
                )
            ),
        ),
    )

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self._session.close()

  def initial_state(self) -> dict[str, np.ndarray]:
    """Returns the seed's weights and optimizer state, by name."""
    self._session.run(self._initialize)
    return self._session.run(self._masters)

  def set_state(self, state: Mapping[str, np.ndarray]):
    """Sets weights and the optimizer's state, as if from a checkpoint.

    Args:
      state: arrays of all variables by name.
    """
    feed = {self._new_state[name]: value for name, value in state.items()}
    self._session.run(self._set_masters, feed)
    self._session.run(self._to_slices)

  def saved_state(self) -> dict[str, np.ndarray]:
    """Returns weights and the optimizer's state, as for a checkpoint."""
    self._session.run(self._to_masters)
    return self._session.run(self._masters)

  def share(self, variable: str) -> float:
    """Returns the share of a variable that each core has."""
    mesh_impl, shape = self._mesh_impl, self._shapes[variable]
    return mesh_impl.slice_size(shape) / shape.size

  def step(self, number: int, noise: int | None = None) -> Step:
    """Makes a step, on the batch of the same number.

    Args:
      number: the step's and the batch's.
      noise: the step whose noise to use; None for its own.
    """
    loss, sums, gradients, _ = self._run(
        number,
        number if noise is None else noise,
        [self._loss, self._sums, self._gradient_slices, self._updates],
    )
    return Step(
        loss,
        sums["close_calls"],
        sum(x for name, x in sums.items() if name.endswith("/dropped")),
        {
            name: self._whole(self._shapes[name], slices).astype(np.float32)
            for name, slices in gradients.items()
        },
        self._state(),
    )

  def loss(self, step: int, number: int) -> float:
    """Makes a step, and returns its loss alone.

    Args:
      step: its number.
      number: its batch's.
    """
    loss, _ = self._run(number, step, [self._loss, self._updates])
    return float(loss)

  def _run(self, number: int, step: int, fetches):
    """Fetches tensors of a step, from a batch of this number."""
    self._session.run(self._set_global_step, {self._new_global_step: step})
    feed = {
        self._features[name]: x
        for name, x in batch(number, self._lengths).items()
    }
    return self._session.run(fetches, feed)

  def _state(self) -> dict[str, np.ndarray]:
    """Returns the values of the variables, from the slices of the cores."""
    state = {}
    slices_of = self._session.run(self._variable_slices)
    for variable, slices in slices_of.items():
      whole = self._whole(variable.shape, slices)
      if isinstance(variable, mtf.StackedVariable):
        state.update(zip(variable.original_names, whole))
      else:
        state[variable.name] = whole
    return state

  def _whole(self, shape: mtf.Shape, slices) -> np.ndarray:
    """Joins slices; the copies of a slice must be equal."""
    whole = np.empty(shape.to_integer_list, slices[0].dtype)
    seen = {}
    for core, value in enumerate(slices):
      begin = tuple(self._mesh_impl.slice_begin(shape, core))
      np.testing.assert_array_equal(value, seen.setdefault(begin, value))
      ranges = [slice(b, b + n) for b, n in zip(begin, value.shape)]
      whole[tuple(ranges)] = value
    return whole

  def _build(self, experiment, devices, seed):
    """Builds the graph of a step, as the model function of training does."""
    self._global_step = tf.train.create_global_step()
    self._new_global_step = tf.placeholder(tf.int64, [])
    self._set_global_step = self._global_step.assign(self._new_global_step)
    self._lengths = experiment.lengths
    self._features = {
        name: tf.placeholder(tf.int32, x.shape, name)
        for name, x in batch(0, self._lengths).items()
    }
    step = tf.identity(self._global_step)
    mesh, self._mesh_impl = placement.place(
        experiment.mesh, experiment.layout, devices, seed, step
    )
    features = placement.import_features(
        mesh,
        self._features,
        experiment.sequences_per_batch,
        experiment.lengths,
        experiment.outer_batch_size,
    )
    learning_rate = experiment.learning_rate_schedule(
        step=step, total_train_steps=None
    )
    training = training_step.build(experiment, mesh, features, learning_rate)
    # Before lowering, which stacks variables of equal shape.
    names = [v.name for v in mesh.graph.trainable_variables]
    self._shapes = {v.name: v.shape for v in mesh.graph.all_variables}
    self._masters = {v.name: v.get_master() for v in mesh.graph.all_variables}
    draws.seed_loops(mesh.graph)
    lowering = mtf.Lowering(mesh.graph, {mesh: self._mesh_impl})
    self._updates = [lowering.lowered_operation(x) for x in training.updates]
    self._sums = {
        name: lowering.export_to_tf_tensor(x)
        for name, x in training.sums.items()
    }
    self._loss = lowering.export_to_tf_tensor(training.loss)
    self._gradient_slices = {
        name: lowering.tensors[gradient].to_laid_out_tensor().all_slices
        for name, gradient in zip(names, training.gradients)
    }
    self._variable_slices = {
        variable: laid_out.laid_out_tensor.all_slices
        for variable, laid_out in lowering.variables.items()
    }
    self._new_state = {
        name: tf.placeholder(v.dtype, v.shape)
        for name, v in self._masters.items()
    }
    self._set_masters = [
        tf.assign(v, self._new_state[name]) for name, v in self._masters.items()
    ]
    self._to_slices = lowering.copy_masters_to_slices()
    self._to_masters = lowering.copy_slices_to_masters()
    self._initialize = tf.global_variables_initializer()
