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

"""The documentation: its links, paths, parameters, figures and example."""

import inspect
import pathlib
import re
import subprocess
import sys

import gin
import pytest

from mtf_switch.modes import convert
from mtf_switch.modes import decode
from mtf_switch.modes import distill
from mtf_switch.modes import export
from mtf_switch.modes import finetune
from mtf_switch.modes import interactive
from mtf_switch.modes import perplexity
from mtf_switch.modes import prune
from mtf_switch.modes import serve
from mtf_switch.modes import teach
from mtf_switch.modes import train
from mtf_switch.modes import upcycle
from mtf_switch.training import evaluated_examples
from mtf_switch.training import experiment

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *DOCS.glob("*.md"))
)


def without_code(text: str) -> str:
  """A page without its fenced blocks."""
  return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
  """The anchors of a page's headings, as GitHub makes them."""
  headings = re.findall(r"^#+ (.*)$", without_code(text), flags=re.MULTILINE)
  return {
      re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
      for heading in headings
  }


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page):
  text = (ROOT / page).read_text()
  for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
    if target.startswith(("http://", "https://")):
      continue
    path, _, anchor = target.partition("#")
    linked = (ROOT / page).parent / path if path else ROOT / page
    assert linked.exists(), target
    if anchor:
      assert anchor in anchors(linked.read_text()), target


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page):
  text = (ROOT / page).read_text()
  packages = "mtf_switch|tasks|tests|benchmarks|scripts|gin"
  files = set(
      re.findall(
          rf"(?<![\w/.])(?:{packages})/[\w/]+\.(?:py|csv|tsv|gin|json)\b", text
      )
  )
  folders = "|".join(x.name for x in (ROOT / "gin").iterdir() if x.is_dir())
  gin_files = re.findall(rf"(?<![\w/.])((?:{folders})/\w+\.gin)\b", text)
  files |= {f"gin/{name}" for name in gin_files}
  assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
  tests = set(re.findall(r"(?<![\w/.])test_\w+\.py\b", text))
  assert tests <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


# Parameters that modes and the command line give, and gin does not.
GIVEN = {
    *("run", "console", "make_evaluate", "make_more_hooks"),
    *("change_loss_at", "change_batches", "output_dir"),
    *("input_file", "output_file", "watch", "watch_minutes"),
    *("huggingface_dir", "t5x_dir"),
    *("saved_model", "host", "port"),
}


def gin_parameters(configurable) -> dict[str, str]:
  """The defaults of the parameters that gin sets, as the page prints them."""

  def printed(default):
    if default is gin.REQUIRED:
      return "required"
    if isinstance(default, str):
      return f'"{default}"'
    return getattr(default, "__name__", repr(default))

  return {
      name: printed(parameter.default)
      for name, parameter in inspect.signature(configurable).parameters.items()
      if name not in GIVEN
  }


@pytest.mark.parametrize(
    "configurable",
    [
        experiment.Experiment,
        train.train,
        perplexity.perplexity_eval,
        decode.evaluate,
        decode.infer,
        decode.score,
        finetune.finetune,
        distill.distill,
        teach.teach,
        convert.convert,
        export.export,
        interactive.interactive,
        upcycle.upcycle,
        prune.prune,
        serve.serve,
        evaluated_examples.Cap,
    ],
)
def test_the_page_has_exactly_the_parameters_of_a_mode(configurable):
  page = (DOCS / "parameters.md").read_text()
  names = {evaluated_examples.Cap: "eval"}  # Gin's, where it is another.
  name = names.get(configurable, configurable.__name__)
  rows = re.findall(rf"^\| `{name}\.(\w+)` \| (.*?) \|", page, re.MULTILINE)
  assert dict(rows) == gin_parameters(configurable)
  assert len(rows) == len(dict(rows))


def test_the_figures_of_the_readme_are_those_of_the_performance_page():
  readme = (ROOT / "README.md").read_text()
  table = readme[readme.index("**faster.**") : readme.index("**plannable.**")]
  figures = re.findall(r"(?<=\| )[\d.,]+(?= \|)", table)
  assert len(figures) == 9
  page = (DOCS / "performance.md").read_text()
  assert set(figures) <= set(re.findall(r"(?<=\| )[\d.,]+(?= )", page))


# docs/as_a_library.md.


def run_example(first: str = "") -> list[str]:
  """Runs the page's Python as one program, in a process of its own.

  Args:
    first: lines before it.

  Returns:
    the lines that it prints.
  """
  page = (DOCS / "as_a_library.md").read_text()
  blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
  done = subprocess.run(
      [sys.executable, "-c", "\n".join([first, *blocks])],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


def test_the_example_of_the_library_runs_and_learns():
  untrained, trained, kept = run_example()
  error = {
      line.split(":")[0]: float(line.split(":")[1])
      for line in (untrained, trained)
  }
  assert error["error, 50 steps"] < error["error, untrained"] / 2
  assert re.fullmatch(r"tokens with a slot: \d+ of 128", kept)
  # Four experts with 20 slots in each of two groups could keep them all.
  assert 64 < int(kept.split()[4]) <= 128


def test_the_library_can_be_imported_after_mesh_tensorflow_has_failed():
  first = (
      "try:\n"
      "  import mesh_tensorflow\n"
      "except AttributeError as error:\n"
      "  print(error)\n"
  )
  error, *rest = run_example(first)
  message = "module 'tensorflow.python.framework.ops' has no attribute"
  assert error == f"{message} 'register_tensor_conversion_function'"
  page = " ".join((DOCS / "as_a_library.md").read_text().split())
  assert error in page
  assert len(rest) == 3
