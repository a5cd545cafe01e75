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

"""Answers all questions in turn."""

from benchmarks import decode
from benchmarks import layer
from benchmarks import memory
from benchmarks import pipeline
from benchmarks import questions
from benchmarks import scaling
from benchmarks import slots
from benchmarks import startup
from benchmarks import step
from benchmarks import teacher
from benchmarks import watching

QUESTIONS = [
    module.QUESTION
    for module in (
        layer,
        slots,
        step,
        watching,
        teacher,
        decode,
        scaling,
        memory,
        pipeline,
        startup,
    )
]

if __name__ == "__main__":
  questions.run(QUESTIONS)
