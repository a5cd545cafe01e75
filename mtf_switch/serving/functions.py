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

"""A run's decoding and scoring as functions of any number of rows.

Mesh TensorFlow's graphs have a fixed batch. A function here has such a graph
once and calls it for as many rows at a time, the last time with copies of the
last row, so that no row waits for empty ones. No row has an influence on
another.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v2 as tf
from tensorflow.python.eager import context

from mtf_switch import errors
from mtf_switch.mesh import draws
from mtf_switch.mesh import placement
from mtf_switch.serving import decodings
from mtf_switch.serving import weights as weights_lib
from mtf_switch.training import checkpoints
from mtf_switch.training import gin_configuration
from mtf_switch.training import inference
from mtf_switch.training import model_graph
from mtf_switch.training import run as run_lib
from mtf_switch.training import unread_bindings
from mtf_switch.transformer import feed_forward

_SEED = tf.TensorSpec([], tf.int32, "seed")

# Functions are made and called where TensorFlow runs at once; the program's
# other modes build graphs.
eagerly = context.eager_mode


class Functions:
  """The functions of a checkpoint, which share its weights.

  To be made and used within `eagerly`.

  Attributes:
    weights: the weights.
    is_lm: whether the model is an "lm".
    lengths: the most ids of a row by feature, "inputs" and "targets"; what an
      "lm" continues is its "inputs".
  """

  def __init__(self, run: run_lib.Run, step: int):
    """Builds nothing yet.

    Args:
      run: the run.
      step: the checkpoint's step.

    Raises:
      UserError: a row of the run's model would depend on others, or the run is
        not of one core.
    """
    check(run)
    self._run = run
    self.weights = weights_lib.Weights(checkpoints.path(run.model_dir, step))
    self.is_lm = run.experiment.model_type == "lm"
    lengths = run.experiment.lengths
    if self.is_lm:
      lengths = {**lengths, "inputs": lengths["targets"]}
    self.lengths = {name: lengths[name] for name in ("inputs", "targets")}

  def decode(
      self, decoding: decodings.Decoding, lower: Callable = mtf.Lowering
  ):
    """Returns a function that decodes.

    Args:
      decoding: how.
      lower: makes the lowering, as mtf.Lowering does.

    Returns:
      a tf.function from ids, `[rows, length]` int32, and a seed, int32, to ids,
      `[rows, length]` int32, padded after their end. The seed and a row's place
      decide the noise of samples, of an "lm" also the lengths of its batch, as
      in --mode=infer.

    Raises:
      UserError: gin binds what no model has, or the checkpoint is of another
        model.
    """

    def build(experiment, mesh, features):
      decoded = inference.decode(experiment, features)
      draws.seed_loops(mesh.graph)
      return decoded.results

    return self._of_rows(
        ["inputs"],
        build,
        utils.clean_decodes,
        decoding.bindings(self.is_lm),
        {unread_bindings.MODEL, unread_bindings.DECODING},
        lower,
    )

  def score(self, lower: Callable = mtf.Lowering):
    """Returns a function that scores.

    Args:
      lower: makes the lowering, as mtf.Lowering does.

    Returns:
      a tf.function from ids, `[rows, length]` int32 (inputs and targets; an
      "lm" has targets alone), and a seed without meaning to the logarithms of
      the probabilities of the targets, `[rows]` float32.

    Raises:
      UserError: the checkpoint is of another model.
    """

    def build(experiment, unused_mesh, features):
      return inference.score(experiment, features).results

    return self._of_rows(
        ["targets"] if self.is_lm else ["inputs", "targets"],
        build,
        lambda scores: scores,
        [],
        {unread_bindings.MODEL},
        lower,
    )

  def _of_rows(self, names, build, then, bindings, parts, lower):
    """A function of any number of rows, of a graph that has a fixed number.

    Args:
      names: of its features.
      build: from an experiment, a mesh and features to what is wanted.
      then: a function of its tensor.
      bindings: of gin, beside the run's.
      parts: what is built, for unread_bindings.check.
      lower: makes the lowering, as mtf.Lowering does.
    """
    run = dataclasses.replace(
        self._run,
        gin_params=[
            *self._run.gin_params,
            *weights_lib.bindings(),
            *bindings,
        ],
    )
    configuration = gin_configuration.Configuration(run.configure)
    with configuration.in_place():
      experiment = run.experiment
      batch_size = experiment.sequences_per_batch
      specs = {
          x: tf.TensorSpec([batch_size, self.lengths[x]], tf.int32, x)
          for x in names
      }

      def of_batch(features, seed, batch_number):
        # One core, which TensorFlow places.
        mesh, mesh_impl = placement.place(
            experiment.mesh, experiment.layout, None, seed, batch_number
        )
        features = model_graph.import_features(experiment, mesh, features)
        with self.weights.in_place_of_variables():
          built = build(experiment, mesh, features)
          lowering = lower(mesh.graph, {mesh: mesh_impl})
        return then(lowering.export_to_tf_tensor(built))

      concrete = tf.function(of_batch, autograph=False).get_concrete_function(
          specs, _SEED, tf.TensorSpec([], tf.int32, "batch_number")
      )
      unread_bindings.check(run.own_bindings, parts)
    limits = {
        name: (
            self.lengths[name],
            experiment.vocabularies[name == "targets"].vocab_size,
        )
        for name in names
    }
    return tf.function(
        functools.partial(_in_batches, concrete, batch_size, limits),
        input_signature=[
            {x: tf.TensorSpec([None, None], tf.int32, x) for x in names},
            _SEED,
        ],
        autograph=False,
    )


def check(run: run_lib.Run):
  """Refuses a run whose functions would not be what they are to be.

  Args:
    run: the run.

  Raises:
    UserError: with what to change.
  """
  if run.tpu or run.cluster or run.experiment.mesh.size > 1:
    raise errors.UserError(
        "a served model runs on one core: leave out --tpu and --mesh_hosts, "
        "and take --gin_file=layouts/single.gin. The weights are the same on "
        "any mesh."
    )
  for switch in feed_forward.switches(run.experiment.build_model()):
    factor = switch.capacity_factor_infer
    if factor is not None:
      raise errors.UserError(
          f"SwitchFeedForward.capacity_factor_infer = {factor} would have a "
          "text depend on those beside it, which take slots too; leave it out "
          "of a served model."
      )


def _in_batches(
    of_batch: Callable[..., tf.Tensor],
    batch_size: int,
    limits: Mapping[str, tuple[int, int]],
    features: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
) -> tf.Tensor:
  """Calls a function of a batch for any number of rows.

  Args:
    of_batch: from features, a seed and a batch's number to `[batch_size, ...]`.
    batch_size: its rows.
    limits: the most ids of a row and the ids of the vocabulary, by feature.
    features: `[rows, length]` int32 by name.
    seed: int32.

  Returns:
    `[rows, ...]`.
  """
  fitted = {
      name: _fitted(features[name], name, *limit)
      for name, limit in limits.items()
  }
  num_rows, *others = [tf.shape(x)[0] for x in fitted.values()]
  check = [
      tf.debugging.assert_equal(
          num_others, num_rows, "there must be as many targets as inputs"
      )
      for num_others in others
  ]
  with tf.control_dependencies(check):
    num_rows = tf.identity(num_rows)
  num_batches = (num_rows + batch_size - 1) // batch_size
  (output,) = of_batch.outputs
  results = tf.TensorArray(
      output.dtype, num_batches, element_shape=output.shape
  )

  def next_batch(number, results):
    rows = number * batch_size + tf.range(batch_size)
    rows = tf.minimum(rows, num_rows - 1)
    batch = {name: tf.gather(x, rows) for name, x in fitted.items()}
    return number + 1, results.write(number, of_batch(batch, seed, number))

  _, results = tf.while_loop(
      lambda number, _: number < num_batches,
      next_batch,
      (0, results),
      parallel_iterations=1,
  )
  shape = output.shape.as_list()[1:]
  return tf.reshape(results.stack(), [-1, *shape])[:num_rows]


def _fitted(
    ids: tf.Tensor, name: str, length: int, vocab_size: int
) -> tf.Tensor:
  """Ids that are checked and as long as a function's graph has them."""
  checks = [
      tf.debugging.assert_equal(
          tf.reduce_any(tf.not_equal(ids[:, length:], 0)),
          False,
          f"{name} may have {length} ids and no more",
      ),
      tf.debugging.assert_equal(
          tf.reduce_all((ids >= 0) & (ids < vocab_size)),
          True,
          f"{name} may have ids from 0 to {vocab_size - 1}",
      ),
  ]
  with tf.control_dependencies(checks):
    ids = tf.identity(ids[:, :length])
  ids = tf.pad(ids, [(0, 0), (0, length - tf.shape(ids)[1])])
  return tf.ensure_shape(ids, [None, length])
