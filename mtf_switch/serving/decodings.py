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

from collections.abc import Mapping
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

  @property
  def described(self) -> str:
    """What it does, in words."""
    if self.kind == "greedy":
      return "greedy decoding"
    if self.kind == "beam":
      return f"beam search with {self.beam_size} beams"
    most = self.sampling_keep_top_k
    of_most = "" if most == -1 else f" of the {most} most probable tokens"
    return f"samples{of_most} at temperature {self.temperature:g}"

  def check(self, is_lm: bool):
    """Refuses what no model can decode with.

    Args:
      is_lm: whether the model is an "lm".

    Raises:
      UserError: with the numbers.
    """
    name = _OF_LM if is_lm else _OF_PAIRS
    for parameter in ("beam_size", "sampling_keep_top_k"):
      value = getattr(self, parameter)
      if not float(value).is_integer():
        raise errors.UserError(
            f"{name}.{parameter} = {value} must be a whole number."
        )
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
      check_beams_of_lm(self.beam_size)
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


def check_beams_of_lm(beam_size: int):
  """Refuses beam search for an "lm".

  Args:
    beam_size: T5's.

  Raises:
    UserError: there is more than one beam.
  """
  if beam_size > 1:
    raise errors.UserError(
        f"{_OF_PAIRS}.beam_size = {beam_size}: there is no beam search for an "
        "'lm'; it decodes greedily, or samples with runs/sample_decode.gin."
    )


def of_gin(is_lm: bool) -> Decoding:
  """Returns the decoding of --mode=infer, as gin describes it.

  Args:
    is_lm: whether the model is an "lm".
  """
  name = _OF_LM if is_lm else _OF_PAIRS
  values = {
      "beam_size": strict_gin.value(f"{_OF_PAIRS}.beam_size"),
      **{
          x: strict_gin.value(f"{name}.{x}")
          for x in ("temperature", "sampling_keep_top_k")
      },
  }
  return Decoding(**{k: v for k, v in values.items() if v is not None})


def chosen(
    given: Mapping[str, Mapping[str, float]] | None, is_lm: bool
) -> dict[str, Decoding]:
  """Returns decodings by their kinds.

  Args:
    given: T5's parameters by the kind of decoding; None for the decoding of
      --mode=infer alone.
    is_lm: whether the model is an "lm".

  Raises:
    UserError: a kind or a parameter is not known, or they do not go together.
  """
  if given is None:
    described = of_gin(is_lm)
    described.check(is_lm)
    return {described.kind: described}
  if not given:
    raise errors.UserError("export.decodings is empty; leave it out.")
  names = [field.name for field in dataclasses.fields(Decoding)]
  found = {}
  for kind, parameters in given.items():
    errors.check_one_of(kind, KINDS, "export.decodings")
    for name in parameters:
      errors.check_one_of(name, names, f"export.decodings[{kind!r}]")
    found[kind] = Decoding(**parameters)
    found[kind].check(is_lm)
    if found[kind].kind != kind:
      raise errors.UserError(
          f"export.decodings[{kind!r}] = {dict(parameters)} is "
          f"{found[kind].kind!r}: 'beam' has a beam_size above 1, 'sample' a "
          "temperature above 0, and 'greedy' neither."
      )
  return found
