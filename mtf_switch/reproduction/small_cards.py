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

"""The cards at small scale: models of minutes that stand for the paper's.

A card is a gin file, gin/experiments/small/<name>.gin, which `text` makes from
what is here and `python -m scripts.cards` writes. A name says what a card is: a
model, its number of experts (e16), and what differs from Switch-Base: its
capacity factor (cf), initial scale (s), coefficient of the load-balance loss
(alpha), multiplier of the learning rate (lr).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mtf_switch.paper import tables
from mtf_switch.paper import text as paper_text


class SmallCard(NamedTuple):
  """A run at small scale.

  Attributes:
    name: its file is gin/experiments/small/<name>.gin.
    stands_for: the paper's model or row in words.
    includes: gin files; the first has the model.
    bindings: by name in gin, values that differ from those of `includes`.
    mode: of run_switch.
    needs: by gin parameter, the card whose finished run of the same seed is
      that directory.
  """

  name: str
  stands_for: str
  includes: Sequence[str]
  bindings: Mapping[str, Any] = {}
  mode: str = "train"
  needs: Mapping[str, str] = {}


# By family of models, the multiplier of T5's learning rate: the best of
# TRIED_LEARNING_RATES on the split "validation", which no verdict uses, after
# TUNING_STEPS steps with TUNING_SEED, which no other run has. tests/regression
# compares this table with the records of those runs.
LEARNING_RATES = {
    "dense": 0.6,
    "dense_large": 0.6,
    "switch": 0.6,
    "top2": 0.6,
    "attention": 0.6,
}
TRIED_LEARNING_RATES = (0.3, 0.6, 1.2, 2.4)
TUNING_STEPS = 750
TUNING_SEED = 10

# The number of experts of all cards that the paper has with 128 (Table 1), 32
# (Tables 2, 3 and 10) or 64 experts (Table 6).
EXPERTS = 16
# Table 3 looks at an early step.
EARLY_STEPS = 200
EARLY_RATES = (0.2, 0.6, 1.8)
# Figures 4, 1 and 12.
SCALING_EXPERTS = (2, 4, 8, 16, 32, 64)

_DENSE = "experiments/small_dense_defaults.gin"
_SWITCH = "experiments/small_switch_defaults.gin"
_LAYERS = "transformer.make_layer_stack.layers"
# 3.4 times the FLOPs of the dense model, as T5-Large to T5-Base: twice the
# layers, and wider.
_LARGE = {"d_model": 56, "d_ff": 90, "num_heads": 7, "num_layers": 4}
# A width of 7/6, and more heads, as in Table 1's Switch-Base+.
_PLUS = {"d_model": 37, "num_heads": 5}
_TOP_2 = {
    "SwitchFeedForward.router": "@top_2_router",
}
_SWITCH_ATTENTION = {
    "attention/SwitchFeedForward.hidden_size": "%d_ff",
    "SwitchSelfAttention.experts": "@attention/SwitchFeedForward",
    "SwitchSelfAttention.initializer_scale": "%initializer_scale",
}


def _card(
    name: str,
    stands_for: str,
    include: str = _SWITCH,
    bindings: Mapping[str, Any] = {},
    family: str = "switch",
    precision: str | None = None,
) -> SmallCard:
  """A pre-training run of a family of models."""
  experts = {} if include == _DENSE else {"num_experts": EXPERTS}
  includes = [include]
  if precision:
    includes.append(f"precision/{precision}.gin")
  rate = {"learning_rate_multiplier": LEARNING_RATES[family]}
  return SmallCard(name, stands_for, includes, {**experts, **rate, **bindings})


def _scaling() -> list[SmallCard]:
  """Figures 1, 4, 5, 6 and 12: more experts at equal FLOPs."""
  return [
      _card("dense", "T5-Base", _DENSE, family="dense"),
      _card("dense_large", "T5-Large", _DENSE, _LARGE, "dense_large"),
      *(
          _card(
              f"switch_e{experts}",
              f"Switch-Base, {experts} experts",
              bindings={"num_experts": experts},
          )
          for experts in SCALING_EXPERTS
      ),
  ]


def _table_1() -> list[SmallCard]:
  """Capacity factors, and top-2 routing; 1.25 for top-1 is `_scaling`'s."""
  cards = []
  for model, factor in tables.TABLE_1:
    capacity = {"capacity_factor_train": factor}
    if model == "Switch-Base+":
      cards.append(
          _card(
              f"switch_plus_e{EXPERTS}_cf{factor}",
              f"Switch-Base+, capacity factor {factor}",
              bindings=_PLUS | capacity,
          )
      )
    elif model == "Switch-Base" and factor != 1.25:
      cards.append(
          _card(
              f"switch_e{EXPERTS}_cf{factor}",
              f"Switch-Base, capacity factor {factor}",
              bindings=capacity,
          )
      )
    elif model == "MoE-Base":
      cards.append(
          _card(
              f"top2_e{EXPERTS}_cf{factor}",
              f"MoE-Base (top-2), capacity factor {factor}",
              bindings=_TOP_2 | capacity,
              family="top2",
          )
      )
  return cards


def _table_2() -> list[SmallCard]:
  """Precision; float32 is `_scaling`'s."""
  return [
      _card(
          f"switch_e{EXPERTS}_{precision}",
          f"Switch-Base, {precision}",
          precision=precision,
      )
      for precision in tables.TABLE_2
      if precision != "float32"
  ]


def _table_3() -> list[SmallCard]:
  """The scale of initial values, and learning rates beside it."""
  cards = []
  for scale in tables.TABLE_3:
    for rate in EARLY_RATES:
      cards.append(
          _card(
              f"switch_e{EXPERTS}_s{scale}_lr{rate}",
              f"Switch-Base, {scale}x-init, {rate} x T5's learning rate",
              bindings={
                  "initializer_scale": scale,
                  "learning_rate_multiplier": rate,
                  "train_steps": EARLY_STEPS,
                  "train.save_checkpoints_steps": EARLY_STEPS,
                  "train.eval_every": EARLY_STEPS // 4,
              },
          )
      )
  return cards


def _section_2_2() -> list[SmallCard]:
  """The coefficient of the load-balance loss; 1e-2 is `_scaling`'s."""
  return [
      _card(
          f"switch_e{EXPERTS}_alpha{alpha:g}",
          f"Switch-Base, alpha = {alpha:g}",
          bindings={"SwitchFeedForward.aux_loss_coefficient": alpha},
      )
      for alpha in (0.0, *paper_text.SECTION_2_2_ALPHAS)
      if alpha != paper_text.SECTION_2_2_ALPHA
  ]


def _table_10() -> list[SmallCard]:
  """Experts in attention."""
  attention_only = {
      _LAYERS: ["@SwitchSelfAttention", "@transformer_layers.DenseReluDense"],
      **_SWITCH_ATTENTION,
  }
  both = {
      _LAYERS: ["@SwitchSelfAttention", "@SwitchFeedForward"],
      **_SWITCH_ATTENTION,
  }
  return [
      _card(
          f"{name}_e{EXPERTS}" + (f"_{precision}" if precision else ""),
          f"{title}, {precision or 'float32'}",
          bindings=bindings,
          family="attention",
          precision=precision,
      )
      for name, title, bindings in (
          ("attention", "Expert Attention", attention_only),
          ("ff_attention", "Experts FF + Attention", both),
      )
      for precision in (None, "bfloat16")
  ]


def _table_11() -> list[SmallCard]:
  """Exploration; input jitter is `_scaling`'s."""
  policies = {
      "Argmax": "argmax",
      "Sample softmax": "sample",
      "Input dropout": "input_dropout",
  }
  return [
      _card(
          f"switch_e{EXPERTS}_{policy}",
          f"Switch-Base, {title}",
          bindings={"switch_router.exploration": policy},
      )
      for title, policy in policies.items()
  ]


def _appendix_b() -> list[SmallCard]:
  """No token left behind."""
  return [
      _card(
          f"no_token_left_behind_e{EXPERTS}_cf1.0",
          "Switch-Base, No-Token-Left-Behind, capacity factor 1.0",
          bindings={
              "SwitchFeedForward.router": "@no_token_left_behind_router",
              "capacity_factor_train": 1.0,
          },
      )
  ]


def _student(
    name: str,
    stands_for: str,
    experts: int,
    soft_fraction: float,
    initialize: bool,
) -> SmallCard:
  return SmallCard(
      name,
      stands_for,
      ["runs/distill.gin", _DENSE],
      {
          "learning_rate_multiplier": LEARNING_RATES["dense"],
          "distill.soft_fraction": soft_fraction,
          "distill.initialize_from_teacher": initialize,
      },
      "distill",
      {"teacher_dir": f"switch_e{experts}"},
  )


def _tables_6_and_7() -> list[SmallCard]:
  """Students; T5-Base alone and the teachers are of `_scaling`."""
  mixed = paper_text.SECTION_4_2_SOFT_FRACTION
  return [
      _student("student_soft", "Distillation", EXPERTS, 1.0, False),
      _student(
          "student_soft_initialized",
          "+ Init. non-expert weights from teacher",
          EXPERTS,
          1.0,
          True,
      ),
      # A soft fraction of 0 is ordinary training.
      _student(
          "student_initialized",
          "Init. non-expert weights from teacher",
          EXPERTS,
          0.0,
          True,
      ),
      *(
          _student(
              f"student_of_e{experts}",
              f"+ 0.75 mix of hard and soft loss, teacher of {experts} experts",
              experts,
              mixed,
              True,
          )
          for experts in SCALING_EXPERTS[1:]
      ),
  ]


def _tuning() -> list[SmallCard]:
  """The learning rate of each family."""
  models = {
      "dense": (_DENSE, {}),
      "dense_large": (_DENSE, _LARGE),
      "switch": (_SWITCH, {}),
      "top2": (_SWITCH, _TOP_2),
      "attention": (
          _SWITCH,
          {
              _LAYERS: ["@SwitchSelfAttention", "@SwitchFeedForward"],
              **_SWITCH_ATTENTION,
          },
      ),
  }
  return [
      _card(
          f"tuning_{family}_lr{rate}",
          f"{family}: {rate} x T5's learning rate",
          include,
          {
              **bindings,
              "learning_rate_multiplier": rate,
              "train_steps": TUNING_STEPS,
              "train.save_checkpoints_steps": TUNING_STEPS,
              "train.eval_every": TUNING_STEPS // 3,
              "train.eval_split": "validation",
          },
          family,
      )
      for family, (include, bindings) in models.items()
      for rate in TRIED_LEARNING_RATES
  ]


SMALL_CARDS = {
    card.name: card
    for cards in (
        _scaling(),
        _table_1(),
        _table_2(),
        _table_3(),
        _section_2_2(),
        _table_10(),
        _table_11(),
        _appendix_b(),
        _tables_6_and_7(),
        _tuning(),
    )
    for card in cards
}


def text(card: SmallCard) -> str:
  """The gin file of a card.

  Args:
    card: one of SMALL_CARDS.
  """
  needed = {name: f"runs/{other}" for name, other in card.needs.items()}
  return (
      "# -*-Python-*-\n"
      f"# At small scale: {card.stands_for}.\n"
      "#\n"
      f"#   run_switch --mode={card.mode} --model_dir=runs/{card.name} \\\n"
      f"#     --gin_file=experiments/small/{card.name}.gin\n"
      + "".join(f'include "{x}"\n' for x in card.includes)
      + "\n"
      + "".join(
          f"{name} = {_value(x)}\n"
          for name, x in {**card.bindings, **needed}.items()
      )
  )


def _value(value: Any) -> str:
  """A value as gin writes it; strings with @ or % are references."""
  if isinstance(value, str):
    return value if value[0] in "@%" else f'"{value}"'
  if isinstance(value, list):
    return "[\n" + "".join(f"    {_value(x)},\n" for x in value) + "]"
  return repr(value)
