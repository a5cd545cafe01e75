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

"""Hugging Face's SwitchTransformers on PyTorch.

In eager mode as users run it, or with what PyTorch and the library offer beyond
that (see forms.py). Runs in .venv-peers, which shares nothing with this
project's environment.
"""

from collections.abc import Callable, Collection, Mapping
import contextlib
import ctypes
import importlib.metadata
import os

import numpy as np
import torch
from torch.utils import mkldnn
import transformers
from transformers.models.switch_transformers import (
    modeling_switch_transformers as switch_transformers,
)

from benchmarks.contenders import forms
from benchmarks.contenders import worker

# The largest modules that compile to one graph each. The loop over experts does
# not, and each expert has another number of rows in each step.
_PARTS = (
    switch_transformers.SwitchTransformersLayerSelfAttention,
    switch_transformers.SwitchTransformersLayerCrossAttention,
    switch_transformers.SwitchTransformersTop1Router,
    switch_transformers.SwitchTransformersLayerNorm,
)
# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def _prepare_process(form: Collection[str]):
  """Sets up memory and threads, before anything is allocated."""
  if forms.KEPT_MEMORY in form:
    # Else each large tensor is mapped, filled with zeros and unmapped again.
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    # Backward passes have threads of their own, whose arenas are small.
    libc.mallopt(_M_ARENA_MAX, 1)
  if forms.HUGE_PAGES in form:
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
  if forms.ONE_THREAD in form:
    torch.set_num_threads(1)


def _compile(module: torch.nn.Module, form: Collection[str]):
  """Has parts of the module compiled when they are called."""
  if forms.COMPILED_PARTS in form:
    for part in module.modules():
      if isinstance(part, _PARTS):
        part.forward = torch.compile(part.forward)


def _precision(form: Collection[str]) -> contextlib.AbstractContextManager:
  if forms.BFLOAT16 in form:
    return torch.autocast("cpu", dtype=torch.bfloat16)
  return contextlib.nullcontext()


def _warm(run: Callable[[], object], form: Collection[str]):
  """Runs until nothing is compiled any more; sizes may vary between runs."""
  if forms.COMPILED_PARTS in form:
    for _ in range(4):
      run()


def _config(sizes: Mapping[str, int], capacity: int):
  num_layers = 2 * sizes.get("num_blocks", 1)
  return transformers.SwitchTransformersConfig(
      vocab_size=sizes.get("vocabulary", 1),
      d_model=sizes["d_model"],
      d_ff=sizes["d_ff"],
      d_kv=sizes.get("d_kv", 1),
      num_heads=sizes.get("num_heads", 1),
      num_layers=num_layers,
      num_decoder_layers=num_layers,
      num_sparse_encoder_layers=num_layers // 2,
      num_sparse_decoder_layers=num_layers // 2,
      num_experts=sizes["num_experts"],
      expert_capacity=capacity,
      router_aux_loss_coef=0.01,
      dropout_rate=0.0,
      decoder_start_token_id=0,
  )


def layer(num_experts: int, form: Collection[str] = (), **sizes) -> worker.Work:
  """One layer: SwitchTransformersSparseMLP, or the dense one."""
  _prepare_process(form)
  tokens = torch.from_numpy(
      worker.tokens(
          sizes["groups"], sizes["tokens_per_group"], sizes["d_model"]
      )
  ).requires_grad_()
  sizes["num_experts"] = num_experts
  if num_experts:
    capacity = int(1.25 * sizes["tokens_per_group"] / num_experts)
    module = switch_transformers.SwitchTransformersSparseMLP(
        _config(sizes, capacity)
    )
    kernel = worker.router_kernel(sizes["d_model"], num_experts)
    with torch.no_grad():
      module.router.classifier.weight.copy_(torch.from_numpy(kernel.T))
    # In Hugging Face the model, not the layer, computes the auxiliary loss.
    logits = []
    module.router.register_forward_hook(
        lambda router, arguments, outputs: logits.append(outputs[2])
    )
  else:
    module = switch_transformers.SwitchTransformersDenseActDense(
        _config(sizes, 0)
    )
  module.train()
  _compile(module, form)

  def forward():
    # The router scales its input in place, which autograd forbids for a leaf.
    return module(tokens.clone() if num_experts else tokens)

  def run():
    module.zero_grad()
    tokens.grad = None
    loss = forward().square().sum()
    if num_experts:
      router_logits = logits.pop()
      loss = loss + 0.01 * switch_transformers.load_balancing_loss_func(
          router_logits.softmax(-1), router_logits.argmax(-1)
      )
    loss.backward()

  facts = {"weight_bytes": _weight_bytes(module)}
  if num_experts:
    # A token without a slot leaves the layer as zeros.
    with torch.no_grad():
      facts["processed"] = float(forward().any(dim=-1).float().mean())
    logits.clear()
  _warm(run, form)
  return worker.Work({"layer": run}, facts)


def _weight_bytes(module: torch.nn.Module) -> int:
  return sum(4 * p.numel() for p in module.parameters())


def _model(sizes: Mapping[str, int], capacity_factor: float):
  """The model; Hugging Face counts capacity per sequence."""

  def capacity(length):
    return int(capacity_factor * sizes[length] / sizes["num_experts"])

  model = transformers.SwitchTransformersForConditionalGeneration(
      _config(sizes, capacity("inputs"))
  )
  for module in model.decoder.modules():
    if isinstance(module, switch_transformers.SwitchTransformersTop1Router):
      module.expert_capacity = max(1, capacity("targets"))
  return model


def _ids(sizes: Mapping[str, int], name: str) -> torch.Tensor:
  ids = worker.ids(
      sizes["batch"], sizes[name], sizes["vocabulary"], seed=len(name)
  )
  return torch.from_numpy(ids.astype(np.int64))


def step(form: Collection[str] = (), **sizes) -> worker.Work:
  """A training step."""
  _prepare_process(form)
  model = _model(sizes, capacity_factor=1.25).train()
  _compile(model, form)
  if forms.PYTORCHS_ADAFACTOR in form:
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.001)
  else:
    optimizer = transformers.optimization.Adafactor(
        model.parameters(), lr=0.001, scale_parameter=True, relative_step=False
    )
  inputs, targets = _ids(sizes, "inputs"), _ids(sizes, "targets")

  def run():
    optimizer.zero_grad()
    with _precision(form):
      loss = model(
          input_ids=inputs, labels=targets, output_router_logits=True
      ).loss
    loss.backward()
    optimizer.step()

  _warm(run, form)
  return worker.Work({"step": run}, {"weight_bytes": _weight_bytes(model)})


def decode(form: Collection[str] = (), **sizes) -> worker.Work:
  """Greedy decoding of a batch."""
  _prepare_process(form)
  model = _model(sizes, capacity_factor=2.0).eval()
  with torch.no_grad():
    model.shared.weight.mul_(worker.EMBEDDING_SCALE)
  _compile(model, form)
  if forms.PACKED_WEIGHTS in form:
    model = mkldnn.to_mkldnn(model)
  inputs = _ids(sizes, "inputs")
  cache = (
      {"cache_implementation": "static"} if forms.STATIC_CACHE in form else {}
  )

  def run():
    with _precision(form):
      return model.generate(
          inputs,
          num_beams=1,
          do_sample=False,
          min_new_tokens=sizes["targets"],
          max_new_tokens=sizes["targets"],
          **cache,
      )

  _warm(run, form)
  outputs = run()[:, 1:]  # Without the start token.
  return worker.Work(
      {"decode": run},
      {
          "tokens": outputs.numel(),
          "different_tokens": len(outputs.unique()),
      },
  )


def matmul(size: int) -> worker.Work:
  """The product of two square matrices."""
  matrix = torch.from_numpy(worker.tokens(1, size, size)[0])
  return worker.Work(
      {"matmul": lambda: matrix @ matrix}, worker.matmul_facts(size)
  )


if __name__ == "__main__":
  # As many threads as TensorFlow starts.
  torch.set_num_threads(worker.num_threads())
  worker.serve(
      {work.__name__: work for work in (layer, step, decode, matmul)},
      {
          name: importlib.metadata.version(name)
          for name in ("torch", "transformers")
      },
  )
