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

"""Tasks to train on; importing the package registers them with seqio.

`docstrings_span_corruption` needs no download, `c4_span_corruption` is the
paper's task, and `text_files_span_corruption` reads the user's own text; each
has a `_prefix_lm` counterpart and, for decoder-only models, `_full_lm`. `mc4`
and `cldr` are multilingual mixtures, and `pairs_files` reads the user's own
pairs. The import neither reads nor builds anything; a task's first use does.
"""

import seqio

from tasks import c4  # noqa: F401
from tasks import cldr  # noqa: F401
from tasks import downstream  # noqa: F401
from tasks import downstream_mixtures  # noqa: F401
from tasks import mc4  # noqa: F401
from tasks import pairs_files  # noqa: F401
from tasks import pretraining  # noqa: F401
from tasks import sources

# T5 registers these when its preprocessors are imported.
T5_TASKS = frozenset(
    name
    for name in seqio.TaskRegistry.names()
    if not isinstance(seqio.TaskRegistry.get(name).source, sources.Source)
)
