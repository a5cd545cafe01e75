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

"""Flags and directories of --mode=reproduce that are wrong."""

from tests.mistakes.mistake import Mistake

_OUT = "--output_dir=out"
_RECORD = "out/records/dense/0.json"


def _command(*flags: str, contains=(), **others) -> Mistake:
  """A reproduction of Table 3, and what its line must have."""
  return Mistake(
      contains,
      flags=["--mode=reproduce", *flags],
      is_whole=True,
      **others,
  )


def _table3(*flags: str, contains=(), **others) -> Mistake:
  return _command("--experiment=table3", *flags, contains=contains, **others)


def _record(content, *contains: str) -> Mistake:
  """A record that is no record of this version."""
  return _table3(
      _OUT,
      contains=[_RECORD, *contains],
      files={"out/reproduction.json": "{}", _RECORD: content},
  )


MISTAKES = [
    _command(contains=["--mode=reproduce needs --experiment."]),
    *(
        _command(flag, contains=["--experiment= has no value; leave it out"])
        for flag in ("--experiment=", "--experiment=table3,")
    ),
    _table3("--rows=", contains=["--rows= has no value; leave it out"]),
    _command(
        "--experiment=table3,tabel6",
        contains=["--experiment=tabel6 is not known; did you mean table6"],
    ),
    _command(
        "--experiment=glue", contains=["there are ", "table3, ", "and all"]
    ),
    _table3(
        "--rows=switch_e16_s0.1_lr06",
        contains=[
            "is no card of --experiment; did you mean switch_e16_s0.1_lr0.6"
        ],
    ),
    _table3("--rows=dense", contains=["--rows=dense is no card of"]),
    *(
        _table3(
            f"--seeds={seeds}", contains=[f"--seeds={seeds} is neither how"]
        )
        for seeds in ("0", "x", "5-3", "1,", "-1")
    ),
    *(
        _table3(
            flag, contains=["of no use to --mode=reproduce: the cards settle"]
        )
        for flag in ("--model_dir=m", "--seed=1", "--mesh_hosts=2")
    ),
    *(
        _table3(flag, contains=["at --scale=paper only: small cards say all"])
        for flag in (
            "--gin_file=mine.gin",
            "--gin_param=train_steps = 2",
            "--module_import=tests.toy_tasks",
            "--tpu=a",
        )
    ),
    _table3("--scale=large", contains=["should be one of <small|paper>"]),
    _table3("--scale=paper", contains=["for TPUs; name one with --tpu"]),
    Mistake(
        ["--experiment goes with --mode=reproduce only."],
        flags=["--experiment=table3"],
    ),
    _table3(
        "--output_dir=gs://bucket/out", contains=["is not on this machine"]
    ),
    _table3(
        "--output_dir=/proc/nothing",
        contains=["--output_dir=/proc/nothing cannot be written: No such file"],
    ),
    _table3("--output_dir=mine.gin", contains=["mine.gin: Not a directory"]),
    _table3(
        _OUT,
        contains=["out has 'mine.txt' in it and is not the directory of a"],
        files={"out/mine.txt": ""},
    ),
    _record('{"format": 1', "is not JSON"),
    _record("[]", "is not the record of a run"),
    _record('{"format": 1}', "is not the record of a run"),
    _record('{"format": 7}', "has format 7, and this version of the program"),
]
