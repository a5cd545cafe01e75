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

"""Compares conversions with T5X's own models: `make test-peers-t5x`.

It runs in an environment with JAX, T5X and flaxformer, and starts run_switch in
this project's. With --write it renews the fixtures of tests/conversion, which
`make test` checks without these: checkpoints as T5X saves them, and the logits
of its models.
"""

import os

# Before JAX is loaded. Two devices, so that arrays are saved in parts.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ["JAX_PLATFORMS"] = "cpu"

# pylint: disable=g-import-not-at-top,wrong-import-position
import argparse
import contextlib
import functools
import pathlib
import tarfile
import tempfile

import flax
from flax import traverse_util
import flaxformer
import gin
import jax
import numpy as np
from t5x import adafactor
from t5x import checkpoints
from t5x import partitioning
from t5x import train_state
from t5x.contrib.moe import adafactor_utils
from t5x.contrib.moe import partitioning as moe_partitioning
from t5x.examples.t5 import network
import tensorflow as tf

from tests.peers import draws
from tests.peers import program
from tests.peers import t5x_models

# pylint: enable=g-import-not-at-top,wrong-import-position

FIXTURES = program.ROOT / "tests" / "conversion" / "t5x"
STEP = 7
VOCAB_SIZE = 128

# The directory that flaxformer's configurations name their files in.
_CONFIGURATIONS = pathlib.Path(*flaxformer.__path__).parent
# The capacity is for all tokens.
_SPARSE = {
    "NUM_EMBEDDINGS": VOCAB_SIZE,
    "EMBED_DIM": 8,
    "MLP_DIM": 12,
    "HEAD_DIM": 4,
    "NUM_HEADS": 2,
    "NUM_ENCODER_LAYERS": 4,
    "NUM_ENCODER_SPARSE_LAYERS": 2,
    "NUM_DECODER_LAYERS": 2,
    "NUM_DECODER_SPARSE_LAYERS": 1,
    "NUM_EXPERTS": 4,
    "EVAL_EXPERT_CAPACITY_FACTOR": 4.0,
    "NUM_EXPERT_PARTITIONS": 2,
    "NUM_MODEL_PARTITIONS": 1,
    "ACTIVATION_DTYPE": "float32",
    "MOE_TRUNCATED_DTYPE": "float32",
}
_TOLERANCE = 1e-4


def _of_t5x(**options):
  """A model of T5X's own example."""
  return network.Transformer(
      network.T5Config(
          vocab_size=VOCAB_SIZE,
          emb_dim=8,
          num_heads=2,
          num_encoder_layers=2,
          head_dim=4,
          mlp_dim=12,
          **options,
      )
  )


def _of_flaxformer(name: str):
  """A model of flaxformer's configuration of a release, with other sizes."""
  gin.clear_config()
  with contextlib.chdir(_CONFIGURATIONS):
    gin.parse_config_files_and_bindings(
        [f"flaxformer/t5x/configs/moe/models/{name}.gin"],
        [f"{macro} = {value!r}" for macro, value in _SPARSE.items()],
        finalize_config=False,
    )
  architecture = gin.query_parameter("ARCHITECTURE/macro.value")
  return architecture.scoped_configurable_fn()


# What makes the models, and how they are saved: as arrays of NumPy, gzip and
# bfloat16, as most released ones are; as those of two devices; by Orbax, with
# the optimizer and without.
CASES = {
    "t5x_1_0": (
        functools.partial(
            _of_t5x, num_decoder_layers=3, logits_via_embedding=True
        ),
        "numpy",
    ),
    "t5x_1_1": (
        functools.partial(
            _of_t5x, num_decoder_layers=2, mlp_activations=("gelu", "linear")
        ),
        "orbax",
    ),
    "switch_base": (
        functools.partial(_of_flaxformer, "switch_base"),
        "devices",
    ),
    "switch_xxl": (
        functools.partial(_of_flaxformer, "switch_xxl"),
        "orbax, for inference",
    ),
}


def make(name: str):
  """Returns the model of a case, and its state with drawn weights.

  Args:
    name: of CASES.
  """
  function, form = CASES[name]
  model = function()
  one = np.ones([1, 4], np.int32)
  variables = model.init(
      jax.random.PRNGKey(0), one, one, one, enable_dropout=False
  )
  shapes = {
      key: list(value.shape)
      for key, value in traverse_util.flatten_dict(
          variables["params"], sep="/"
      ).items()
  }
  params = draws.weights(shapes)
  if form == "numpy":
    params = {key: _rounded(value) for key, value in params.items()}
  variables = flax.core.freeze(
      {
          **variables,
          "params": traverse_util.unflatten_dict(params, sep="/"),
      }
  )
  if form == "orbax, for inference":
    state = train_state.InferenceState.create(variables)
  else:
    factors = adafactor.standard_logical_factor_rules()
    if "switch" in name:
      factors = adafactor_utils.logical_factor_rules()
    state = train_state.FlaxOptimTrainState.create(
        adafactor.Adafactor(
            decay_rate=0.8, step_offset=0, logical_factor_rules=factors
        ),
        variables,
    )
  return model, state.replace_step(np.int32(STEP))


def _rounded(value: np.ndarray) -> np.ndarray:
  """The values that bfloat16 has."""
  return value.astype(jax.numpy.bfloat16).astype(np.float32)


def results(model, params, of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns what a model computes.

  Args:
    model: the model.
    params: its weights.
    of: inputs and targets.

  Returns:
    "logits" of all targets; "gradient_names" and "gradient_norms" of all
    weights, for the sum of the real targets' cross-entropies.
  """
  targets = of["targets"]
  shifted = np.pad(targets[:, :-1], [(0, 0), (1, 0)])

  def loss(weights):
    logits = model.apply(
        {"params": weights},
        of["inputs"],
        shifted,
        targets,
        enable_dropout=False,
    )
    scores = jax.nn.log_softmax(logits)
    scores = jax.numpy.take_along_axis(scores, targets[..., None], -1)[..., 0]
    return -(scores * (targets != 0)).sum(), logits

  gradients, logits = jax.grad(loss, has_aux=True)(params)
  gradients = traverse_util.flatten_dict(flax.core.unfreeze(gradients), sep="/")
  names = sorted(gradients)
  norms = [np.linalg.norm(np.asarray(gradients[x])) for x in names]
  return {
      "logits": np.asarray(logits),
      "gradient_names": np.array(names),
      "gradient_norms": np.array(norms, np.float32),
  }


def save(name: str, state, directory: pathlib.Path):
  """Saves a checkpoint as T5X does.

  Args:
    name: of CASES.
    state: with the weights.
    directory: where to write; it is made.
  """
  _, form = CASES[name]
  partitioner = partitioning.PjitPartitioner(num_partitions=2)
  if "switch" in name:
    partitioner = moe_partitioning.MoePjitPartitioner(
        num_expert_partitions=2, num_partitions=1
    )
  directory.mkdir()
  if form == "numpy":
    # So small arrays are in several parts, too.
    checkpoints._DESIRED_CHUNK_SIZE_BYTES = 256  # pylint: disable=protected-access
    state = jax.tree_util.tree_map(np.asarray, state)
    checkpoints.Checkpointer(
        state, partitioner, str(directory), save_dtype=jax.numpy.bfloat16
    ).save(state)
    return
  axes = partitioner.get_mesh_axes(state)
  state = partitioner.partition(
      lambda x: x, in_axis_resources=(None,), out_axis_resources=axes
  )(state)
  if form == "devices":
    checkpoints.Checkpointer(state, partitioner, str(directory)).save(state)
  else:
    manager = checkpoints.OrbaxCheckpointManagerInterface(
        str(directory), state, partitioner
    )
    manager.save(state)
    manager.close()


def write(name: str, directory: pathlib.Path):
  """Writes the fixture of a case.

  Args:
    name: of CASES.
    directory: a new one, for T5X's files.
  """
  model, state = make(name)
  of = draws.ids(VOCAB_SIZE)
  save(name, state, directory)
  FIXTURES.mkdir(exist_ok=True)
  with tarfile.open(FIXTURES / f"{name}.tar.xz", "w:xz") as file:
    file.add(directory / f"checkpoint_{STEP}", "checkpoint")
  np.savez_compressed(
      FIXTURES / f"{name}.npz", **of, **results(model, state.params, of)
  )


def check(name: str, directory: pathlib.Path) -> str:
  """Compares a case with its fixture, and its weights with those brought here.

  Args:
    name: of CASES.
    directory: a new one.

  Returns:
    the differences, in words.
  """
  model, state = make(name)
  of = draws.ids(VOCAB_SIZE)
  now, then = results(model, state.params, of), np.load(
      FIXTURES / f"{name}.npz"
  )
  assert all(np.array_equal(of[x], then[x]) for x in of), name
  difference = max(
      np.abs(now[x] - then[x]).max() / np.abs(now[x]).max()
      for x in ("logits", "gradient_norms")
  )
  assert difference < _TOLERANCE, (name, difference)
  save(name, state, directory)
  file, bindings = t5x_models.MODELS[name]
  vocabulary = program.ROOT / "tests/conversion/huggingface/spiece.model"
  program.run_switch(
      "--mode=convert",
      f"--t5x_dir={directory / f'checkpoint_{STEP}'}",
      f"--output_dir={directory / 'here'}",
      f"--gin_file={file}",
      *(f"--gin_param={x}" for x in bindings),
      f"--gin_param=vocabulary.path = '{vocabulary}'",
  )
  reader = tf.train.load_checkpoint(str(directory / "here"))
  found = set(reader.get_variable_to_shape_map()) - {"global_step"}
  here = sorted(reader.get_tensor(x).tobytes() for x in found)
  there = sorted(
      np.asarray(x).tobytes() for x in jax.tree_util.tree_leaves(state.params)
  )
  assert here == there, name
  assert reader.get_tensor("global_step") == STEP
  return (
      f"{name}: logits and gradients within {difference:.1e} of the fixture's, "
      f"the same bits of {len(here)} arrays here"
  )


def main():
  """Checks all cases, or writes their fixtures."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--write", action="store_true")
  is_writing = parser.parse_args().write
  for name in CASES:
    with tempfile.TemporaryDirectory() as directory:
      path = pathlib.Path(directory) / name
      if is_writing:
        write(name, path)
      else:
        print(check(name, path), flush=True)


if __name__ == "__main__":
  main()
