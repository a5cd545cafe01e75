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

"""Names in gin files that were T5's or Mesh TensorFlow's once, and are gone.

T5's own programs leave out what has such a name, if nothing else has it. Here
parameters that were renamed keep their meaning as well.
"""

from collections.abc import Callable, Iterator
import re
import tokenize
from typing import Any

from gin import config_parser
from t5.models import mesh_transformer

# A task has its vocabulary; data is neither printed nor made by these.
_OF_MODULES = {
    "configurable_vocabulary": ("t5.models.mesh_transformer",),
    "get_sentencepiece_model_path": ("t5.models.mesh_transformer",),
    "maybe_print_dataset": ("t5.data.utils", "t5.data.dataset_providers"),
    "num_parallel_calls": ("t5.data.utils", "t5.data.preprocessors"),
    "SentencePieceVocabulary": (
        "t5.data.sentencepiece_vocabulary",
        "seqio.sentencepiece_vocabulary",
    ),
    "train_model": ("t5.models.mesh_transformer",),
    "Vocabulary": ("t5.data.vocabularies", "seqio.vocabularies"),
}
_GONE = {*mesh_transformer.DEPRECATED_GIN_REFERENCES, *_OF_MODULES}
for _name, _modules in _OF_MODULES.items():
  for _module in _modules:
    _parts = [*_module.split("."), _name]
    _GONE |= {".".join(_parts[start:]) for start in range(len(_parts))}
_GONE_MODULES = (
    "seqio.sentencepiece_vocabulary",
    "t5.data.sentencepiece_vocabulary",
    "t5.data.vocabularies",
)
# Mesh TensorFlow's "rand_1" became "switch".
_OF_EXPERTS = {
    f"rand_1_{option}": f"switch_{option}"
    for option in (
        "dropout",
        "jitter",
        "policy_eval",
        "policy_train",
        "temperature",
    )
} | {"switch_top_k": "ntlb_top_k"}
_NEW_PARAMETERS = {
    "mesh_train_dataset_fn": {"mixture_name": "mixture_or_task_name"},
    "mesh_eval_dataset_fn": {"mixture_name": "mixture_or_task_name"},
    "get_vocabulary": {"mixture_name": "mixture_or_task_name"},
    "MoE1D": _OF_EXPERTS,
    "ExpertsSelfAttention": _OF_EXPERTS,
}
_GATING = ("moe_gating", "rand_1", "switch")

# Whether gin has a configurable of a name.
IsKnown = Callable[[str], bool]


def is_gone(name: str, is_known: IsKnown) -> bool:
  """Whether a configurable's name is one that T5 had once.

  Args:
    name: the name, without scopes.
    is_known: tells which names gin knows, those of the user's modules included.
  """
  return name in _GONE and not is_known(name)


def new_parameter(selector: str, parameter: str) -> str:
  """Returns the name that a parameter has today."""
  renamed = _NEW_PARAMETERS.get(selector.rpartition(".")[2], {})
  return renamed.get(parameter, parameter)


def readable(text: str, is_known: IsKnown, prefix: str = "") -> str:
  """Returns a gin text without names that are gone, line by line.

  Args:
    text: the text; one that is not gin stays as it is, for gin to say so.
    is_known: as for `is_gone`.
    prefix: to put in front of the names of included files.
  """
  lines = text.splitlines(keepends=True)
  found = list(statements(text, _Names()))
  starts = [statement.location.line_num - 1 for statement in found]
  for statement, start, end in zip(found, starts, [*starts[1:], len(lines)]):
    if _refers_to_gone(statement, is_known):
      lines[start:end] = ["\n"] * (end - start)
      continue
    for number in range(start, end):
      lines[number] = _with_new_names(lines[number], statement, prefix)
  return "".join(lines)


def statements(
    text: str, delegate: config_parser.ParserDelegate
) -> Iterator[Any]:
  """Returns gin's statements of a text, up to the first that is not gin.

  Args:
    text: the text.
    delegate: makes what stands for references.
  """
  try:
    yield from config_parser.ConfigParser(text, delegate)
  except (SyntaxError, ValueError, RecursionError, tokenize.TokenError):
    return


class _Names(config_parser.ParserDelegate):
  """Stands a set of its name for a reference."""

  def configurable_reference(self, name, unused_evaluate):
    """Returns the name without scopes."""
    return frozenset([name.rpartition("/")[2]])

  def macro(self, unused_name):
    """Returns nothing."""
    return frozenset()


def _refers_to_gone(statement, is_known: IsKnown) -> bool:
  """Whether a statement binds, refers to or imports what is gone."""
  if isinstance(statement, config_parser.ImportStatement):
    return statement.module in _GONE_MODULES
  if isinstance(statement, config_parser.BlockDeclaration):
    return is_gone(statement.selector, is_known)
  if isinstance(statement, config_parser.BindingStatement):
    names = [statement.selector] if statement.arg_name else []
    names += _references(statement.value)
    return any(is_gone(name, is_known) for name in names)
  return False


def _references(value: Any) -> Iterator[str]:
  """The names of the configurables that a value refers to."""
  if isinstance(value, frozenset):
    yield from value
  elif isinstance(value, dict):
    yield from _references([*value.keys(), *value.values()])
  elif isinstance(value, (list, tuple)):
    for part in value:
      yield from _references(part)


def _with_new_names(line: str, statement, prefix: str) -> str:
  """A line of a statement, in today's names."""
  if isinstance(statement, config_parser.IncludeStatement) and prefix:
    return line.replace(statement.filename, prefix + statement.filename, 1)
  if isinstance(statement, config_parser.BindingStatement):
    old = statement.arg_name
    new = new_parameter(statement.selector, old)
    if new != old:
      line = re.sub(rf"\b{old}(?=\s*=)", new, line, count=1)
    parameter, old_value, new_value = _GATING
    if old == parameter and statement.value == old_value:
      line = line.replace(old_value, new_value)
  return line
