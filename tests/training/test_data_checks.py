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
import functools
import types

import gin
import pytest
import seqio

from mtf_switch import errors
from mtf_switch.modes import train
from mtf_switch.training import data_checks
from tasks import errors as task_errors
from tests import official_zips
from tests import toy_tasks  # noqa: F401


def check(name, split="validation"):
  provider = seqio.get_mixture_or_task(name)
  data_checks.check_split(provider, split, "mesh_eval_dataset_fn")


def test_a_split_that_a_task_lacks():
  check("toy_copy")
  with pytest.raises(errors.UserError) as raised:
    check("toy_copy", "test")
  assert str(raised.value) == (
      "'toy_copy' has no 'test' split; it has train, validation."
  )


def test_a_split_whose_file_is_missing(tmp_path):
  official_zips.write_super_glue(tmp_path, "cb")
  gin.parse_config(f"super_glue.directory = '{tmp_path}'")
  check("super_glue_cb")
  (tmp_path / "CB" / "val.jsonl").unlink()
  with pytest.raises(task_errors.DataError) as raised:
    check("super_glue_cb")
  assert str(raised.value) == (
      f"super_glue.directory = '{tmp_path}': there is no CB/val.jsonl, which "
      "the validation split of super_glue/cb is read from; what is in CB is "
      "test.jsonl, train.jsonl."
  )


def test_a_users_files_that_are_missing(tmp_path):
  files = {"validation": f"{tmp_path}/*.txt"}
  task = seqio.Task(
      "users_lines",
      source=seqio.TextLineDataSource(files),
      preprocessors=[],
      output_features={},
  )
  with pytest.raises(errors.UserError) as raised:
    data_checks.check_split(task, "validation", "mesh_eval_dataset_fn")
  assert str(raised.value) == (
      "'users_lines' has no files of its 'validation' split."
  )


@pytest.mark.parametrize(
    "split, message", [("test", "no 'test' split"), (None, None)]
)
def test_training_finds_it_before_it_starts(tmp_path, split, message):
  provider = seqio.get_mixture_or_task("toy_copy")
  run = types.SimpleNamespace(
      model_dir=str(tmp_path),
      experiment=types.SimpleNamespace(
          learning_rate_schedule=1,
          provider=provider,
          vocabularies=(provider.output_features["inputs"].vocabulary,) * 2,
      ),
  )
  if message is None:
    train._check_and_record(run, split)
    return
  with pytest.raises(errors.UserError, match=message):
    train._check_and_record(run, split)


def test_a_rate_that_needs_an_unknown_number():
  mixture = seqio.Mixture(
      "of_unknown_number",
      [
          (
              "c4_span_corruption",
              functools.partial(seqio.mixing_rate_num_examples, maximum=1000),
          )
      ],
  )
  gin.parse_config("c4.files = 'c4-*.json'")
  with pytest.raises(errors.UserError) as raised:
    data_checks.check_rates(mixture)
  assert str(raised.value).startswith(
      "the rate of 'c4_span_corruption' in the mixture 'of_unknown_number' "
      "depends on its number of examples, which its source does not know; give "
      "a number as the rate, or write its cache, which has the number "
      "(--mode=cache --task=c4_span_corruption --output_dir=DIR, "
  )
  data_checks.check_rates(seqio.get_mixture_or_task("toy_mixture"))
  data_checks.check_rates(seqio.get_mixture_or_task("c4_span_corruption"))


def test_a_rate_that_is_broken_otherwise(tmp_path):
  official_zips.write_super_glue(tmp_path, "cb")
  gin.parse_config(f"super_glue.directory = '{tmp_path}'")
  counted = seqio.Mixture(
      "counted", [("super_glue_cb", seqio.mixing_rate_num_examples)]
  )
  data_checks.check_rates(counted)
  broken = seqio.Mixture("broken", [("super_glue_cb", lambda task: None + 1)])
  with pytest.raises(TypeError):
    data_checks.check_rates(broken)
