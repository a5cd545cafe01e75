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

"""The weights of a checkpoint as variables, each of them once."""

from collections.abc import Iterator
import contextlib
import math

from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf1
import tensorflow.compat.v2 as tf

from mtf_switch.training import checkpoint_fit
from mtf_switch.training import warm_start


class Weights:
  """The weights that the graphs of a model ask for, read when they do.

  Attributes:
    variables: what has been read so far, by name.
  """

  def __init__(self, path: str):
    """Opens a checkpoint.

    Args:
      path: the checkpoint, as tf.train.Saver expects it.
    """
    self._path = path
    self._saved = checkpoint_fit.variables_of(path)
    self._asked: dict[str, checkpoint_fit.Variable] = {}
    self.variables: dict[str, tf.Variable] = {}

  @property
  def num_bytes(self) -> int:
    """The size of the variables, the optimizer's left out."""
    slice_dtype = utils.get_variable_dtype().slice_dtype
    names = warm_start.weights_among(self._saved)
    return slice_dtype.size * sum(
        math.prod(self._saved[name].shape) for name in names
    )

  @contextlib.contextmanager
  def in_place_of_variables(self) -> Iterator[None]:
    """Has graphs get these where they would make variables of their own.

    Mesh TensorFlow keeps a master and a copy of it in another type where gin
    has two types (get_variable_dtype). Here there is what it computes with,
    and both are to have that type.

    Yields:
      nothing.

    Raises:
      UserError: the graph is of another model than the checkpoint.
    """

    def get(name, shape, dtype, **unused_kwargs):
      with tf1.name_scope(None):
        return self._get(name, tuple(shape), tf.as_dtype(dtype).base_dtype)

    with tf1.variable_scope(tf1.get_variable_scope(), custom_getter=get):
      yield
    checkpoint_fit.check(self._path, self._asked)

  def _get(self, name: str, shape: tuple[int, ...], dtype: tf.DType):
    saved = self._saved.get(name)
    self._asked[name] = checkpoint_fit.Variable(
        saved.dtype if saved else dtype, shape
    )
    if saved is None or saved.shape != shape:
      return tf.zeros(shape, dtype)  # Nothing is run: `check` refuses it.
    if name not in self.variables:
      # Variables outlive the graph that asks for them.
      with tf.init_scope():
        reader = tf.train.load_checkpoint(self._path)
        value = tf.cast(reader.get_tensor(name), dtype)
        self.variables[name] = tf.Variable(value, trainable=False, name=name)
    return self.variables[name]


def bindings() -> list[str]:
  """The gin bindings that a graph is built with, for one type of variables."""
  slice_dtype = utils.get_variable_dtype().slice_dtype
  return [f"get_variable_dtype.master_dtype = {slice_dtype.name!r}"]
