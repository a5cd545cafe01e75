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

"""How a served model decodes: one of three ways, with T5's gin names."""

from collections.abc import Sequence
import dataclasses
import math

from mtf_switch import errors
from mtf_switch.training import strict_gin

KINDS = ("greedy", "beam", "sample")

_OF_PAIRS = "Bitransformer.decode"
_OF_LM = "Unitransformer.sample_autoregressive"
# More positions than any text has.
_NO_LIMIT = 10**6


@dataclasses.dataclass(frozen=True)
class Decoding:
  """A way of decoding.

  Attributes:
    beam_size: T5's; 1 for no beam search.
    temperature: T5's; 0 for the most probable token.
    sampling_keep_top_k: T5's; -1 for all tokens.
  """

  beam_size: int = 1
  temperature: float = 0.0
  sampling_keep_top_k: int = -1

  @property
  def kind(self) -> str:
    """One of KINDS."""
    if self.beam_size > 1:
      return "beam"
    return "sample" if self.temperature else "greedy"

  def check(self, is_lm: bool):
    """Refuses what no model can decode with.

    Args:
      is_lm: whether the model is an "lm".

    Raises:
      UserError: with the numbers.
    """
    name = _OF_LM if is_lm else _OF_PAIRS
    if self.beam_size < 1:
      raise errors.UserError(
          f"{name}.beam_size = {self.beam_size} must be at least 1."
      )
    if not (math.isfinite(self.temperature) and self.temperature >= 0):
      raise errors.UserError(
          f"{name}.temperature = {self.temperature} must be a number of at "
          "least 0."
      )
    if self.sampling_keep_top_k < 1 and self.sampling_keep_top_k != -1:
      raise errors.UserError(
          f"{name}.sampling_keep_top_k = {self.sampling_keep_top_k} must be at "
          "least 1, or -1 for all tokens."
      )
    if self.beam_size == 1:
      return
    if is_lm:
      raise errors.UserError(
          f"Bitransformer.decode.beam_size = {self.beam_size}: there is no beam"
          " search for an 'lm'; it decodes greedily, or samples with "
          "runs/sample_decode.gin."
      )
    if self.temperature or self.sampling_keep_top_k != -1:
      raise errors.UserError(
          f"{name}.beam_size = {self.beam_size} goes with temperature = 0 and "
          "sampling_keep_top_k = -1 only: beam search does not sample."
      )

  def bindings(self, is_lm: bool) -> list[str]:
    """The gin bindings that a graph of this decoding is built with.

    T5's limit of a beam's length follows from the longest input of the batch;
    here the greatest length is the only limit, so that a text does not depend
    on its neighbours.

    Args:
      is_lm: whether the model is an "lm".
    """
    name = _OF_LM if is_lm else _OF_PAIRS
    found = {
        f"{name}.temperature": float(self.temperature),
        f"{name}.sampling_keep_top_k": self.sampling_keep_top_k,
    }
    if not is_lm:
      found[f"{name}.beam_size"] = self.beam_size
      found[f"{name}.decode_length_constant"] = float(_NO_LIMIT)
    return [f"{key} = {value!r}" for key, value in found.items()]


def of_gin(is_lm: bool) -> Decoding:
  """Returns the decoding of --mode=infer, as gin describes it.

  Args:
    is_lm: whether the model is an "lm".
  """
  name = _OF_LM if is_lm else _OF_PAIRS
  values = {
      field.name: strict_gin.value(f"{name}.{field.name}")
      for field in dataclasses.fields(Decoding)
      if field.name != "beam_size"
  }
  values["beam_size"] = strict_gin.value(f"{_OF_PAIRS}.beam_size")
  return Decoding(**{k: v for k, v in values.items() if v is not None})


def chosen(kinds: Sequence[str] | None, is_lm: bool) -> dict[str, Decoding]:
  """Returns decodings by their kinds.

  Args:
    kinds: which of KINDS, the first as the one that is meant without a name;
      None for the one of --mode=infer.
    is_lm: whether the model is an "lm".

  Raises:
    UserError: gin does not say enough of one of them, or it is not known.
  """
  described = of_gin(is_lm)
  if kinds is None:
    described.check(is_lm)
    return {described.kind: described}
  found = {}
  for kind in kinds:
    errors.check_one_of(kind, KINDS, "export.decodings")
    found[kind] = _of_kind(kind, described, is_lm)
    found[kind].check(is_lm)
  return found


def _of_kind(kind: str, described: Decoding, is_lm: bool) -> Decoding:
  """What gin says of a kind, without what it says of the others."""
  if kind == "greedy":
    return Decoding()
  if kind == "beam":
    if described.beam_size == 1:
      raise errors.UserError(
          "export.decodings has 'beam', and Bitransformer.decode.beam_size is "
          "1; add --gin_file=runs/beam_search.gin, or bind it."
      )
    return Decoding(beam_size=described.beam_size)
  if not described.temperature:
    name = _OF_LM if is_lm else _OF_PAIRS
    raise errors.UserError(
        f"export.decodings has 'sample', and {name}.temperature is 0; bind it, "
        'as with --gin_param="temperature = 1.0" after runs/sample_decode.gin.'
    )
  return dataclasses.replace(described, beam_size=1)
