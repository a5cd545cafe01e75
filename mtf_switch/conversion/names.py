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

"""The names of variables in Hugging Face's models and in Mesh TensorFlow's.

Both directions of a conversion, and the table of docs/checkpoints.md, are made
from ROWS.
"""

from collections.abc import Iterator
import dataclasses
import math

from mtf_switch.conversion import architecture as architecture_lib


@dataclasses.dataclass(frozen=True)
class Row:
  """The two names of a kind of variable.

  {sublayer} is Hugging Face's `encoder.block.3.layer.1`, and {layer} Mesh
  TensorFlow's `encoder/block_001/layer_003` for it.

  Attributes:
    place: what has such a variable: "model", "untied" models, a "stack", each
      "sublayer", or the sublayers of a kind of Architecture.sublayers.
    huggingface: the name there; with {expert} there is one for each expert.
    mesh: the name here, where experts are the first axis of one variable.
    axes: those of Hugging Face's tensor.
    is_transposed: whether the axes are the other way round here, those of the
      experts apart.
  """

  place: str
  huggingface: str
  mesh: str
  axes: tuple[str, ...]
  is_transposed: bool = False

  @property
  def has_experts(self) -> bool:
    """Whether there is a tensor for each expert."""
    return "{expert}" in self.huggingface


def _projections(attention: str) -> Iterator[Row]:
  """The rows of a class of attention."""
  for name in "qkvo":
    axes = ("heads * d_kv", "d_model")
    yield Row(
        attention,
        f"{{sublayer}}.{attention}.{name}.weight",
        f"{{layer}}/{attention}/{name}",
        axes[::-1] if name == "o" else axes,
        is_transposed=True,
    )


def _dense(kind: str, inner: tuple[str, ...]) -> Iterator[Row]:
  """The rows of a feed-forward network without experts."""
  for name in (*inner, "wo"):
    axes = ("d_ff", "d_model")
    yield Row(
        kind,
        f"{{sublayer}}.{{dense}}.{name}.weight",
        f"{{layer}}/DenseReluDense/{name}/kernel",
        axes[::-1] if name == "wo" else axes,
        is_transposed=True,
    )


ROWS = (
    Row("model", "shared.weight", "shared/embedding", ("vocab", "d_model")),
    Row(
        "untied",
        "lm_head.weight",
        "decoder/logits/kernel",
        ("vocab", "d_model"),
        is_transposed=True,
    ),
    Row(
        "stack",
        "{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "{stack}/block_000/layer_000/SelfAttention/relative_attention_bias",
        ("buckets", "heads"),
        is_transposed=True,
    ),
    Row(
        "stack",
        "{stack}.final_layer_norm.weight",
        "{stack}/rms_norm/scale",
        ("d_model",),
    ),
    Row(
        "sublayer",
        "{sublayer}.layer_norm.weight",
        "{layer}/rms_norm/scale",
        ("d_model",),
    ),
    *_projections("SelfAttention"),
    *_projections("EncDecAttention"),
    *_dense("dense", ("wi",)),
    *_dense("gated", ("wi_0", "wi_1")),
    Row(
        "sparse",
        "{sublayer}.mlp.router.classifier.weight",
        "{layer}/SwitchFeedForward/router/kernel",
        ("experts", "d_model"),
        is_transposed=True,
    ),
    Row(
        "sparse",
        "{sublayer}.mlp.experts.expert_{expert}.wi.weight",
        "{layer}/SwitchFeedForward/experts/wi/kernel",
        ("d_ff", "d_model"),
        is_transposed=True,
    ),
    Row(
        "sparse",
        "{sublayer}.mlp.experts.expert_{expert}.wo.weight",
        "{layer}/SwitchFeedForward/experts/wo/kernel",
        ("d_model", "d_ff"),
        is_transposed=True,
    ),
)

# {dense} in models without experts, and in those with experts.
DENSE = {False: "DenseReluDense", True: "mlp"}

# Names under which files may have the embedding again.
COPIES_OF_EMBEDDING = (
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
)
# Of T5's first conversions. Nothing reads it: there are no biases of positions
# between decoder and encoder.
NOT_READ = (
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
)


@dataclasses.dataclass(frozen=True)
class Pair:
  """A variable of a model under both names.

  Attributes:
    huggingface: the names there, one for each expert; otherwise one.
    mesh: the name here.
    huggingface_shape: of each tensor there.
    is_transposed: as that of `Row`.
    has_experts: whether the shape here begins with the experts.
  """

  huggingface: tuple[str, ...]
  mesh: str
  huggingface_shape: tuple[int, ...]
  is_transposed: bool
  has_experts: bool

  @property
  def mesh_shape(self) -> tuple[int, ...]:
    """The shape here."""
    shape = self.huggingface_shape
    if self.is_transposed:
      shape = shape[::-1]
    return (len(self.huggingface), *shape) if self.has_experts else shape

  @property
  def num_values(self) -> int:
    """The number of values."""
    return math.prod(self.mesh_shape)


def pairs(architecture: architecture_lib.Architecture) -> list[Pair]:
  """Returns all variables of a model, stack by stack.

  Args:
    architecture: the model's.
  """
  found = list(_pairs_at(architecture, "model"))
  if not architecture.is_tied:
    found += _pairs_at(architecture, "untied")
  for name, stack in architecture.stacks.items():
    found += _pairs_at(architecture, "stack", stack=name)
    for number in range(len(stack.is_sparse)):
      kinds = architecture.sublayers(name, number)
      for place, kind in enumerate(kinds):
        block, first = divmod(number, stack.layers_per_block)
        names = {
            "sublayer": f"{name}.block.{number}.layer.{place}",
            "layer": (
                f"{name}/block_{block:03d}/"
                f"layer_{first * len(kinds) + place:03d}"
            ),
        }
        found += _pairs_at(architecture, "sublayer", **names)
        found += _pairs_at(architecture, kind, **names)
  return found


def _pairs_at(
    architecture: architecture_lib.Architecture, place: str, **names: str
) -> Iterator[Pair]:
  """The variables of a place, whose names begin with names of its own."""
  sizes = architecture.sizes
  names["dense"] = DENSE[architecture.has_experts]
  for row in ROWS:
    if row.place != place:
      continue
    experts = range(architecture.num_experts) if row.has_experts else [None]
    yield Pair(
        tuple(row.huggingface.format(expert=x, **names) for x in experts),
        row.mesh.format(**names),
        tuple(sizes[axis] for axis in row.axes),
        row.is_transposed,
        row.has_experts,
    )


def documented() -> list[tuple[str, str, str, str]]:
  """Returns the rows of the table in docs/checkpoints.md.

  Returns:
    of each kind of variable: what has it, Hugging Face's name, Mesh
    TensorFlow's, and what is done to the values.
  """
  rows = []
  for row in ROWS:
    done = ["transposed"] if row.is_transposed else []
    done += ["stacked over the experts"] if row.has_experts else []
    rows.append(
        (
            row.place,
            f"`{row.huggingface}`",
            f"`{row.mesh}`",
            ", ".join(done) or "as it is",
        )
    )
  return rows
