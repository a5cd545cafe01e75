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

"""T5's own gin files and configurations, and what they mean here."""

import mtf_switch  # isort: skip  # noqa: F401
import os
import pathlib
import re
import warnings

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import learning_rate_schedules
import pytest
import seqio

from mtf_switch import errors
import mtf_switch.modes  # noqa: F401  The parameters of all modes.
from mtf_switch.training import experiment
from mtf_switch.training import run
from mtf_switch.training import strict_gin
from mtf_switch.training import t5_configs
from mtf_switch.training import t5_counterparts
from mtf_switch.training import t5_names
from mtf_switch.training import t5_tasks
from mtf_switch.training import unread_bindings
from tests import gin_files
from tests import t5_operative_configs
from tests import toy_tasks  # noqa: F401  Registers its tasks.

T5, MTF = map(pathlib.Path, t5_configs.gin_directories())
T5_FILES = sorted(str(x.relative_to(T5)) for x in T5.rglob("*.gin"))
NO_TPU = "Experiment.mesh_shape = '', one device (there is no --tpu)"


def parse(files, *params, mode="train", on_tpu=False, prefixes=()):
  """Parses as run_switch does; returns the user's bindings and the notes."""
  gin_files.clear()
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    own = strict_gin.parse(
        files, params, [str(gin_files.ROOT)], prefixes, mode, on_tpu
    )
  notes = [str(x.message) for x in caught if x.category is errors.UserNotice]
  assert len(notes) <= 1
  return own, "".join(notes)


@pytest.fixture(name="file")
def make_file(tmp_path):
  """Writes a gin file and returns its name."""

  def write(text, name="operative_config.gin"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)

  return write


def value(name):
  return strict_gin.value(name)


REFUSED = {
    "infer_multi_file.gin": "matching reference '@decode_from_files'",
    "task_adapter.gin": "run.variable_filter = 'task_adapter': all variables",
}
NOT_OF_TRAINING = ("infer", "eval", "score", "perplexity")


def test_there_are_t5s_files():
  assert len(T5_FILES) >= 65
  assert "objectives/span.gin" in T5_FILES


@pytest.mark.parametrize("name", T5_FILES)
def test_t5s_files_are_read(name):
  mode = "eval" if name.startswith(NOT_OF_TRAINING) else "train"
  if name in REFUSED:
    with pytest.raises(errors.UserError) as error:
      parse([name], "MIXTURE_NAME = 'toy_copy'", mode=mode)
    assert REFUSED[name] in str(error.value)
    return
  own, _ = parse([name], "MIXTURE_NAME = 'toy_copy'", mode=mode)
  assert not own
  assert value("Experiment.task") == "toy_copy"


@pytest.mark.parametrize("params", [[], ["utils.run.train_steps = None"]])
def test_steps_that_only_t5_has_by_default(params):
  made = run.Run(
      gin_files=["dataset.gin", "models/bi_v1_small.gin"],
      gin_params=["MIXTURE_NAME = 'toy_copy'", *params],
      gin_directories=[str(gin_files.ROOT)],
      mode="train",
  )
  gin_files.clear()
  with pytest.raises(errors.UserError, match="run.train_steps is not set, and"):
    made.configure()
  gin_files.clear()
  made.configure(params=["run.train_steps = 5"])
  assert value("train.steps") == 5


def test_the_command_of_t5s_readme():
  parse(
      [
          "dataset.gin",
          "models/bi_v1_small.gin",
          "objectives/span.gin",
          "learning_rate_schedules/rsqrt_no_ramp_down.gin",
      ],
      "MIXTURE_NAME = 'toy_copy'",
      "utils.run.train_steps = 7",
      "utils.run.mesh_shape = 'model:1,batch:2'",
      "utils.run.batch_size = ('tokens_per_batch', 4096)",
  )
  assert value("Experiment.sequence_length") == {"inputs": 512, "targets": 114}
  assert value("Experiment.batch_size") == ("tokens_per_batch", 4096)
  assert value("Experiment.optimizer") is mtf.optimize.AdafactorOptimizer
  assert (
      value("Experiment.learning_rate_schedule")
      is learning_rate_schedules.learning_rate_schedule_noam
  )
  assert value("train.steps") == 7
  # Of the mesh that there is; T5 leaves out rules without an axis as well.
  assert value("Experiment.layout_rules") == (
      "batch:batch,d_ff:model,experts:batch,heads:model,vocab:model"
  )
  # Of Mesh TensorFlow's defaults, which T5's program reads first.
  assert value("%dropout_rate") == 0.1
  assert value("Unitransformer.d_model") == 512
  tokens = "utils.serialize_num_microbatches.tokens_per_microbatch_per_replica"
  assert value(tokens) == 2048


def test_the_models_of_this_project_keep_their_defaults():
  parse(
      ["dataset.gin", "models/t5_tiny.gin", "layouts/single.gin"],
      "MIXTURE_NAME = 'toy_copy'",
      "utils.run.sequence_length = 24",
  )
  assert value("%dropout_rate") == 0.0
  tokens = "utils.serialize_num_microbatches.tokens_per_microbatch_per_replica"
  assert value(tokens) is None
  assert value("Experiment.sequence_length") == 24


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            t5_operative_configs.OF_2020,
            {
                "Experiment.batch_size": ("tokens_per_batch", 128),
                "Experiment.layout_rules": "",
                "Experiment.mesh_shape": "",
                "Experiment.model_type": "bitransformer",
                "Experiment.sequence_length": {"inputs": 16, "targets": 32},
                "Experiment.task": "toy_copy",
                "evaluate.split": "validation",
                "pack_dataset.use_custom_ops": False,
                "train.keep_checkpoint_max": None,
                "train.save_checkpoints_steps": 2400,
                "train.steps": 1,
                "utils.get_variable_dtype.activation_dtype": "float32",
                "utils.get_variable_dtype.master_dtype": "float32",
            },
        ),
        (
            t5_operative_configs.OF_TODAY,
            {
                "Experiment.batch_size": 4,
                "Experiment.layout_rules": (
                    "batch:batch,d_ff:model,experts:batch,heads:model,"
                    "vocab:model"
                ),
                "Experiment.mesh_shape": "model:1,batch:1",
                "Experiment.sequence_length": {"inputs": 24, "targets": 32},
                "Experiment.task": "toy_copy",
                "pack_dataset.use_custom_ops": False,
                "train.keep_checkpoint_max": 3,
                "train.save_checkpoints_steps": 3,
                "train.steps": 1,
                "utils.get_variable_dtype.activation_dtype": "float32",
                "utils.get_variable_dtype.master_dtype": "float32",
            },
        ),
        (
            t5_operative_configs.EXPERTS + "MIXTURE_NAME = 'toy_lm'",
            {
                "MoE1D.moe_gating": "switch",
                "MoE1D.switch_jitter": 0.02,
                "MoE1D.switch_policy_train": "argmax",
                "MoE1D.switch_temperature": 2.0,
                "Experiment.model_type": "lm",
                "Experiment.batch_size": 4,
            },
        ),
    ],
    ids=["2020", "today", "experts"],
)
def test_configurations(file, text, expected):
  own, _ = parse([file(text)])
  assert {name: value(name) for name in expected} == expected
  unread_bindings.check_scopes(own)


def test_one_note_says_what_is_read_and_what_is_not(file):
  own, note = parse([file(t5_operative_configs.OF_2020)])
  assert not own  # A run wrote the file: nobody has to correct it.
  read, ignored = note.split("\n")
  assert read.startswith("T5's names, as they are read here: ")
  for pair in (
      "MIXTURE_NAME is Experiment.task;",
      "run.batch_size is Experiment.batch_size;",
      "run.train_steps is train.steps;",
      "run.save_checkpoints_steps is train.save_checkpoints_steps;",
      f"run.mesh_shape is {NO_TPU};",
      "run.mode is --mode;",
      "get_variable_dtype.activation_dtype is activation_dtype, by default "
      "bfloat16 on TPUs only;",
  ):
    assert pair in read
  assert "run.init_checkpoint" not in note  # None.
  assert ignored.strip().startswith("T5's names without a use here: ")
  for name in (
      "run.autostack,",
      "run.perplexity_eval_steps (whole splits are evaluated),",
      "run.vocabulary (a task has its vocabulary),",
      "pack_dataset.use_custom_ops (it needs tensor2tensor; packing works "
      "without),",
      "get_sentencepiece_model_path (it is gone),",
      "maybe_print_dataset (it is gone)",
  ):
    assert name in ignored


def test_without_t5s_names_there_is_no_note():
  _, note = parse(
      ["models/t5_tiny.gin", "runs/pretrain.gin", "layouts/single.gin"],
      "task = 'toy_copy'",
      "batch_size = 2",
      "sequence_length = 8",
      "train_steps = 1",
      "optimizer = None",
      "learning_rate_schedule = 0.1",
  )
  assert not note


def test_a_tpus_mesh(file):
  name = file(t5_operative_configs.OF_2020)
  parse([name], "tpu_mesh_shape.tpu_topology = 'v3-128'", on_tpu=True)
  assert str(value("Experiment.mesh_shape")) == "Shape[batch=128]"
  assert value("Experiment.layout_rules") == "batch:batch,experts:batch"
  parse(
      [name],
      "tpu_mesh_shape.tpu_topology = 'v3-128'",
      "tpu_mesh_shape.model_parallelism = 4",
      mode="plan",
  )
  assert str(value("Experiment.mesh_shape")) == "Shape[batch=32, model=4]"


BASE = ("MIXTURE_NAME = 'toy_copy'", "utils.run.sequence_length = 8")


@pytest.mark.parametrize(
    "files, params, name, expected",
    [
        # The user's own name of this project wins over T5's, in any order.
        (
            [],
            ["Experiment.batch_size = 3", "run.batch_size = 5"],
            "Experiment.batch_size",
            3,
        ),
        ([], ["run.batch_size = 5", "batch_size = 3"], "%batch_size", 3),
        (["own.gin"], ["train_steps = 3"], "train.steps", 3),
        # But what is given last, on the command line, over a file's.
        (["own.gin"], ["run.train_steps = 6"], "train.steps", 6),
        (["ours.gin"], ["run.train_steps = 6"], "train.steps", 6),
        # Of two files, the last.
        (["own.gin", "runs/finetune.gin"], [], "train.steps", 16000),
        (["runs/finetune.gin", "own.gin"], [], "train.steps", 4),
        (["own.gin", "layouts/single.gin"], [], "Experiment.mesh_shape", ""),
        # What the files of this project leave open is taken from T5's.
        (["own.gin", "runs/pretrain.gin"], [], "train.steps", 4),
        (["own.gin", "runs/evaluate.gin"], [], "Experiment.batch_size", 7),
        # The macro of T5's task, or another's.
        ([], ["task = 'toy_lm'"], "Experiment.task", "toy_lm"),
        (
            [],
            ["mesh_train_dataset_fn.mixture_or_task_name = 'toy_lm'"],
            "Experiment.task",
            "toy_lm",
        ),
        # Macros of T5's files.
        (
            ["own.gin"],
            [
                "tokens_per_batch = 64",
                "run.batch_size = ('a', %tokens_per_batch)",
            ],
            "Experiment.batch_size",
            ("a", 64),
        ),
        (["precision/bfloat16.gin"], [], "%activation_dtype", "bfloat16"),
        # In Python, None is no setting.
        (
            ["own.gin"],
            ["MtfModel.batch_size = 9", "MtfModel.mesh_devices = None"],
            "Experiment.batch_size",
            7,
        ),
        (
            [],
            ["import t5.models", "MtfModel.batch_size = 9"],
            "Experiment.batch_size",
            9,
        ),
    ],
)
def test_precedence(file, files, params, name, expected):
  texts = {
      "own.gin": (
          "run.batch_size = 7\nrun.train_steps = 4\n"
          "run.mesh_shape = 'batch:2'"
      ),
      "ours.gin": "train.steps = 2",
  }
  paths = [file(texts[x], x) if x in texts else x for x in files]
  parse(paths, *BASE, "pretrained_dir = 'a'", *params)
  assert value(name) == expected


def test_a_setting_of_the_users_that_wins_is_said():
  _, note = parse([], *BASE, "run.batch_size = 5", "batch_size = 3")
  assert "run.batch_size (batch_size is set)" in note


@pytest.mark.parametrize(
    "path, directory, step, steps",
    [
        ("/a/b/model.ckpt-1000", "/a/b", 1000, 50),
        ("gs://a/model.ckpt-1000.index", "gs://a", 1000, 50),
        ("model.ckpt-7", ".", 7, 1043),
        ("/a/b", "/a/b", None, 1050),
        ("/a/model.ckpt-2000", "/a", 2000, 1050),
    ],
)
def test_the_checkpoint_to_start_from(path, directory, step, steps):
  """T5 counts the steps of the checkpoint; fine-tuning here starts at 0."""
  _, note = parse(
      [],
      *BASE,
      "run.train_steps = 1050",
      f"run.init_checkpoint = {path!r}",
      mode="finetune",
  )
  assert value("finetune.pretrained_dir") == directory
  assert value("finetune.pretrained_step") == step
  assert value("train.steps") == steps
  told = f"train.steps = {steps}, those after step {step}" in note
  assert told == (steps != 1050)


@pytest.mark.parametrize(
    "mode, given, expected",
    [
        ("eval", "'all'", "all"),
        ("eval", "[3, 5]", [3, 5]),
        ("infer", "5", 5),
        ("infer", "'all'", None),  # It decodes with one.
        ("score", "[3, 5]", None),
    ],
)
def test_the_checkpoints_to_evaluate(mode, given, expected):
  parse([], *BASE, f"run.eval_checkpoint_step = {given}", mode=mode)
  assert value("%checkpoint_step") == expected


@pytest.mark.parametrize(
    "mode, split, expected",
    [
        ("train", "train", "validation"),  # The operative configuration's.
        ("train", "test", "test"),
        ("eval", "train", "train"),
    ],
)
def test_the_split(mode, split, expected):
  parse(
      [],
      *BASE,
      f"run.mode = {mode!r}",
      f"run.dataset_split = {split!r}",
      mode="eval",
  )
  assert value("evaluate.split") == expected
  assert value("perplexity_eval.split") == expected


@pytest.mark.parametrize(
    "mode, params, message",
    [
        (
            "train",
            ["run.mode = 'eval'"],
            "run.mode = 'eval' of T5's configuration is not --mode=train; give "
            "--mode=eval, or set run.mode = 'train'.",
        ),
        (
            "finetune",
            ["run.mode = 'infer'"],
            "run.mode = 'infer' of T5's configuration is not --mode=finetune; "
            "give --mode=infer, with --input_file and --output_file, or set "
            "run.mode = 'train'.",
        ),
        (
            "train",
            ["run.init_checkpoint = 'a/model.ckpt-3'"],
            "run.init_checkpoint = 'a/model.ckpt-3' starts from the weights of "
            "another run, which is --mode=finetune here; or set "
            "run.init_checkpoint = None.",
        ),
        (
            "train",
            ["run.ensemble_inputs = 2"],
            "run.ensemble_inputs = 2: there are no ensembles here; set it to "
            "None.",
        ),
        (
            "train",
            ["run.train_dataset_fn = @mesh_transformer.tsv_dataset_fn"],
            "run.train_dataset_fn = @mesh_transformer.tsv_dataset_fn: data "
            "comes from a task here; docs/data.md says how files become one.",
        ),
        (
            "train",
            ["MoE1D.moe_gating = 'rand'"],
            "MoE1D.moe_gating = 'rand' is not known; use one of "
            "expert_selection, ntlb, switch, switch_max, top_2, top_n.",
        ),
        (
            "train",
            ["run.batchsize = 2"],
            "--gin_param='run.batchsize = 2': Configurable 'run' doesn't have "
            "a parameter named 'batchsize'. Did you mean batch_size?",
        ),
        (
            "train",
            ["import t5.data.no_such_module"],
            "--gin_param='import t5.data.no_such_module': No module named "
            "'t5.data.no_such_module'.",
        ),
        (
            "train",
            ["run.vocabulary = @SentencePieceVocab()"],
            "--gin_param='run.vocabulary = @SentencePieceVocab()': No "
            "configurable matching reference '@SentencePieceVocab()'.",
        ),
    ],
)
def test_what_means_nothing_here_is_refused(mode, params, message):
  with pytest.raises(errors.UserError) as error:
    parse([], *BASE, *params, mode=mode)
  assert str(error.value) == message


@pytest.mark.parametrize(
    "mode, dtype", [("train", "float32"), ("eval", "bfloat16")]
)
def test_the_dtype_of_saved_weights(mode, dtype):
  """T5 of today saves bfloat16, which only reading its checkpoints needs."""
  name = "utils.get_variable_dtype.master_dtype"
  parse([], *BASE, f"{name} = 'bfloat16'", mode=mode)
  assert value(name) == dtype


def test_what_t5_leaves_open_is_asked_for():
  with pytest.raises(errors.UserError, match="^task must be set"):
    parse(["models/bi_v1.gin"])
  parse(["models/bi_v1.gin"], mode="inspect")  # --task may say it.
  assert value("Experiment.task") is None


def test_mistakes_are_named_with_their_files(file):
  name = file("run.batch_size = 2\ninclude 'dataset.gin'\nrun.modell = 3")
  with pytest.raises(errors.UserError, match=f"^{name}:3: .*'modell'"):
    parse([name])


def test_where_gin_files_are_looked_for(tmp_path, file, monkeypatch):
  """The working directory, this project's, T5's, and then the user's."""
  monkeypatch.chdir(tmp_path)
  file("MIXTURE_NAME = 'toy_lm'", "mine/mine.gin")
  file("MIXTURE_NAME = 'toy_lm'", "mine/dataset.gin")
  file("include 'mine.gin'", "includes.gin")
  prefixes = [str(tmp_path / "mine")]
  sizes = "run.sequence_length = 8"
  parse(["mine.gin"], sizes, prefixes=prefixes)
  assert value("Experiment.task") == "toy_lm"
  parse(["includes.gin"], sizes, prefixes=prefixes)
  assert value("Experiment.task") == "toy_lm"
  parse(["dataset.gin"], "MIXTURE_NAME = 'toy_copy'", prefixes=prefixes)
  assert value("run.train_dataset_fn") is not None  # T5's file.
  # Both have one of that name, which differ.
  parse(["objectives/lm.gin"], *BASE)
  assert value("%targets_length") == 512
  with pytest.raises(errors.UserError, match="^mine.gin: mine.gin is not"):
    parse(["mine.gin"])  # The last run's directories are forgotten.


def test_names_that_are_gone_leave_the_lines_in_place():
  text = """
import gin
import t5.data.sentencepiece_vocabulary
include 'a.gin'
run.vocabulary = \\
    @scope/t5.data.sentencepiece_vocabulary.SentencePieceVocabulary()
SentencePieceVocabulary.extra_ids = [
    1,
]
SentencePieceVocabulary:
  extra_ids = 3
scope/mesh_train_dataset_fn.mixture_name = %mixture_name
get_vocabulary:
  mixture_name = 'a'
MoE1D.moe_gating = "rand_1"
other.moe_gating = "rand_2"
"""
  expected = """
import gin

include 'x:a.gin'





scope/mesh_train_dataset_fn.mixture_or_task_name = %mixture_name
get_vocabulary:
  mixture_or_task_name = 'a'
MoE1D.moe_gating = "switch"
other.moe_gating = "rand_2"
"""
  read = t5_names.readable(text, lambda name: False, "x:")
  assert len(read.splitlines()) == len(text.splitlines())
  assert read.split() == expected.split()
  # A configurable of the user's may have such a name.
  read = t5_names.readable(text, lambda name: name != "gone", "")
  assert "SentencePieceVocabulary.extra_ids" in read
  assert t5_names.readable("a = (1", lambda name: False) == "a = (1"


@gin.configurable
def train_model(steps=1):
  return steps


def test_a_name_of_the_users_own_is_no_name_of_t5s():
  parse([], *BASE, "train_model.steps = 3")
  assert train_model() == 3


@pytest.mark.parametrize(
    "name, ours",
    [
        ("glue_v002_proportional", "glue"),
        ("glue_v001_proportional", "glue"),
        ("super_glue_v102_proportional", "super_glue"),
        ("glue_mrpc_v002", "glue_mrpc"),
        ("super_glue_wsc_v102_simple_train", "super_glue_wsc_train"),
        ("squad_v010_allanswers", "squad"),
        ("cnn_dailymail_v002", "cnn_dailymail"),
        ("c4_v220_span_corruption", "c4_span_corruption"),
        ("squad_v010", None),
        ("trivia_qa_v010", None),
        ("wmt_t2t_ende_v003", None),
        ("glue", None),
    ],
)
def test_tasks_by_t5s_names(name, ours):
  import tasks  # noqa: F401  pylint: disable=g-import-not-at-top

  assert t5_tasks.task_of_t5(name) == ours


def test_the_task_of_this_project_is_named():
  import tasks  # noqa: F401  pylint: disable=g-import-not-at-top

  assert "glue_v002_proportional" not in seqio.MixtureRegistry.names()
  _, note = parse(["dataset.gin"])
  assert value("Experiment.task") == "glue"
  assert (
      "MIXTURE_NAME is Experiment.task = 'glue', T5's 'glue_v002_proportional'"
  ) in note
  _, note = parse(["dataset.gin"], "MIXTURE_NAME = 'glue_rte_v002'")
  assert value("Experiment.task") == "glue_rte_v002"
  assert "T5's own; this program's is 'glue_rte'" in note
  with pytest.raises(errors.UserError) as error:
    experiment.find_task("super_glue_v102_proportional")
  assert "T5's mixture of that name is 'super_glue' here." in str(error.value)


def test_the_directories_are_those_of_the_packages():
  assert os.path.isfile(T5 / "dataset.gin")
  assert os.path.isfile(MTF / "defaults.gin")


def test_the_page_has_the_counterparts():
  page = (gin_files.ROOT.parent / "docs" / "coming_from_t5.md").read_text()
  rows = re.findall(r"^\| `run\.(\w+)` \| `(.*?)`", page, re.MULTILINE)
  assert dict(rows) == t5_counterparts.OF_RUN
