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

"""The layer under T5's own programs, with nothing of ours but an import."""

import tensorflow.compat.v1 as tf

from tests import programs

GIN = """
include "models/switch_tiny.gin"

num_cores = 2
d_model = 32
d_ff = 64
d_kv = 8
num_experts = 4

utils.run.model_type = %model_type
utils.run.batch_size = 4
utils.run.sequence_length = {"inputs": 64, "targets": 64}
utils.run.mesh_shape = ""
utils.run.layout_rules = ""
utils.run.train_steps = 3
utils.run.save_checkpoints_steps = 3
"""

MTF_MODEL = """
import sys
import gin
import mtf_switch
import seqio
import tests.toy_tasks
import t5.models
from mtf_switch import compat

compat.use_graph_mode()
gin.add_config_file_search_path(sys.argv[1])
gin.parse_config_file(sys.argv[2])
model = t5.models.MtfModel(
    model_dir=sys.argv[3], tpu=None, batch_size=4, mesh_shape="batch:1",
    sequence_length={"inputs": 64, "targets": 8},
    save_checkpoints_steps=3, learning_rate_schedule=0.001)
model.train("toy_copy", steps=3)
model.eval("toy_copy", -1, summary_dir=sys.argv[3])
model.predict(
    sys.argv[4], sys.argv[5], -1, beam_size=2, temperature=0.0,
    vocabulary=seqio.ByteVocabulary())
"""


def run(arguments, directory):
  """Runs a program as a user would, in another directory."""
  result = programs.run_alone(arguments, directory)
  assert result.returncode == 0, result.stderr[-3000:]


def check_checkpoint(model_dir):
  """Three steps were trained, and the router and experts with them."""
  checkpoint = tf.train.latest_checkpoint(str(model_dir))
  assert checkpoint.endswith("model.ckpt-3")
  shapes = dict(tf.train.list_variables(checkpoint))
  scope = "encoder/block_000/layer_003/SwitchFeedForward"
  assert shapes[f"{scope}/router/kernel"] == [32, 4]
  assert shapes[f"{scope}/experts/wi/kernel"] == [4, 32, 64]
  assert shapes[f"{scope}/experts/wo/kernel"] == [4, 64, 32]
  scope = "decoder/block_000/layer_005/SwitchFeedForward"
  assert shapes[f"{scope}/router/kernel"] == [32, 4]


def test_t5_mesh_transformer(tmp_path):
  (tmp_path / "tiny.gin").write_text(GIN)
  run(
      [
          "-m",
          "mtf_switch.compat",
          "t5_mesh_transformer",
          "--module_import=mtf_switch",
          "--module_import=tests.toy_tasks",
          f"--gin_location_prefix={programs.PROJECT / 'gin'}",
          "--gin_file=dataset.gin",
          "--gin_file=learning_rate_schedules/constant_0_001.gin",
          f"--gin_file={tmp_path / 'tiny.gin'}",
          "--gin_param=MIXTURE_NAME = 'toy_copy'",
          # T5's defaults: axes of one core, which split nothing.
          "--gin_param=utils.run.mesh_shape = 'model:1,batch:1'",
          "--gin_param=utils.run.layout_rules = 'ensemble:ensemble,batch:batch,"
          "d_ff:model,heads:model,vocab:model,experts:batch'",
          f"--model_dir={tmp_path / 'model'}",
      ],
      tmp_path,
  )
  check_checkpoint(tmp_path / "model")


def test_mtf_model(tmp_path):
  """Trains, evaluates and decodes, under T5's default layout."""
  (tmp_path / "tiny.gin").write_text(GIN)
  (tmp_path / "inputs").write_text("the switch\none expert\n")
  run(
      [
          "-c",
          MTF_MODEL,
          str(programs.PROJECT / "gin"),
          str(tmp_path / "tiny.gin"),
          str(tmp_path / "model"),
          str(tmp_path / "inputs"),
          str(tmp_path / "outputs"),
      ],
      tmp_path,
  )
  check_checkpoint(tmp_path / "model")
  predictions = (tmp_path / "model" / "toy_copy_3_predictions").read_text()
  assert len(predictions.split("\n")) == 13
  assert (tmp_path / "outputs-3").read_text().count("\n") == 2
