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

"""Token routing: which experts a model's routers send each token to."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_estimator

from mtf_switch.mesh import servers
from mtf_switch.training import model_graph
from mtf_switch.training import prediction
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import unread_bindings
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import reports


class Layer(NamedTuple):
  """A Switch layer of a model.

  Attributes:
    name: for example "encoder/block_000/layer_001".
    feature: "inputs" or "targets", the tokens that it routes. A decoder's layer
      routes inputs if it makes keys of the encoder's output; of targets, it
      reads at each position the one before.
    num_experts: the experts.
    num_choices: the experts of a token.
  """

  name: str
  feature: str
  num_experts: int
  num_choices: int


class Tokens(NamedTuple):
  """A layer's decisions on the tokens of a sequence, or of several.

  Attributes:
    is_real: `[..., length]` bool; the rest is padding.
    experts: `[..., length, choices]` int32, the experts; with
      no-token-left-behind the one that takes the token.
    probabilities: the same shape, float32, the router's.
    gates: the same shape, float32, by which the experts' outputs are
      multiplied.
    asked: the same shape, bool: top-2 leaves out some second choices.
    kept: the same shape, bool: whether there was a slot.
    best: `[..., length, choices + 1]` int32, the most probable experts, the
      best first; of one expert alone only that.
    best_probabilities: the same shape, float32.
  """

  is_real: np.ndarray
  experts: np.ndarray
  probabilities: np.ndarray
  gates: np.ndarray
  asked: np.ndarray
  kept: np.ndarray
  best: np.ndarray
  best_probabilities: np.ndarray


# Of Tokens, those that are numbers of 0 or 1 in the graph.
_BOOLS = ("is_real", "asked", "kept")


def route(
    model,
    features: Mapping[str, mtf.Tensor],
    mode: str,
    variable_dtype: mtf.VariableDType,
) -> list[tuple[Layer, Tokens]]:
  """Calls a model with given targets, for the decisions of its routers.

  Args:
    model: a Bitransformer or Unitransformer.
    features: int32 `[batch, length]` by name, as training has them.
    mode: PREDICT of tf.estimator.ModeKeys, as in decoding and scoring, where no
      token is dropped unless SwitchFeedForward.capacity_factor_infer says so;
      or TRAIN, with the capacity and the noise of training.
    variable_dtype: dtypes of the variables.

  Returns:
    each Switch layer in the order of calls, and its decisions, whose arrays are
    mtf.Tensor here, not split, and bools float32.
  """
  for stack in layer_stack.stacks(model):
    # What is recomputed is out of reach, and nothing is trained here.
    stack.recompute = stack._recompute_grads = False  # pylint: disable=protected-access
  with reports.collecting_routings(model) as collected:
    if mode == tf.estimator.ModeKeys.TRAIN:
      # As training calls it, which may not tell where padding is.
      loss_lib.loss_and_sums(model, features, mode, variable_dtype)
    else:
      loss_lib.logits_of(model, features, mode, variable_dtype)
  encoder = getattr(model, "encoder", None)
  return [
      _of_layer(
          x, "inputs" if x.is_of_memory or x.part is encoder else "targets"
      )
      for x in collected
  ]


def _of_layer(
    found: reports.LayerRouting, feature: str
) -> tuple[Layer, Tokens]:
  """A layer and its decisions, each at its place in the sequence."""
  routing = found.routing
  experts = routing.router_probs.shape.dims[-1]
  choices = routing.expert_index.shape.dims[-1]
  probs = routing.router_probs
  best_probabilities, best = mtf.top_k(
      probs,
      reduced_dim=experts,
      k_dim=mtf.Dimension("best", min(choices.size + 1, experts.size)),
  )
  tensors = Tokens(
      is_real=routing.nonpadding,
      experts=routing.expert_index,
      probabilities=mtf.einsum(
          [
              probs,
              mtf.one_hot(routing.expert_index, experts, dtype=probs.dtype),
          ],
          output_shape=routing.expert_index.shape,
      ),
      gates=routing.expert_gate,
      asked=routing.routed,
      kept=routing.kept,
      best=best,
      best_probabilities=best_probabilities,
  )
  num_group_dims = routing.nonpadding.shape.ndims
  placed = [
      mtf.anonymize(
          mtf.reshape(x, found.places + x.shape.dims[num_group_dims:])
      )
      for x in tensors
  ]
  layer = Layer(found.layer, feature, experts.size, choices.size)
  return layer, Tokens(*placed)


class Reader:
  """Reads a run's routing from its checkpoints, batch by batch.

  Attributes:
    layers: the Switch layers, in the order of calls; known once the graph is
      built, with the first batch.
  """

  def __init__(self, run: run_lib.Run, mode: str, step: int | None = None):
    """Creates the reader.

    Args:
      run: the run; its model_dir has the checkpoints.
      mode: as for `route`.
      step: the step whose noise the routers have, in TRAIN.
    """
    self._run = run
    self._mode = mode
    self._step = step
    self.layers: list[Layer] = []

  def read(
      self,
      features: Mapping[str, np.ndarray],
      checkpoint: int,
      display: progress.Display,
  ) -> Iterator[list[Tokens]]:
    """Yields the decisions on each sequence, one Tokens for each layer.

    Args:
      features: `[sequences, length]` integers by name, the rows of whole
        batches in their order; a last batch may be shorter.
      checkpoint: the checkpoint's step.
      display: the display for progress.
    """
    for predicted in prediction.predict(
        self._run, self._model_fn, features, checkpoint, display, "routed"
    ):
      yield [
          Tokens(
              *(
                  predicted[f"{number}/{name}"].astype(bool)
                  if name in _BOOLS
                  else predicted[f"{number}/{name}"]
                  for name in Tokens._fields
              )
          )
          for number in range(len(self.layers))
      ]

  def _model_fn(self, features, labels, mode, params):
    """The model function, for estimators.make."""
    del labels
    run, features = self._run, dict(features)
    del features["batch_number"]
    mesh, mesh_impl = model_graph.place(
        run, params, None if self._step is None else tf.constant(self._step)
    )
    found = route(
        run.experiment.build_model(),
        model_graph.import_features(run.experiment, mesh, features),
        self._mode,
        utils.get_variable_dtype(),
    )
    self.layers = [layer for layer, _ in found]
    lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
    predictions = {
        f"{number}/{name}": lowering.export_to_tf_tensor(x)
        for number, (_, tokens) in enumerate(found)
        for name, x in tokens._asdict().items()
    }
    unread_bindings.check(run.own_bindings, {unread_bindings.MODEL})
    with mtf.utils.outside_all_rewrites():
      # Nothing is recorded: the directory may be another run's.
      hooks = [servers.OneSessionHook(), mtf.MtfRestoreHook(lowering)]
    return tpu_estimator.TPUEstimatorSpec(
        mode=mode, predictions=predictions, prediction_hooks=hooks
    )
