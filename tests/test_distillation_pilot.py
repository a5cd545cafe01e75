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

"""The pilot of Table 6: its table, from metrics files made by hand."""

import json
import pathlib

import pytest

from benchmarks import contest
from benchmarks import distillation

PAGE = contest.PROJECT / "docs" / "distillation.md"


def write_run(model_dir, *losses, agreement=None):
  lines = [{"kind": "train", "step": 1}]
  if agreement is not None:
    lines[0]["distillation"] = {"agreement": agreement}
  lines += [
      {"kind": "eval", "step": 10 * (i + 1), "neg_log_perplexity": loss}
      for i, loss in enumerate(losses)
  ]
  model_dir.mkdir()
  (model_dir / "metrics.jsonl").write_text(
      "".join(json.dumps(line) + "\n" for line in lines)
  )
  return model_dir


def test_shares_are_of_each_seeds_own_gain(tmp_path):
  rows = distillation.summarize(
      {
          "alone": [
              write_run(tmp_path / "alone0", -4.0, -3.0),
              write_run(tmp_path / "alone1", -3.0),
          ],
          "teacher": [
              write_run(tmp_path / "teacher0", -2.0),
              write_run(tmp_path / "teacher1", -1.0),
          ],
          "soft": [
              write_run(tmp_path / "soft0", -2.5, agreement=0.5),
              write_run(tmp_path / "soft1", -2.5, agreement=0.75),
          ],
      }
  )
  assert rows["alone"]["evaluations"] == [[[10, -4.0], [20, -3.0]], [[10, -3]]]
  assert rows["soft"] == {
      "title": "distillation",
      "neg_log_perplexity": [-2.5, -2.5],
      "agreement": [0.5, 0.75],
      "evaluations": [[[10, -2.5]], [[10, -2.5]]],
      "share": [0.5, 0.25],
  }
  *_, last = distillation.table(rows).splitlines()
  expected = "| distillation | -2.500 ± 0.000 | 38% ± 12% | -1.631 | 3% |"
  assert last == expected


def test_a_run_is_done_with_its_last_evaluation(tmp_path):
  model_dir = write_run(tmp_path / "run", -4.0, -3.0)
  assert distillation.is_done(model_dir, 20)
  assert not distillation.is_done(model_dir, 30)
  assert not distillation.is_done(tmp_path / "nowhere", 10)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("teacher", ["--mode=train", "--gin_file=experiments/demo_switch.gin"]),
        ("alone", ["--mode=train", "--gin_file=experiments/demo_dense.gin"]),
        (
            "mix_from_teacher",
            [
                "--mode=distill",
                "--gin_file=experiments/distill_demo.gin",
                "--gin_param=teacher_dir = 'runs/teacher'",
                "--gin_param=distill.soft_fraction = 0.25",
                "--gin_param=distill.initialize_from_teacher = True",
            ],
        ),
    ],
)
def test_runs_differ_in_their_arguments(name, expected):
  directories = {x: pathlib.Path("runs") / x for x in distillation.KINDS}
  found = distillation.arguments_of(name, directories, 7, 20)
  common = [
      f"--model_dir=runs/{name}",
      "--seed=7",
      "--gin_param=train_steps = 20",
      "--gin_param=train.eval_every = 10",
      "--gin_param=train.save_checkpoints_steps = 10",
  ]
  assert sorted(found) == sorted(common + expected)


def test_the_page_has_the_table_of_the_results():
  path = contest.RESULTS / "distillation.json"
  rows = json.loads(path.read_text())["rows"]
  assert distillation.table(rows) in PAGE.read_text()
