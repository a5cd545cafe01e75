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

"""The gin texts of a Switch Transformer that trains in no time."""

SIZES = """
d_model = 16
d_ff = 32
d_kv = 8
num_heads = 2
num_experts = 4
num_cores = 2
"""
# As small as an encoder and a decoder can be.
GIN = f"""
{SIZES}
encoder/transformer.make_layer_stack.layers = [
    @transformer_layers.SelfAttention,
    @SwitchFeedForward,
]
decoder/transformer.make_layer_stack.layers = [
    @transformer_layers.EncDecAttention,
    @SwitchFeedForward,
]
"""
# It learns to copy, for as many steps as the text that follows says.
RUN = f"""
include "models/switch_tiny.gin"
include "layouts/single.gin"
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"

task = "toy_copy"
sequence_length = {{"inputs": 24, "targets": 16}}
batch_size = 4
{GIN}
"""
