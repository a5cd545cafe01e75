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

"""The mode report: its file, and what it says."""

import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.modes import report
from tests.pages import made_runs


def test_the_page_is_written_and_notes_are_said(tmp_path):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  with open(f"{path}/metrics.jsonl", "a") as file:
    file.write("half a li\n")
  console = rich.console.Console(record=True, width=200)
  report.report(None, console, [path], str(tmp_path / "new" / "out"))
  said = console.export_text()
  assert f"note: 1 line of {path}/metrics.jsonl cannot be read" in said
  page = tmp_path / "new" / "out" / "report.html"
  assert f"wrote {page}" in said
  assert page.read_text().startswith("<!DOCTYPE html>")
  assert [x.name for x in page.parent.iterdir()] == ["report.html"]


def test_an_earlier_page_stays_if_a_run_cannot_be_read(tmp_path):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  (tmp_path / "report.html").write_text("earlier")
  (tmp_path / "empty").mkdir()
  directories = [path, str(tmp_path / "empty")]
  with pytest.raises(errors.UserError, match="empty has no figures of a run"):
    report.report(
        None, rich.console.Console(quiet=True), directories, str(tmp_path)
    )
  assert (tmp_path / "report.html").read_text() == "earlier"
