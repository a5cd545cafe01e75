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

"""The lock, the set-up of `.venv`, and the contents of a wheel."""

import ast
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile

from packaging import requirements as requirements_lib
from packaging import utils as names_lib
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.txt").read_text()

in_dot_venv = pytest.mark.skipif(
    pathlib.Path(sys.prefix) != ROOT / ".venv",
    reason="only .venv is installed from the lock",
)


def load_setup_env():
  """Returns a fresh copy of the module scripts/setup_env.py."""
  path = ROOT / "scripts" / "setup_env.py"
  spec = importlib.util.spec_from_file_location("setup_env", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


PINS = load_setup_env().locked_requirements(LOCK)
EXCLUDED = set(PYPROJECT["tool"]["uv"]["exclude-dependencies"])


def asked_for() -> list[requirements_lib.Requirement]:
  """Returns the requirements of requirements.in."""
  lines = (ROOT / "requirements.in").read_text().splitlines()
  lines = [line.split("#")[0].strip() for line in lines]
  return [requirements_lib.Requirement(line) for line in lines if line]


def needed() -> set[str]:
  """Returns the dependencies of requirements.in, as the packages declare them.

  Packages that are not installed are included without their own dependencies.
  """
  found = set()
  to_visit = asked_for()
  while to_visit:
    requirement = to_visit.pop()
    name = names_lib.canonicalize_name(requirement.name)
    for extra in ("", *requirement.extras):
      if (name, extra) in found:
        continue
      found.add((name, extra))
      if name in PINS:
        declared = importlib.metadata.requires(name) or []
        to_visit += [
            dependency
            for dependency in map(requirements_lib.Requirement, declared)
            if not dependency.marker
            or dependency.marker.evaluate({"extra": extra})
        ]
  return {name for name, _ in found}


# The lock.


def test_lock_says_how_to_regenerate_it():
  assert "make lock" in "\n".join(LOCK.splitlines()[:2])
  assert "make lock" in (ROOT / "requirements.in").read_text()


def test_lock_holds_exact_versions_and_nothing_else():
  for line in LOCK.splitlines():
    assert re.fullmatch(r"\s*#.*|[a-z0-9-]+==[A-Za-z0-9.]+", line), line
  assert "://" not in LOCK


def test_lock_satisfies_every_requirement():
  for requirement in asked_for():
    pin = PINS[names_lib.canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin.split("==")[1]), requirement


def test_lock_omits_the_excluded_packages():
  assert not EXCLUDED & set(PINS)


@in_dot_venv
def test_environment_is_the_lock():
  installed = {
      f"{names_lib.canonicalize_name(package.name)}=={package.version}"
      for package in importlib.metadata.distributions(
          path=[str(pathlib.Path(pytest.__file__).parent.parent)]
      )
      if package.name != PYPROJECT["project"]["name"]
  }
  assert installed == set(PINS.values())


@in_dot_venv
def test_lock_is_complete_except_for_the_excluded_packages():
  assert needed() == set(PINS) | EXCLUDED


@in_dot_venv
def test_run_switch_runs_from_any_directory(tmp_path):
  done = subprocess.run(
      [ROOT / ".venv" / "bin" / "run_switch", "--help"],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      check=False,
  )
  assert not done.stderr
  assert "--gin_file" in done.stdout
  assert not list(tmp_path.iterdir())


@in_dot_venv
def test_t5_mesh_transformer_is_ours():
  # t5 installs a script of the same name, which fails on import.
  script = (ROOT / ".venv" / "bin" / "t5_mesh_transformer").read_text()
  assert "from mtf_switch.compat import t5_mesh_transformer" in script


# The set-up. A fake installer, which only records its arguments, replaces pip;
# everything else is real.


@pytest.fixture
def setup_env(tmp_path, monkeypatch):
  """The set-up program in an empty checkout whose path has a space."""
  module = load_setup_env()
  checkout = tmp_path / "my checkout"
  checkout.mkdir()
  (checkout / "requirements.txt").write_text(
      "# comment\npip==1.0\nsetuptools==2\nwheel==3\ntensorflow==4\nrich==5\n"
      "    # via something\n"
  )
  (checkout / "pyproject.toml").write_text("[project]\n")
  dot_venv = checkout / ".venv"
  for name, value in {
      "CHECKOUT": checkout,
      "LOCK": checkout / "requirements.txt",
      "PROJECT": checkout / "pyproject.toml",
      "VENV": dot_venv,
      "PYTHON": dot_venv / "bin" / "python",
      "STAMP": dot_venv / "setup.json",
      "LOG": dot_venv / "setup.log",
      "PYTHONS": checkout / ".python",
  }.items():
    monkeypatch.setattr(module, name, value)
  module.real_run_all = module.run_all
  module.steps = []

  def note(title, commands, lock, advice=""):
    del lock, advice
    module.steps.append(title)
    module.commands = commands

  monkeypatch.setattr(module, "run_all", note)
  module.real_system_pip = module.system_pip
  monkeypatch.setattr(module, "system_pip", lambda: ["pip"])
  return module


def test_second_setup_does_nothing(setup_env):
  setup_env.main()
  assert setup_env.steps == [
      "Making .venv",
      "Installing 5 packages",
      "Compiling them",
      "Installing mtf_switch",
  ]
  setup_env.steps.clear()
  setup_env.main()
  assert not setup_env.steps


def test_changed_lock_is_installed_from_scratch(setup_env):
  setup_env.main()
  left_over = setup_env.VENV / "lib" / "left_over"
  left_over.mkdir()
  setup_env.steps.clear()
  setup_env.LOCK.write_text(setup_env.LOCK.read_text() + "scipy==6\n")
  setup_env.main()
  assert "Installing 6 packages" in setup_env.steps
  assert not left_over.exists()
  assert setup_env.PYTHON.exists()


def test_changed_project_is_installed_alone(setup_env):
  setup_env.main()
  setup_env.steps.clear()
  setup_env.PROJECT.write_text("[project]\nname = 'other'\n")
  setup_env.main()
  assert setup_env.steps == ["Installing mtf_switch"]


def test_moved_checkout_is_installed_anew(setup_env, monkeypatch):
  setup_env.main()
  setup_env.steps.clear()
  monkeypatch.setattr(setup_env, "CHECKOUT", setup_env.CHECKOUT.parent)
  setup_env.main()
  assert "Installing 5 packages" in setup_env.steps


@pytest.mark.parametrize(
    "step", ["Making", "Installing 5", "Compiling", "Installing mtf_switch"]
)
def test_interrupted_setup_does_not_count(setup_env, monkeypatch, step):
  note = setup_env.run_all

  def interrupted(title, commands, lock, advice=""):
    if title.startswith(step):
      raise KeyboardInterrupt
    note(title, commands, lock)

  monkeypatch.setattr(setup_env, "run_all", interrupted)
  with pytest.raises(KeyboardInterrupt):
    setup_env.main()
  setup_env.steps.clear()
  monkeypatch.setattr(setup_env, "run_all", note)
  setup_env.main()
  assert setup_env.steps[-1] == "Installing mtf_switch"
  assert len(setup_env.steps) == (1 if "mtf_switch" in step else 4)
  setup_env.steps.clear()
  setup_env.main()
  assert not setup_env.steps


def test_environment_of_the_users_own_is_left_alone(setup_env):
  own = setup_env.VENV / "bin"
  own.mkdir(parents=True)
  with pytest.raises(
      setup_env.SetupError, match="was not made by `make setup`"
  ):
    setup_env.main()
  assert list(setup_env.VENV.iterdir()) == [own]


def test_missing_pip_gives_one_line(setup_env, monkeypatch, tmp_path):
  venv = setup_env.venv
  venv.create(tmp_path / "without_pip", symlinks=True)
  python = tmp_path / "without_pip" / "bin" / "python"
  monkeypatch.setattr(setup_env.sys, "executable", str(python))

  def create_without_ensurepip(*args, **kwargs):
    raise subprocess.CalledProcessError(1, "ensurepip")

  monkeypatch.setattr(setup_env.venv, "create", create_without_ensurepip)
  with pytest.raises(setup_env.SetupError) as caught:
    setup_env.real_system_pip()
  assert "apt install python3-pip" in str(caught.value)
  assert "\n" not in str(caught.value)


def test_every_package_is_installed_by_one_process():
  module = load_setup_env()
  shares = module.split_requirements(PINS)
  assert len(shares) == module.NUM_PROCESSES
  installed = sum(shares, [PINS[name] for name in module.INSTALLERS])
  assert sorted(installed) == sorted(PINS.values())


def test_failed_command_ends_the_others_and_names_the_log(setup_env):
  setup_env.VENV.mkdir()
  failing = "import sys; print('ERROR: no such version'); sys.exit(1)"
  start = time.monotonic()
  with pytest.raises(setup_env.SetupError) as caught:
    setup_env.real_run_all(
        "Trying",
        [[sys.executable, "-c", failing], ["sleep", "3600"]],
        os.open(setup_env.LOCK, os.O_RDONLY),
    )
  assert time.monotonic() - start < 1800
  message = str(caught.value)
  assert message.startswith("Trying failed: no such version (")
  assert str(setup_env.LOG) in message
  assert "\n" not in message


def test_killed_setup_leaves_a_lock_until_its_processes_end(setup_env):
  """An installer that outlives its set-up must end before the next one."""
  with setup_env.only_one_at_a_time() as lock:
    orphan = subprocess.Popen(["sleep", "3600"], pass_fds=(lock,))
  try:
    with open(setup_env.LOCK, "rb") as file:
      with pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      orphan.send_signal(signal.SIGKILL)
      orphan.wait()
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  finally:
    orphan.kill()


def make_setup(tmp_path, **tools: str) -> subprocess.CompletedProcess:
  """Runs `make setup` where only some programs are installed.

  Args:
    tmp_path: an empty directory.
    **tools: the programs, shell scripts by name.
  """
  checkout = tmp_path / "my checkout"
  (checkout / "scripts").mkdir(parents=True)
  shutil.copy(ROOT / "Makefile", checkout)
  shutil.copy(ROOT / "scripts" / "setup_env.py", checkout / "scripts")
  (tmp_path / "bin").mkdir()
  for name, script in tools.items():
    (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / name).chmod(0o755)
  return subprocess.run(
      [shutil.which("make"), "setup"],
      cwd=checkout,
      env={"PATH": str(tmp_path / "bin")},
      capture_output=True,
      text=True,
      check=False,
  )


def test_missing_python_gives_one_line(tmp_path):
  # One that works by half, as minimal ones do, is as good as none.
  done = make_setup(tmp_path, python3="exit 1")
  assert done.returncode
  line, make = done.stderr.splitlines()
  assert line == (
      "Python 3 is missing. On Debian and Ubuntu: sudo apt install python3"
      " python3-pip"
  )
  assert make.startswith("make")
  assert not (tmp_path / "my checkout" / ".venv").exists()


def test_any_python_is_a_start(tmp_path):
  python = '[ "$1" = -c ] || echo "$0" "$@"'
  done = make_setup(tmp_path, python3=python)
  assert done.stdout.strip() == f"{tmp_path}/bin/python3 scripts/setup_env.py"


@pytest.fixture
def other_python(setup_env, monkeypatch):
  """The set-up program under another Python, with what it hands over to."""
  monkeypatch.setattr(
      setup_env.platform, "python_version_tuple", lambda: ("3", "13", "5")
  )
  monkeypatch.setattr(setup_env.platform, "python_version", lambda: "3.13.5")

  def hand_over(*arguments):
    setup_env.handed_over = arguments
    raise SystemExit

  monkeypatch.setattr(setup_env.os, "execv", hand_over)
  return setup_env


def test_missing_python_is_fetched(other_python, monkeypatch, capsys):
  python = other_python.PYTHONS / "cpython-3.11.9-linux" / "bin" / "python3.11"
  note = other_python.run_all

  def fetch(title, commands, lock, advice):
    note(title, commands, lock)
    assert "docs/installation.md" in advice
    if title.startswith("Fetching"):
      ((uv, *arguments),) = commands
      assert uv == str(other_python.VENV / "bin" / "uv")
      assert arguments[:3] == ["python", "install", "3.11"]
      assert arguments[arguments.index("--install-dir") + 1] == str(
          other_python.PYTHONS
      )
      python.parent.mkdir(parents=True)
      python.touch()

  monkeypatch.setattr(other_python, "run_all", fetch)
  with pytest.raises(SystemExit):
    other_python.main()
  assert other_python.steps == ["Installing uv", "Fetching Python 3.11"]
  assert other_python.handed_over == (
      str(python),
      [str(python), other_python.__file__],
  )
  assert capsys.readouterr().out == (
      "TensorFlow 2.15 needs Python 3.11, and this is 3.13.5; uv will fetch one"
      f" into {other_python.PYTHONS}.\n"
  )
  # The second time it is there.
  other_python.steps.clear()
  with pytest.raises(SystemExit):
    other_python.main()
  assert not other_python.steps
  # A complete environment needs none.
  other_python.write_stamp(other_python.wanted_stamp())
  other_python.main()


def test_uv_fetches_python_from_a_mirror(other_python, monkeypatch, tmp_path):
  """With uv itself, where the package registry can be reached."""
  tools = tmp_path / "tools"
  pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tools]
  if subprocess.run([*pip, other_python.UV], check=False).returncode:
    pytest.skip("uv cannot be installed here")
  python = tmp_path / "python" / "bin" / "python3.11"
  python.parent.mkdir(parents=True)
  python.write_text(f"#!/bin/sh\nexec '{sys.executable}' \"$@\"\n")
  python.chmod(0o755)
  library = tmp_path / "python" / "lib" / "python3.11"
  library.mkdir(parents=True)
  # What uv looks at in an archive.
  (library / "_sysconfigdata__linux_x86_64-linux-gnu.py").write_text(
      "# system configuration generated and used by the sysconfig module\n"
      "build_time_vars = {}\n"
  )
  archive = tmp_path / "cpython.tar.gz"
  with tarfile.open(archive, "w:gz") as tar:
    tar.add(tmp_path / "python", "python")
  downloads = tmp_path / "downloads.json"
  downloads.write_text(
      json.dumps(
          {
              "cpython-3.11.99-linux-x86_64-gnu": {
                  "name": "cpython",
                  "arch": {"family": "x86_64", "variant": None},
                  "os": "linux",
                  "libc": "gnu",
                  "major": 3,
                  "minor": 11,
                  "patch": 99,
                  "prerelease": "",
                  "url": archive.as_uri(),
                  "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
                  "variant": None,
              }
          }
      )
  )
  monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", downloads.as_uri())

  def run(title, commands, lock, advice):
    if title == "Installing uv":
      shutil.copy(tools / "bin" / "uv", other_python.VENV / "bin")
    else:
      other_python.real_run_all(title, commands, lock, advice)

  monkeypatch.setattr(other_python, "run_all", run)
  with pytest.raises(SystemExit):
    other_python.main()
  fetched = pathlib.Path(other_python.handed_over[0])
  assert other_python.PYTHONS in fetched.parents
  assert fetched.read_text() == python.read_text()


def test_python_that_cannot_be_fetched_gives_one_line(other_python):
  """What uv says, and what to do without a network."""
  other_python.VENV.mkdir()
  error = "error: Failed to install\n  cause: no connection\n"
  with pytest.raises(other_python.SetupError) as caught:
    other_python.real_run_all(
        "Fetching",
        [["sh", "-c", f"printf '{error}' >&2; exit 1"]],
        os.open(other_python.LOCK, os.O_RDONLY),
        other_python.OFFLINE,
    )
  message = str(caught.value)
  assert message.startswith("Fetching failed: no connection (Without a network")
  assert "\n" not in message


@pytest.mark.parametrize(
    "system, machine, libc, said",
    [
        ("Linux", "aarch64", "glibc", "one of TensorFlow alone"),
        ("Linux", "x86_64", "", "this is Linux with musl on x86_64"),
        ("Darwin", "arm64", "", "this is macOS on arm64"),
        ("Darwin", "x86_64", "", "both, but"),
        ("Windows", "AMD64", "", "one of TensorFlow alone"),
        ("FreeBSD", "amd64", "", "have no wheel"),
    ],
)
def test_system_without_wheels_gives_one_line(
    setup_env, monkeypatch, system, machine, libc, said
):
  monkeypatch.setattr(platform, "system", lambda: system)
  monkeypatch.setattr(platform, "machine", lambda: machine)
  monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
  with pytest.raises(setup_env.SetupError) as caught:
    setup_env.main()
  message = str(caught.value)
  assert said in message and "for Linux with glibc on x86_64" in message
  assert "\n" not in message
  assert not setup_env.VENV.exists()


def test_message_is_about_the_locked_versions():
  program = (ROOT / "scripts" / "setup_env.py").read_text().lower()
  for name in ("tensorflow", "tensorflow-text"):
    assert PINS[name].replace("==", " ") in program


# The wheel.


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
  """The project's wheel, built from the sdist of a copy of the checkout."""
  copy = tmp_path_factory.mktemp("my checkout")
  ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")
  shutil.copytree(ROOT, copy, ignore=ignored, dirs_exist_ok=True)
  build = """import glob, os, tarfile
from setuptools import build_meta
tarfile.open(build_meta.build_sdist('.')).extractall('sdist')
os.chdir(*glob.glob('sdist/*'))
build_meta.build_wheel(os.path.join('..', '..'))
"""
  subprocess.run(
      [sys.executable, "-c", build], cwd=copy, check=True, capture_output=True
  )
  (path,) = copy.glob("*.whl")
  return zipfile.ZipFile(path)


def test_wheel_installs_no_package_named_gin(wheel):
  top = {name.split("/")[0] for name in wheel.namelist()}
  top = {name for name in top if "-" not in name}
  assert top == {"mtf_switch", "switch_command", "tasks", "run_switch.py"}


def test_wheel_holds_every_gin_file(wheel):
  inside = {
      name.removeprefix("mtf_switch/gin_files/")
      for name in wheel.namelist()
      if name.endswith(".gin")
  }
  files = (ROOT / "gin").rglob("*.gin")
  assert inside == {str(path.relative_to(ROOT / "gin")) for path in files}


def test_wheel_holds_the_tables(wheel):
  tables = {f"tasks/{path.name}" for path in (ROOT / "tasks").glob("*.tsv")}
  assert tables and tables <= set(wheel.namelist())
  assert "mtf_switch/planning/chips.csv" in wheel.namelist()
  of_pages = {f"mtf_switch/pages/{name}" for name in ("page.css", "page.js")}
  assert of_pages <= set(wheel.namelist())
  plans = "mtf_switch/gin_files/experiments/paper/plans.json"
  assert plans in wheel.namelist()


def modules() -> list[pathlib.Path]:
  """The files of all modules, relative to the checkout.

  Those of the program come first, as when it runs: its flags give way to none
  of Mesh TensorFlow's.
  """
  return [
      path.relative_to(ROOT)
      for package in ("switch_command", "mtf_switch", "tasks")
      for path in sorted((ROOT / package).rglob("*.py"))
  ]


def test_wheel_holds_every_module(wheel):
  assert {str(path) for path in modules()} <= set(wheel.namelist())


def test_pyproject_names_every_package():
  packages = {
      ".".join(path.parent.parts)
      for path in modules()
      if path.name == "__init__.py"
  }
  named = PYPROJECT["tool"]["setuptools"]["packages"]
  assert packages == set(named) - {"mtf_switch.gin_files"}


def test_every_module_can_be_imported_from_an_installed_wheel(wheel, tmp_path):
  wheel.extractall(tmp_path)
  names = [
      ".".join(path.with_suffix("").parts).removesuffix(".__init__")
      for path in modules()
  ]
  program = (
      "import importlib, sys\n"
      "for name in sys.argv[1:]:\n"
      "  print(importlib.import_module(name).__file__)"
  )
  done = subprocess.run(
      [sys.executable, "-c", program, *names],
      cwd=tmp_path,
      env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
      capture_output=True,
      text=True,
      check=False,
  )
  assert not done.returncode, done.stderr
  # The ones of the wheel, not of the checkout.
  assert done.stdout.splitlines() == [str(tmp_path / x) for x in modules()]


def test_installed_wheel_without_packages_says_what_completes_it(
    wheel, tmp_path
):
  wheel.extractall(tmp_path)
  # Where pip puts it, here beside the modules.
  (data,) = tmp_path.glob("*.data/data")
  shutil.move(data / "share", tmp_path)
  (info,) = tmp_path.glob("*.dist-info")
  lock = "share/mtf_switch/requirements.txt"
  (info / "RECORD").write_text(f"{lock},,\n")
  done = subprocess.run(
      [sys.executable, "-S", "-c", "import run_switch; run_switch.main()"],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      check=False,
  )
  assert done.returncode == 1
  assert done.stderr == (
      "run_switch: absl is not installed; complete the installation with:"
      f" {shlex.quote(sys.executable)} -m pip install --no-deps -r"
      f" {tmp_path / lock}\n"
  )
  assert (tmp_path / lock).read_text() == LOCK


def test_installed_wheel_has_the_papers_experiments(wheel, tmp_path):
  wheel.extractall(tmp_path / "installed")
  done = subprocess.run(
      [
          *(sys.executable, "-c", "import run_switch; run_switch.main()"),
          *("--mode=reproduce", "--experiment=all", "--dry_run"),
      ],
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
      capture_output=True,
      text=True,
      check=False,
  )
  assert not done.returncode, done.stderr
  # The project's records are in the checkout only.
  assert "as stated, without a finished run" in done.stderr


@pytest.mark.parametrize(
    "flags, problem",
    [("-S", "absl is not installed"), ("", "Python 3.12.3 is not 3.11")],
)
def test_program_under_another_python_names_the_right_one(flags, problem):
  program = "import runpy, sys; sys.argv[1:] = []\n"
  if not flags:
    program += "sys.version_info = (3, 12, 3)\n"
  program += f"runpy.run_path({str(ROOT / 'run_switch.py')!r})"
  done = subprocess.run(
      [sys.executable, *flags.split(), "-c", program],
      capture_output=True,
      text=True,
      check=False,
  )
  assert done.returncode == 1
  assert done.stderr == (
      f"run_switch: {problem}; use {ROOT}/.venv/bin/python, which `make setup`"
      f" in {ROOT} makes and completes.\n"
  )


@pytest.mark.parametrize(
    "script, target", PYPROJECT["project"]["scripts"].items()
)
def test_console_scripts_name_functions_that_exist(script, target):
  module, function = target.split(":")
  tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
  functions = [
      node.name for node in tree.body if isinstance(node, ast.FunctionDef)
  ]
  assert function in functions, script
