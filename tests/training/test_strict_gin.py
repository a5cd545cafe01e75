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

"""Gin files and parameters, and the messages about mistakes in them."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import pytest

from mtf_switch import errors
from mtf_switch.training import strict_gin


@gin.configurable
def bake(flour=gin.REQUIRED, sugar=1, eggs=gin.REQUIRED):
  return flour, sugar, eggs


@gin.configurable(module="kitchen")
def oven(temperature=200):
  return temperature


def parse(tmp_path, text, *params):
  file = tmp_path / "cake.gin"
  file.write_text(text)
  strict_gin.parse([str(file)], params, [])


def test_files_are_searched_for(tmp_path, monkeypatch):
  (tmp_path / "working").mkdir()
  (tmp_path / "working" / "here.gin").write_text("bake.flour = 2")
  (tmp_path / "there_only.gin").write_text("bake.eggs = 3")
  monkeypatch.chdir(tmp_path / "working")
  strict_gin.parse(["here.gin", "there_only.gin"], [], [str(tmp_path)])
  assert bake() == (2, 1, 3)


def test_parameters_override_files(tmp_path):
  parse(
      tmp_path,
      "bake.flour = %amount\nbake.eggs = 3\namount = 1",
      "amount = 5",
      "bake.sugar = 7",
  )
  assert bake() == (5, 7, 3)
  with pytest.raises(RuntimeError, match="locked"):
    gin.bind_parameter("bake.sugar", 8)


@pytest.mark.parametrize(
    "text, params, message",
    [
        (
            "# A comment.\nbake.suger = 2",
            [],
            "{dir}/cake.gin:2: Configurable 'bake' doesn't have a parameter "
            "named 'suger'. Did you mean sugar?",
        ),
        (
            "bakee.sugar = 2",
            [],
            "{dir}/cake.gin:1: No configurable matching 'bakee'. Did you mean "
            "bake?",
        ),
        (
            "bake.sugar = @kitchen.ovn()",
            [],
            "{dir}/cake.gin:1: No configurable matching reference "
            "'@kitchen.ovn()'. Did you mean kitchen.oven?",
        ),
        (
            "",
            ["some/scope/bake.suger = 2"],
            "--gin_param='some/scope/bake.suger = 2': Configurable 'bake' "
            "doesn't have a parameter named 'suger'. Did you mean sugar?",
        ),
        (
            "bake.sugar = (2",
            [],
            "{dir}/cake.gin: this is not gin: EOF in multi-line statement",
        ),
        (
            "",
            ["bake.sugar 2"],
            "--gin_param='bake.sugar 2': this is not gin: bake.sugar 2",
        ),
        (
            "include 'icing.gin'",
            [],
            "{dir}/cake.gin:1: icing.gin is not there.",
        ),
        (
            "import no_such_kitchen",
            [],
            "{dir}/cake.gin:1: No module named 'no_such_kitchen'.",
        ),
        (
            "bake.sugar = %amount\namount = 1",
            ["amuont = 2"],
            "Nothing in gin uses 'amuont'. Did you mean amount?",
        ),
        ("amount = 1", ["sweetness = 2"], "Nothing in gin uses 'sweetness'."),
        (
            "bake.sugar = %grams_of_sugar\ngrams_of_sugar = 1\n"
            "grams_of_suger = 2",
            [],
            "Nothing in gin uses 'grams_of_suger'. Did you mean "
            "grams_of_sugar?",
        ),
        (
            "bake.sugar = %amount\nbake.eggs = %eggs\namount = %gin.REQUIRED",
            [],
            "amount and eggs must be set, in a gin file or for example with "
            '--gin_param="amount = ...".',
        ),
    ],
)
def test_mistakes_are_explained(tmp_path, text, params, message):
  with pytest.raises(errors.UserError) as error:
    parse(tmp_path, text, *params)
  assert str(error.value) == message.format(dir=tmp_path)


def test_files_may_set_unused_macros(tmp_path):
  parse(
      tmp_path,
      "bake.flour = %grams_of_flour\ngrams_of_flour = 1\ngrams_of_sugar = 2",
  )


def test_missing_parameters_are_named_when_a_function_needs_them(tmp_path):
  parse(tmp_path, "bake.sugar = 2")
  with pytest.raises(RuntimeError) as error:
    bake()
  assert strict_gin.explain(error.value) == (
      "bake.flour and bake.eggs must be set in a gin file or with --gin_param; "
      "the files in gin/runs ask for all that a run needs."
  )


def test_other_errors_are_left_alone():
  assert strict_gin.explain(RuntimeError("out of flour")) is None
