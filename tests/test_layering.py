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

"""The house rules of docs/architecture.md, held by reading the source.

Nothing of mtf_switch is imported here.
"""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A module imports lower levels only: not its own, not higher ones. compat is
# below all of them, because it comes first everywhere.
LEVELS = {
    "compat": -1,
    "cluster": 0,
    "dims": 0,
    "dot_product": 0,
    "identity": 0,
    "initializers": 0,
    "mesh": 0,
    "chips": 0,
    "graph_optimizer": 0,
    "accounting": 1,
    "embedding": 1,
    "communication": 1,
    "exchange": 1,
    "experts": 1,
    "layouts": 1,
    "losses": 1,
    "memory": 1,
    "placement": 1,
    "servers": 1,
    "slots": 1,
    "routing": 2,
    "dispatch": 3,
    "dropless": 3,
    "metrics": 3,
    "router": 3,
    "checkpoints": 4,
    "figures": 4,
    "initialization": 4,
    "inputs": 4,
    "switch_layer": 4,
    "attention": 5,
    "layers": 5,
    "optimizer": 5,
    "tpu": 5,
    "training_step": 5,
    "vocabulary": 5,
    "progress": 5,
    "strict_gin": 5,
    "caching": 6,
    "comparison": 6,
    "experiment": 6,
    "estimator": 6,
    "table9": 6,
    "planning": 6,
    "vocabulary_record": 6,
    "data_modes": 7,
    "downstream_comparison": 7,
    "language_comparison": 7,
    "layout_picture": 7,
    "decoding": 7,
    "modes": 7,
    "plan_report": 7,
    "finetuning": 8,
    "planning_mode": 8,
    # The package and the command line are above them all.
    "__init__": 9,
    "run_switch": 9,
}
LOWEST_LEVEL_WITH_GIN = 5

MODULES = {path.stem: path for path in (ROOT / "mtf_switch").rglob("*.py")}
MODULES["run_switch"] = ROOT / "run_switch.py"
TASKS = {f"tasks/{path.stem}": path for path in (ROOT / "tasks").glob("*.py")}


def imported_names(tree: ast.AST) -> dict[str, str]:
  """Returns what each name bound by an import stands for, with its path.

  Imports inside functions count too.
  """
  names = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        if alias.asname:
          names[alias.asname] = alias.name
        else:
          # `import a.b` binds a; the key a.b keeps track of the rest.
          names[alias.name] = alias.name
          names.setdefault(alias.name.split(".")[0], alias.name.split(".")[0])
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f"line {node.lineno}: a relative import"
      for alias in node.names:
        names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
  return names


def packages(tree: ast.AST) -> set[str]:
  """Returns the top-level packages that are imported."""
  return {path.split(".")[0] for path in imported_names(tree).values()}


def own_modules(tree: ast.AST) -> set[str]:
  """Returns the names of the modules of mtf_switch that are imported."""
  paths = (path.split(".") for path in imported_names(tree).values())
  return {
      path[1] for path in paths if path[0] == "mtf_switch" and len(path) > 1
  }


def upward_imports(name: str, tree: ast.AST) -> set[str]:
  """Returns the imported modules that are not on a level below `name`."""
  return {
      module for module in own_modules(tree) if LEVELS[module] >= LEVELS[name]
  }


def patches(tree: ast.AST) -> list[str]:
  """Returns the places that change what they import from another package.

  The standard library does not count: `os.environ[name] = value` is fine.
  """
  foreign = {
      name
      for name, path in imported_names(tree).items()
      if path.split(".")[0] not in sys.stdlib_module_names
  }

  def is_foreign(node: ast.AST) -> bool:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
      node = node.value
    return isinstance(node, ast.Name) and node.id in foreign

  found = []
  for node in ast.walk(tree):
    targets = []
    if isinstance(node, (ast.Attribute, ast.Subscript)):
      if isinstance(node.ctx, (ast.Store, ast.Del)):
        targets = [node]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
      if node.func.id in ("setattr", "delattr"):
        targets = node.args[:1]
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
      if "unittest" in packages(ast.Module([node], [])):
        found.append(f"line {node.lineno}: {ast.unparse(node)}")
    if any(is_foreign(target) for target in targets):
      found.append(f"line {node.lineno}: {ast.unparse(node)}")
  return found


def parse(path: pathlib.Path) -> ast.AST:
  return ast.parse(path.read_text(), filename=str(path))


def test_every_module_has_a_level():
  assert set(MODULES) <= set(LEVELS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_go_only_downward(name):
  assert not upward_imports(name, parse(MODULES[name]))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_gin_stays_on_top(name):
  if name != "compat" and LEVELS[name] < LOWEST_LEVEL_WITH_GIN:
    assert "gin" not in packages(parse(MODULES[name]))


@pytest.mark.parametrize("name", sorted({*MODULES, *TASKS} - {"compat"}))
def test_only_compat_patches_other_packages(name):
  assert not patches(parse({**MODULES, **TASKS}[name]))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_tasks_do_not_know_the_models(name):
  assert not packages(parse(TASKS[name])) & {"mtf_switch", "run_switch"}


def test_the_oracle_shares_nothing_with_what_it_checks():
  oracle = parse(ROOT / "tests" / "oracle.py")
  assert not packages(oracle) & {"mtf_switch", "mesh_tensorflow", "tensorflow"}


def test_gin_files_are_no_package():
  # As a package, gin/ would be imported in place of gin-config.
  assert any((ROOT / "gin").rglob("*.gin"))
  assert not list((ROOT / "gin").rglob("*.py"))


@pytest.mark.parametrize(
    "source, modules",
    [
        ("from mtf_switch import router", {"router"}),
        ("from mtf_switch import dims as dims_lib, layers", {"dims", "layers"}),
        ("from mtf_switch.modes import train", {"modes"}),
        ("import mtf_switch.estimator", {"estimator"}),
        ("def f():\n  import mtf_switch.mesh as m", {"mesh"}),
        ("import mtf_switch, tensorflow", set()),
    ],
)
def test_own_modules_finds_every_form_of_import(source, modules):
  assert own_modules(ast.parse(source)) == modules


def test_upward_imports_finds_sideways_and_upward():
  tree = ast.parse(
      "from mtf_switch import compat, dims, losses, modes, routing"
  )
  assert upward_imports("losses", tree) == {"losses", "modes", "routing"}


@pytest.mark.parametrize(
    "line",
    [
        "moe.Switch = None",
        "mtf.ops.einsum = f",
        "utils.run.__defaults__ = ()",
        "moe.table['a'] = 1",
        "moe.count += 1",
        "del moe.Switch",
        "setattr(moe, name, f)",
        "from unittest import mock",
        "import unittest.mock",
    ],
)
def test_patches_are_found(line):
  imports = (
      "import mesh_tensorflow as mtf\n"
      "from mesh_tensorflow.transformer import moe, utils\n"
  )
  assert len(patches(ast.parse(imports + line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "moe_layer = moe.Switch()",
        "self.moe = moe",
        "os.environ['A'] = '1'",
        "setattr(self, name, moe)",
    ],
)
def test_ordinary_assignments_are_no_patches(line):
  imports = "import os\nfrom mesh_tensorflow.transformer import moe\n"
  assert not patches(ast.parse(imports + line))
