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

"""The user's own pairs: options, examples, the task."""

import dataclasses
import json
import pathlib
import re

import gin
import pytest
import seqio
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

from tasks import errors
from tasks import pair_metrics
from tasks import pair_options
from tasks import pairs
from tasks import pairs_files
from tasks import records
from tasks import vocabulary

Options = pairs_files.Options
Pair = pairs.Pair


def read(path, split="train", **options):
  options = Options(**{split: str(path), **options})
  return list(pairs.read(options, str(path), split))


def write(path, rows):
  path.write_text("\n".join(map(json.dumps, rows)))
  return path


# Examples.


def test_prefix_and_fields_in_a_text(tmp_path):
  path = tmp_path / "a.tsv"
  path.write_text("premise\t#1 String\tgold label\nIt rains.\tWet.\t yes \n")
  assert read(
      path,
      prefix="nli ",
      inputs="premise: {premise} hypothesis: {#1 String}",
      targets="gold label",
  ) == [Pair("nli premise: It rains. hypothesis: Wet.", [" yes "])]


def test_numbers_of_columns(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("x,0,a\ny,1,b\n")
  assert read(path, inputs=3, targets=2) == [Pair("a", ["0"]), Pair("b", ["1"])]
  assert read(path, inputs="{3} {1}", targets="2")[0] == Pair("a x", ["0"])


def test_values_of_json(tmp_path):
  values = ["a\n\tb", 3, 0.5, 1e20, True, False, "", ["b", "c"], [1, None]]
  values += [None, {}, [], float("nan"), "\ud83d"]
  path = write(
      tmp_path / "a.jsonl",
      [{"inputs": n, "targets": value} for n, value in enumerate(values)],
  )
  with path.open("a") as file:
    file.write('\n{"inputs": "a", "targets": ' + "9" * 5000)
  assert [pair.answers for pair in read(path)] == [
      ["a\n\tb"], ["3"], ["0.5"], ["1e+20"], ["true"], ["false"], [""],
      ["b", "c"],
  ]  # fmt: skip
  assert list(records.skipped().values()) == [
      "'targets' is null, no text",
      "'targets' is null, no text",
      "'targets' is an object, no text",
      "'targets' is an empty list",
      "'targets' is no finite number",
      "'targets' is not Unicode",
      "a number is too long (Exceeds the limit (4300 digits) for integer "
      "string conversion: value has 5000 digits)",
  ]


def test_empty_inputs_are_broken_and_empty_targets_are_not(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("inputs,targets\n , a\nb,\n")
  assert read(path) == [Pair("b", [""])]
  assert records.skipped() == {f"{path}, line 2": "the inputs are empty"}


@pytest.mark.parametrize(
    "labels, targets, expected",
    [
        (["no", "yes"], [0, "1", "no"], ["no", "yes", "no"]),
        (("1", "2"), ["1", 2], ["1", "2"]),
        ([1, 2], ["1", 2], ["1", "2"]),
        ({1: "World", "2": "Sports"}, ["1", 2], ["World", "Sports"]),
        ({True: "yes", False: "no"}, [True, "no"], ["yes", "no"]),
        ({True: "yes", False: "no"}, ["True", "false"], ["yes", "no"]),
        # Forms that pieces do not keep apart.
        (["caf\u00e9", "a b"], ["cafe\u0301 ", " 1"], ["caf\u00e9", "a b"]),
    ],
)
def test_labels(tmp_path, labels, targets, expected):
  rows = [{"inputs": "a", "targets": x} for x in [*targets, 7, ""]]
  path = write(tmp_path / "a.jsonl", rows)
  found = read(path, labels=labels)
  assert [pair.answers for pair in found] == [[text] for text in expected]
  problem, _ = records.skipped().values()
  assert problem.startswith("'targets' is '7', and labels are ")


def test_a_test_set_may_have_no_targets(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("inputs\na\n")
  unlabelled = Pair("a", ["<unk>"])
  assert read(path, "test") == [unlabelled]
  with pytest.raises(errors.DataError, match="no column 'targets'"):
    read(path, "validation")
  rows = [{"inputs": "a", "targets": x} for x in (-1, "", None, 1)]
  path = write(tmp_path / "a.jsonl", [*rows, {"inputs": "a"}])
  assert read(path, "test", labels=["no", "yes"]) == [
      *[unlabelled] * 3,
      Pair("a", ["yes"]),
      unlabelled,
  ]
  assert len(read(path, "train", labels=["no", "yes"])) == 1


def test_numbers_are_needed_for_a_correlation(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("inputs,targets\na,3.8\nb,high\nc,nan\n")
  assert read(path, metrics="pearson_corrcoef") == [Pair("a", ["3.8"])]
  assert records.skipped() == {
      f"{path}, line 3": "'targets' is 'high', which is no number",
      f"{path}, line 4": "'targets' is 'nan', which is no number",
  }


def test_a_file_without_any_pair(tmp_path):
  path = write(tmp_path / "a.jsonl", [{"text": "a"}] * 3)
  with pytest.raises(errors.DataError) as raised:
    read(path)
  assert str(raised.value) == (
      f"{path}: there are no pairs in it; 3 broken records, the first is "
      f"{path}, line 1: there is no key 'inputs', but 'text'."
  )


def test_too_many_broken_records(tmp_path):
  gin.bind_parameter("broken_records.limit", 2)
  path = tmp_path / "a.csv"
  path.write_text("inputs,targets\na,b\n" + "c\n" * 3)
  with pytest.raises(errors.DataError) as raised:
    read(path)
  assert str(raised.value) == (
      f"{path}, line 5: 1 column where the header has 2; "
      "broken_records.limit = 2 allows no more broken records."
  )


def test_a_part_of_train_is_held_out(tmp_path):
  rows = [{"inputs": f"text {n % 200}", "targets": n} for n in range(400)]
  path = write(tmp_path / "a.jsonl", rows)
  whole = read(path)
  train, held_out = (
      list(
          pairs.read(
              Options(train=str(path), validation_share=0.25, prefix=prefix),
              str(path),
              split,
          )
      )
      for prefix, split in (("", "train"), ("p:", "validation"))
  )
  held_out = [
      pair._replace(inputs=pair.inputs.removeprefix("p: ")) for pair in held_out
  ]
  assert sorted(train + held_out) == sorted(whole)
  assert 30 <= len({pair.inputs for pair in held_out}) <= 70
  assert not {pair.inputs for pair in held_out} & {x.inputs for x in train}


# Options.


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"metrics": "acuracy"},
            "pairs_files.metrics = 'acuracy': use one or several of accuracy, "
            "bleu, exact_match, f1, macro_f1, matthews_corrcoef, "
            "pearson_corrcoef, rouge, spearman_corrcoef, squad, trivia_qa.",
        ),
        ({"metrics": []}, "pairs_files.metrics = []: use one or several of "),
        (
            {"metrics": "f1"},
            "pairs_files.metrics: 'f1' needs pairs_files.labels, for example "
            "['negative', 'positive']; 'squad' has an F1 of words.",
        ),
        (
            {"metrics": ["macro_f1"], "labels": ["one"]},
            "pairs_files.metrics: 'macro_f1' needs pairs_files.labels, for ",
        ),
        (
            {"metrics": "f1", "labels": ["a", "b", "c"]},
            "pairs_files.metrics: 'f1' needs two pairs_files.labels, the "
            "second is the positive one; of 3 take 'macro_f1'.",
        ),
        (
            {"validation": "a", "validation_share": 0.1},
            "pairs_files.validation and pairs_files.validation_share cannot "
            "both be set.",
        ),
        (
            {"labels": ["a", "b", "a"]},
            "pairs_files.labels = ['a', 'b', 'a'] has a label twice; ",
        ),
        (
            {"inputs": 1},
            "pairs_files.inputs = 1 and pairs_files.targets = 'targets' must be"
            " names of fields, or numbers of columns from 1.",
        ),
        (
            {"inputs": 0, "targets": 1},
            "pairs_files.inputs = 0 and pairs_files.targets = 1 must be names "
            "of fields, or numbers of columns from 1.",
        ),
        (
            {"delimiter": "||"},
            "pairs_files.delimiter = '||' must be one character, such as ';' or"
            " '\\t'.",
        ),
    ],
)
def test_options_that_cannot_work(options, message):
  with pytest.raises(errors.DataError) as raised:
    Options(**options)
  assert str(raised.value).startswith(message)


def test_files(tmp_path, monkeypatch):
  for name in ("b.csv", "a.csv", "c[1].csv", "d.tsv"):
    (tmp_path / name).touch()
  monkeypatch.setenv("HOME", str(tmp_path))

  def found(value):
    files = pair_options.find_files(Options(test=value), "test")
    return [file.removeprefix(f"{tmp_path}/") for file in files]

  assert found("~/d.tsv") == ["d.tsv"]
  assert found(f"{tmp_path}/*.csv") == ["a.csv", "b.csv", "c[1].csv"]
  assert found([f"{tmp_path}/c[1].csv", f"{tmp_path}/?.csv"]) == [
      "c[1].csv", "a.csv", "b.csv"
  ]  # fmt: skip


@pytest.mark.parametrize(
    "options, split, message",
    [
        (
            {},
            "train",
            "pairs_files.train is not set; name a file, a pattern or a list of "
            "these.",
        ),
        (
            {},
            "validation",
            "pairs_files.validation is not set; name a file, or hold out a part"
            " of train with for example pairs_files.validation_share = 0.1.",
        ),
        (
            {"validation_share": 0.1},
            "validation",
            "pairs_files.train is not set; name a file, a pattern or a list of "
            "these.",
        ),
        (
            {"train": "absent/*.csv"},
            "train",
            "pairs_files.train = 'absent/*.csv': no file matches.",
        ),
        (
            {"test": "/dev"},
            "test",
            "pairs_files.test = '/dev': /dev is a directory; name files, also "
            "by a pattern such as '/data/*.tsv'.",
        ),
        (
            {"test": "/dev/zero"},
            "test",
            "pairs_files.test = '/dev/zero': /dev/zero is no regular file; name"
            " files, also by a pattern such as '/data/*.tsv'.",
        ),
    ],
)
def test_files_that_are_not_there(options, split, message):
  with pytest.raises(errors.DataError) as raised:
    pair_options.find_files(Options(**options), split)
  assert str(raised.value) == message


def test_the_page_has_all_options_and_metrics():
  page = pathlib.Path(__file__).parents[2] / "docs" / "data.md"
  text = page.read_text()
  rows = re.findall(r"^\| `pairs_files\.(\w+)` \| (.*?) \|", text, re.MULTILINE)
  assert rows == [
      (field.name, repr(field.default).replace("'", '"'))
      for field in dataclasses.fields(Options)
  ]
  table = text[text.index("| metrics | value") :].split("\n\n")[0]
  cells = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
  names = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
  assert sorted(names) == list(pair_metrics.NAMES)


# The task.


@pytest.fixture
def task(tmp_path, cache_directory):
  """The task of gin's, with 40 questions."""
  rows = [
      {"q": f"What is {n}?", "a": [str(n), f"number\n{n}"]} for n in range(40)
  ]
  gin.parse_config(f"""
      pairs_files.train = "{write(tmp_path / "train.jsonl", rows)}"
      pairs_files.inputs = "q"
      pairs_files.targets = "a"
      pairs_files.metrics = ["squad", "exact_match"]
      """)
  return seqio.get_mixture_or_task("pairs_files")


def answers(source, split, **options):
  """The first answer of each pair, in the source's order."""
  dataset = source.get_dataset(split, **options)
  return [x["answers"][0].decode() for x in tfds.as_numpy(dataset)]


def test_the_examples_of_the_task(task):
  gin.bind_parameter("tasks.vocabulary.name", "bytes")
  dataset = tf.autograph.experimental.do_not_convert(task.get_dataset)(
      {"inputs": 32, "targets": 16}, "train", shuffle=False
  )
  (first,) = tfds.as_numpy(dataset.take(1))
  words = seqio.ByteVocabulary(100)
  assert list(first["inputs"]) == [*words.encode("What is 0?"), 1]
  assert list(first["targets"]) == [*words.encode("0"), 1]
  assert list(first["answers"]) == [b"0", b"number\n0"]


def test_the_order_depends_on_the_seed(task):
  numbers = [str(n) for n in range(40)]
  assert answers(task.source, "train", shuffle=False) == numbers
  first, again, other = (
      answers(task.source, "train", shuffle=True, seed=n) for n in (3, 3, 4)
  )
  assert first == again
  assert len({tuple(numbers), tuple(first), tuple(other)}) == 3
  assert sorted(first) == sorted(other) == sorted(numbers)


def test_a_part_that_is_held_out_is_a_split(task):
  gin.bind_parameter("pairs_files.validation_share", 0.25)
  source = pairs_files.PairsSource(pair_options.from_gin)
  counts = [source.num_input_examples(x) for x in ("train", "validation")]
  assert sum(counts) == 40 and 3 <= counts[1] <= 17
  assert len(answers(source, "validation", shuffle=False)) == counts[1]
  assert source.missing_splits() == ["test"]


def test_a_part_without_pairs(task, tmp_path):
  write(tmp_path / "train.jsonl", [{"q": "a", "a": "b"}])
  gin.bind_parameter("pairs_files.validation_share", 1e-9)
  with pytest.raises(errors.DataError) as raised:
    task.source.list_shards("validation")
  assert str(raised.value) == (
      "pairs_files.validation_share = 1e-09 leaves no pairs for the validation "
      f"split of {tmp_path}/train.jsonl."
  )


def test_a_training_set_in_the_order_of_its_labels_is_shuffled(tmp_path, task):
  rows = [{"q": "a", "a": str(n // 2000)} for n in range(4000)]
  write(tmp_path / "train.jsonl", rows)
  dataset = task.source.get_dataset("train", shuffle=True, seed=0)
  first = [x["targets"] for x in tfds.as_numpy(dataset.take(100))]
  assert 25 < first.count(b"1") < 75


def test_splits_and_origin(task, tmp_path):
  assert task.source.missing_splits() == ["validation", "test"]
  assert task.source.describe() == f"'q' -> 'a' of {tmp_path}/train.jsonl"
  gin.bind_parameter("pairs_files.prefix", "nq:")
  gin.bind_parameter("pairs_files.labels", ["no", "yes"])
  assert task.source.describe() == (
      f"'nq: q' -> 'a' as no, yes of {tmp_path}/train.jsonl"
  )
  gin.clear_config()
  assert task.source.describe() == "pairs_files.train, which is not set"
  assert not task.source.is_present()


def test_answers_and_metrics_of_the_task(task):
  example = {"answers": [b"1", "caf\u00e9".encode()]}
  assert task.postprocess_fn("a", example=example, is_target=False) == "a"
  targets = task.postprocess_fn("1", example=example, is_target=True)
  assert targets == ["1", "caf\u00e9"]
  one = {"answers": [b"b\nc"]}
  targets = [targets, task.postprocess_fn("", example=one, is_target=True)]
  assert targets[1] == "b\nc"
  (metric,) = task.metric_fns
  assert metric(targets, ["caf\u00e9", "b c"]) == {
      "em": 100, "f1": 100, "exact_match": 100
  }  # fmt: skip
  assert seqio.function_name(metric) == "pairs_files.metrics"


def test_line_breaks_that_pieces_lose_are_noted(tmp_path, task):
  rows = [{"q": "a", "a": "b\nc"}, {"q": "a", "a": "b c"}]
  write(tmp_path / "train.jsonl", rows)
  gin.bind_parameter("tasks.vocabulary.name", "bytes")
  task.source.list_shards("train")  # Without a note.
  gin.bind_parameter("tasks.vocabulary.name", "t5")
  source = pairs_files.PairsSource(pair_options.from_gin)
  with pytest.warns(errors.DataNotice) as notes:
    source.list_shards("train")
    source.list_shards("train")
  assert [str(note.message) for note in notes] == [
      f"{tmp_path}/train.jsonl: 1 of the first 2 targets have line breaks or "
      "tabs, which vocabularies of pieces turn into single spaces "
      "(vocabulary.name = 'bytes' keeps them)."
  ]


@pytest.mark.filterwarnings("ignore::tasks.errors.DataNotice")
def test_a_vocabulary_is_trained_on_the_pairs(task):
  gin.bind_parameter("tasks.vocabulary.size", 60)
  words = task.output_features["targets"].vocabulary
  text = pairs_files.training_text()
  assert text.num_documents("train") == 40 * 3  # A question, two answers.
  assert words.decode(words.encode("What is number 7?")) == "What is number 7?"
  assert words.vocab_size <= 60 + vocabulary.NUM_SENTINELS


def test_a_task_of_ones_own_and_a_mixture(task, tmp_path, monkeypatch):
  monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
  path = write(tmp_path / "own.jsonl", [{"inputs": "a", "targets": "b"}])
  pairs_files.register("own", Options(train=str(path), metrics="accuracy"))
  own = seqio.TaskRegistry.get("own")
  mixture = seqio.Mixture("both", [own, task], default_rate=1.0)
  with pytest.raises(ValueError, match="must use the same vocabulary"):
    mixture._check_compatible_features()
  gin.bind_parameter("tasks.vocabulary.name", "bytes")
  mixture._check_compatible_features()
  # Gin's binding of `task` is not for this one.
  (pair,) = tfds.as_numpy(own.source.get_dataset("train", shuffle=False))
  assert (pair["inputs"], pair["targets"]) == (b"a", b"b")
  (metric,) = own.metric_fns
  assert metric(["b"], ["b"]) == {"accuracy": 100}
