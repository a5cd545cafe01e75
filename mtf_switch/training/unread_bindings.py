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

"""Bindings of the user's that nothing reads.

Gin takes any binding of a known parameter, in any scope, and says nothing if no
call ever reads it. Here such bindings are named once a graph is built, when gin
knows which calls were made. The files of gin/ are not judged: each serves many
models.
"""

from collections.abc import Collection, Iterable
import warnings

import gin
from mesh_tensorflow.transformer import transformer

from mtf_switch import errors
from mtf_switch import spelling
from mtf_switch.training import gin_values
from mtf_switch.training import t5_configs

Key = t5_configs.Key

# What configurables are for, by which a mode is judged: one that only trains
# may leave alone what another one reads.
MODEL = "model"
TRAINING = "training"
DATA = "data"
DECODING = "decoding"
_ANOTHER_MODE = "another mode"
_NO_MODE = "no mode"

# The longest beginning of a configurable's name counts.
_KINDS = {
    "": _ANOTHER_MODE,  # The user's own.
    "Bitransformer": MODEL,
    "Bitransformer.decode": DECODING,
    "Unitransformer": MODEL,
    "Unitransformer.sample_autoregressive": DECODING,
    "mesh_tensorflow.": MODEL,
    # Read by our search, under upstream's name.
    "mesh_tensorflow.beam_search.": _ANOTHER_MODE,
    "mesh_tensorflow.optimize.": TRAINING,
    "mesh_tensorflow.simd_mesh_impl.": _ANOTHER_MODE,  # Read on TPUs.
    "mesh_tensorflow.transformer.dataset.": DATA,
    "mesh_tensorflow.transformer.learning_rate_schedules.": TRAINING,
    "mesh_tensorflow.transformer.utils.clean_decodes": DECODING,
    t5_configs.RUN: _NO_MODE,
    "mesh_tensorflow.transformer.utils.serialize_num_microbatches": TRAINING,
    "mtf_switch.": MODEL,
    "mtf_switch.Adafactor": TRAINING,
    "mtf_switch.cross_entropy_loss": TRAINING,
    "mtf_switch.decoding.": _ANOTHER_MODE,
    "mtf_switch.evaluation.": _ANOTHER_MODE,
    "mtf_switch.finetuning.": _ANOTHER_MODE,
    "mtf_switch.modes.": _ANOTHER_MODE,
    "t5.data.": DATA,
    "t5.models.": _NO_MODE,
    "t5.models.mesh_transformer.mesh_eval_dataset_fn": _ANOTHER_MODE,
    "t5.models.mesh_transformer.mesh_train_dataset_fn": _ANOTHER_MODE,
}
# Packages that enter no scopes but these.
_SCOPES = ("encoder", "decoder", "student", "teacher")
_PACKAGES = ("gin", "mesh_tensorflow", "mtf_switch", "seqio", "t5", "tasks")


def check(own: Collection[Key], built: Collection[str] = ()):
  """Names the user's bindings that no call has read, after the last call.

  Args:
    own: the bindings to judge, see strict_gin.parse.
    built: as for `find`.

  Raises:
    UserError: a binding is in a scope that nothing enters.
  """
  check_scopes(own, MODEL in built)
  unread = find(own, built)
  if unread:
    names = _read_names()
    listed = ", ".join(_name(key) + _advice(key, names) for key in unread)
    warnings.warn(f"nothing reads {listed}.", errors.UserNotice, stacklevel=2)


def find(own: Collection[Key], built: Collection[str]) -> list[Key]:
  """Returns the bindings that no call has read.

  Args:
    own: the bindings to judge.
    built: what has been built: MODEL, TRAINING, DATA, DECODING. What is read
      only where something else is built is left alone.
  """
  unread = [
      key for key in sorted(own) if not _is_read(key) and _is_judged(key, built)
  ]
  macros = [key for key in unread if key[1] == "gin.macro"]
  return [key for key in unread if key not in macros] + [
      key for key in macros if _reaches_nothing(key, own, built)
  ]


def check_scopes(own: Iterable[Key], is_built: bool = False):
  """Refuses bindings in scopes that do not exist.

  Args:
    own: the bindings to judge.
    is_built: whether a model was built, which enters all scopes. Until then the
      user's own modules may have others than those known.

  Raises:
    UserError: names the binding, and scopes that are spelt like its own.
  """
  if not is_built and _has_users_configurables():
    return
  known = _known_scopes()
  for key in own:
    for scope in _scopes(key):
      if scope not in known:
        advice = spelling.did_you_mean(scope, known)
        raise errors.UserError(
            f"{_name(key)} is in a scope that nothing enters, {scope!r}; "
            + (advice or f"known ones are {', '.join(_SCOPES[:2])}.")
        )


def _known_scopes() -> set[str]:
  """Returns the scopes that are entered somewhere, as far as gin knows."""
  known = {*_SCOPES}
  for reference in gin.config.iterate_references(_bound()):
    known.update(reference.scopes)  # Of macros too: gin enters their names.
  for scope, selector in _calls():
    if selector != "gin.macro":
      known.update(scope.split("/"))
  return known


def in_unknown_scopes(keys: Iterable[Key]) -> set[Key]:
  """Returns the bindings in scopes that nothing enters, as far as gin knows."""
  known = _known_scopes()
  return {key for key in keys if not known.issuperset(_scopes(key))}


def _scopes(key: Key) -> list[str]:
  return key[0].split("/") if key[0] and key[1] != "gin.macro" else []


# Gin has no public functions for the following.
def _bound():
  """What gin binds: values by parameter for each scope and configurable."""
  return gin.config._CONFIG  # pylint: disable=protected-access


def _calls():
  """What calls have read: the same, for each scope that was entered."""
  return gin.config._OPERATIVE_CONFIG  # pylint: disable=protected-access


def _has_users_configurables() -> bool:
  """Whether there is code that neither upstream nor this project wrote."""
  return any(
      made.wrapped.__module__.split(".")[0] not in _PACKAGES
      for _, made in gin_values.registry().items()
  )


def _is_read(key: Key) -> bool:
  """Whether a call has read a binding, or would have without a narrower one."""
  scope, selector, parameter = key
  return any(
      selector == called
      and parameter in read
      and (not scope or f"{entered}/".startswith(f"{scope}/"))
      for (entered, called), read in _calls().items()
  )


def _is_judged(key: Key, built: Collection[str]) -> bool:
  """Whether a binding that is not read now is read in no other mode."""
  _, selector, _ = key
  if any(selector == called for _, called in _calls()):
    return True  # Called, but in another scope or with the parameter given.
  wrapped = gin_values.registry()[selector].wrapped
  if isinstance(wrapped, type) and issubclass(
      wrapped, transformer.TransformerLayer
  ):
    kind = MODEL
  else:
    kind = _KINDS[max(filter(selector.startswith, _KINDS), key=len)]
  return kind == _NO_MODE or kind in built


def _reaches_nothing(
    macro: Key, own: Collection[Key], built: Collection[str]
) -> bool:
  """Whether a macro is in bindings of gin/ only, and nothing reads them."""
  users = [
      (scope, selector, parameter)
      for (scope, selector), bound in _bound().items()
      for parameter, value in bound.items()
      for reference in gin.config.iterate_references(value)
      if reference.config_key == macro[:2]
  ]
  return bool(users) and not any(
      key in own
      or key[1] == "gin.macro"
      or _is_read(key)
      or not _is_judged(key, built)
      for key in users
  )


def _name(key: Key) -> str:
  """A binding's name as one would write it."""
  return key[0] if key[1] == "gin.macro" else gin_values.name_of(*key)


def _read_names() -> list[str]:
  """The names of all parameters that calls have read."""
  return [
      gin_values.name_of(scope, selector, parameter)
      for (scope, selector), read in _calls().items()
      if selector != "gin.macro"
      for parameter in read
  ]


def _advice(key: Key, names: Iterable[str]) -> str:
  """What to write instead of a binding, in parentheses, or nothing."""
  alike = [name for name in names if name.endswith(f".{key[2]}")]
  advice = spelling.did_you_mean(_name(key), alike)
  return f" ({advice})" if advice else ""
