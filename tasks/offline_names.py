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
"""Names in many languages: facts to read, and questions that ask for them.

A fact is that a place, language or currency has some name in some language;
CLDR has them (cldr.py). All of them are stated in sentences, to pre-train on.
Questions have another form than any sentence. The things that those of
validation and test ask for, and their answers, are in no question of training:
what a model knows about them, it has read in pre-training.
"""

import collections
from collections.abc import Mapping, Sequence
import re
from typing import NamedTuple

from tasks import cldr
from tasks import offline_questions
from tasks import prepared_text
from tasks.offline_questions import Question

# Languages in Latin script, of several families, with many names of their own.
LANGUAGES = (
    ["af", "de", "es", "et", "eu", "fi", "fr", "hu", "id", "it", "nl"]
    + ["pl", "pt", "sv", "sw", "tr"]
)  # fmt: skip

# The kinds of things, as cldr.names_of and as sentences name them.
KINDS = {"territory": "place", "language": "language", "currency": "currency"}

# In so many languages a thing has another name than in English; others are
# hardly known, and there is little to ask.
MIN_LANGUAGES = 8

# Letters that every vocabulary has, as small ones take others for unknown.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z '-]*")

# Sentences that state a fact; in most, what is asked for comes last.
FORMS = (
    "In {language}, the {kind} {name} is called {answer}.",
    "{name} ({kind}), {language} name: {answer}.",
    "The {language} word for the {kind} {name} is {answer}.",
    "{answer} is the {kind} {name} in {language}.",
)

QUESTION = "name: {kind} {name} in {language}"

# Of so many facts, one of the sentences is held out to measure perplexity.
HELD_OUT_SHARE = 0.1

SENTENCES_IN_A_DOCUMENT = 20


class Fact(NamedTuple):
  """A name.

  Attributes:
    kind: one of the values of KINDS.
    name: the thing's in English.
    language: the English name of the other language.
    answer: the thing's name in that language.
  """

  kind: str
  name: str
  language: str
  answer: str


def facts() -> list[Fact]:
  """Returns the facts, each of which has one answer other than the name."""
  english = cldr.names_of("en")
  answers = collections.defaultdict(set)
  for language in LANGUAGES:
    for key, answer in cldr.names_of(language).items():
      kind = KINDS.get(key.split()[0])
      name = english.get(key, "")
      if kind and _PLAIN.fullmatch(name):
        question = (kind, name, english[f"language {language}"])
        answers[question].add(answer)
  found = [
      Fact(*question, *names)
      for question, names in answers.items()
      if len(names) == 1
      and all(_PLAIN.fullmatch(answer) for answer in names)
      and question[1].casefold() not in map(str.casefold, names)
  ]
  counts = collections.Counter((fact.kind, fact.name) for fact in found)
  return sorted(
      fact for fact in found if counts[fact.kind, fact.name] >= MIN_LANGUAGES
  )


def documents(known: Sequence[Fact]) -> list[tuple[str, str]]:
  """Returns sentences that state facts, as pairs of split and document.

  Args:
    known: the facts. Training has all of them, in at least all forms but one.
  """
  sentences = {"train": [], "validation": []}
  for fact in known:
    key = prepared_text.text_hash(" ".join(fact))
    held_out = key % len(FORMS) if key < HELD_OUT_SHARE * 2**64 else None
    for number, form in enumerate(FORMS):
      split = "validation" if number == held_out else "train"
      sentences[split].append(form.format(**fact._asdict()))
  pairs = []
  for split, texts in sentences.items():
    texts.sort(key=prepared_text.text_hash)
    for start in range(0, len(texts), SENTENCES_IN_A_DOCUMENT):
      lines = texts[start : start + SENTENCES_IN_A_DOCUMENT]
      pairs.append((split, "\n".join(lines)))
  return pairs


def questions(known: Sequence[Fact]) -> Mapping[str, Sequence[Question]]:
  """Returns the questions of each split, in a mixed order.

  All questions about a thing are in one split. A later split leaves out those
  whose answer is one in an earlier split, for another thing or language.

  Args:
    known: the facts.
  """
  of_split = collections.defaultdict(list)
  for fact in known:
    split = offline_questions.split_of(f"{fact.kind} {fact.name}")
    question = Question(QUESTION.format(**fact._asdict()), fact.answer)
    of_split[split].append(question)
  seen = set()
  kept = {}
  for split in offline_questions.SPLITS:
    unseen = [x for x in of_split[split] if x.targets.casefold() not in seen]
    seen.update(question.targets.casefold() for question in unseen)
    kept[split] = offline_questions.in_hash_order(unseen)[
        : offline_questions.SIZES[split]
    ]
  return kept
