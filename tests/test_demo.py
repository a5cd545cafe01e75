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

"""The demo's table and picture, from metrics files made by hand."""

import io
import json

from PIL import Image
import rich.console

from benchmarks import demo


def write_run(model_dir, losses, dropped):
  model_dir.mkdir()
  lines = [
      dict(
          kind="train",
          step=10 * (i + 1),
          neg_log_perplexity=loss,
          seconds=20.0 * (i + 1),
          tokens_per_second=100 * (i + 1),
          fraction_dropped=dropped,
      )
      for i, loss in enumerate(losses)
  ]
  for i, share in ((0, 0.5), (len(losses) - 1, 1.0)):
    lines.append(
        dict(
            kind="eval",
            step=10 * (i + 1),
            seconds=20.0 * (i + 1) + 1,
            neg_log_perplexity=losses[i] - share,
        )
    )
  (model_dir / "metrics.jsonl").write_text(
      "".join(json.dumps(line) + "\n" for line in lines)
  )
  (model_dir / "model.json").write_text(
      json.dumps(dict(parameters=1_234_567, flops_per_sequence=89_000_000))
  )


def test_the_table_shows_what_the_runs_wrote(tmp_path):
  write_run(tmp_path / "sparse", [-3.0, -2.0, -1.0], dropped=0.125)
  write_run(tmp_path / "dense", [-3.0, -2.5, -2.0], dropped=None)
  write_run(tmp_path / "dense_again", [-3.0, -2.5, -1.0], dropped=None)
  sparse = demo.summarize([tmp_path / "sparse"])
  assert sparse == {
      "parameters": 1_234_567,
      "flops_per_sequence": 89_000_000,
      "steps": 30,
      "neg_log_perplexity": [-2.0],  # The last evaluation.
      "seconds": [61.0],
      "tokens_per_second": [200],  # The median.
      "fraction_dropped": [0.125],
      "evaluations": [[[10, 21.0, -3.5], [30, 61.0, -2.0]]],
  }
  dense = demo.summarize([tmp_path / "dense", tmp_path / "dense_again"])
  assert dense["fraction_dropped"] == [None, None]
  console = rich.console.Console(file=io.StringIO(), width=120)
  console.print(demo.make_table({"Switch": sparse, "T5": dense}))
  rows = [line.split() for line in console.file.getvalue().splitlines()]
  assert ["Switch", "1.23M", "89M", "-2.000", "61", "200", "12.5%"] in rows
  spread = ["-2.500", "\u00b1", "0.500"]
  assert ["T5", "1.23M", "89M", *spread, "61", "200", "-"] in rows


def test_the_caption_says_what_was_compared(tmp_path):
  write_run(tmp_path / "run", [-3.0, -2.0, -1.0], dropped=None)
  one = demo.summarize([tmp_path / "run"])
  assert demo.caption({"Switch": one}) == (
      "30 steps of the same batches, 89M FLOPs for a sequence in both models\n"
      "Switch: 1.2M parameters; one seed"
  )
  two = demo.summarize([tmp_path / "run"] * 2)
  assert demo.caption({"Switch": two}).endswith("2 seeds")


def test_the_picture_has_curves_of_each_model(tmp_path):
  runs = {}
  for name, dropped in (("demo_dense", None), ("demo_switch", 0.1)):
    runs[name] = [tmp_path / name]
    write_run(*runs[name], [-3.0, -2.0, -1.0], dropped)
  demo.plot(runs, "a caption", tmp_path / "curves.png")
  colors = Image.open(tmp_path / "curves.png").convert("RGB").getcolors(2**20)
  present = {color for _, color in colors}
  assert (31, 119, 180) in present  # tab:blue
  assert (127, 127, 127) in present  # tab:gray
