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

"""Flags, modules, files and hosts that are wrong."""

import gzip
import os
import pathlib
import socket

from tests.mistakes.mistake import Mistake

_NO_FILE_SYSTEM = "TensorFlow has no file system for"
_UNREACHED = "cannot be reached: https://storage.googleapis.com"
_TEXT = "task = 'text_files_span_corruption'"
_C4 = "task = 'c4_span_corruption'"
_BYTES = "vocabulary.name = 'bytes'"


def _module(name: str, content: str | bytes, *contains: str) -> Mistake:
  """A module that exists and cannot be imported."""
  flag = f"--module_import={name}"
  return Mistake([flag, *contains], flags=[flag], files={f"{name}.py": content})


def _flag(flag: str, *contains: str, **others) -> Mistake:
  """A flag that is refused; the line repeats it."""
  return Mistake([flag, *contains], flags=[flag], **others)


def _gin(
    content: str, *contains: str, at: str = "a.gin:1: ", module="", **files
) -> Mistake:
  """A mistake in a gin file, or in a module that it imports."""
  return Mistake(
      [at, *contains],
      flags=["--gin_file=a.gin"],
      files={"a.gin": content, "mine.py": module, **files},
  )


def _socket(path: pathlib.Path):
  # The path of a socket is short.
  directory = os.getcwd()
  os.chdir(path.parent)
  with socket.socket(socket.AF_UNIX) as made:
    made.bind(path.name)
  os.chdir(directory)


def _not_files(make_mistake) -> list[Mistake]:
  """Mistakes with what stands where a file is read.

  Args:
    make_mistake: makes a mistake of a path, the words of the line, and what is
      at the path.
  """
  return [
      make_mistake("pipe", "is a named pipe", {"pipe": os.mkfifo}),
      make_mistake("/dev/zero", "is a device", {}),
      make_mistake("socket", "is a socket", {"socket": _socket}),
      make_mistake("dir", "directory", {"dir": pathlib.Path.mkdir}),
      make_mistake(
          "link",
          "is a link to 'nothing', which does not exist",
          {"link": lambda path: path.symlink_to("nothing")},
      ),
      make_mistake(
          "loop",
          "Too many levels of symbolic links",
          {"loop": lambda path: path.symlink_to("loop")},
      ),
      make_mistake("s3://bucket/file", f"{_NO_FILE_SYSTEM} s3://", {}),
      make_mistake("hdfs://host/file", f"{_NO_FILE_SYSTEM} hdfs://", {}),
      make_mistake("http://host/file", f"{_NO_FILE_SYSTEM} http://", {}),
  ]


def _read_by_flag(flag: str, *flags: str) -> list[Mistake]:
  return _not_files(
      lambda path, words, files: Mistake(
          [f"--{flag}={path} ", words],
          flags=[*flags, f"--{flag}={path}"],
          files=files,
      )
  )


def _read_by_gin(parameter: str, *params: str) -> list[Mistake]:
  return _not_files(
      lambda path, words, files: Mistake(
          [repr(path), words],
          params=[*params, f"{parameter} = {path!r}"],
          files={"text.txt": "a\n\nb\n", **files},
      )
  )


_INFER = ("--mode=infer", "--output_file=out", "--input_file=text.txt")


def _written(path: str, words: str, **files) -> Mistake:
  flag = f"--output_file={path}"
  return Mistake(
      [flag, words],
      flags=[*_INFER, flag],
      files={"text.txt": "a\n", **files},
  )


MISTAKES = [
    # Modules.
    _module("mine", "a = 1\ndef f(:\n", "/mine.py:2: invalid syntax"),
    _module("mine", b"a\0b", "null bytes"),
    _module(
        "mine",
        "def f():\n  return 1 // 0\nf()\n",
        "/mine.py:2: ZeroDivisionError: integer division or modulo by zero",
    ),
    _module("mine", "raise ValueError('a\\nb')", "/mine.py:1: ValueError: a"),
    _module("mine", "import sys\nsys.exit()", "/mine.py:2: the module ends"),
    _module("mine", "exit(0)", "/mine.py:1: the module ends the program"),
    _module(
        "mine", "\nimport not_there", "/mine.py:2: No module named 'not_there'"
    ),
    _module(
        "mine", "from seqio import no", "/mine.py:1: ImportError: cannot import"
    ),
    _module("seqio", "", "would import", "site-packages", "rename yours"),
    _module("json", "", "would import", "rename yours"),
    _module("run_switch", "", "would import", "rename yours"),
    _flag("--module_import=", "is not the name of a module"),
    _flag("--module_import=.mine", "is not the name of a module"),
    _flag("--module_import=a..b", "is not the name of a module"),
    _flag(
        "--module_import=mine.py",
        "write --module_import=mine.",
        files={"mine.py": ""},
    ),
    _flag(
        "--module_import=sub/mine.py",
        "write --module_import=mine, with ",
        "/sub on PYTHONPATH",
    ),
    _flag("--module_import=sub/", "is not the name of a module"),
    _flag(
        "--module_import=sub",
        "/sub is a directory without __init__.py",
        files={"sub": pathlib.Path.mkdir},
    ),
    _flag("--module_import=no_such", "No module named 'no_such'"),
    _gin("import mine\n", "/mine.py:2: KeyError: 'b'", module="\n{}['b']"),
    _gin(
        "import mine\n",
        "/mine.py:1: invalid syntax",
        at="a.gin: ",
        module="def f(:\n",
    ),
    _gin(
        "import mine\n",
        "/mine.py:1: the module ends the",
        at="a.gin: ",
        module="exit()",
    ),
    _gin("import no_such\n", "No module named 'no_such'"),
    # Gin files.
    _gin("include 'a.gin'\n", "the file includes itself"),
    _gin("include 'dir'\n", "dir is a directory", dir=pathlib.Path.mkdir),
    _gin("include '/dev/zero'\n", "/dev/zero is a device, not a file"),
    _gin("include 'pipe'\n", "pipe is a named pipe", pipe=os.mkfifo),
    _gin("include 'none.gin'\n", "none.gin is not there"),
    _gin(f"a = {500 * '['}{500 * ']'}\n", "too many brackets", at="a.gin: "),
    _gin(f"a = {10000 * '9'}x\n", f"this is not gin: a = {196 * '9'}..."),
    _gin("a = 1\0\n", "this is not gin: a = 1\\x00"),
    _gin("a = %a\n", "a = %a leads back to itself", at=""),
    _gin("a = %b\nb = %a\n", "a = %b = %a leads back to itself", at=""),
    _gin("train_steps = @train()\n", "a value in gin leads back", at=""),
    _gin("\ufefftrain_steps = 0\n", "train.steps = 0 must be", at=""),
    # What is read.
    *_read_by_flag("gin_file")[:2],
    *_read_by_flag("input_file", "--mode=infer", "--output_file=out"),
    *_read_by_gin("text_files.path", _TEXT),
    *_read_by_gin("vocabulary.path", _TEXT, "text_files.path = 'text.txt'")[:2],
    *_read_by_gin("c4.files", _C4, _BYTES)[:2],
    _flag("--gin_file=gs://bucket/a.gin", _UNREACHED),
    _flag("--model_dir=gs://bucket/model", _UNREACHED),
    _flag("--model_dir=s3://bucket/model", f"{_NO_FILE_SYSTEM} s3://"),
    _flag("--model_dir=mine.gin", "is not a directory"),
    _flag(
        "--model_dir=link",
        "is a link to 'nothing', which does not exist",
        files={"link": lambda path: path.symlink_to("nothing")},
    ),
    _flag("--additional_task_cache_dirs=no", "does not exist"),
    _flag("--t5_tfds_data_dir=mine.gin", "is not a directory"),
    Mistake(
        ["finetune.pretrained_dir = 'mine.gin' is not a directory"],
        ["finetune.pretrained_dir = 'mine.gin'"],
        ["--mode=finetune"],
    ),
    Mistake(
        ["finetune.pretrained_dir = 'gs://bucket/m'", _UNREACHED],
        ["finetune.pretrained_dir = 'gs://bucket/m'"],
        ["--mode=finetune"],
    ),
    Mistake(
        ["text_files.path = 'gs://bucket/*'", _UNREACHED],
        [_TEXT, "text_files.path = 'gs://bucket/*'"],
    ),
    Mistake(
        ["c4.files = 'gs://bucket/*'", _UNREACHED],
        [_C4, _BYTES, "c4.files = 'gs://bucket/*'"],
    ),
    # What is written.
    _written("dir", "Is a directory", dir=pathlib.Path.mkdir),
    _written("pipe", "is a named pipe", pipe=os.mkfifo),
    _written("socket", "is a named pipe or a socket", socket=_socket),
    _written("gs://bucket/out", _UNREACHED),
    _written("s3://bucket/out", f"{_NO_FILE_SYSTEM} s3://"),
    _written("mine.gin/out", "mine.gin/.out.new: Not a directory"),
    _written("", "has no value"),
    # Processes and TPUs.
    *[
        _flag(f"--mesh_hosts={hosts}", "1 to 256", "host0:2222,host1:2222")
        for hosts in ("1000000", "0", 5000 * "9")
    ],
    *[
        _flag(f"--mesh_hosts={hosts}", f"look at {hosts!r}")
        for hosts in ("-1", "x", "", "host0", "host0:", ":1", "host0:99999")
    ],
    *[
        _flag("--mesh_hosts=host0:1,host0:1", "has one of them twice"),
    ],
    Mistake(
        ["--mesh_task=2 is not one of the 2 tasks", "0 to 1"],
        flags=["--mesh_hosts=host0:1,host1:1", "--mesh_task=2"],
    ),
    Mistake(["--ask_remote goes with --mode=doctor"], flags=["--ask_remote"]),
    Mistake(
        ["--gin_file=nothing.gin is neither in the working directory nor in"],
        flags=["--mode=doctor", "--gin_file=nothing.gin"],
    ),
    Mistake(["--mesh_task goes with --mesh_hosts"], flags=["--mesh_task=1"]),
    Mistake(["--tpu_zone goes with --tpu"], flags=["--tpu_zone=a"]),
    Mistake(["--gcp_project goes with --tpu"], flags=["--gcp_project=a"]),
    Mistake(["--tpu_job_name goes with --tpu"], flags=["--tpu_job_name=a"]),
    _flag("--tpu=", "has no name"),
    _flag("--tpu=no_such", "Google Cloud does not say where it is", "grpc://"),
    # Flags.
    *[
        _flag(flag, words)
        for flag, words in (
            ("--seed=x", "this is not a whole number"),
            ("--seed=-1", "not an integer in the range [0, 2147483647]"),
            ("--watch=maybe", "this is neither true nor false"),
            ("--mode=trian", "one of <train|finetune|distill|teach|upcycle|"),
            ("--plan_format=xml", "one of <table|json>"),
        )
    ],
    Mistake(
        ["--mode=eval: already defined as train"],
        flags=["--mode=train", "--mode=eval"],
    ),
    Mistake(["flag 'modle', did you mean mode"], flags=["--modle=train"]),
    Mistake(["Missing value for flag --seed; see --help."], flags=["--seed"]),
    Mistake(["No such file", "'no_such'"], flags=["--flagfile=no_such"]),
    Mistake(["Is a directory", "'.'"], flags=["--flagfile=."]),
    Mistake(
        ["codec can't decode"],
        flags=["--flagfile=flags"],
        files={"flags": gzip.compress(b"--seed=1")},
    ),
    Mistake(["--model_dir is missing"], flags=["--model_dir= "]),
    Mistake(
        ["--split= has no value"],
        flags=["--mode=inspect", "--task=toy_copy", "--split= "],
    ),
    Mistake(
        ["--compare_dir= has no value"],
        flags=["--mode=compare_languages", "--compare_dir=", "--output_dir=o"],
    ),
    _flag(
        "--flagfile=pipe",
        "is a device, a named pipe",
        files={"pipe": os.mkfifo},
    ),
    _flag("--flagfile=/dev/zero", "is a device, a named pipe"),
    Mistake(
        ["--flagfile=/dev/zero is a device"],
        flags=["--flagfile=flags"],
        files={"flags": "--seed=1\n--flagfile=/dev/zero\n"},
    ),
    _flag(
        "--flagfile=flags",
        "leads back to itself",
        files={"flags": "--flagfile=flags\n"},
    ),
    Mistake(["'train' is not a flag; flags start with --"], flags=["train"]),
]
