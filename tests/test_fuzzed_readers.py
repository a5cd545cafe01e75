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

Records of data sets are in tests/tasks/test_broken_records.py, checkpoints,
vocabularies and records of runs in test_fuzzed_models.py.
"""

import mtf_switch  # isort: skip  # noqa: F401
import gzip
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
from mtf_switch.modes import distill
from mtf_switch.modes import findings
from mtf_switch.modes import plan
from mtf_switch.planning import chips
from mtf_switch.reproduction import card_plans
from mtf_switch.training import caching
from mtf_switch.training import experiment
from mtf_switch.training import metrics_file
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches
from mtf_switch.training import strict_gin
from mtf_switch.training import teacher_cache
from mtf_switch.training import vocabulary_record
from mtf_switch.training import watching
from tasks import prepared_text
from tasks import records
from tasks import text_files
from tasks import vocabulary_training
from tests import fuzzing
from tests import gin_files
from tests import toy_tasks  # noqa: F401


@pytest.fixture(autouse=True)
def no_log():
  """Keeps fuzzed names, which are in no encoding, out of tests' reports."""
  logging.disable(logging.CRITICAL)
  yield
  logging.disable(logging.NOTSET)


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


_TEACHER = {
    "version": 1,
    "teacher_dir": "a",
    "teacher_step": 3,
    "teacher_sha256": "7d27",
    "task": "a",
    "features": ["targets"],
    "seed": 0,
    "sequence_length": {"targets": 8},
    "batch_size": 4,
    "steps_per_block": 2,
    "steps": 4,
    "choices": 2,
    "temperature": 1.0,
    "steps_per_file": 2,
    "vocabularies": _VOCABULARY,
}


@fuzzing.QUICK
@hypothesis.given(strategies.lists(fuzzing.damaged(_RECORD), max_size=3))
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
  fuzzing.answered(compare_languages._read_curves, directory)


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
            "distillation.json",
            {"teacher_dir": "a", "step": 3, "teacher_sha256": "7d27"},
            lambda place: distill._check_same_teacher(
                place, distill._begun(place), distill._begun(place)
            ),
        ),
        _fuzzed_file(
            "teacher.json",
            _TEACHER,
            lambda place: teacher_cache.paths(
                place, teacher_cache.read_record(place)
            ),
        ),
        _fuzzed_file(
            "plans.json",
            {"format": 1, "cards": {}},
            lambda place: card_plans.read(pathlib.Path(place)),
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

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.damaged(content))
  def read_damaged(damaged):
    files.write_bytes(f"{directory}/{name}", damaged)
    fuzzing.answered(read, directory)

  files.write_json(f"{directory}/{name}", content)
  read(directory)
  read_damaged()


def test_files_of_the_cache(tmp_path):
  manifest = {"splits": {"train": {"documents": 1, "bytes": 2, "sha256": ""}}}
  report = dict.fromkeys(vocabulary_training._REPORTED, 1)

  @fuzzing.QUICK
  @hypothesis.given(fuzzing.damaged(manifest), fuzzing.damaged(report))
  def read_damaged(manifest, report):
    (tmp_path / "manifest.json").write_bytes(manifest)
    fuzzing.answered(
        lambda: prepared_text.PreparedText(tmp_path).manifest["splits"]
    )
    (tmp_path / "report.json").write_bytes(report)
    fuzzing.answered(vocabulary_training.report_of, str(tmp_path / "a.model"))

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
    | fuzzing.JSON
    | strategies.text(max_size=8)
)


@fuzzing.QUICK
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

  fuzzing.answered(read)
  fuzzing.answered(cluster.parse, str(mesh), None)


@fuzzing.QUICK
@hypothesis.given(
    strategies.lists(
        fuzzing.TEXTS
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
  fuzzing.answered(lambda: list(plan._experiments(run, [layout])))


@fuzzing.QUICK
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
  fuzzing.answered(chips.read, path)
  path.unlink()


@fuzzing.QUICK
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
  fuzzing.answered(strict_gin.parse, [str(path)], [], [str(gin_files.ROOT)])
  gin_files.clear()
  text = content.decode("utf-8", "surrogateescape")
  fuzzing.answered(strict_gin.parse, [], [text], [str(gin_files.ROOT)])
  path.unlink()


@fuzzing.QUICK
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
    for document in fuzzing.answered(list, documents) or ():
      document.encode()
  files.write_bytes("ram://texts/lines", content)
  fuzzing.answered(list, records.numbered_lines("ram://texts/lines"))


def test_a_teachers_cache_without_files_is_damaged():
  for name in ("steps", "steps_per_file"):
    files.write_json("ram://cache/teacher.json", {**_TEACHER, name: 0})
    with pytest.raises(errors.UserError, match="other content than this"):
      teacher_cache.read_record("ram://cache")


@fuzzing.QUICK
@hypothesis.given(fuzzing.noisy(gzip.compress(b'{"text": "a b"}\n' * 9)))
def test_compressed_texts(content):
  files.write_bytes("ram://texts/a.jsonl.gz", content)
  for row in (
      fuzzing.answered(list, records.json_objects("ram://texts/a.jsonl.gz"))
      or ()
  ):
    assert row


@fuzzing.QUICK
@hypothesis.given(
    fuzzing.noisy(b"numpy==1.26.4\n    # via\n    #   -r requirements.in\n")
)
def test_locks_and_tables_of_the_machine(content):
  text = content.decode(errors="replace")
  findings.needed_by_runs(findings.read_lock(text))
  assert findings.available_memory(f"MemAvailable: {text}", [text], 7) >= 0
