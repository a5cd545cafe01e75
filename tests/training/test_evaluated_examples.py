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

"""Evaluations read no more examples than gin says, and say so."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import pytest
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.modes import finetune
from mtf_switch.training import evaluated_examples
from mtf_switch.training import inputs
from tests import toy_tasks  # noqa: F401

LENGTHS = {"inputs": 48, "targets": 48}


def evaluated(*bindings, task="toy_copy", split="train"):
  """The texts that an evaluation reads, by task."""
  gin.clear_config()
  gin.parse_config(bindings)
  bytes_ = seqio.ByteVocabulary()
  texts = {}
  for dataset in inputs.evaluation_datasets(task, LENGTHS, split):
    with tf.Graph().as_default():
      texts[dataset.name] = [
          bytes_.decode(example["targets"].tolist())
          for example in tfds.as_numpy(dataset.dataset_fn())
      ]
  return texts


def test_the_first_examples_of_each_task():
  all_texts = evaluated(task="toy_mixture")
  few = evaluated("eval.num_examples = 7", task="toy_mixture")
  assert few == {name: texts[:7] for name, texts in all_texts.items()}
  assert few.keys() == {"toy_copy", "toy_reverse"}
  # T5's name for the same.
  t5 = "mesh_eval_dataset_fn.num_eval_examples = 7"
  assert evaluated(t5, task="toy_mixture") == few
  assert evaluated_examples.cap().record(7) == {
      "num_examples": 7,
      "sample_seed": None,
  }


def test_a_sample_depends_on_the_seed_alone_and_is_in_order():
  all_texts = evaluated()["toy_copy"]
  size = "eval.num_examples = 20"
  samples = [
      evaluated(size, f"eval.sample_seed = {seed}")["toy_copy"]
      for seed in (0, 0, 1)
  ]
  assert samples[0] == samples[1] != samples[2]
  for sample in samples:
    assert len(sample) == 20 and sample != all_texts[:20]
    remaining = iter(all_texts)
    assert all(text in remaining for text in sample)


def test_a_cap_that_cuts_nothing_is_not_mentioned():
  sizes = ["eval.num_examples = 60", "eval.sample_seed = 1"]
  assert evaluated(*sizes) == evaluated()
  cap = evaluated_examples.Cap(60)
  assert cap.record(50) == {} and cap.describe(50) == ""
  assert evaluated_examples.cap().record(50) == {}
  assert cap.describe(60) == "  (the first 60 examples)"
  sample = evaluated_examples.Cap(1500, 3)
  assert sample.describe(1500) == "  (a sample of 1,500 examples)"
  assert sample.record(1500) == {"num_examples": 1500, "sample_seed": 3}


@pytest.mark.parametrize("value", ["0", "'5'", "2.5", "True"])
def test_other_values_are_refused(value):
  gin.parse_config(f"eval.num_examples = {value}")
  with pytest.raises(errors.UserError, match="eval.num_examples = .* must be"):
    evaluated_examples.cap()


def test_their_number_is_no_score():
  record = {"step": 3, "task": "a", "num_examples": 5, "sample_seed": 0}
  curves = finetune.scores_by_step([{**record, "accuracy": 50.0}], {})
  assert curves == {"a": {3: ("accuracy", 50.0)}}
