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

"""Where tokens go, as a page: coloured tokens, and what each expert takes."""

from collections.abc import Iterator, Sequence

import numpy as np

from mtf_switch.pages import charts
from mtf_switch.pages import page
from mtf_switch.pages import routing_analysis as analysis
from mtf_switch.pages import routing_record as record_lib
from mtf_switch.pages import routing_text
from mtf_switch.training import token_routing

Markup = page.Markup

# Of page.css; with more experts colours repeat, and the number tells.
_NUM_COLOURS = 32
# Some 80 bytes each.
_MOST_TOKENS = 50_000
# The other examples are to be unfolded.
_OPEN = 5
_MAPS = {"class": "Classes", "position": "Positions", "task": "Tasks"}


def render(
    routing: record_lib.Routing,
    analyses: Sequence[Sequence[record_lib.LayerAnalysis]],
    changed: Sequence[Sequence[analysis.Change]],
) -> str:
  """Returns the page, in HTML.

  Args:
    routing: what was read.
    analyses: of each reading.
    changed: of routing_record.changes.
  """
  sections = [
      _overview(routing),
      _sentences(routing),
      _specialisation(routing, analyses),
      _experts(analyses[routing.main]),
      _training(routing),
  ]
  if changed:
    sections.append(_changes(routing, changed))
  main = routing.readings[routing.main]
  return page.render("Where tokens go", main.name, sections)


def _overview(routing: record_lib.Routing) -> page.Section:
  main = routing.readings[routing.main]
  features = sorted({layer.feature for layer in main.layers})
  rows = [
      ["examples", f"{len(routing.examples):,} of {routing.source}"],
      ["task", routing.task],
      *(
          [
              f"tokens of {name}",
              f"{sum(len(x.ids[name]) for x in routing.examples):,}",
          ]
          for name in features
      ),
      *(["checkpoint", x.name] for x in routing.readings),
  ]
  return page.Section("What was read", [page.table(["", ""], rows, 2)])


def _sentences(routing: record_lib.Routing) -> page.Section:
  """The section with the examples that are shown, token by token."""
  main, training = routing.readings[routing.main], routing.in_training
  text = (
      "Each token has the colour and the number of the expert that takes it, "
      "at first the one of several. A decoder reads a start and then each "
      "token of the targets but the last; what stands here is what it reads. "
      "Below the pointer: the router's probability, and the most probable "
      "expert that does not take the token."
  )
  if training:
    text += (
        " Tokens that are struck through would be dropped: they were put into "
        f"{training.name}, where they compete for slots with its tokens, at "
        "the capacity and with the noise of training."
    )
  most = max(layer.num_experts for layer in main.layers)
  blocks = [page.paragraph(text), _legend(most)]
  examples, more = [], len(routing.shown)
  room = _MOST_TOKENS
  for number in range(len(routing.shown)):
    room -= sum(len(x.experts) for x in main.shown[number])
    if room < 0 and examples:
      break
    examples.append(page.joined(_example(routing, number)))
    more -= 1
  blocks += examples[:_OPEN]
  if examples[_OPEN:]:
    count = len(examples) - _OPEN
    blocks.append(page.folded(f"{count} more examples", examples[_OPEN:]))
  if more:
    blocks.append(
        page.note(
            f"{more} more examples are in routing.json alone: this page would "
            "become too large."
        )
    )
  return page.Section("Sentences", blocks)


def _legend(num_experts: int) -> Markup:
  """The experts' colours."""
  return Markup('<p class="tokens">{}</p>').format(
      page.joined(
          Markup('<i class="e{}">{}</i>').format(expert, expert)
          for expert in range(min(num_experts, _NUM_COLOURS))
      )
  )


def _example(routing: record_lib.Routing, number: int) -> Iterator[Markup]:
  """A heading, and a paragraph for each layer."""
  shown = routing.shown[number]
  own = ": the decoder's own output" if shown.is_own else ""
  training = routing.in_training
  row = f" (row {training.rows[number]} of the batch)" if training else ""
  yield page.heading(routing_text.title(routing, shown) + own + row)
  main = routing.readings[routing.main]
  for place, layer in enumerate(main.layers):
    there = training and training.shown[number][place]
    yield Markup('<p class="tokens"><b>{}: {}</b>\n{}</p>').format(
        page.text(layer.name),
        layer.feature,
        page.joined(
            _tokens(
                [
                    routing.pieces[layer.feature].text(int(token))
                    for token in shown.tokens(layer.feature)
                ],
                main.shown[number][place],
                there,
            )
        ),
    )


def _tokens(
    texts: Sequence[str],
    tokens: token_routing.Tokens,
    in_training: token_routing.Tokens | None,
) -> Iterator[Markup]:
  """The tokens of a sequence in a layer."""
  marks = routing_text.marks(tokens, in_training)
  others = record_lib.next_best(tokens)
  is_dropped = record_lib.is_dropped(
      tokens if in_training is None else in_training
  )
  for place, (text, mark, other, probability) in enumerate(
      zip(texts, marks, *others)
  ):
    chosen = [
        f"{expert}: {share:.2f}"
        for expert, share, is_asked in zip(
            tokens.experts[place],
            tokens.probabilities[place],
            tokens.asked[place],
        )
        if is_asked
    ]
    title = ", ".join(chosen)
    if other >= 0:
      title += f"; next {other}: {probability:.2f}"
    if in_training is not None:
      there = in_training.experts[place][in_training.asked[place]]
      here = tokens.experts[place][tokens.asked[place]]
      if sorted(there) != sorted(here):
        title += "; in training " + "+".join(map(str, there))
    yield Markup('<i class="e{}{}" title="{}">{}<sub>{}</sub></i>').format(
        tokens.experts[place][0] % _NUM_COLOURS,
        " dropped" if is_dropped[place].any() else "",
        title,
        page.text(text),
        mark.replace(routing_text.DROPPED, "\u00d7"),
    )


def _specialisation(routing: record_lib.Routing, analyses) -> page.Section:
  """The section with the information of each layer."""
  blocks = [
      page.paragraph(
          "Mutual information of a token and its expert, in bits: how much the "
          "one says about the other. Few tokens of a kind give some by "
          "themselves: the mean after the same tokens are dealt out to the "
          "experts at random is the estimate of this bias, and what is above it"
          " is specialisation. The most is the entropy of the experts. For "
          "classes, positions and tasks what is above the bias is shown."
      )
  ]
  for reading, found in zip(routing.readings, analyses):
    blocks += [
        page.heading(reading.name),
        page.table(
            routing_text.columns(found),
            routing_text.specialisation(found),
            num_left=2,
        ),
    ]
  return page.Section("Specialisation", blocks)


def _experts(found: Sequence[record_lib.LayerAnalysis]) -> page.Section:
  """The section with what the experts of each layer take."""
  blocks = [
      page.paragraph(
          "Maps: the share of a kind of tokens in each expert, relative to its "
          "share in all tokens: blue none, grey the same, red twice as much or "
          "more. Typical tokens are those that add most to the mutual "
          "information: frequent, and more frequent in this expert than "
          "elsewhere; behind them is how often."
      )
  ]
  for of_layer in found:
    layer = of_layer.layer
    blocks.append(page.heading(f"{layer.name}, {layer.feature}"))
    if not of_layer.load.any():  # All own outputs were empty.
      blocks.append(page.paragraph("There are no tokens."))
      continue
    blocks.append(
        page.side_by_side(_map(of_layer, name) for name in of_layer.names)
    )
    total = max(int(of_layer.load.sum()), 1)
    rows = [
        [
            str(expert),
            f"{load / total:.1%}",
            "  ".join(f"{text} {count}" for text, count in typical),
        ]
        for expert, (load, typical) in enumerate(
            zip(of_layer.load, of_layer.typical)
        )
    ]
    table = page.table(["expert", "share", "typical tokens"], rows, num_left=3)
    blocks.append(page.folded(f"{layer.num_experts} experts", [table]))
  return page.Section("Experts", blocks)


def _map(of_layer: record_lib.LayerAnalysis, name: str) -> Markup:
  """The map of kinds and experts."""
  counts = of_layer.tables[name].counts
  return charts.heat_map(
      _MAPS[name],
      "expert",
      (-0.5, of_layer.layer.num_experts - 0.5),
      np.clip(analysis.preferences(counts) / 2, 0, 1),
      of_layer.names[name],
      "",
  )


def _training(routing: record_lib.Routing) -> page.Section:
  """The section with what a training batch drops."""
  training = routing.in_training
  if training is None:
    text = "No training batch was read (routing.training_batch = None)."
    return page.Section("Dropped in training", [page.paragraph(text)])
  rows = []
  for place, layer in enumerate(routing.readings[routing.main].layers):
    shown = [tokens[place] for tokens in training.shown]
    asked = sum(int(x.asked.sum()) for x in shown)
    dropped = sum(int(record_lib.is_dropped(x).sum()) for x in shown)
    rows.append(
        [
            layer.name,
            layer.feature,
            f"{training.asked[place]:,}",
            _share(training.dropped[place], training.asked[place]),
            f"{asked:,}",
            _share(dropped, asked),
        ]
    )
  return page.Section(
      "Dropped in training",
      [
          page.paragraph(
              f"The choices of all tokens of {training.name}, and those of the "
              "sentences above in the place of some of its rows, one in a "
              "group of tokens that compete for slots. The last rows of a "
              "group find the fewest slots; the sentences are spread over all."
          ),
          page.table(
              [
                  *("layer", "tokens of", "choices of the batch", "dropped"),
                  *("choices of the sentences", "dropped"),
              ],
              rows,
              num_left=2,
          ),
      ],
  )


def _share(part: int, total: int) -> str:
  return f"{part / total:.2%}" if total else ""


def _changes(
    routing: record_lib.Routing,
    changed: Sequence[Sequence[analysis.Change]],
) -> page.Section:
  """The section with what changed between checkpoints."""
  blocks = [
      page.paragraph(
          "The share of all tokens that another set of experts takes; what it "
          "would be by chance, with the same loads; and what is left, of first "
          "choices, after the experts of the one have been given the numbers "
          "of those of the other that fit best: of two trainings from the "
          "start the numbers have no relation."
      )
  ]
  for one, other, of_pair in zip(
      routing.readings, routing.readings[1:], changed
  ):
    blocks += [
        page.heading(f"From {one.name} to {other.name}"),
        page.table(
            routing_text.CHANGE_COLUMNS,
            routing_text.changes(one.layers, of_pair),
        ),
    ]
  return page.Section("Changes", blocks)
