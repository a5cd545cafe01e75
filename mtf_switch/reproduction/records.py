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

"""The record of a run: one small JSON file, of which all results are made.

Nothing here loads TensorFlow to read records: what is missing is said at once.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

from mtf_switch import errors
from mtf_switch import values

FORMAT = 1
QUALITY, SPEED = "quality", "speed"


@dataclasses.dataclass(frozen=True)
class Record:
  """What is known of a run after its end.

  Attributes:
    card: the name of the card.
    seed: that of the run; of a run for speed, the number of its round.
    kind: QUALITY, or SPEED: a short run of a contest.
    contest: the question whose contest it is; None of QUALITY.
    round: which round of the contest, from 0; None of QUALITY.
    mode: that of run_switch.
    command: the command line; paths in it are relative to the output_dir.
    gin: the text of the card.
    configuration: the hash of the card's settings (configurations.py).
    versions: those of Python and of the libraries that compute.
    machine: of machine.device, with the "run_cores" of this run.
    started: when it was started, or went on for the last time; ISO 8601, UTC.
    seconds: by the run's clock, over interruptions.
    evaluations: objects with "step", "seconds", "task" and
      "neg_log_perplexity", which is None where it is not finite; in the order
      in which they were made, those of several tasks at each step.
    scores: of a run that is evaluated by decoding, by task or mixture, the best
      score: an object with "metric", "step" and "value".
    figures: "steps", "parameters", "flops_per_sequence", "tokens_per_second"
      (the median of training; of SPEED without the first lines), and means of
      the second half of training over steps and layers: "fraction_dropped",
      "load_max", "load_cv". None where the model has no such figure.
    diverged: None, or the step at which loss or weights stopped being finite.
      This is a result, not a failure.
    failed: None, or one line: why the run has not come to its end.
  """

  card: str
  seed: int
  kind: str
  contest: str | None
  round: int | None
  mode: str
  command: str
  gin: str
  configuration: str
  versions: Mapping[str, str]
  machine: Mapping[str, Any]
  started: str
  seconds: float
  evaluations: Sequence[Mapping[str, Any]]
  scores: Mapping[str, Mapping[str, Any]]
  figures: Mapping[str, float | None]
  diverged: int | None
  failed: str | None


_TYPES = {field.name: field.type for field in dataclasses.fields(Record)}
_SHAPE = {
    **_TYPES,
    "evaluations": [
        {
            "step": int,
            "seconds": float,
            "task": str,
            "neg_log_perplexity": float | None,
        }
    ],
    "scores": {str: {"metric": str, "step": int, "value": float}},
}


def path(directory: str, record: Any) -> str:
  """Returns the file of a record.

  Args:
    directory: that of all records.
    record: a Record, or what has its card, seed, contest and round.
  """
  name = str(record.seed)
  if record.contest is not None:
    name = f"speed_{record.contest}_{record.round}"
  return os.path.join(directory, record.card, f"{name}.json")


def write(directory: str, record: Record):
  """Writes a record, whole or not at all.

  Args:
    directory: that of all records.
    record: the record.
  """
  # Here and not above: it loads TensorFlow.
  from mtf_switch import files  # pylint: disable=g-import-not-at-top

  content = json.loads(files.json_text(dataclasses.asdict(record)))
  content = {"format": FORMAT, **content}
  content["digest"] = _digest(content)
  files.write_json(path(directory, record), content)


def read(file: str) -> Record | None:
  """Returns the record of a file; None if there is none.

  Args:
    file: the path.

  Raises:
    UserError: it is of another version of the program, has been damaged, or
      changed by hand.
  """
  try:
    text = pathlib.Path(file).read_bytes()
  except FileNotFoundError:
    return None
  except OSError as error:
    raise errors.UserError(f"{file}: {error.strerror}.") from error
  mend = "restore it from a copy, or remove it, and its run is made again."
  try:
    content = json.loads(text)
  except (ValueError, RecursionError) as error:
    line = f"{file} is not JSON ({error}); {mend}"
    raise errors.UserError(line) from error
  is_record = isinstance(content, dict) and "format" in content
  if is_record and content["format"] != FORMAT:
    raise errors.UserError(
        f"{file} has format {errors.shown(str(content['format']))}, and this "
        f"version of the program reads format {FORMAT}; use the version that "
        "wrote it, or remove it, and its run is made again."
    )
  if not is_record or not values.has_shape(content, _SHAPE):
    raise errors.UserError(f"{file} is not the record of a run; {mend}")
  digest = content.pop("digest", None)
  if digest != _digest(content):
    raise errors.UserError(
        f"{file} has been changed since it was written: its digest is not that"
        f" of its content; {mend}"
    )
  record = Record(**{name: content[name] for name in _TYPES})
  directory = os.path.dirname(os.path.dirname(file))
  if os.path.normpath(path(directory, record)) != os.path.normpath(file):
    raise errors.UserError(
        f"{file} is the record of another run, which belongs in"
        f" {path(directory, record)}; move it there, or remove it."
    )
  return record


def read_all(directory: str) -> list[Record]:
  """Returns all records of a directory, in the order of their names.

  Args:
    directory: that of all records; without it there are none.

  Raises:
    UserError: see `read`.
  """
  files = sorted(pathlib.Path(directory).glob("*/*.json"))
  return [record for file in files if (record := read(str(file)))]


def _digest(content: Mapping[str, Any]) -> str:
  """The SHA-256 of a record's content, without the digest itself."""
  text = json.dumps(content, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()
