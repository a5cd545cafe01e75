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

"""The gin files and bindings here of the models of T5X's fixtures."""

_SIZES = ("d_model = 8", "d_ff = 12", "d_kv = 4", "num_heads = 2")
_DENSE = ("num_layers = 2",)
_SPARSE = (
    "num_blocks = 2",
    "decoder/transformer.make_layer_stack.num_layers = 1",
    "num_experts = 4",
    "num_cores = 1",
)
# By the names of CASES in tests/peers/t5x.py.
MODELS = {
    "t5x_1_0": (
        "models/t5_small.gin",
        (
            *_SIZES,
            *_DENSE,
            "decoder/transformer.make_layer_stack.num_layers = 3",
            'activation = "relu"',
        ),
    ),
    "t5x_1_1": ("models/mt5_base.gin", (*_SIZES, *_DENSE)),
    "switch_base": (
        "models/released/switch_base_8.gin",
        (*_SIZES, *_SPARSE),
    ),
    "switch_xxl": (
        "models/released/switch_xxl_128.gin",
        (*_SIZES, *_SPARSE),
    ),
}
