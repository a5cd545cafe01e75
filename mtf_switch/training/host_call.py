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

"""The host call, which brings a TPU's figures to its host."""

from collections.abc import Mapping

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf


def send_to_host(model_dir: str, figures: Mapping[str, tf.Tensor]):
  """Brings the figures of a step from the TPU to its host.

  As upstream's host call, it writes them and the layers' summaries to
  TensorBoard; besides, variables on the host keep the last figures. No TPU has
  run it: tests build the graph.

  Args:
    model_dir: the directory for TensorBoard.
    figures: scalars and vectors on the TPU.

  Returns:
    the host call, and for each figure a variable that hooks can fetch.
  """
  for name, figure in figures.items():
    if figure.shape.rank == 0:
      tf.add_to_collection(
          mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY, (name, figure)
      )
  collection = tf.get_collection(mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY)
  # Upstream's writer knows scalars only.
  vectors = [name for name, figure in figures.items() if figure.shape.rank]
  names = [name for name, _ in collection] + vectors
  write_summaries, tensors = mtf.utils.create_host_call(model_dir)
  tensors = [*tensors, *(tf.expand_dims(figures[n], 0) for n in vectors)]
  with mtf.utils.outside_all_rewrites():
    latest = {
        name: tf.get_variable(
            f"figures/{name}",
            shape=figure.shape,
            initializer=tf.zeros_initializer(),
            trainable=False,
            collections=[tf.GraphKeys.LOCAL_VARIABLES],
        )
        for name, figure in figures.items()
    }

  def host_call_fn(global_step, *values):
    received = dict(zip(names, values))
    return [
        write_summaries(global_step, *values[: len(collection)]),
        [
            v.assign(tf.reduce_mean(received[n], axis=0))
            for n, v in latest.items()
        ],
    ]

  return (host_call_fn, tensors), latest
