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

"""Errors in data, for the user to correct."""

from collections.abc import Iterator
import contextlib

_in_datasets: list["DataError"] = []


class DataError(ValueError):
  """Unusable data; the message is one line and says what to change."""


class EmptySplitError(DataError):
  """A split without data, because the whole is too small to have it."""


class DataNotice(UserWarning):
  """Information about data that asks for no correction, on one line."""


@contextlib.contextmanager
def in_dataset() -> Iterator[None]:
  """Keeps a DataError that is raised while TensorFlow reads a dataset.

  TensorFlow replaces it by its own error, whose message is the traceback.
  """
  try:
    yield
  except DataError as error:
    _in_datasets.append(error)
    raise


def raised_in_dataset() -> DataError | None:
  """Returns the latest DataError raised `in_dataset`, if any."""
  return _in_datasets[-1] if _in_datasets else None
