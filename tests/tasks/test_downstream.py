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

"""Every downstream task, from a record of TFDS to its score."""

import re

import gin
import numpy as np
import pytest
import seqio
import tensorflow.compat.v2 as tf
import tensorflow_datasets as tfds

from tasks import downstream
from tasks import errors
from tasks import scores
from tests import downstream_cases
from tests import official_zips

CASES = downstream_cases.CASES


def tfds_name(task):
  return seqio.TaskRegistry.get(task).source.describe().removeprefix("TFDS ")


def builder(task, directory):
  return tfds.builder(tfds_name(task), data_dir=directory)


@pytest.fixture(autouse=True)
def bytes_as_vocabulary():
  gin.bind_parameter("tasks.vocabulary.name", "bytes")


@pytest.fixture
def records_of(monkeypatch, tmp_path):
  """Returns a function that makes the raw data of a task for seqio.test_utils.

  The test utilities inject one record into a task; this injects several, with
  the features and types that TFDS would read.
  """

  class Injector(seqio.test_utils.DataInjector):

    def __enter__(self):
      def dataset(split, shuffle_files, seed=None):
        del shuffle_files, seed
        return self.per_split_data[split]

      self._mock_source = seqio.FunctionDataSource(
          dataset, list(self.per_split_data)
      )
      self._task._source = self._mock_source

  monkeypatch.setattr(seqio.test_utils, "DataInjector", Injector)

  def records(task):
    features = builder(task, tmp_path).info.features
    serialized = [
        features.serialize_example(features.encode_example(record))
        for record in CASES[task].records
    ]
    dataset = tf.data.Dataset.from_tensor_slices(serialized)
    return {"validation": dataset.map(features.deserialize_example)}

  return records


@pytest.mark.parametrize("task", CASES)
def test_texts_have_t5s_format(task, records_of):
  case = CASES[task]
  examples = list(
      seqio.test_utils.test_preprocessing(
          task, records_of(task), sequence_length={"inputs": 99, "targets": 20}
      )
  )
  first = examples[0]
  assert first["inputs_pretokenized"].decode() == case.inputs
  targets = [example["targets_pretokenized"].decode() for example in examples]
  assert targets == case.targets
  vocabulary = seqio.ByteVocabulary()
  for feature, text in (("inputs", case.inputs), ("targets", targets[0])):
    ids = vocabulary.encode(text)[: 98 if feature == "inputs" else 19]
    np.testing.assert_array_equal(first[feature], [*ids, vocabulary.eos_id])


@pytest.mark.parametrize(
    "task", [name for name in CASES if CASES[name].metrics]
)
def test_metrics(task, records_of):
  case = CASES[task]
  vocabulary = seqio.ByteVocabulary()
  answers = [vocabulary.encode(text) for text in case.predictions]
  length = max(map(len, answers))
  padded = [ids + [vocabulary.eos_id] * (length - len(ids)) for ids in answers]
  with seqio.test_utils.DataInjector(task, records_of(task)):
    evaluator = seqio.Evaluator(
        task, feature_converter=seqio.EncDecFeatureConverter(pack=False)
    )
    metrics, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=lambda *_: list(enumerate(padded)),
        score_fn=lambda *_: [],
    )
  metrics = metrics.result()[task]
  assert metrics == pytest.approx(case.metrics, abs=1e-3)
  name, value = scores.score(task, metrics)
  if name in case.metrics:
    assert value == pytest.approx(case.metrics[name], abs=1e-3)
  else:
    assert value == pytest.approx(
        np.mean(list(case.metrics.values())), abs=1e-3
    )


@pytest.mark.parametrize(
    "task, names",
    [
        ("glue_cola", ["matthews_corrcoef"]),
        ("super_glue_cb", ["mean_3class_f1", "accuracy"]),
        ("super_glue_multirc", ["multirc_f1_over_all_answers", "exact_match"]),
        ("super_glue_record", ["squad"]),
        ("squad", ["squad"]),
    ],
)
def test_metrics_have_names(task, names):
  metric_fns = seqio.TaskRegistry.get(task).metric_fns
  assert [metric_fn.__name__ for metric_fn in metric_fns] == names


def test_every_task_has_a_case():
  assert CASES.keys() == {
      *downstream.FROM_T5,
      *downstream.NUM_EXAMPLES,
  }


@pytest.mark.parametrize("task", CASES)
def test_tfds_has_the_version(task, tmp_path):
  full_name = builder(task, tmp_path).info.full_name
  assert full_name == tfds_name(task).replace(":", "/")


@pytest.mark.parametrize(
    "task", [name for name in CASES if not CASES[name].metrics]
)
def test_tasks_without_validation_have_no_metrics(task):
  task = seqio.TaskRegistry.get(task)
  assert not task.metric_fns
  assert "validation" not in task.splits


@pytest.mark.parametrize(
    "task, published",
    [
        ("natural_questions", "validation"),
        ("web_questions", "test"),
        ("trivia_qa", "validation"),
    ],
)
def test_closed_book_holds_out_a_tenth_of_the_training_set(task, published):
  source = seqio.TaskRegistry.get(task).source
  count = downstream.NUM_EXAMPLES[task]
  assert source.chosen.tfds_dataset._split_map == {
      "train": f"train[:{count}]",
      "validation": f"train[{count}:]",
      "test": published,
  }


def test_winogrande_is_trained_on_its_largest_set():
  source = seqio.TaskRegistry.get("winogrande_xl").source
  assert source.chosen.tfds_dataset._split_map["train"] == "train_xl"


@pytest.mark.parametrize(
    "task, split, count",
    [
        ("super_glue_cb", "train", 2),
        ("super_glue_record", "validation", 2),  # One for each answer.
        ("super_glue_wsc_train", "train", 1),
        ("super_glue_axb", "test", 1),
        ("glue_stsb", "train", 2),
        ("glue_mnli", "validation_matched", 3),
        ("squad", "validation", 2),
    ],
)
def test_official_files_become_examples(tmp_path, task, split, count):
  official_zips.write(tmp_path)
  for name in ("super_glue", "glue", "squad"):
    gin.bind_parameter(f"tasks.{name}.directory", str(tmp_path / name))
  task = seqio.TaskRegistry.get(task)
  assert set(task.splits) >= {split}
  dataset = task.get_dataset({"inputs": 60, "targets": 9}, split, shuffle=True)
  examples = list(dataset.as_numpy_iterator())
  assert len(examples) == count
  assert all(example["targets_pretokenized"] for example in examples)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "task, split, count, inputs, targets",
    [
        (
            "super_glue_cb",
            "validation",
            56,
            "cb hypothesis: .+ premise: .+",
            "entailment|contradiction|neutral",
        ),
        (
            "super_glue_copa",
            "train",
            400,
            "copa choice1: .+ choice2: .+ premise: .+ question: (cause|effect)",
            "choice[12]",
        ),
        (
            "super_glue_multirc",
            "train",
            154,
            "multirc question: .+",
            "True|False",
        ),
        ("super_glue_wsc_train", "train", 32, "wsc: .+ [*].+[*] .+", ".+"),
        (
            "glue_mrpc",
            "validation",
            408,
            "mrpc sentence1: .+ sentence2: .+",
            "(not_)?equivalent",
        ),
        ("squad", "validation", 1190, "question: .+ context: .+", ".+"),
    ],
    ids=lambda value: value if str(value).isidentifier() else "",
)
def test_real_files_become_examples(
    real_data, task, split, count, inputs, targets
):
  for name in ("super_glue", "glue", "squad"):
    directory = str(real_data / name.replace("_", ""))
    gin.bind_parameter(f"tasks.{name}.directory", directory)
  gin.bind_parameter("tasks.squad.validation_file", "xquad.en.json")
  task = seqio.TaskRegistry.get(task)
  dataset = task.get_dataset(split=split, shuffle=False)
  examples = list(dataset.as_numpy_iterator())
  assert len(examples) == count
  for example in examples:
    for feature, form in (("inputs", inputs), ("targets", targets)):
      text = example[f"{feature}_pretokenized"].decode()
      assert re.fullmatch(form, text, re.DOTALL), text


def rates(mixture):
  mixture = seqio.MixtureRegistry.get(mixture)
  return {task.name: mixture.get_rate(task) for task in mixture.tasks}


def test_glue_is_mixed_in_proportion_to_size():
  assert rates("glue") == {
      "glue_cola": 8_551,
      "glue_sst2": 67_349,
      "glue_mrpc": 3_668,
      "glue_qqp": 363_849,
      "glue_stsb": 5_749,
      "glue_mnli": 392_702,
      "glue_qnli": 104_743,
      "glue_rte": 2_490,
      # Only evaluated.
      "glue_mnli_matched": 0,
      "glue_mnli_mismatched": 0,
      "glue_ax": 0,
  }


def test_super_glue_is_mixed_in_proportion_to_size():
  assert rates("super_glue") == {
      "super_glue_boolq": 9_427,
      "super_glue_cb": 250,
      "super_glue_copa": 400,
      "super_glue_multirc": 27_243,
      "super_glue_record": 138_854,
      "super_glue_rte": 2_490,
      "super_glue_wic": 5_428,
      "super_glue_wsc_train": 259,
      "dpr": 1_322,
      # Only evaluated.
      "super_glue_wsc_eval": 0,
      "super_glue_axb": 0,
      "super_glue_axg": 0,
  }


def names(mixture):
  return {task.name for task in seqio.MixtureRegistry.get(mixture).tasks}


def test_super_glue_from_its_zip_leaves_out_dpr(tmp_path, monkeypatch):
  """Unless DPR's data is there, or is to be read from a directory."""
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  assert "dpr" in names("super_glue") & names("downstream")
  gin.bind_parameter("tasks.super_glue.directory", str(tmp_path))
  everything = set(rates("super_glue"))
  assert names("super_glue") == everything - {"dpr"}
  assert "dpr" not in names("downstream")
  with (
      pytest.warns(errors.DataNotice) as notices,
      pytest.raises(errors.DataError, match="there is no BoolQ/train.jsonl"),
  ):
    seqio.MixtureRegistry.get("super_glue").get_dataset({}, "train")
  assert [str(notice.message) for notice in notices] == [
      "super_glue leaves out dpr, which is not in SuperGLUE's files; "
      "dpr.directory names the directory of its own (train.c.txt), or TFDS "
      "definite_pronoun_resolution:1.1.0 is prepared."
  ]
  gin.bind_parameter("tasks.dpr.directory", str(tmp_path))
  assert "dpr" in names("super_glue")


def test_wsc_can_be_fine_tuned_alone():
  mixture = seqio.MixtureRegistry.get("super_glue_wsc")
  assert rates("super_glue_wsc") == {
      "super_glue_wsc_train": 259,
      "super_glue_wsc_eval": 0,
  }
  assert [t.name for t in mixture.tasks if "train" in t.splits] == [
      "super_glue_wsc_train"
  ]
  assert {"train", "validation"} <= set(mixture.splits)


def test_downstream_is_everything_and_rte_once():
  expected = rates("glue") | rates("super_glue") | downstream.NUM_EXAMPLES
  expected |= {"glue_rte": 1_245, "super_glue_rte": 1_245}
  assert rates("downstream") == expected
