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

"""Fine-tuning: its files, by hand, and a run from start to end."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import json
import os
import shutil
import signal
import time

import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch.modes import finetune
from mtf_switch.reproduction import outcomes
from mtf_switch.reproduction import runs
from mtf_switch.training import checkpoints
from tests import small_model
from tests.reproduction import made_questions

COMMON = f"""
sequence_length = {{"inputs": 24, "targets": 16}}
batch_size = 4
{small_model.GIN}
constant_learning_rate.learning_rate = 0.03
"""
PRETRAIN = f"""
include "models/switch_tiny.gin"
include "layouts/single.gin"
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"
{COMMON}
task = "toy_copy"
train_steps = 4
train.eval_every = 2
"""
FINETUNE = f"""
include "models/switch_tiny.gin"
include "layouts/single.gin"
include "runs/finetune.gin"
{COMMON}
task = "toy_both_letters"
pretrained_dir = "pretrained"
train_steps = 6
train.eval_every = 2
train.metrics_every = 1
train.keep_checkpoint_max = 1
train.keep_best = 2
"""

# A dense model, on two cores.
DISTILL = """
include "models/t5_tiny.gin"
include "layouts/expert_data.gin"
include "schedules/constant_0_001.gin"
include "runs/distill.gin"
sequence_length = {"inputs": 24, "targets": 16}
batch_size = 4
d_model = 16
d_ff = 32
d_kv = 8
num_heads = 2
num_layers = 1
data_parallelism = 2
task = "toy_both_letters"
teacher_dir = "straight"
distill.initialize_experts = "most_used"
distill.evaluation = "decoding"
train_steps = 1
train.eval_every = 1
train.metrics_every = 1
"""

LM_MODEL = f"""
include "models/switch_lm_tiny.gin"
include "objectives/lm.gin"
{small_model.SIZES}
targets_length = 16
batch_size = 4
task = "toy_lm"
mesh_shape = "model:1,batch:1"
layout_rules = (
    "ensemble:ensemble,batch:batch,d_ff:model,heads:model,vocab:model,"
    "experts:batch"
)
"""
LM = {
    "train": (
        f"""
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"
{LM_MODEL}
train_steps = 2
train.eval_every = 2
"""
    ),
    "finetune": (
        f"""
include "runs/finetune.gin"
{LM_MODEL}
train_steps = 2
train.eval_every = 2
pretrained_dir = "lm"
"""
    ),
    "infer": (
        f"""
include "runs/evaluate.gin"
include "runs/sample_decode.gin"
{LM_MODEL}
Unitransformer.sample_autoregressive.sampling_keep_top_k = 3
Unitransformer.sample_autoregressive.max_steps = 5
"""
    ),
}

TASKS = ("toy_letters", "toy_srettel")
TOYS = "--module_import=tests.toy_tasks"


def entry(task, metric, step, value):
  return dict(task=task, metric=metric, step=step, value=value)


def test_best_scores_by_hand():
  metrics = [
      {"step": 2, "task": "a", "accuracy": 30.0},
      {"step": 2, "task": "b", "f1": 40.0, "accuracy": 60.0},
      {"step": 4, "task": "a", "accuracy": 50.0},
      {"step": 4, "task": "b", "f1": 20.0, "accuracy": 30.0},
      {"step": 6, "task": "b", "f1": 40.0, "accuracy": 60.0},
      # Another evaluation of a step, with beam search for example.
      {"step": 4, "task": "a", "accuracy": 90.0},
  ]
  # Means: (30 + 50) / 2 at step 2, (50 + 25) / 2 at step 4; at step 6 a task
  # is missing.
  assert finetune.best_scores(metrics, {"both": ["a", "b"]}) == [
      entry("a", "accuracy", 4, 50.0),
      entry("b", "mean(accuracy, f1)", 2, 50.0),
      entry("both", "mean", 2, 40.0),
  ]
  # A constant prediction has no correlation, and a text is no score.
  assert finetune.best_scores(
      [{"step": 2, "task": "a", "pearson": None, "remark": "x"}], {}
  ) == [entry("a", "pearson", 2, 0.0)]
  assert finetune.best_scores([], {"both": ["a", "b"]}) == []


def record(step, kind, task, value):
  return dict(step=step, kind=kind, task=task, neg_log_perplexity=value)


@pytest.mark.parametrize(
    "metrics, expected",
    [
        ([], None),
        ([record(3, "train", "c4", -2.0)], None),
        # The last one until step 10; other tasks do not count.
        (
            [
                record(3, "train", "c4", -5.0),
                record(5, "eval", "c4", -4.0),
                record(8, "eval", "c4", -3.0),
                record(9, "eval", "other", -1.0),
                record(11, "eval", "c4", -2.0),
            ],
            -3.0,
        ),
        # A value that was no number does not count, nor do lines of no kind.
        (
            [
                record(5, "eval", "c4", -4.0),
                record(8, "eval", "c4", None),
                dict(step=8, task="c4"),
            ],
            -4.0,
        ),
        # A mixture is trained, its tasks are evaluated, one of them twice.
        (
            [
                record(3, "train", "mixture", -5.0),
                record(8, "eval", "a", -3.0),
                record(8, "eval", "b", -4.0),
                record(8, "eval", "b", -4.0),
            ],
            -3.5,
        ),
    ],
)
def test_upstream_neg_log_perplexity_by_hand(metrics, expected):
  actual = finetune.upstream_neg_log_perplexity(metrics, step=10)
  assert actual == expected


# Runs from start to end.


def arguments(mode, model_dir):
  return [
      f"--mode={mode}",
      f"--model_dir={model_dir}",
      f"--gin_file={mode}.gin",
      TOYS,
  ]


@pytest.fixture(scope="module")
def directory(server, tmp_path_factory):
  """A directory with a pre-trained model."""
  directory = tmp_path_factory.mktemp("user")
  (directory / "train.gin").write_text(PRETRAIN)
  (directory / "finetune.gin").write_text(FINETUNE)
  result = server.run(arguments("train", "pretrained"), directory)
  assert result.returncode == 0, result.stderr
  return directory


@pytest.fixture(scope="module")
def straight(server, directory):
  """A fine-tuning that nothing interrupts."""
  return server.run(arguments("finetune", "straight"), directory)


def read(path):
  return json.loads(path.read_text())


def trained_records(model_dir):
  """The "train" lines of a run."""
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  return [x for x in map(json.loads, lines) if x["kind"] == "train"]


def evaluations(model_dir):
  path = model_dir / "validation_eval" / "metrics.jsonl"
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_fine_tuning_leaves_what_it_promises(straight, directory):
  assert straight.returncode == 0, straight.stderr
  notes = straight.stderr.splitlines()
  (note,) = (line for line in notes if line.startswith("initial weights"))
  assert note == (
      "initial weights from pretrained/model.ckpt-4: 22 of 22 variables taken, "
      "0 of another shape, 0 not in the checkpoint, 0 only there; see "
      "initialization.json"
  )
  model_dir = directory / "straight"
  report = read(model_dir / "initialization.json")
  assert list(report) == [
      "matched", "shape_differs", "not_in_checkpoint", "not_in_model"
  ]  # fmt: skip
  assert len(report["matched"]) == 22
  *_, upstream = map(
      json.loads,
      (directory / "pretrained" / "metrics.jsonl").read_text().splitlines(),
  )
  assert (upstream["kind"], upstream["step"]) == ("eval", 4)
  assert read(model_dir / "pretrained.json") == {
      "pretrained_dir": "pretrained",
      "step": 4,
      "neg_log_perplexity": upstream["neg_log_perplexity"],
      "sparse": True,
  }
  config = (model_dir / "operative_config.gin").read_text()
  assert "expert_dropout_rate = 0.4" in config
  assert "DenseReluDense.dropout_rate" not in config  # Not in this model.
  # The counter and the optimizer started afresh.
  records = trained_records(model_dir)
  assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]


def test_runs_leave_what_their_records_are_made_of(
    straight, directory, tmp_path
):
  """For --mode=reproduce, which finds them in its own directory."""
  assert straight.returncode == 0, straight.stderr

  def record_of(card, name):
    (tmp_path / "runs" / card).mkdir(parents=True)
    (tmp_path / "runs" / card / "0").symlink_to(directory / name)
    return outcomes.record_of(
        runs.Run(card, 0),
        made_questions.CARDS,
        str(tmp_path),
        gin="",
        configuration="",
        started="",
        num_cores=1,
        failure=None,
    )

  pretrained = record_of("switch", "pretrained")
  assert [x["step"] for x in pretrained.evaluations] == [2, 4]
  assert all(x["neg_log_perplexity"] < 0 for x in pretrained.evaluations)
  assert pretrained.figures["parameters"] > 1000
  assert pretrained.seconds > 0 and pretrained.versions["tensorflow"]
  tuned = record_of("tuned", "straight")
  best = read(directory / "straight" / "best.json")
  assert {task: x["value"] for task, x in tuned.scores.items()} == {
      x["task"]: x["value"] for x in best
  }
  figures = tuned.figures
  assert figures["steps"] == 6 and figures["tokens_per_second"] > 0
  assert figures["load_max"] >= 1 and 0 <= figures["fraction_dropped"] <= 1


def test_weights_are_initialized_before_the_first_checkpoint_only(
    straight, directory, tmp_path
):
  """Each session of a run, of which a block has one, makes its hooks anew."""
  assert straight.returncode == 0, straight.stderr
  pretrained = str(directory / "pretrained")

  def initialize(model_dir):
    console = rich.console.Console(file=io.StringIO())
    with tf.Graph().as_default():
      for name, shape in tf.train.list_variables(f"{pretrained}/model.ckpt-4"):
        if not name.startswith("global_step"):
          tf.get_variable(name, shape)
      hooks = finetune._initialize(str(model_dir), pretrained, 4, console, None)
    return len(hooks), console.file.getvalue()

  number, printed = initialize(tmp_path)
  assert number == 1 and printed.startswith("initial weights from ")
  assert (tmp_path / "pretrained.json").exists()
  before = (directory / "straight" / "initialization.json").stat().st_mtime_ns
  assert initialize(directory / "straight") == (0, "")
  after = (directory / "straight" / "initialization.json").stat().st_mtime_ns
  assert after == before


def test_best_scores_are_those_of_the_evaluations(straight, directory):
  assert straight.returncode == 0, straight.stderr
  records = evaluations(directory / "straight")
  assert [(r["step"], r["task"]) for r in records] == [
      (step, task) for step in (2, 4, 6) for task in TASKS
  ]
  values = {(r["step"], r["task"]): r["share_of_letters"] for r in records}
  curves = {task: [values[step, task] for step in (2, 4, 6)] for task in TASKS}
  curves["toy_both_letters"] = [
      (a + b) / 2 for a, b in zip(*(curves[task] for task in TASKS))
  ]
  best = {x["task"]: x for x in read(directory / "straight" / "best.json")}
  assert set(best) == set(curves)
  kept = {6}
  for task, curve in curves.items():
    metric = "mean" if task == "toy_both_letters" else "share_of_letters"
    step = 2 + 2 * curve.index(max(curve))
    assert best[task] == entry(task, metric, step, max(curve))
    ranked = sorted([(-value, 2 + 2 * i) for i, value in enumerate(curve)])
    kept |= {step for _, step in ranked[:2]}
  # The latest checkpoint, and the best two of each curve.
  assert set(checkpoints.steps(str(directory / "straight"))) == kept


def test_interrupted_fine_tuning_goes_on(server, straight, directory):
  """From its own checkpoint, and no evaluation is lost or made twice."""
  assert straight.returncode == 0, straight.stderr
  model_dir = directory / "interrupted"
  pid = server.start(arguments("finetune", "interrupted"), directory)
  metrics = model_dir / "metrics.jsonl"
  while not (metrics.exists() and '"step": 5,' in metrics.read_text()):
    os.kill(pid, 0)  # Fails where the program has ended too early.
    time.sleep(0.001)
  os.kill(pid, signal.SIGKILL)
  assert server.wait().returncode == -signal.SIGKILL
  # As if it had been killed before the last line of step 4.
  lines = evaluations(model_dir)
  assert len(lines) == 4
  (model_dir / "validation_eval" / "metrics.jsonl").write_text(
      "".join(json.dumps(line) + "\n" for line in lines[:-1])
  )
  (directory / "pretrained").rename(directory / "moved")
  try:
    resumed = server.run(arguments("finetune", "interrupted"), directory)
  finally:
    (directory / "moved").rename(directory / "pretrained")
  assert resumed.returncode == 0, resumed.stderr
  assert "building the model, to train from step 4" in resumed.stderr
  assert evaluations(model_dir) == evaluations(directory / "straight")
  for name in ("best.json", "pretrained.json", "initialization.json"):
    assert read(model_dir / name) == read(directory / "straight" / name)


def test_a_fine_tuned_model_teaches_on_its_tasks(server, straight, directory):
  """With several processes, too."""
  assert straight.returncode == 0, straight.stderr
  (directory / "distill.gin").write_text(DISTILL)
  ended = server.run(
      [*arguments("distill", "student"), "--mesh_hosts=2"], directory
  )
  assert ended.returncode == 0, ended.stderr
  assert "note: the layout splits the teacher's experts" in ended.stderr
  model_dir = directory / "student"
  found = read(model_dir / "initialization.json")
  assert len(found["of_experts"]) == 2  # The decoders' layers differ.
  (record,) = trained_records(model_dir)
  of_teacher = record["distillation"]
  # The student has less than the teacher, of which it has the embedding.
  assert of_teacher["teacher_cross_entropy"] < record["cross_entropy"]
  assert [x["task"] for x in evaluations(model_dir)] == list(TASKS)
  best = {x["task"]: x["step"] for x in read(model_dir / "best.json")}
  assert best == dict.fromkeys([*TASKS, "toy_both_letters"], 1)
  saved = dict(tf.train.list_variables(f"{model_dir}/model.ckpt-1"))
  assert not any("teacher" in name for name in saved)


@pytest.mark.parametrize(
    "model_dir, params, message",
    [
        (
            "new",
            ["pretrained_dir = 'empty'"],
            "there is no checkpoint in 'empty'; train first, or correct "
            "finetune.pretrained_dir.",
        ),
        (
            "new",
            ["pretrained_step = 3"],
            "there is no checkpoint of step 3 in 'pretrained', only of 2, 4.",
        ),
        (
            "pretrained",
            [],
            "'pretrained' has the checkpoints of a run that is no fine-tuning; "
            "give --model_dir a new directory.",
        ),
    ],
)
def test_mistakes(server, directory, model_dir, params, message):
  params = [f"--gin_param={param}" for param in params]
  result = server.run([*arguments("finetune", model_dir), *params], directory)
  assert result.returncode == 1
  assert result.stderr.splitlines()[-1] == f"run_switch: {message}"


def test_another_vocabulary_is_refused(server, directory):
  shutil.copytree(directory / "pretrained", directory / "other")
  record = read(directory / "other" / "vocabulary.json")
  record["inputs"]["size"] += 1
  (directory / "other" / "vocabulary.json").write_text(json.dumps(record))
  # TensorFlow then finds no checkpoint.
  (directory / "other" / "checkpoint").unlink()
  result = server.run(
      [
          *arguments("finetune", "new"),
          "--gin_param=pretrained_dir = 'other'",
      ],
      directory,
  )
  assert result.returncode == 1
  *_, last = result.stderr.splitlines()
  assert last.startswith(
      "run_switch: the checkpoints in 'other' are of a Byte vocabulary of 260 "
  )


def test_an_lm(server, directory):
  """A language model is trained, fine-tuned and continues a file of texts."""
  for mode, text in LM.items():
    (directory / f"lm_{mode}.gin").write_text(text)

  def run(mode, model_dir, *flags):
    gin_file = f"--gin_file=lm_{mode}.gin"
    result = server.run(
        [*arguments(mode, model_dir)[:2], gin_file, TOYS, *flags], directory
    )
    assert result.returncode == 0, result.stderr
    return result.stderr

  assert "step 2  toy_lm  neg_log_perplexity -" in run("train", "lm")
  shown = run("finetune", "tuned_lm")
  assert "0 of another shape, 0 not in the checkpoint, 0 only there" in shown
  assert "step 2  toy_lm  neg_log_perplexity -" in shown
  # One that is too long, none, and one of the model's length.
  prompts = ["the switch sends each token", "", "0123456789abcdef", "a"]
  (directory / "prompts").write_text("\n".join(prompts))
  shown = run("infer", "tuned_lm", "--input_file=prompts", "--output_file=out")
  assert "1 of 3 inputs is longer than the 16 tokens of" in shown
  lines = (directory / "out").read_text().splitlines()
  assert len(lines) == 4 and not lines[1]


def test_comparison_of_the_run(server, straight, directory):
  assert straight.returncode == 0, straight.stderr
  result = server.run(
      [
          "--mode=compare_downstream",
          "--compare_dir=straight",
          "--output_dir=compared",
      ],
      directory,
  )
  assert result.returncode == 0, result.stderr
  assert result.stderr.splitlines()[-1] == (
      "1 points: compared/downstream.csv; none has a score and a perplexity, "
      "so there is no picture"
  )
  assert not (directory / "compared" / "downstream.png").exists()


def test_pairs_in_files_of_ones_own(server, directory, tmp_path):
  """With a part of them held out, a broken row and a line break."""
  (tmp_path / "pretrained").mkdir()
  for file in (directory / "pretrained").glob("*ckpt*"):
    shutil.copy(file, tmp_path / "pretrained")  # Without its vocabulary.json.
  rows = [f'"row {n}, of ""{n}""","line\n{n % 3}"' for n in range(40)]
  text = "\n".join(["text,answer", *rows, "a,b,c"])
  (tmp_path / "pairs.csv").write_text(text)
  (tmp_path / "finetune.gin").write_text(
      FINETUNE.replace("toy_both_letters", "pairs_files").replace("= 6", "= 2")
      + """
pairs_files.train = "pairs.csv"
pairs_files.validation_share = 0.25
pairs_files.inputs = "what is in {text}?"
pairs_files.targets = "answer"
pairs_files.metrics = ["accuracy", "rouge"]
vocabulary.name = "bytes"
"""
  )
  result = server.run(arguments("finetune", "own"), tmp_path)
  assert result.returncode == 0, result.stderr
  assert result.stderr.splitlines()[-1] == (
      "note: 1 broken record was skipped (pairs.csv, line 82: 3 columns where "
      "the header has 2)."
  )
  (record,) = evaluations(tmp_path / "own")
  assert list(record) == [
      "step", "task", "accuracy", "rouge1", "rouge2", "rougeLsum"
  ]  # fmt: skip
  lines = tmp_path / "own" / "validation_eval" / "pairs_files_inputs"
  questions = lines.read_text().splitlines()
  assert 3 <= len(questions) <= 17
  assert questions[0].startswith("what is in row ")


@pytest.mark.real_data
def test_super_glue_from_the_official_files(server, tmp_path, real_data):
  """Pre-trained on C4, then fine-tuned on all of CB and COPA."""
  (tmp_path / "cb_and_copa.py").write_text("""
import seqio
import tasks

seqio.MixtureRegistry.add(
    "cb_and_copa", ["super_glue_cb", "super_glue_copa"], default_rate=1.0
)
""")
  real = f"""
vocabulary.path = "{real_data}/vocab/t5.spiece.model"
c4.files = "{real_data}/c4/c4-train.*.json"
super_glue.directory = "{real_data}/superglue"
sequence_length = {{"inputs": 128, "targets": 32}}
batch_size = 8
"""
  (tmp_path / "train.gin").write_text(
      PRETRAIN.replace("toy_copy", "c4_span_corruption").replace(
          "train.eval_every = 2", real
      )
  )
  (tmp_path / "finetune.gin").write_text(
      FINETUNE.replace("toy_both_letters", "cb_and_copa").replace(
          "train_steps = 6", "train_steps = 4" + real
      )
      + "Bitransformer.decode.max_decode_length = 8\n"
  )
  for mode, model_dir in (("train", "pretrained"), ("finetune", "finetuned")):
    result = server.run(
        [*arguments(mode, model_dir), "--module_import=cb_and_copa"], tmp_path
    )
    assert result.returncode == 0, result.stderr
  model_dir = tmp_path / "finetuned"
  for task, count in (("super_glue_cb", 56), ("super_glue_copa", 100)):
    for name in ("inputs", "targets", "4_predictions"):
      path = model_dir / "validation_eval" / f"{task}_{name}"
      assert len(path.read_text().splitlines()) == count
  best = {x["task"]: x for x in read(model_dir / "best.json")}
  assert {x["task"] for x in evaluations(model_dir)} == set(best) - {
      "cb_and_copa"
  }
  assert best["super_glue_copa"]["metric"] == "accuracy"
  assert best["super_glue_cb"]["metric"].startswith("mean(")
  assert best["cb_and_copa"]["metric"] == "mean"
  assert all(0 <= x["value"] <= 100 for x in best.values())
  upstream = read(model_dir / "pretrained.json")
  assert upstream["neg_log_perplexity"] is None and upstream["step"] == 4
