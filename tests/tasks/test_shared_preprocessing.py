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

"""Tasks that share their preprocessing."""

import functools

import numpy as np
import pytest
import seqio
import tensorflow.compat.v1 as tf
import tensorflow_datasets as tfds

from tasks import file_sources
from tasks import pretraining
from tasks import shared_preprocessing

LENGTHS = {"inputs": 16, "targets": 8}


def source_of(language):
  """Nine documents of a language."""

  def documents(split, shuffle_files, seed=None):
    del split, shuffle_files, seed
    return tf.data.Dataset.from_tensor_slices(
        {"text": [f"{language} says {3 * n} " * (n + 1) for n in range(9)]}
    )

  return seqio.FunctionDataSource(documents, splits=["train"])


def mixture(task_class, preprocessors, features):
  """A mixture of three languages, by one class of tasks."""
  tasks = [
      task_class(
          f"{language}_{task_class.__name__.lower()}",
          source=source_of(language),
          preprocessors=preprocessors,
          output_features=features,
          shuffle_buffer_size=10,
      )
      for language in ("elvish", "klingon", "volapuk")
  ]
  # The names differ between the classes: rates go by the number.
  rates = enumerate(tasks, start=1)
  return seqio.Mixture("languages", [(task, float(n)) for n, task in rates])


FEATURES = {
    name: seqio.Feature(seqio.ByteVocabulary(), add_eos=True)
    for name in ("inputs", "targets")
}


def span_corruption(task_class):
  return mixture(task_class, pretraining.SPAN_CORRUPTION, FEATURES)


def examples_of(provider, seed, num_examples=40):
  """The first examples of a session of its own."""
  with tf.Graph().as_default():
    dataset = provider.get_dataset(
        LENGTHS, "train", shuffle=True, seed=seed, num_epochs=None
    )
    return list(tfds.as_numpy(dataset.take(num_examples)))


def count_functions(provider):
  """The functions in the graph of a dataset."""
  with tf.Graph().as_default() as graph:
    provider.get_dataset(LENGTHS, "train", shuffle=True, seed=0)
    return len(graph.as_graph_def().library.function)


@pytest.mark.parametrize("seed", [0, 5])
def test_examples_and_their_order_are_those_of_separate_tasks(seed):
  shared = examples_of(span_corruption(shared_preprocessing.SharedTask), seed)
  separate = examples_of(span_corruption(seqio.Task), seed)
  assert len(shared) == len(separate) == 40
  # The same operations with the same seeds: bit for bit.
  for one, other in zip(shared, separate):
    assert one.keys() == other.keys() == set(LENGTHS)
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


def test_a_graph_has_the_preprocessing_of_many_tasks_once():
  task_of_many = span_corruption(shared_preprocessing.SharedTask)
  one = count_functions(task_of_many.tasks[0])
  # Each of more tasks adds its choice of features only.
  assert count_functions(task_of_many) - one <= 3 + 1
  assert count_functions(span_corruption(seqio.Task)) > 2 * one


def test_tasks_of_files_share_the_reading_too():
  def of_files(languages):
    return seqio.Mixture(
        "languages",
        [
            shared_preprocessing.SharedTask(
                language,
                source=file_sources.FilesSource(
                    lambda split, language=language: [f"{language}.txt"],
                    read_file,
                    as_example,
                    ["train"],
                    lambda: "files",
                ),
                preprocessors=pretraining.SPAN_CORRUPTION,
                output_features=FEATURES,
                shuffle_buffer_size=10,
            )
            for language in languages
        ],
        default_rate=1.0,
    )

  many = count_functions(of_files(["elvish", "klingon", "volapuk"]))
  # The choice of features, and that of the task.
  assert many - count_functions(of_files(["elvish"])) <= 2 + 1
  read = examples_of(of_files(["elvish", "klingon"]), seed=3)
  texts = [FEATURES["inputs"].vocabulary.decode(x["inputs"]) for x in read]
  assert any("elv" in x for x in texts) and any("kli" in x for x in texts)


def read_file(file):
  return (f"{file[:3]} {n}".encode() * 3 for n in range(9))


def as_example(text):
  return {"text": text}


def test_calls_are_left_as_they_are():
  """TensorFlow prepares the functions in a call's place for each call."""
  with tf.Graph().as_default() as graph:
    span_corruption(shared_preprocessing.SharedTask).get_dataset(
        LENGTHS, "train", shuffle=True, seed=0
    )
  definition = graph.as_graph_def()
  called = {
      node.attr["f"].func.name
      for node in definition.node
      if node.op in ("PartitionedCall", "StatefulPartitionedCall")
  }
  functions = {
      function.signature.name: function
      for function in definition.library.function
  }
  assert len(called) == 3  # Before the cache, after it, and the cuts.
  assert all(functions[name].attr["_noinline"].b for name in called)


def note(dataset, output_features, calls):
  """A preprocessor that notes its calls."""
  calls.append(output_features)
  return dataset.map(lambda example: {"targets": tf.range(len(calls))})


def test_each_graph_is_traced_once_however_many_there_are():
  calls = []
  preprocessors = [functools.partial(note, calls=calls)]
  feature = seqio.Feature(seqio.ByteVocabulary())
  provider = mixture(
      shared_preprocessing.SharedTask, preprocessors, {"targets": feature}
  )
  for number in (1, 2):
    examples_of(provider, seed=number, num_examples=3)
    assert len(calls) == number


def test_tasks_that_differ_share_nothing():
  def cut(dataset, length):
    return dataset.map(lambda x: {"targets": tf.range(length)})

  features = {"targets": seqio.Feature(seqio.ByteVocabulary())}
  tasks = [
      shared_preprocessing.SharedTask(
          f"a_task_of_{length}",
          source=source_of("elvish"),
          preprocessors=[functools.partial(cut, length=length)],
          output_features=features,
      )
      for length in (2, 3)
  ]
  with tf.Graph().as_default():
    lengths = [
        len(
            next(iter(tfds.as_numpy(task.get_dataset(None, shuffle=False))))[
                "targets"
            ]
        )
        for task in tasks
    ]
  assert lengths == [2, 3]


def test_a_changed_copy_shares_too():
  calls = []
  features = {"targets": seqio.Feature(seqio.ByteVocabulary())}
  changed = [functools.partial(note, calls=calls)]
  provider = mixture(shared_preprocessing.SharedTask, [], features)
  with tf.Graph().as_default():
    for task in provider.tasks:
      task.replace(preprocessors=changed).get_dataset(None, shuffle=False)
  assert len(calls) == 1
