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

"""The cards of pre-training at small scale: decoder-only language models."""

from collections.abc import Mapping
from typing import Any

from mtf_switch.paper import tables
from mtf_switch.paper import text as paper_text
from mtf_switch.reproduction import small_card

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
    include: str = small_card.SWITCH,
    bindings: Mapping[str, Any] = {},
    family: str = "switch",
    precision: str | None = None,
) -> small_card.SmallCard:
  """A pre-training run of a family of models."""
  experts = (
      {} if include == small_card.DENSE else {"num_experts": small_card.EXPERTS}
  )
  includes = [include]
  if precision:
    includes.append(f"precision/{precision}.gin")
  rate = {"learning_rate_multiplier": small_card.LEARNING_RATES[family]}
  return small_card.SmallCard(
      name, stands_for, includes, {**experts, **rate, **bindings}
  )


def _scaling() -> list[small_card.SmallCard]:
  """Figures 1, 4, 5, 6 and 12: more experts at equal FLOPs."""
  return [
      _card("dense", "T5-Base", small_card.DENSE, family="dense"),
      _card("dense_large", "T5-Large", small_card.DENSE, _LARGE, "dense_large"),
      *(
          _card(
              f"switch_e{experts}",
              f"Switch-Base, {experts} experts",
              bindings={"num_experts": experts},
          )
          for experts in small_card.SCALING_EXPERTS
      ),
  ]


def _table_1() -> list[small_card.SmallCard]:
  """Capacity factors, and top-2 routing; 1.25 for top-1 is `_scaling`'s."""
  cards = []
  for model, factor in tables.TABLE_1:
    capacity = {"capacity_factor_train": factor}
    if model == "Switch-Base+":
      cards.append(
          _card(
              f"switch_plus_e{small_card.EXPERTS}_cf{factor}",
              f"Switch-Base+, capacity factor {factor}",
              bindings=_PLUS | capacity,
          )
      )
    elif model == "Switch-Base" and factor != 1.25:
      cards.append(
          _card(
              f"switch_e{small_card.EXPERTS}_cf{factor}",
              f"Switch-Base, capacity factor {factor}",
              bindings=capacity,
          )
      )
    elif model == "MoE-Base":
      cards.append(
          _card(
              f"top2_e{small_card.EXPERTS}_cf{factor}",
              f"MoE-Base (top-2), capacity factor {factor}",
              bindings=_TOP_2 | capacity,
              family="top2",
          )
      )
  return cards


def _table_2() -> list[small_card.SmallCard]:
  """Precision; float32 is `_scaling`'s."""
  return [
      _card(
          f"switch_e{small_card.EXPERTS}_{precision}",
          f"Switch-Base, {precision}",
          precision=precision,
      )
      for precision in tables.TABLE_2
      if precision != "float32"
  ]


def _table_3() -> list[small_card.SmallCard]:
  """The scale of initial values, and learning rates beside it."""
  cards = []
  for scale in tables.TABLE_3:
    for rate in small_card.EARLY_RATES:
      cards.append(
          _card(
              f"switch_e{small_card.EXPERTS}_s{scale}_lr{rate}",
              f"Switch-Base, {scale}x-init, {rate} x T5's learning rate",
              bindings={
                  "initializer_scale": scale,
                  "learning_rate_multiplier": rate,
                  "train_steps": small_card.EARLY_STEPS,
                  "train.save_checkpoints_steps": small_card.EARLY_STEPS,
                  "train.eval_every": small_card.EARLY_STEPS // 4,
              },
          )
      )
  return cards


def _section_2_2() -> list[small_card.SmallCard]:
  """The coefficient of the load-balance loss; 1e-2 is `_scaling`'s."""
  return [
      _card(
          f"switch_e{small_card.EXPERTS}_alpha{alpha:g}",
          f"Switch-Base, alpha = {alpha:g}",
          bindings={"SwitchFeedForward.aux_loss_coefficient": alpha},
      )
      for alpha in (0.0, *paper_text.SECTION_2_2_ALPHAS)
      if alpha != paper_text.SECTION_2_2_ALPHA
  ]


def _table_10() -> list[small_card.SmallCard]:
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
          f"{name}_e{small_card.EXPERTS}"
          + (f"_{precision}" if precision else ""),
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


def _table_11() -> list[small_card.SmallCard]:
  """Exploration; input jitter is `_scaling`'s."""
  policies = {
      "Argmax": "argmax",
      "Sample softmax": "sample",
      "Input dropout": "input_dropout",
  }
  return [
      _card(
          f"switch_e{small_card.EXPERTS}_{policy}",
          f"Switch-Base, {title}",
          bindings={"switch_router.exploration": policy},
      )
      for title, policy in policies.items()
  ]


def _appendix_b() -> list[small_card.SmallCard]:
  """No token left behind."""
  return [
      _card(
          f"no_token_left_behind_e{small_card.EXPERTS}_cf1.0",
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
) -> small_card.SmallCard:
  return small_card.SmallCard(
      name,
      stands_for,
      ["runs/distill.gin", small_card.DENSE],
      {
          "learning_rate_multiplier": small_card.LEARNING_RATES["dense"],
          "distill.soft_fraction": soft_fraction,
          "distill.initialize_from_teacher": initialize,
      },
      "distill",
      {"teacher_dir": f"switch_e{experts}"},
  )


def _tables_6_and_7() -> list[small_card.SmallCard]:
  """Students; T5-Base alone and the teachers are of `_scaling`."""
  mixed = paper_text.SECTION_4_2_SOFT_FRACTION
  return [
      _student("student_soft", "Distillation", small_card.EXPERTS, 1.0, False),
      _student(
          "student_soft_initialized",
          "+ Init. non-expert weights from teacher",
          small_card.EXPERTS,
          1.0,
          True,
      ),
      # A soft fraction of 0 is ordinary training.
      _student(
          "student_initialized",
          "Init. non-expert weights from teacher",
          small_card.EXPERTS,
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
          for experts in small_card.SCALING_EXPERTS[1:]
      ),
  ]


def _tuning() -> list[small_card.SmallCard]:
  """The learning rate of each family."""
  models = {
      "dense": (small_card.DENSE, {}),
      "dense_large": (small_card.DENSE, _LARGE),
      "switch": (small_card.SWITCH, {}),
      "top2": (small_card.SWITCH, _TOP_2),
      "attention": (
          small_card.SWITCH,
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
              "train_steps": small_card.TUNING_STEPS,
              "train.save_checkpoints_steps": small_card.TUNING_STEPS,
              "train.eval_every": small_card.TUNING_STEPS // 3,
              "train.eval_split": "validation",
          },
          family,
      )
      for family, (include, bindings) in models.items()
      for rate in small_card.TRIED_LEARNING_RATES
  ]


def cards() -> list[small_card.SmallCard]:
  """All cards of pre-training, and of distillation during it."""
  return [
      *_scaling(),
      *_table_1(),
      *_table_2(),
      *_table_3(),
      *_section_2_2(),
      *_table_10(),
      *_table_11(),
      *_appendix_b(),
      *_tables_6_and_7(),
      *_tuning(),
  ]
