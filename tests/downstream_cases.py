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

"""A few records of each downstream task, and the expected results."""

from tests import glue_cases


def _summary(article):
  return glue_cases.Case(
      [{article: "Much text.", "highlights": "the cat sat"}],
      "summarize: Much text.",
      ["the cat sat"],
      ["the cat"],
      # Both words of 3, and one bigram of 2.
      {"rouge1": 80, "rouge2": 200 / 3, "rougeLsum": 80},
  )


_XSUM = _summary("document")
_XSUM.records[0]["summary"] = _XSUM.records[0].pop("highlights")
_CNN = _summary("article")
_CNN.records[0].update(id="", publisher="")

_ARC = glue_cases.accuracy(
    [
        {
            "id": "1",
            "question": "What falls?",
            "choices": {"text": ["rain", "light"], "label": ["A", "B"]},
            "answerKey": "A",
        },
        {
            "id": "2",
            "question": "What shines?",
            "choices": {"text": list("abcde"), "label": list("ABCDE")},
            "answerKey": "E",
        },
    ],
    "arc question: What falls? A: rain B: light",
    ["A", "E"],
    ["A", "D"],
    50,
)

OTHERS = {
    "cnn_dailymail": _CNN,
    "xsum": _XSUM,
    "squad": glue_cases.Case(
        [
            {
                "id": "a",
                "title": "Rome",
                "context": "It is old-ish.",
                "question": "Where is it?",
                "answers": {
                    "text": ["Rome", "in Rome"],
                    "answer_start": [0, 0],
                },
            },
            {
                "id": "b",
                "title": "Italy",
                "context": "In 1861.",
                "question": "When?",
                "answers": {"text": ["1861"], "answer_start": [3]},
            },
        ],
        "question: Where is it ? context: It is old - ish . ",
        ["Rome", "1861"],
        ["In rome!", "the year 1861"],
        {"em": 50, "f1": (100 + 200 / 3) / 2},
    ),
    "winogrande_xl": glue_cases.accuracy(
        [
            {
                "sentence": "_ ran.",
                "option1": "Ann",
                "option2": "Bo",
                "label": label,
            }
            for label in ("2", "1")
        ],
        "winogrande option1: Ann option2: Bo sentence: _ ran.",
        ["option2", "option1"],
        ["option2", "option2"],
        50,
    ),
    "anli_r3": glue_cases.accuracy(
        [
            {"uid": "", "context": "A.", "hypothesis": "B.", "label": label}
            for label in "enc"
        ],
        "anli hypothesis: B. premise: A.",
        glue_cases.NLI,
        ["entailment", "neutral", "neutral"],
        200 / 3,
    ),
    "arc_easy": _ARC,
    "arc_challenge": _ARC,
    "natural_questions": glue_cases.Case(
        [
            {"question": "who ran", "answer": ["Ann", "Ann Lee"]},
            {"question": "who sat", "answer": ["Bo"]},
        ],
        "nq question: who ran",
        ["Ann", "Bo"],
        ["ann lee", "Bo Lee"],
        {"em": 50, "f1": (100 + 200 / 3) / 2},
    ),
    "web_questions": glue_cases.Case(
        [
            {"url": "", "question": "who ran?", "answers": ["Ann", "Bo"]},
            {"url": "", "question": "who sat?", "answers": ["Bo"]},
        ],
        "wq question: who ran?",
        ["Ann", "Bo"],
        ["The Bo", "Ann"],
        {"em": 50, "f1": 50},
    ),
    "trivia_qa": glue_cases.Case(
        [
            {
                "question": "Which band?",
                "question_id": "",
                "question_source": "",
                "entity_pages": [],
                "search_results": [],
                "answer": {
                    "value": "AC/DC",
                    "aliases": ["AC/DC", "ACDC band"],
                    "normalized_aliases": ["ac dc", "acdc band"],
                    "matched_wiki_entity_name": "",
                    "normalized_matched_wiki_entity_name": "",
                    "normalized_value": "ac dc",
                    "type": "",
                },
            }
        ],
        "trivia_qa question: Which band?",
        ["AC/DC"],
        ["ac dc"],  # SQuAD's metric would normalize to "acdc".
        {"em": 100, "f1": 100},
    ),
}

CASES = glue_cases.GLUE | glue_cases.SUPER_GLUE | OTHERS
