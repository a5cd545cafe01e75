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

"""The modes of run_switch: functions `mode(run, console, **flags)`."""

# For gin files: `import mtf_switch.modes` registers the parameters of all
# modes, so that one file may set those of several.
from mtf_switch.modes import convert  # noqa: F401
from mtf_switch.modes import decode  # noqa: F401
from mtf_switch.modes import distill  # noqa: F401
from mtf_switch.modes import export  # noqa: F401
from mtf_switch.modes import finetune  # noqa: F401
from mtf_switch.modes import interactive  # noqa: F401
from mtf_switch.modes import perplexity  # noqa: F401
from mtf_switch.modes import prune  # noqa: F401
from mtf_switch.modes import teach  # noqa: F401
from mtf_switch.modes import train  # noqa: F401
from mtf_switch.modes import upcycle  # noqa: F401
