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
"""Downstream tasks without a download."""

import collections
import functools
import hashlib
import itertools

import gin
import pytest
import seqio

from mtf_switch.training import inputs
from tasks import extraction
from tasks import offline
from tasks import offline_baselines
from tasks import offline_docstrings
from tasks import offline_names
from tasks import offline_questions
from tasks import scores

Documented = extraction.Documented
Question = offline_questions.Question
SPLITS = ("train", "validation", "test")


def digest(questions) -> str:
  """Returns a hash of questions and their order."""
  rows = [(s, *question) for s in SPLITS for question in questions[s]]
  return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def test_splits_depend_on_the_thing_and_have_their_shares():
  counts = collections.Counter(
      offline_questions.split_of(f"thing {number}") for number in range(10_000)
  )
  assert counts["test"] / 10_000 == pytest.approx(0.12, abs=0.01)
  assert counts["validation"] / 10_000 == pytest.approx(0.12, abs=0.01)
  assert set(counts) == set(SPLITS)


# Names.


@pytest.fixture(scope="module")
def facts():
  return offline_names.facts()


@pytest.fixture(scope="module")
def names(facts):
  return offline_names.questions(facts)


def test_known_facts(facts):
  assert ("place", "Germany", "French", "Allemagne") in facts
  assert ("language", "French", "Swahili", "Kifaransa") in facts
  assert ("currency", "Euro", "Italian", "Euro") not in facts  # As in English.
  assert len({fact[:3] for fact in facts}) == len(facts) > 7000
  for fact in facts:
    assert fact.name.casefold() != fact.answer.casefold()
    assert fact.answer.isascii()
  counts = collections.Counter(fact[:2] for fact in facts)
  assert min(counts.values()) == offline_names.MIN_LANGUAGES


def test_a_question_with_two_answers_is_no_fact(monkeypatch):
  names = {
      "en": {"currency OLD": "Frank", "currency NEW": "Frank"},
      "fr": {"currency OLD": "Franc ancien", "currency NEW": "Franc nouveau"},
      "it": {"currency OLD": "Franco", "currency NEW": "Franco"},
  }
  names["en"] |= {"language fr": "French", "language it": "Italian"}
  monkeypatch.setattr(offline_names.cldr, "names_of", names.get)
  monkeypatch.setattr(offline_names, "LANGUAGES", ["fr", "it"])
  monkeypatch.setattr(offline_names, "MIN_LANGUAGES", 1)
  assert offline_names.facts() == [("currency", "Frank", "Italian", "Franco")]


def test_the_text_states_every_fact_in_at_least_three_forms(facts):
  documents = offline_names.documents(facts)
  lines = {"train": [], "validation": []}
  for split, document in documents:
    assert len(document.split("\n")) <= 20
    lines[split] += document.split("\n")
  held_out, known = set(lines["validation"]), set(lines["train"])
  assert not held_out & known
  assert len(held_out) / len(facts) == pytest.approx(0.1, abs=0.02)
  for fact in facts:
    stated = {form.format(**fact._asdict()) for form in offline_names.FORMS}
    assert len(stated & known) >= 3 and stated - known <= held_out
  assert not [line for line in known if line.startswith("name:")]


def test_questions_about_names_do_not_leak(facts, names):
  assert [len(names[s]) for s in SPLITS] == [5293, 500, 500]
  answers = {
      offline_names.QUESTION.format(**fact._asdict()): fact.answer
      for fact in facts
  }
  things = {split: set() for split in SPLITS}
  given = {split: set() for split in SPLITS}
  for split in SPLITS:
    for question in names[split]:
      assert answers[question.inputs] == question.targets
      things[split].add(question.inputs.rpartition(" in ")[0])
      given[split].add(question.targets.casefold())
  for first, second in itertools.combinations(SPLITS, 2):
    assert not things[first] & things[second]
    assert not given[first] & given[second]


def test_questions_about_names_are_the_same_everywhere(names):
  assert digest(names) == "27c1265e5de0a5ed"
  assert names["validation"][0] == (
      "name: currency Nepalese Rupee in Afrikaans",
      "Nepalese roepee",
  )


# Docstrings.


@pytest.fixture(scope="module")
def modules():
  """A sample; all files would take ten seconds."""
  files = offline_docstrings.files()
  assert len(files) == offline_docstrings.NUM_FILES
  return list(offline_docstrings.read(files[:200], 1))


@pytest.fixture(scope="module")
def whose(modules):
  return offline_docstrings.package_questions(modules)


@pytest.fixture(scope="module")
def what(modules):
  return offline_docstrings.kind_questions(modules)


@pytest.fixture(scope="module")
def which(modules):
  return offline_docstrings.signature_questions(modules)


def name_of(package: str, split: str) -> str:
  """Returns the name of a file whose questions are in a split."""
  names = (f"{package}/m{number}.py" for number in itertools.count())
  return next(x for x in names if offline_questions.split_of(x) == split)


def module(package, split, *documented):
  return offline_docstrings.Module(name_of(package, split), documented)


def described(name: str, *parameters: str) -> Documented:
  """Returns a docstring of its own."""
  named = " and ".join(parameters)
  text = f"Returns {name} of its {named}, {f'{name} ' * 30}all."
  return Documented(text, "function", name, list(parameters))


def test_the_sample_has_questions_of_all_kinds(whose, what, which):
  for questions in (whose, what, which):
    counts = [len(questions[split]) for split in SPLITS]
    assert counts[0] > 200 and min(counts) > 15
  assert set(x.targets for x in whose["train"]) == set(
      offline_docstrings.PACKAGES
  )
  assert set(x.targets for x in what["train"]) == set(offline_docstrings.KINDS)
  assert [digest(whose), digest(what), digest(which)] == [
      "17532712e9c5d48a",
      "9feb5e7b45649fcc",
      "0f646657290bb61f",
  ]


def test_a_question_whose_a_docstring_is():
  text = (
      "Makes a NumPy array, np.array, with jax.numpy or\n  numpy. " + "ab " * 60
  )
  questions = offline_docstrings.package_questions(
      [module("numpy", "train", Documented(text, "function", "f", []))]
  )
  (question,) = questions["train"]
  assert question.targets == "numpy"
  assert question.inputs.startswith(
      "package: Makes a _ array, _.array, with _._ or _. ab ab "
  )
  assert question.inputs.endswith(" ab") and len(question.inputs) <= 189


def test_a_question_what_a_docstring_describes():
  text = "Makes a numpy array " + "ab " * 60
  documented = [
      Documented(f"{kind}: {text}", kind, "", [])
      for kind in offline_docstrings.KINDS
  ]
  questions = offline_docstrings.kind_questions(
      [module("numpy", "train", *documented)]
  )
  start = " Makes a _ array ab ab"
  assert {
      question.targets: question.inputs.partition(start)[0]
      for question in questions["train"]
  } == {kind: f"kind: {kind}:" for kind in offline_docstrings.KINDS}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("tf.keras and TF2, KerasTensor", "_._ and _, _Tensor"),
        ("is_numpy, np_array, jnp.ndarray", "is__, __array, _.ndarray"),
        ("scikit-learn's sklearn", "_'s _"),
        ("input, compute, stuff, mpld", "input, compute, stuff, mpld"),
    ],
)
def test_names_of_packages_are_masked(text, expected):
  assert offline_docstrings.masked(text) == expected


def test_no_input_names_a_package(whose, what):
  for split in SPLITS:
    for question in [*whose[split], *what[split]]:
      for package in offline_docstrings.PACKAGES:
        assert package not in question.inputs.casefold()
      assert len(question.inputs) <= 9 + offline_docstrings.PASSAGE_CHARACTERS


def test_a_passage_of_two_packages_is_nobodys():
  same, own = described("same", "abc"), described("own", "abc")
  questions = offline_docstrings.package_questions(
      [
          module("scipy", "train", same, own),
          module("keras", "train", same),
      ]
  )
  (question,) = questions["train"]
  assert "own" in question.inputs and question.targets == "scipy"


def test_packages_have_equal_shares(monkeypatch):
  monkeypatch.setitem(offline_questions.SIZES, "train", 27)
  many = [described(f"number{n}", "abc") for n in range(20)]
  few = [described(f"other{n}", "abc") for n in range(2)]
  questions = offline_docstrings.package_questions(
      [module("jax", "train", *many), module("keras", "train", *few)]
  )
  counts = collections.Counter(x.targets for x in questions["train"])
  assert counts == {"jax": 3, "keras": 2}


def test_a_question_which_docstring_belongs_to_a_signature():
  right, other = described("right", "alpha", "x"), described("wrong", "beta")
  too_near = [described(f"near{n}", "alpha", "delta") for n in range(20)]
  elsewhere = described("elsewhere", "gamma")
  questions = offline_docstrings.signature_questions(
      [
          module("numpy", "train", right, *too_near, other),
          module("scipy", "train", elsewhere),
      ]
  )
  of_right = [x for x in questions["train"] if "signature: right" in x.inputs]
  (question,) = of_right
  assert question.inputs.startswith("signature: right(alpha, x) choice1: ")
  first, second = question.inputs.split(" choice1: ")[1].split(" choice2: ")
  texts = {"choice1": first, "choice2": second}
  assert texts.pop(question.targets).startswith("Returns right of its alpha")
  # Not the one that has alpha, too, and not the one of another package.
  assert list(texts.values())[0].startswith("Returns wrong of its beta")
  # Nothing is left for one of another package.
  assert not [x for x in questions["train"] if "elsewhere(" in x.inputs]


def test_the_passage_begins_where_a_parameter_is_named():
  text = "Computes it.\n\nArgs:\n  axis: the axis.\n  out: the output."
  documented = Documented(text, "function", "f", ["x", "axis", "out"])
  other = described("wrong", "beta")
  questions = offline_docstrings.signature_questions(
      [module("numpy", "train", documented, other)]
  )
  (question,) = [x for x in questions["train"] if "f(x" in x.inputs]
  assert f"{question.targets}: axis: the axis. out: the output." in (
      question.inputs
  )


def test_every_signature_can_be_told_by_its_parameters(which):
  answers = offline_baselines.same_words
  for split in SPLITS:
    right = offline_baselines.score(which, split, answers(which, split))
    assert right > 95
    counts = collections.Counter(x.targets for x in which[split])
    assert set(counts) == set(offline_docstrings.CHOICES)
    assert min(counts.values()) > 0.3 * len(which[split])
    assert max(len(x.inputs) for x in which[split]) <= 211


def test_questions_about_docstrings_do_not_leak(modules, whose, what, which):
  # All splits are among the first files, of which the questions are made.
  splits = [offline_questions.split_of(one.name) for one in modules]
  assert splits.count("test") / len(splits) == pytest.approx(0.12, abs=0.06)
  for first, second in itertools.combinations(SPLITS, 2):
    for questions in (whose, what):
      assert not {x.inputs for x in questions[first]} & {
          x.inputs for x in questions[second]
      }
    texts = [
        {
            text
            for question in which[split]
            for text in question.inputs.split(" choice1: ")[1].split(
                " choice2: "
            )
        }
        for split in (first, second)
    ]
    assert not texts[0] & texts[1]


@pytest.mark.parametrize(
    "make", ["package_questions", "kind_questions", "signature_questions"]
)
def test_what_repeats_an_earlier_split_is_left_out(make):
  line = "alpha : int, the first of all that are common to all of these."
  repeated = [
      Documented(f"{line}\n{line}\nby {n}", "function", f"f{n}", ["alpha"])
      for n in range(3)
  ]
  other = [described(f"own{n}", "beta") for n in range(3)]
  questions = getattr(offline_docstrings, make)(
      [
          module("numpy", split, repeated[number], other[number])
          for number, split in enumerate(SPLITS)
      ]
  )
  shown = {s: " ".join(x.inputs for x in questions[s]) for s in SPLITS}
  assert line in shown["train"]
  assert line not in shown["validation"] and line not in shown["test"]
  if make != "signature_questions":
    assert "own1" in shown["validation"] and "own2" in shown["test"]


# The tasks.


@pytest.fixture
def small_tasks(cache_directory, monkeypatch):
  """Uses questions of few files, and a vocabulary that needs no training."""
  del cache_directory
  monkeypatch.setattr(offline_docstrings, "NUM_FILES", 100)
  gin.parse_config("tasks.vocabulary.name = 'bytes'")
  yield
  offline._docstrings.cache_clear()


def examples(name, split, **kwargs):
  provider = seqio.get_mixture_or_task(name)
  lengths = {"inputs": 256, "targets": 64}
  return inputs.without_autograph(
      functools.partial(
          provider.get_dataset, lengths, split=split, shuffle=False, **kwargs
      )
  ).as_numpy_iterator()


def test_tasks_have_the_questions_and_mixtures_their_shares(small_tasks, names):
  vocabulary = seqio.ByteVocabulary()
  for name in (
      *("cldr_names", "docstring_package", "docstring_kind"),
      "docstring_signature",
  ):
    task = seqio.TaskRegistry.get(name)
    assert tuple(task.splits) == SPLITS
    text = offline.names_text if name == "cldr_names" else (
        offline.docstrings_text
    )  # fmt: skip
    expected = offline_questions.read(text(name), "test")
    if name == "cldr_names":
      assert expected == names["test"]
    found = list(examples(name, "test"))
    assert len(found) == len(expected) > 5
    for example, question in zip(found, expected):
      decoded = [
          vocabulary.decode(example[key].tolist())
          for key in ("inputs", "targets")
      ]
      assert decoded == [question.inputs[:255], question.targets]
  for name, num_tasks in (
      ("offline_downstream", 4),
      ("offline_understanding", 2),
  ):
    mixture = seqio.get_mixture_or_task(name)
    for task in mixture.tasks:
      count = task.source.num_input_examples("train")
      assert mixture.get_rate(task) == count
    assert len(mixture.tasks) == num_tasks


def test_the_mixtures_to_pre_train_on():
  for objective in ("span_corruption", "prefix_lm", "full_lm"):
    mixture = seqio.get_mixture_or_task(f"offline_{objective}")
    assert {task.name: mixture.get_rate(task) for task in mixture.tasks} == {
        f"docstrings_{objective}": 3.0,
        f"cldr_facts_{objective}": 1.0,
    }


def measured(name, targets, predictions):
  """Returns the metrics of a task, as an evaluation computes them."""
  task = seqio.TaskRegistry.get(name)
  post = task.postprocess_fn
  right = [
      post(x, example={"answers": [x.encode()]}, is_target=True)
      for x in targets
  ]
  given = [post(x, example={}, is_target=False) for x in predictions]
  values = {}
  for metric_fn in task.metric_fns:
    values.update(metric_fn(right, given))
  return values


@pytest.mark.parametrize(
    "name, targets, predictions, expected",
    [
        ("cldr_names", ["Kuba", "Intian rupia"], ["Kuba", "Intian"], 50.0),
        ("cldr_names", ["Kuba"], ["Kuba"], 100.0),
        ("docstring_package", ["jax", "scipy"], ["jax", "numpy"], 50.0),
        ("docstring_package", ["jax"], ["nonsense"], 0.0),
        ("docstring_kind", ["module", "class"], ["class", "class"], 50.0),
        ("docstring_signature", ["choice1"] * 4, ["choice1"] * 3 + ["x"], 75.0),
    ],
)
def test_scores_of_right_and_wrong_predictions(
    name, targets, predictions, expected
):
  metric, value = scores.score(name, measured(name, targets, predictions))
  assert value == expected
  assert metric == ("em" if name == "cldr_names" else "accuracy")


# Baselines.


def test_baselines():
  questions = {
      "train": [
          Question("package: red round", "jax"),
          Question("package: red small", "jax"),
          Question("package: blue", "numpy"),
      ],
      "test": [Question("package: blue", "numpy"), Question("red", "jax")],
  }
  score = functools.partial(offline_baselines.score, questions, "test")
  majority = offline_baselines.majority(questions, "test")
  assert majority == ["jax", "jax"] and score(majority) == 50.0
  words = offline_baselines.bag_of_words(questions, "test")
  assert words == ["numpy", "jax"] and score(words) == 100.0


def test_same_words_chooses_by_the_names():
  questions = {
      "test": [
          Question("signature: f(axis) choice1: an ax choice2: its axis", "")
      ]
  }
  assert offline_baselines.same_words(questions, "test") == ["choice2"]
