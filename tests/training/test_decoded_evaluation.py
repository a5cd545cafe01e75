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

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import json
import types

import gin
import numpy as np
import pytest
import seqio
from t5.evaluation import metrics

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.modes import finetune
from mtf_switch.training import decoded_evaluation
from mtf_switch.training import prediction
import tasks  # noqa: F401
from tests import official_zips
from tests import toy_tasks  # noqa: F401


class Notes:
  """Takes the place of the display."""

  def __init__(self):
    self.notes = []

  def status(self, text):
    """Shows nothing."""

  @contextlib.contextmanager
  def working(self, text):
    """Shows nothing."""
    yield

  def note(self, text):
    """Keeps a line."""
    self.notes.append(text)


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
  """Evaluates a split of official files with given predictions."""
  gin.parse_config(
      [
          f"super_glue.directory = '{tmp_path}'",
          f"glue.directory = '{tmp_path}'",
          "tasks.vocabulary.name = 'bytes'",
      ]
  )

  def run(task, split, texts):
    provider = seqio.get_mixture_or_task(task)
    vocabulary = provider.output_features["inputs"].vocabulary
    experiment = types.SimpleNamespace(
        task=task,
        provider=provider,
        lengths={"inputs": 256, "targets": 16},
        model_type="bitransformer",
        vocabularies=(vocabulary, vocabulary),
    )
    display = Notes()
    monkeypatch.setattr(prediction, "decode", lambda *_: texts)
    fake_run = types.SimpleNamespace(
        experiment=experiment, model_dir=str(tmp_path / "run")
    )
    evaluation = decoded_evaluation.Evaluation(fake_run, split, display)
    evaluation.evaluate(7)
    directory = tmp_path / "run" / f"{split}_eval"
    file = directory / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    predictions = (directory / f"{task}_7_predictions").read_text()
    return (
        evaluation,
        display.notes,
        [json.loads(line) for line in lines],
        predictions.splitlines(),
    )

  return run


@pytest.mark.parametrize("name", ["copa", "multirc", "record", "rte"])
def test_a_split_without_labels_gets_predictions_and_no_score(
    tmp_path, evaluate, name
):
  """Its targets and all wrong predictions are both -1, which are equal."""
  official_zips.write_super_glue(tmp_path, name)
  number = {"multirc": 2}.get(name, 1)
  evaluation, notes, lines, predictions = evaluate(
      f"super_glue_{name}", "test", ["rubbish"] * number
  )
  assert not lines
  assert len(predictions) == number
  (note,) = notes
  path = f"{evaluation.directory}/super_glue_{name}_7_predictions"
  assert note == (
      f"step 7  super_glue_{name}  no labels, hence no scores; the "
      f"predictions are in {path}"
  )
  assert not evaluation.scored_names
  assert evaluation.task_names == [f"super_glue_{name}"]


@pytest.mark.parametrize(
    "task, name", [("super_glue_wsc_eval", "wsc.fixed"), ("glue_stsb", "stsb")]
)
def test_labels_without_a_text_are_missed_as_well(
    tmp_path, evaluate, task, name
):
  if name == "stsb":
    official_zips.write_glue(tmp_path, name, "test")
  else:
    official_zips.write_super_glue(tmp_path, name)
  number = 2 if name == "stsb" else 1
  _, notes, lines, _ = evaluate(task, "test", ["Bea"] * number)
  assert not lines and "no labels, hence no scores" in notes[0]


@pytest.mark.parametrize("task", ["glue_ax", "super_glue_axb"])
def test_a_task_for_a_server_gets_predictions(tmp_path, evaluate, task):
  """It has a test split alone, and no metrics."""
  number = 1
  if task == "glue_ax":
    official_zips.write_glue(tmp_path, "ax", "test")
    number = len(official_zips.GLUE["ax"].label_classes)
  else:
    official_zips.write_super_glue(tmp_path, "axb")
  evaluation, notes, lines, predictions = evaluate(
      task, "test", ["entailment"] * number
  )
  assert not lines and not evaluation.scored_names
  assert len(predictions) == number
  assert "no metrics, hence no scores; the predictions are in" in notes[0]
  with pytest.raises(errors.UserError, match="'validation' split; it has test"):
    evaluate(task, "validation", [])


def test_a_split_with_labels_gets_its_score(tmp_path, evaluate):
  official_zips.write_super_glue(tmp_path, "rte")
  evaluation, _, lines, _ = evaluate(
      "super_glue_rte", "validation", ["not_entailment", "rubbish"]
  )
  assert lines == [{"step": 7, "task": "super_glue_rte", "accuracy": 50}]
  assert evaluation.scored_names == ["super_glue_rte"]


def test_examples_without_a_label_do_not_count(tmp_path, evaluate):
  official_zips.write_super_glue(tmp_path, "rte")
  lines = [*official_zips.labelled_lines("rte"), official_zips.LINES["rte"]]
  path = tmp_path / "RTE" / "test.jsonl"
  path.write_text("\n".join(map(json.dumps, lines)))
  _, notes, lines, _ = evaluate(
      "super_glue_rte", "test", ["not_entailment", "rubbish", "rubbish"]
  )
  assert lines == [{"step": 7, "task": "super_glue_rte", "accuracy": 50}]
  assert "1 of 3 examples have no label and do not count" in notes[0]


def test_pairs_with_several_answers_and_without_any(tmp_path, evaluate):
  gin.parse_config(f"""
      pairs_files.validation = "{tmp_path}/validation.jsonl"
      pairs_files.test = "{tmp_path}/test.jsonl"
      pairs_files.metrics = ["exact_match", "squad"]
      """)
  (tmp_path / "validation.jsonl").write_text(
      '{"inputs": "a", "targets": ["b", "c"]}\n{"inputs": "d", "targets": "e"}'
  )
  (tmp_path / "test.jsonl").write_text('{"inputs": "a"}')
  _, _, lines, predictions = evaluate(
      "pairs_files", "validation", ["c", "The e\nf"]
  )
  assert lines == [
      {
          "step": 7,
          "task": "pairs_files",
          "exact_match": 50,
          "em": 50,
          "f1": pytest.approx(100 * (1 + 2 / 3) / 2),
      }
  ]
  assert predictions == ["c", "The e f"]
  _, notes, lines, _ = evaluate("pairs_files", "test", ["b"])
  assert not lines and "no labels, hence no scores" in notes[0]


@pytest.mark.parametrize(
    "texts, targets, expected",
    [
        (["<unk>", "<unk>"], [-1, -1], [False, False]),
        (["-1", "1"], [-1, 1], [True, True]),  # A class of the user's own.
        (["-1.0", "-1.0"], [-1.0, -1.0], [False, False]),
        (["", ""], ["", ""], [False, False]),
        (["", "a"], ["", "a"], [True, True]),
        (["a", "b"], [[], ["b"]], [True, True]),
        (["", ""], [[], []], [False, False]),
        (["x"], [np.array([0.5])], [True]),
        (["x"], [{"value": -1, "group": "1"}], [False]),
        (["x"], [{"answers": [], "context": "c"}], [False]),
        (["x"], [{"own": 3}], [True]),
    ],
)
def test_which_targets_are_labels(texts, targets, expected):
  assert decoded_evaluation.labelled(texts, targets) == expected


def test_metrics_that_draw_repeat():
  """T5's ROUGE does, which tasks outside of this project may have."""
  expected = np.random.RandomState(3).uniform()
  np.random.seed(3)
  scores = []
  for _ in range(2):
    with decoded_evaluation._repeatable_draws():
      scores.append(metrics.rouge(["a b", "c d e"] * 5, ["a c", "c d"] * 5))
  assert scores[0] == scores[1]
  assert np.random.uniform() == expected  # Others draw as before.


def test_fine_tuning_needs_labels(monkeypatch):
  unlabelled = types.SimpleNamespace(task_names=["a"], scored_names=[])
  monkeypatch.setattr(decoded_evaluation, "Evaluation", lambda *_: unlabelled)
  run = types.SimpleNamespace(experiment=types.SimpleNamespace(task="a"))
  with pytest.raises(errors.UserError) as raised:
    finetune.make_evaluate(run, "test", Notes())
  assert str(raised.value) == (
      "the 'test' split of 'a' has no labels to choose the best checkpoint by; "
      "set train.eval_split to one that has."
  )


def test_steps_that_are_made_again_are_evaluated_again(tmp_path, monkeypatch):
  path = tmp_path / "metrics.jsonl"

  def evaluate_missing(step):
    record = {"step": step, "task": "toy_letters", "share_of_letters": step}
    files.append_record(str(path), record)

  fake = types.SimpleNamespace(
      directory=str(tmp_path),
      task_names=["toy_letters"],
      scored_names=["toy_letters"],
      evaluate_missing=evaluate_missing,
  )
  monkeypatch.setattr(decoded_evaluation, "Evaluation", lambda *_: fake)
  run = types.SimpleNamespace(
      experiment=types.SimpleNamespace(task="toy_letters"),
      model_dir=str(tmp_path),
  )
  evaluate, scores, drop_after = finetune.make_evaluate(run, "test", Notes())
  evaluate(2)
  evaluate(4)
  assert scores() == {"toy_letters": {2: 2.0, 4: 4.0}}
  with pytest.warns(errors.UserNotice, match="1 line later than step 2 moved"):
    drop_after(2)  # A batch is skipped, and step 4 made again.
  assert scores() == {"toy_letters": {2: 2.0}}


@pytest.mark.parametrize("values", [3, None, {"score": None}, {"score": "3"}])
def test_a_metric_that_returns_no_numbers_is_refused(values):
  def metric(targets, predictions):
    return values

  with pytest.raises(errors.UserError) as error:
    decoded_evaluation._numbers(metric, metric([], []))
  assert str(error.value) == (
      f"the metric metric returned {values!r}; it must return a dictionary of "
      "numbers by their names."
  )


def test_a_metric_may_return_numbers_of_numpy():
  values = {"a": np.float32(1), "b": np.int64(2), "c": float("nan"), "d": 3}
  assert decoded_evaluation._numbers(None, values) is values
