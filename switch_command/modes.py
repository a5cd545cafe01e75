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

"""The modes of the program."""

from collections.abc import Sequence
import dataclasses

from absl import flags

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Mode:
  """A mode of the program.

  Attributes:
    function: "module.function" in mtf_switch.modes, to be called with a Run, a
      console and the flags.
    does: its purpose, for --help.
    flags: its flags, beside those of all modes.
    needs: those of them that are required.
    has_model_dir: whether it needs a model's directory.
    instead_of_model_dir: flags that take the place of the model's directory.
    reads_model_dirs: whether it reads those of one or more models instead, and
      is called with model_dirs.
    reads_gin: whether it reads the gin files itself, perhaps several times.
    starts_programs: whether it does its work by starting this program again,
      and is called with a processes.Program instead of a Run.
    looks_first: whether it looks at the installation before anything is loaded,
      and is called with a doctor.Installation alone.
    compares: whether it takes a second model's directory, other_model_dir.
  """

  function: str
  does: str
  flags: Sequence[str] = ()
  needs: Sequence[str] = ()
  has_model_dir: bool = True
  instead_of_model_dir: Sequence[str] = ()
  reads_model_dirs: bool = False
  reads_gin: bool = False
  starts_programs: bool = False
  looks_first: bool = False
  compares: bool = False

  @property
  def needs_model_dir(self) -> bool:
    """Whether it needs a model's directory with the flags that are given."""
    others = self.instead_of_model_dir
    return self.has_model_dir and not any(FLAGS[x].present for x in others)


MODES = {
    "train": Mode("train.train", "train a model"),
    "finetune": Mode("finetune.finetune", "train on from a pre-trained model"),
    "distill": Mode(
        "distill.distill", "train a student with a trained model as its teacher"
    ),
    "teach": Mode(
        "teach.teach",
        "ask a trained model once, to teach many students",
        flags=("output_dir",),
        needs=("output_dir",),
    ),
    "upcycle": Mode(
        "upcycle.upcycle",
        "make a Switch model of a dense one's weights",
    ),
    "prune": Mode(
        "prune.prune",
        "make a model with fewer experts, or none, of a Switch model",
        flags=("output_dir",),
        needs=("output_dir",),
    ),
    "eval": Mode(
        "decode.evaluate",
        "decode and apply the task's metrics",
        flags=("watch", "watch_minutes"),
    ),
    "perplexity_eval": Mode(
        "perplexity.perplexity_eval",
        "cross-entropy over a whole split",
        flags=("watch", "watch_minutes"),
    ),
    "infer": Mode(
        "decode.infer",
        "decode a file",
        flags=("input_file", "output_file"),
        needs=("input_file", "output_file"),
    ),
    "score": Mode(
        "decode.score",
        "the log-probabilities of a file's targets",
        flags=("input_file", "output_file"),
        needs=("input_file", "output_file"),
    ),
    "export": Mode(
        "export.export",
        "write SavedModels that decode and score without this program",
        flags=("output_dir",),
        needs=("output_dir",),
    ),
    "interactive": Mode(
        "interactive.interactive",
        "answer what is typed, or comes through a pipe",
    ),
    "routing": Mode(
        "routing.routing",
        "show which experts tokens go to",
        flags=("input_file", "task", "split", "num_examples", "output_dir"),
        needs=("output_dir",),
        compares=True,
    ),
    "convert": Mode(
        "convert.convert",
        "bring weights here from Hugging Face or T5X, or take them to the "
        "former",
        flags=("huggingface_dir", "t5x_dir", "output_dir"),
        needs=("output_dir",),
        instead_of_model_dir=("huggingface_dir", "t5x_dir"),
    ),
    "serve": Mode(
        "serve.serve",
        "serve an exported model over HTTP",
        flags=("saved_model", "host", "port"),
        needs=("saved_model",),
        has_model_dir=False,
    ),
    "plan": Mode(
        "plan.plan",
        "what a training step needs, before it runs",
        flags=(
            "plan_chip",
            "plan_chips_file",
            "plan_compare",
            "plan_format",
            "plan_picture",
            "plan_table9",
        ),
        has_model_dir=False,
        reads_gin=True,
    ),
    "reproduce": Mode(
        "reproduce.reproduce",
        "the paper's tables and figures, run by run",
        flags=(
            *("experiment", "seeds", "rows", "scale"),
            *("output_dir", "dry_run"),
        ),
        needs=("experiment",),
        has_model_dir=False,
        starts_programs=True,
    ),
    "doctor": Mode(
        "doctor.doctor",
        "say what is wrong with the installation or a run, and what to do",
        flags=("ask_remote",),
        has_model_dir=False,
        looks_first=True,
    ),
    "tasks": Mode(
        "data.list_tasks",
        "list the tasks and mixtures",
        has_model_dir=False,
    ),
    "inspect": Mode(
        "data.inspect",
        "show a task's records and what a model is fed",
        flags=("task", "split", "num_examples"),
        has_model_dir=False,
    ),
    "cache": Mode(
        "data.cache",
        "preprocess a task once for many runs",
        flags=("task", "output_dir"),
        needs=("output_dir",),
        has_model_dir=False,
    ),
    "compare_downstream": Mode(
        "compare_downstream.compare_downstream",
        "Figure 13, from fine-tuned runs",
        flags=("compare_dir", "output_dir"),
        needs=("compare_dir", "output_dir"),
        has_model_dir=False,
    ),
    "compare_languages": Mode(
        "compare_languages.compare_languages",
        "Figures 7 and 8, from a dense and a Switch run",
        flags=("compare_dir", "output_dir"),
        needs=("compare_dir", "output_dir"),
        has_model_dir=False,
    ),
    "report": Mode(
        "report.report",
        "a page of curves, loads and settings of one or more runs",
        flags=("output_dir",),
        needs=("output_dir",),
        has_model_dir=False,
        reads_model_dirs=True,
    ),
}
