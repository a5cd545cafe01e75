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

"""What the paper prints: tables, a figure's labels and sentences, as data.

Table 9 is in mtf_switch/table9.py, which prints it.

Fedus, Zoph and Shazeer, "Switch Transformers", JMLR 23 (2022), no. 120; arXiv
2101.03961 v3. Numbers that are rounded in print stand as the printed text.
Quality is the negative log perplexity.
"""

from typing import NamedTuple

# Table 1: Switch-Base+ is Switch-Base with another width and more heads.
TABLE_1_BASE_PLUS = {"d_model": (768, 896), "heads": (14, 16)}

# Table 6: T5-Base distilled from Switch-Base.
TABLE_6_STUDENT = "223M"
TABLE_6_TEACHER = "3,800M"
TABLE_6_STUDENT_ALONE = -1.636
TABLE_6_TEACHER_QUALITY = -1.444
# Technique: (quality of the student, percent of the teacher's gain).
TABLE_6_DISTILLED = {
    "Distillation": (-1.631, 3),
    "+ Init. non-expert weights from teacher": (-1.598, 20),
    "+ 0.75 mix of hard and soft loss": (-1.580, 29),
}
# Teacher to student, in parameters: the caption of Table 6, and the text.
TABLE_6_CAPTION_RATIO = 100
SECTION_4_2_RATIO = 20


class Table7Column(NamedTuple):
  teacher: str
  teacher_quality: float
  distilled: float
  percent_of_gain: int
  percent_compressed: int


# Table 7: the same student, and teachers with ever more experts. The table
# prints the teachers' parameters; the experts follow from them.
TABLE_7 = {
    16: Table7Column("1.1B", -1.505, -1.587, 37, 82),
    32: Table7Column("2.0B", -1.474, -1.585, 32, 90),
    64: Table7Column("3.8B", -1.444, -1.579, 30, 95),
    128: Table7Column("7.4B", -1.432, -1.582, 27, 97),
    256: Table7Column("14.7B", -1.427, -1.578, 28, 99),
}


class Table8Row(NamedTuple):
  parameters: str
  flops: str
  superglue: float


# Table 8: the same after fine-tuning on SuperGLUE.
TABLE_8 = {
    "T5-Base": Table8Row("223M", "124B", 74.6),
    "Switch-Base": Table8Row("7410M", "124B", 81.3),
    "Distilled T5-Base": Table8Row("223M", "124B", 76.6),
}
TABLE_8_PERCENT_OF_GAIN = 30

# Table 5, the same two models and task.
TABLE_5_SUPERGLUE = {"T5-Base": 75.1, "Switch-Base": 79.5}

# Figures 1 and 4: the points of the scaling curve, from one expert (T5-Base)
# to 256, whose sizes Figure 4's caption gives.
FIGURE_1_EXPERTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FIGURE_4_ENDS = {1: "223M", 256: "14.7B"}

# Section 3.3: the FLOPs per token of T5-Large to those of T5-Base.
SECTION_3_3_FLOPS_RATIO = 3.5
# Section 5.6: the FLOPs of Switch-XXL are "nearly 10x" those of Switch-C.
SECTION_5_6_FLOPS_RATIO = 10
# Section 5.6: Switch-XXL and Switch-C are better than T5-XXL at 250k steps, by
# more than this.
SECTION_5_6_GAIN = 0.061

# Table 1, Switch-Base by capacity factor, after 100k steps and by hours to the
# threshold; the text above it says that lower factors do better.
TABLE_1_SWITCH_BASE = {
    2.0: (-1.554, 72.8),
    1.25: (-1.553, 65.0),
    1.0: (-1.561, 62.8),
}

# Switch-Base with 32 experts in float32, examples a second.
TABLE_2_SPEED = 1160
TABLE_10_SPEED = 1480

# Table 11: the caption says "lower is better", the header points up, and the
# text prefers input jitter, the highest.
TABLE_11 = {
    "Argmax": -1.471,
    "Sample softmax": -1.570,
    "Input dropout": -1.480,
    "Input jitter": -1.468,
}

# SQuAD of Switch-XXL.
SECTION_5_6_SQUAD = 89.7
SECTION_8_SQUAD = 89.6
