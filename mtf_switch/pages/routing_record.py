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

"""Where tokens go: what was read, and the record of it as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtf_switch.pages import pieces as pieces_lib
from mtf_switch.pages import routing_analysis as analysis
from mtf_switch.training import token_routing

# Of the schema in docs/watching.md.
FORMAT = 1
_TYPICAL = 12


class Example(NamedTuple):
  """A sequence, or a pair of them.

  Attributes:
    number: of its line, or its place in its task, from 1.
    task: the name of the task, "" for a file.
    ids: `[tokens]` by feature, the end of the sequence included.
    is_own: whether the targets are the decoder's own output.
  """

  number: int
  task: str
  ids: Mapping[str, np.ndarray]
  is_own: bool = False

  def tokens(self, feature: str) -> np.ndarray:
    """Returns the ids that layers read at each position of a feature.

    Args:
      feature: "inputs"; or "targets", where a decoder reads a start, 0, and
        then each token but the last.
    """
    ids = self.ids[feature]
    return ids if feature == "inputs" else np.append(0, ids)[: len(ids)]


class Reading(NamedTuple):
  """The routing of all examples with a checkpoint.

  Attributes:
    model_dir: the run's directory.
    step: the checkpoint's.
    layers: the Switch layers.
    shown: for each example that is shown, the Tokens of each layer, without
      padding.
    experts: for each layer `[tokens, choices]`, of all examples.
    asked: the same shapes, bool.
  """

  model_dir: str
  step: int
  layers: Sequence[token_routing.Layer]
  shown: Sequence[Sequence[token_routing.Tokens]]
  experts: Sequence[np.ndarray]
  asked: Sequence[np.ndarray]

  @property
  def name(self) -> str:
    """The checkpoint for people."""
    return f"{self.model_dir}, step {self.step}"


class InTraining(NamedTuple):
  """The routing of the examples that are shown in a training batch.

  Attributes:
    batch: the number of the batch.
    seed: of the run that has it.
    asked: for each layer, the choices of all tokens of the batch as it is.
    dropped: for each layer, those that found no slot.
    rows: for each example that is shown, the row of the batch that it is in.
    shown: as in Reading, with the examples in the batch.
  """

  batch: int
  seed: int
  asked: Sequence[int]
  dropped: Sequence[int]
  rows: Sequence[int]
  shown: Sequence[Sequence[token_routing.Tokens]]

  @property
  def name(self) -> str:
    """The batch for people."""
    return f"training batch {self.batch} of seed {self.seed}"


class Routing(NamedTuple):
  """All that the page, the record and the terminal show.

  Attributes:
    source: what the examples are, for people.
    task: the name of the task.
    pieces: the texts of tokens by feature.
    examples: all examples; the first ones are shown.
    readings: by checkpoint.
    main: the number of the reading whose tokens are shown.
    in_training: the same checkpoint in training; None if it was left out.
  """

  source: str
  task: str
  pieces: Mapping[str, pieces_lib.Pieces]
  examples: Sequence[Example]
  readings: Sequence[Reading]
  main: int
  in_training: InTraining | None

  @property
  def shown(self) -> Sequence[Example]:
    """The examples whose tokens are shown."""
    return self.examples[: len(self.readings[self.main].shown)]


class LayerAnalysis(NamedTuple):
  """What the experts of a layer take.

  Attributes:
    layer: the layer.
    load: `[num_experts]` integers, the choices of each expert.
    tables: the counts by "token", "class", "position" and, of several, "task".
    information: of the same tables, by name.
    names: what the values of the tables are called, by name, in their order.
    typical: for each expert, tokens and their counts there; see
      routing_analysis.typical.
  """

  layer: token_routing.Layer
  load: np.ndarray
  tables: Mapping[str, analysis.Table]
  information: Mapping[str, analysis.Information]
  names: Mapping[str, Sequence[str]]
  typical: Sequence[Sequence[tuple[str, int]]]


def analyse(routing: Routing, reading: Reading) -> list[LayerAnalysis]:
  """Returns what the experts of each layer take.

  Args:
    routing: for the examples.
    reading: one of its readings.
  """
  kinds = {
      feature: _kinds(routing, feature)
      for feature in {layer.feature for layer in reading.layers}
  }
  return [
      _analyse_layer(routing, layer, kinds[layer.feature], experts, asked)
      for layer, experts, asked in zip(
          reading.layers, reading.experts, reading.asked
      )
  ]


def _kinds(routing: Routing, feature: str) -> dict[str, np.ndarray]:
  """What each token of all examples is, `[tokens]` by name."""
  sequences = [example.tokens(feature) for example in routing.examples]
  lengths = [len(x) for x in sequences]
  pieces = routing.pieces[feature]
  tasks = sorted({x.task for x in routing.examples})
  kinds = {
      "token": np.concatenate(sequences),
      "class": np.concatenate([pieces.classes(x) for x in sequences]),
      "position": pieces_lib.position_bin(
          np.concatenate([np.arange(n) for n in lengths])
      ),
  }
  if len(tasks) > 1:
    numbers = [tasks.index(x.task) for x in routing.examples]
    kinds["task"] = np.repeat(numbers, lengths)
  return kinds


def _analyse_layer(
    routing: Routing, layer, kinds, experts, asked
) -> LayerAnalysis:
  tables = {
      name: analysis.count(values, experts, asked, layer.num_experts)
      for name, values in kinds.items()
  }
  pieces = routing.pieces[layer.feature]
  tasks = sorted({x.task for x in routing.examples})
  names = {
      "class": [pieces_lib.CLASSES[i] for i in tables["class"].values],
      "position": [
          pieces_lib.bin_name(int(i)) for i in tables["position"].values
      ],
  }
  if "task" in tables:
    names["task"] = [tasks[i] for i in tables["task"].values]
  return LayerAnalysis(
      layer=layer,
      load=tables["class"].counts.sum(axis=0),
      tables=tables,
      information={
          name: analysis.information(table.counts)
          for name, table in tables.items()
      },
      names=names,
      typical=[
          [(pieces.text(token), count) for token, count in of_expert]
          for of_expert in analysis.typical(tables["token"], _TYPICAL)
      ],
  )


def changes(routing: Routing) -> list[list[analysis.Change]]:
  """Returns the changes from each reading to the next, layer by layer."""
  return [
      [
          analysis.change(
              [one.experts[number], other.experts[number]],
              [one.asked[number], other.asked[number]],
              layer.num_experts,
          )
          for number, layer in enumerate(one.layers)
      ]
      for one, other in zip(routing.readings, routing.readings[1:])
  ]


def next_best(tokens: token_routing.Tokens) -> tuple[np.ndarray, np.ndarray]:
  """Returns the most probable expert that a token does not pass.

  Args:
    tokens: of a sequence.

  Returns:
    the experts, `[length]`, and their probabilities; -1 and 0 where there is no
    other expert.
  """
  is_taken = np.any(
      (tokens.best[:, :, np.newaxis] == tokens.experts[:, np.newaxis])
      & tokens.asked[:, np.newaxis],
      axis=-1,
  )
  place = np.argmin(is_taken, axis=-1)[:, np.newaxis]
  experts = np.take_along_axis(tokens.best, place, axis=-1)[:, 0]
  probabilities = np.take_along_axis(tokens.best_probabilities, place, axis=-1)[
      :, 0
  ]
  has_other = ~is_taken.all(axis=-1)
  return np.where(has_other, experts, -1), np.where(
      has_other, probabilities, 0.0
  )


def is_dropped(tokens: token_routing.Tokens) -> np.ndarray:
  """Returns which choices found no slot, `[length, choices]` bool."""
  return tokens.asked & ~tokens.kept


def as_json(
    routing: Routing,
    analyses: Sequence[Sequence[LayerAnalysis]],
    changed: Sequence[Sequence[analysis.Change]],
) -> dict[str, Any]:
  """Returns the record; docs/watching.md has its schema.

  Args:
    routing: what was read.
    analyses: of each reading.
    changed: of `changes`.
  """
  main = routing.readings[routing.main]
  training = routing.in_training
  return {
      "format": FORMAT,
      "source": routing.source,
      "task": routing.task,
      "num_examples": len(routing.examples),
      "layers": [layer._asdict() for layer in main.layers],
      "main": routing.main,
      "checkpoints": [
          {
              "model_dir": reading.model_dir,
              "step": reading.step,
              "layers": [_analysis_as_json(x) for x in of_reading],
          }
          for reading, of_reading in zip(routing.readings, analyses)
      ],
      "changes": [[x._asdict() for x in of_pair] for of_pair in changed],
      "training_batch": (
          training
          and {
              "batch": training.batch,
              "seed": training.seed,
              "asked": training.asked,
              "dropped": training.dropped,
          }
      ),
      "examples": [
          _example_as_json(routing, number, example)
          for number, example in enumerate(routing.shown)
      ],
  }


def _analysis_as_json(found: LayerAnalysis) -> dict[str, Any]:
  return {
      "load": found.load,
      "information": {
          name: {**x._asdict(), "above_shuffled": x.above_shuffled}
          for name, x in found.information.items()
      },
      "tables": {
          name: {"names": names, "counts": found.tables[name].counts}
          for name, names in found.names.items()
      },
      "typical_tokens": found.typical,
  }


def _example_as_json(
    routing: Routing, number: int, example: Example
) -> dict[str, Any]:
  main, training = routing.readings[routing.main], routing.in_training
  layers = []
  for place, tokens in enumerate(main.shown[number]):
    other, probability = next_best(tokens)
    layer = {
        "experts": tokens.experts,
        "probabilities": np.round(tokens.probabilities.astype(float), 5),
        "asked": tokens.asked,
        "next_expert": other,
        "next_probability": np.round(probability.astype(float), 5),
        "dropped": is_dropped(tokens),
    }
    if training:
      there = training.shown[number][place]
      layer["in_training"] = {
          "experts": there.experts,
          "asked": there.asked,
          "dropped": is_dropped(there),
      }
    layers.append(layer)
  return {
      "number": example.number,
      "task": example.task,
      "training_row": training and training.rows[number],
      "is_own_output": example.is_own,
      "tokens": {
          feature: {
              "ids": example.tokens(feature),
              "texts": [
                  routing.pieces[feature].text(int(i))
                  for i in example.tokens(feature)
              ],
          }
          for feature in example.ids
      },
      "layers": layers,
  }
