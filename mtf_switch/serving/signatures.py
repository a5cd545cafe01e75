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

"""The functions of a checkpoint as signatures, on ids and on texts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mesh_tensorflow as mtf
import tensorflow.compat.v2 as tf

from mtf_switch.serving import decodings as decodings_lib
from mtf_switch.serving import functions as functions_lib
from mtf_switch.serving import texts as texts_lib

# The name of the signature that is meant without a name.
DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
SCORE, TOKENIZE = "score", "tokenize"

_IDS = tf.TensorSpec([None, None], tf.int32)
_TEXTS = tf.TensorSpec([None], tf.string)
_SEED = tf.TensorSpec([], tf.int32)
_WITH_SEED = "sample_with_seed"

# By the signature's name; each function returns tensors by name.
Signatures = dict[str, Any]


class Functions:
  """The functions of a checkpoint by their names.

  Attributes:
    of_checkpoint: what they are made of.
    decodings: how each decodes; the first is the default.
    decode: from ids and a seed to ids.
    score: from ids and a seed to scores.
  """

  def __init__(
      self,
      of_checkpoint: functions_lib.Functions,
      decodings: Mapping[str, decodings_lib.Decoding],
      lower: Callable = mtf.Lowering,
  ):
    """Builds their graphs.

    Args:
      of_checkpoint: the checkpoint.
      decodings: how to decode, by name.
      lower: makes the lowering, as mtf.Lowering does.

    Raises:
      UserError: the checkpoint is of another model than gin's.
    """
    self.of_checkpoint = of_checkpoint
    self.decodings = dict(decodings)
    self.decode = {
        name: of_checkpoint.decode(x, lower) for name, x in decodings.items()
    }
    self.score = of_checkpoint.score(lower)

  def on_ids(self) -> Signatures:
    """Returns the signatures that take and give ids."""

    def outputs(ids):
      return {"outputs": ids}

    signatures = {}
    for name, decode in self.decode.items():
      signatures |= _decoding(
          name,
          _IDS,
          lambda ids, seed, decode=decode: outputs(
              decode({"inputs": ids}, seed)
          ),
      )
    signatures[SCORE] = _scoring(self.of_checkpoint.is_lm, _IDS, self._scores)
    return self._with_default(signatures)

  def on_texts(
      self, vocabularies: Sequence[texts_lib.Vocabulary]
  ) -> Signatures:
    """Returns the signatures that take and give texts.

    Args:
      vocabularies: of inputs and targets.
    """
    of_checkpoint = self.of_checkpoint
    lengths, is_lm = of_checkpoint.lengths, of_checkpoint.is_lm
    of_inputs, of_targets = vocabularies

    def tokenize(inputs):
      # An "lm" continues its inputs.
      return of_inputs.encode(inputs, lengths["inputs"], add_eos=not is_lm)

    def decode_with(decode):
      def of_real(texts, seed):
        ids, _ = tokenize(texts)
        return of_targets.decode(decode({"inputs": ids}, seed))

      return lambda texts, seed: {"outputs": _of_real(of_real, texts, seed)}

    def scores(features):
      encoded = {
          name: vocabulary.encode(features[name], lengths[name], True)[0]
          for name, vocabulary in zip(("inputs", "targets"), vocabularies)
          if name in features
      }
      return self._scores(encoded)

    @tf.function(input_signature=[_named(_TEXTS, "inputs")], autograph=False)
    def tokens(inputs):
      ids, counts = tokenize(inputs)
      return {"ids": ids, "lengths": counts}

    signatures = {}
    for name, decode in self.decode.items():
      signatures |= _decoding(name, _TEXTS, decode_with(decode))
    signatures[SCORE] = _scoring(is_lm, _TEXTS, scores)
    signatures[TOKENIZE] = tokens
    return self._with_default(signatures)

  def _scores(self, features: Mapping[str, tf.Tensor]):
    return {"scores": self.score(features, tf.constant(0))}

  def _with_default(self, signatures: Signatures) -> Signatures:
    first = next(iter(self.decode))
    return {**signatures, DEFAULT: signatures[first]}


def _decoding(name: str, spec: tf.TensorSpec, decode: Callable) -> Signatures:
  """The signatures of a decoding: of samples, also one with a seed."""
  spec = _named(spec, "inputs")

  if name != "sample":

    @tf.function(input_signature=[spec], autograph=False)
    def without_noise(inputs):
      return decode(inputs, tf.constant(0))

    return {name: without_noise}

  @tf.function(input_signature=[spec], autograph=False)
  def sample(inputs):
    # Whatever seed the program has: another number with each call.
    (seed,) = tf.unstack(
        tf.raw_ops.RandomUniformInt(
            shape=[1], minval=0, maxval=2**31 - 1, seed=0, seed2=0
        )
    )
    return decode(inputs, seed)

  @tf.function(input_signature=[spec, _named(_SEED, "seed")], autograph=False)
  def sample_with_seed(inputs, seed):
    return decode(inputs, seed)

  return {name: sample, _WITH_SEED: sample_with_seed}


def _scoring(is_lm: bool, spec: tf.TensorSpec, score: Callable):
  """The signature of scores; an "lm" has targets alone."""
  inputs, targets = _named(spec, "inputs"), _named(spec, "targets")

  @tf.function(input_signature=[targets], autograph=False)
  def score_targets(targets):
    return score({"targets": targets})

  @tf.function(input_signature=[inputs, targets], autograph=False)
  def score_pairs(inputs, targets):
    return score({"inputs": inputs, "targets": targets})

  return score_targets if is_lm else score_pairs


def _named(spec: tf.TensorSpec, name: str) -> tf.TensorSpec:
  return tf.TensorSpec(spec.shape, spec.dtype, name)


def _of_real(decode: Callable, texts: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Decodes texts that are not blank; the others stay without an answer."""
  is_blank = texts_lib.are_blank(texts)
  real = tf.boolean_mask(texts, tf.logical_not(is_blank))
  answers = tf.concat([decode(real, seed), [""]], axis=0)
  number = tf.cumsum(tf.cast(tf.logical_not(is_blank), tf.int32)) - 1
  return tf.gather(answers, tf.where(is_blank, tf.size(real), number))
