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

"""The mode report: its file, and what it says."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import re

import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.modes import report
from mtf_switch.modes import train
from mtf_switch.pages import load_sections
from mtf_switch.pages import run_files
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from tests import gin_files
from tests import toy_tasks  # noqa: F401
from tests.pages import made_runs


def test_the_page_is_written_and_notes_are_said(tmp_path):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  with open(f"{path}/metrics.jsonl", "a") as file:
    file.write("half a li\n")
  console = rich.console.Console(record=True, width=200)
  report.report(None, console, [path], str(tmp_path / "new" / "out"))
  said = console.export_text()
  assert f"note: 1 line of {path}/metrics.jsonl cannot be read" in said
  page = tmp_path / "new" / "out" / "report.html"
  assert f"wrote {page}" in said
  assert page.read_text().startswith("<!DOCTYPE html>")
  assert [x.name for x in page.parent.iterdir()] == ["report.html"]


def test_an_earlier_page_stays_if_a_run_cannot_be_read(tmp_path):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  (tmp_path / "report.html").write_text("earlier")
  (tmp_path / "empty").mkdir()
  directories = [path, str(tmp_path / "empty")]
  with pytest.raises(errors.UserError, match="empty has no figures of a run"):
    report.report(
        None, rich.console.Console(quiet=True), directories, str(tmp_path)
    )
  assert (tmp_path / "report.html").read_text() == "earlier"


def train_run(model_dir, *params):
  """Trains a small model, which cuts its texts."""
  gin_files.clear()
  strict_gin.parse(
      [
          *("models/switch_tiny.gin", "layouts/single.gin"),
          *("schedules/constant_0_001.gin", "runs/pretrain.gin"),
      ],
      [
          "task = 'toy_lm'",
          "sequence_length = {'targets': 20}",
          "model_type = 'lm'",
          "make_layer_stack.layers ="
          " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
          *("num_experts = 4", "num_cores = 2", "batch_size = 2"),
          *("d_model = 16", "d_ff = 32", "d_kv = 8", "num_heads = 2"),
          "train.metrics_every = 1",
          *params,
      ],
      [],
  )
  console = rich.console.Console(file=io.StringIO(), width=1000)
  train.train(run_lib.Run(model_dir=model_dir), console)
  return console.file.getvalue()


def test_a_run_gives_its_report_warnings_and_a_map_of_its_experts(tmp_path):
  model_dir = str(tmp_path / "run")
  still = "constant_learning_rate.learning_rate = 0.0"
  said = train_run(model_dir, "train_steps = 3", still)
  assert "step 2  warning: the learning rate is zero" in said
  # What has been said is not said again, and ends.
  said = train_run(model_dir, "train_steps = 5")
  assert [x for x in said.splitlines() if "warning" in x] == []
  assert "step 4  no longer: the learning rate is zero" in said
  layer = "transformer/block_000/layer_001"
  (run,) = run_files.read_all([model_dir])
  assert run.layer_names == [layer]
  loads = load_sections.loads(run, layer)
  assert loads.values.shape == (5, 4)
  assert loads.values.mean(axis=1) == pytest.approx(1, abs=1e-3)
  console = rich.console.Console(quiet=True)
  report.report(None, console, [model_dir], str(tmp_path))
  html = (tmp_path / "report.html").read_text()
  warnings = html.partition("<h2")[2].partition("began at")[2]
  rows = re.findall("<tr>(.*?)</tr>", warnings.partition("</table>")[0])
  cells = [re.findall("<td.*?>(.*?)</td>", row) for row in rows]
  assert [row for row in cells if row] == [
      [
          *("run", "texts are cut", "targets of the train split"),
          *("cut 12, of 50", "0", "not yet"),
      ],
      ["run", "the learning rate is zero", "", "", "2", "4"],
  ]
  assert "Load of each expert" in html
  assert "The run has no load for each expert" not in html
