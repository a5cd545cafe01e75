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

"""Writes docs/paper_tables.md; run `python -m tests.regression.page`."""

from collections.abc import Iterable, Sequence
import pathlib

from mtf_switch import markdown
from mtf_switch.paper import figures
from mtf_switch.paper import tables
from mtf_switch.paper import text
from mtf_switch.planning import accounting
from mtf_switch.planning import table9
from tests.regression import ours

PATH = pathlib.Path(__file__).resolve().parents[2] / "docs/paper_tables.md"

_PAGE = """\
# The paper's tables and this code

`python -m tests.regression.page` writes this page from the paper's figures
(`mtf_switch/paper`) and those that `mtf_switch/planning/accounting.py`
computes; a test fails if the page is out of date. Parameters are counted
exactly, in the Mesh TensorFlow graph that the gin file builds, with an
embedding of {rows} rows. FLOPs are those of the forward pass of one sequence of
{inputs} inputs and {targets} targets, counted as in the paper, after Kaplan et
al. (2020), and without the router.

## Table 9: models

{table_9}

`run_switch --mode=plan --plan_table9` prints this table from the gin files.
If a file differs from its row, the file whose name ends in `_table9` has the
row as printed. The routers, which are not counted, would add {router_base:.1f}%
to the FLOPs of Switch-Base and, with 2048 experts in every layer,
{router_c:.1f}% to those of Switch-C.

## Tables 6 and 7: distillation

The student is T5-Base: {student} in print, {our_student} here. Its share of the
teacher's gain is (student - T5-Base) / (teacher - T5-Base). Qualities are
printed with three decimals, so that each share is a range.

{table_6}

{table_7}

Table 8, on SuperGLUE: the teacher with 128 experts has {teacher_8} parameters
in print, {our_teacher_8} here; the student keeps {share_8}% of the gain in
print, {our_share_8:.1f}% here.

## Figures 1 and 4: experts

{figure_1}

## Where the paper contradicts itself, or what was released: sizes

The tests in `tests/regression` contain both values.

{sizes}

## Where the paper contradicts itself: results

No code here computes these.

{results}
"""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  return markdown.table(header, rows, num_left=len(header))


def _parameters(file: str, unit: str = "B", **changes) -> str:
  return table9.in_unit_of(unit, ours.parameters(file, **changes))


def _flops(file: str, unit: str = "B", **changes) -> str:
  return table9.in_unit_of(unit, ours.flops(file, **changes))


def _table_9() -> str:
  rows = []
  for file, model in table9.FILES.items():
    row = tables.TABLE_9[model]
    rows.append(
        [
            model,
            f"`models/{file}.gin`",
            row.parameters,
            _parameters(file, row.parameters),
            row.flops,
            _flops(file, row.flops),
        ]
    )
  return _table(
      ["model", "file", "parameters, paper", "here", "FLOPs, paper", "here"],
      rows,
  )


def _share_of_gain(distilled: float, teacher: float) -> str:
  low, high = ours.percent_of_gain_range(
      distilled, tables.TABLE_6["T5-Base"].quality, teacher
  )
  return f"{low:.1f} to {high:.1f}"


def _table_6() -> str:
  teacher = tables.TABLE_6["Switch-Base"].quality
  rows = []
  for technique, (quality, percent) in tables.TABLE_6.items():
    if percent is None:
      continue
    share = _share_of_gain(quality, teacher)
    rows.append([technique, f"{quality:.3f}", str(percent), share])
  return _table(
      ["Table 6, 64 experts", "quality", "% of gain, paper", "here"], rows
  )


def _table_7() -> str:
  student = ours.parameters("t5_base")
  rows = []
  for experts, column in tables.TABLE_7.items():
    teacher = ours.parameters("switch_base", num_experts=experts)
    small_student = ours.percent_compressed(2e8, table9.number(column.teacher))
    rows.append(
        [
            str(experts),
            column.teacher,
            table9.in_unit_of("B", teacher),
            str(column.percent_of_gain),
            _share_of_gain(column.distilled, column.teacher_quality),
            str(column.percent_compressed),
            f"{ours.percent_compressed(student, teacher):.1f}",
            f"{small_student:.1f}",
        ]
    )
  return _table(
      [
          "Table 7, experts",
          "teacher, paper",
          "here",
          "% of gain, paper",
          "here",
          "% compressed, paper",
          "here",
          "with a student of 0.2B",
      ],
      rows,
  )


def _figure_1() -> str:
  rows = []
  for experts in figures.FIGURE_1_EXPERTS:
    rows.append(
        [
            str(experts),
            figures.FIGURE_4_ENDS.get(experts, ""),
            _parameters("switch_base", num_experts=experts),
            _flops("switch_base", num_experts=experts),
        ]
    )
  return _table(["experts", "parameters, paper", "here", "FLOPs, here"], rows)


def _ratio(larger: float, smaller: float) -> str:
  return f"{larger / smaller:.2f}"


def _sizes() -> str:
  """Sizes that the paper gives in two ways, and the gin files' choice."""
  compressed = [
      str(column.percent_compressed) for column in tables.TABLE_7.values()
  ]
  counted = [
      "{:.0f}".format(
          ours.percent_compressed(
              ours.parameters("t5_base"),
              ours.parameters("switch_base", num_experts=experts),
          )
      )
      for experts in tables.TABLE_7
  ]
  rows = [
      (
          "feed-forward of T5-Large and Switch-Large",
          "Table 9: GEGLU with d_ff 2816, which makes"
          f" {_parameters('t5_large_table9')} and"
          f" {_parameters('switch_large_table9')} parameters,"
          f" {_flops('t5_large_table9')} FLOPs",
          "Table 9: 0.7B and 26B parameters, 425B FLOPs; ReLU with d_ff 4096"
          f" makes {_parameters('t5_large')}, {_parameters('switch_large')} and"
          f" {_flops('t5_large')}",
          "ReLU 4096",
      ),
      (
          "experts of Switch-XXL",
          "Table 9: 64, which make"
          f" {_parameters('switch_xxl_table9')} parameters",
          "Table 9: 395B parameters; 128 experts make"
          f" {_parameters('switch_xxl')}",
          "128",
      ),
      (
          "heads of Switch-C",
          "Table 9: 32 and 890B FLOPs; 32 heads make" f" {_flops('switch_c')}",
          "the released configuration: 30, which make"
          f" {_flops('switch_c', num_heads=30)}",
          "32",
      ),
      (
          "feed-forward of T5-Base and Switch-Base",
          "Table 9: GEGLU with d_ff 2048",
          "the released configuration: ReLU with d_ff 3072, which makes the"
          " same parameters and FLOPs",
          "GEGLU 2048",
      ),
      (
          "heads of Switch-Base",
          "Table 9: 12",
          "Table 1: 14, and 16 in Switch-Base+; but heads of 64 fill d_model"
          " 768 with 12, and 896 with 14",
          "12",
      ),
      (
          "tied embeddings",
          "Table 9: 0.2B parameters for T5-Base",
          "Tables 6 to 8: 223M, which needs tied embeddings; without,"
          f" {_parameters('t5_base', 'M', tied_embeddings=False)}",
          "tied in Base and Large; not in XXL and C, as in T5 1.1",
      ),
      (
          "parameters of Switch-Base",
          "Table 8: 7410M",
          "Table 7: 7.4B, Table 9: 7B",
          _parameters("switch_base", "M"),
      ),
      (
          "FLOPs of T5-Large to T5-Base",
          f"section 3.3: {text.SECTION_3_3_FLOPS_RATIO}",
          f"Table 9: {ours.printed_flops_ratio('T5-Large', 'T5-Base'):.2f}",
          _ratio(ours.flops("t5_large"), ours.flops("t5_base")),
      ),
      (
          "FLOPs of Switch-XXL to Switch-C",
          f"section 5.6: nearly {text.SECTION_5_6_FLOPS_RATIO}",
          f"Table 9: {ours.printed_flops_ratio('Switch-XXL', 'Switch-C'):.2f}",
          _ratio(ours.flops("switch_xxl"), ours.flops("switch_c")),
      ),
      (
          "compression",
          f"Table 7: {', '.join(compressed)}%, which a student of 0.2B makes",
          f"Table 7: a student of 223M, which makes {', '.join(counted)}%",
          "a student of 223M",
      ),
      (
          "parameters of teacher to student",
          f"caption of Table 6: {tables.TABLE_6_CAPTION_RATIO}",
          f"text: about {text.SECTION_4_2_RATIO}",
          _ratio(
              ours.parameters("switch_base", num_experts=64),
              ours.parameters("t5_base"),
          ),
      ),
  ]
  return _table(["what", "in one place", "in another", "here"], rows)


def _results() -> str:
  table_9 = tables.TABLE_9
  t5_xxl = table_9["T5-XXL"].at_250k
  best_of_table_6 = max(
      row.quality for row in tables.TABLE_6.values() if row.percent_of_gain
  )
  switch_base = [tables.TABLE_1["Switch-Base", x] for x in (2.0, 1.25, 1.0)]
  experts_ff = tables.TABLE_10["Experts FF", "float32"]
  models = ("T5-Base", "Switch-Base")
  table_5 = [str(tables.TABLE_5[model].super_glue) for model in models]
  table_8 = [str(tables.TABLE_8[model].super_glue) for model in models]
  rows = [
      (
          "gain over T5-XXL at 250k steps",
          f"section 5.6: over {text.SECTION_5_6_GAIN} for both models",
          "Table 9: Switch-XXL"
          f" {table_9['Switch-XXL'].at_250k - t5_xxl:.3f}, Switch-C"
          f" {table_9['Switch-C'].at_250k - t5_xxl:.3f}",
      ),
      (
          "student of the teacher with 64 experts",
          f"Table 6: {best_of_table_6:.3f}",
          f"Table 7: {tables.TABLE_7[64].distilled:.3f}",
      ),
      (
          "SuperGLUE of T5-Base and Switch-Base",
          f"Table 5: {' and '.join(table_5)}",
          f"Table 8: {' and '.join(table_8)}",
      ),
      (
          "SQuAD of Switch-XXL",
          f"section 5.6: {text.SECTION_5_6_SQUAD}",
          f"section 8: {text.SECTION_8_SQUAD}",
      ),
      (
          "capacity factors 2.0, 1.25, 1.0",
          "section 2.3: lower ones do better",
          "Table 1: after 100k steps "
          + ", ".join(f"{row.quality:.3f}" for row in switch_base)
          + "; only in hours "
          + ", ".join(str(row.hours_to_threshold) for row in switch_base),
      ),
      (
          "examples per second, 32 experts in float32",
          "Table 2:" f" {tables.TABLE_2['float32'].examples_per_second}",
          f"Table 10: {experts_ff.examples_per_second}",
      ),
      (
          "Table 11, negative log perplexity",
          "caption: lower is better",
          "header and text: higher is, as with input jitter's"
          f" {tables.TABLE_11['Input jitter']}",
      ),
  ]
  return _table(["what", "in one place", "in another"], rows)


def _router_percent(name: str) -> float:
  """The FLOPs of a model's routers, in percent of those that are counted."""
  size = ours.size(name)
  # Two FLOPs per weight and token; half of the routers are in each stack.
  routers = (
      accounting.num_sparse_layers(size) * size.d_model * size.num_experts
  ) * (table9.INPUTS_LENGTH + table9.TARGETS_LENGTH)
  return 100 * routers / ours.flops(name)


def render() -> str:
  """The page, from the paper's numbers and ours."""
  table_8 = tables.TABLE_8
  return _PAGE.format(
      rows=ours.VOCABULARY_ROWS,
      inputs=table9.INPUTS_LENGTH,
      targets=table9.TARGETS_LENGTH,
      table_9=_table_9(),
      router_base=_router_percent("switch_base"),
      router_c=_router_percent("switch_c"),
      student=tables.TABLE_6_STUDENT,
      our_student=_parameters("t5_base", "M"),
      table_6=_table_6(),
      table_7=_table_7(),
      teacher_8=table_8["Switch-Base"].parameters,
      our_teacher_8=_parameters("switch_base", "M"),
      share_8=tables.TABLE_8_PERCENT_OF_GAIN,
      our_share_8=ours.percent_of_gain(
          table_8["Distilled T5-Base"].super_glue,
          table_8["T5-Base"].super_glue,
          table_8["Switch-Base"].super_glue,
      ),
      figure_1=_figure_1(),
      sizes=_sizes(),
      results=_results(),
  )


if __name__ == "__main__":
  PATH.write_text(render())
