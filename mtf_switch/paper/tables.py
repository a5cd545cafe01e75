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

"""The eleven tables. A dict has a table's rows by what their labels print."""

from typing import NamedTuple


class Table1Row(NamedTuple):
  """Quality after 100k steps, on 32 TPU v3 cores.

  `hours_to_threshold` is None for a model that did not reach the threshold in
  its 100k steps.
  """

  quality: float
  hours_to_threshold: float | None
  examples_per_second: int


TABLE_1_THRESHOLD = -1.50
TABLE_1_STEPS = 100_000
TABLE_1_CORES = 32
TABLE_1_EXPERTS = 128

# By model and capacity factor. MoE is top-2 routing.
TABLE_1 = {
    ("T5-Base", None): Table1Row(-1.731, None, 1600),
    ("T5-Large", None): Table1Row(-1.550, 131.1, 470),
    ("MoE-Base", 2.0): Table1Row(-1.547, 68.7, 840),
    ("Switch-Base", 2.0): Table1Row(-1.554, 72.8, 860),
    ("MoE-Base", 1.25): Table1Row(-1.559, 80.7, 790),
    ("Switch-Base", 1.25): Table1Row(-1.553, 65.0, 910),
    ("MoE-Base", 1.0): Table1Row(-1.572, 80.1, 860),
    ("Switch-Base", 1.0): Table1Row(-1.561, 62.8, 1000),
    ("Switch-Base+", 1.0): Table1Row(-1.534, 67.6, 780),
}

# Switch-Base+ is Switch-Base with another width and more heads.
TABLE_1_BASE_PLUS = {"d_model": (768, 896), "heads": (14, 16)}


class Table2Row(NamedTuple):
  """Quality and speed at an early step."""

  quality: float
  examples_per_second: int
  diverged: bool = False


TABLE_2_EXPERTS = 32
# Switch-Base by precision.
TABLE_2 = {
    "float32": Table2Row(-1.718, 1160),
    "bfloat16": Table2Row(-3.780, 1390, diverged=True),
    "selective": Table2Row(-1.716, 1390),
}


class Table3Row(NamedTuple):
  """Quality over the seeds."""

  mean: float
  standard_deviation: float


TABLE_3_EXPERTS = 32
TABLE_3_STEPS = 3_500
TABLE_3_SEEDS = 3
# By the scale of the initial weights.
TABLE_3 = {0.1: Table3Row(-2.72, 0.01), 1.0: Table3Row(-3.60, 0.68)}


class Table4Row(NamedTuple):
  """Validation scores, in percent; ROUGE-2 for CNN/DailyMail."""

  glue: float
  cnn_dailymail: float
  squad: float
  super_glue: float


# Tokens of pre-training.
TABLE_4_TOKENS = 34e9
# By model, dropout and expert dropout.
TABLE_4 = {
    ("T5-Base", 0.1, None): Table4Row(82.9, 19.6, 83.5, 72.4),
    ("Switch-Base", 0.1, None): Table4Row(84.7, 19.1, 83.7, 73.0),
    ("Switch-Base", 0.2, None): Table4Row(84.4, 19.2, 83.9, 73.2),
    ("Switch-Base", 0.3, None): Table4Row(83.9, 19.6, 83.4, 70.7),
    ("Switch-Base", 0.1, 0.4): Table4Row(85.2, 19.6, 83.7, 73.0),
}


class Table5Row(NamedTuple):
  """Validation scores, in percent; ROUGE-2 for XSum."""

  glue: float
  squad: float
  super_glue: float
  winogrande: float
  xsum: float
  anli: float
  arc_easy: float
  arc_challenge: float
  web_questions: float
  natural_questions: float
  trivia_qa: float


TABLE_5 = {
    "T5-Base": Table5Row(
        84.3, 85.5, 75.1, 66.6, 18.7, 51.8, 56.7, 35.5, 26.6, 25.8, 24.5
    ),
    "Switch-Base": Table5Row(
        86.7, 87.2, 79.5, 73.3, 20.3, 54.0, 61.3, 32.8, 27.4, 26.8, 30.7
    ),
    "T5-Large": Table5Row(
        87.8, 88.1, 82.7, 79.1, 20.9, 56.6, 68.8, 35.5, 27.7, 27.6, 29.5
    ),
    "Switch-Large": Table5Row(
        88.5, 88.6, 84.7, 83.0, 22.3, 58.6, 66.0, 35.5, 31.3, 29.5, 36.9
    ),
}


class Table6Row(NamedTuple):
  """`percent_of_gain` is None where the table prints no share."""

  quality: float
  percent_of_gain: int | None = None


TABLE_6_STUDENT = "223M"
TABLE_6_TEACHER = "3,800M"
# The two models, the student with each technique on top of those before it, and
# the initialization without distillation.
TABLE_6 = {
    "T5-Base": Table6Row(-1.636),
    "Switch-Base": Table6Row(-1.444),
    "Distillation": Table6Row(-1.631, 3),
    "+ Init. non-expert weights from teacher": Table6Row(-1.598, 20),
    "+ 0.75 mix of hard and soft loss": Table6Row(-1.580, 29),
    "Init. non-expert weights from teacher": Table6Row(-1.639),
}
# Teacher to student, in parameters, by the caption; text.SECTION_4_2_RATIO.
TABLE_6_CAPTION_RATIO = 100


class Table7Column(NamedTuple):
  """A teacher and its student."""

  teacher: str
  teacher_quality: float
  distilled: float
  percent_of_gain: int
  percent_compressed: int


# The same student, and teachers with ever more experts. The table prints the
# teachers' parameters; the experts follow from them.
TABLE_7 = {
    16: Table7Column("1.1B", -1.505, -1.587, 37, 82),
    32: Table7Column("2.0B", -1.474, -1.585, 32, 90),
    64: Table7Column("3.8B", -1.444, -1.579, 30, 95),
    128: Table7Column("7.4B", -1.432, -1.582, 27, 97),
    256: Table7Column("14.7B", -1.427, -1.578, 28, 99),
}


class Table8Row(NamedTuple):
  """A model's size, FLOPs of a sequence, and validation score."""

  parameters: str
  flops: str
  super_glue: float


# Distillation of a model that was fine-tuned on SuperGLUE.
TABLE_8 = {
    "T5-Base": Table8Row("223M", "124B", 74.6),
    "Switch-Base": Table8Row("7410M", "124B", 81.3),
    "Distilled T5-Base": Table8Row("223M", "124B", 76.6),
}
TABLE_8_PERCENT_OF_GAIN = 30


class Table9Row(NamedTuple):
  """`layers` counts the layers of one stack."""

  parameters: str
  flops: str
  d_model: int
  geglu: bool
  d_ff: int
  d_kv: int
  heads: int
  expert_frequency: float | None
  layers: int
  experts: int | None
  at_250k: float
  at_500k: float


TABLE_9 = {
    "T5-Base": Table9Row(
        "0.2B", "124B", 768, True, 2048, 64, 12, None, 12, None, -1.599, -1.556
    ),
    "T5-Large": Table9Row(
        "0.7B", "425B", 1024, True, 2816, 64, 16, None, 24, None, -1.402, -1.350
    ),
    "T5-XXL": Table9Row(
        "11B", "6.3T", 4096, True, 10240, 64, 64, None, 24, None, -1.147, -1.095
    ),
    "Switch-Base": Table9Row(
        "7B", "124B", 768, True, 2048, 64, 12, 1 / 2, 12, 128, -1.370, -1.306
    ),
    "Switch-Large": Table9Row(
        "26B", "425B", 1024, True, 2816, 64, 16, 1 / 2, 24, 128, -1.248, -1.177
    ),
    "Switch-XXL": Table9Row(
        "395B", "6.3T", 4096, True, 10240, 64, 64, 1 / 2, 24, 64, -1.086, -1.008
    ),
    "Switch-C": Table9Row(
        "1571B", "890B", 2080, False, 6144, 64, 32, 1, 15, 2048, -1.096, -1.043
    ),
}


class Table10Row(NamedTuple):
  """Quality after 100k steps and after 16 hours; None where it diverged."""

  at_100k: float | None
  at_16_hours: float | None
  examples_per_second: int | None


TABLE_10_EXPERTS = 32
# By where the experts are and the precision.
TABLE_10 = {
    ("Experts FF", "float32"): Table10Row(-1.548, -1.614, 1480),
    ("Expert Attention", "float32"): Table10Row(-1.524, -1.606, 1330),
    ("Expert Attention", "bfloat16"): Table10Row(None, None, None),
    ("Experts FF + Attention", "float32"): Table10Row(-1.513, -1.607, 1240),
    ("Experts FF + Attention", "bfloat16"): Table10Row(None, None, None),
}

# By the router's policy. The caption says "lower is better", the header points
# up, and the text prefers input jitter, the highest.
TABLE_11 = {
    "Argmax": -1.471,
    "Sample softmax": -1.570,
    "Input dropout": -1.480,
    "Input jitter": -1.468,
}
