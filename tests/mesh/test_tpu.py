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


"""Layouts from T5's topologies; the places of a mesh's cores on a TPU."""

from absl import flags
import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import placement
from mtf_switch.mesh import tpu
from mtf_switch.training import strict_gin
from tests import gin_files
from tests import lowered

T5_MODEL_PARALLELISM = "utils.tpu_mesh_shape.model_parallelism"


def mesh_shape(topology, m, *params, layout="expert_model_data"):
  flags.FLAGS.mark_as_parsed()  # T5's cores of a chip are a flag.
  gin_files.clear()
  files = [f"layouts/{layout}.gin", "runs/tpu_topology.gin"]
  strict_gin.parse(
      files,
      [
          f"utils.tpu_mesh_shape.tpu_topology = {topology!r}",
          f"model_parallelism = {m}",
          *params,
      ],
      [],
  )
  return gin_files.macro("mesh_shape")


@pytest.mark.parametrize(
    "topology, m, n",
    # Two cores a chip, unless the name ends with the number of cores.
    [("8x8", 4, 32), ("4x4x4", 1, 128), ("v3-8", 8, 1), ("v3-32", 2, 16)],
)
def test_a_layout_has_the_cores_of_the_topology(topology, m, n):
  assert mesh_shape(topology, m) == [("data", n), ("model", m)]
  assert mesh_shape(topology, 1, layout="expert_data") == [("data", n * m)]


@pytest.mark.parametrize(
    "topology, m, params, message",
    [
        (
            "v3-32",
            12,
            [],
            "model_parallelism = 12 does not divide the 32 cores of the TPU; "
            "use 8 or 16.",
        ),
        ("v3-8", 64, [], "64 does not divide the 8 cores of the TPU; use 8."),
        ("v3", 1, [], "is not known; use the chips of a pod, such as '8x8'"),
        (
            "2x2",
            1,
            [f"{T5_MODEL_PARALLELISM} = 2"],
            f"{T5_MODEL_PARALLELISM} = 2, but model_parallelism = 1",
        ),
    ],
)
def test_topologies_that_do_not_fit_are_refused(topology, m, params, message):
  with pytest.raises(errors.UserError) as error:
    mesh_shape(topology, m, *params)
  assert message in str(error.value)


def place(topology, shape):
  flags.FLAGS.mark_as_parsed()
  context = lowered.tpu_context(topology)
  _, mesh_impl = placement.place(
      mtf.convert_to_shape(shape),
      mtf.convert_to_layout_rules(""),
      None,
      seed=0,
      step=None,
      tpu_context=context,
  )
  return mesh_impl, context.device_assignment


@pytest.mark.parametrize(
    "topology",
    [
        # Of two cores a chip, and of one; squares, rectangles and tori.
        [2, 2, 1, 2],
        [4, 8, 1, 2],
        [8, 4, 1, 2],
        [2, 4, 2, 2],
        [4, 4, 1, 1],
        [2, 4, 2, 1],
        [4, 4, 3, 1],
    ],
)
def test_cores_that_share_a_layer_are_neighbours(topology):
  num_cores = int(np.prod(topology))
  mesh_impl, assignment = place(topology, f"data:{num_cores // 2};model:2")
  cores = [mesh_impl.l2p(i) for i in range(num_cores)]
  assert sorted(cores) == list(range(num_cores))
  for one, other in zip(cores[::2], cores[1::2]):
    steps = np.subtract(
        assignment.coordinates(one, 0), assignment.coordinates(other, 0)
    )
    # On a chip, or on chips next to each other.
    assert np.abs(steps).sum() == 1
    assert abs(steps[-1]) == topology[-1] - 1


def test_a_mesh_of_another_size_than_the_tpu_is_refused():
  with pytest.raises(errors.UserError) as error:
    place([2, 2, 1, 2], "data:2;model:2")
  assert "'data:2,model:2' is for 4 cores, but the TPU has 8" in str(
      error.value
  )


@pytest.mark.parametrize("is_there", [True, False])
def test_a_tpu_that_never_answers_is_given_up(silent, monkeypatch, is_there):
  monkeypatch.setattr(tpu, "_ANSWER", 1)
  name = f"grpc://{silent}" if is_there else "grpc://127.0.0.1:9"
  with pytest.raises(errors.UserError) as raised:
    tpu.check_answer(name, None, None)
  assert str(raised.value) == (
      f"--tpu={name} does not answer within 1 seconds (Deadline Exceeded); see "
      f"that it is running and that this machine reaches {name}."
  )


def test_google_cloud_that_never_answers_is_given_up(silent, monkeypatch):
  monkeypatch.setattr(tpu, "_ANSWER", 0.2)
  monkeypatch.setenv("GCE_METADATA_HOST", silent)
  with pytest.raises(errors.UserError, match=r"--tpu=mine: .* \(no answer\)"):
    tpu.check_answer("mine", None, None)


def test_a_server_of_tensorflow_answers():
  server = tf.distribute.Server.create_local_server()
  tpu.check_answer(server.target, None, None)
