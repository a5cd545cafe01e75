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
"""Models with fewer experts, made of one that was trained here."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import saved_variables
from mtf_switch.modes import prune
from mtf_switch.training import prediction
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import token_routing
from tests import gin_files
from tests import small_model
from tests.modes import test_distill

LENGTH = 40
EXPERTS = f"{test_distill.LAYER}/SwitchFeedForward/experts"
ROUTER = f"{test_distill.LAYER}/SwitchFeedForward/router/kernel"


def console():
  return rich.console.Console(file=io.StringIO(), width=1000)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
  return test_distill.trained(
      tmp_path_factory.mktemp("sparse"), "sparse", *test_distill.NOISY
  )


def pruned(sparse_dir, directory, *params):
  """Prunes; returns what is recorded and what the terminal says."""
  run = test_distill.configured(
      sparse_dir, "sparse", ["runs/pretrain.gin"], *params
  )
  # Configured as the program does it, from the command line's own texts.
  run = dataclasses.replace(
      run,
      gin_files=(
          "models/switch_tiny.gin",
          "layouts/single.gin",
          "schedules/constant_0_001.gin",
          "runs/pretrain.gin",
      ),
      gin_directories=[str(gin_files.ROOT)],
      gin_params=(*test_distill.COMMON, *test_distill.SPARSE, *params),
  )
  to = console()
  with contextlib.redirect_stdout(to.file):
    prune.prune(run, to, str(directory))
  record = json.loads((directory / "pruned.json").read_text())
  return record, to.file.getvalue()


@pytest.fixture(scope="module")
def kept(sparse, tmp_path_factory):
  directory = tmp_path_factory.mktemp("kept")
  return (directory, *pruned(sparse, directory, "prune.keep = 3"))


def test_the_most_used_experts_stay(kept, sparse):
  directory, record, said = kept
  layer = record["layers"][test_distill.LAYER]
  choices = np.array(layer["choices"])
  order = layer["kept"]
  assert len(order) == 3 and choices.sum() > 0
  assert choices[order].sum() == np.sort(choices)[1:].sum()
  share = choices[order].sum() / choices.sum()
  assert layer["share"] == pytest.approx(share)
  assert f" {share:.1%}" in said
  assert "3 of 4 experts" in said
  assert "4 of 4 columns, kept experts first" in said
  assert (directory / "vocabulary.json").exists()
  found, source = map(test_distill.weights, (directory, sparse))
  assert found["global_step"] == 4
  for kernel in ("wi", "wo"):
    name = f"{EXPERTS}/{kernel}/kernel"
    np.testing.assert_array_equal(found[name], source[name][order])
  columns = [*order, *sorted(set(range(4)) - set(order))]
  np.testing.assert_array_equal(found[ROUTER], source[ROUTER][:, columns])
  same = set(source) - {x for x in source if "_slot_" in x or "/Switch" in x}
  for name in same:
    np.testing.assert_array_equal(found[name], source[name])
  assert not any(found[x].any() for x in found if "_slot_" in x)
  assert record["gin_params"] == [
      *test_distill.COMMON,
      *test_distill.SPARSE,
      "num_experts = 3",
      "SwitchFeedForward.num_removed_experts = 1",
  ]


def test_both_models_are_evaluated(kept, sparse):
  _, record, _ = kept
  for directory, key in ((sparse, "before"), (kept[0], "after")):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["kind"], last["step"]) == ("eval", 4)
    assert record[key] == {"toy_lm": {"cross_entropy": last["cross_entropy"]}}


def test_tokens_of_kept_experts_have_the_same_scores(kept, sparse):
  directory, record, _ = kept
  ids = np.zeros([200, LENGTH], int)
  ids[:, :2] = np.random.RandomState(1).randint(3, 250, [200, 2])
  ids[:, 2] = 1
  display = progress.Display(console())
  of_sparse = test_distill.configured(sparse, "sparse", ["runs/pretrain.gin"])
  reader = token_routing.Reader(of_sparse, tf.estimator.ModeKeys.PREDICT)
  order = record["layers"][test_distill.LAYER]["kept"]
  stays = np.array(
      [
          np.isin(tokens.experts, order)[tokens.asked].all()
          for (tokens,) in reader.read({"targets": ids}, 4, display)
      ]
  )
  assert 10 < stays.sum() < 190

  def scores(run):
    predicted = prediction.predict(
        run,
        prediction_functions.scoring_model_fn(run),
        {"targets": ids},
        4,
        display,
        "scored",
    )
    return np.array([x["score"] for x in predicted])

  before = scores(of_sparse)
  after = scores(
      test_distill.configured(
          directory, "sparse", ["runs/pretrain.gin"], *record["gin_params"][-2:]
      )
  )
  np.testing.assert_allclose(after[stays], before[stays], rtol=1e-5)
  # The others are what is lost.
  assert np.abs(after - before)[~stays].max() > 1e-4


def test_tasks_with_metrics_are_decoded(tmp_path):
  file = tmp_path / "mine.gin"
  file.write_text(small_model.RUN + "train_steps = 2")
  run = run_lib.Run(
      model_dir=str(tmp_path / "sparse"),
      gin_files=[str(file)],
      gin_params=["prune.keep = 3", "task = 'toy_letters'"],
      gin_directories=[str(gin_files.ROOT)],
  )
  gin_files.clear()
  run.configure()
  variables = saved_variables.SavedVariables(run)
  checkpoint_writer.write(
      run.model_dir,
      3,
      variables.all,
      lambda x: variables.initial_value(x.name),
      lambda written: None,
  )
  directory = tmp_path / "new"
  to = console()
  prune.prune(run, to, str(directory))
  record = json.loads((directory / "pruned.json").read_text())
  assert list(record["layers"]) == [
      f"{x}/block_000/layer_001" for x in ("encoder", "decoder")
  ]
  for made, key in ((tmp_path / "sparse", "before"), (directory, "after")):
    (line,) = (made / "validation_eval/metrics.jsonl").read_text().splitlines()
    share = json.loads(line)["share_of_letters"]
    assert record[key] == {"toy_letters": {"share_of_letters": share}}
  assert "share_of_letters" in to.file.getvalue()


def test_a_dense_model_of_experts(sparse, tmp_path):
  new_gin = [
      "models/t5_tiny.gin",
      "layouts/single.gin",
      "schedules/constant_0_001.gin",
      "runs/pretrain.gin",
  ]
  new_params = [*test_distill.COMMON, *test_distill.DENSE]
  record, said = pruned(
      sparse,
      tmp_path,
      "prune.merging = 'by_load'",
      f"prune.new_gin = {new_gin}",
      f"prune.new_params = {new_params}",
  )
  layer = record["layers"][test_distill.LAYER]
  found, source = map(test_distill.weights, (tmp_path, sparse))
  assert 0.25 < layer["mean_gate"] < 1
  for kernel, factor in (("wi", 1), ("wo", layer["mean_gate"])):
    np.testing.assert_allclose(
        found[f"{test_distill.LAYER}/DenseReluDense/{kernel}/kernel"],
        factor
        * np.average(source[f"{EXPERTS}/{kernel}/kernel"], 0, layer["choices"]),
        atol=1e-6,
    )
  assert "4 experts, by load, times the mean gate" in said
  assert record["after"]["toy_lm"]["cross_entropy"] > 0


@pytest.mark.parametrize(
    "params, expected",
    [
        ([], "prune.keep = None and prune.merging = None: set one"),
        (["prune.keep = 4"], "keep = 4 must be below the 4 experts"),
        (["prune.merging = 'mean'"], "prune.new_gin is not set"),
    ],
)
def test_mistakes_end_in_one_line(sparse, tmp_path, params, expected):
  with pytest.raises(errors.UserError, match=expected):
    pruned(sparse, tmp_path, *params)
  assert not list(tmp_path.iterdir())


def test_a_model_is_not_overwritten(sparse):
  with pytest.raises(errors.UserError, match="has checkpoints already"):
    pruned(sparse, sparse, "prune.keep = 2")
