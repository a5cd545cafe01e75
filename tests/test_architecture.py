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

Nothing of mtf_switch is imported here: the order of its packages is read from
its __init__.py, where it stands once.
"""

import ast
import graphlib
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "mtf_switch"


def parse(path: pathlib.Path) -> ast.AST:
  return ast.parse(path.read_text(), filename=str(path))


def name_of(path: pathlib.Path) -> str:
  """The dotted name of a module or package, "layer.router"."""
  parts = path.relative_to(SOURCE).with_suffix("").parts
  return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in SOURCE.rglob("*.py")}
TASKS = {f"tasks/{path.stem}": path for path in (ROOT / "tasks").glob("*.py")}
PROGRAM = {
    f"switch_command/{path.stem}": path
    for path in (ROOT / "switch_command").glob("*.py")
}
PROGRAM["run_switch"] = ROOT / "run_switch.py"
# From the ground up; see mtf_switch/__init__.py.
PACKAGES = next(
    ast.literal_eval(node.value)
    for node in parse(SOURCE / "__init__.py").body
    if isinstance(node, ast.Assign) and node.targets[0].id == "PACKAGES"
)
WITHOUT_GIN = ("layer",)


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
  """Returns the modules of mtf_switch that are imported, "layer.router"."""
  found = set()
  for path in imported_names(tree).values():
    first, *parts = path.split(".")
    if first != "mtf_switch":
      continue
    # A name that is imported from a module is no module.
    while parts and ".".join(parts) not in MODULES:
      parts.pop()
    found.add(".".join(parts))
  return found - {""}


def floor(module: str) -> int:
  """0 beside __init__.py, then the place of the package in PACKAGES."""
  package = module.split(".")[0]
  return PACKAGES.index(package) + 1 if package in PACKAGES else 0


def upward_imports(name: str, tree: ast.AST) -> set[str]:
  """Returns the imported modules that are above a module's own floor."""
  return {x for x in own_modules(tree) if floor(x) > floor(name)}


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


def test_every_package_has_its_floor():
  packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
  assert packages == set(PACKAGES)


@pytest.mark.parametrize("name", sorted(set(MODULES) - {""}))
def test_imports_lead_only_downward(name):
  assert not upward_imports(name, parse(MODULES[name]))


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_no_circles_within_a_package(package):
  own = {
      name: own_modules(parse(path))
      for name, path in MODULES.items()
      if name.rpartition(".")[0].split(".")[0] == package and name != package
  }
  graph = {name: imported & set(own) for name, imported in own.items()}
  graphlib.TopologicalSorter(graph).prepare()  # Raises CycleError.


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_layer_does_not_know_gin(name):
  if name.split(".")[0] in WITHOUT_GIN:
    assert "gin" not in packages(parse(MODULES[name]))


@pytest.mark.parametrize(
    "path",
    [
        path
        for name, path in sorted({**MODULES, **TASKS, **PROGRAM}.items())
        if name != "compat"
    ],
    ids=str,
)
def test_only_compat_patches_other_packages(path):
  assert not patches(parse(path))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_tasks_do_not_know_the_models(name):
  of_models = {"mtf_switch", "run_switch", "switch_command"}
  assert not packages(parse(TASKS[name])) & of_models


@pytest.mark.parametrize("name", sorted(PROGRAM))
def test_the_program_loads_nothing_slow_at_first(name):
  # What functions import comes later, after the flags are checked.
  tree = parse(PROGRAM[name])
  at_first = ast.Module(
      [x for x in tree.body if not isinstance(x, ast.FunctionDef)], []
  )
  quick = {*sys.stdlib_module_names, "absl", "switch_command"}
  assert packages(at_first) <= quick


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
        ("from mtf_switch import errors", {"errors"}),
        (
            "from mtf_switch.layer import dims as dims_lib, router",
            {"layer.dims", "layer.router"},
        ),
        ("from mtf_switch.modes.train import train", {"modes.train"}),
        ("import mtf_switch.training.inputs", {"training.inputs"}),
        ("def f():\n  import mtf_switch.mesh as m", {"mesh"}),
        ("import mtf_switch, tensorflow", set()),
    ],
)
def test_own_modules_finds_every_form_of_import(source, modules):
  assert own_modules(ast.parse(source)) == modules


def test_upward_imports_finds_higher_floors_only():
  tree = ast.parse(
      "from mtf_switch import errors\n"
      "from mtf_switch.layer import dims\n"
      "from mtf_switch.mesh import layouts\n"
      "from mtf_switch.modes import train\n"
  )
  assert upward_imports("mesh.cluster", tree) == {"modes.train"}
  assert upward_imports("files", tree) >= {"layer.dims", "mesh.layouts"}


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
