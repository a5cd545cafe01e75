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

"""The cards of pre-training at the paper's scale."""

from typing import Any

from mtf_switch.paper import figures
from mtf_switch.paper import tables
from mtf_switch.paper import text
from mtf_switch.reproduction import card_parts
from mtf_switch.reproduction import cards
from mtf_switch.reproduction import paper_rows

# By the model's number of experts, the cards that others go on from.
T5_BASE = "figure1_t5_base"
T5_LARGE = "figure6_t5_large"
SWITCH_LARGE = "table9_switch_large_e128"

# Until all of Table 1's rows have reached the threshold; see _table_1_steps.
_TABLE_1_STEPS = 250_000
_INPUTS_LENGTH = 512
# The last step that Table 9 prints.
_TABLE_9_STEPS = 500_000
_MULTILINGUAL_CORES = 256
_LARGE_CORES = 64
# 1024 chips, which trained Switch-C by Patterson et al. (2021).
_MOST_CORES = 2048

_STEP_CHOICE = cards.Choice(
    "the step of Figures 1 and 4, left", "any of those that are evaluated"
)
_TABLES_CHOICE = cards.Choice(
    "batch, steps and cores of Tables 6, 7 and 9",
    "those of section 3 and Figure 5",
)
_XXL_CORES_CHOICE = cards.Choice(
    "cores",
    f"{_MOST_CORES:,}, as for Switch-C by Patterson et al. (2021), of which 16"
    " share a weight",
)
_XXL_BATCH_CHOICE = cards.Choice("tokens of a batch", "those of section 3")


def switch_base(experts: int) -> str:
  """Returns the name of the card of Figure 1 with so many experts."""
  return f"figure1_switch_base_e{experts}"


def _figure_1_rows(experts: int) -> list[paper_rows.Row]:
  """The rows that a point of Figure 1 answers."""
  label = paper_rows.experts_label(experts)
  keys = [
      *(
          (source, label)
          for source in ("Figure 1", "Figure 4", "Figure 5", "Figure 6")
      ),
      ("Figure 12", label),
      ("Table 6", {1: "T5-Base", 64: "Switch-Base"}.get(experts)),
      ("Table 7", f"teacher of {experts} experts"),
      ("Table 9", {1: "T5-Base", 128: "Switch-Base"}.get(experts)),
  ]
  return [paper_rows.ROWS[key] for key in keys if key in paper_rows.ROWS]


def _figure_1_choices(experts: int) -> list[cards.Choice]:
  """What the paper leaves open about a point of Figure 1."""
  sources = {row.source for row in _figure_1_rows(experts)}
  in_tables = sources & {"Table 6", "Table 7", "Table 9"}
  return [_STEP_CHOICE, *([_TABLES_CHOICE] if in_tables else [])]


def _figure_1() -> list[cards.Card]:
  """Figures 1, 4, 5, 6 and 12, and what is the same run elsewhere."""
  return [
      card_parts.dense(
          T5_BASE,
          _figure_1_rows(1),
          "t5_base",
          card_parts.LONG_BATCH,
          text.SECTION_3_STEPS,
          _figure_1_choices(1),
      ),
      *(
          card_parts.sparse(
              switch_base(experts),
              _figure_1_rows(experts),
              experts,
              card_parts.LONG_BATCH,
              text.SECTION_3_STEPS,
              _figure_1_choices(experts),
          )
          for experts in figures.FIGURE_1_EXPERTS[1:]
      ),
      card_parts.dense(
          T5_LARGE,
          [
              *card_parts.rows("Figure 6", "T5-Large"),
              *card_parts.rows("Table 9", "T5-Large"),
          ],
          "t5_large",
          card_parts.LONG_BATCH,
          text.SECTION_3_STEPS,
          [_TABLES_CHOICE],
      ),
  ]


def _figure_7() -> list[cards.Card]:
  """Figures 7 and 8."""
  choices = [
      cards.Choice("batch", "1024 sequences of 1024 inputs, as in mT5"),
      cards.Choice(
          "cores", f"{_MULTILINGUAL_CORES}, where the logits have room"
      ),
      card_parts.RATE_CHOICE,
  ]
  recomputed = {"transformer.LayerStack.recompute_grads": True}
  experts = tables.TABLE_1_EXPERTS
  file, sizes = card_parts.layout(experts, _MULTILINGUAL_CORES)
  return [
      cards.Card(
          "figure7_mt5_base",
          [
              *card_parts.rows("Figure 7", "Dense"),
              *card_parts.rows("Figure 8", "Dense"),
          ],
          ["experiments/multilingual_dense.gin"],
          {"data_parallelism": _MULTILINGUAL_CORES, **recomputed},
          choices,
      ),
      cards.Card(
          f"figure7_mswitch_base_e{experts}",
          [
              *card_parts.rows("Figure 7", "Switch"),
              *card_parts.rows("Figure 8", "Switch"),
          ],
          ["experiments/multilingual_switch.gin", file],
          {**sizes, "num_cores": _MULTILINGUAL_CORES, **recomputed},
          [
              *choices,
              card_parts.EXPERTS_CHOICE,
              cards.Choice(
                  "groups (num_cores)", "a core each, as in Figure 16"
              ),
          ],
      ),
  ]


def _table_1_steps() -> cards.Choice:
  """Says how long Table 1's runs were, by its hours and speeds."""
  sequences = card_parts.SHORT_BATCH // _INPUTS_LENGTH
  steps = [
      row.hours_to_threshold * 3600 * row.examples_per_second / sequences
      for row in tables.TABLE_1.values()
      if row.hours_to_threshold
  ]
  return cards.Choice(
      "steps of a run",
      f"{_TABLE_1_STEPS:,}; Table 1's hours times its examples/s make"
      f" {min(steps):,.0f} to {max(steps):,.0f} steps of {sequences:,}"
      f" sequences to {tables.TABLE_1_THRESHOLD:.2f}",
  )


def _of_table_1(
    name: str,
    rows: list[paper_rows.Row],
    capacity_factor: float,
    choices: list[cards.Choice],
    bindings: dict[str, Any] | None = None,
) -> cards.Card:
  """A sparse model of Table 1, and of what is compared with one."""
  return card_parts.sparse(
      name,
      rows,
      tables.TABLE_1_EXPERTS,
      card_parts.SHORT_BATCH,
      _TABLE_1_STEPS,
      [card_parts.SHORT_BATCH_CHOICE, _table_1_steps(), *choices],
      capacity_factor=capacity_factor,
      bindings=bindings,
  )


def _table_1() -> list[cards.Card]:
  """Table 1; Switch-Base with 1.25 is input jitter in Table 11 too."""
  made = []
  old, new = tables.TABLE_1_BASE_PLUS["heads"]
  # How a model is called, what differs, and what the paper leaves open.
  models = {
      "MoE-Base": (
          "moe_base",
          {"SwitchFeedForward.router": "@top_2_router"},
          [
              cards.Choice(
                  "second experts",
                  "with probability gate / 0.2 in training, as in Mesh"
                  " TensorFlow",
              )
          ],
      ),
      "Switch-Base": ("switch_base", {}, []),
      "Switch-Base+": (
          "switch_base_plus",
          {"d_model": tables.TABLE_1_BASE_PLUS["d_model"][1], "num_heads": old},
          [
              cards.Choice(
                  "heads",
                  f"{old}, which fill the width with 64 each as Table 9's 12 do"
                  f" in Switch-Base; the text has {old} there and {new} here",
              )
          ],
      ),
  }
  for model, factor in tables.TABLE_1:
    rows = card_parts.rows("Table 1", paper_rows.table_1_label(model, factor))
    if factor is None:
      file = model.lower().replace("-", "_")
      made.append(
          card_parts.dense(
              f"table1_{file}",
              rows,
              file,
              card_parts.SHORT_BATCH,
              _TABLE_1_STEPS,
              [card_parts.SHORT_BATCH_CHOICE, _table_1_steps()],
          )
      )
      continue
    name, bindings, choices = models[model]
    if (model, factor) == ("Switch-Base", 1.25):
      rows += card_parts.rows("Table 11", "Input jitter")
    name = f"table1_{name}_e{tables.TABLE_1_EXPERTS}_cf{factor}"
    made.append(_of_table_1(name, rows, factor, choices, bindings))
  return made


def _table_2() -> list[cards.Card]:
  """Table 2; in float32 it is "Experts FF" in Table 10 too."""
  return [
      card_parts.sparse(
          f"table2_switch_base_e{tables.TABLE_2_EXPERTS}_{precision}",
          [
              *card_parts.rows("Table 2", f"Switch-Base, {precision}"),
              *(
                  card_parts.rows("Table 10", "Experts FF, float32")
                  if precision == "float32"
                  else []
              ),
          ],
          tables.TABLE_2_EXPERTS,
          card_parts.SHORT_BATCH,
          tables.TABLE_1_STEPS,
          [
              card_parts.SHORT_BATCH_CHOICE,
              card_parts.CORES_CHOICE,
              cards.Choice(
                  "steps",
                  f"{tables.TABLE_1_STEPS:,}, as in Table 10; Table 2 looks at"
                  " an early one",
              ),
          ],
          precision=precision,
      )
      for precision in tables.TABLE_2
  ]


def _table_3() -> list[cards.Card]:
  """Table 3, which looks at an early step."""
  return [
      card_parts.sparse(
          f"table3_switch_base_e{tables.TABLE_3_EXPERTS}_s{scale}",
          card_parts.rows("Table 3", f"{scale}x-init"),
          tables.TABLE_3_EXPERTS,
          card_parts.SHORT_BATCH,
          tables.TABLE_3_STEPS,
          [card_parts.SHORT_BATCH_CHOICE, card_parts.CORES_CHOICE],
          bindings={"initializer_scale": scale, "train.eval_every": 500},
          seeds=tables.TABLE_3_SEEDS,
      )
      for scale in tables.TABLE_3
  ]


def _table_9() -> list[cards.Card]:
  """Table 9; its other rows are runs of Figures 1 and 6."""
  xxl = {"data_parallelism": 128, "model_parallelism": _MOST_CORES // 128}
  scale = {
      **card_parts.batch(card_parts.LONG_BATCH),
      "train_steps": _TABLE_9_STEPS,
  }
  return [
      card_parts.sparse(
          SWITCH_LARGE,
          card_parts.rows("Table 9", "Switch-Large"),
          128,
          card_parts.LONG_BATCH,
          text.SECTION_3_STEPS,
          [
              cards.Choice("tokens of a batch and steps", "those of section 3"),
              cards.Choice(
                  "cores", f"{_LARGE_CORES}, where there is room for it"
              ),
          ],
          model="switch_large",
          size="large",
          cores=_LARGE_CORES,
      ),
      cards.Card(
          "table9_t5_xxl",
          card_parts.rows("Table 9", "T5-XXL"),
          [
              "models/t5_xxl.gin",
              "layouts/model_data.gin",
              card_parts.DEFAULTS,
          ],
          {**xxl, **scale, "activation_dtype": "bfloat16"},
          [
              _XXL_CORES_CHOICE,
              _XXL_BATCH_CHOICE,
              card_parts.DENSE_PRECISION_CHOICE,
              card_parts.RATE_CHOICE,
              card_parts.DROPOUT_CHOICE,
          ],
          remarks=[
              "The paper's was trained on an older C4, whose repeated lines"
              " make it easier."
          ],
      ),
      cards.Card(
          "table9_switch_xxl_e128",
          card_parts.rows("Table 9", "Switch-XXL"),
          [
              "models/switch_xxl.gin",
              "layouts/expert_model_data.gin",
              card_parts.DEFAULTS,
              "precision/selective.gin",
          ],
          {
              **xxl,
              **card_parts.groups(card_parts.LONG_BATCH, "xxl"),
              **scale,
              "SwitchFeedForward.min_expert_capacity": 2,
          },
          [
              cards.Choice(
                  "experts",
                  "128, which the printed parameters need and which were"
                  " released; Table 9 has 64",
              ),
              _XXL_CORES_CHOICE,
              _XXL_BATCH_CHOICE,
              cards.Choice(
                  "capacity",
                  "factors 1.25 in training and 4.0 in evaluation, at least 2"
                  " slots, as released",
              ),
              card_parts.groups_choice("xxl"),
              card_parts.PRECISION_CHOICE,
              card_parts.JITTER_CHOICE,
              card_parts.RATE_CHOICE,
              card_parts.DROPOUT_CHOICE,
          ],
      ),
      cards.Card(
          "table9_switch_c_e2048",
          card_parts.rows("Table 9", "Switch-C"),
          [
              "models/switch_c.gin",
              "layouts/expert_data.gin",
              card_parts.DEFAULTS,
              "precision/selective.gin",
          ],
          {
              "data_parallelism": _MOST_CORES,
              "num_cores": _MOST_CORES,
              **scale,
              "SwitchFeedForward.min_expert_capacity": 1,
          },
          [
              cards.Choice(
                  "cores",
                  f"{_MOST_CORES:,}, an expert for each, as Patterson et al."
                  " (2021) report",
              ),
              _XXL_BATCH_CHOICE,
              cards.Choice("heads", "Table 9's 32; released are 30"),
              cards.Choice(
                  "capacity factors",
                  "1.0 in training, 2.0 in evaluation, as released",
              ),
              cards.Choice(
                  "groups (num_cores) and slots",
                  "a core each, with a slot or more for every expert; released"
                  " are 2048 tokens and 2 slots, for which a core has too"
                  " little of the batch",
              ),
              card_parts.PRECISION_CHOICE,
              card_parts.JITTER_CHOICE,
              card_parts.RATE_CHOICE,
              card_parts.DROPOUT_CHOICE,
          ],
      ),
  ]


def _table_10() -> list[cards.Card]:
  """Table 10; "Experts FF" is a run of Table 2."""
  dense_layer = "@transformer_layers.DenseReluDense"
  encoder = ["@SwitchSelfAttention", dense_layer] * 2
  decoder = [
      "@SwitchSelfAttention",
      "@TruncatedNormalEncDecAttention",
      dense_layer,
  ] * 2
  layers = "transformer.make_layer_stack.layers"
  attention_only = {
      f"encoder/{layers}": encoder,
      f"decoder/{layers}": decoder,
  }
  in_bfloat16 = {"attention/SwitchFeedForward.expert_dtype": None}
  made = []
  for experts, name, bindings in (
      ("Expert Attention", "attention", attention_only),
      ("Experts FF + Attention", "ff_attention", {}),
  ):
    for precision, file, more in (
        ("float32", "float32", {}),
        ("bfloat16", "selective", in_bfloat16),
    ):
      choices = [
          card_parts.CORES_CHOICE,
          cards.Choice(
              "experts in attention",
              "feed-forward layers, one of the two kinds of Figure 10",
          ),
      ]
      if more:
        choices.append(
            cards.Choice("precision", "selective, with all experts in bfloat16")
        )
      made.append(
          card_parts.sparse(
              f"table10_switch_base_e{tables.TABLE_10_EXPERTS}_{name}_"
              f"{precision}",
              card_parts.rows("Table 10", f"{experts}, {precision}"),
              tables.TABLE_10_EXPERTS,
              card_parts.SHORT_BATCH,
              tables.TABLE_1_STEPS,
              choices,
              model="switch_base_attention",
              precision=file,
              bindings={**bindings, **more},
          )
      )
  return made


def _table_11() -> list[cards.Card]:
  """Table 11; input jitter is a run of Table 1."""
  policies = {
      "Argmax": "argmax",
      "Sample softmax": "sample",
      "Input dropout": "input_dropout",
  }
  model = cards.Choice(
      "model", "Table 1's Switch-Base with capacity factor 1.25"
  )
  rate = cards.Choice("rate of the input dropout", "0.1, as in Mesh TensorFlow")
  return [
      _of_table_1(
          f"table11_switch_base_e{tables.TABLE_1_EXPERTS}_{policy}",
          card_parts.rows("Table 11", label),
          1.25,
          [model, *([rate] if policy == "input_dropout" else [])],
          {"switch_router.exploration": policy},
      )
      for label, policy in policies.items()
  ]


def _appendix_b() -> list[cards.Card]:
  """No-Token-Left-Behind, for which the paper prints no numbers."""
  return [
      _of_table_1(
          f"appendix_b_switch_base_e{tables.TABLE_1_EXPERTS}_cf1.0"
          "_no_token_left_behind",
          card_parts.rows("Appendix B", "No-Token-Left-Behind"),
          1.0,
          [
              cards.Choice(
                  "model", "Table 1's Switch-Base with capacity factor 1.0"
              ),
              cards.Choice(
                  "experts that a token may try",
                  "all; 4 in Mesh TensorFlow",
              ),
          ],
          {"SwitchFeedForward.router": "@no_token_left_behind_router"},
      )
  ]


CARDS = [
    *_figure_1(),
    *_figure_7(),
    *_table_1(),
    *_table_2(),
    *_table_3(),
    *_table_9(),
    *_table_10(),
    *_table_11(),
    *_appendix_b(),
]
