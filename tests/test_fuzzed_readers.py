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

"""Readers of files and texts get anything, and answer with a line or skip it.

Records of data sets are in tests/tasks/test_broken_records.py.
"""

import mtf_switch  # isort: skip  # noqa: F401
import json
import logging
import pathlib
import warnings

import hypothesis
from hypothesis import strategies
import pytest

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.mesh import cluster
from mtf_switch.modes import compare_downstream
from mtf_switch.modes import compare_languages
from mtf_switch.modes import plan
from mtf_switch.planning import chips
from mtf_switch.training import caching
from mtf_switch.training import experiment
from mtf_switch.training import metrics_file
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches
from mtf_switch.training import strict_gin
from mtf_switch.training import vocabulary_record
from mtf_switch.training import watching
from tasks import errors as task_errors
from tasks import prepared_text
from tasks import records
from tasks import text_files
from tasks import vocabulary_training
from tests import gin_files
from tests import toy_tasks  # noqa: F401


@pytest.fixture(autouse=True)
def no_log():
  """Keeps fuzzed names, which are in no encoding, out of tests' reports."""
  logging.disable(logging.CRITICAL)
  yield
  logging.disable(logging.NOTSET)


_LINES = (errors.UserError, task_errors.DataError)
_QUICK = hypothesis.settings(
    deadline=None, max_examples=60, database=None, derandomize=True
)
_NUMBERS = strategies.sampled_from(
    [0, -1, 1.5, 1e308, 10**400, float("nan"), float("inf"), True, 2**63]
)
_TEXTS = strategies.text(max_size=4) | strategies.sampled_from(
    ["\ud83d", "\0", "a\r\nb", "\u2028"]
)
_JSON = strategies.recursive(
    strategies.none() | _NUMBERS | _TEXTS,
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _damaged(content) -> strategies.SearchStrategy[bytes]:
  """JSON with another value somewhere, or other bytes."""

  def with_other(path_and_value):
    path, value = path_and_value
    changed = json.loads(json.dumps(content))
    if not path:
      return json.dumps(value).encode()
    owner = changed
    for key in path[:-1]:
      owner = owner[key]
    if value is _GONE:
      del owner[path[-1]]
    else:
      owner[path[-1]] = value
    return json.dumps(changed).encode()

  def with_bytes(at_and_noise):
    at, noise = at_and_noise
    text = json.dumps(content).encode()
    at %= len(text)
    return text[:at] + noise + text[at + 1 :]

  values = strategies.tuples(
      strategies.sampled_from(list(_paths(content))), _JSON
  )
  gone = strategies.tuples(
      strategies.sampled_from([x for x in _paths(content) if x]),
      strategies.just(_GONE),
  )
  noise = strategies.tuples(
      strategies.integers(0, 999), strategies.binary(max_size=3)
  )
  return (
      values.map(with_other)
      | gone.map(with_other)
      | noise.map(with_bytes)
      | strategies.binary(max_size=20)
      | strategies.sampled_from([b"[" * 5_000, b"9" * 5000])
  )


_GONE = object()


def _paths(content, path=()):
  """The places in JSON, the whole first."""
  yield path
  keys = ()
  if isinstance(content, dict):
    keys = content
  elif isinstance(content, list):
    keys = range(len(content))
  for key in keys:
    yield from _paths(content[key], (*path, key))


def _answered(function, *arguments):
  """Calls a function; an error must be one line of ours."""
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
      return function(*arguments)
    except _LINES as error:
      assert str(error).split("\n")[0].strip()
    except ValueError as error:
      # Gin's copy of one of ours, with the place in a second line.
      assert isinstance(error.__context__, _LINES), repr(error)


_RECORD = {
    "step": 3,
    "kind": "eval",
    "cross_entropy": 2.0,
    "neg_log_perplexity": -2.0,
    "tokens_per_second": None,
    "seconds": 1.5,
    "task": "mc4.en",
    "layers": {"encoder/layer": {"load": 1.0}},
}
_VOCABULARY = {
    name: {
        "kind": "Byte",
        "size": 259,
        "extra_ids": 0,
        "sha256": "7d27",
        "path": None,
    }
    for name in ("inputs", "targets")
}


@_QUICK
@hypothesis.given(strategies.lists(_damaged(_RECORD), max_size=3))
def test_lines_of_metrics(lines):
  directory = "ram://metrics"
  good = json.dumps(_RECORD).encode()
  files.write_bytes(f"{directory}/metrics.jsonl", b"\n".join([*lines, good]))
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    found = metrics_file.read(directory)
    metrics_file.tasks(found, 3, "eval")
    metrics_file.evaluations(found)
    metrics_file.MetricsFile(directory).drop_after(3)
  assert found
  _answered(compare_languages._read_curves, directory)


def _fuzzed_file(name, content, read):
  return pytest.param(name, content, read, id=name)


@pytest.mark.parametrize(
    "name, content, read",
    [
        _fuzzed_file(
            "skipped_batches.json",
            [{"batch": 3, "step": 4}],
            lambda place: skipped_batches.read(place),
        ),
        _fuzzed_file(
            "vocabulary.json",
            _VOCABULARY,
            lambda place: vocabulary_record.check_equal(
                "it is",
                files.read_json(
                    f"{place}/vocabulary.json", vocabulary_record.SHAPE
                ),
                _VOCABULARY,
            ),
        ),
        _fuzzed_file(
            "model.json", {"train_steps": 7}, watching._last_step
        ),
        _fuzzed_file(
            "cache.json",
            {
                "task": "a",
                "source": "b",
                "splits": {
                    "train": {"source": "c", "records": 3, "files": 2}
                },
                "vocabularies": _VOCABULARY,
            },
            lambda place: caching._data(caching._read_manifest(place)),
        ),
        _fuzzed_file(
            "pretrained.json",
            {
                "pretrained_dir": "a",
                "step": 3,
                "neg_log_perplexity": -2.0,
                "sparse": True,
            },
            lambda place: compare_downstream.points(
                [(compare_downstream._read_json(
                    place, "pretrained.json", compare_downstream._PRETRAINED
                ), [])]
            ),
        ),
        _fuzzed_file(
            "best.json",
            2 * [{"task": "super_glue", "metric": "a", "step": 3, "value": 1}],
            lambda place: compare_downstream.points(
                [(
                    dict.fromkeys(compare_downstream._PRETRAINED, 0),
                    compare_downstream._read_json(
                        place, "best.json", compare_downstream._BEST
                    ),
                )]
            ),
        ),
    ],
)  # fmt: skip
def test_files_of_a_run(name, content, read):
  directory = "ram://run"

  @_QUICK
  @hypothesis.given(_damaged(content))
  def read_damaged(damaged):
    files.write_bytes(f"{directory}/{name}", damaged)
    _answered(read, directory)

  files.write_json(f"{directory}/{name}", content)
  read(directory)
  read_damaged()


def test_files_of_the_cache(tmp_path):
  manifest = {"splits": {"train": {"documents": 1, "bytes": 2, "sha256": ""}}}
  report = dict.fromkeys(vocabulary_training._REPORTED, 1)

  @_QUICK
  @hypothesis.given(_damaged(manifest), _damaged(report))
  def read_damaged(manifest, report):
    (tmp_path / "manifest.json").write_bytes(manifest)
    _answered(lambda: prepared_text.PreparedText(tmp_path).manifest["splits"])
    (tmp_path / "report.json").write_bytes(report)
    _answered(vocabulary_training.report_of, str(tmp_path / "a.model"))

  read_damaged()


_NAMES = strategies.sampled_from(
    ["data", "model", "batch", "a", "", "0", "\ud83d", "all", "data:2"]
)
_SIZES = strategies.sampled_from(["2", "0", "-1", "", "x", "1.5", "9" * 5000])
_PAIRS = strategies.lists(
    strategies.tuples(_NAMES, _SIZES | _NAMES).map(":".join), max_size=3
)
_MESHES = (
    strategies.tuples(_PAIRS, strategies.sampled_from(",;")).map(
        lambda x: x[1].join(x[0])
    )
    | _JSON
    | strategies.text(max_size=8)
)


@_QUICK
@hypothesis.given(_MESHES, _MESHES)
def test_meshes_and_layouts(mesh, rules):
  def read():
    made = experiment.Experiment(
        task="toy_copy",
        sequence_length=8,
        batch_size=4,
        mesh_shape=mesh,
        layout_rules=rules,
        learning_rate_schedule=0.1,
    )
    return made.mesh, made.layout, made.rules

  _answered(read)
  _answered(cluster.parse, str(mesh), None)


@_QUICK
@hypothesis.given(
    strategies.lists(
        _TEXTS
        | strategies.sampled_from(
            ["layouts/single.gin", "num_cores=2", "a=", "=", "x=1 2", "%a=%b"]
        ),
        max_size=4,
    )
)
def test_layouts_to_compare(parts):
  gin_files.clear()
  run = run_lib.Run(
      gin_params=[
          "Experiment.task = 'toy_copy'",
          "Experiment.sequence_length = 8",
          "Experiment.batch_size = 4",
          "Experiment.learning_rate_schedule = 0.1",
      ],
      gin_directories=[str(gin_files.ROOT)],
  )
  layout = ",".join(parts).replace("\0", "")  # No command line has it.
  _answered(lambda: list(plan._experiments(run, [layout])))


@_QUICK
@hypothesis.given(
    strategies.binary(max_size=30)
    | strategies.tuples(
        strategies.integers(0, 2000), strategies.binary(max_size=3)
    )
)
def test_tables_of_chips(noise):
  path = pathlib.Path("/dev/shm/mtf_switch_chips.csv")
  if isinstance(noise, tuple):
    at, noise = noise
    table = chips.TABLE.read_bytes()
    noise = table[:at] + noise + table[at + 1 :]
  path.write_bytes(noise)
  _answered(chips.read, path)
  path.unlink()


@_QUICK
@hypothesis.given(
    strategies.binary(max_size=30)
    | strategies.lists(
        strategies.sampled_from(
            ["a.b = ", "[", "'", "\n", "1", "include ", "@", "%", "()", "/"]
            + ["import no\n", "\0", "\ud83d", "train.steps = ", "\\", "#"]
        ),
        max_size=8,
    ).map(lambda x: "".join(x).encode("utf-8", "surrogatepass"))
)
def test_gin_files(content):
  path = pathlib.Path("/dev/shm/mtf_switch_fuzzed.gin")
  path.write_bytes(content)
  gin_files.clear()
  _answered(strict_gin.parse, [str(path)], [], [str(gin_files.ROOT)])
  gin_files.clear()
  text = content.decode("utf-8", "surrogateescape")
  _answered(strict_gin.parse, [], [text], [str(gin_files.ROOT)])
  path.unlink()


@_QUICK
@hypothesis.given(
    strategies.lists(
        strategies.sampled_from(
            [b"a", b"\n", b"\r", b"\0", b"\xed\xa0\xbd", b"\xff", b'{"text": "']
            + [b'\\ud83d"}', b"[", b"]", b"\xe2\x80\xa8", b"\xef\xbb\xbf"]
        ),
        max_size=12,
    ).map(b"".join),
    strategies.sampled_from(["a.txt", "a.jsonl", "a.json", "a.txt.gz"]),
)
def test_texts(content, name):
  path = f"ram://texts/{name}"
  files.write_bytes(path, content)
  for unit in ("line", "paragraph"):
    documents = text_files.read_documents(path, unit)
    for document in _answered(list, documents) or ():
      document.encode()
  files.write_bytes("ram://texts/lines", content)
  _answered(list, records.numbered_lines("ram://texts/lines"))
