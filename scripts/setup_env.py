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

"""Creates `.venv` from `requirements.txt`, unless it is up to date.

Runs before anything is installed, and therefore uses only the standard library.
`make setup` is its command. Under another Python than 3.11 it fetches that one
and hands over to it.
"""

import sys

if sys.version_info < (3, 9):  # noqa: UP036
  sys.exit("The set-up needs a Python from 3.9 on; see docs/installation.md.")

# pylint: disable=wrong-import-position
import contextlib
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import time
import venv

# pylint: enable=wrong-import-position

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
LOCK = CHECKOUT / "requirements.txt"
PROJECT = CHECKOUT / "pyproject.toml"
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
# Exists from the start in an environment that this program creates, and names
# its completed parts: a killed set-up leaves it empty.
STAMP = VENV / "setup.json"
LOG = VENV / "setup.log"

# TensorFlow 2.15 is for no later one.
VERSION = "3.11"
# Of this checkout alone, where the system has none.
PYTHONS = CHECKOUT / ".python"
# Fetches Python; `make lock` uses it, too.
UV = "uv==0.13.9"

# The only system for which every package of the lock has a wheel, and what the
# registry has for others.
SYSTEM = ("Linux with glibc", "x86_64")
WHEELS = {
    ("Linux with glibc", "aarch64"): "one of TensorFlow alone",
    ("macOS", "arm64"): "one of TensorFlow alone",
    ("macOS", "x86_64"): "both, but not every other package that is locked",
    ("Windows", "x86_64"): "one of TensorFlow alone",
}

# pip needs these to install the others.
INSTALLERS = ("pip", "setuptools", "wheel")
# Processes that install in parallel. TensorFlow is more than half of all bytes;
# the others wait more for the registry's answers than for the disk.
NUM_PROCESSES = 3
PIP = ["install", "--no-deps", "--disable-pip-version-check"]
REACHABLE = "Is the package registry reachable? Is the disk full?"
OFFLINE = (
    f"Without a network, unpack an archive cpython-{VERSION}.*-x86_64-unknown-"
    f"linux-gnu-install_only.tar.gz of python-build-standalone in {PYTHONS} and"
    " run the same command again; docs/installation.md says more."
)
STOPPED = "The set-up was stopped; the next one starts again."


class SetupError(Exception):
  """A reason why the set-up failed, in one line that says what to do."""


def check_system():
  """Refuses systems for which the lock has no wheels.

  Raises:
    SetupError: this is such a system; says what exists for it.
  """
  system, machine = platform.system(), platform.machine()
  machine = {"AMD64": "x86_64", "ARM64": "arm64"}.get(machine, machine)
  system = {"Darwin": "macOS"}.get(system, system)
  if system == "Linux":
    system += f" with {platform.libc_ver()[0] or 'musl'}"
  if (system, machine) != SYSTEM:
    raise SetupError(
        f"requirements.txt is for {' on '.join(SYSTEM)}; this is {system} on"
        f" {machine}, for which TensorFlow 2.15.1 and tensorflow-text 2.15.0"
        f" have {WHEELS.get((system, machine), 'no wheel')}. Use another or a"
        " virtual machine."
    )


def locked_requirements(text: str) -> dict[str, str]:
  """Returns `{name: "name==version"}` from the text of a lock file."""
  pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE)
  return {name: f"{name}=={version}" for name, version in pins}


def split_requirements(pins: dict[str, str]) -> list[list[str]]:
  """Returns one list of requirements for each installing process."""
  others = [
      pin
      for name, pin in pins.items()
      if name not in (*INSTALLERS, "tensorflow")
  ]
  shares = [others[i :: NUM_PROCESSES - 1] for i in range(NUM_PROCESSES - 1)]
  return [[pins["tensorflow"]], *shares]


def wanted_stamp() -> dict[str, str]:
  """Returns the stamp of a complete environment."""
  # Scripts in an environment contain its path: a moved checkout needs another.
  place = f"{CHECKOUT}\n".encode()
  return {
      "environment": hashlib.sha256(place + LOCK.read_bytes()).hexdigest(),
      "project": hashlib.sha256(place + PROJECT.read_bytes()).hexdigest(),
  }


def read_stamp() -> dict[str, str]:
  """Returns the stamp of the completed parts; empty if there are none."""
  if not PYTHON.exists() or not STAMP.exists():
    return {}
  return json.loads(STAMP.read_text() or "{}")


def write_stamp(stamp: dict[str, str]):
  """Replaces the stamp in one step."""
  partial = STAMP.with_suffix(".partial")
  partial.write_text(json.dumps(stamp, indent=2) + "\n")
  partial.replace(STAMP)


@contextlib.contextmanager
def only_one_at_a_time():
  """Holds a lock on the checkout and yields its file descriptor.

  Child processes inherit the descriptor: if this program is killed but they are
  not, the next set-up waits until the last of them has ended.
  """
  import fcntl  # Windows, which check_system refuses, has none.

  with open(LOCK, "rb") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print("Waiting for another set-up of this checkout to end.", flush=True)
      fcntl.flock(lock, fcntl.LOCK_EX)
    yield lock.fileno()


def run_all(
    title: str,
    commands: list[list[str]],
    lock: int,
    advice: str = REACHABLE,
):
  """Runs commands in parallel and waits, showing the elapsed time.

  Args:
    title: a description of the commands, for the terminal.
    commands: the commands, each a list of arguments.
    lock: the file descriptor of the lock, which they inherit.
    advice: what to look at if one of them fails.

  Raises:
    SetupError: a command failed.
  """
  heading = f"{title} ..."
  repeated = f"\r{heading}" if sys.stdout.isatty() else ""
  start = time.monotonic()

  def show_time(end: str):
    seconds = time.monotonic() - start
    print(f"{repeated} {seconds:.0f} s", end=end, flush=True)

  print(heading, end="", flush=True)
  processes = []
  try:
    for command in commands:
      processes.append(start_process(command, lock))
    while {process.poll() for process in processes} <= {0, None}:
      if all(process.poll() == 0 for process in processes):
        break
      if repeated:
        show_time(end="")
      time.sleep(0.2)
  finally:
    for process in processes:
      if process.poll() is None:
        # Together with its own child processes.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    show_time(end="\n")
  if any(process.returncode for process in processes):
    # As pip and uv write them.
    errors = re.findall(
        r"^(?:ERROR|error|  cause): (.*)",
        LOG.read_text(errors="replace"),
        flags=re.MULTILINE,
    )
    reason = errors[-1] if errors else "no message"
    raise SetupError(
        f"{title} failed: {reason} ({advice} The full output is in {LOG})"
    )


def start_process(command: list[str], lock: int) -> subprocess.Popen:
  """Starts a command in a process group of its own, with its output in LOG.

  Args:
    command: a list of arguments.
    lock: the file descriptor of the lock, which it inherits.
  """
  # Without the variables that the shell exports for other projects.
  environment = {
      name: value
      for name, value in os.environ.items()
      if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
  }
  with open(LOG, "ab") as log:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=CHECKOUT,
        env=environment,
        pass_fds=(lock,),
        start_new_session=True,
    )


def system_pip() -> list[str]:
  """Returns the command of a pip that installs into another environment.

  Raises:
    SetupError: there is none, and none can be installed in `.venv`.
  """
  pip = [sys.executable, "-m", "pip"]
  answer = subprocess.run(
      [*pip, "--version"], capture_output=True, text=True, check=False
  )
  version = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
  if version and (int(version[1]), int(version[2])) >= (22, 3):
    return [*pip, "--python", str(PYTHON)]
  try:
    venv.create(VENV, with_pip=True, symlinks=True)
  except (ImportError, subprocess.CalledProcessError) as error:
    raise SetupError(
        f"{sys.executable} has no pip >= 22.3. On Debian and Ubuntu:"
        " sudo apt install python3-pip"
    ) from error
  return [str(PYTHON), "-m", "pip"]


def fetch_python(lock: int) -> str:
  """Fetches Python 3.11 into the checkout, unless it is there.

  Args:
    lock: the file descriptor of the lock, which child processes inherit.

  Returns:
    the interpreter's path.

  Raises:
    SetupError: it cannot be fetched, or this program did not create the present
      `.venv`.
  """
  interpreters = f"*/bin/python{VERSION}"
  if not any(PYTHONS.glob(interpreters)):
    print(
        f"TensorFlow 2.15 needs Python {VERSION}, and this is"
        f" {platform.python_version()}; uv will fetch one into {PYTHONS}.",
        flush=True,
    )
    make_empty_environment()
    run_all("Installing uv", [[*system_pip(), *PIP, UV]], lock, OFFLINE)
    uv = [str(VENV / "bin" / "uv"), "python", "install", VERSION]
    uv += ["--install-dir", str(PYTHONS), "--no-bin", "--system-certs"]
    run_all(f"Fetching Python {VERSION}", [uv], lock, OFFLINE)
  return str(next(PYTHONS.glob(interpreters)))


def make_empty_environment():
  """Creates `.venv` without any package; replaces an old one.

  Raises:
    SetupError: this program did not create the present `.venv`.
  """
  VENV.mkdir(exist_ok=True)
  if any(VENV.iterdir()) and not STAMP.exists():
    raise SetupError(
        f"{VENV} was not made by `make setup`; move it out of the way first"
    )
  # From here on nothing is complete, and the stamp marks `.venv` as ours.
  STAMP.write_text("")
  for entry in VENV.iterdir():
    if entry.is_dir() and not entry.is_symlink():
      shutil.rmtree(entry)
    elif entry != STAMP:
      entry.unlink()
  venv.create(VENV, symlinks=True)


def make_environment(lock: int):
  """Creates `.venv` with all packages of requirements.txt; replaces an old one.

  Args:
    lock: the file descriptor of the lock, which child processes inherit.

  Raises:
    SetupError: the installation of a package failed, or this program did not
      create the present `.venv`.
  """
  make_empty_environment()
  pins = locked_requirements(LOCK.read_text())
  run_all(
      "Making .venv",
      [[*system_pip(), *PIP, *(pins[name] for name in INSTALLERS)]],
      lock,
  )
  # Without --no-build-isolation, packages that come as source would be built
  # with the newest setuptools of the day.
  pip = [str(PYTHON), "-m", "pip", *PIP]
  pip += ["--no-build-isolation", "--no-compile"]
  run_all(
      f"Installing {len(pins)} packages",
      [[*pip, *share] for share in split_requirements(pins)],
      lock,
  )
  # On all cores, because pip and the first import compile one file at a time.
  # Without the packages' own tests, which never run.
  compile_all = [str(PYTHON), "-W", "ignore", "-m", "compileall", "-q"]
  compile_all += ["-j", "0", "-x", "site-packages/.*/tests/"]
  run_all("Compiling them", [[*compile_all, str(VENV / "lib")]], lock)


def install_project(lock: int):
  """Makes the checkout importable in `.venv`, with its console scripts."""
  pip = [str(PYTHON), "-m", "pip", *PIP, "--no-build-isolation"]
  run_all("Installing mtf_switch", [[*pip, "--editable", str(CHECKOUT)]], lock)


def main():
  """Brings `.venv` up to date."""
  for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(stop, lambda *_: sys.exit(STOPPED))
  wanted = wanted_stamp()
  start = time.monotonic()
  with only_one_at_a_time() as lock:
    done = read_stamp()
    if done == wanted:
      return
    check_system()
    if platform.python_version_tuple()[:2] != tuple(VERSION.split(".")):
      python = fetch_python(lock)
      os.execv(python, [python, __file__])
    if done.get("environment") != wanted["environment"]:
      make_environment(lock)
      done = {"environment": wanted["environment"]}
      write_stamp(done)
    install_project(lock)
    write_stamp(wanted)
  print(f".venv is ready ({time.monotonic() - start:.0f} s).", flush=True)


if __name__ == "__main__":
  try:
    main()
  except SetupError as error:
    sys.exit(str(error))
