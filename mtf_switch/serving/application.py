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

"""The endpoints of a server, as a WSGI application.

Answers are JSON, mistakes included: {"error": "one line"}.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import ipaddress
import time
from typing import Any, Protocol
import urllib.parse

from absl import logging
import orjson
from werkzeug import exceptions
from werkzeug import routing
from werkzeug import wrappers

from mtf_switch import errors
from mtf_switch.serving import batching
from mtf_switch.serving import bodies
from mtf_switch.serving import measures as measures_lib
from mtf_switch.serving import served_model
from mtf_switch.serving import signatures as signatures_lib

LOADING, READY, DRAINING = "loading", "ready", "draining"
_STATES_OF_TF_SERVING = {
    LOADING: "LOADING",
    READY: "AVAILABLE",
    DRAINING: "UNLOADING",
}
_ROUTES = routing.Map(
    [
        routing.Rule("/healthz", endpoint="healthz", methods=["GET"]),
        routing.Rule("/metrics", endpoint="metrics", methods=["GET"]),
        routing.Rule("/v1/model", endpoint="model", methods=["GET"]),
        routing.Rule("/v1/decode", endpoint="decode", methods=["POST"]),
        routing.Rule("/v1/score", endpoint="score", methods=["POST"]),
        # TensorFlow Serving's.
        routing.Rule("/v1/models/<name>", endpoint="status", methods=["GET"]),
        routing.Rule(
            "/v1/models/<name>:predict", endpoint="predict", methods=["POST"]
        ),
    ]
)
# Of a model's record: it has the paths of vocabularies.
_NOT_SHOWN = ("signatures", "vocabularies")
# The key that allows inputs to be cut.
_CUT = "cut"
# How often it is asked whether a client is still there.
_SECONDS_OF_LOOKS = 0.1
# Of a client that has closed its connection: nginx's number, which nobody sees
# but the figures.
_CLIENT_GONE = 499


class Model(Protocol):
  """What is served; see served_model.ServedModel."""

  signatures: Mapping[str, served_model.Signature]
  decodings: Sequence[str]
  facts: Mapping[str, Any]
  most_tokens: int | None

  def count_tokens(self, texts: Sequence[str]) -> list[int]:
    """Returns the tokens of inputs."""


class _ClientGone(exceptions.HTTPException):
  """Nobody will read the answer."""

  code = _CLIENT_GONE
  description = "the client has closed the connection."


class Application:
  """A WSGI application: what a model answers to requests.

  Attributes:
    state: LOADING, READY or DRAINING, as /healthz says.
  """

  def __init__(
      self,
      limits: bodies.Limits,
      seconds: float,
      is_local: bool = False,
      note: Callable[[str], None] = lambda text: None,
  ):
    """Creates an application without a model.

    Args:
      limits: what a request may ask for.
      seconds: how long a request may take.
      is_local: whether to refuse requests to other names than this machine's
        loopback device has. A web page can have a browser send requests to a
        name of its own that stands for that device.
      note: is told in a line of what no client has caused.
    """
    self.state = LOADING
    self._limits = limits
    self._seconds = seconds
    self._is_local = is_local
    self._note = note
    self._model: Model | None = None
    self._batcher: batching.Batcher | None = None
    self.measures = measures_lib.Measures(
        lambda: self._batcher.num_queued if self._batcher else 0
    )

  def open(self, model: Model, batcher: batching.Batcher):
    """Answers requests from now on.

    Args:
      model: the model.
      batcher: runs it.
    """
    self._model, self._batcher = model, batcher
    self.state = READY

  def drain(self):
    """Takes no more examples; those that wait are still answered."""
    self.state = DRAINING

  def refusal(self, status: int, text: str) -> bytes:
    """Counts a request that cannot be read, and returns the answer's body.

    Args:
      status: the status of the answer.
      text: what is wrong with the request.
    """
    self.measures.add_refusal(status)
    return orjson.dumps({"error": text})

  def __call__(
      self, environ: Mapping[str, Any], start_response: Callable[..., Any]
  ) -> Iterable[bytes]:
    """Answers a request, as WSGI has it."""
    start = time.monotonic()
    endpoint = "unknown"
    try:
      request = wrappers.Request(environ)
      self._check_host(request)
      try:
        endpoint, values = _ROUTES.bind_to_environ(environ).match()
      except exceptions.NotFound as error:
        raise exceptions.NotFound(
            f"there is no {errors.shown(request.path)} here; see /v1/model."
        ) from error
      response = getattr(self, f"_answer_{endpoint}")(request, **values)
    except exceptions.HTTPException as error:
      response = error.get_response(environ)
      response.data = orjson.dumps({"error": error.description})
      response.content_type = "application/json"
    except Exception as error:  # pylint: disable=broad-exception-caught
      logging.exception("A request has failed.")
      self._note(f"a request failed ({endpoint}): {errors.shown(repr(error))}")
      response = _json({"error": "the server has failed."}, 500)
    self.measures.add_request(
        endpoint, response.status_code, time.monotonic() - start
    )
    return response(environ, start_response)

  def _check_host(self, request: wrappers.Request):
    if not self._is_local:
      return
    host = request.headers.get("Host", "")
    try:
      name = urllib.parse.urlsplit(f"//{host}").hostname
    except ValueError:
      name = None
    if not is_loopback(name or ""):
      raise exceptions.Forbidden(
          f"the request is for {errors.shown(repr(host))}, and this server is "
          "for localhost alone."
      )

  def _answer_healthz(self, unused_request) -> wrappers.Response:
    return _json({"state": self.state}, 200 if self.state == READY else 503)

  def _answer_metrics(self, unused_request) -> wrappers.Response:
    return wrappers.Response(
        self.measures.text(), content_type=self.measures.content_type
    )

  def _answer_model(self, unused_request) -> wrappers.Response:
    model = self._loaded()
    return _json(
        {
            "signatures": {
                name: {"inputs": signature.inputs, "output": signature.output}
                for name, signature in model.signatures.items()
            },
            "decodings": model.decodings,
            "limits": {
                **dataclasses.asdict(self._limits),
                "tokens": model.most_tokens,
            },
            "export": {
                key: value
                for key, value in model.facts.items()
                if key not in _NOT_SHOWN
            },
        }
    )

  def _answer_decode(self, request: wrappers.Request) -> wrappers.Response:
    decodings = self._loaded().decodings
    keys = [served_model.INPUTS, "decoding", _CUT]
    content = bodies.read(request.get_data(), keys)
    name = content.get("decoding", decodings[0] if decodings else None)
    if name not in decodings:
      raise bodies.bad(_unknown("decoding", name, decodings))
    inputs = [served_model.INPUTS]
    examples = bodies.examples(content, inputs, self._limits)
    self._check_lengths(content, inputs, examples)
    return _json({"outputs": self._results(request, name, examples)})

  def _answer_score(self, request: wrappers.Request) -> wrappers.Response:
    signature = self._loaded().signatures.get(signatures_lib.SCORE)
    if signature is None:
      raise exceptions.NotFound("the model was exported without scores.")
    content = bodies.read(request.get_data(), [*signature.inputs, _CUT])
    examples = bodies.examples(content, signature.inputs, self._limits)
    self._check_lengths(content, signature.inputs, examples)
    scores = self._results(request, signatures_lib.SCORE, examples)
    return _json({"scores": scores})

  def _check_lengths(
      self,
      content: Mapping[str, Any],
      inputs: Sequence[str],
      examples: Sequence[batching.Example],
  ):
    """Refuses inputs that the model would cut; targets are not looked at."""
    most = self._model.most_tokens
    may_cut = content.get(_CUT, False)
    if not isinstance(may_cut, bool):
      raise bodies.bad(f'"{_CUT}" must be true or false.')
    if most is None or may_cut or served_model.INPUTS not in inputs:
      return
    column = inputs.index(served_model.INPUTS)
    counts = self._model.count_tokens([x[column] for x in examples])
    for number, count in enumerate(counts):
      if count > most:
        raise bodies.bad(
            f'number {number} of "inputs" has {count:,} tokens, and the model '
            f'takes {most:,}; "{_CUT}": true leaves out the rest.'
        )

  def _answer_status(self, unused_request, name: str) -> wrappers.Response:
    """As TensorFlow Serving says whether a model is there."""
    del name  # There is one model, whatever it is called.
    version = {
        "version": "1",
        "state": _STATES_OF_TF_SERVING[self.state],
        "status": {"error_code": "OK", "error_message": ""},
    }
    return _json({"model_version_status": [version]})

  def _answer_predict(
      self, request: wrappers.Request, name: str
  ) -> wrappers.Response:
    """As TensorFlow Serving answers a request in its row format."""
    del name
    model = self._loaded()
    signatures = model.signatures
    content = bodies.read(request.get_data(), ["instances", "signature_name"])
    name = content.get("signature_name", signatures_lib.DEFAULT)
    if name == signatures_lib.DEFAULT and model.decodings:
      name, *_ = model.decodings
    if not isinstance(name, str) or name not in signatures:
      raise bodies.bad(_unknown("signature_name", name, signatures))
    inputs = signatures[name].inputs
    rows = bodies.instances(content.get("instances"), inputs, self._limits)
    return _json({"predictions": self._results(request, name, rows)})

  def _loaded(self) -> Model:
    """The model; an error while no examples are taken."""
    if self.state == LOADING:
      raise exceptions.ServiceUnavailable(
          "the model is being loaded.", retry_after=1
      )
    if self.state == DRAINING:
      raise _shutting_down()
    return self._model

  def _results(
      self,
      request: wrappers.Request,
      signature: str,
      examples: Sequence[batching.Example],
  ) -> list[Any]:
    """Waits for the model's results as long as the client and the limit."""
    try:
      waiting = self._batcher.submit(signature, examples)
    except batching.QueueIsFull as full:
      raise exceptions.ServiceUnavailable(
          f"{full.num_examples:,} examples are not answered yet, and there is "
          f"no room for {len(examples):,} more; try again in {full.seconds:,} "
          "s.",
          retry_after=full.seconds,
      ) from full
    except batching.IsClosed as error:
      raise _shutting_down() from error
    is_gone = request.environ.get("waitress.client_disconnected")
    end = time.monotonic() + self._seconds
    while not waiting.wait(_SECONDS_OF_LOOKS):
      if is_gone and is_gone():
        waiting.cancel()
        raise _ClientGone()
      if time.monotonic() > end:
        waiting.cancel()
        raise exceptions.GatewayTimeout(
            f"the model has not answered in {self._seconds:g} s."
        )
    if isinstance(waiting.error, batching.IsClosed):
      raise _shutting_down()
    if waiting.error is not None:
      line = errors.shown(str(waiting.error) or repr(waiting.error))
      raise exceptions.InternalServerError(f"the model has failed: {line}")
    return waiting.results


def is_loopback(host: str) -> bool:
  """Returns whether an address or a name is the loopback device's."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def _json(content: Mapping[str, Any], status: int = 200) -> wrappers.Response:
  # NaN and infinity become null, as in all JSON of this project.
  return wrappers.Response(
      orjson.dumps(content), status, content_type="application/json"
  )


def _unknown(key: str, value: Any, known: Iterable[str]) -> str:
  return (
      f'"{key}" is {errors.shown(repr(value))}; the model has '
      f"{', '.join(known) or 'none'}."
  )


def _shutting_down() -> exceptions.ServiceUnavailable:
  return exceptions.ServiceUnavailable(
      "the server is shutting down.", retry_after=1
  )
