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

"""The report of runs: one page of what they have left in their directories."""

from collections.abc import Sequence

from mtf_switch.pages import curve_sections
from mtf_switch.pages import load_sections
from mtf_switch.pages import page
from mtf_switch.pages import record_sections
from mtf_switch.pages import run_files


def render(runs: Sequence[run_files.Run]) -> str:
  """Returns the page, in HTML.

  Args:
    runs: one or more.
  """
  names = ", ".join(run.name for run in runs)
  sections = [record_sections.overview(runs), curve_sections.quality(runs)]
  if len(runs) > 1 and not record_sections.different_vocabularies(runs):
    sections.append(curve_sections.speed_up(runs))
  sections += [
      record_sections.warnings(runs),
      curve_sections.training(runs),
      load_sections.routing(runs),
      load_sections.load(runs),
      record_sections.evaluations(runs),
      record_sections.configuration(runs),
      record_sections.versions(runs),
  ]
  title = "A run" if len(runs) == 1 else f"{len(runs)} runs"
  return page.render(f"{title} of run_switch", names, sections)
