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

"""Text formats of questions, for the tasks of Table 5 that t5 lacks."""

from collections.abc import Callable, Mapping
from typing import Any

import seqio
import tensorflow.compat.v2 as tf

CHOICES = ("A", "B", "C", "D", "E")


@seqio.map_over_dataset
def closed_book(
    example: Mapping[str, Any],
    prefix: str,
    target: Callable[[Mapping[str, Any]], tf.Tensor],
    answers: Callable[[Mapping[str, Any]], tf.Tensor],
) -> dict[str, tf.Tensor]:
  """Formats a question that comes without a text to find the answer in.

  Args:
    example: has a "question".
    prefix: the start of the inputs, "nq question:".
    target: returns the answer to train with, a string.
    answers: returns all correct answers, [answers].

  Returns:
    "inputs", "targets" and "answers".

  Source: Roberts, Raffel and Shazeer (2020), "How Much Knowledge Can You Pack
  Into the Parameters of a Language Model?", and its published tasks.
  """
  return {
      "inputs": tf.strings.join([prefix, example["question"]], separator=" "),
      "targets": target(example),
      "answers": answers(example),
  }


@seqio.map_over_dataset
def multiple_choice(
    example: Mapping[str, Any], prefix: str
) -> dict[str, tf.Tensor]:
  """Formats a question with named choices, as T5 does COPA's.

  The target is the name of the correct choice.

  For example "arc question: What falls? A: rain B: light", with the target "A".

  Args:
    example: as in TFDS's ai2_arc: "question", "choices" with their "label" and
      "text", "answerKey".
    prefix: the start of the inputs, "arc".

  Returns:
    "inputs" and "targets".
  """
  names = tf.gather(CHOICES, example["choices"]["label"])
  choices = tf.strings.join([names, ": ", example["choices"]["text"]])
  question = [prefix, "question:", example["question"]]
  return {
      "inputs": tf.strings.join(
          [*question, tf.strings.reduce_join(choices, separator=" ")],
          separator=" ",
      ),
      "targets": tf.gather(CHOICES, example["answerKey"]),
  }
