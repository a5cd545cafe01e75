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

"""The routers' options in gin: their own names and the old ones."""

import mtf_switch  # isort: skip  # noqa: F401
import functools

import gin
import pytest

from mtf_switch import errors
from mtf_switch.layer import router as router_lib
from mtf_switch.training import strict_gin
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import routers
from tests import gin_files

# The old name of each option, its name, and a value that is not the default.
OPTIONS = [
    ("exploration", "exploration", "sample"),
    ("router_jitter", "jitter", 0.3),
    ("router_dropout_rate", "dropout_rate", 0.4),
    ("router_dtype", "dtype", "bfloat16"),
    ("priority", "priority", "causal"),
    ("loss_scope", "loss_scope", "batch"),
]
OTHERS = {
    "exploration": "argmax",
    "jitter": 0.2,
    "dropout_rate": 0.2,
    "dtype": "float64",
    "priority": "gate",
    "loss_scope": "group",
}


def router_of(*bindings, **options):
  """The router of a layer under these bindings of gin."""
  gin.clear_config()
  gin.parse_config(
      ["SwitchFeedForward.num_experts = 4", "SwitchFeedForward.hidden_size = 8"]
      + list(bindings)
  )
  return feed_forward.SwitchFeedForward(**options).router


def refusal(*bindings, **options):
  """The line with which a layer is refused."""
  with pytest.raises(errors.UserError) as error:
    router_of(*bindings, **options)
  # Gin adds lines about the functions on the way.
  return str(error.value).split("\n")[0]


def test_the_defaults_are_those_of_the_released_code():
  assert router_of() == routers.SwitchRouter(
      exploration="input_jitter",
      jitter=0.01,
      dropout_rate=0.1,
      dtype="float32",
      priority="position",
      loss_scope="group",
  )


@pytest.mark.parametrize("old, name, value", OPTIONS)
def test_options_have_their_own_names_and_the_old_ones(old, name, value):
  expected = routers.SwitchRouter(**{name: value})
  assert expected != routers.SwitchRouter()
  assert router_of(f"switch_router.{name} = {value!r}") == expected
  assert router_of(f"SwitchFeedForward.{old} = {value!r}") == expected
  assert router_of(**{old: value}) == expected
  both = (
      f"switch_router.{name} = {value!r}",
      f"SwitchFeedForward.{old} = {value!r}",
  )
  assert router_of(*both) == expected


@pytest.mark.parametrize("old, name, value", OPTIONS)
@pytest.mark.parametrize(
    "router", ["switch_router", "three/top_n_router", "top_2_router()"]
)
def test_two_values_of_an_option_are_refused(router, old, name, value):
  selector = router.removesuffix("()")
  other = OTHERS[name]
  message = refusal(
      f"SwitchFeedForward.router = @{router}",
      f"{selector}.{name} = {other!r}",
      f"SwitchFeedForward.{old} = {value!r}",
  )
  assert message == (
      f"SwitchFeedForward.{old} = {value!r}, but the router's own {name} = "
      f"{other!r}; leave out one of the two."
  )


@pytest.mark.parametrize("old, name, value", OPTIONS)
def test_a_default_that_is_set_counts_as_a_value(old, name, value):
  default = getattr(routers.SwitchRouter(), name)
  message = refusal(
      f"switch_router.{name} = {default!r}",
      f"SwitchFeedForward.{old} = {value!r}",
  )
  assert f"the router's own {name} = {default!r}" in message


@pytest.mark.parametrize(
    "binding, expected",
    [
        (
            "top_2_router.second_policy_train = 'all'",
            routers.Top2Router(second_policy_train="all"),
        ),
        ("top_n_router.num_choices = 3", routers.TopNRouter(num_choices=3)),
        (
            "no_token_left_behind_router.max_stages = 4",
            routers.NoTokenLeftBehindRouter(max_stages=4),
        ),
    ],
)
def test_a_router_is_a_class_or_an_instance(binding, expected):
  name = binding.split(".")[0]
  for reference in (f"@{name}", f"@{name}()"):
    assert (
        router_of(f"SwitchFeedForward.router = {reference}", binding)
        == expected
    )
  layer_option = "SwitchFeedForward.exploration = 'argmax'"
  router = router_of(
      f"SwitchFeedForward.router = @{name}", binding, layer_option
  )
  assert router.exploration == "argmax"
  # The default of an instance is a value of its own.
  assert "own exploration = 'input_jitter'" in refusal(
      f"SwitchFeedForward.router = @{name}()", binding, layer_option
  )


def test_a_router_without_gin_takes_the_layers_options():
  class Own(router_lib.SwitchRouter):
    pass

  assert router_of(router=Own, priority="causal") == Own(priority="causal")
  assert router_of(router=Own(jitter=0.5)).jitter == 0.5


@pytest.mark.parametrize(
    "router",
    ["top_2_router", router_lib.router, functools.partial(print), object],
)
def test_what_is_no_router_is_refused(router):
  name = getattr(router, "__name__", None)
  shown = f"@{name}" if name else repr(router)
  assert refusal(router=router) == (
      f"SwitchFeedForward.router = {shown} is not known; use "
      "@switch_router, @top_2_router, @top_n_router, "
      "@no_token_left_behind_router or a subclass of "
      "mtf_switch.layer.routing.Router of your own."
  )


def test_encoder_and_decoder_may_differ_and_models_leave_options_free():
  gin_files.parse(
      ["models/switch_tiny.gin", "precision/selective.gin"],
      [
          "num_cores = 2",
          "switch_router.jitter = 0.1",
          "decoder/switch_router.priority = 'causal'",
      ],
  )
  model = gin_files.build_model(100)
  encoder, decoder = (
      {switch.router for switch in feed_forward.switches(stack)}
      for stack in (model.encoder, model.decoder)
  )
  assert encoder == {routers.SwitchRouter(jitter=0.1)}
  assert decoder == {routers.SwitchRouter(jitter=0.1, priority="causal")}


def test_an_operative_config_gives_the_same_router_again():
  """Also that of 0.2.0, which has two arguments of its functions."""
  bindings = [
      "SwitchFeedForward.router = @top_2_router",
      "SwitchFeedForward.exploration = 'argmax'",
      "top_2_router.second_policy_train = 'all'",
  ]
  router = router_of(*bindings)
  written = gin.operative_config_str()
  assert "is_training" not in written
  assert router_of(written) == router
  old = ["top_2_router.is_training = False", "top_2_router.nonpadding = None"]
  assert router_of(*bindings, *old) == router


def test_a_misspelt_option_is_refused_with_the_nearest():
  with pytest.raises(errors.UserError) as error:
    strict_gin.parse([], ["top_2_router.exploraton = 'argmax'"], [])
  assert str(error.value) == (
      "--gin_param=\"top_2_router.exploraton = 'argmax'\": Configurable "
      "'top_2_router' doesn't have a parameter named 'exploraton'. Did you "
      "mean exploration?"
  )
