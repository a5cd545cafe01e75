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

"""A small embedded corpus; the fixture `small_corpus` puts it in place."""

import functools

import seqio

from mtf_switch.training import inputs

LENGTHS = {"inputs": 128, "targets": 29}
NUM_PIECES = 1000
BINDINGS = [
    "tasks.docstrings.max_bytes = 150_000",
    f"tasks.vocabulary.size = {NUM_PIECES}",
]


def examples(name="docstrings_span_corruption", split="train", **kwargs):
  """Returns the examples of a task, as dicts of lists."""
  task = seqio.get_mixture_or_task(name)
  kwargs = {"shuffle": False, "seed": 1, **kwargs}
  lengths = kwargs.pop("sequence_length", LENGTHS)
  # As a run reads them; the translation would take most of the time.
  dataset = inputs.without_autograph(
      functools.partial(task.get_dataset, lengths, split=split, **kwargs)
  )
  return [
      {key: value.tolist() for key, value in example.items()}
      for example in dataset.as_numpy_iterator()
  ]


def never():
  """Fails; takes the place of a function that must not be called."""
  raise AssertionError("The text was asked for.")
