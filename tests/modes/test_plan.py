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

"""`run_switch.py --mode=plan` as its user sees it."""

import mtf_switch  # isort: skip  # noqa: F401
import json

import pytest

from mtf_switch.planning import table9
from tests import plans
from tests import programs

GIN = """
include "models/switch_lm_tiny.gin"
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"

task = "toy_lm"
sequence_length = {"targets": 16}
batch_size = 8
train_steps = 1

d_model = 16
d_ff = 32
d_kv = 8
num_heads = 2
num_blocks = 1
num_experts = 4
num_cores = 4
transformer.make_layer_stack.layers = [
    @transformer_layers.SelfAttention,
    @SwitchFeedForward,
]
"""
PLAN = ["--mode=plan", "--gin_file=mine.gin", "--module_import=tests.toy_tasks"]
DATA_4 = "layouts/data.gin,data_parallelism=4"
EXPERT_DATA_4 = "layouts/expert_data.gin,data_parallelism=4"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  """An empty directory, with a space, but for the user's gin file."""
  directory = tmp_path_factory.mktemp("a user")
  (directory / "mine.gin").write_text(GIN)
  return directory


@pytest.fixture(scope="module")
def server():
  server = programs.Server()
  yield server
  server.close()


def test_json_is_alone_on_stdout(server, directory):
  ended = server.run(
      [
          *PLAN,
          "--gin_file=layouts/expert_data.gin",
          "--gin_param=data_parallelism = 4",
          "--plan_format=json",
      ],
      directory,
  )
  assert ended.returncode == 0, ended.stderr
  plan = json.loads(ended.stdout)
  assert set(plans.KEYS) <= plan.keys()
  assert plan["fits"] is True
  # Two sequences of 16 tokens are a group: 10 slots of 4 experts, there and
  # back, forward and backward, in bfloat16.
  assert plan["all_to_all_bytes_per_step"] == 4 * (4 * 10) * 16 * 2
  # 4 experts, of two matrices; a core has one.
  expert = 2 * 16 * 32
  assert plan["expert_parameters"] == 4 * expert
  assert plan["parameters"] - plan["parameters_per_core"] == 3 * expert
  assert plan["train_flops_per_step"] == 3 * 8 * plan["flops_per_sequence"]
  evaluations = plan["evaluations"]
  assert list(evaluations) == ["perplexity_eval", "score", "infer"]
  assert all(x["fits"] for x in evaluations.values())
  assert evaluations["infer"]["steps"] == 32
  assert evaluations["score"]["seconds"] > 0
  assert [path.name for path in directory.iterdir()] == ["mine.gin"]


def test_layouts_are_compared_and_drawn(server, directory):
  ended = server.run(
      [
          *PLAN,
          f"--plan_compare={DATA_4}",
          f"--plan_compare={EXPERT_DATA_4}",
          "--plan_compare=layouts/expert_data.gin,data_parallelism=2",
          "--plan_chip=this_cpu",
          "--plan_picture=layouts.png",
      ],
      directory,
  )
  assert ended.returncode == 0, ended.stderr
  assert (directory / "layouts.png").read_bytes().startswith(b"\x89PNG")
  (directory / "layouts.png").unlink()
  header = ended.stdout.split("\n", 1)[0].split()
  # By the file, and by the bindings too where that does not tell.
  assert sorted(header) == [
      "data",
      "expert_data,data_parallelism=2",
      "expert_data,data_parallelism=4",
  ]
  # Two cores have twice as much to compute as four.
  assert header[2] == "expert_data,data_parallelism=2"
  assert "Ranked by whether" in ended.stdout


def test_a_layout_without_some_variant_is_compared_too(server, directory):
  """A sequence of 15 tokens cannot be dealt out to 4 groups."""
  ended = server.run(
      [
          *PLAN,
          "--gin_param=sequence_length = {'targets': 15}",
          f"--plan_compare={DATA_4}",
          "--plan_compare=layouts/single.gin",
      ],
      directory,
  )
  assert ended.returncode == 0, ended.stderr
  (row,) = [
      line for line in ended.stdout.splitlines() if " if microbatched " in line
  ]
  assert row.split()[-1] == "impossible"
  assert row.split()[-2] in ("KiB", "MiB")


def test_table_9(server, directory):
  ended = server.run(["--mode=plan", "--plan_table9"], directory)
  assert ended.returncode == 0, ended.stderr
  for file, model in table9.FILES.items():
    (row,) = [line for line in ended.stdout.splitlines() if f" {file} " in line]
    assert row.split()[0] == model


@pytest.mark.parametrize(
    "arguments, message",
    [
        pytest.param(
            [f"--plan_compare={DATA_4}", "--plan_chip=tpu_v0"],
            "Chip 'tpu_v0' is not known; use one of tpu_v2, ",
            id="chip",
        ),
        pytest.param(
            ["--plan_compare=layouts/dat.gin,data_parallelism=4"],
            "--plan_compare=layouts/dat.gin is neither in ",
            id="layout's file",
        ),
        pytest.param(
            ["--plan_compare=layouts/data.gin,4"],
            "--plan_compare=layouts/data.gin,4: '4' is no binding, ",
            id="binding",
        ),
        pytest.param(
            ["--plan_compare=layouts/data.gin,data_parallelism=3"],
            "batch_size = 8 cannot be split over the mesh axis data = 3 ",
            id="impossible layout",
        ),
        pytest.param([], "layout_rules and mesh_shape must be set", id="none"),
        pytest.param(
            [f"--plan_compare={DATA_4}", "--plan_picture=nowhere/a.png"],
            "--plan_picture=nowhere/a.png: there is no directory nowhere.",
            id="picture's directory",
        ),
        pytest.param(
            [
                "--plan_compare=layouts/data.gin,data_parallelism=128",
                "--plan_picture=a.png",
            ],
            "a picture shows up to 64 cores; the mesh has 128.",
            id="too many cores to draw",
        ),
    ],
)
def test_mistakes_are_one_line(server, directory, arguments, message):
  ended = server.run([*PLAN, *arguments], directory)
  assert ended.returncode == 1
  assert not ended.stdout
  (line,) = ended.stderr.splitlines()
  assert line.startswith(f"run_switch: {message}")
