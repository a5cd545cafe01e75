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

"""The official files are read as TensorFlow Datasets reads them."""

import json

import gin
import pytest

from tasks import errors
from tasks import official_datasets
from tasks import official_files
from tasks import records
from tasks import tables
from tests import official_zips
from tests import tables as table_files


class Unpacked:
  """TFDS's download manager after all downloads."""

  def __init__(self, directory):
    self._directory = str(directory)

  def download_and_extract(self, url):
    del url
    return self._directory


@pytest.mark.parametrize("name", official_zips.SUPER_GLUE)
def test_super_glue_is_read_as_tfds_reads_it(tmp_path, name):
  official_zips.write_super_glue(tmp_path, name)
  builder = official_files.builder("super_glue", name)
  for split in builder._split_generators(Unpacked(tmp_path)):
    (file,) = official_datasets.super_glue_files(
        builder.builder_config, split.name
    )
    path = str(tmp_path / file)
    assert path == split.gen_kwargs["data_file"]
    ours = official_zips.as_read("super_glue", name, path)
    official_zips.assert_same(
        ours, official_zips.as_in_tfds(builder, **split.gen_kwargs)
    )
  assert not records.skipped()


@pytest.mark.parametrize(
    "name", [n for n in official_zips.GLUE if n not in ("mrpc", "ax")]
)
def test_glue_is_read_as_tfds_reads_it(tmp_path, name):
  builder = official_files.builder("glue", name)
  for split in builder._split_generators(Unpacked(tmp_path)):
    path = official_zips.write_glue(tmp_path, name, split.name)
    assert str(path) == split.gen_kwargs["data_file"]
    official_zips.assert_same(
        official_zips.as_read("glue", name, path),
        official_zips.as_in_tfds(builder, **split.gen_kwargs),
    )
  assert not records.skipped()


def test_glue_diagnostics_are_read_as_tfds_reads_them(tmp_path):
  path = official_zips.write_glue(tmp_path, "ax", "test")
  assert path == tmp_path / "diagnostic" / "diagnostic.tsv"
  theirs = official_zips.as_in_tfds(
      official_files.builder("glue", "ax"), data_file=path, split="test"
  )
  official_zips.assert_same(official_zips.as_read("glue", "ax", path), theirs)


MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
MRPC += '1\t11\t12\tHe ran .\tHe did run .\n0\t13\t14\tA " b\tC .\n'


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_mrpc_is_read_as_tfds_reads_its_original(tmp_path, split):
  original = tmp_path / "msr_paraphrase.txt"
  original.write_text("\ufeff" * (split != "test") + MRPC)
  dev_ids = tmp_path / "dev_ids.tsv"
  dev_ids.write_text("11\t12\n13\t14\n" if split == "dev" else "")
  files = {"dev_ids": dev_ids, "train": original, "test": original}
  theirs = official_zips.as_in_tfds(
      official_files.builder("glue", "mrpc"),
      data_file=None,
      split=split,
      mrpc_files=files,
  )
  ours = tmp_path / f"{split}.tsv"
  ours.write_text("\ufeff" * (split != "test") + MRPC)
  official_zips.assert_same(official_zips.as_read("glue", "mrpc", ours), theirs)


@pytest.mark.parametrize("ids", ["dev_ids.tsv", "mrpc_dev_ids.tsv"])
@pytest.mark.parametrize(
    "split, name, labels",
    [
        ("train", "train", [1]),
        ("validation", "dev", [0]),
        ("test", "test", [-1, -1]),
    ],
)
def test_mrpc_is_read_from_its_original(tmp_path, ids, split, name, labels):
  (tmp_path / "MRPC").mkdir()
  files = {"dev_ids": tmp_path / "MRPC" / ids}
  files["dev_ids"].write_text("13\t14\n")
  for part, mark in (("train", "\ufeff"), ("test", "")):
    files[part] = tmp_path / "MRPC" / f"msr_paraphrase_{part}.txt"
    files[part].write_text(mark + MRPC)
  ours = official_zips.in_directory("glue", "mrpc", tmp_path, split)
  official_zips.assert_same(
      ours,
      official_zips.as_in_tfds(
          official_files.builder("glue", "mrpc"),
          data_file=None,
          split=name,
          mrpc_files=files,
      ),
  )
  assert [record["label"] for record in ours] == labels
  # GLUE's own files come first.
  (tmp_path / "MRPC" / f"{name}.tsv").write_text(MRPC)
  assert len(official_zips.in_directory("glue", "mrpc", tmp_path, split)) == 2


def test_the_list_of_mrpcs_development_set_is_missed_by_name(tmp_path):
  path = tmp_path / "MRPC" / "msr_paraphrase_train.txt"
  path.parent.mkdir()
  path.write_text(MRPC)
  with pytest.raises(errors.DataError) as raised:
    official_zips.in_directory("glue", "mrpc", tmp_path, "validation")
  assert str(raised.value) == (
      f"{path}: GLUE has cut this set in two; dev_ids.tsv or mrpc_dev_ids.tsv, "
      "the list of its development set that GLUE's download script fetches, is "
      "not beside it."
  )
  path.unlink()
  with pytest.raises(errors.DataError, match="MRPC/dev.tsv or MRPC/msr_paraph"):
    official_zips.in_directory("glue", "mrpc", tmp_path, "validation")


def test_rows_that_tfds_omits_are_skipped_and_named(tmp_path):
  path = tmp_path / "train.tsv"
  lines = ["id qid1 qid2 question1 question2 is_duplicate".split()]
  lines += [["1", "2", "3", "Who?", "Which?", "0"], ["4", "5", "6", "Ho"], []]
  lines += [["7", "8", "9", "A?", "B?", ""], ["1", "2"]]
  lines += [["1", "2", "3", "E?", "F?", "1", "more"]]
  path.write_text("\n".join("\t".join(line) for line in lines))
  ours = official_zips.as_read("glue", "qqp", path)
  theirs = official_zips.as_in_tfds(
      official_files.builder("glue", "qqp"), data_file=path, split="train"
  )
  official_zips.assert_same(ours, theirs)
  assert [record["idx"] for record in ours] == [0, 4]
  assert records.skipped() == {
      f"{path}, line 3": "there is no 'question2'",
      f"{path}, line 5": "the label '' is none of not_duplicate, duplicate",
      f"{path}, line 6": "there is no 'question1'",
  }


def test_squad_is_read_as_tfds_reads_it(tmp_path):
  path = tmp_path / "train-v1.1.json"
  path.write_text(json.dumps(official_zips.SQUAD, indent=2))
  ours = official_zips.as_read("squad", "v1.1", path)
  theirs = official_zips.as_in_tfds(
      official_files.builder("squad", "v1.1"), filepath=str(path)
  )
  official_zips.assert_same(ours, theirs)
  assert len(ours) == 2


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"label": "maybe"}, "the label 'maybe' is none of entailment, "),
        ({"label": 1}, "the label 1 is none of entailment, "),
        ({"label": ["neutral"]}, "the label ['neutral'] is none of "),
        ({"label": None}, "the label None is none of "),
        ({"premise": 5}, "Error while serializing feature `premise`"),
        ({"premise": None}, "Error while serializing feature `premise`"),
        ({"idx": "x"}, 'In <Tensor> with name "idx": invalid literal for'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_line_is_named(tmp_path, change, problem):
  path = tmp_path / "train.jsonl"
  good = {**official_zips.PAIR, "label": "neutral"}
  lines = [good, {**good, **change}, good]
  path.write_text("\n".join(map(json.dumps, lines)))
  assert len(official_zips.as_read("super_glue", "cb", path)) == 2
  ((place, found),) = records.skipped().items()
  assert place == f"{path}, line 2"
  assert found.startswith(problem)
  assert "\n" not in found


@pytest.mark.parametrize("field", ["premise", "label", "idx"])
def test_a_missing_field_is_named(tmp_path, field):
  path = tmp_path / "val.jsonl"
  line = {**official_zips.PAIR, "label": "neutral"}
  del line[field]
  path.write_text(json.dumps(line) + "\n{not json\n")
  assert not official_zips.as_read("super_glue", "cb", path)
  assert records.skipped()[f"{path}, line 1"] == f"there is no '{field}'"
  assert "not JSON" in records.skipped()[f"{path}, line 2"]


@pytest.mark.parametrize("name", ["multirc", "record"])
def test_a_line_of_many_examples_is_skipped_as_a_whole(tmp_path, name):
  path = tmp_path / "train.jsonl"
  path.write_text(json.dumps(official_zips.LINES[name]))  # Without labels.
  assert not official_zips.as_read("super_glue", name, path)
  field = {"multirc": "label", "record": "answers"}[name]
  assert records.skipped() == {f"{path}, line 1": f"there is no '{field}'"}


def test_a_span_that_is_not_in_the_text_is_named(tmp_path):
  path = tmp_path / "train.jsonl"
  target = {**official_zips.WSC["target"], "span1_text": "Eve"}
  path.write_text(
      json.dumps({**official_zips.WSC, "target": target, "label": True})
  )
  assert not official_zips.as_read("super_glue", "wsc.fixed", path)
  assert f"{path}, line 1" in records.skipped()


def test_the_limit_of_broken_records_ends_the_reading(tmp_path):
  gin.parse_config("tasks.broken_records.limit = 1")
  path = tmp_path / "train.jsonl"
  path.write_text("{}\n{}\n")
  with pytest.raises(errors.DataError, match="line 2: there is no 'premise'"):
    official_zips.as_read("super_glue", "cb", path)


def test_a_header_without_a_column_is_named(tmp_path):
  path = tmp_path / "dev.tsv"
  path.write_text("sentence\tscore\nGood.\t1\n")
  with pytest.raises(errors.DataError) as error:
    official_zips.as_read("glue", "sst2", path)
  assert str(error.value) == (
      f"{path}, line 1: there is no column 'label' for sst2; there are "
      "'sentence', 'score'."
  )


def test_an_unknown_number_is_no_label(tmp_path):
  path = tmp_path / "dev.tsv"
  path.write_text("sentence\tlabel\nGood.\t1\nBad.\t2\nSo so.\t-\n")
  assert [r["label"] for r in official_zips.as_read("glue", "sst2", path)] == [
      1
  ]
  assert records.skipped() == {
      f"{path}, line 3": "the label '2' is none of negative, positive",
      f"{path}, line 4": "the label '-' is none of negative, positive",
  }


def squad_without(*names):
  text = json.loads(json.dumps(official_zips.SQUAD))
  question = text["data"][0]["paragraphs"][0]["qas"][1]
  for name in names:
    del question[name]
  return text


@pytest.mark.parametrize(
    "field, name", [("id", "How is Rome?"), ("question", "b"), ("answers", "b")]
)
def test_a_broken_question_is_named(tmp_path, field, name):
  path = tmp_path / "dev-v1.1.json"
  path.write_text(json.dumps(squad_without(field)))
  assert [r["id"] for r in official_zips.as_read("squad", "v1.1", path)] == [
      b"a"
  ]
  place = f"{path}, article 1, question {name}"
  assert records.skipped() == {place: f"there is no '{field}'"}


def test_a_question_without_an_answer_is_named(tmp_path):
  text = json.loads(json.dumps(official_zips.SQUAD))
  text["data"][0]["paragraphs"][0]["qas"][0]["answers"] = []
  path = tmp_path / "dev-v2.0.json"
  path.write_text(json.dumps(text))
  assert [r["id"] for r in official_zips.as_read("squad", "v1.1", path)] == [
      b"b"
  ]
  (problem,) = records.skipped().values()
  assert problem == "it has no answers; is this SQuAD 2.0 instead of 1.1?"


@pytest.mark.parametrize(
    "text, problem",
    [
        ('{\n"data": ]', ", line 2: this is not JSON"),
        ("{}", " is not in SQuAD's form: there is no 'data'."),
        ('{"data": ' + "[" * 100_000, ": its brackets are nested too deeply."),
        ('{"data": ' + "1" * 5000 + "}", ": a number is too long (Exceeds "),
        ('{"data": 5}', " is not in SQuAD's form: 'int' object is not"),
        ("[1]", " is not in SQuAD's form: list indices must be integers"),
    ],
    ids=["not-json", "no-data", "brackets", "digits", "no-list", "a-list"],
)
def test_a_file_that_is_not_squad_is_named(tmp_path, text, problem):
  path = tmp_path / "dev-v1.1.json"
  path.write_text(text)
  with pytest.raises(errors.DataError) as error:
    official_zips.as_read("squad", "v1.1", path)
  assert str(error.value).startswith(f"{path}{problem}")


def test_a_broken_article_paragraph_or_question_is_skipped(tmp_path):
  text = json.loads(json.dumps(official_zips.SQUAD))
  article = text["data"][0]
  text["data"] += [{}, "Rome", {"paragraphs": 5}]
  article["paragraphs"] += [{"qas": []}, 5, {"context": "It is.", "qas": 7}]
  article["paragraphs"][0]["qas"].append("What?")
  path = tmp_path / "dev-v1.1.json"
  path.write_text(json.dumps(text))
  assert len(official_zips.as_read("squad", "v1.1", path)) == 2
  places = [place.removeprefix(f"{path}, ") for place in records.skipped()]
  assert places == [
      "article 1, question What?",
      "article 1, paragraph 2",
      "article 1, paragraph 3",
      "article 1, paragraph 4",
      "article 3",
      "article 4",
      "article 5",
  ]


@pytest.mark.parametrize("name", ["cola", "sst2", "stsb", "mnli", "rte"])
def test_a_test_file_keeps_its_labels_as_tfds_keeps_them(tmp_path, name):
  labelled = official_zips.write_glue(tmp_path, name, "train")
  text = labelled.read_text()
  if name == "cola":  # Only its test file has a header.
    text = "source\tis_acceptable\tauthor\tsentence\n" + text
  column = official_files.builder("glue", name).builder_config.label_column
  lines = text.splitlines()
  unlabelled = lines[1].split("\t")
  unlabelled[lines[0].split("\t").index(column)] = "-1"
  path = labelled.with_name("test.tsv")
  path.write_text("\n".join([*lines, "\t".join(unlabelled)]))
  ours = official_zips.as_read("glue", name, path)
  theirs = official_zips.as_in_tfds(
      official_files.builder("glue", name), data_file=path, split="test"
  )
  official_zips.assert_same(ours, theirs)
  labels = [record["label"] for record in ours]
  assert labels[-1] == -1 and -1 not in labels[:-1]
  assert not records.skipped()


def test_a_row_that_is_not_utf8_is_skipped(tmp_path):
  path = tmp_path / "dev.tsv"
  path.write_bytes(b"sentence\tlabel\nGood.\t1\nCaf\xe9.\t1\n\nBad.\t0\n")
  ours = official_zips.as_read("glue", "sst2", path)
  assert [record["idx"] for record in ours] == [0, 2]
  assert list(records.skipped()) == [f"{path}, line 3"]


def plain(value):
  """A value of TFDS as the hub's rows have it."""
  if isinstance(value, dict):
    return {name: plain(part) for name, part in value.items()}
  if isinstance(value, bytes):
    return value.decode()
  if isinstance(value, list):
    return [plain(part) for part in value]
  return plain(value.tolist()) if hasattr(value, "tolist") else value


@pytest.mark.parametrize(
    "name, config, split, file",
    [
        ("super_glue", "multirc", "train", "multirc/train-00000-of-00001"),
        ("super_glue", "wsc.fixed", "test", "wsc.fixed/test/0000"),
        ("glue", "stsb", "train", "stsb/train-00000-of-00001"),
        ("glue", "mnli", "validation_matched", "mnli/validation_matched"),
        ("squad", "v1.1", "validation", "plain_text/validation"),
    ],
)
def test_the_rows_of_the_hub_are_tfds_examples(
    tmp_path, monkeypatch, name, config, split, file
):
  """Parquet needs a package that may be missing; its rows are JSON here."""
  monkeypatch.setitem(tables.READERS, ".parquet", records.json_objects)
  official_zips.write(tmp_path)
  official = official_zips.in_directory(name, config, tmp_path / name, split)
  rows = [plain(record) for record in official]
  path = tmp_path / "hub" / f"{file}.parquet"
  table_files.write_lines(path, [*rows, {"more": 1}])
  hub = official_zips.in_directory(name, config, tmp_path / "hub", split)
  assert [plain(record) for record in hub] == rows
  assert list(records.skipped()) == [f"{path}, line {len(rows) + 1}"]


def test_a_row_of_the_hub_without_its_label_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(tables.READERS, ".parquet", records.json_objects)
  row = {"sentence": "Good.", "label": -1, "idx": 0}
  for split in ("train", "test"):
    path = tmp_path / "sst2" / f"{split}-00000-of-00001.parquet"
    table_files.write_lines(path, [row])
  assert len(official_zips.in_directory("glue", "sst2", tmp_path, "test")) == 1
  assert not official_zips.in_directory("glue", "sst2", tmp_path, "train")
  assert list(records.skipped().values()) == ["it has no label"]
