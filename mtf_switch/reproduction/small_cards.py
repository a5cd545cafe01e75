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

"""The cards at small scale: models of minutes that stand for the paper's.

A card is a gin file, gin/experiments/small/<name>.gin, which `small_card.text`
makes from what is here and `python -m scripts.cards` writes. A name says what a
card is: a model, its number of experts (e16), and what differs from
Switch-Base: its capacity factor (cf), initial scale (s), coefficient of the
load-balance loss (alpha), learning rate (lr), dropout (d), expert dropout (ed).
"""

from mtf_switch.reproduction import small_downstream
from mtf_switch.reproduction import small_pretraining
from mtf_switch.reproduction.small_card import SmallCard  # noqa: F401
from mtf_switch.reproduction.small_card import text  # noqa: F401

SMALL_CARDS = {
    card.name: card
    for card in (*small_pretraining.cards(), *small_downstream.cards())
}
