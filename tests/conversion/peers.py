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

"""Models of Hugging Face for tests, and what Hugging Face's library computes.

The fixtures are from tests/peers/huggingface.py, where PyTorch is.
"""

import json
import pathlib
import shutil
from typing import Any

import mesh_tensorflow as mtf
import numpy as np
from safetensors import numpy as safetensors_numpy
import tensorflow.compat.v1 as tf

from mtf_switch.conversion import arrival
from mtf_switch.conversion import from_huggingface
from mtf_switch.conversion import huggingface_weights
from mtf_switch.mesh import draws as mesh_draws
from mtf_switch.mesh import placement_mesh
from mtf_switch.training import checkpoints
from mtf_switch.transformer import loss as loss_lib
from tests import gin_files
from tests import graphs
from tests.peers import draws

FIXTURES = pathlib.Path(__file__).resolve().parent / "huggingface"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.npz"))


def fixture(name: str) -> dict:
  """Returns "config" and "shapes", as Hugging Face's library has saved them."""
  return json.loads((FIXTURES / f"{name}.json").read_text())


def expected(name: str) -> dict[str, np.ndarray]:
  """Returns inputs and targets, and what Hugging Face's library computes."""
  with np.load(FIXTURES / f"{name}.npz") as arrays:
    return dict(arrays)


def write(name: str, directory: pathlib.Path) -> dict[str, np.ndarray]:
  """Writes the directory of a fixture, as save_pretrained does.

  Args:
    name: of NAMES.
    directory: where to write; it is made.

  Returns:
    the weights.
  """
  directory.mkdir(parents=True)
  found = fixture(name)
  weights = draws.weights(found["shapes"])
  (directory / "config.json").write_text(json.dumps(found["config"]))
  safetensors_numpy.save_file(
      weights, directory / "model.safetensors", {"format": "pt"}
  )
  if found["config"]["vocab_size"] == 384:
    (directory / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "ByT5Tokenizer"})
    )
  else:
    shutil.copy(FIXTURES / "spiece.model", directory)
  return weights


def bring(
    directory: pathlib.Path, output_dir: pathlib.Path, left_out=()
) -> arrival.Plan:
  """Converts a directory of Hugging Face's."""
  with huggingface_weights.Weights(str(directory)) as weights:
    plan = from_huggingface.plan(str(directory), weights, left_out)
    from_huggingface.write(
        plan, weights, str(directory), str(output_dir), lambda done: None
    )
  return plan


def parse(model_dir: pathlib.Path, *params: str):
  """Reads the gin file of a converted model.

  Args:
    model_dir: the directory.
    *params: further bindings.
  """
  gin_files.parse(
      [str(model_dir / "model.gin"), "layouts/single.gin"],
      [
          "num_cores = 1",
          # Nothing is dropped with as many slots as tokens.
          "SwitchFeedForward.capacity_factor_eval = 3",
          *params,
      ],
  )


def variables(path: str) -> dict[str, np.ndarray]:
  """Returns all variables of a checkpoint."""
  reader = tf.train.load_checkpoint(path)
  return {x: reader.get_tensor(x) for x in reader.get_variable_to_shape_map()}


def results(
    model_dir: pathlib.Path,
    vocabulary_size: int,
    ids: dict[str, np.ndarray],
    decodes: bool,
    step: int = 0,
    has_gradients: bool = True,
) -> dict[str, Any]:
  """Returns what a converted model computes.

  Args:
    model_dir: the directory, of which `parse` has read the gin file.
    vocabulary_size: without padding.
    ids: "inputs" and "targets", int32 [batch, length].
    decodes: whether it decodes too.
    step: of the checkpoint.
    has_gradients: whether there are gradients, which take longest.

  Returns:
    "logits" as in evaluation; perhaps "gradients" of the weights by name, for
    the sum of the real targets' cross-entropies; and "decoded", greedily.
  """
  path = checkpoints.path(str(model_dir), step)
  with tf.Graph().as_default():
    graph = mtf.Graph()
    mesh = mtf.Mesh(graph, "mesh")
    model = gin_files.build_model(vocabulary_size, "", "")
    batch = mtf.Dimension("batch", len(ids["inputs"]))
    features = {
        name: graphs.constant(
            mesh, x, [batch, mtf.Dimension("length", x.shape[1])]
        )
        for name, x in ids.items()
        if name in ("inputs", "targets")
    }
    dtype = mtf.VariableDType(tf.float32)
    logits = loss_lib.logits_of(
        model, features, tf.estimator.ModeKeys.EVAL, dtype
    )
    targets = features["targets"]
    losses = mtf.layers.softmax_cross_entropy_with_logits(
        logits, targets, logits.shape.dims[-1]
    )
    loss = mtf.reduce_sum(
        losses * mtf.cast(mtf.not_equal(targets, 0), tf.float32)
    )
    tensors = {"logits": logits}
    if has_gradients:
      weights = graph.trainable_variables
      gradients = mtf.gradients([loss], [x.outputs[0] for x in weights])
      tensors["gradients"] = {x.name: y for x, y in zip(weights, gradients)}
    if decodes:
      with tf.variable_scope("", reuse=True):
        tensors["decoded"] = model.decode(
            features["inputs"], variable_dtype=dtype
        )
    tensors = tf.nest.map_structure(mtf.anonymize, tensors)
    impl = placement_mesh.PlacementMeshImpl("", "", ["cpu:0"], 0, 0)
    mesh_draws.seed_loops(graph)
    lowering = mtf.Lowering(graph, {mesh: impl}, autostack=False)
    outputs = tf.nest.map_structure(lowering.export_to_tf_tensor, tensors)
    saver = tf.train.Saver(tf.global_variables())
    with tf.Session() as session:
      saver.restore(session, path)
      session.run(lowering.copy_masters_to_slices())
      return session.run(outputs)
