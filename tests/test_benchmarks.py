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

"""The benchmarks run at tiny sizes; nothing here depends on their speed."""

import json
import math
import pathlib

import matplotlib.figure
import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import contest
from benchmarks import peers
from benchmarks import plots
from benchmarks import questions
from benchmarks import serving
from benchmarks import tables
from mtf_switch import machine
from mtf_switch import markdown
from tests.serving import made_server as made

PEERS = contest.PEERS_PYTHON.exists()
CONTENDERS = ["mtf_switch", "mesh-tensorflow"] + [
    f"Hugging Face, {form}" for form in (contest.EAGER, contest.FASTEST)
] * PEERS


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> pathlib.Path:
  """The directory with the results of a quick run of all questions."""
  path = tmp_path_factory.mktemp("results")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("MTF_SWITCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    # Tests share the machine, and PyTorch's threads must not spin for a core.
    patch.setenv("OMP_WAIT_POLICY", "passive")
    questions.run(
        benchmarks.QUESTIONS, ["--quick", "--rounds=1", f"--directory={path}"]
    )
  return path


def read(directory, question):
  return json.loads((directory / f"{question}.json").read_text())


def numbers(value):
  """All numbers in a value of JSON."""
  if isinstance(value, dict):
    value = list(value.values())
  if isinstance(value, list):
    return [x for item in value for x in numbers(item)]
  return [value] if isinstance(value, (int, float)) else []


@pytest.mark.parametrize(
    "question", sorted(question.name for question in benchmarks.QUESTIONS)
)
def test_a_question_leaves_its_results(directory, question):
  record = read(directory, question)
  assert set(record) == {
      "question",
      "command",
      "date",
      "device",
      "threads",
      "versions",
      "rounds",
      "shapes",
      "skipped",
      "peak_flops_per_second",
      "goals",
      "rows",
  }
  assert record["question"] == question
  assert record["command"] == (
      f"python -m benchmarks.{question} --quick --rounds=1"
  )
  assert set(record["device"]) == {
      "processor",
      "flags",
      "cores",
      "memory_bytes",
  }
  assert record["goals"]
  assert all(math.isfinite(x) for x in numbers(record))
  assert tables.render(record)  # Every column finds what it shows.


@pytest.mark.parametrize(
    "question, others",
    [
        ("layer", [("dense", 4), ("switch", 4)]),
        ("step", [("switch", "float32")]),
        ("decode", [(2,)]),
    ],
)
def test_all_contenders_take_part(directory, question, others):
  keys = {
      "layer": ("layer", "experts"),
      "step": ("model", "precision"),
      "decode": ("batch",),
  }[question]
  rows = [
      (contest.title(row), *(row[key] for key in keys))
      for row in read(directory, question)["rows"]
  ]
  expected = [(c, *other) for c in CONTENDERS for other in others]
  if question == "step":
    expected += [
        ("mtf_switch", "switch", "selective"),
        ("mtf_switch", "dense", "float32"),
        ("mesh-tensorflow", "dense", "float32"),
    ]
  assert sorted(rows) == sorted(expected)


def test_a_teacher_is_asked_cached_and_upstreams(directory):
  record = read(directory, "teacher")
  assert [(row["contender"], row["what"]) for row in record["rows"]] == [
      ("ours", "student alone"),
      ("ours", "student, teacher asked"),
      ("ours", "student, teacher cached"),
      ("ours", "teacher's scores alone"),
      ("mesh_tensorflow", "student, teacher asked"),
  ]
  assert [goal["at_most"] for goal in record["goals"]] == [1.1, 1.1, 1.05]
  ours = record["rows"][:4]
  alone, asked, *_ = (row["tensor_bytes"] for row in ours)
  assert asked > alone > 0


def test_the_pipeline_must_be_five_times_as_fast_as_a_model_reads(directory):
  record = read(directory, "pipeline")
  assert [row["what"] for row in record["rows"]] == [
      "pipeline, prepared text",
      "pipeline, JSON shards",
      "step",
  ]
  assert [goal["at_least"] for goal in record["goals"]] == [5.0, 5.0]


def test_all_layers_do_the_same_work(directory):
  rows = read(directory, "layer")["rows"]
  sparse = [row for row in rows if row["layer"] == "switch"]
  # The same tokens and the same router: but for its noise, which can move a
  # token or two of the 32, the same tokens get a slot.
  processed = [row["processed"] for row in sparse]
  assert max(processed) - min(processed) <= 2 / 32
  assert 0.5 < min(processed) < 1.0  # Some token lacks a slot.
  assert len({row["needed_bytes"] for row in sparse}) == 1


def test_all_models_have_the_same_weights(directory):
  rows = read(directory, "step")["rows"]
  sparse, dense = (
      {row["weight_bytes"] for row in rows if row["model"] == model}
      for model in ("switch", "dense")
  )
  assert len(sparse) == len(dense) == 1
  assert min(sparse) > max(dense)


def test_more_experts_have_more_weights(directory):
  few, many = read(directory, "scaling")["rows"]
  # d_model x d_ff x 2 in each expert and d_model in the router, float32, in the
  # two sparse layers.
  assert many["weight_bytes"] - few["weight_bytes"] == 2 * 2 * 4 * (
      16 * 32 * 2 + 16
  )
  assert few["state_bytes"] > few["weight_bytes"]


def test_empty_slots_are_kept_or_left_out_in_each_case(directory):
  rows = read(directory, "slots")["rows"]
  assert [(row["what"], row["slots"]) for row in rows] == [
      (what, slots)
      for what in ("one device", "two devices", "expert dropout")
      for slots in ("left out", "kept")
  ]


def test_steps_are_watched_or_not(directory):
  rows = read(directory, "watching")["rows"]
  assert [row["what"] for row in rows] == ["steps alone", "watched"]


def test_the_fastest_form_has_what_eager_mode_has_not():
  eager, fastest = contest.entrants_of(
      "hugging_face", "step", {"batch": 2}, {"model": "switch"}
  )
  assert (eager.options, eager.label) == (
      {"batch": 2, "form": []},
      {"model": "switch", "form": "eager"},
  )
  assert fastest.options["form"]
  assert fastest.label == {"model": "switch", "form": "fastest"}
  (ours,) = contest.entrants_of(
      "ours", "step", {"batch": 2}, {"model": "switch"}
  )
  assert ours == contest.Entrant(
      "ours", "step", {"batch": 2}, {"model": "switch"}
  )


CPUINFO = (
    "model name\t: Fast\nflags\t\t: fpu avx512_bf16_ avx2{more}\nbugs\t: no"
)


@pytest.mark.parametrize(
    "more, flags, is_fast",
    [
        ("", ["avx2"], False),
        (" avx512_bf16", ["avx2", "avx512_bf16"], True),
        (" amx_bf16", ["avx2", "amx_bf16"], True),
    ],
)
def test_results_name_the_flags_of_the_processor(
    more, flags, is_fast, monkeypatch
):
  monkeypatch.setattr(
      pathlib.Path, "read_text", lambda path: CPUINFO.format(more=more)
  )
  device = machine.device()
  assert (device["processor"], device["flags"]) == ("Fast", flags)
  assert machine.multiplies_bfloat16() == is_fast


def test_without_its_environment_hugging_face_is_skipped(tmp_path):
  ours = contest.Entrant("ours", "step")
  theirs = contest.Entrant("hugging_face", "step")
  missing = tmp_path / "python"
  kept, skipped = contest.without_missing([theirs, ours], missing)
  assert kept == [ours]
  assert skipped == [
      "Hugging Face is skipped: there is no .venv-peers; `make bench-peers`"
      " installs it."
  ]
  assert contest.without_missing([ours], missing) == ([ours], [])
  missing.touch()
  assert contest.without_missing([theirs], missing) == ([theirs], [])


def test_a_contender_that_fails_says_why():
  with contest.Servers() as servers:
    entrant = contest.Entrant("mesh_tensorflow", "matmul", {"size": "large"})
    with pytest.raises(contest.ContenderError) as error:
      contest.Contest(servers).hold("contest", [entrant], rounds=1)
  *log, last = str(error.value).splitlines()
  assert last == "mesh-tensorflow ended during 'matmul'."
  assert any("TypeError" in line for line in log)


def test_the_spread_is_median_and_quartiles():
  assert contest.spread([5.0, 1.0, 2.0, 4.0, 3.0]) == {
      "median": 3.0,
      "lower": 2.0,
      "upper": 4.0,
  }
  assert contest.spread([7.0]) == dict.fromkeys(
      ("median", "lower", "upper"), 7.0
  )


def spread_of(seconds):
  return {"median": seconds, "lower": seconds / 2, "upper": seconds * 2}


RECORD = {
    "question": "step",
    "command": "python -m benchmarks.step --rounds=9",
    "date": "2026-01-02",
    "device": {
        "processor": "Fast",
        "flags": ["avx2", "amx_bf16"],
        "cores": 4,
        "memory_bytes": 8 * 10**9,
    },
    "threads": 4,
    "versions": {"python": "3.11.0", "tensorflow": "2.15.1"},
    "rounds": 9,
    "shapes": {"batch": 16, "inputs": 256},
    "skipped": ["Hugging Face is skipped."],
    "peak_flops_per_second": 200e9,
    "goals": [
        questions.goal("time", 0.4, at_most=0.42),
        questions.goal("time of others", None, at_most=0.6),
        questions.goal("speed", 2.5, at_least=2.6),
        questions.goal("start", 0.5, at_most=1.0, unit="s"),
        questions.goal("speed of none", 3.0),
    ],
    "rows": [
        {
            "model": "switch",
            "contender": contender,
            **form,
            "precision": "float32",
            "seconds": spread_of(seconds),
            "tokens_per_second": 5120 / seconds,
            "flops_per_second": 100e9 / seconds,
            "share_of_peak": 0.5 / seconds,
            "peak_bytes": 234_567_890,
        }
        for contender, form, seconds in (
            ("ours", {}, 1.0),
            ("hugging_face", {"form": "eager"}, 2.5),
        )
    ],
}
TABLE = """\
| model |  | precision | ms | tokens/s | useful GFLOP/s | of peak | peak MB |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| switch | mtf_switch | float32 | 1,000 (500 - 2,000) | 5,120 | 100.0 | 50%\
 | 235 |
| switch | Hugging Face, eager | float32 | 2,500 (1,250 - 5,000) | 2,048 | 40.0\
 | 20% | 235 |

`python -m benchmarks.step --rounds=9`, 2026-01-02: Fast (avx2, amx_bf16),\
 4 cores, 4 threads, 8 GB; python 3.11.0, tensorflow 2.15.1. Sizes:\
 batch 16, inputs 256. Medians and quartiles of 9 rounds. A matrix product\
 reached 200 GFLOP/s (float32).\
 Hugging Face is skipped."""
GOALS = """\
| question | figure | goal | measured | met |
| --- | ---: | ---: | ---: | ---: |
| step | time | at most 0.42 x | 0.40 x | yes |
| step | time of others | at most 0.60 x | - | - |
| step | speed | at least 2.60 x | 2.50 x | no |
| step | start | at most 1.00 s | 0.50 s | yes |
| step | speed of none | - | 3.00 x | - |"""


def test_the_report_has_the_figures():
  assert tables.render(RECORD) == TABLE
  assert tables.render_goals([RECORD]) == GOALS


def test_the_page_has_a_place_for_each_question():
  page = (contest.PROJECT / "docs" / "performance.md").read_text()
  markdown.fill(page, dict.fromkeys(["goals", *tables.COLUMNS], ""))
  for question in plots.PLOTS:
    assert f"(images/performance_{question}.png)" in page


@pytest.mark.parametrize("question", sorted(plots.PLOTS))
def test_a_question_is_drawn(directory, question, tmp_path):
  picture = tmp_path / "plot.png"
  plots.draw(read(directory, question), picture)
  assert picture.read_bytes().startswith(b"\x89PNG")


class Stopwatch:
  """A session in which the n-th entrant of a contest takes n seconds."""

  def hold(self, title, entrants, rounds):
    del title
    return [
        contest.Result(e, {}, {}, {e.work: [float(n)] * rounds}, 10**6)
        for n, e in enumerate(entrants, 1)
    ]


def test_each_form_of_hugging_face_is_compared_to_its_eager_form():
  findings = peers.answer(Stopwatch(), quick=True, rounds=2)
  for work, sizes in (
      ("layer", {"num_experts": 32}),
      ("step", {}),
      ("decode", {"batch": 1}),
      ("decode", {"batch": 8}),
  ):
    rows = [
        row
        for row in findings.rows
        if (row["work"], row["sizes"]) == (work, sizes)
    ]
    assert rows[0]["form"] == "eager"
    assert [row["times_eager"] for row in rows] == list(range(1, len(rows) + 1))
  record = {**RECORD, "question": "peers", "rows": findings.rows}
  assert "| step |  | kept memory | 2,000 (" in tables.render(record)


def test_clients_of_a_server_get_their_own_answers_and_are_timed():
  model = made.Upper()
  texts = [f"text {i}" for i in range(20)]
  with made.served(model.run, wait_seconds=0.005) as (server, _):
    port = int(server.address.rpartition(":")[2])
    rounds = [serving.ask(port, texts, clients) for clients in (1, 4)]
    with pytest.raises(contest.ContenderError, match="the server: the model"):
      serving.ask(port, ["fail"], 1)
  assert {x.outputs for x in rounds} == {tuple(map(str.upper, texts))}
  for answers in rounds:
    assert len(answers.latencies) == 20
    assert 0 < max(answers.latencies) < answers.seconds


def test_the_waits_of_a_servers_clients():
  rounds = [
      serving.Answers(["a"] * 20, range(1, 21), seconds=10.0),
      serving.Answers(["a"] * 20, range(21, 41), seconds=5.0),
      serving.Answers(["a"] * 20, range(41, 61), seconds=4.0),
  ]
  row = serving.row(8, 4, rounds)
  assert row["seconds"]["median"] == 30.5
  assert row["seconds_95"] == pytest.approx(57.05)
  assert row["requests_per_second"] == 4.0
  record = {**RECORD, "question": "serving", "rows": [row]}
  line = "| 8 | 4 | 30,500 (15,750 - 45,250) | 57,050 | 4.0 |"
  assert line in tables.render(record)


STARTUP = questions.Question(
    "startup",
    "How long does it take?",
    rounds=1,
    answer=lambda contest_, quick, rounds: questions.Findings(
        {}, [{"what": "help", "seconds": spread_of(1.0)}], []
    ),
)


@pytest.mark.parametrize("quick", [True, False])
def test_a_quick_run_leaves_committed_results_alone(
    quick, tmp_path, monkeypatch
):
  monkeypatch.setattr(contest, "RESULTS", tmp_path / "results")
  questions.run([STARTUP], ["--quick"] if quick else [])
  written = [path.name for path in tmp_path.rglob("*.json")]
  assert written == ([] if quick else ["startup.json"])


def test_bars_are_centred_over_their_ticks():
  rows = [
      {"group": group, "contender": contender, "height": 1.0}
      for group, contender in (
          ("all", "ours"),
          ("all", "mesh_tensorflow"),
          ("all", "hugging_face"),
          ("one", "mesh_tensorflow"),
      )
  ]
  axes = matplotlib.figure.Figure().subplots()
  plots._bars(axes, rows, "group", "height")  # pylint: disable=protected-access
  centres = sorted(bar.get_x() + bar.get_width() / 2 for bar in axes.patches)
  ticks = list(axes.get_xticks())
  assert ticks == [0, 1]
  # To the rounding of sums of three numbers around 1.
  assert sum(centres[:3]) / 3 == pytest.approx(ticks[0], abs=1e-9)
  assert centres[3] == pytest.approx(ticks[1], abs=1e-9)
