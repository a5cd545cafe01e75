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

"""Where tokens go as text: coloured, and readable without colours."""

from collections.abc import Iterator, Sequence

import rich.console
import rich.text

from mtf_switch import terminal
from mtf_switch.pages import routing_analysis as analysis
from mtf_switch.pages import routing_record as record_lib
from mtf_switch.training import token_routing

# Of a terminal's 256 colours, those that can be read on black and on white.
_COLOURS = (33, 166, 34, 134, 160, 130, 169, 37)
DROPPED = "x"


def legend(routing: record_lib.Routing) -> str:
  """Returns the line that explains the marks."""
  text = "token/expert; with two choices token/first+second"
  if routing.in_training:
    text += f"; {DROPPED}: dropped in {routing.in_training.name}"
  return text


def marks(
    tokens: token_routing.Tokens, in_training: token_routing.Tokens | None
) -> list[str]:
  """Returns the experts of each token of a sequence, as in "3+5x".

  Args:
    tokens: its routing by a layer.
    in_training: the same in training, which decides what is dropped; None to
      mark what is dropped here.
  """
  dropped = record_lib.is_dropped(
      tokens if in_training is None else in_training
  )
  return [
      "+".join(
          f"{expert}{DROPPED if is_dropped else ''}"
          for expert, is_asked, is_dropped in zip(*of_token)
          if is_asked
      )
      for of_token in zip(tokens.experts, tokens.asked, dropped)
  ]


def example(
    routing: record_lib.Routing, number: int
) -> Iterator[rich.text.Text]:
  """Yields the lines of an example that is shown: a title, and each layer.

  Args:
    routing: what was read.
    number: the example's place.
  """
  shown = routing.shown[number]
  own = ", the decoder's own output" if shown.is_own else ""
  yield rich.text.Text(f"{title(routing, shown)}{own}", "bold")
  main, training = routing.readings[routing.main], routing.in_training
  for place, layer in enumerate(main.layers):
    tokens = main.shown[number][place]
    line = rich.text.Text(f"  {layer.name}, {layer.feature}: ")
    there = training and training.shown[number][place]
    for token, mark, expert in zip(
        shown.tokens(layer.feature), marks(tokens, there), tokens.experts[:, 0]
    ):
      text = terminal.visible(routing.pieces[layer.feature].text(int(token)))
      line.append(
          f"{text}/{mark}", f"color({_COLOURS[expert % len(_COLOURS)]})"
      )
      line.append(" ")
    line.rstrip()
    yield line


def title(routing: record_lib.Routing, shown: record_lib.Example) -> str:
  """Returns the name of an example."""
  task = f" of {shown.task}" if shown.task else f" of {routing.source}"
  return f"{'example' if shown.task else 'line'} {shown.number}{task}"


COLUMNS = (
    "layer",
    "tokens of",
    "experts",
    "bits by token",
    "shuffled",
    "above",
    "most",
    "by class",
    "by position",
)


def specialisation(
    found: Sequence[record_lib.LayerAnalysis],
) -> list[tuple[str, ...]]:
  """Returns rows of COLUMNS, and of a task's information where there is any.

  Args:
    found: the layers of a reading.
  """
  rows = []
  for of_layer in found:
    token = of_layer.information["token"]
    rows.append(
        (
            of_layer.layer.name,
            of_layer.layer.feature,
            str(of_layer.layer.num_experts),
            f"{token.bits:.3f}",
            f"{token.shuffled:.3f}",
            f"{token.above_shuffled:.3f}",
            f"{token.entropy:.3f}",
            *(
                f"{of_layer.information[name].above_shuffled:.3f}"
                for name in ("class", "position", "task")
                if name in of_layer.information
            ),
        )
    )
  return rows


def columns(found: Sequence[record_lib.LayerAnalysis]) -> tuple[str, ...]:
  """Returns the names of the columns of `specialisation`."""
  return COLUMNS + (("by task",) if "task" in found[0].information else ())


CHANGE_COLUMNS = ("layer", "changed", "by chance", "after renaming")


def changes(
    layers: Sequence[token_routing.Layer], found: Sequence[analysis.Change]
) -> list[tuple[str, ...]]:
  """Returns rows of CHANGE_COLUMNS.

  Args:
    layers: the layers.
    found: the changes between two readings, by layer.
  """
  return [
      (layer.name, *(f"{share:.2%}" for share in change))
      for layer, change in zip(layers, found)
  ]
