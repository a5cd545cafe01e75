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

"""What the mode that measures perplexity shows."""

import contextlib
import types

import numpy as np

from mtf_switch.modes import perplexity
from mtf_switch.training import inputs


class Display:
  """Notes the totals of the works that it shows."""

  def __init__(self):
    self.totals = []

  @contextlib.contextmanager
  def working(self, text, total=None, unit="", at_once=False):
    del text, at_once
    assert unit == "batches"
    self.totals.append(total)
    yield lambda done, details="": None

  def note(self, text):
    """Nobody reads it."""


def test_evaluations_know_their_batches_from_the_second_one_on(
    tmp_path, monkeypatch
):
  def three_batches(run, step, dataset_fns, report, batches):
    del run, step, report
    for _ in range(3):
      batches.after_run(None, None)
    figures = ("cross_entropy", "neg_log_perplexity", "packing_efficiency")
    return {x: np.ones(len(dataset_fns)) for x in figures}

  lines = []
  run = types.SimpleNamespace(
      model_dir=str(tmp_path),
      experiment=types.SimpleNamespace(task="both", lengths={}, provider=None),
      metrics_file=types.SimpleNamespace(
          read=lambda: lines, append=lambda *args, **kwargs: None
      ),
  )
  datasets = [
      types.SimpleNamespace(name=name, dataset_fn=None) for name in ("a", "b")
  ]
  monkeypatch.setattr(perplexity, "_figures_of", three_batches)
  monkeypatch.setattr(inputs, "evaluation_datasets", lambda *args: datasets)
  display = Display()
  evaluate = perplexity.make_evaluate(run, "validation", display).evaluate
  evaluate(10)
  evaluate(20)
  # Of one task alone it is not known.
  lines.append({"step": 30, "kind": "eval", "task": "a"})
  evaluate(30)
  assert display.totals == [None, 3, None]
