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

"""What cards at the paper's scale have in common.

"As released" means the configurations that were released with the checkpoints.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mtf_switch.paper import tables
from mtf_switch.paper import text
from mtf_switch.reproduction import cards
from mtf_switch.reproduction import paper_rows

# The cores of Table 1 and Figure 5.
CORES = tables.TABLE_1_CORES
LONG_BATCH = text.SECTION_3_TOKENS_PER_BATCH
# "524k" in print.
SHORT_BATCH = 2**19
# Tokens of a group in the released code.
GROUP_SIZES = {"base": 8192, "large": 4096, "xxl": 4096}
DEFAULTS = "experiments/paper_defaults.gin"

SHORT_BATCH_CHOICE = cards.Choice(
    "tokens of a batch", "2^19, as in Appendix A (524k)"
)
CORES_CHOICE = cards.Choice("cores", f"{CORES}, as in Table 1 and Figure 5")
EXPERTS_CHOICE = cards.Choice("experts", "128, as in Tables 1 and 9")
_BASE_CHOICE = cards.Choice(
    "feed-forward layers",
    "Table 9's GEGLU with d_ff 2048; released are ReLU with 3072, which makes"
    " as many parameters and FLOPs",
)
_LARGE_CHOICE = cards.Choice(
    "feed-forward layers",
    "ReLU with d_ff 4096, which the printed parameters and FLOPs need; Table 9"
    " has GEGLU with 2816",
)
PLACES_CHOICE = cards.Choice(
    "sparse layers", "the second of each pair, as released"
)
_CAPACITY_CHOICE = cards.Choice(
    "capacity factors", "1.25 in training, 2.0 in evaluation, as released"
)
_EVALUATED_CAPACITY_CHOICE = cards.Choice(
    "capacity factor in evaluation", "2.0, as released"
)
PRECISION_CHOICE = cards.Choice(
    "precision", "selective, the choice of section 2.4"
)
DENSE_PRECISION_CHOICE = cards.Choice(
    "precision", "bfloat16 activations, as in the sparse models"
)
_INITIAL_VALUES_CHOICE = cards.Choice(
    "initial values", "T5's; those of section 2.4 are for sparse models"
)
JITTER_CHOICE = cards.Choice(
    "exploration",
    "input jitter, the choice of Appendix C, by 0.01 as in Mesh TensorFlow",
)
RATE_CHOICE = cards.Choice(
    "optimizer and learning rate",
    "T5's, which is as released: Adafactor and 1 / sqrt(max(step, 10000))",
)
DROPOUT_CHOICE = cards.Choice(
    "dropout in pre-training", "0, as released and in T5 1.1"
)


def rows(source: str, *labels: str) -> list[paper_rows.Row]:
  """Returns rows of paper_rows.ROWS by source and label."""
  return [paper_rows.ROWS[source, label] for label in labels]


def layout(experts: int, cores: int) -> tuple[str, dict[str, int]]:
  """Returns the gin file of expert and data parallelism, and its sizes.

  Args:
    experts: the number of experts; fewer than cores are copied.
    cores: the cores of the mesh.
  """
  if experts >= cores:
    return "layouts/expert_data.gin", {"data_parallelism": cores}
  sizes = {"data_parallelism": experts, "expert_replicas": cores // experts}
  return "layouts/expert_data_replicated.gin", sizes


def batch(tokens: int) -> dict[str, Any]:
  """The binding of a batch.

  Args:
    tokens: of the inputs, or of the targets if those are longer.
  """
  return {"batch_size": ("tokens_per_batch", tokens)}


def groups(tokens: int, size: str) -> dict[str, int]:
  """The binding of the groups in which tokens compete.

  Args:
    tokens: the tokens of a batch.
    size: the model's, a key of GROUP_SIZES.
  """
  return {"num_cores": tokens // GROUP_SIZES[size]}


def groups_choice(size: str) -> cards.Choice:
  """Says where `groups` comes from."""
  return cards.Choice(
      "groups (num_cores)",
      f"{GROUP_SIZES[size]} tokens each, as released; in Figure 16 each core is"
      " a group",
  )


def feed_forward_choices(model: str) -> list[cards.Choice]:
  """Says what the paper leaves open about a model's feed-forward layers.

  Args:
    model: a file of gin/models.
  """
  if "large" in model:
    return [_LARGE_CHOICE]
  return [_BASE_CHOICE] if "base" in model else []


def dense(
    name: str,
    rows_: Sequence[paper_rows.Row],
    model: str,
    tokens: int,
    steps: int,
    choices: Sequence[cards.Choice],
    **fields,
) -> cards.Card:
  """A dense model's pre-training on the cores of Table 1.

  Args:
    name: the card's.
    rows_: the rows that it answers.
    model: a file of gin/models.
    tokens: the tokens of a batch.
    steps: the steps of the run.
    choices: what the paper leaves open, besides what is said for all.
    **fields: further fields of the card.
  """
  return cards.Card(
      name,
      rows_,
      [f"models/{model}.gin", "layouts/data.gin", DEFAULTS],
      {
          "data_parallelism": CORES,
          **batch(tokens),
          "train_steps": steps,
          "activation_dtype": "bfloat16",
      },
      [
          *choices,
          *feed_forward_choices(model),
          DENSE_PRECISION_CHOICE,
          _INITIAL_VALUES_CHOICE,
          RATE_CHOICE,
          DROPOUT_CHOICE,
      ],
      **fields,
  )


def sparse(
    name: str,
    rows_: Sequence[paper_rows.Row],
    experts: int,
    tokens: int,
    steps: int,
    choices: Sequence[cards.Choice],
    *,
    model: str = "switch_base",
    size: str = "base",
    capacity_factor: float | None = None,
    precision: str | None = None,
    cores: int = CORES,
    bindings: Mapping[str, Any] | None = None,
    **fields,
) -> cards.Card:
  """A sparse model's pre-training with expert and data parallelism.

  Args:
    name: the card's.
    rows_: the rows that it answers.
    experts: the number of experts.
    tokens: the tokens of a batch.
    steps: the steps of the run.
    choices: what the paper leaves open, besides what is said for all.
    model: a file of gin/models.
    size: a key of GROUP_SIZES.
    capacity_factor: of training, where the paper states it.
    precision: a file of gin/precision, where the paper states it.
    cores: the cores of the mesh.
    bindings: further ones.
    **fields: further fields of the card.
  """
  bindings = bindings or {}
  file, sizes = layout(experts, cores)
  capacity, capacity_choice = {}, _CAPACITY_CHOICE
  if capacity_factor is not None:
    capacity = {"capacity_factor_train": capacity_factor}
    capacity_choice = _EVALUATED_CAPACITY_CHOICE
  explores = any(name.endswith("exploration") for name in bindings)
  return cards.Card(
      name,
      rows_,
      [
          f"models/{model}.gin",
          file,
          DEFAULTS,
          f"precision/{precision or 'selective'}.gin",
      ],
      {
          "num_experts": experts,
          **capacity,
          **sizes,
          **groups(tokens, size),
          **batch(tokens),
          "train_steps": steps,
          **bindings,
      },
      [
          *choices,
          *feed_forward_choices(model),
          PLACES_CHOICE,
          capacity_choice,
          groups_choice(size),
          *([] if precision else [PRECISION_CHOICE]),
          *([] if explores else [JITTER_CHOICE]),
          RATE_CHOICE,
          DROPOUT_CHOICE,
      ],
      **fields,
  )
