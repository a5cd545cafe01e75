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

"""A tiny model with random weights and pieces, for tests of served models."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import pathlib

import numpy as np
import rich.console
import sentencepiece
import tensorflow.compat.v1 as tf

from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import saved_variables
from mtf_switch.training import run as run_lib
import tasks  # noqa: F401  As run_switch.py, before gin closes.
from tests import gin_files
from tests import small_model
from tests import toy_tasks

STEP = 3


def train_pieces(directory: pathlib.Path) -> pathlib.Path:
  """Trains a small SentencePiece model and returns its path."""
  text = directory / "text.txt"
  text.write_text("\n".join([*toy_tasks.texts("train"), "caf\u00e9 0123 _,."]))
  sentencepiece.SentencePieceTrainer.train(
      input=str(text),
      model_prefix=str(directory / "pieces"),
      vocab_size=60,
      pad_id=0,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      character_coverage=1.0,
      hard_vocab_limit=False,
      minloglevel=2,
  )
  return directory / "pieces.model"


def configured(directory: pathlib.Path, *params: str) -> run_lib.Run:
  """Returns the run of a directory, as the program configures it."""
  file = directory / "mine.gin"
  if not file.exists():
    file.write_text(small_model.RUN + "train_steps = 2")
  run = run_lib.Run(
      model_dir=str(directory / "m"),
      gin_files=[str(file)],
      gin_params=params,
      gin_directories=[str(gin_files.ROOT)],
  )
  gin_files.clear()
  run.configure()
  return run


def write_checkpoint(run: run_lib.Run):
  """Writes a checkpoint of weights that give each input another answer."""
  variables = saved_variables.SavedVariables(run)
  draws = np.random.RandomState(0)
  checkpoint_writer.write(
      run.model_dir,
      STEP,
      variables.all,
      lambda x: draws.normal(size=x.shape).astype(x.dtype),
      lambda written: None,
  )
  assert tf.train.latest_checkpoint(run.model_dir)


def console() -> rich.console.Console:
  """Returns a console whose file has what was said."""
  return rich.console.Console(file=io.StringIO(), width=1000)
