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

"""TPUs: whether they answer, and properties that gin files refer to."""

import threading

import gin
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.mesh import splits

# The time that a TPU has to answer, in seconds.
_ANSWER = 30


@gin.configurable(module="mtf_switch.tpu")
def default_activation_dtype() -> str:
  """The default dtype of activations: bfloat16 on a TPU, float32 elsewhere.

  With the router in float32, its default, bfloat16 is selective precision.

  Returns:
    "bfloat16" while a graph for a TPU is built, else "float32".

  Source: section 2.4.
  """
  return "bfloat16" if splits.is_on_tpu() else "float32"


@gin.configurable(module="mtf_switch.tpu")
@values.checked
def tpu_data_parallelism(model_parallelism: values.Count = gin.REQUIRED) -> int:
  """The number of parts of a batch on a TPU that T5's gin names describe.

  Args:
    model_parallelism: the cores that share a part.

  Returns:
    the cores that `utils.tpu_mesh_shape.tpu_topology` has, divided by them.

  Raises:
    UserError: they cannot be divided, or the topology is unknown.
  """
  try:
    num_cores = utils.tpu_mesh_shape(model_parallelism=1).size
    shape_of_t5 = utils.tpu_mesh_shape()
  except ValueError as error:
    raise errors.UserError(
        "utils.tpu_mesh_shape.tpu_topology is not known; use the chips of a "
        "pod, such as '8x8' (two cores each), or a name that ends with the "
        f"number of cores, such as 'v3-128' ({str(error).splitlines()[0]})."
    ) from error
  of_t5 = {dim.name: dim.size for dim in shape_of_t5.dims}.get("model", 1)
  if of_t5 != model_parallelism:
    raise errors.UserError(
        f"utils.tpu_mesh_shape.model_parallelism = {of_t5}, but "
        f"model_parallelism = {model_parallelism}; set only the latter."
    )
  if num_cores % model_parallelism:
    near = [m for m in range(1, num_cores + 1) if num_cores % m == 0]
    smaller = [m for m in near if m < model_parallelism][-1:]
    larger = [m for m in near if m > model_parallelism][:1]
    raise errors.UserError(
        f"model_parallelism = {model_parallelism} does not divide the "
        f"{num_cores} cores of the TPU; use "
        f"{' or '.join(map(str, smaller + larger))}."
    )
  return num_cores // model_parallelism


def describe_wait(name: str) -> str:
  """Returns what a terminal shows during `check_answer`."""
  return f"waiting up to {_ANSWER} seconds for the TPU {name}"


def check_answer(name: str, zone: str | None, project: str | None):
  """Refuses a TPU that does not answer, for which TensorFlow waits for ever.

  Args:
    name: the Cloud TPU's name, or a grpc:// address.
    zone: its Google Cloud zone, None to detect it.
    project: its Google Cloud project, None to detect it.

  Raises:
    UserError: there is no such TPU, or it does not answer in time.
  """
  results = []

  def ask():
    try:
      cluster = tf.distribute.cluster_resolver.TPUClusterResolver(
          name, zone=zone, project=project
      )
      master = cluster.master()
    except Exception as error:  # pylint: disable=broad-exception-caught
      results.append(error)
    else:
      results.append(master)

  # In a thread: requests to Google Cloud have no limit of their own.
  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(_ANSWER)
  master = results[0] if results else TimeoutError("no answer")
  if isinstance(master, Exception):
    reason = " ".join(str(master).split())
    raise errors.UserError(
        f"--tpu={name}: Google Cloud does not say where it is ({reason}); give "
        "its address, as in --tpu=grpc://10.0.0.2:8470."
    ) from master
  # A target without an address is this machine's own TPU.
  if master and (problem := _problem_of_session(master)):
    raise errors.UserError(
        f"--tpu={name} does not answer within {_ANSWER} seconds ({problem}); "
        f"see that it is running and that this machine reaches {master}."
    )


def _problem_of_session(master: str) -> str | None:
  """Returns why no session can be had at an address; None if one can."""
  config = tf.ConfigProto(operation_timeout_in_ms=1000 * _ANSWER)
  try:
    with tf.Session(master, tf.Graph(), config) as session:
      session.list_devices()
  except tf.errors.OpError as error:
    return " ".join(error.message.split())
  return None
