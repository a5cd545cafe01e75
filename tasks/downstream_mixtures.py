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

"""The mixtures of downstream tasks, in proportion to their numbers of examples.

DPR is part of T5's SuperGLUE, to train on with WSC, but not of its files.
"""

from collections.abc import Mapping
import warnings

import seqio
from t5.data import glue_utils

from tasks import downstream
from tasks import errors
from tasks import official_files


class _MixtureWithDpr(seqio.Mixture):
  """A mixture that leaves out DPR where only SuperGLUE's files are there."""

  @property
  def tasks(self) -> list[seqio.Task]:
    """The tasks whose data is to be used."""
    tasks = super().tasks
    if _leaves_out_dpr():
      return [task for task in tasks if task.name != "dpr"]
    return tasks

  def get_dataset(self, *args, **kwargs):
    """As seqio.Mixture; notes what is left out."""
    if _leaves_out_dpr():
      tfds_name = seqio.TaskRegistry.get("dpr").source.describe()
      warnings.warn(
          f"{self.name} leaves out dpr, which is not in SuperGLUE's files; "
          "dpr.directory names the directory of its own (train.c.txt), or "
          f"{tfds_name} is prepared.",
          errors.DataNotice,
          stacklevel=1,  # One place, so that it is shown once.
      )
    return super().get_dataset(*args, **kwargs)


def _leaves_out_dpr() -> bool:
  """Whether SuperGLUE comes from files, and DPR is neither there nor asked."""
  return (
      official_files.directory_of("super_glue") is not None
      and official_files.directory_of("definite_pronoun_resolution") is None
      and not seqio.TaskRegistry.get("dpr").source.is_present()
  )


def _add_with_dpr(name: str, rates: Mapping[str, float]):
  """Registers a mixture of tasks of which one is DPR."""
  mixture = _MixtureWithDpr(name, list(rates.items()))
  seqio.MixtureRegistry.add_provider(name, mixture)


def _register_mixtures():
  names = {t5_name: name for name, t5_name in downstream.FROM_T5.items()}
  glue, super_glue = (
      {names[t5_name]: rate for t5_name, rate in rates.items()}
      for rates in (
          glue_utils.get_glue_weight_mapping(),
          glue_utils.get_super_glue_weight_mapping(),
      )
  )
  seqio.MixtureRegistry.add("glue", list(glue.items()))
  _add_with_dpr("super_glue", super_glue)
  seqio.MixtureRegistry.add(
      "super_glue_wsc",
      [
          (name, super_glue[name])
          for name in ("super_glue_wsc_train", "super_glue_wsc_eval")
      ],
  )
  everything = {**glue, **super_glue, **downstream.NUM_EXAMPLES}
  for name in ("glue_rte", "super_glue_rte"):  # Equal examples; as in T5.
    everything[name] /= 2
  _add_with_dpr("downstream", everything)


_register_mixtures()
