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

"""What the layers tell the model function, without knowing who listens."""

import contextlib

import mesh_tensorflow as mtf

_collectors = []


@contextlib.contextmanager
def collecting():
  """Collects what `add` is given while the context is open.

  Yields:
    a dict from name to a scalar float32 `mtf.Tensor`. All of them are sums,
    so that those of several layers, microbatches or batches add up.
  """
  collected = {}
  _collectors.append(collected)
  try:
    yield collected
  finally:
    _collectors.pop()


def add(name: str, value: mtf.Tensor):
  """Adds a scalar to the open collection; does nothing where none is open.

  Args:
    name: what is counted, for example "dropped_tokens".
    value: a scalar float32 tensor; values of one name are added.
  """
  if _collectors:
    collected = _collectors[-1]
    collected[name] = collected[name] + value if name in collected else value
