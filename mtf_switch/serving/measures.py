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

"""What a server counts, in the form of Prometheus."""

from collections.abc import Callable

import prometheus_client

from mtf_switch.serving import batching

# Decoding on a CPU takes from hundredths of a second to minutes.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_EXAMPLES = (1, 2, 4, 8, 16, 32, 64, 128)


class Measures:
  """The figures of one server.

  Attributes:
    content_type: that of `text`.
  """

  content_type = prometheus_client.CONTENT_TYPE_LATEST

  def __init__(self, num_queued: Callable[[], int]):
    """Creates the figures.

    Args:
      num_queued: says how many examples wait.
    """
    # One of its own: Prometheus's belongs to the whole process.
    self._registry = prometheus_client.CollectorRegistry()
    self._requests = prometheus_client.Counter(
        "mtf_switch_requests",
        "Requests that were answered.",
        ["endpoint", "status"],
        registry=self._registry,
    )
    self._request_seconds = prometheus_client.Histogram(
        "mtf_switch_request_seconds",
        "Time from a request to its answer.",
        ["endpoint"],
        buckets=_SECONDS,
        registry=self._registry,
    )
    self._batch_examples = prometheus_client.Histogram(
        "mtf_switch_batch_examples",
        "Examples in a batch that was run.",
        ["signature"],
        buckets=_EXAMPLES,
        registry=self._registry,
    )
    self._batch_seconds = prometheus_client.Histogram(
        "mtf_switch_batch_seconds",
        "Time that a batch took.",
        ["signature"],
        buckets=_SECONDS,
        registry=self._registry,
    )
    self._failed_batches = prometheus_client.Counter(
        "mtf_switch_failed_batches",
        "Batches in which the model failed.",
        ["signature"],
        registry=self._registry,
    )
    queued = prometheus_client.Gauge(
        "mtf_switch_queued_examples",
        "Examples that wait for a batch.",
        registry=self._registry,
    )
    queued.set_function(num_queued)

  def add_request(self, endpoint: str, status: int, seconds: float):
    """Counts a request.

    Args:
      endpoint: what it asked for, one of a few names.
      status: of the answer.
      seconds: the time that it took.
    """
    self._requests.labels(endpoint, status).inc()
    self._request_seconds.labels(endpoint).observe(seconds)

  def add_refusal(self, status: int):
    """Counts a request that was refused before it was read."""
    self._requests.labels("unread", status).inc()

  def add_batch(self, batch: batching.Batch):
    """Counts a batch."""
    self._batch_examples.labels(batch.signature).observe(batch.num_examples)
    self._batch_seconds.labels(batch.signature).observe(batch.seconds)
    if batch.error is not None:
      self._failed_batches.labels(batch.signature).inc()

  def text(self) -> bytes:
    """The figures as Prometheus reads them."""
    return prometheus_client.generate_latest(self._registry)
