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

"""Hugging Face's weights: safetensors, in one file or in several."""

from collections.abc import Iterable, Mapping
import contextlib
import json
import os
from typing import Any

import numpy as np
import safetensors

from mtf_switch import errors
from mtf_switch.conversion import arrival

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Those that float32 holds unchanged, in safetensors' words.
DTYPES = ("F32", "F16", "BF16")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


class Weights(contextlib.AbstractContextManager):
  """The tensors of a directory, each read when it is asked for.

  Attributes:
    tensors: all of them by name.
  """

  def __init__(self, directory: str):
    """Reads what the files say of their tensors.

    Args:
      directory: Hugging Face's.

    Raises:
      UserError: a file is missing, cut off or of another kind.
    """
    self._files = {}
    self._stack = contextlib.ExitStack()
    self.tensors: dict[str, arrival.Tensor] = {}
    try:
      for path, names in _files_of(directory).items():
        self._open(path, names)
    except BaseException:
      self._stack.close()
      raise

  def __exit__(self, *exception):
    self._stack.close()

  def read(self, name: str) -> np.ndarray:
    """Returns the values of a tensor, in its own dtype."""
    return self._files[self.tensors[name].file].get_tensor(name)

  def _open(self, path: str, names: list[str] | None):
    """Opens a file that must have some tensors; None for whatever it has."""
    try:
      file = safetensors.safe_open(path, framework="np")
    except FileNotFoundError as error:
      raise errors.UserError(
          f"{path} is missing, which {INDEX} names; get it, or the whole "
          "directory, again."
      ) from error
    except (safetensors.SafetensorError, OSError) as error:
      raise errors.UserError(
          f"{path} is not whole, or is no file of safetensors ({error}); get it"
          " again."
      ) from error
    self._files[path] = self._stack.enter_context(file)
    found = set(file.keys())
    for name in found if names is None else names:
      if name not in found:
        raise errors.UserError(
            f"{path} lacks {errors.shown(name)}, which {INDEX} says is there."
        )
      of = file.get_slice(name)
      shape, dtype = tuple(of.get_shape()), of.get_dtype()
      self.tensors[name] = arrival.Tensor(path, shape, dtype)


def _files_of(directory: str) -> dict[str, list[str] | None]:
  """The files with the weights, and the tensors that each is said to have."""
  whole = os.path.join(directory, WHOLE)
  if os.path.exists(whole):
    return {whole: None}
  index = os.path.join(directory, INDEX)
  if not os.path.exists(index):
    raise errors.UserError(_without_weights(directory))
  try:
    with open(index, encoding="utf-8") as file:
      names = json.load(file)["weight_map"]
    files = {}
    for name, file in names.items():
      if os.path.basename(file) != file:
        raise ValueError(f"{file!r} is in another directory")
      files.setdefault(os.path.join(directory, file), []).append(name)
  except (
      *(ValueError, KeyError, TypeError, AttributeError),
      RecursionError,
  ) as error:
    raise errors.UserError(
        f"{index} does not say in which files the weights are "
        f"({errors.shown(str(error))}); get it again."
    ) from error
  return files


def _without_weights(directory: str) -> str:
  """What is said of a directory without safetensors."""
  for name in _PICKLED:
    if os.path.exists(os.path.join(directory, name)):
      return (
          f"{os.path.join(directory, name)} is a pickle, a program that loading"
          " would run, and is not read; have Hugging Face's library write "
          f"{WHOLE}: from_pretrained, then save_pretrained."
      )
  return f"{directory} has neither {WHOLE} nor {INDEX}, and so no weights."


def file_name(number: int, total: int) -> str:
  """Returns the name of a file with weights.

  Args:
    number: of the file, from 1.
    total: the number of files.
  """
  if total == 1:
    return WHOLE
  return WHOLE.replace(".", f"-{number:05d}-of-{total:05d}.")


def index(
    shards: Mapping[str, Iterable[str]], num_bytes: int
) -> dict[str, Any]:
  """Returns the content of INDEX.

  Args:
    shards: the names of the tensors by file.
    num_bytes: of all tensors.
  """
  return {
      "metadata": {"total_size": num_bytes},
      "weight_map": {
          name: file for file, names in shards.items() for name in names
      },
  }
