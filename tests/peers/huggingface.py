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

"""Compares conversions with Hugging Face's own models: `make test-peers`.

It runs in the peers' environment, which has PyTorch, and starts run_switch in
this project's. With --write it renews the fixtures of tests/conversion, which
`make test` checks without PyTorch.
"""

import argparse
import json
import pathlib
import tempfile

import numpy as np
from safetensors import numpy as safetensors_numpy
import torch
import transformers

from tests.peers import draws
from tests.peers import program

FIXTURES = program.ROOT / "tests" / "conversion" / "huggingface"
NUM_DECODED = 64

_SIZES = {
    "vocab_size": 128,
    "d_model": 8,
    "d_ff": 12,
    "d_kv": 4,
    "num_heads": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "decoder_start_token_id": 0,
}
_SPARSE = {"num_experts": 3, "num_sparse_encoder_layers": 1}
# The classes of the configuration and of the model, and the options.
CASES = {
    "t5": ("T5", {"num_decoder_layers": 3}),
    "t5_gated_untied": (
        "T5",
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5": ("MT5", {"tie_word_embeddings": False}),
    "byt5": ("T5", {"vocab_size": 384, "feed_forward_proj": "gated-gelu"}),
    "switch_step_1": (
        "SwitchTransformers",
        {
            **_SPARSE,
            "num_sparse_encoder_layers": 2,
            "num_sparse_decoder_layers": 2,
        },
    ),
    "switch_step_2": (
        "SwitchTransformers",
        {**_SPARSE, "num_sparse_decoder_layers": 1},
    ),
    "switch_untied": (
        "SwitchTransformers",
        {
            **_SPARSE,
            "num_sparse_decoder_layers": 1,
            "tie_word_embeddings": False,
        },
    ),
    # Two tokens of a sentence for each of three experts.
    "switch_dropping": (
        "SwitchTransformers",
        {**_SPARSE, "num_sparse_decoder_layers": 1, "expert_capacity": 2},
    ),
}
# Where tokens are dropped, both stacks have one length, as a capacity factor
# needs it.
_LENGTHS_DROPPING = {"inputs": [8, 6, 7], "targets": [7, 8, 5]}
_TOLERANCE = 1e-4


def make(name: str, directory: pathlib.Path):
  """Writes a model with save_pretrained, and draws its weights.

  Args:
    name: of CASES.
    directory: where to write.

  Returns:
    the model as from_pretrained loads it, and the shapes of its tensors.
  """
  prefix, options = CASES[name]
  config = getattr(transformers, f"{prefix}Config")(**{**_SIZES, **options})
  kind = getattr(transformers, f"{prefix}ForConditionalGeneration")
  model = kind(config)
  if options.get("tie_word_embeddings") is False:
    head = model.lm_head
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight))
  model.save_pretrained(directory)
  path = directory / "model.safetensors"
  shapes = {
      key: list(value.shape)
      for key, value in safetensors_numpy.load_file(path).items()
  }
  safetensors_numpy.save_file(draws.weights(shapes), path, {"format": "pt"})
  return kind.from_pretrained(directory).eval(), shapes


def ids(name: str, vocab_size: int) -> dict[str, np.ndarray]:
  """Returns inputs and targets of a case, int32 `[batch, length]`.

  Args:
    name: of CASES.
    vocab_size: its ids; 0 is padding.
  """
  is_dropping = name == "switch_dropping"
  lengths = _LENGTHS_DROPPING if is_dropping else draws.LENGTHS
  return draws.ids(vocab_size, lengths)


def results(model, of: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns what a model computes.

  Args:
    model: without noise.
    of: inputs and targets.

  Returns:
    "logits" of all targets; "decoded", what greedy decoding writes;
    "gradient_names" and "gradient_norms" of all weights, for the sum of the
    real targets' cross-entropies.
  """
  inputs, targets = (torch.tensor(x, dtype=torch.long) for x in of.values())
  mask = (inputs != 0).long()
  shifted = torch.nn.functional.pad(targets[:, :-1], [1, 0])
  model.zero_grad()
  logits = model(
      input_ids=inputs, attention_mask=mask, decoder_input_ids=shifted
  ).logits
  torch.nn.functional.cross_entropy(
      logits.transpose(1, 2), targets, ignore_index=0, reduction="sum"
  ).backward()
  gradients = {}
  for name, weight in model.named_parameters():
    if weight.grad is not None:
      # An untied SwitchTransformers has three copies of the embedding.
      name = name if name not in draws.COPIES else draws.EMBEDDING
      gradients[name] = gradients.get(name, 0) + weight.grad
  with torch.no_grad():
    decoded = model.generate(
        input_ids=inputs,
        attention_mask=mask,
        do_sample=False,
        num_beams=1,
        max_new_tokens=NUM_DECODED,
        use_cache=False,  # It counts the encoder's layers for the decoder's.
    )[:, 1:]
  decoded = torch.nn.functional.pad(
      decoded, [0, NUM_DECODED - decoded.shape[1]]
  )
  return {
      "logits": logits.detach().numpy(),
      "decoded": decoded.int().numpy(),
      "gradient_names": np.array(sorted(gradients)),
      "gradient_norms": np.array(
          [gradients[x].norm() for x in sorted(gradients)], np.float32
      ),
  }


def write(name: str, directory: pathlib.Path):
  """Writes the fixture of a case.

  Args:
    name: of CASES.
    directory: for Hugging Face's files.
  """
  model, shapes = make(name, directory)
  of = ids(name, model.config.vocab_size)
  FIXTURES.mkdir(exist_ok=True)
  config = json.loads((directory / "config.json").read_text())
  text = json.dumps({"config": config, "shapes": shapes}, indent=1)
  (FIXTURES / f"{name}.json").write_text(text + "\n")
  np.savez_compressed(FIXTURES / f"{name}.npz", **of, **results(model, of))


def check(name: str, directory: pathlib.Path) -> str:
  """Compares a case with its fixture, and with itself brought here and back.

  Args:
    name: of CASES.
    directory: an empty one.

  Returns:
    the differences, in words.
  """
  there = directory / "there"
  model, shapes = make(name, there)
  of = ids(name, model.config.vocab_size)
  now, then = results(model, of), np.load(FIXTURES / f"{name}.npz")
  assert all(np.array_equal(of[x], then[x]) for x in of), name
  largest = np.abs(now["logits"]).max()
  difference = np.abs(now["logits"] - then["logits"]).max() / largest
  assert difference < _TOLERANCE, (name, difference)
  assert np.array_equal(now["decoded"], then["decoded"]), name
  _add_tokenizer(there, model.config.vocab_size)
  program.run_switch(
      "--mode=convert",
      f"--huggingface_dir={there}",
      f"--output_dir={directory / 'here'}",
  )
  task = [
      "--gin_file=layouts/single.gin",
      "--gin_file=runs/evaluate.gin",
      "--gin_param=task = 'docstrings_span_corruption'",
      "--gin_param=sequence_length = {'inputs': 64, 'targets': 64}",
      "--gin_param=batch_size = 1",
  ]
  if "switch" in name:
    task.append("--gin_param=num_cores = 1")
  program.run_switch(
      "--mode=convert",
      f"--model_dir={directory / 'here'}",
      f"--gin_file={directory / 'here' / 'model.gin'}",
      *task,
      f"--output_dir={directory / 'back'}",
  )
  kind = type(model)
  if name == "mt5":
    kind = transformers.T5ForConditionalGeneration  # The same function.
  # Capacity is a setting here, which does not go back.
  settings = {
      key: getattr(model.config, key)
      for key in ("expert_capacity",)
      if hasattr(model.config, key)
  }
  back = kind.from_pretrained(directory / "back", **settings).eval()
  again = results(back, of)
  assert np.array_equal(again["logits"], now["logits"]), name
  assert np.array_equal(again["decoded"], now["decoded"]), name
  found = {}
  for path in (directory / "back").glob("*.safetensors"):
    found |= safetensors_numpy.load_file(path)
  expected = draws.weights(shapes)
  assert set(found) == set(expected), name
  assert all(np.array_equal(found[x], expected[x]) for x in found), name
  tokenizer = transformers.AutoTokenizer.from_pretrained(directory / "back")
  return (
      f"{name}: logits within {difference:.1e} of the fixture's, the same bits "
      f"after the way here and back; {len(tokenizer)} tokens"
  )


def _add_tokenizer(directory: pathlib.Path, vocab_size: int):
  """Adds the tokenizer's files, which models are saved without."""
  if vocab_size == 384:
    config = {"tokenizer_class": "ByT5Tokenizer"}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
  else:
    (directory / "spiece.model").write_bytes(
        (FIXTURES / "spiece.model").read_bytes()
    )


def main():
  """Checks all cases, or writes their fixtures."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--write", action="store_true")
  is_writing = parser.parse_args().write
  transformers.logging.set_verbosity_error()
  for name in CASES:
    with tempfile.TemporaryDirectory() as directory:
      if is_writing:
        write(name, pathlib.Path(directory))
      else:
        print(check(name, pathlib.Path(directory)), flush=True)


if __name__ == "__main__":
  main()
