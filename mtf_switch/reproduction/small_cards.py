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

"""The cards at small scale: the paper's rows at a size that runs here."""

from collections.abc import Mapping
import types
from typing import NamedTuple


class SmallCard(NamedTuple):
  """A card at small scale.

  Attributes:
    name: its file is gin/experiments/small/<name>.gin.
    mode: "train", "finetune" or "distill" (of run_switch).
    needs: by gin parameter ("pretrained_dir", "teacher_dir"), the name of the
      card whose finished run of the same seed is that directory.
    minutes: of a run on one core, as stated; what runs took here counts as soon
      as there are some.
  """

  name: str
  mode: str = "train"
  needs: Mapping[str, str] = types.MappingProxyType({})
  minutes: float = 2.5


SMALL_CARDS = {
    card.name: card for card in (SmallCard("dense"), SmallCard("switch_16"))
}
