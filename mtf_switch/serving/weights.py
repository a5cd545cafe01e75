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

from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf1
import tensorflow.compat.v2 as tf

from mtf_switch.training import checkpoint_fit
from mtf_switch.training import warm_start


class Weights:
  """The weights of a checkpoint, without the optimizer's slots.

  Mesh TensorFlow keeps a master and a copy of it in another type where gin has
  two types (get_variable_dtype). Here there is what it computes with, and
  graphs are to be built with `bindings`.

  Attributes:
    variables: by name.
  """

  def __init__(self, path: str):
    """Reads a checkpoint.

    Args:
      path: the checkpoint, as tf.train.Saver expects it.
    """
    self._path = path
    self._saved = checkpoint_fit.variables_of(path)
    dtype = utils.get_variable_dtype().slice_dtype
    reader = tf.train.load_checkpoint(path)
    self.variables = {
        name: tf.Variable(
            tf.cast(reader.get_tensor(name), dtype), trainable=False, name=name
        )
        for name in warm_start.weights_among(self._saved)
    }

  @property
  def num_bytes(self) -> int:
    """The size of the variables."""
    return sum(
        x.shape.num_elements() * x.dtype.size for x in self.variables.values()
    )

  @contextlib.contextmanager
  def in_place_of_variables(self) -> Iterator[None]:
    """Has a graph get these where it would make variables of its own.

    Yields:
      nothing.

    Raises:
      UserError: the graph is of another model than the checkpoint.
    """
    asked = {}

    def get(name, shape, dtype, **unused_kwargs):
      saved = self._saved.get(name)
      dtype = tf.as_dtype(dtype).base_dtype
      asked[name] = checkpoint_fit.Variable(
          saved.dtype if saved else dtype, tuple(shape)
      )
      if saved and saved.shape == tuple(shape):
        return self.variables[name]
      with tf1.name_scope(None):
        # Until the check below refuses it.
        return tf1.placeholder(dtype, shape, name)

    with tf1.variable_scope(tf1.get_variable_scope(), custom_getter=get):
      yield
    checkpoint_fit.check(self._path, asked)


def bindings() -> list[str]:
  """The gin bindings that a graph is built with, for one type of variables."""
  slice_dtype = utils.get_variable_dtype().slice_dtype
  return [f"get_variable_dtype.master_dtype = {slice_dtype.name!r}"]
