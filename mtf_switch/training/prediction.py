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

"""Predictions of a run's checkpoint: of any model function, or decoded text."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mtf_switch.training import checkpoint_fit
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import estimators
from mtf_switch.training import inputs
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import progress_hook
from mtf_switch.training import run as run_lib


def decode(
    run: run_lib.Run, ids: np.ndarray, step: int, display: progress.Display
) -> list[str]:
  """Decodes inputs with the checkpoint of a step.

  Args:
    run: the run.
    ids: `[num_examples, length]` token ids.
    step: the checkpoint's step.
    display: the display for progress.

  Returns:
    num_examples texts.
  """
  vocabulary = run.experiment.vocabularies[1]
  return [
      vocabulary.decode([int(i) for i in prediction["outputs"]])
      for prediction in predict(
          run,
          prediction_functions.decoding_model_fn(
              run, counted_lowering.shown_by(display)
          ),
          {"inputs": ids},
          step,
          display,
          "decoded",
      )
  ]


def predict(
    run: run_lib.Run,
    model_fn,
    features: Mapping[str, np.ndarray],
    step: int,
    display: progress.Display,
    done: str,
) -> Iterator[dict[str, Any]]:
  """Yields the predictions of a model function with a step's checkpoint.

  Args:
    run: the run.
    model_fn: one of model_functions.
    features: `[num_examples, length]` token ids by name.
    step: the checkpoint's step.
    display: the display for progress.
    done: the participle that describes progress, such as "decoded".

  Yields:
    num_examples predictions.
  """
  num_examples = len(next(iter(features.values())))
  if not num_examples:
    return
  display.status(f"building the model of step {step}")

  def report(unused_batches: int, details: str = ""):
    if details:
      display.status(f"{details} of step {step}", at_once=False)

  batch_size = run.experiment.sequences_per_batch
  path = checkpoints.path(run.model_dir, step)
  predictions = estimators.make(run, model_fn).predict(
      lambda params: inputs.inference_batches(features, batch_size),
      hooks=[
          checkpoint_fit.CheckHook(path),
          progress_hook.BatchesHook(report),
      ],
      checkpoint_path=path,
  )
  routed = dropped = 0.0
  for number, prediction in enumerate(predictions, start=1):
    if "routed" in prediction and number % batch_size == 1 % batch_size:
      # Sums over the batch, the same in each of its rows.
      routed += float(prediction["routed"])
      dropped += float(prediction["dropped"])
    if number <= num_examples:  # The rows after that fill up the last batch.
      yield prediction
      display.steps(done, number, num_examples)
  if routed:
    display.note(
        f"{dropped / routed:.2%} of the tokens' choices of an expert were "
        "dropped (SwitchFeedForward.capacity_factor_infer)"
    )
