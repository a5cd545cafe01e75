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

"""The weights in a checkpoint of T5X: zarr arrays, and msgpack beside them.

T5X's own checkpointer writes a file `checkpoint`, in msgpack, with a tree of
all arrays: small ones themselves, and of the others what TensorStore needs to
find them, each in a directory of its own. Orbax, which T5X's program uses by
now, has the same arrays in one database of files (OCDBT).

Of what the files say, only names and arrays are used. Nothing in them is
executed, and no path in them is followed.
"""

from collections.abc import Iterator, Mapping
import os
import re
from typing import Any

from flax import serialization
import numpy as np
import tensorstore

from mtf_switch import errors
from mtf_switch.conversion import arrival

# Those that float32 holds unchanged.
DTYPES = ("float32", "bfloat16", "float16")

_FILE = "checkpoint"
_ORBAX = "state"
_DATABASE = "manifest.ocdbt"
_VERSION = 3
_OF_TENSORFLOW = b"model_checkpoint_path"
# What a tree has in the place of an array that is elsewhere.
_SPEC = {"driver", "kvstore", "metadata"}
_PLACEHOLDER = "PLACEHOLDER://"
# Flaxformer's, which is no array.
_METADATA = "__save_format_metadata__"
_WEIGHTS, _STATE = "target", "state"
_STEP = f"{_STATE}/step"
_ZARR = "/.zarray"
# What msgpack and flax raise for bytes that are not theirs.
_BROKEN = (
    *(ValueError, TypeError, AttributeError, KeyError),
    *(RecursionError, MemoryError, EOFError),
)
_Leaves = dict[str, np.ndarray | None]


class Weights:
  """The arrays of a checkpoint, each read when it is asked for.

  Attributes:
    tensors: the weights by name, such as "encoder/encoder_norm/scale".
    step: of training.
    num_slots: how many arrays the optimizer has.
    others: the names of what is neither a weight nor of the optimizer.
  """

  def __init__(self, directory: str):
    """Reads what the checkpoint says of its arrays.

    Args:
      directory: the checkpoint's, such as `checkpoint_500000`.

    Raises:
      UserError: it is no checkpoint of T5X, or not whole.
    """
    self._place = _place(directory)
    self._has_database = os.path.exists(os.path.join(self._place, _DATABASE))
    if self._has_database:
      leaves = self._leaves_of_database()
    else:
      leaves = _leaves_of_file(os.path.join(self._place, _FILE))
    self._inline = {k: x for k, x in leaves.items() if x is not None}
    self._stores = {
        name: self._open(name)
        for name, values in leaves.items()
        if values is None and (name == _STEP or _part(name) == _WEIGHTS)
    }
    self.tensors = {
        name.removeprefix(f"{_WEIGHTS}/"): self._tensor(name)
        for name in leaves
        if _part(name) == _WEIGHTS
    }
    self.step = self._step()
    slots = [x for x in leaves if _part(x) == _STATE and x != _STEP]
    self.num_slots = len(slots)
    self.others = sorted(
        x for x in leaves if _part(x) not in (_WEIGHTS, _STATE)
    )

  def read(self, name: str) -> np.ndarray:
    """Returns a weight, float32.

    Args:
      name: of `tensors`.

    Raises:
      UserError: the files are not whole.
    """
    return self._read(f"{_WEIGHTS}/{name}", np.float32)

  def _step(self) -> int:
    """The step, which every checkpoint has."""
    values = None
    if _STEP in self._inline or _STEP in self._stores:
      values = np.asarray(self._read(_STEP))
    if values is None or values.dtype.kind not in "iu" or values.size != 1:
      raise errors.UserError(
          f"{self._place} has no {_STEP}, a whole number, as checkpoints of T5X"
          " have; name another directory."
      )
    return int(values.reshape(()))

  def _tensor(self, name: str) -> arrival.Tensor:
    if name in self._inline:
      values = self._inline[name]
      path = os.path.join(self._place, _FILE)
      return arrival.Tensor(path, values.shape, values.dtype.name)
    store = self._stores[name]
    return arrival.Tensor(self._path(name), store.shape, store.dtype.name)

  def _read(self, name: str, dtype=None) -> np.ndarray:
    if name in self._inline:
      values = self._inline[name]
      return values if dtype is None else values.astype(dtype, copy=False)
    store = self._stores[name]
    if dtype is not None:
      store = tensorstore.cast(store, tensorstore.dtype(dtype))
    try:
      return store.read().result()
    except ValueError as error:
      raise errors.UserError(
          f"{self._path(name)} is not whole ({_first(error)}); get it again."
      ) from error

  def _path(self, name: str) -> str:
    """The directory of an array, or the database that has it."""
    if self._has_database:
      return self._place
    return os.path.join(self._place, name.replace("/", "."))

  def _open(self, name: str) -> tensorstore.TensorStore:
    """Opens an array that is not in the file."""
    path = self._path(name)
    if self._has_database:
      files = {
          **_database(self._place),
          "path": name.replace("/", ".") + "/",
      }
    else:
      files = {"driver": "file", "path": f"{path}/"}
    spec = {
        "driver": "zarr",
        "kvstore": files,
        # Else a file that is missing would be zeros.
        "fill_missing_data_reads": False,
    }
    try:
      return tensorstore.open(spec, open=True, read=True).result()
    except ValueError as error:
      raise errors.UserError(
          f"{path} is missing or not whole, which the checkpoint has "
          f"{name} in ({_first(error)}); get it again."
      ) from error

  def _leaves_of_database(self) -> _Leaves:
    """The names in a database of Orbax."""
    try:
      keys = tensorstore.KvStore.open(_database(self._place)).result().list()
      found = [x.decode() for x in keys.result()]
    except ValueError as error:
      raise errors.UserError(
          f"{self._place} is not whole ({_first(error)}); get it again."
      ) from error
    names = [x.removesuffix(_ZARR) for x in found if x.endswith(_ZARR)]
    return {x.replace(".", "/"): None for x in names}


def _database(place: str) -> dict[str, Any]:
  """What TensorStore is told of a database."""
  base = {"driver": "file", "path": f"{place}/"}
  return {"driver": "ocdbt", "base": base}


def _part(name: str) -> str:
  """What an array is of: the weights, the state of the optimizer, or more."""
  return name.split("/")[0]


def _place(directory: str) -> str:
  """The directory in a checkpoint that has the arrays."""
  for place in (directory, os.path.join(directory, _ORBAX)):
    for name in (_FILE, _DATABASE):
      if os.path.isfile(os.path.join(place, name)):
        return os.path.abspath(place)
  steps = [
      int(found[1])
      for name in os.listdir(directory)
      if (found := re.fullmatch(r"checkpoint_(\d+)", name))
  ]
  if steps:
    last = os.path.join(directory, f"checkpoint_{max(steps)}")
    raise errors.UserError(
        f"{directory} is of a run, with {len(steps)} checkpoints; name one of "
        f"them, such as {last}."
    )
  raise errors.UserError(
      f"{directory} is no checkpoint of T5X: it has neither a file {_FILE} nor "
      f"{_DATABASE}."
  )


def _leaves_of_file(path: str) -> _Leaves:
  """The arrays in the tree of a file; None for those that are elsewhere."""
  with open(path, "rb") as file:
    content = file.read()
  if content.startswith(_OF_TENSORFLOW):
    raise errors.UserError(
        f"{path} is of TensorFlow's checkpoints, which need no conversion."
    )
  try:
    tree = serialization.msgpack_restore(content)
    if not isinstance(tree, Mapping):
      raise ValueError("there is no tree of arrays in it")
  except _BROKEN as error:
    raise errors.UserError(
        f"{path} is not whole, or is no msgpack of T5X ({_first(error)}); get "
        "it again."
    ) from error
  if "optimizer" in tree:
    version = tree.get("version")
    if version != _VERSION:
      raise errors.UserError(
          f"{path} has version = {errors.shown(repr(version))}; what is read "
          f"is {_VERSION}, which T5X writes since 2021."
      )
    tree = tree["optimizer"]
  try:
    return dict(_leaves(tree, ()))
  except RecursionError as error:
    raise errors.UserError(f"{path} is no msgpack of T5X.") from error


def _leaves(
    tree: Any, keys: tuple[str, ...]
) -> Iterator[tuple[str, np.ndarray | None]]:
  """The arrays of a tree by name; None for those that are elsewhere."""
  if isinstance(tree, Mapping) and not _SPEC <= set(tree):
    for key, value in tree.items():
      if key != _METADATA and value is not None:
        yield from _leaves(value, (*keys, str(key)))
    return
  name = "/".join(keys)
  is_elsewhere = isinstance(tree, Mapping) or (
      isinstance(tree, str) and tree.startswith(_PLACEHOLDER)
  )
  yield name, None if is_elsewhere else np.asarray(tree)


def _first(error: BaseException) -> str:
  """What an error says, without what TensorStore adds for its developers."""
  return errors.shown(str(error).split(" [")[0]) or type(error).__name__
