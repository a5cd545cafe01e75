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

"""The files of one checkpoint: whether all are there, whole and unchanged.

A checkpoint is an index and data in one or several files, `model.ckpt-6.index`
and `model.ckpt-6.data-00000-of-00001`. TensorFlow writes the index last. It has
the number of data files and the size and the CRC32C of each variable; hence no
further record is needed, and checkpoints of T5 are checked like our own.
"""

import os

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

# What TensorFlow's reader raises for damaged files.
_UNREADABLE = (tf.errors.OpError, IndexError, RuntimeError)


def fault(path: str) -> str | None:
  """Returns what is missing of a checkpoint, which costs a look at its index.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.

  Returns:
    a phrase that goes on after the checkpoint's name; None for a checkpoint of
    which all is there.
  """
  if not tf.io.gfile.exists(path + ".index"):
    return "has no index file"
  try:
    expected = size_of_variables(path)
    count = _number_of_data_files(path)
  except _UNREADABLE:
    return "has a damaged index file"
  size = 0
  for number in range(count):
    file = f"{path}.data-{number:05d}-of-{count:05d}"
    try:
      size += tf.io.gfile.stat(file).length
    except tf.errors.NotFoundError:
      return f"lacks {os.path.basename(file)}"
  if size < expected:
    return f"has {size:,} bytes of data, but its index names {expected:,}"
  return None


def damage(path: str) -> str | None:
  """Returns what is wrong with a checkpoint, all of which it reads.

  TensorFlow's reader compares each variable with its CRC32C.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.

  Returns:
    a phrase as that of `fault`; None for a checkpoint that can be used.
  """
  found = fault(path)
  if found:
    return found
  reader = tf.train.load_checkpoint(path)
  for name in sorted(reader.get_variable_to_shape_map()):
    try:
      reader.get_tensor(name)
    except _UNREADABLE:
      return f"has damaged data: {name} is not what was saved"
  return None


def step_in(path: str) -> int | None:
  """Returns the step at which a checkpoint was saved, if it says so.

  Args:
    path: the checkpoint, as tf.train.Saver expects it; a good one.
  """
  reader = tf.train.load_checkpoint(path)
  name = tf.GraphKeys.GLOBAL_STEP
  return int(reader.get_tensor(name)) if reader.has_tensor(name) else None


def remove(path: str):
  """Removes the files of a checkpoint, or what there is of them.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.
  """
  for file in _files(path):
    tf.io.gfile.remove(file)


def move(path: str, directory: str):
  """Moves the files of a checkpoint to another directory.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.
    directory: the directory, which exists.
  """
  for file in _files(path):
    target = os.path.join(directory, os.path.basename(file))
    tf.io.gfile.rename(file, target, overwrite=True)


def _files(path: str) -> list[str]:
  """The files of a checkpoint, as far as they are there.

  The index comes first: without it, the rest is no checkpoint.
  """
  directory, name = os.path.split(path)
  found = [
      x for x in tf.io.gfile.listdir(directory) if x.startswith(f"{name}.")
  ]
  found.sort(key=lambda x: not x.endswith(".index"))
  return [os.path.join(directory, x) for x in found]


def size_of_variables(path: str) -> int:
  """Returns the bytes of all variables, by the index; strings are left out.

  The reader compares the index with the CRC32C of its blocks.

  Args:
    path: the checkpoint, as tf.train.Saver expects it.
  """
  reader = tf.train.load_checkpoint(path)
  dtypes = reader.get_variable_to_dtype_map()
  return sum(
      int(np.prod(shape)) * dtypes[name].size
      for name, shape in reader.get_variable_to_shape_map().items()
  )


def _number_of_data_files(path: str) -> int:
  """How many data files a checkpoint's index names."""
  # The index starts with the lengths of what its first key shares with the one
  # before, of the rest of the key, both 0, and of the value, which comes next.
  with tf.io.gfile.GFile(path + ".index", "rb") as file:
    start = file.read(128)
  header = tensor_bundle_pb2.BundleHeaderProto.FromString(
      start[3 : 3 + start[2]]
  )
  return header.num_shards
