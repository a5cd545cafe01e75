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

"""Numbers of the text that no table has."""

# Section 2.2: the coefficient of the load-balance loss, the range that was
# swept, and the share of tokens that are dropped, in percent.
SECTION_2_2_ALPHA = 1e-2
SECTION_2_2_ALPHAS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
SECTION_2_2_PERCENT_DROPPED = 1

# Section 2.4: dropout and expert dropout of fine-tuning.
SECTION_2_4_DROPOUT = 0.1
SECTION_2_4_EXPERT_DROPOUT = 0.4

# Section 3: tokens of a batch and steps of the longest pre-training.
SECTION_3_TOKENS_PER_BATCH = 2**20
SECTION_3_STEPS = 550_000

# Section 3.1: Switch-Base with 64 experts at the first step is as good as
# T5-Base at the second.
SECTION_3_1_EXPERTS = 64
SECTION_3_1_STEPS = (60_000, 450_000)
SECTION_3_1_SPEED_UP = 7.5

# Section 3.3: the FLOPs per token of T5-Large to those of T5-Base.
SECTION_3_3_FLOPS_RATIO = 3.5

# Section 4.2: parameters of teacher to student (Table 6), and the soft share.
SECTION_4_2_RATIO = 20
SECTION_4_2_SOFT_FRACTION = 0.25

# Section 4.3: steps of the multilingual runs.
SECTION_4_3_STEPS = 1_000_000

# Section 5.6: the FLOPs of Switch-XXL are "nearly 10x" those of Switch-C.
SECTION_5_6_FLOPS_RATIO = 10
# Switch-XXL and Switch-C are better than T5-XXL at 250k steps, by more than
# this.
SECTION_5_6_GAIN = 0.061
# Switch-XXL after 503B tokens of pre-training and multi-task training.
SECTION_5_6_TOKENS = 503e9
SECTION_5_6_SQUAD = 89.7
SECTION_5_6_SUPER_GLUE_TEST = 87.5
SECTION_5_6_ANLI = 65.7
SECTION_5_6_NATURAL_QUESTIONS = 34.4
SECTION_5_6_WEB_QUESTIONS = 41.0
SECTION_5_6_TRIVIA_QA = 47.5

# Section 8: SQuAD of Switch-XXL (another number than section 5.6's) and C.
SECTION_8_SQUAD = 89.6
SECTION_8_SQUAD_SWITCH_C = 87.7

# Appendix A: tokens of a batch (Table 10).
APPENDIX_A_TOKENS_PER_BATCH = 524e3
