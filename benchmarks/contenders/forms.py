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

"""What makes Hugging Face's models faster, by the names in the tables.

A form is any number of these; none make the eager form, which users run.
Standard library only: both environments import it.
"""

COMPILED_PARTS = "compiled parts"
PYTORCHS_ADAFACTOR = "PyTorch's Adafactor"
KEPT_MEMORY = "kept memory"
HUGE_PAGES = "huge pages"
ONE_THREAD = "one thread"
STATIC_CACHE = "static cache"
PACKED_WEIGHTS = "packed weights"
BFLOAT16 = "bfloat16"

# The fastest form of each work, from `python -m benchmarks.peers`.
FASTEST = {
    "layer": [KEPT_MEMORY],
    "step": [KEPT_MEMORY],
    "decode": [KEPT_MEMORY],
}
