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

"""The flags that go with the cards of --mode=reproduce."""

from absl import flags

from switch_command import mistakes

FLAGS = flags.FLAGS

# What the cards of --mode=reproduce say of a run, and where it runs: at the
# paper's scale that is the user's TPU and data.
_SETTLED_BY_CARDS = ("model_dir", "seed", "mesh_hosts", "mesh_task")

_SETTLED_AT_SMALL_SCALE = (
    *("gin_file", "gin_param", "gin_location_prefix", "module_import"),
    *("t5_tfds_data_dir", "additional_task_cache_dirs"),
    *("tpu", "tpu_zone", "gcp_project", "tpu_job_name"),
)


def check():
  """Refuses flags that are settled by the cards of --mode=reproduce."""
  for name in _SETTLED_BY_CARDS + _SETTLED_AT_SMALL_SCALE:
    if not FLAGS[name].present:
      continue
    if name in _SETTLED_BY_CARDS:
      raise mistakes.Mistake(
          f"--{name} is of no use to --mode=reproduce: the cards settle it; "
          "--seeds, --rows and --output_dir are for all of their runs."
      )
    if FLAGS.scale == "small":
      raise mistakes.Mistake(
          f"--{name} goes with --mode=reproduce at --scale=paper only: small "
          "cards say all of a run."
      )


def for_runs() -> list[str]:
  """The flags that are passed on to runs at the paper's scale."""
  passed_on = []
  for name in _SETTLED_AT_SMALL_SCALE:
    value = FLAGS[name].value
    if name == "additional_task_cache_dirs":
      value = ",".join(value)
    if FLAGS[name].present:
      values = value if isinstance(value, list) else [value]
      passed_on += [f"--{name}={x}" for x in values]
  return passed_on
