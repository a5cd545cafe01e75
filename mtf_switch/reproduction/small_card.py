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

"""A card at small scale, and what all of them share."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mtf_switch.reproduction import gin_text

# By family of models, the multiplier of T5's learning rate (of fine-tuning, the
# rate itself): the best of
# TRIED_LEARNING_RATES on the split "validation", which no verdict uses, after
# TUNING_STEPS steps with TUNING_SEED, which no other run has. tests/regression
# compares this table with the records of those runs.
LEARNING_RATES = {
    "dense": 0.6,
    "dense_large": 0.6,
    "switch": 0.6,
    "top2": 0.6,
    "attention": 0.6,
    "finetuned": 0.03,
}
TRIED_LEARNING_RATES = (0.3, 0.6, 1.2, 2.4)
# Of fine-tuning, constant: tuned likewise, for the dense and the sparse model,
# on the split "test", since the scores of the paper are of "validation".
TRIED_CONSTANT_RATES = (0.001, 0.003, 0.01, 0.03)
TUNING_STEPS = 750
TUNING_SEED = 10

# The number of experts of all cards that the paper has with 128 (Table 1), 32
# (Tables 2, 3 and 10) or 64 experts (Table 6).
EXPERTS = 16
# Table 3 looks at an early step.
EARLY_STEPS = 200
EARLY_RATES = (0.2, 0.6, 1.8)
# Figures 4, 1 and 12.
SCALING_EXPERTS = (2, 4, 8, 16, 32, 64)

# The environment variable that names the directory of published files, which
# are no part of this project.
PUBLISHED_FILES = "SWITCH_REAL_DATA"
# What cards and records have in that directory's place.
PUBLISHED_PLACE = f"${PUBLISHED_FILES}"

DENSE = "experiments/small_dense_defaults.gin"
SWITCH = "experiments/small_switch_defaults.gin"


class SmallCard(NamedTuple):
  """A run at small scale.

  Attributes:
    name: its file is gin/experiments/small/<name>.gin.
    stands_for: the paper's model or row in words.
    includes: gin files; the first has the model.
    bindings: by name in gin, values that differ from those of `includes`.
    mode: of run_switch.
    needs: by gin parameter, the card whose finished run of the same seed is
      that directory.
    published: by gin parameter, the folder of published files that it is, in
      the directory that PUBLISHED_FILES names.
  """

  name: str
  stands_for: str
  includes: Sequence[str]
  bindings: Mapping[str, Any] = {}
  mode: str = "train"
  needs: Mapping[str, str] = {}
  published: Mapping[str, str] = {}


def text(card: SmallCard) -> str:
  """The gin file of a card.

  Args:
    card: one of SMALL_CARDS.
  """
  needed = {name: f"runs/{other}" for name, other in card.needs.items()}
  given = "".join(
      f" \\\n#     --gin_param=\"{name} = '{PUBLISHED_PLACE}/{folder}'\""
      for name, folder in card.published.items()
  )
  return (
      "# -*-Python-*-\n"
      f"# At small scale: {card.stands_for}.\n"
      "#\n"
      f"#   run_switch --mode={card.mode} --model_dir=runs/{card.name} \\\n"
      f"#     --gin_file=experiments/small/{card.name}.gin{given}\n"
      + "".join(f'include "{x}"\n' for x in card.includes)
      + "\n"
      + "".join(
          f"{name} = {gin_text.value(x)}\n"
          for name, x in {**card.bindings, **needed}.items()
      )
  )
