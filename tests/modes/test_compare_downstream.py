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

"""Figure 13 from the files of fine-tuned runs, by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import json

from PIL import Image
import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.modes import compare_downstream as comparison
from mtf_switch.training import run as run_lib


def pretrained(directory, step, value, sparse):
  return dict(
      pretrained_dir=directory,
      step=step,
      neg_log_perplexity=value,
      sparse=sparse,
  )


def best(**values):
  return [
      dict(task=task, metric="mean", step=1, value=value)
      for task, value in values.items()
  ]


RUNS = {
    "a": (pretrained("dense", 10, -1.5, False), best(super_glue=70.0)),
    "b": (pretrained("switch", 10, -1.25, True), best(super_glue=72.0)),
    "c": (pretrained("switch", 10, -1.25, True), best(trivia_qa=30.5)),
    "d": (
        pretrained("switch", 10, -1.25, True),
        best(super_glue=71.0, super_glue_cb=99.0),
    ),
    "e": (pretrained("switch", 20, None, True), best(super_glue=80.0)),
}


def write(directory):
  for name, contents in RUNS.items():
    (directory / name).mkdir()
    for file, content in zip(("pretrained.json", "best.json"), contents):
      (directory / name / file).write_text(json.dumps(content))
  return [str(directory / name) for name in RUNS]


def test_a_checkpoint_is_a_point_with_the_best_of_its_runs():
  columns = (
      "series",
      "pretrained_dir",
      "step",
      "neg_log_perplexity",
      "super_glue",
      "trivia_qa",
  )
  assert comparison.points(RUNS.values()) == [
      dict(zip(columns, point))
      for point in (
          ("Dense", "dense", 10, -1.5, 70.0, None),
          ("Switch", "switch", 10, -1.25, 72.0, 30.5),
          ("Switch", "switch", 20, None, 80.0, None),
      )
  ]


def test_files(tmp_path):
  console = rich.console.Console(file=io.StringIO())
  output_dir = tmp_path / "out"
  comparison.compare_downstream(
      run_lib.Run(), console, write(tmp_path), str(output_dir)
  )
  assert (output_dir / "downstream.csv").read_text() == (
      "series,pretrained_dir,step,neg_log_perplexity,super_glue,trivia_qa\n"
      "Dense,dense,10,-1.5,70.0,\n"
      "Switch,switch,10,-1.25,72.0,30.5\n"
      "Switch,switch,20,,80.0,\n"
  )
  image = Image.open(output_dir / "downstream.png").convert("RGB")
  present = {color for _, color in image.getcolors(2**20)}
  assert (31, 119, 180) in present  # tab:blue
  assert (127, 127, 127) in present  # tab:gray
  note, lacking, last = console.file.getvalue().splitlines()
  assert lacking == (
      "note: no points to draw for the TriviaQA score of Dense models."
  )
  assert note == (
      "note: switch has no evaluation until step 20; its point is in the table "
      "only."
  )
  assert last == (
      f"3 points: {output_dir}/downstream.csv and {output_dir}/downstream.png"
  )


def test_the_panels_show_the_points():
  figure = comparison.plot(comparison.points(RUNS.values()))
  panels = [
      {
          line.get_label(): line.get_xydata().tolist()
          for line in axes.get_lines()
      }
      for axes in figure.axes
  ]
  assert panels == [
      {"Dense": [[-1.5, 70.0]], "Switch": [[-1.25, 72.0]]},
      {"Switch": [[-1.25, 30.5]]},
  ]


def test_a_panel_without_points_is_left_out():
  found = comparison.points([RUNS["a"]])
  (axes,) = comparison.plot(found).axes
  assert axes.get_ylabel() == "SuperGLUE score"


def test_nothing_to_draw_gives_no_picture(tmp_path):
  console = rich.console.Console(file=io.StringIO())
  last = write(tmp_path)[-1]  # Its pre-trained model was never evaluated.
  comparison.compare_downstream(
      run_lib.Run(), console, [last], str(tmp_path / "out")
  )
  assert [x.name for x in (tmp_path / "out").iterdir()] == ["downstream.csv"]
  assert console.file.getvalue().splitlines()[-1] == (
      f"1 points: {tmp_path}/out/downstream.csv; none has a score and a "
      "perplexity, so there is no picture"
  )


def test_other_directories_are_refused(tmp_path):
  with pytest.raises(errors.UserError) as error:
    comparison.compare_downstream(
        run_lib.Run(), None, [str(tmp_path)], "unused"
    )
  assert str(error.value) == (
      f"{tmp_path}/pretrained.json does not exist; --compare_dir takes the "
      "model_dir of a run of --mode=finetune that has been evaluated."
  )
