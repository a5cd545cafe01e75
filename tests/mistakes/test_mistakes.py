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

"""The table of mistakes: each ends in one line that says what to change."""

import os
import signal
import threading

import pytest

from tests.mistakes import checkpoints
from tests.mistakes import conversions
from tests.mistakes import made_models
from tests.mistakes import models
from tests.mistakes import reports
from tests.mistakes import reproductions
from tests.mistakes import routings
from tests.mistakes import runs
from tests.mistakes import servers
from tests.mistakes import servings
from tests.mistakes import surroundings
from tests.mistakes.mistake import Mistake

_MISTAKES = [
    *models.MISTAKES,
    *runs.MISTAKES,
    *checkpoints.MISTAKES,
    *surroundings.MISTAKES,
    *reproductions.MISTAKES,
    *reports.MISTAKES,
    *routings.MISTAKES,
    *conversions.MISTAKES,
    *made_models.MISTAKES,
    *servers.MISTAKES,
    *servings.MISTAKES,
]
_SECONDS = 60
# What may come before the line.
_PROGRESS = ("note: ", "building the model, ", "reading ")


@pytest.mark.parametrize("mistake", _MISTAKES, ids=str)
def test_a_mistake_is_answered_by_one_line(server, tmp_path, mistake: Mistake):
  mistake.make_files(tmp_path)
  pid = server.start(mistake.arguments, tmp_path)
  limit = threading.Timer(_SECONDS, os.kill, [pid, signal.SIGKILL])
  limit.start()
  result = server.wait()
  limit.cancel()
  assert not result.stdout
  lines = result.stderr.splitlines()
  (line,) = [line for line in lines if not line.startswith(_PROGRESS)]
  assert line == lines[-1]
  assert line.startswith("run_switch: ")
  for text in mistake.contains:
    assert text in line
  assert result.returncode == mistake.exit_status
  checkpoints_left = {str(p) for p in tmp_path.glob("**/model.ckpt*.index")}
  assert checkpoints_left <= {str(tmp_path / name) for name in mistake.files}


def test_the_table_is_long():
  assert len({str(mistake) for mistake in _MISTAKES}) >= 100
