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

"""Models of T5X here: the same logits, of what T5X has written itself."""

import numpy as np
import pytest

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import arrival
from mtf_switch.conversion import from_t5x
from mtf_switch.conversion import model_architecture
from mtf_switch.conversion import names
from mtf_switch.conversion import t5x_weights
from mtf_switch.training import checkpoint_files
from tasks import vocabulary as vocabulary_lib
from tests import gin_files
from tests.conversion import peers
from tests.conversion import t5x_peers
from tests.peers import draws
from tests.peers import t5x_models

_TOLERANCE = 1e-4
_ROWS = 128
# They take longer than all else.
_WITH_GRADIENTS = ("t5x_1_0", "switch_base")


def architecture_of(name, *changes):
  """The architecture that the gin files of a case describe."""
  file, bindings = t5x_models.MODELS[name]
  gin_files.parse([file], [*bindings, *changes])
  model = gin_files.build_model(_ROWS)
  return model_architecture.architecture(model, 1e-6, model_architecture.T5X)


def vocabulary():
  return vocabulary_lib.load(str(peers.FIXTURES / "spiece.model"))


@pytest.mark.parametrize("name", t5x_models.MODELS)
def test_the_function_is_that_of_t5x(name, tmp_path):
  directory = t5x_peers.unpack(name, tmp_path)
  weights = t5x_weights.Weights(directory)
  plan = from_t5x.plan(architecture_of(name), vocabulary(), weights, directory)
  here = tmp_path / "here"
  from_t5x.write(
      plan, vocabulary(), weights, directory, str(here), lambda done: None
  )
  path = str(here / f"model.ckpt-{t5x_peers.STEP}")
  assert checkpoint_files.damage(path) is None
  found = peers.variables(path)
  assert found.pop("global_step") == t5x_peers.STEP
  drawn = draws.weights({x.t5x: list(x.mesh_shape) for x in plan.pairs})
  assert len(found) == len(plan.pairs)
  is_rounded = {x.dtypes[0] for x in plan.entries} == {"bfloat16"}
  assert is_rounded == (name == "t5x_1_0")
  for pair in plan.pairs:
    np.testing.assert_allclose(
        found[pair.mesh], drawn[pair.t5x], 2**-8 if is_rounded else 0
    )
  expected = t5x_peers.expected(name)
  # Nothing is dropped with as many slots as tokens.
  peers.parse(here, "SwitchFeedForward.capacity_factor_eval = 4")
  has_gradients = name in _WITH_GRADIENTS
  results = peers.results(
      *(here, _ROWS, expected, False, t5x_peers.STEP, has_gradients)
  )
  # What padding gets does not matter.
  is_real = expected["targets"] != 0
  difference = np.abs(results["logits"] - expected["logits"])[is_real].max()
  assert difference < _TOLERANCE * np.abs(expected["logits"]).max()
  if has_gradients:
    check_gradients(plan.pairs, results["gradients"], expected)


def check_gradients(pairs, gradients, expected):
  """A step of training changes the same tensors, by as much."""
  norms = dict(zip(expected["gradient_names"], expected["gradient_norms"]))
  tiny = 1e-6 * max(norms.values())
  for pair in pairs:
    assert np.linalg.norm(gradients.pop(pair.mesh)) == pytest.approx(
        norms.pop(pair.t5x), rel=1e-3, abs=tiny
    ), pair.t5x
  assert not gradients and not norms


class Weights:
  """Weights of a checkpoint whose values nobody reads."""

  step = 0

  def __init__(self, architecture, changes, others=()):
    shapes = {x.t5x: x.mesh_shape for x in names.pairs(architecture)} | changes
    self.tensors = {
        name: arrival.Tensor("a_file", shape, "float32")
        for name, shape in shapes.items()
        if shape is not None
    }
    self.others = list(others)


def plan_of(changes, *bindings, name="t5x_1_0", others=(), left_out=()):
  """The plan of a model whose gin files and arrays are changed."""
  weights = Weights(architecture_of(name), changes, others)
  architecture = architecture_of(name, *bindings)
  return from_t5x.plan(architecture, vocabulary(), weights, "d", left_out)


_SOFTMAX = "decoder/logits_dense/kernel"


@pytest.mark.parametrize(
    "changes, bindings, message",
    [
        (
            {_SOFTMAX: (8, 128)},
            [],
            f"d has {_SOFTMAX}, and by the gin files .* = True; it is False",
        ),
        (
            {},
            ["Unitransformer.shared_embedding_and_softmax_weights = False"],
            f"d has no {_SOFTMAX}, and by the gin files .* = False",
        ),
        (
            {"encoder/encoder_norm/scale": None},
            [],
            "in d lack encoder/encoder_norm/scale, which the model has by the "
            "gin files; name those of its model",
        ),
        (
            {},
            ["num_layers = 3"],
            "lack encoder/layers_2/pre_attention_layer_norm/scale, .* and 5 "
            "more",
        ),
        (
            {},
            ["num_layers = 1"],
            r"nothing becomes of encoder/layers_1/attention/key/kernel, .* and "
            r"5 more in d; .*convert.left_out = \['encoder/layers_1/",
        ),
        (
            {},
            ["d_ff = 16"],
            "encoder/layers_0/mlp/wi/kernel is 8 x 12 in a_file, and 8 x 16 by "
            "the gin files",
        ),
        (
            {"encoder/encoder/mlp/wi/kernel": (8, 2, 12)},
            [],
            "d has encoder/encoder/mlp/wi/kernel: its layers are scanned",
        ),
        (
            {"encoder/layers_0/relpos_bias/rel_embedding": (2, 32)},
            [],
            "each layer has biases of positions of its own",
        ),
        (
            {"token_embedder/embedding": (256, 8)},
            [],
            "in d has 256 rows, and the vocabulary has 128 ids",
        ),
    ],
)
def test_models_that_do_not_fit_are_named(changes, bindings, message):
  with pytest.raises(errors.UserError, match=message) as error:
    plan_of(changes, *bindings)
  assert "\n" not in str(error.value)


def test_arrays_of_other_types_are_named():
  architecture = architecture_of("t5x_1_0")
  name = "token_embedder/embedding"
  weights = Weights(architecture, {})
  weights.tensors[name] = arrival.Tensor("a_file", (128, 8), "int8")
  with pytest.raises(errors.UserError, match=f"{name} is int8 in a_file; what"):
    from_t5x.plan(architecture, vocabulary(), weights, "d")


def test_a_bias_of_routers_is_left_over():
  bias = "encoder/layers_1/mlp/router/router_weights/w/bias"
  with pytest.raises(errors.UserError, match=f"nothing becomes of {bias}"):
    plan_of({bias: (4,)}, name="switch_base")


def test_what_is_allowed_by_name_is_left_out():
  changes = {"extra/scale": (3,)}
  for left_out in (["extra/scale"], ["flax_mutables/x"]):
    with pytest.raises(errors.UserError, match="nothing becomes of"):
      plan_of(changes, others=["flax_mutables/x"], left_out=left_out)
  plan = plan_of(
      changes,
      others=["flax_mutables/x"],
      left_out=["extra/scale", "flax_mutables/x"],
  )
  (entry,) = (x for x in plan.entries if not x.targets)
  assert entry.sources == ("extra/scale",)
  assert "1 left out, with 3 values" in account.summary(plan.entries)


@pytest.mark.parametrize(
    "file, bindings, message",
    [
        ("switch_lm_tiny", [], "a decoder alone"),
        (
            "switch_tiny",
            ["SwitchFeedForward.router = @top_2_router"],
            "the router Top2Router, .* which T5X's T5 and flaxformer's",
        ),
    ],
)
def test_what_t5x_lacks_is_named(file, bindings, message):
  gin_files.parse([f"models/{file}.gin"], [*gin_files.SHRUNK, *bindings])
  model = gin_files.build_model(_ROWS)
  with pytest.raises(errors.UserError, match=message):
    model_architecture.architecture(model, 1e-6, model_architecture.T5X)
