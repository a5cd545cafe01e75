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


"""The routers under their gin names, and the router of a layer's options."""

import dataclasses
import inspect
from typing import Any

import gin

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.layer import router as router_lib
from mtf_switch.layer import routing

# Has no literal, so that gin leaves it out of what it writes.
_UNUSED = object()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Registered:
  """Accepts what operative_config.gin of 0.2.0 has beside the options.

  Routers were functions then, and gin wrote down two of their arguments.
  """

  is_training: dataclasses.InitVar[Any] = _UNUSED
  nonpadding: dataclasses.InitVar[Any] = _UNUSED

  def __post_init__(self, is_training, nonpadding):
    """Ignores both."""
    del is_training, nonpadding
    super().__post_init__()


@gin.configurable("switch_router", module="mtf_switch")
@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchRouter(_Registered, router_lib.SwitchRouter):
  """See router.SwitchRouter."""


@gin.configurable("top_2_router", module="mtf_switch")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Top2Router(_Registered, router_lib.Top2Router):
  """See router.Top2Router."""


@gin.configurable("top_n_router", module="mtf_switch")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TopNRouter(_Registered, router_lib.TopNRouter):
  """See router.TopNRouter."""


@gin.configurable("no_token_left_behind_router", module="mtf_switch")
@dataclasses.dataclass(frozen=True, kw_only=True)
class NoTokenLeftBehindRouter(_Registered, router_lib.NoTokenLeftBehindRouter):
  """See router.NoTokenLeftBehindRouter."""


# The names that options had when they were options of SwitchFeedForward.
OLD_NAMES = {
    "exploration": "exploration",
    "router_jitter": "jitter",
    "router_dropout_rate": "dropout_rate",
    "router_dtype": "dtype",
    "priority": "priority",
    "loss_scope": "loss_scope",
}


def router_of(
    router: type[routing.Router] | routing.Router,
    old_options: dict[str, Any],
) -> routing.Router:
  """Returns the router of a layer, with the options under old names.

  Args:
    router: a class or an instance, as SwitchFeedForward takes it.
    old_options: by OLD_NAMES; None leaves an option to the router.

  Raises:
    UserError: router is something else, or has another value of an option.
  """
  is_class = inspect.isclass(router) and issubclass(router, routing.Router)
  if not is_class and not isinstance(router, routing.Router):
    raise errors.UserError(
        f"SwitchFeedForward.router = {values.shown(router)} is not known; use "
        "@switch_router, @top_2_router, @top_n_router, "
        "@no_token_left_behind_router or a subclass of "
        "mtf_switch.layer.routing.Router of your own."
    )
  options = {
      OLD_NAMES[old]: value
      for old, value in old_options.items()
      if value is not None
  }
  if not options:
    return router() if is_class else router
  own = _bindings(router) if is_class else dataclasses.asdict(router)
  for old, name in OLD_NAMES.items():
    if name in options and own.get(name, options[name]) != options[name]:
      raise errors.UserError(
          f"SwitchFeedForward.{old} = {options[name]!r}, but the router's own "
          f"{name} = {own[name]!r}; leave out one of the two."
      )
  return router(**options) if is_class else router


def _bindings(router: type[routing.Router]) -> dict[str, Any]:
  """The options that gin sets of a router, in the scope of its reference."""
  selector = router
  reference = gin.get_bindings(
      "mtf_switch.layers.SwitchFeedForward", resolve_references=False
  ).get("router")
  if getattr(reference, "scoped_configurable_fn", None) is router:
    selector = reference.scoped_selector  # "scope/top_2_router".
  try:
    return gin.get_bindings(selector)
  except ValueError:
    return {}  # Not known to gin.
