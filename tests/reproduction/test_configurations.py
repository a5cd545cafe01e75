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

"""The settings of cards, as text and as a hash."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch import errors
from mtf_switch.reproduction import configurations
from mtf_switch.reproduction import small_cards
from tests import gin_files
from tests.reproduction import made_questions

SMALL = small_cards.SMALL_CARDS
DIRECTORIES = [str(gin_files.ROOT)]


@pytest.fixture
def directory(tmp_path):
  """A directory of gin files with two cards, one of which needs the other."""
  files = {
      "common.gin": "# Why.\ntask = 'a'\n\ntrain_steps = 10\n",
      "experiments/small/switch.gin": 'include "common.gin"\nx = 1\n',
      "experiments/small/student.gin": (
          "include 'common.gin'\ntrain_steps = 20\n"
      ),
  }
  for name, text in files.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
  return tmp_path


def hash_of(directory, card="student"):
  return configurations.hash_of(card, made_questions.CARDS, [str(directory)])


def edit(directory, name, old, new):
  path = directory / name
  assert old in path.read_text()
  path.write_text(path.read_text().replace(old, new))


def test_settings_are_those_of_all_files_in_order(directory):
  settings = configurations.settings(
      "experiments/small/switch.gin", [str(directory)]
  )
  assert settings == ["task = 'a'", "train_steps = 10", "x = 1"]


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("common.gin", "'a'", "'b'"),
        ("experiments/small/student.gin", "20", "30"),
        # Of the teacher.
        ("experiments/small/switch.gin", "x = 1", "x = 2"),
    ],
)
def test_a_setting_changes_the_hash(directory, name, old, new):
  before = hash_of(directory)
  edit(directory, name, old, new)
  assert hash_of(directory) != before


def test_comments_and_blank_lines_do_not(directory):
  before = hash_of(directory)
  edit(directory, "common.gin", "# Why.\n", "# Because.\n\n  # It is so.\n")
  edit(directory, "common.gin", "10\n", "10  \n")
  assert hash_of(directory) == before


def test_the_mode_is_a_setting(directory):
  cards = dict(made_questions.CARDS)
  before = hash_of(directory)
  cards["student"] = made_questions.card("student", teacher_dir="switch")
  now = configurations.hash_of("student", cards, [str(directory)])
  assert now != before


def test_the_last_number_of_steps_counts(directory):
  steps = {
      card: configurations.train_steps(card, [str(directory)])
      for card in ("switch", "student")
  }
  assert steps == {"switch": 10, "student": 20}
  edit(directory, "common.gin", "10", "%steps")
  with pytest.raises(errors.UserError, match="switch.gin: train_steps must"):
    configurations.train_steps("switch", [str(directory)])


def test_a_file_that_is_not_there_is_named(directory):
  edit(directory, "common.gin", "# Why.", 'include "more/none.gin"')
  with pytest.raises(errors.UserError, match="more/none.gin is not in "):
    hash_of(directory)


@pytest.mark.parametrize("card", SMALL)
def test_every_small_card_has_steps_and_a_hash(card):
  assert configurations.train_steps(card, DIRECTORIES) > 0
  assert len(configurations.hash_of(card, SMALL, DIRECTORIES)) == 64


def test_no_two_small_cards_are_the_same():
  hashes = [configurations.hash_of(card, SMALL, DIRECTORIES) for card in SMALL]
  assert len(set(hashes)) == len(hashes)
