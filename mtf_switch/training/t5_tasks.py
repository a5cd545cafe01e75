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

"""T5's tasks and mixtures by the names of this project's."""

import re

import seqio

# The plain versions of these read other inputs than the tasks here.
_OTHERS = ("squad", "trivia_qa")
_ENDINGS = ("", "_proportional", "_allanswers", "_simple")
_VERSION = re.compile(r"_v\d{3}(?=_|$)")


def task_of_t5(name: str) -> str | None:
  """Returns the task or mixture here that T5 has under a name with a version.

  Args:
    name: for example "glue_v002_proportional".

  Returns:
    for example "glue"; None if there is none.
  """
  plain = _VERSION.sub("", name)
  if plain == name or plain in _OTHERS:
    return None
  plain = plain.replace("wsc_simple", "wsc")
  names = (plain.removesuffix(ending) for ending in _ENDINGS)
  return next(filter(is_registered, names), None)


def is_registered(name: str) -> bool:
  """Returns whether seqio has a task or a mixture of that name."""
  return (
      name in seqio.TaskRegistry.names()
      or name in seqio.MixtureRegistry.names()
  )
