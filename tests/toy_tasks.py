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

"""Seqio tasks without files, for tests of training and evaluation."""

import functools

import seqio
from t5.evaluation import metrics
import tensorflow.compat.v2 as tf

NUM_EXAMPLES = {"train": 50, "validation": 13}


def texts(split: str) -> list[str]:
  """Returns sentences of 1 to 5 words, which differ between splits."""
  words = "the switch sends each token to one expert".split()
  offset = len(split)
  return [
      " ".join(words[(i * j + offset) % len(words)] for j in range(i % 5 + 1))
      for i in range(NUM_EXAMPLES[split])
  ]


def _dataset(split, shuffle_files=False, seed=None, reverse=False):
  del shuffle_files, seed
  targets = [text[::-1] if reverse else text for text in texts(split)]
  return tf.data.Dataset.from_tensor_slices(
      {"inputs": texts(split), "targets": targets}
  )


def share_of_letters(targets, predictions):
  """Returns the share of positions at which predictions are right."""
  pairs = [
      (letter, prediction[i : i + 1])
      for target, prediction in zip(targets, predictions)
      for i, letter in enumerate(target)
  ]
  return {"share_of_letters": sum(a == b for a, b in pairs) / len(pairs)}


def _add(
    name,
    features=("inputs", "targets"),
    reverse=False,
    metric_fns=(),
    extra_ids=0,
):
  seqio.TaskRegistry.add(
      name,
      source=seqio.FunctionDataSource(
          functools.partial(_dataset, reverse=reverse), list(NUM_EXAMPLES)
      ),
      preprocessors=[
          functools.partial(
              seqio.preprocessors.rekey,
              key_map={feature: feature for feature in features},
          ),
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
          seqio.preprocessors.append_eos_after_trim,
      ],
      output_features={
          feature: seqio.Feature(seqio.ByteVocabulary(extra_ids))
          for feature in features
      },
      metric_fns=list(metric_fns),
  )


if "toy_copy" not in seqio.TaskRegistry.names():
  _add("toy_copy", metric_fns=[metrics.sequence_accuracy])
  _add("toy_reverse", reverse=True)
  _add("toy_lm", features=["targets"])
  _add("toy_sentinels", extra_ids=5)
  _add("toy_letters", metric_fns=[share_of_letters])
  _add("toy_srettel", metric_fns=[share_of_letters], reverse=True)
  seqio.MixtureRegistry.add(
      "toy_both_letters", ["toy_letters", "toy_srettel"], default_rate=1.0
  )
  seqio.MixtureRegistry.add(
      "toy_mixture", ["toy_copy", "toy_reverse"], default_rate=1.0
  )
