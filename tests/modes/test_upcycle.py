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
"""A dense model that was trained here, and the Switch model made of it."""

import mtf_switch  # isort: skip  # noqa: F401
import collections
import contextlib
import io
import json
import pathlib
import shutil

import numpy as np
import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.modes import finetune
from mtf_switch.modes import perplexity
from mtf_switch.modes import train
from mtf_switch.modes import upcycle
from mtf_switch.training import checkpoints
from tests.modes import test_distill

EXACT = (
    "switch_router.gate = 'one'",
    # No token is dropped.
    "SwitchFeedForward.capacity_factor_eval = 4",
)
EXPERTS = "SwitchFeedForward/experts"


def console():
  return rich.console.Console(file=io.StringIO(), width=1000)


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
  directory = tmp_path_factory.mktemp("dense")
  return test_distill.trained(directory, "dense", *test_distill.NOISY[:1])


def upcycled(directory, dense_dir, *params):
  """Upcycles; returns the run and what the terminal says."""
  run = test_distill.configured(
      directory,
      "sparse",
      ["runs/pretrain.gin"],
      f"upcycle.dense_dir = {str(dense_dir)!r}",
      *params,
  )
  to = console()
  with contextlib.redirect_stdout(to.file):
    upcycle.upcycle(run, to)
  return run, to.file.getvalue()


def cross_entropy(run):
  perplexity.perplexity_eval(run, console())
  return run.metrics_file.read()[-1]["cross_entropy"]


@pytest.fixture(scope="module")
def sparse(tmp_path_factory, dense):
  return upcycled(tmp_path_factory.mktemp("sparse"), dense, *EXACT)


def test_every_weight_has_its_source(sparse, dense):
  run, said = sparse
  assert "copied to 4 experts" in said
  assert "11 tensors with" in said and "; 1 are fresh, with 64 values." in said
  assert 'adafactor_decay_rate_pow.offset = 4"' in said
  assert (pathlib.Path(run.model_dir) / "vocabulary.json").exists()
  source = test_distill.weights(dense)
  found = test_distill.weights(run.model_dir)
  assert found["global_step"] == 4
  slots = [x for x in found if "_slot_" in x]
  assert slots and not any(found[x].any() for x in slots)
  for kernel in ("wi", "wo"):
    experts = found[f"{test_distill.LAYER}/{EXPERTS}/{kernel}/kernel"]
    expected = source[f"{test_distill.LAYER}/DenseReluDense/{kernel}/kernel"]
    np.testing.assert_array_equal(experts, np.stack([expected] * 4))
  router = found[f"{test_distill.LAYER}/SwitchFeedForward/router/kernel"]
  # sqrt(0.1 / 16), cut at two sigma.
  assert 0.05 < router.std() < 0.09 and np.abs(router).max() < 0.17
  same = [x for x in source if x in found and "_slot_" not in x]
  assert len(same) == 9 + 1
  for name in same:
    np.testing.assert_array_equal(found[name], source[name])


def test_the_first_loss_is_the_dense_models(sparse, dense, tmp_path):
  run, _ = sparse
  expected = cross_entropy(
      test_distill.configured(dense, "dense", ["runs/pretrain.gin"])
  )
  test_distill.configured(
      run.model_dir, "sparse", ["runs/pretrain.gin"], *EXACT
  )
  assert cross_entropy(run) == pytest.approx(expected, abs=1e-5)
  # With the paper's gates it is another function.
  with_gates = test_distill.configured(
      run.model_dir, "sparse", ["runs/pretrain.gin"], EXACT[1]
  )
  assert abs(cross_entropy(with_gates) - expected) > 1e-4


def test_the_seed_decides_router_and_noise(sparse, dense, tmp_path):
  one, _ = upcycled(tmp_path / "a", dense, "upcycle.noise = 0.1")
  two, _ = upcycled(tmp_path / "b", dense, "upcycle.noise = 0.1")
  found, again, without = (
      test_distill.weights(x.model_dir) for x in (one, two, sparse[0])
  )
  test_distill.assert_same(found, again)
  for name, value in without.items():
    if EXPERTS not in name or "_slot_" in name:
      np.testing.assert_array_equal(found[name], value)
      continue
    noise = found[name] - value
    assert noise.std() == pytest.approx(0.1 * value.std(), rel=0.1)
    assert len(np.unique(noise[:, 0, 0])) == 4
  record = json.loads((tmp_path / "a" / "upcycled.json").read_text())
  assert record == {
      "dense_dir": str(dense),
      "step": 4,
      "noise": 0.1,
      "seed": 0,
  }


def test_it_goes_on_like_any_run(sparse, tmp_path):
  directory = sparse[0].model_dir
  tuned = test_distill.configured(
      tmp_path,
      "sparse",
      ["runs/finetune.gin"],
      f"pretrained_dir = {directory!r}",
      "train_steps = 1",
      "train.eval_every = None",
      *EXACT,
  )
  finetune.finetune(tuned, console())
  record = json.loads((tmp_path / "initialization.json").read_text())
  assert len(record["matched"]) == 12 and not record["not_in_checkpoint"]
  run = test_distill.configured(
      directory, "sparse", ["runs/pretrain.gin"], "train_steps = 5", *EXACT
  )
  train.train(run, console())
  before, after = (test_distill.weights(directory, x) for x in (4, 5))
  assert before.keys() == after.keys()
  router = f"{test_distill.LAYER}/SwitchFeedForward/router/kernel"
  assert (before[router] != after[router]).any()


@pytest.mark.parametrize(
    "params, expected",
    [
        (
            ["d_ff = 48"],
            r"experts/wi/kernel needs 16 x 48 and .* has 16 x 32; upcycling",
        ),
        (["num_blocks = 2"], "only in the model of the gin files, not in"),
        (
            [
                "make_layer_stack.layers ="
                " [@transformer_layers.SelfAttention,"
                " @transformer_layers.DenseReluDense]",
            ],
            "a model without Switch layers",
        ),
    ],
)
def test_other_models_are_refused(dense, tmp_path, params, expected):
  with pytest.raises(errors.UserError, match=expected):
    upcycled(tmp_path, dense, *params)
  assert not list(tmp_path.iterdir())


def test_too_little_disk_is_said_first(dense, tmp_path, monkeypatch):
  usage = collections.namedtuple("usage", "free")
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**4))
  with pytest.raises(errors.UserError, match="its disk has 9.766 KiB free"):
    upcycled(tmp_path, dense)
  assert not list(tmp_path.iterdir())


def test_directories_of_other_runs_are_refused(dense, sparse, tmp_path):
  directory = sparse[0].model_dir
  with pytest.raises(errors.UserError, match="has experts already"):
    upcycled(tmp_path, directory)
  with pytest.raises(errors.UserError, match="has checkpoints already"):
    upcycled(directory, dense)
  with pytest.raises(errors.UserError, match="correct upcycle.dense_dir"):
    upcycled(tmp_path, tmp_path)
  assert checkpoints.saved_steps(directory)[0] == 4
