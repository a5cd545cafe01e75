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

"""What the graphs of all model functions share."""

from collections.abc import Sequence

import gin.tf
import mesh_tensorflow as mtf

from mtf_switch.mesh import placement
from mtf_switch.mesh import servers
from mtf_switch.training import run as run_lib
from mtf_switch.training import unread_bindings


def place(run: run_lib.Run, params, step):
  """Creates the mesh of a model function's graph; see placement.place."""
  return placement.place(
      run.experiment.mesh,
      run.experiment.layout,
      run.devices,
      run.seed,
      step,
      tpu_context=params["context"] if run.tpu else None,
  )


def hooks(
    run: run_lib.Run,
    lowering: mtf.Lowering,
    config_name: str,
    built: Sequence[str],
    is_summarized: bool = False,
):
  """The hooks of every session: slices filled, gin's bindings recorded.

  The graph is complete: what gin has bound is read by now.

  Args:
    run: the run.
    lowering: of the graph.
    config_name: the name of the record of bindings.
    built: what the graph has beside a model, see unread_bindings.check.
    is_summarized: whether TensorBoard shows the bindings, and the graph, which
      takes megabytes for each session of a program.

  Returns:
    a list of hooks.

  Raises:
    UserError: gin binds something in a scope that does not exist.
  """
  unread_bindings.check(run.own_bindings, {unread_bindings.MODEL, *built})
  return [
      servers.OneSessionHook(),
      mtf.MtfRestoreHook(lowering),
      gin.tf.GinConfigSaverHook(
          run.model_dir,
          base_name=config_name,
          include_step_in_filename=False,
          summarize_config=is_summarized,
      ),
  ]


def import_features(experiment, mesh, features, outer_batch_size: int = 1):
  """The features on the mesh; upstream's beam search has no outer batch."""
  lengths = experiment.lengths
  if experiment.model_type == "lm":
    # What it continues is a part of its targets.
    lengths = {**lengths, "inputs": lengths["targets"]}
  return placement.import_features(
      mesh,
      features,
      experiment.sequences_per_batch,
      lengths,
      outer_batch_size,
  )
