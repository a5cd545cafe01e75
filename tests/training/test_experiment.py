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

"""The record of a model and its layout: derived values and refusals."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import pytest
import seqio

from mtf_switch import errors
from mtf_switch.training import experiment as experiment_lib
import tasks  # noqa: F401
from tests import toy_tasks  # noqa: F401


def experiment(**kwargs):
  arguments = dict(
      task="toy_copy",
      sequence_length={"inputs": 48, "targets": 32},
      batch_size=4,
  )
  return experiment_lib.Experiment(**{**arguments, **kwargs})


def test_lengths():
  assert experiment().lengths == {"inputs": 48, "targets": 32}
  assert experiment(sequence_length=16).lengths == {"inputs": 16, "targets": 16}
  assert experiment().positions_per_batch == 4 * (48 + 32)


@pytest.mark.parametrize(
    "batch_size, sequences",
    [
        (6, 6),
        (("sequences_per_batch", 6), 6),
        (("sequences_per_replica", 6), 12),
        # The longer feature counts, as in T5.
        (("tokens_per_batch", 96), 2),
        (("tokens_per_replica", 96), 4),
    ],
)
def test_batch_size(batch_size, sequences):
  two_replicas = dict(mesh_shape="all:2", layout_rules="batch:all")
  record = experiment(batch_size=batch_size, **two_replicas)
  assert record.sequences_per_batch == sequences


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (
            dict(task="toy_cpoy"),
            "Task or mixture 'toy_cpoy' is not registered; did you mean "
            "toy_copy? Tasks of your own come in with --module_import.",
        ),
        (
            dict(model_type="bitransfomer"),
            "Experiment.model_type = 'bitransfomer' is not known; use "
            "one of bitransformer, lm. Did you mean bitransformer?",
        ),
        (
            dict(model_type="lm"),
            "Experiment.model_type = 'lm' needs a task with targets, but "
            "'toy_copy' has inputs and targets; take an encoder and a decoder, "
            "such as models/switch_tiny.gin, or a task of whole texts, such as "
            "text_files_full_lm.",
        ),
        (
            dict(sequence_length={"inputs": 48}),
            "Experiment.sequence_length = {'inputs': 48} has no length for "
            "'targets'.",
        ),
        (
            dict(batch_size=("tokens_per_batch", 100)),
            "Experiment.batch_size = ('tokens_per_batch', 100) is not a "
            "multiple of the sequence length 48; the nearest is 96.",
        ),
        (
            dict(batch_size=("token_per_batch", 96)),
            "Experiment.batch_size = ('token_per_batch', 96) is not known; use "
            "a number of sequences or (method, number) with one of the methods "
            "sequences_per_batch, sequences_per_replica, tokens_per_batch and "
            "tokens_per_replica.",
        ),
        (
            dict(outer_batch_size=5),
            "Experiment.outer_batch_size = 5 must be between 1 and the 4 "
            "sequences of a batch.",
        ),
    ],
)
def test_mistakes_are_explained(kwargs, message):
  with pytest.raises(errors.UserError) as error:
    experiment(**kwargs)
  # Gin adds a line about the call.
  assert str(error.value).splitlines()[0] == message


def test_the_tasks_of_a_mixture_have_one_vocabulary(monkeypatch):
  monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
  seqio.MixtureRegistry.add("own", ["pairs_files", "glue_cola"], 1.0)
  with pytest.raises(errors.UserError) as error:
    _ = experiment(task="own").vocabularies
  assert str(error.value) == (
      "'pairs_files' has another vocabulary than other tasks of the mixture "
      "'own'; set vocabulary.name or vocabulary.path, which are for all tasks "
      "of this project."
  )
  gin.bind_parameter("tasks.vocabulary.name", "bytes")
  assert len(experiment(task="own").vocabularies) == 2


@pytest.mark.parametrize(
    "mesh", [5, "data", "data:two", "data:0", "data:-1", "data:2,data:2"]
)
def test_a_mesh_that_cannot_be_read(mesh):
  with pytest.raises(errors.UserError) as error:
    _ = experiment(mesh_shape=mesh).mesh
  assert str(error.value).splitlines()[0] == (
      f"Experiment.mesh_shape = {mesh!r} cannot be read; write it for example "
      "as 'data:2,model:4'."
  )


@pytest.mark.parametrize("rules", [7, "batch", "batch:data:model"])
def test_layout_rules_that_cannot_be_read(rules):
  with pytest.raises(errors.UserError) as error:
    _ = experiment(layout_rules=rules).rules
  assert str(error.value).splitlines()[0] == (
      f"Experiment.layout_rules = {rules!r} cannot be read; write it for "
      "example as 'batch:data,experts:data,d_ff:model'."
  )
