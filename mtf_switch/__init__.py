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

"""Switch Transformers in Mesh TensorFlow.

Importing the package puts the version shims in place and registers the layers
with gin. `PACKAGES` is the order in which its packages build on each other: a
package imports those before it and the modules beside this file, never one
after it (tests/test_architecture.py).
"""

from mtf_switch import compat  # isort: skip  # noqa: F401
from mtf_switch import renamed  # isort: skip  # noqa: F401
from mtf_switch.transformer import attention  # noqa: F401
from mtf_switch.transformer import beam_search  # noqa: F401
from mtf_switch.transformer import embedding  # noqa: F401
from mtf_switch.transformer import loss  # noqa: F401
from mtf_switch.transformer import sampling  # noqa: F401
from mtf_switch.transformer import switch_attention  # noqa: F401
from mtf_switch.transformer.feed_forward import SwitchFeedForward  # noqa: F401

__version__ = "0.2.0"

PACKAGES = (
    "paper",
    "layer",
    "mesh",
    "transformer",
    "training",
    "planning",
    "reproduction",
    "conversion",
    "serving",
    "pages",
    "modes",
)
