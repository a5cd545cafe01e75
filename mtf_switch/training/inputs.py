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

"""Batches for training, evaluation and inference.

Training reads a stream that is a function of the seed alone. The stream
consists of blocks of `steps_per_block` batches; each block is the shuffled,
endless dataset with its own seed. A run that resumes at any step therefore
opens that step's block, skips less than one block of batches, and continues
with the batches of an uninterrupted run. The batches of skipped_batches.py are
left out, which moves the steps at which blocks end.
"""

from collections.abc import Callable, Mapping, Sequence
import functools

from mesh_tensorflow.transformer import dataset as transformer_dataset
import numpy as np
import seqio
from t5.models import mesh_transformer
from t5.models import utils as t5_utils
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from mtf_switch import errors
from mtf_switch.training import alarms
from mtf_switch.training import evaluated_examples
from mtf_switch.training import lost_text
from mtf_switch.training import progress
from mtf_switch.training import skipped_batches
from mtf_switch.training import strict_gin

# Random parts of a task, such as masks, are the same in all evaluations.
EVALUATION_SEED = 0

# The examples of all tasks together that are read before training, or an
# evaluation, to count what is cut and unknown: fewer if they are long.
TRAINING_EXAMPLES_COUNTED = 1000
EVALUATION_EXAMPLES_COUNTED = 10_000
_PIECES_AN_EXAMPLE = 200
_MAX_TASKS_COUNTED = 25

# Of a mixture whose pipelines TensorFlow tunes while they run.
_MAX_TASKS_TUNED = 50


def block_seed(seed: int, block: int) -> int:
  """Returns the seed of one block: 31 bits, unrelated to its neighbours'."""
  state = np.random.SeedSequence([seed, block]).generate_state(1)[0]
  return int(state >> 1)


def training_batches(
    task: str,
    sequence_length: Mapping[str, int],
    batch_size: int,
    seed: int,
    first_step: int,
    steps_per_block: int,
    skipped: Sequence[int] = (),
) -> tf.data.Dataset:
  """Returns the batches from a step until the end of its block.

  Args:
    task: the name of a seqio Task or Mixture.
    sequence_length: positions of each feature.
    batch_size: sequences in a batch.
    seed: determines the order, the mixing and the task's own draws.
    first_step: updates made so far.
    steps_per_block: batches before the dataset is reshuffled and starts again.
    skipped: the numbers of the batches that are left out, in order.

  Returns:
    dicts of `[batch_size, length]` integers.
  """
  first_batch = skipped_batches.batch_of(first_step, skipped)
  block, start = divmod(first_batch, steps_per_block)
  examples = without_autograph(
      functools.partial(
          mesh_transformer.mesh_train_dataset_fn,
          mixture_or_task_name=task,
          sequence_length=sequence_length,
          dataset_split="train",
          seed=block_seed(seed, block),
      )
  )
  batches = examples.batch(batch_size, drop_remainder=True)
  batches = batches.take(steps_per_block).skip(start)
  end = (block + 1) * steps_per_block
  gaps = [number for number in skipped if first_batch < number < end]
  if gaps:
    batches = (
        batches.enumerate(first_batch)
        .filter(lambda number, _: tf.reduce_all(tf.not_equal(number, gaps)))
        .map(lambda _, batch: batch)
    )
  options = tf.data.Options()
  options.deterministic = True
  num_tasks = len(seqio.get_subtasks(seqio.get_mixture_or_task(task)))
  # Its search takes longer than the pipelines that it is to make faster.
  options.autotune.enabled = num_tasks <= _MAX_TASKS_TUNED
  batches = as_built(batches.with_options(options))
  return batches.prefetch(tf.data.AUTOTUNE)


def as_built(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Has TensorFlow read a dataset as it was built, without rewriting it first.

  The rewritten dataset is a copy in which no two tasks share a function, and
  each is prepared anew (see tasks/shared_preprocessing.py). The examples and
  their order are the same.
  """
  options = tf.data.Options()
  options.experimental_optimization.apply_default_optimizations = False
  return dataset.with_options(options)


def without_autograph(build: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
  """Builds a dataset without translating its Python to graph operations.

  T5's preprocessors consist of graph operations already; their translation
  takes two thirds of the time until the first batch. Preprocessors that do need
  it raise a TypeError, for a tensor used as a Python bool, range or length.
  """
  try:
    return tf.autograph.experimental.do_not_convert(build)()
  except TypeError:
    return build()


def evaluation_datasets(
    task: str, sequence_length: Mapping[str, int], split: str
) -> list[transformer_dataset.EvalDataset]:
  """Returns the examples of each task of a mixture, once, in a fixed order.

  No more of each task than gin's `eval.num_examples`.

  Args:
    task: the name of a seqio Task or Mixture.
    sequence_length: positions of each feature.
    split: for example "validation".

  Returns:
    T5's EvalDatasets: name, dataset_fn, postprocess_fn and metric_fns.

  Raises:
    UserError: no task has that split.
  """
  datasets = mesh_transformer.mesh_eval_dataset_fn(
      mixture_or_task_name=task,
      sequence_length=sequence_length,
      dataset_split=split,
      seed=EVALUATION_SEED,
  )
  if not datasets:
    tasks = seqio.get_subtasks(seqio.get_mixture_or_task(task))
    others = sorted({name for one in tasks for name in one.splits})
    raise errors.UserError(
        f"{task!r} has no {split!r} split; it has {', '.join(others)}."
    )
  cap = evaluated_examples.cap()
  return [
      dataset._replace(dataset_fn=cap.apply(dataset.dataset_fn))
      for dataset in datasets
  ]


def evaluation_batches(
    dataset_fns: Sequence[Callable[[], tf.data.Dataset]],
    batch_size: int,
    report: Callable[[int, str], None] = lambda done, details: None,
) -> tf.data.Dataset:
  """Returns batches of all examples, the last of a dataset with empty rows.

  Upstream fills the last batch with copies of real rows, or stops after a
  number of batches, so that its metrics depend on the batch size.

  Args:
    dataset_fns: each returns the examples of a dataset, dicts of `[length]`
      integers.
    batch_size: sequences in a batch.
    report: shows the number of batches and a text, while the pipelines of the
      datasets are built, each of which is one of its own.

  Returns:
    dicts of `[batch_size, length]` integers, in which an empty row is all
    padding, and "dataset", `[batch_size]`: the number of the dataset. No batch
    mixes datasets.
  """
  # tf.data mixes the graph's seed, which is the run's, into each of its own.
  tf.set_random_seed(0)
  # A function, which datasets of equal features share.
  batches_of = tf.function(
      functools.partial(_numbered_batches, batch_size=batch_size),
      autograph=False,
  )
  batches = []
  for number, dataset_fn in enumerate(dataset_fns):
    report(0, f"building data pipeline {number + 1} of {len(dataset_fns)}")
    examples = without_autograph(dataset_fn)
    batches.append(batches_of(examples, tf.constant(number)))
  report(0, "building the model")
  all_batches = functools.reduce(lambda a, b: a.concatenate(b), batches)
  return as_built(all_batches).prefetch(tf.data.AUTOTUNE)


def _numbered_batches(
    examples: tf.data.Dataset, number: tf.Tensor, batch_size: int
) -> tf.data.Dataset:
  """Batches of all examples of a dataset, with its number."""
  batches = examples.map(t5_utils.filter_features).batch(batch_size)
  batches = transformer_dataset.trim_and_pad_dataset(batches, length=batch_size)
  return batches.map(
      lambda features: {**features, "dataset": tf.fill([batch_size], number)}
  )


def count_batches(
    dataset_fns: Sequence[Callable[[], tf.data.Dataset]], batch_size: int
) -> int:
  """Returns the number of `evaluation_batches`, which TPUs need in advance."""
  num_batches = 0
  for dataset_fn in dataset_fns:
    num_batches += -(-evaluated_examples.count(dataset_fn) // batch_size)
  return num_batches


def inference_batches(
    features: Mapping[str, np.ndarray], batch_size: int
) -> tf.data.Dataset:
  """Returns batches to decode or score, the last one with empty rows.

  Args:
    features: `[num_examples, length]` token ids by name.
    batch_size: sequences in a batch.

  Returns:
    dicts of `[batch_size, length]` features, and "batch_number",
    `[batch_size]`, the key of the sampling noise.
  """
  num_examples = len(next(iter(features.values())))
  empty_rows = -num_examples % batch_size
  rows = {
      name: np.pad(ids, [(0, empty_rows), (0, 0)]).astype(np.int32)
      for name, ids in features.items()
  }
  numbers = np.arange(num_examples + empty_rows, dtype=np.int32)
  rows["batch_number"] = numbers // batch_size
  return tf.data.Dataset.from_tensor_slices(rows).batch(
      batch_size, drop_remainder=True
  )


def encode_lines(
    lines: Mapping[int, str],
    vocabulary: seqio.Vocabulary,
    length: int,
    add_eos: bool,
    feature: str,
) -> np.ndarray:
  """Returns the token ids of lines of text, cut or padded to a length.

  Notices say how many lines are cut and how many pieces are unknown.

  Args:
    lines: texts by the number of their line.
    vocabulary: the vocabulary.
    length: positions.
    add_eos: whether to end each line with EOS; an "lm" continues its inputs
      instead.
    feature: "inputs" or "targets", for the notices.

  Returns:
    `[number of lines, length]` int32; a line that is cut still ends with EOS.
  """
  tally = lost_text.Tally(feature, vocabulary, length)
  rows: list[Sequence[int]] = []
  for number, line in lines.items():
    ids = list(vocabulary.encode(line))
    tally.add(f"line {number}", ids, length - add_eos, line)
    ids = ids[: length - add_eos] + [vocabulary.eos_id] * add_eos
    rows.append(ids + [0] * (length - len(ids)))
  tally.warn()
  return np.array(rows, np.int32).reshape(-1, length)


def warn_of_losses(
    experiment,
    split: str,
    reader: str,
    max_examples: int,
    display: progress.Display,
) -> list[alarms.Change]:
  """Says how many examples are cut and how many pieces are unknown.

  Args:
    experiment: the Experiment.
    split: the split that the run reads.
    reader: "mesh_train_dataset_fn" or "mesh_eval_dataset_fn", T5's gin names.
    max_examples: the number of examples to read, of all tasks together; fewer
      if they are long.
    display: the display for progress.

  Returns:
    those losses that are warnings of a run.
  """
  provider, lengths = experiment.provider, experiment.lengths
  tasks = [x for x in seqio.get_subtasks(provider) if split in x.splits]
  limit = -(-max_examples // max(1, len(tasks)))
  num_examples = evaluated_examples.cap().num_examples
  if num_examples is not None and reader == "mesh_eval_dataset_fn":
    limit = min(limit, num_examples)
  tallies = {
      name: lost_text.Tally(name, feature.vocabulary, lengths[name])
      for name, feature in provider.output_features.items()
  }
  is_sample = len(tasks) > _MAX_TASKS_COUNTED
  tasks = tasks[:_MAX_TASKS_COUNTED]
  with (
      tf.Graph().as_default(),  # One for all, which may share preprocessing.
      display.working(
          f"reading the first examples of the {split} split",
          len(tasks),
          "tasks",
      ) as report,
  ):
    for done, task in enumerate(tasks):
      report(done)
      num_pieces = 0
      examples = _before_cuts(task, lengths, split, reader)
      examples = as_built(examples.take(limit))
      for number, example in enumerate(tfds.as_numpy(examples), 1):
        for name, tally in tallies.items():
          num_pieces += len(example[name])
          text = example.get(f"{name}_pretokenized")
          tally.add(
              f"example {number} of {task.name}",
              example[name],
              lengths[name],
              text.decode() if isinstance(text, bytes) else None,
          )
        if number == limit or num_pieces > limit * _PIECES_AN_EXAMPLE:
          is_sample = True
          break
  sample = ", of which only the first examples were read" if is_sample else ""
  for tally in tallies.values():
    tally.warn(f"{split} split{sample}: ")
  return [
      change
      for name, tally in tallies.items()
      for change in tally.changes(f"{name} of the {split} split")
  ]


def _before_cuts(
    task: seqio.Task,
    sequence_length: Mapping[str, int],
    split: str,
    reader: str,
) -> tf.data.Dataset:
  """The examples of a task in their order, not cut at their length."""
  cuts = seqio.preprocessors.append_eos_after_trim
  task = task.replace(
      preprocessors=[
          seqio.preprocessors.append_eos if step is cuts else step
          for step in task.preprocessors
      ]
  )
  use_cached = strict_gin.value(f"{reader}.use_cached")
  return without_autograph(
      lambda: task.get_dataset(
          sequence_length,
          split,
          use_cached=bool(use_cached and task.supports_caching),
          shuffle=False,
          seed=EVALUATION_SEED,
          trim_output_features=False,
          try_in_mem_cache=False,
      )
  )
