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

"""Modules under the names that they had in version 0.2.0.

Gin files import them: `import mtf_switch.decoding` goes on working.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys

NEW_NAMES = {
    "mtf_switch.attention": "mtf_switch.transformer.attention",
    "mtf_switch.decoding": "mtf_switch.modes.decode",
    "mtf_switch.experiment": "mtf_switch.training.experiment",
    "mtf_switch.finetuning": "mtf_switch.modes.finetune",
    "mtf_switch.layers": "mtf_switch.transformer.feed_forward",
    "mtf_switch.optimizer": "mtf_switch.transformer.optimizer",
    "mtf_switch.tpu": "mtf_switch.mesh.tpu",
    "mtf_switch.vocabulary": "mtf_switch.transformer.embedding",
}


class _RenamedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Finds a module under its old name; there is only one copy of it."""

  def find_spec(self, fullname, path, target=None):
    if fullname not in NEW_NAMES:
      return None
    return importlib.machinery.ModuleSpec(fullname, self)

  def exec_module(self, module):
    # After this call Python takes the module from sys.modules.
    sys.modules[module.__name__] = importlib.import_module(
        NEW_NAMES[module.__name__]
    )


sys.meta_path.append(_RenamedFinder())
