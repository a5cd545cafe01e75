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

"""Trains the small models whose checkpoints and losses version 0.2.0 made.

`checkpoints/` and `losses.json` beside this file are its output. To make them
again, run it in a checkout of version 0.2.0 (commit 7ffcd12), from its root:

  PYTHONPATH=. python path/to/tests/version_0_2_0/make_checkpoints.py

It trains each model to step SAVED_STEP and keeps that checkpoint, then goes on
to step LAST_STEP and records the losses of the later steps and the evaluations
of both checkpoints. The text is that of tests/toy_tasks.py, which needs no
download.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

DIRECTORY = pathlib.Path(__file__).resolve().parent
CHECKPOINTS = DIRECTORY / "checkpoints"
LOSSES = DIRECTORY / "losses.json"
SAVED_STEP, LAST_STEP = 4, 8
# Enough to go on from; graphs, events and logs are larger than the weights.
KEPT = [
    "checkpoint",
    "model.ckpt-*.data-*",
    "model.ckpt-*.index",
    "vocabulary.json",
]

# The gin file of each model, and its sizes beyond those that all have.
MODELS = {
    "dense": ("models/t5_tiny.gin", ["num_layers = 1"]),
    "switch": ("models/switch_tiny.gin", []),
    "switch_attention": (
        "models/switch_base_attention.gin",
        ["num_blocks = 1", "num_experts = 2"],
    ),
}
FILES = [
    "layouts/single.gin",
    "objectives/text_to_text.gin",
    "schedules/linear_warmup_rsqrt.gin",
    "runs/pretrain.gin",
]
PARAMS = [
    "d_model = 8",
    "d_ff = 16",
    "d_kv = 4",
    "num_heads = 2",
    "task = 'toy_copy'",
    "inputs_length = 32",
    "targets_length = 32",
    "batch_size = 4",
    "warmup_steps = 4",
    "learning_rate_multiplier = 1.0",
    f"train.eval_every = {SAVED_STEP}",
    "train.metrics_every = 1",
]


def arguments(name: str, model_dir, steps: int) -> list[str]:
  """The command line that trains a model.

  Args:
    name: one of MODELS.
    model_dir: the directory of its run.
    steps: updates in all.

  Returns:
    the arguments of run_switch.py. Gin files are named as seen from gin/.
  """
  model, sizes = MODELS[name]
  params = [*PARAMS, *sizes, f"train_steps = {steps}"]
  if "switch" in name:
    params.append("num_cores = 2")
  return [
      f"--model_dir={model_dir}",
      "--module_import=tests.toy_tasks",
      *(f"--gin_file={file}" for file in [model, *FILES]),
      *(f"--gin_param={param}" for param in params),
  ]


def losses(model_dir) -> list[dict]:
  """The losses of a run after step SAVED_STEP, and its evaluation there."""
  lines = pathlib.Path(model_dir, "metrics.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  names = ("step", "kind", "cross_entropy", "aux_loss")
  return [
      {name: record[name] for name in names if record.get(name) is not None}
      for record in records
      if record["step"] > SAVED_STEP
      or (record["step"], record["kind"]) == (SAVED_STEP, "eval")
  ]


def _keep(model_dir: pathlib.Path, kept: pathlib.Path):
  """Copies the files that a run continues from."""
  kept.mkdir(parents=True)
  for pattern in KEPT:
    for path in model_dir.glob(pattern):
      shutil.copy(path, kept)


def main():
  """Makes all checkpoints and losses."""
  found = {}
  shutil.rmtree(CHECKPOINTS, ignore_errors=True)
  with tempfile.TemporaryDirectory() as parent:
    for name in MODELS:
      model_dir = pathlib.Path(parent, name)
      for steps in (SAVED_STEP, LAST_STEP):
        subprocess.run(
            [sys.executable, "run_switch.py"]
            + arguments(name, model_dir, steps),
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            check=True,
        )
        if steps == SAVED_STEP:
          _keep(model_dir, CHECKPOINTS / name)
      found[name] = losses(model_dir)
  LOSSES.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
  main()
