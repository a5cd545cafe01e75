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

"""What a server answers, without its sockets."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import json

import hypothesis
from hypothesis import strategies
import pytest
from werkzeug import test as werkzeug_test

from mtf_switch.serving import application as application_lib
from mtf_switch.serving import batching
from mtf_switch.serving import served_model
from tests import fuzzing
from tests.serving import made_server as made


def client(application) -> werkzeug_test.Client:
  return werkzeug_test.Client(application)


@contextlib.contextmanager
def opened(run=None, seconds=made.LONG, model=None, is_local=False, **options):
  """An application with a model; yields it."""
  model = model or made.Upper()
  options = {"batch_size": 8, "wait_seconds": 0, "queue_size": 100} | options
  application = application_lib.Application(made.LIMITS, seconds, is_local)
  batcher = batching.Batcher(
      run or model.run, on_batch=application.measures.add_batch, **options
  )
  application.open(model, batcher)
  yield application
  batcher.close(made.LONG)


def answer(application, path, content=None, **options):
  """The status and the JSON of an answer."""
  method = client(application).get
  if content is not None:
    method = client(application).post
    options["data"] = (
        content if isinstance(content, bytes) else json.dumps(content)
    )
  response = method(path, **options)
  assert response.content_type == "application/json"
  return response.status_code, response.json


@pytest.fixture(scope="module")
def upper():
  with opened() as application:
    yield application


@pytest.mark.parametrize(
    "path, content, expected",
    [
        ("/v1/decode", {"inputs": ["a", "b"]}, {"outputs": ["A", "B"]}),
        ("/v1/decode", {"inputs": "ab"}, {"outputs": ["AB"]}),
        (
            "/v1/decode",
            {"inputs": ["ab", "é\0"], "decoding": "beam"},
            {"outputs": ["ba", "\0é"]},
        ),
        (
            "/v1/score",
            {"inputs": ["abc", "d"], "targets": ["a", "e"]},
            {"scores": [2.0, 0.0]},
        ),
        (
            "/v1/decode",
            {"inputs": "a b c d", "cut": True},
            {"outputs": ["A B C D"]},
        ),
        (
            "/v1/models/any:predict",
            {"instances": ["a", "b"]},
            {"predictions": ["A", "B"]},
        ),
        (
            "/v1/models/any:predict",
            {"instances": [{"inputs": "ab"}], "signature_name": "beam"},
            {"predictions": ["ba"]},
        ),
        (
            "/v1/models/any:predict",
            {
                "instances": [{"targets": "a", "inputs": "abc"}],
                "signature_name": "score",
            },
            {"predictions": [2.0]},
        ),
    ],
)
def test_answers(upper, path, content, expected):
  assert answer(upper, path, content) == (200, expected)


@pytest.mark.parametrize(
    "path, content, status, contains",
    [
        ("/v1/decode", b"", 400, "the body is not JSON: "),
        ("/v1/decode", b"{", 400, "the body is not JSON: "),
        ("/v1/decode", b'{"inputs": "\\ud800"}', 400, "the body is not JSON: "),
        ("/v1/decode", [], 400, 'not a JSON object with "inputs" and'),
        ("/v1/decode", {}, 400, '"inputs" is missing, a text or a list of'),
        ("/v1/decode", {"input": "a"}, 400, "did you mean inputs?"),
        ("/v1/decode", {"inputs": 1}, 400, '"inputs" must be a text or a list'),
        ("/v1/decode", {"inputs": ["a", 1]}, 400, '"inputs" must be a text or'),
        ("/v1/decode", {"inputs": []}, 400, '"inputs" is empty'),
        (
            "/v1/decode",
            {"inputs": ["a"] * 5},
            400,
            '"inputs" has 5 examples, and a request may have 4.',
        ),
        (
            "/v1/decode",
            {"inputs": ["a", "a" * 21]},
            400,
            "a text of 21 characters, and texts may have 20.",
        ),
        (
            "/v1/decode",
            {"inputs": "a", "decoding": "score"},
            400,
            "\"decoding\" is 'score'; the model has greedy, beam.",
        ),
        (
            "/v1/decode",
            {"inputs": "a", "decoding": []},
            400,
            '"decoding" is []',
        ),
        (
            "/v1/decode",
            {"inputs": ["a b", "a b c d"]},
            400,
            'number 1 of "inputs" has 4 tokens, and the model takes 3; "cut": ',
        ),
        ("/v1/decode", {"inputs": "a", "cut": 1}, 400, '"cut" must be true or'),
        (
            "/v1/score",
            {"inputs": "a b c d", "targets": "e"},
            400,
            "has 4 tokens",
        ),
        ("/v1/score", {"inputs": "a"}, 400, '"targets" is missing'),
        (
            "/v1/score",
            {"inputs": ["a", "b"], "targets": "c"},
            400,
            "the request has 2 inputs and 1 targets; they must be as many.",
        ),
        (
            "/v1/models/m:predict",
            {"signature_name": "other"},
            400,
            "\"signature_name\" is 'other'; the model has greedy, beam, score.",
        ),
        ("/v1/models/m:predict", {}, 400, '"instances" is not a list.'),
        (
            "/v1/models/m:predict",
            {"instances": 1, "signature_name": "beam"},
            400,
            '"instances" is not a list.',
        ),
        (
            "/v1/models/m:predict",
            {"instances": [{"input": "a"}], "signature_name": "beam"},
            400,
            'each of "instances" must be an object with "inputs".',
        ),
        (
            "/v1/decode",
            {"inputs": "fail"},
            500,
            "the model has failed: this te",
        ),
        ("/v1/decode", None, 405, "The method is not allowed"),
        ("/v2/decode", {"inputs": "a"}, 404, "there is no /v2/decode here"),
    ],
)
def test_mistakes_are_answered_by_one_line(
    upper, path, content, status, contains
):
  got, body = answer(upper, path, content)
  (line,) = body["error"].splitlines()
  assert got == status
  assert contains in line


def test_a_request_that_waits_is_refused_in_time(upper):
  with made.busy(queue_size=3) as (_, queue):
    upper = application_lib.Application(made.LIMITS, seconds=0.01)
    upper.open(made.Upper(), queue)
    status, body = answer(upper, "/v1/decode", {"inputs": "a"})
    assert (status, body["error"]) == (
        504,
        "the model has not answered in 0.01 s.",
    )
    assert queue.submit("greedy", [("b",), ("c",)])  # Its room is free again.
    response = client(upper).post("/v1/decode", data=b'{"inputs": "d"}')
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json["error"] == (
        "3 examples are not answered yet, and there is no room for 1 more; try "
        "again in 1 s."
    )


def test_a_client_that_is_gone_is_not_waited_for():
  with made.busy() as (held, queue):
    application = application_lib.Application(made.LIMITS, made.LONG)
    application.open(made.Upper(), queue)
    environ = {"waitress.client_disconnected": lambda: True}
    status, _ = answer(
        application, "/v1/decode", {"inputs": "a"}, environ_overrides=environ
    )
    assert status == 499
  assert held.model.batches == [("greedy", 1)]


def test_states():
  application = application_lib.Application(made.LIMITS, made.LONG)

  def states():
    health, model, decoding = (
        answer(application, *x)
        for x in (
            ("/healthz",),
            ("/v1/models/m",),
            ("/v1/decode", {"inputs": "a"}),
        )
    )
    version = model[1]["model_version_status"][0]
    return health, version["state"], decoding

  assert states() == (
      (503, {"state": "loading"}),
      "LOADING",
      (503, {"error": "the model is being loaded."}),
  )
  with made.batcher(made.Upper().run) as queue:
    application.open(made.Upper(), queue)
    assert states() == (
        (200, {"state": "ready"}),
        "AVAILABLE",
        (200, {"outputs": ["A"]}),
    )
    application.drain()
    draining = (
        (503, {"state": "draining"}),
        "UNLOADING",
        (503, {"error": "the server is shutting down."}),
    )
    assert states() == draining
    application.open(made.Upper(), queue)
  # The queue is closed: as it is for a request that comes in between.
  assert states()[2] == draining[2]


def test_the_model_describes_itself(upper):
  assert answer(upper, "/v1/model") == (
      200,
      {
          "signatures": {
              "greedy": {"inputs": ["inputs"], "output": "outputs"},
              "beam": {"inputs": ["inputs"], "output": "outputs"},
              "score": {"inputs": ["inputs", "targets"], "output": "scores"},
          },
          "decodings": ["greedy", "beam"],
          "limits": {"examples": 4, "characters": 20, "tokens": 3},
          "export": {"step": 7},
      },
  )


def test_a_mistake_of_our_own_is_said_to_who_runs_the_server():
  lines = []
  application = application_lib.Application(
      made.LIMITS, made.LONG, note=lines.append
  )
  application.open(made.Upper(), None)  # Nothing that runs it.
  status, body = answer(application, "/v1/decode", {"inputs": "a"})
  assert (status, body) == (500, {"error": "the server has failed."})
  (line,) = lines
  assert line.startswith("a request failed (decode): AttributeError(")


def test_a_decoder_scores_targets_alone():
  model = made.Upper()
  model.signatures = {
      "score": served_model.Signature(("targets",), "scores"),
  }
  model.decodings = []
  with opened(lambda signature, rows: [1.0], model=model) as application:
    content = {"targets": "a b c d", "cut": False}  # It is of inputs.
    scores = answer(application, "/v1/score", content)
    assert scores == (200, {"scores": [1.0]})
    status, body = answer(application, "/v1/score", {"inputs": "a"})
    assert status == 400 and "'inputs' is not a key" in body["error"]
    status, body = answer(application, "/v1/decode", {"inputs": "a"})
    assert body["error"] == '"decoding" is None; the model has none.'


def test_numbers_that_json_has_not_are_null():
  with opened(lambda signature, rows: [float("nan"), 0.5]) as application:
    rows = {"inputs": ["a", "b"], "targets": ["c", "d"]}
    assert answer(application, "/v1/score", rows) == (
        200,
        {"scores": [None, 0.5]},
    )


def test_what_is_counted():
  with opened() as application:
    answer(application, "/v1/decode", {"inputs": ["a", "b"]})
    answer(application, "/v1/decode", {"inputs": "fail"})
    answer(application, "/other")
    assert json.loads(application.refusal(413, "large")) == {"error": "large"}
    text = client(application).get("/metrics").text
  for line in (
      'mtf_switch_requests_total{endpoint="decode",status="200"} 1.0',
      'mtf_switch_requests_total{endpoint="decode",status="500"} 1.0',
      'mtf_switch_requests_total{endpoint="unknown",status="404"} 1.0',
      'mtf_switch_requests_total{endpoint="unread",status="413"} 1.0',
      'mtf_switch_request_seconds_count{endpoint="decode"} 2.0',
      'mtf_switch_batch_examples_sum{signature="greedy"} 3.0',
      'mtf_switch_batch_seconds_count{signature="greedy"} 2.0',
      'mtf_switch_failed_batches_total{signature="greedy"} 1.0',
      "mtf_switch_queued_examples 0.0",
  ):
    assert f"\n{line}\n" in text


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost", 200),
        ("localhost:8500", 200),
        ("127.0.0.1:8500", 200),
        ("[::1]:8500", 200),
        ("example.com", 403),
        ("localhost.example.com:8500", 403),
        ("[", 403),
    ],
)
def test_a_local_server_refuses_other_names(host, status):
  with opened(is_local=True) as application:
    headers = {"Host": host}
    assert answer(application, "/healthz", headers=headers)[0] == status
  with opened() as application:
    assert answer(application, "/healthz", headers=headers)[0] == 200


_REQUESTS = (
    (
        "/v1/decode",
        {"inputs": ["a", "b"], "decoding": "beam", "cut": False},
    ),
    ("/v1/score", {"inputs": ["a", "b"], "targets": ["c", "d"]}),
    (
        "/v1/models/m:predict",
        {"instances": [{"inputs": "a"}], "signature_name": "beam"},
    ),
)


@pytest.mark.parametrize("path, content", _REQUESTS)
def test_whatever_comes_is_answered(upper, path, content):
  @fuzzing.QUICK
  @hypothesis.given(fuzzing.damaged(content))
  def send(body):
    status, answered = answer(upper, path, body)
    assert status in (200, 400)
    if status == 400:
      assert len(answered["error"].splitlines()) == 1

  send()


@fuzzing.QUICK
@hypothesis.given(strategies.text(max_size=10))
def test_whatever_is_asked_for_is_answered(path):
  application = application_lib.Application(made.LIMITS, made.LONG)
  assert answer(application, f"/{path}")[0] in (200, 404, 405, 503)
