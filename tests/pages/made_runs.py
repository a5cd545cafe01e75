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

"""Directories as runs leave them, with figures by hand."""

import json

TASK = "a_task"
LAYER = "encoder/block_000/layer_001"


def train(step, **figures):
  """A "train" line."""
  return {
      "step": step,
      "kind": "train",
      "task": TASK,
      "cross_entropy": 3.0,
      "seconds": 2.0 * step,
      **figures,
  }


def routed(step, load=None, **figures):
  """A "train" line of a model with one Switch layer."""
  layer = {"load_max": 1.5, "load_min": 0.5, "load_cv": 0.3, **figures}
  if load is not None:
    layer["load"] = load
  return train(step, fraction_dropped=0.25, layers={LAYER: layer})


def evaluation(step, quality, task=TASK, seconds=None):
  """An "eval" line."""
  return {
      "step": step,
      "kind": "eval",
      "task": task,
      "neg_log_perplexity": quality,
      "seconds": 2.0 * step if seconds is None else seconds,
  }


def write(directory, lines, gin="", sha256="a" * 64, **model):
  """Makes the directory of a run, and returns its path."""
  directory.mkdir(parents=True)
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (directory / "metrics.jsonl").write_text(text)
  (directory / "operative_config.gin").write_text(gin)
  (directory / "model.json").write_text(json.dumps(model))
  (directory / "versions.txt").write_text("python==3.11.7\nnumpy==1.26.4\n")
  vocabulary = {
      **{"kind": "SentencePiece", "size": 600, "extra_ids": 100},
      **{"sha256": sha256, "path": None},
  }
  (directory / "vocabulary.json").write_text(
      json.dumps({"inputs": vocabulary, "targets": vocabulary})
  )
  return str(directory)
