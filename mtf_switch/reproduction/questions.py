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

"""All questions, in the order in which they are answered."""

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import distillation_questions
from mtf_switch.reproduction import downstream_questions
from mtf_switch.reproduction import scaling_questions
from mtf_switch.reproduction import small_card
from mtf_switch.reproduction import small_cards
from mtf_switch.reproduction import training_questions


def _learning_rates() -> claims.Question:
  return claims.Question(
      "learning_rate",
      "The learning rates",
      [x for x in small_cards.SMALL_CARDS if x.startswith("tuning_")],
      limits="This question answers no claim: it chooses what the others use.",
      seeds=[small_card.TUNING_SEED],
  )


QUESTIONS = {
    x.name: x
    for x in (
        _learning_rates(),
        scaling_questions.scaling(),
        scaling_questions.speed_ups(),
        scaling_questions.table_1(),
        training_questions.table_3(),
        distillation_questions.table_6(),
        training_questions.section_2_2(),
        training_questions.table_2(),
        training_questions.table_10(),
        training_questions.table_11(),
        distillation_questions.table_7(),
        training_questions.appendix_b(),
        downstream_questions.table_5(downstream_questions.OFFLINE),
        downstream_questions.table_4(downstream_questions.OFFLINE),
        downstream_questions.section_5_6(),
        downstream_questions.table_8(downstream_questions.OFFLINE),
        downstream_questions.figure_13(downstream_questions.OFFLINE),
        downstream_questions.figure_7(),
        downstream_questions.table_5(downstream_questions.PUBLISHED),
        downstream_questions.table_4(downstream_questions.PUBLISHED),
        downstream_questions.table_8(downstream_questions.PUBLISHED),
        downstream_questions.figure_13(downstream_questions.PUBLISHED),
    )
}

# Claims that are beyond this project's machines, with the reason.
NOT_TESTED = {
    "Table 1, 2 and 10: examples a second and hours on 32 TPU v3 cores": (
        "needs the TPUs. `--mode=plan` says what a step should take."
    ),
    "Table 9: the qualities of models of 0.2B to 1,571B parameters": (
        "weeks on hundreds of TPUs. Their sizes and FLOPs are tests"
        " (tests/regression/test_table9.py)."
    ),
    "Tables 4, 5 and 8, Figure 13: closed-book questions": (
        "no model of this scale answers any: of `cldr_names` the dense model"
        " and that with 16 experts got 0.0% to 0.4% right in two settings"
        " ([what was tried](experiments.md#fine-tuning))."
    ),
    "Section 5.6: Switch-XXL on SuperGLUE, ANLI and closed-book questions": (
        "needs that model, and data sets that cannot be had offline."
    ),
    "Section 5: Switch-C reaches a perplexity four times faster than T5-XXL": (
        "needs both models."
    ),
    "Section 4.3: 101 languages of mC4": (
        "needs mC4; Figures 7 and 8 are asked of the languages of CLDR."
    ),
}
