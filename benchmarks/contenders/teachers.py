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

"""A student of this project, and what its teacher costs alone."""

from benchmarks.contenders import tensorflow_graphs as graphs  # isort: skip
import functools
import tempfile

import numpy as np
import tensorflow.compat.v1 as tf

from benchmarks.contenders import runs
from benchmarks.contenders import worker
from mtf_switch.training import cached_teacher
from mtf_switch.training import prediction_functions
from mtf_switch.training import run as run_lib
from mtf_switch.training import teacher as teacher_lib
from mtf_switch.training import teacher_cache
from mtf_switch.training import teacher_cache_writing
from mtf_switch.transformer import distillation

# The tokens that a teacher leaves for each target, as in runs/teach.gin.
_CHOICES = 16
# More than are read.
_CACHED_BATCHES = 100


def student(lessons: str | None, arena_bytes: int, **sizes) -> worker.Work:
  """A training step of a dense model.

  Args:
    lessons: "asked" for those of a sparse teacher in the graph, "cached" for
      those that one has left on disk; None for labels alone.
    arena_bytes: the bytes that TensorFlow's allocator reserves first.
    **sizes: from models.sizes.

  Returns:
    the run "step", and the tensors' peak memory as a fact.
  """
  run = runs.make(
      ["models/t5_tiny.gin", *runs.TRAINING_FILES],
      [*runs.dense_bindings(sizes), "train_steps = 1"],
  )
  runs.reserve(run, arena_bytes)
  batch = runs.batch_of(run.experiment)
  batches = tf.data.Dataset.from_tensors(batch).repeat()
  mix = distillation.Mix()
  change_loss_at = None
  if lessons == "asked":
    # Its initial values are as good as a checkpoint's.
    change_loss_at = teacher_lib.Teacher(
        run.experiment,
        ["models/switch_tiny.gin"],
        runs.sparse_bindings(sizes),
        ([runs.GIN], []),
        mix,
    ).change_loss_at
  elif lessons == "cached":
    change_loss_at = functools.partial(distillation.distill_by_cache, mix)
    batches = _with_cached_lessons(batches, batch["targets"], run)
  features = tf.data.make_one_shot_iterator(batches).get_next()
  return runs.watched(runs.training_work(run, features, change_loss_at), "step")


def _with_cached_lessons(
    batches: tf.data.Dataset, targets: np.ndarray, run: run_lib.Run
) -> tf.data.Dataset:
  """Adds made-up lessons from a file, as many as a cache has."""
  directory = tempfile.mkdtemp()
  shape = [*targets.shape, _CHOICES]
  tokens = np.broadcast_to(np.arange(_CHOICES, dtype=np.int32), shape)
  log_probs = -np.log(2.0 + np.sort(np.random.default_rng(0).random(shape)))
  lessons = zip(targets, tokens, log_probs, log_probs[..., 0])
  names = ("targets", *distillation.CACHED)
  rows = [dict(zip(names, lesson)) for lesson in lessons]
  record = {
      "steps": _CACHED_BATCHES,
      "steps_per_file": _CACHED_BATCHES,
      "features": ["targets"],
      "batch_size": len(targets),
      "sequence_length": run.experiment.lengths,
      "choices": _CHOICES,
  }
  (path,) = teacher_cache.file_paths(directory, record)
  teacher_cache_writing.write_file(path, record, [rows] * _CACHED_BATCHES)
  teacher = cached_teacher.CachedTeacher(directory, record, distillation.Mix())
  return teacher.change_batches(batches, 0, [])


def score(arena_bytes: int, **sizes) -> worker.Work:
  """The scores of a batch, as --mode=score computes them.

  Args:
    arena_bytes: the bytes that TensorFlow's allocator reserves first.
    **sizes: from models.sizes.

  Returns:
    the run "score", and as facts the tensors' peak memory and the bytes of the
    weights.
  """
  run = runs.make(
      ["models/switch_tiny.gin", "layouts/single.gin", "runs/evaluate.gin"],
      runs.bindings(sizes),
  )
  runs.reserve(run, arena_bytes)
  features = {
      **runs.features_of(run.experiment),
      "batch_number": tf.zeros([sizes["batch"]], tf.int32),
  }
  spec = prediction_functions.scoring_model_fn(run)(
      features, None, tf.estimator.ModeKeys.PREDICT, {}
  )
  session = graphs.open_session(runs.config(run), spec.prediction_hooks)
  scores = spec.predictions["score"]
  weights = sum(x.shape.num_elements() for x in tf.trainable_variables())
  return runs.watched(
      worker.Work(
          {"score": lambda: session.run(scores)}, {"weight_bytes": 4 * weights}
      ),
      "score",
  )
