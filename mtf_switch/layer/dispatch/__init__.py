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

"""Strategies that carry out a `Routing`: tokens to their experts and back.

All give the same numbers; `contract.Dispatcher` is their interface.
"""

from mtf_switch.layer.dispatch.blocks import BlockDispatcher  # noqa: F401
from mtf_switch.layer.dispatch.contract import Dispatcher  # noqa: F401
from mtf_switch.layer.dispatch.einsum import EinsumDispatcher  # noqa: F401
from mtf_switch.layer.dispatch.index import IndexDispatcher  # noqa: F401
from mtf_switch.layer.dispatch.ragged import RaggedDispatcher  # noqa: F401
from mtf_switch.layer.dispatch.tokens import TokenDispatcher  # noqa: F401
