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

"""Cards and questions that no paper has."""

import types

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import small_cards


def card(name: str, mode: str = "train", **needs: str) -> small_cards.SmallCard:
  """Returns a card whose settings are in no file.

  Args:
    name: its name.
    mode: of run_switch.
    **needs: as the card's attribute.
  """
  return small_cards.SmallCard(name, "", [], mode=mode, needs=needs)


CARDS = {
    made.name: made
    for made in (
        card("dense"),
        card("switch"),
        card("student", "distill", teacher_dir="switch"),
        card("tuned", "finetune", pretrained_dir="dense"),
        card("tuned_student", "finetune", pretrained_dir="student"),
    )
}


def claim(*rows: str, seeds=range(2)) -> claims.Claim:
  """Returns a claim about some cards."""
  return claims.Claim(
      "claim", "", "", rows, lambda records: 0.0, "nats", 1.0, "", seeds=seeds
  )


def question(
    name: str, *cards: str, claims_=(), contest=False, seeds=range(2)
) -> claims.Question:
  """Returns a question about some cards."""
  return claims.Question(
      name, name.title(), cards, claims_, contest=contest, seeds=seeds
  )


QUESTIONS = types.MappingProxyType(
    {
        made.name: made
        for made in (
            question("table1", "dense", "switch", contest=True),
            question("table6", "dense", "switch", "student"),
            question("table5", "tuned", "tuned_student", seeds=range(1)),
        )
    }
)

# A question whose cards need published files, and all questions with it.
PUBLISHED = card("published", "finetune", pretrained_dir="dense")._replace(
    published={"glue.directory": "glue"}
)
CARDS_WITH_PUBLISHED = {**CARDS, "published": PUBLISHED}
QUESTIONS_WITH_PUBLISHED = {
    **QUESTIONS,
    "table5_published": question("table5_published", "published"),
}
