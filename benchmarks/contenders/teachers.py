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
from collections.abc import Mapping
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
  run = runs.dense_run(sizes)
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
        (run.gin_directories, run.gin_location_prefixes),
        mix,
    ).change_loss_at
  elif lessons == "cached":
    teacher = _cached_teacher(batch, run, mix)
    change_loss_at = teacher.change_loss_at
    batches = teacher.change_batches(batches, 0, [])
  features = tf.data.make_one_shot_iterator(batches).get_next()
  return runs.watched(runs.training_work(run, features, change_loss_at), "step")


def _cached_teacher(
    batch: Mapping[str, np.ndarray], run: run_lib.Run, mix: distillation.Mix
) -> cached_teacher.CachedTeacher:
  """A teacher that has left made-up lessons for copies of a batch."""
  shape = [*batch["targets"].shape, _CHOICES]
  tokens = np.broadcast_to(np.arange(_CHOICES), shape)
  log_probs = -np.log(2.0 + np.sort(np.random.default_rng(0).random(shape)))
  names = (*batch, *distillation.CACHED)
  lessons = zip(*batch.values(), tokens, log_probs, log_probs[..., 0])
  rows = [dict(zip(names, lesson)) for lesson in lessons]
  record = {
      "teacher_step": 0,
      "teacher_sha256": None,
      "features": list(batch),
      "steps": _CACHED_BATCHES,
      "steps_per_file": _CACHED_BATCHES,
      "batch_size": len(batch["targets"]),
      "sequence_length": run.experiment.lengths,
      "choices": _CHOICES,
  }
  serialized = teacher_cache_writing.serialize(
      rows, teacher_cache.dtypes(record)
  )
  directory = tempfile.mkdtemp()
  (path,) = teacher_cache.paths(directory, record)
  with tf.io.TFRecordWriter(path, teacher_cache.COMPRESSION) as writer:
    for _ in range(_CACHED_BATCHES):
      writer.write(serialized)
  return cached_teacher.CachedTeacher(directory, record, mix)


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
