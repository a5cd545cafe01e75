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

"""Records: written whole, read strictly."""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses
import json
import math

import numpy as np
import pytest

from mtf_switch import errors
from mtf_switch.reproduction import records
from tests.reproduction.made_records import made

QUALITY = made()
SPEED = made(kind=records.SPEED, contest="table1", round=2, seed=2)


@pytest.mark.parametrize("record", [QUALITY, SPEED])
def test_a_record_is_read_as_it_was_written(tmp_path, record):
  records.write(str(tmp_path), record)
  assert records.read(records.path(str(tmp_path), record)) == record
  assert records.read_all(str(tmp_path)) == [record]


def test_records_have_files_of_their_own(tmp_path):
  all_records = [QUALITY, made(seed=3), made(card="dense"), SPEED]
  for record in all_records:
    records.write(str(tmp_path), record)
  files = {
      str(file.relative_to(tmp_path)) for file in tmp_path.glob("**/*.json")
  }
  assert files == {
      "switch/0.json",
      "switch/3.json",
      "switch/speed_table1_2.json",
      "dense/0.json",
  }
  found = records.read_all(str(tmp_path))
  assert len(found) == 4
  assert all(record in found for record in all_records)


def test_numbers_that_are_not_finite_are_null(tmp_path):
  evaluation = {
      "step": 10,
      "seconds": np.float32(1.5),
      "task": "a",
      "neg_log_perplexity": math.nan,
  }
  records.write(
      str(tmp_path),
      dataclasses.replace(QUALITY, evaluations=[evaluation], diverged=9),
  )
  (record,) = records.read_all(str(tmp_path))
  (evaluation,) = record.evaluations
  assert evaluation["neg_log_perplexity"] is None
  assert evaluation["seconds"] == 1.5
  assert record.diverged == 9


def test_no_record_is_none(tmp_path):
  assert records.read(str(tmp_path / "switch" / "0.json")) is None
  assert records.read_all(str(tmp_path / "nowhere")) == []


def _changed(**changes):
  return lambda text: json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    "change, line",
    [
        (_changed(seconds=1.0), "has been changed since it was written"),
        (
            _changed(figures={"tokens_per_second": 1e9}),
            "has been changed since it was written",
        ),
        (_changed(digest="0"), "has been changed since it was written"),
        (_changed(format=2), "has format 2, and this version of the program"),
        (_changed(evaluations=[{}]), "is not the record of a run"),
        (_changed(seed="0"), "is not the record of a run"),
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: "[]", "is not the record of a run"),
        (lambda text: "{}", "is not the record of a run"),
    ],
)
def test_what_is_no_record_any_more_is_answered_by_one_line(
    tmp_path, change, line
):
  records.write(str(tmp_path), QUALITY)
  file = tmp_path / "switch" / "0.json"
  file.write_text(change(file.read_text()))
  with pytest.raises(errors.UserError) as error:
    records.read_all(str(tmp_path))
  assert str(error.value).startswith(f"{file} {line}")
  assert "remove it" in str(error.value)
  assert "\n" not in str(error.value)


def test_a_record_under_another_name_is_refused(tmp_path):
  records.write(str(tmp_path), QUALITY)
  (tmp_path / "switch" / "0.json").rename(tmp_path / "switch" / "1.json")
  with pytest.raises(errors.UserError, match="1.json is the record of another"):
    records.read_all(str(tmp_path))


def test_a_record_that_is_formatted_anew_is_the_same(tmp_path):
  records.write(str(tmp_path), QUALITY)
  file = tmp_path / "switch" / "0.json"
  file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
  assert records.read_all(str(tmp_path)) == [QUALITY]
