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

"""The lines of the figures and what is quoted in them or in their captions.

Curves can only be looked at: their values are not in print.
"""

# Figures 1 and 4, left: the points of the scaling curve, from one expert
# (T5-Base) to 256, whose sizes Figure 4's caption gives.
FIGURE_1_EXPERTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FIGURE_4_ENDS = {1: "223M", 256: "14.7B"}
# Right: quality by step, beside T5-Base.
FIGURE_4_LINES = (16, 32, 64, 128)

# Quality by time on 32 TPU v3 cores, beside T5-Base; and the arrow.
FIGURE_5_LINES = (32, 64, 128)
FIGURE_5_SPEED_UP = 7.0

# Switch-Base with 64 experts, beside T5-Base and T5-Large; and the arrows.
FIGURE_6_EXPERTS = 64
FIGURE_6_SPEED_UPS = {"T5-Base": 7.0, "T5-Large": 2.5}

# Multilingual: languages that improve, the mean speed-up in steps, and the
# percentage of languages that are at least four times as fast (section 4.3).
FIGURE_7_LANGUAGES = 101
FIGURE_7_TASKS = 107
FIGURE_8_MEAN_SPEED_UP = 5.0
FIGURE_8_PERCENT_OVER_4 = 91

# Few experts, beside T5-Base.
FIGURE_12_LINES = (2, 4, 8)
