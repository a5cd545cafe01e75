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

"""Which batches a run leaves out, by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch import errors
from mtf_switch.training import skipped_batches


@pytest.mark.parametrize(
    "skipped, batches",
    [
        ([], [0, 1, 2, 3, 4]),
        ([2], [0, 1, 3, 4, 5]),
        ([0, 1, 4], [2, 3, 5, 6, 7]),
        ([3, 4, 5], [0, 1, 2, 6, 7]),
        ([9], [0, 1, 2, 3, 4]),
    ],
)
def test_batches_of_steps(skipped, batches):
  assert [skipped_batches.batch_of(n, skipped) for n in range(5)] == batches
  for step, batch in enumerate(batches):
    assert skipped_batches.steps_before(batch, skipped) == step


def test_file(tmp_path):
  model_dir = str(tmp_path / "run")
  assert skipped_batches.read(model_dir) == []
  skipped_batches.add(model_dir, 8, 8)
  skipped_batches.add(model_dir, 3, 4)
  assert skipped_batches.read(model_dir) == [3, 8]


@pytest.mark.parametrize("text", ["[{", "[3]", '[{"batch": null}]', '{"a": 1}'])
def test_a_damaged_file_is_refused(tmp_path, text):
  (tmp_path / "skipped_batches.json").write_text(text)
  with pytest.raises(errors.UserError, match="no list of objects"):
    skipped_batches.read(str(tmp_path))
