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

"""A seqio task that needs no file, for tests that start a program."""

import functools

import seqio
import tensorflow.compat.v2 as tf


def _copying(split, shuffle_files=False, seed=None, num_examples=64):
  """Sentences to copy; the same in every process."""
  del split, shuffle_files, seed
  words = "the switch sends each token to one expert".split()
  lines = [
      " ".join(words[(i * j) % len(words)] for j in range(1, 6))
      for i in range(1, num_examples + 1)
  ]
  return tf.data.Dataset.from_tensor_slices({"inputs": lines, "targets": lines})


if "copying" not in seqio.TaskRegistry.names():
  seqio.TaskRegistry.add(
      "copying",
      source=seqio.FunctionDataSource(_copying, ["train", "validation"]),
      preprocessors=[
          functools.partial(seqio.preprocessors.tokenize, with_eos=True)
      ],
      output_features={
          name: seqio.Feature(seqio.ByteVocabulary())
          for name in ("inputs", "targets")
      },
      metric_fns=[],
  )
