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
"""Questions about docstrings: whose is it, and which belongs to a signature?

All questions about a module are in one split, the same for both tasks. Packages
repeat paragraphs, so that validation leaves out what shares more than half of
its characters with lines of training, and test what does with lines of either.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import re
from typing import NamedTuple

from tasks import corpus
from tasks import docstring_documents
from tasks import extraction
from tasks import offline_questions
from tasks import prepared_text
from tasks.offline_questions import Question

# Packages with many docstrings, by their distributions.
DISTRIBUTIONS = {
    "jax": "jax",
    "keras": "keras",
    "matplotlib": "matplotlib",
    "nltk": "nltk",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "tensorflow": "tensorflow",
}
PACKAGES = tuple(DISTRIBUTIONS.values())

# The first of the packages' files, a sample of all that is read in seconds.
NUM_FILES = 2500

# Another package's modules, copied.
_COPIES = "tensorflow/python/keras/"

# Names of all packages, and those that code imports them as.
_NAMES = re.compile(
    r"jax|keras|matplotlib|nltk|numpy|pandas|sklearn|scikit-learn|scikit|scipy"
    r"|tensorflow|(?<![a-z0-9])(?:jnp|mpl|np|pd|plt|tf[12]?)(?![a-z0-9])",
    re.IGNORECASE,
)
MASK = "_"

# Characters of inputs. With 500 pieces, a piece has two.
PASSAGE_CHARACTERS = 180
MIN_PASSAGE_CHARACTERS = 100
CHOICE_CHARACTERS = 65
SIGNATURE_CHARACTERS = 50

# Of parameters that are looked for in docstrings; shorter ones are also words.
MIN_PARAMETER_CHARACTERS = 3

CHOICES = ("choice1", "choice2")

KINDS = ("module", "class", "function", "method")


class Module(NamedTuple):
  """A file.

  Attributes:
    name: its path below site-packages.
    documented: its docstrings.
  """

  name: str
  documented: Sequence[extraction.Documented]

  @property
  def package(self) -> str:
    """The name by which it is imported."""
    return self.name.partition("/")[0]


class _Passage(NamedTuple):
  """A part of a docstring.

  Attributes:
    split: its module's.
    label: what the question asks for, or the package it is from.
    lines: as they are in the docstring, to find repetitions.
    text: what the question shows.
    signature: the function's; "" if there is none.
    parameters: names of the function's that are long enough to look for.
  """

  split: str
  label: str
  lines: str
  text: str
  signature: str = ""
  parameters: frozenset[str] = frozenset()


def files() -> list[corpus.SourceFile]:
  """Returns the files that questions are about, in their order."""
  every = corpus.installed_files(list(DISTRIBUTIONS))
  own = [
      file
      for file in every
      if file.name.partition("/")[0] in PACKAGES
      and not file.name.startswith(_COPIES)
  ]
  return own[:NUM_FILES]


def read(
    sources: Sequence[corpus.SourceFile], num_workers: int
) -> Iterator[Module]:
  """Yields the modules of files, without those that are not Python.

  Args:
    sources: the files.
    num_workers: as for extraction.extract.
  """
  found = extraction.extract(
      [file.path for file in sources], num_workers, extraction.read_documented
  )
  for file, documented in zip(sources, found, strict=True):
    if documented is not None:
      yield Module(file.name, documented)


def package_questions(
    modules: Sequence[Module],
) -> Mapping[str, Sequence[Question]]:
  """Returns questions which package the start of a docstring is from.

  Args:
    modules: in an order that mixes the packages.

  Returns:
    the questions of each split.
  """
  return _label_questions(
      "package", modules, PACKAGES, lambda module, documented: module.package
  )


def kind_questions(
    modules: Sequence[Module],
) -> Mapping[str, Sequence[Question]]:
  """Returns questions what the start of a docstring describes, of KINDS.

  Args:
    modules: in an order that mixes the packages.

  Returns:
    the questions of each split.
  """
  return _label_questions(
      "kind", modules, KINDS, lambda module, documented: documented.kind
  )


def _label_questions(
    asked: str,
    modules: Sequence[Module],
    labels: Sequence[str],
    label_of: Callable[[Module, extraction.Documented], str],
) -> dict[str, list[Question]]:
  """Returns questions which label the start of a docstring has.

  All packages' names are masked, and each label has as many questions of a
  split as the others, if there are enough docstrings.

  Args:
    asked: the first word of the inputs.
    modules: in an order that mixes the packages.
    labels: all of them.
    label_of: returns that of a docstring of a module.
  """
  passages = []
  for module in modules:
    split = offline_questions.split_of(module.name)
    for one in module.documented:
      start = one.text[: 4 * PASSAGE_CHARACTERS]  # Much of it may be spaces.
      text = cut(masked(start), PASSAGE_CHARACTERS)
      if len(text) >= MIN_PASSAGE_CHARACTERS:
        lines = one.text[:PASSAGE_CHARACTERS]
        passages.append(_Passage(split, label_of(module, one), lines, text))
  owners = collections.defaultdict(set)
  for passage in passages:
    owners[passage.text].add(passage.label)
  passages = [x for x in passages if len(owners[x.text]) == 1]
  kept = {}
  for split, unseen in _without_repetitions(passages).items():
    limit = offline_questions.SIZES[split] // len(labels)
    counts = collections.Counter()
    kept[split] = []
    for question in offline_questions.in_hash_order(
        Question(f"{asked}: {x.text}", x.label) for x in unseen
    ):
      counts[question.targets] += 1
      if counts[question.targets] <= limit:
        kept[split].append(question)
  return kept


def signature_questions(
    modules: Sequence[Module],
) -> Mapping[str, Sequence[Question]]:
  """Returns questions which of two docstrings belongs to a signature.

  Both are parts that begin with the first line that names a parameter of their
  own function. The wrong one is from the same package and split, and names no
  parameter of the signature.

  Args:
    modules: in an order that mixes the packages.

  Returns:
    the questions of each split.
  """
  passages = []
  for module in modules:
    split = offline_questions.split_of(module.name)
    for one in module.documented:
      signature = f"{one.name}({', '.join(one.parameters)})"
      names = frozenset(
          x for x in one.parameters if len(x) >= MIN_PARAMETER_CHARACTERS
      )
      lines = _from_first_mention(one.text, names)
      if lines and len(signature) <= SIGNATURE_CHARACTERS:
        text = cut(lines, CHOICE_CHARACTERS)
        lines = lines[:CHOICE_CHARACTERS]
        passages.append(
            _Passage(split, module.package, lines, text, signature, names)
        )
  kept = {}
  for split, unseen in _without_repetitions(passages).items():
    of_package = collections.defaultdict(list)
    for passage in unseen:
      of_package[passage.label].append(passage)
    questions = []
    for passage in unseen:
      wrong = _other(passage, of_package[passage.label])
      if wrong is not None:
        questions.append(_choice(passage, wrong))
    kept[split] = offline_questions.in_hash_order(questions)[
        : offline_questions.SIZES[split]
    ]
  return kept


def masked(text: str) -> str:
  """Returns a text on one line, with MASK for the names of packages."""
  return " ".join(_NAMES.sub(MASK, text).split())


def cut(text: str, characters: int) -> str:
  """Returns the whole words at the start of a text, on one line."""
  text = " ".join(text.split())
  if len(text) <= characters:
    return text
  return text[: characters + 1].rpartition(" ")[0]


def words(text: str) -> set[str]:
  """Returns the words of a text; a name is one with its underscores."""
  return set(re.findall(r"\w+", text))


def _from_first_mention(text: str, names: frozenset[str]) -> str:
  """Returns a docstring from the first line on that names one of some names."""
  lines = text.split("\n")
  for number, line in enumerate(lines):
    if words(cut(line, CHOICE_CHARACTERS)) & names:
      return "\n".join(lines[number:])
  return ""


def _without_repetitions(
    passages: Iterable[_Passage],
) -> dict[str, list[_Passage]]:
  """Returns the passages of each split that are new there."""
  of_split = {split: [] for split in offline_questions.SPLITS}
  for passage in passages:
    of_split[passage.split].append(passage)
  lines, texts = set(), set()
  for split, own in of_split.items():
    unseen = [
        passage
        for passage in own
        if split == "train"
        or docstring_documents.shared(passage.lines, lines)
        <= docstring_documents.MAX_SHARED
    ]
    of_split[split] = []
    for passage in unseen:
      if passage.text not in texts:
        of_split[split].append(passage)
      texts.add(passage.text)
      lines.update(docstring_documents.lines_of(passage.lines))
  return of_split


def _other(passage: _Passage, others: Sequence[_Passage]) -> _Passage | None:
  """Returns a passage that cannot be the signature's; None without one."""
  start = prepared_text.text_hash(passage.signature + passage.text)
  for number in range(len(others)):
    other = others[(start + number) % len(others)]
    if other.signature.partition("(")[0] == passage.signature.partition("(")[0]:
      continue
    if not words(other.text) & passage.parameters:
      return other
  return None


def _choice(right: _Passage, wrong: _Passage) -> Question:
  """Returns the question; a hash says which of the two is the first."""
  is_second = prepared_text.text_hash(f"{right.text} {wrong.text}") % 2
  first, second = (wrong, right) if is_second else (right, wrong)
  return Question(
      f"signature: {right.signature} choice1: {first.text} "
      f"choice2: {second.text}",
      CHOICES[is_second],
  )
