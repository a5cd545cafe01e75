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

"""The host call, with a TPU's cores imitated."""

import mtf_switch  # isort: skip  # noqa: F401
import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from mtf_switch.training import host_call


def test_host_of_a_tpu_keeps_the_figures(tmp_path):
  with tf.Graph().as_default(), tf.Session() as session:
    tf.train.create_global_step()
    sent = {
        "cross_entropy": 2.5,
        "a/layer/load_histogram": [0.0, 3.0, 1.0],
        "aux_loss": 0.5,
    }
    # A layer's own summary, which goes to TensorBoard only.
    tf.add_to_collection(
        mtf.utils.SCALAR_SUMMARIES_COLLECTION_KEY, ("entropy", tf.constant(7.0))
    )
    (host_call_fn, tensors), latest = host_call.send_to_host(
        str(tmp_path), {name: tf.constant(x) for name, x in sent.items()}
    )
    # Each core sends a copy, and TPUEstimator joins them.
    _, updates = host_call_fn(
        *(tf.concat([tensor] * 4, axis=0) for tensor in tensors)
    )
    session.run(tf.local_variables_initializer())
    session.run(tf.global_variables_initializer())
    session.run(updates)
    kept = {k: v.tolist() for k, v in session.run(latest).items()}
    assert kept == sent
