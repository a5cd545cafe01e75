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

"""Samples of real data, from file to score; skipped without the data."""

import mtf_switch  # isort: skip  # noqa: F401
import json
import math

import gin
import pytest

from tasks import vocabulary
from tests import programs
from tests import small_model

pytestmark = pytest.mark.real_data

GIN = """
include "models/switch_tiny.gin"
include "layouts/single.gin"
include "objectives/text_to_text.gin"
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"
import mtf_switch.modes.decode
import t5.models.mesh_transformer
vocabulary.path = "{real_data}/vocab/t5.spiece.model"
inputs_length = 128
targets_length = 32
batch_size = 64
train_steps = 1
train.metrics_every = 1
mesh_eval_dataset_fn.num_eval_examples = 64
""" + small_model.SIZES


@pytest.fixture(scope="module")
def server():
  server = programs.Server()
  yield server
  server.close()


def test_t5_vocabulary(real_data):
  """The ids of this sentence in T5."""
  gin.parse_config(f"vocabulary.path = '{real_data}/vocab/t5.spiece.model'")
  words = vocabulary.LateVocabulary("t5")
  text = "translate English to German: That is good."
  ids = [13959, 1566, 12, 2968, 10, 466, 19, 207, 5]
  assert words.encode(text) == ids
  assert words.decode(ids) == text
  # Sentinels come last, the first one at the end; the rows are 128 x 251.
  assert words.encode("<extra_id_0>") == [32099]
  assert math.ceil(words.vocab_size / 128) * 128 == 32128


@pytest.mark.parametrize(
    "task, where, metric",
    [
        ("c4_span_corruption", "c4.files = '{real_data}/c4/c4-*.json'", None),
        ("mc4.de", "mc4.files = '{here}/c4-de*.json'", None),
        ("glue_cola", "glue.directory = '{real_data}/glue'", "matthews"),
        (
            "squad",
            "squad.directory = '{real_data}/squad'\n"
            "squad.train_file = 'xquad.en.json'\n"
            "squad.validation_file = 'xquad.en.json'",
            "em",
        ),
    ],
)
def test_a_step_and_an_evaluation(
    server, tmp_path, real_data, task, where, metric
):
  # The sample has only validation pages, on which this trains too.
  name = "c4-de.validation.00000-of-00001.json"
  for link in (name, "c4-de.tfrecord-00000-of-00001.json"):
    (tmp_path / link).symlink_to(real_data / "mc4" / name)
  places = dict(real_data=real_data, here=tmp_path)
  text = (GIN + where).format(**places)
  (tmp_path / "mine.gin").write_text(f'{text}\ntask = "{task}"\n')
  run = ["--model_dir=run", "--gin_file=mine.gin"]
  every = ["--gin_param=train.eval_every = 1"] if metric is None else []
  result = server.run([*run, *every], tmp_path)
  assert result.returncode == 0, result.stderr
  lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  records = {r["kind"]: r for r in map(json.loads, lines)}
  # An untrained model's loss is close to ln(32128) = 10.4 per token.
  assert 9 < records["train"]["cross_entropy"] < 13
  assert 0 < records["train"]["packing_efficiency"] <= 1
  if metric is None:
    assert records["eval"]["task"] == task
    assert 9 < records["eval"]["cross_entropy"] < 13
    return
  result = server.run([*run, "--mode=eval"], tmp_path)
  assert result.returncode == 0, result.stderr
  directory = tmp_path / "run" / "validation_eval"
  (scores,) = map(
      json.loads, (directory / "metrics.jsonl").read_text().splitlines()
  )
  assert scores["task"] == task
  (value,) = [scores[name] for name in scores if name.startswith(metric)]
  assert -100 <= value <= 100
