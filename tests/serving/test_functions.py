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

"""The functions of an "lm" in memory, and models that cannot be served."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v2 as tf

from mtf_switch import errors
from mtf_switch.mesh import cluster
from mtf_switch.modes import decode
from mtf_switch.serving import decodings
from mtf_switch.serving import functions
from mtf_switch.serving import signatures
from mtf_switch.serving import texts
from mtf_switch.training import run as run_lib
from tests.serving import made_model
from tests.serving import test_saved_model

LM = (
    "task = 'toy_lm'",
    "sequence_length = {'targets': 16}",
    "model_type = 'lm'",
    "transformer.make_layer_stack.layers = "
    "[@transformer_layers.SelfAttention, @SwitchFeedForward]",
    "Unitransformer.sample_autoregressive.temperature = 0.9",
)
# Four that are not blank: the noise of a language model's samples depends on
# the prompts of a whole batch.
LINES = ["the switch", "a", " ", "too long a text for it", "to one expert"]


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
  """A directory with a language model."""
  directory = tmp_path_factory.mktemp("lm")
  made_model.write_checkpoint(made_model.configured(directory, *LM))
  return directory


def test_a_language_model_samples_and_scores_as_infer_and_score(lm):
  run = made_model.configured(lm, *LM)
  chosen = decodings.chosen(None, is_lm=True)
  with functions.eagerly():
    made = signatures.Functions(
        functions.Functions(run, made_model.STEP), chosen
    )
    of_texts = made.on_texts(texts.all_of(run.experiment.vocabularies))
    assert list(made.decode) == ["sample"]
    sampled = of_texts["sample_with_seed"](
        inputs=tf.constant(LINES), seed=tf.constant(0)
    )
    scored = of_texts["score"](targets=tf.constant(LINES[:3]))
    answers = [x.decode() for x in sampled["outputs"].numpy()]
    scores = scored["scores"].numpy()
  expected = test_saved_model.lines_of(decode.infer, lm, LINES, *LM)
  # Lines of a file have no line breaks, which bytes can be.
  assert [" ".join(x.splitlines()) for x in answers] == expected
  assert len(set(answers)) == len(LINES) and not answers[2]
  expected = test_saved_model.lines_of(decode.score, lm, LINES[:3], *LM)
  np.testing.assert_allclose(scores, list(map(float, expected)), rtol=1e-5)


@pytest.mark.parametrize(
    "params, message",
    [
        (["d_ff = 48"], "is of another model: .* is 4 x 16 x 32 there and"),
        (["num_blocks = 2"], "block_001/.* is only in this model"),
        (
            ["SwitchFeedForward.capacity_factor_infer = 2.0"],
            "capacity_factor_infer = 2.0 would have a text depend",
        ),
    ],
)
def test_models_that_would_answer_something_else_are_refused(
    lm, params, message
):
  run = made_model.configured(lm, *LM, *params)
  with functions.eagerly(), pytest.raises(errors.UserError, match=message):
    functions.Functions(run, made_model.STEP).score()


@pytest.mark.parametrize(
    "options",
    [
        {"tpu": run_lib.Tpu("tpu")},
        {"cluster": cluster.parse("a:1,b:2", 0)},
    ],
)
def test_models_on_several_cores_are_refused(lm, options):
  made_model.configured(lm, *LM)
  run = run_lib.Run(model_dir=str(lm), **options)
  with pytest.raises(errors.UserError, match="runs on one core"):
    functions.check(run)
