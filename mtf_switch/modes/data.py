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

"""The modes about data, which need no model and no gin file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import itertools
import sys
from typing import Any

import numpy as np
import rich.console
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.training import caching
from mtf_switch.training import data_checks
from mtf_switch.training import inputs
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training.experiment import find_task
from mtf_switch.training.experiment import Lengths

# T5's, for tasks whose lengths gin does not give; see objectives/.
_LENGTH = 512
_TARGETS_LENGTH = 114
# A longer raw text is cut.
_MAX_CHARACTERS = 1000
_COLUMNS = ("name", "data", "source", "splits", "metrics")


def list_tasks(run: run_lib.Run, console: rich.console.Console):
  """Prints the tasks and mixtures to stdout; T5's own are only counted.

  For people on a terminal, where the languages of a corpus share a row;
  elsewhere a line for each, with tabs between columns.

  Args:
    run: not used, as no model is.
    console: the console for notes.
  """
  # Here and not above, where it could be the user's own module of that name.
  import tasks as tasks_lib  # pylint: disable=g-import-not-at-top

  del run
  output = rich.console.Console(file=sys.stdout)
  own = sorted(set(seqio.TaskRegistry.names()) - tasks_lib.T5_TASKS)
  found = [seqio.TaskRegistry.get(name) for name in own]
  if output.is_terminal:
    groups = itertools.groupby(found, lambda task: family(task.name))
    rows = [_row(name, list(group)) for name, group in groups]
  else:
    rows = [_row(task.name, [task]) for task in found]
  for name in sorted(seqio.MixtureRegistry.names()):
    parts = seqio.get_subtasks(seqio.MixtureRegistry.get(name))
    if not {task.name for task in parts} <= tasks_lib.T5_TASKS:
      families = dict.fromkeys(sorted(family(task.name) for task in parts))
      source = f"mixture of {', '.join(families)}"
      if len(families) < len(parts):
        source += f", {len(parts)} tasks"
      columns = _row(name, parts)
      rows.append((*columns[:2], source, *columns[3:]))
  if output.is_terminal:
    terminal.table(output, _COLUMNS, rows, num_left=len(_COLUMNS))
  else:
    print(*("\t".join(row) for row in [_COLUMNS, *rows]), sep="\n")
  if tasks_lib.T5_TASKS:
    progress.Display(console).note(
        f"T5's own {len(tasks_lib.T5_TASKS)} tasks work too, for example "
        f"{min(tasks_lib.T5_TASKS)}."
    )


def family(name: str) -> str:
  """The name that the languages of a corpus share: "mc4.*" of "mc4.de"."""
  family, dot, _ = name.partition(".")
  return f"{family}.*" if dot else name


def _row(name: str, tasks: Sequence[seqio.Task]) -> tuple[str, ...]:
  """The columns of a task, or of several together."""
  splits = dict.fromkeys(split for task in tasks for split in _splits(task))
  metrics = dict.fromkeys(
      _metric_name(metric) for task in tasks for metric in task.metric_fns
  )
  count = f", {len(tasks)} tasks" if len(tasks) > 1 else ""
  return (
      name,
      presence(tasks),
      _source(tasks[0]) + count,
      ", ".join(splits),
      ", ".join(metrics),
  )


def _source(task: seqio.Task) -> str:
  """The description of a source of this project; the type of another."""
  if hasattr(task.source, "describe"):
    return task.source.describe()
  return type(task.source).__name__


def _metric_name(metric: Callable) -> str:
  """The description of a metric that gin chooses; the name of another."""
  if hasattr(metric, "describe"):
    return metric.describe()
  return seqio.function_name(metric)


def _splits(task: seqio.Task) -> Sequence[str]:
  """The names of a task's splits."""
  if isinstance(task.source, seqio.TfdsDataSource) and not hasattr(
      task.source, "describe"
  ):
    return ["?"]  # seqio would ask the network.
  return list(task.splits)


def presence(tasks: Sequence[seqio.Task]) -> str:
  """Whether the data of tasks is there.

  Args:
    tasks: a task, or several that share a row.

  Returns:
    "yes", "no", or "?" for a source that cannot tell; of one task the splits
    that are missing, "no train"; of several, how many can be trained on, or
    used at all if they have no training split, "3 of 7".
  """
  sources = [task.source for task in tasks]
  if not all(hasattr(source, "missing_splits") for source in sources):
    return "?"
  missing = [source.missing_splits() for source in sources]
  if len(tasks) == 1 and 0 < len(missing[0]) < len(sources[0].splits):
    return f"no {', '.join(missing[0])}"
  count = sum(
      "train" not in names and len(names) < len(source.splits)
      for source, names in zip(sources, missing)
  )
  if count in (0, len(tasks)):
    return "yes" if count else "no"
  return f"{count} of {len(tasks)}"


def inspect(
    run: run_lib.Run,
    console: rich.console.Console,
    task: str | None = None,
    split: str = "train",
    num_examples: int | None = None,
):
  """Prints raw records of a task, and the examples that a model is fed.

  Args:
    run: not used, as no model is.
    console: the console for progress.
    task: the name of a task or mixture; None for gin's.
    split: the split.
    num_examples: how many of a task; None for 3, or 1 of each of a mixture.

  Raises:
    UserError: there is no such task or split.
    DataError: the data is missing.
  """
  del run
  provider = _provider("inspect", task)
  tasks = [x for x in seqio.get_subtasks(provider) if split in x.splits]
  if not tasks:
    raise errors.UserError(
        f"{provider.name!r} has no {split!r} split; it has "
        f"{', '.join(sorted(provider.splits))}."
    )
  num_examples = num_examples or (1 if len(tasks) > 1 else 3)
  for one in tasks:
    with (
        progress.Display(console) as display,
        display.working(f"reading the {split} split of {one.name}"),
    ):
      lines = list(_inspection(one, split, num_examples))
    print(*lines, sep="\n")


def _provider(mode: str, task: str | None) -> seqio.Task | seqio.Mixture:
  """The task or mixture of the flag, else of gin."""
  name = (
      task or strict_gin.value("Experiment.task") or strict_gin.value("%task")
  )
  if not name:
    raise errors.UserError(
        f"--mode={mode} needs --task=NAME; --mode=tasks lists the names."
    )
  return find_task(name)


def _inspection(
    task: seqio.Task, split: str, num_examples: int
) -> Iterator[str]:
  """The lines that `inspect` prints about a task."""
  data_checks.check_files(task, split)
  lengths = _lengths(task)
  records = _first(
      lambda: task.source.get_dataset(split, shuffle=False), num_examples
  )
  examples = _first(
      lambda: task.get_dataset(lengths, split, shuffle=False, seed=0),
      num_examples,
  )
  yield f"{task.name}, {split} split: {_source(task)}"
  yield "lengths: " + ", ".join(f"{k} {n}" for k, n in lengths.items())
  for number in range(max(len(records), len(examples))):
    for title, found in (("record", records), ("example", examples)):
      if number < len(found):
        yield f"{title} {number + 1}"
        values = found[number]
        if not isinstance(values, Mapping):  # The lines of a text, say.
          values = {"value": values}
        for name, value in values.items():
          if title == "example" and name in task.output_features:
            vocabulary = task.output_features[name].vocabulary
            yield f"  {name}: {readable(vocabulary, value)}"
            ids = " ".join(map(str, value.tolist()))
            yield f"  {name}, {len(value)} ids: {ids}"
          else:
            yield f"  {name}: {_shown(value)}"
  yield ""


def _lengths(task: seqio.Task) -> dict[str, int]:
  """Positions of each feature: gin's, else T5's for pre-training."""
  features = task.output_features
  lengths = strict_gin.value("Experiment.sequence_length")
  if lengths is None:
    lengths = strict_gin.value("%sequence_length")
  if lengths is None:
    lengths = {}
  else:
    values.check("sequence_length", lengths, Lengths)
  if isinstance(lengths, int):
    lengths = dict.fromkeys(features, lengths)
  default = dict.fromkeys(features, _LENGTH)
  if "inputs" in features:
    default["targets"] = _TARGETS_LENGTH
  return {name: lengths.get(name, default[name]) for name in features}


def _first(make_dataset, count: int) -> list[dict[str, Any]]:
  """The first examples of a dataset, which is made in a graph of its own."""
  with tf.Graph().as_default():
    tf.set_random_seed(0)
    dataset = inputs.without_autograph(make_dataset)
    return list(itertools.islice(tfds.as_numpy(dataset), count))


def readable(vocabulary: seqio.Vocabulary, ids: Sequence[int]) -> str:
  """The text of token ids, with every end and sentinel in its place.

  Args:
    vocabulary: the ids' vocabulary. Its own decoding stops at the first end,
      and that of bytes leaves sentinels out.
    ids: token ids; sentinels are the last of the vocabulary.
  """
  parts = []
  for special, run in itertools.groupby(
      map(int, ids), lambda i: _special(vocabulary, i)
  ):
    run = list(run)
    parts.append(special * len(run) if special else str(vocabulary.decode(run)))
  return terminal.visible("".join(parts))


def _special(vocabulary: seqio.Vocabulary, token_id: int) -> str:
  """The name of an id that decoding would lose, else nothing."""
  if token_id == vocabulary.eos_id:
    return "</s>"
  sentinel = vocabulary.vocab_size - 1 - token_id
  if sentinel < vocabulary.extra_ids and not vocabulary.decode([token_id]):
    return f"<extra_id_{sentinel}>"
  return ""


def _shown(value: Any) -> str:
  """A value of a record on one line, cut if it is long."""
  if isinstance(value, Mapping):
    return "{" + ", ".join(f"{k}: {_shown(v)}" for k, v in value.items()) + "}"
  value = np.asarray(value)
  if value.ndim:
    text = "[" + ", ".join(map(_shown, value)) + "]"
  elif isinstance(value.item(), bytes):
    text = value.item().decode("utf-8", errors="replace")
  else:
    text = str(value.item())
  if len(text) > _MAX_CHARACTERS:
    text = f"{text[:_MAX_CHARACTERS]}... ({len(text):,} characters)"
  return terminal.visible(text)


def cache(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    task: str | None = None,
):
  """Writes a task's preprocessed examples, for many runs.

  Args:
    run: not used, as no model is.
    console: the console for progress.
    output_dir: the directory of the caches.
    task: the name of a task, or of a mixture, for each of its tasks; None for
      gin's.

  Raises:
    UserError: a task cannot be cached, or its directory has something else.
    DataError: the data is missing.
  """
  del run
  provider = _provider("cache", task)
  with progress.Display(console) as display:
    for one in seqio.get_subtasks(provider):
      caching.write(one, output_dir, display)
