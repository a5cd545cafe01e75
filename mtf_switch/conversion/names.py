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

"""The names of variables in Hugging Face's, T5X's and Mesh TensorFlow's models.

All directions of a conversion, and the table of docs/checkpoints.md, are made
from ROWS.
"""

from collections.abc import Iterator
import dataclasses
import math

from mtf_switch.conversion import architecture as architecture_lib


@dataclasses.dataclass(frozen=True)
class Row:
  """The names of a kind of variable.

  {sublayer} is Hugging Face's `encoder.block.3.layer.1`, {layer} is Mesh
  TensorFlow's `encoder/block_001/layer_003` for it, and {block} is T5X's
  `encoder/layers_3`, which has it.

  Attributes:
    place: what has such a variable: "model", "untied" models, a "stack", each
      "sublayer", or the sublayers of a kind of Architecture.sublayers.
    huggingface: the name in Hugging Face's models; with {expert} there is one
      for each expert. None in what they do not have.
    t5x: the name in T5X's. The values are those here.
    mesh: the name here, where experts are the first axis of one variable.
    axes: those of the variable here.
    is_transposed: whether the axes are the other way round in Hugging Face's
      tensors, those of the experts apart.
  """

  place: str
  huggingface: str | None
  t5x: str
  mesh: str
  axes: tuple[str, ...]
  is_transposed: bool = False


# What T5X calls the projections of attention.
_PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "out"}


def _projections(attention: str, t5x: str) -> Iterator[Row]:
  """The rows of a class of attention."""
  for name, t5x_name in _PROJECTIONS.items():
    axes = ("d_model", "heads * d_kv")
    yield Row(
        attention,
        f"{{sublayer}}.{attention}.{name}.weight",
        f"{{block}}/{t5x}/{t5x_name}/kernel",
        f"{{layer}}/{attention}/{name}",
        axes[::-1] if name == "o" else axes,
        is_transposed=True,
    )


def _dense(kind: str, inner: tuple[str, ...]) -> Iterator[Row]:
  """The rows of a feed-forward network without experts."""
  for name in (*inner, "wo"):
    axes = ("d_model", "d_ff")
    yield Row(
        kind,
        f"{{sublayer}}.{{dense}}.{name}.weight",
        f"{{block}}/mlp/{name}/kernel",
        f"{{layer}}/DenseReluDense/{name}/kernel",
        axes[::-1] if name == "wo" else axes,
        is_transposed=True,
    )


def _sparse(kind: str, inner: tuple[str, ...]) -> Iterator[Row]:
  """The rows of a Switch layer; those that are gated are not Hugging Face's."""
  is_gated = len(inner) > 1
  yield Row(
      kind,
      None if is_gated else "{sublayer}.mlp.router.classifier.weight",
      "{block}/mlp/router/router_weights/w/kernel",
      "{layer}/SwitchFeedForward/router/kernel",
      ("d_model", "experts"),
      is_transposed=True,
  )
  for name in (*inner, "wo"):
    axes = ("d_model", "d_ff")
    expert = f"{{sublayer}}.mlp.experts.expert_{{expert}}.{name}.weight"
    yield Row(
        kind,
        None if is_gated else expert,
        f"{{block}}/mlp/expert/{name}/kernel",
        f"{{layer}}/SwitchFeedForward/experts/{name}/kernel",
        ("experts", *(axes[::-1] if name == "wo" else axes)),
        is_transposed=True,
    )


ROWS = (
    Row(
        "model",
        "shared.weight",
        "token_embedder/embedding",
        "shared/embedding",
        ("vocab", "d_model"),
    ),
    Row(
        "untied",
        "lm_head.weight",
        "decoder/logits_dense/kernel",
        "decoder/logits/kernel",
        ("d_model", "vocab"),
        is_transposed=True,
    ),
    Row(
        "stack",
        "{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "{stack}/relpos_bias/rel_embedding",
        "{stack}/block_000/layer_000/SelfAttention/relative_attention_bias",
        ("heads", "buckets"),
        is_transposed=True,
    ),
    Row(
        "stack",
        "{stack}.final_layer_norm.weight",
        "{stack}/{stack}_norm/scale",
        "{stack}/rms_norm/scale",
        ("d_model",),
    ),
    Row(
        "sublayer",
        "{sublayer}.layer_norm.weight",
        "{block}/pre_{norm}_layer_norm/scale",
        "{layer}/rms_norm/scale",
        ("d_model",),
    ),
    *_projections("SelfAttention", "{attention}"),
    *_projections("EncDecAttention", "encoder_decoder_attention"),
    *_dense("dense", ("wi",)),
    *_dense("gated", ("wi_0", "wi_1")),
    *_sparse("sparse", ("wi",)),
    *_sparse("gated sparse", ("wi_0", "wi_1")),
)

# {dense} in models without experts, and in those with experts.
DENSE = {False: "DenseReluDense", True: "mlp"}
# {attention} in a stack, and {norm} of a sublayer.
_ATTENTION = {"encoder": "attention", "decoder": "self_attention"}
_NORMS = {
    ("encoder", "SelfAttention"): "attention",
    ("decoder", "SelfAttention"): "self_attention",
    ("decoder", "EncDecAttention"): "cross_attention",
}

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
  """A variable of a model under all its names.

  Attributes:
    huggingface: the names there, one for each expert, otherwise one; none for
      what Hugging Face's models do not have.
    t5x: the name in T5X's.
    mesh: the name here.
    mesh_shape: the shape here.
    is_transposed: as that of `Row`.
    has_experts: whether the shape here begins with the experts.
  """

  huggingface: tuple[str, ...]
  t5x: str
  mesh: str
  mesh_shape: tuple[int, ...]
  is_transposed: bool
  has_experts: bool

  @property
  def huggingface_shape(self) -> tuple[int, ...]:
    """The shape of each tensor of Hugging Face."""
    shape = self.mesh_shape[1:] if self.has_experts else self.mesh_shape
    return shape[::-1] if self.is_transposed else shape

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
            "block": f"{name}/layers_{number}",
            "layer": (
                f"{name}/block_{block:03d}/"
                f"layer_{first * len(kinds) + place:03d}"
            ),
            "attention": _ATTENTION[name],
            "norm": _NORMS.get((name, kind), "mlp"),
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
    has_experts = row.axes[0] == "experts"
    experts = range(architecture.num_experts) if has_experts else [None]
    huggingface = () if row.huggingface is None else experts
    yield Pair(
        tuple(row.huggingface.format(expert=x, **names) for x in huggingface),
        row.t5x.format(**names),
        row.mesh.format(**names),
        tuple(sizes[axis] for axis in row.axes),
        row.is_transposed,
        has_experts,
    )


def documented() -> list[tuple[str, str, str, str, str]]:
  """Returns the rows of the table in docs/checkpoints.md.

  Returns:
    of each kind of variable: what has it, Hugging Face's name, T5X's, Mesh
    TensorFlow's, and what is done to Hugging Face's values.
  """
  rows = []
  for row in ROWS:
    done = ["transposed"] if row.is_transposed else []
    done += ["stacked over the experts"] if row.axes[0] == "experts" else []
    has_name = row.huggingface is not None
    rows.append(
        (
            row.place,
            f"`{row.huggingface}`" if has_name else "-",
            f"`{row.t5x}`",
            f"`{row.mesh}`",
            (", ".join(done) or "as it is") if has_name else "-",
        )
    )
  return rows
