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

"""This project: the graphs of its modes, in its estimator's session."""

from benchmarks.contenders import tensorflow_graphs as graphs  # isort: skip
from collections.abc import Mapping, Sequence
import gzip
import itertools
import json
import pathlib
import tempfile
from typing import Any

import mesh_tensorflow as mtf
import tensorflow.compat.v1 as tf

from benchmarks.contenders import runs
from benchmarks.contenders import teachers
from benchmarks.contenders import watchers
from benchmarks.contenders import whole_tensors  # noqa: F401  For gin.
from benchmarks.contenders import worker
from mtf_switch.mesh import draws
from mtf_switch.mesh import placement
from mtf_switch.planning import chips
from mtf_switch.planning import plan as plan_lib
from mtf_switch.training import inputs
from mtf_switch.training import prediction_functions
from mtf_switch.training.run import Run
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import loss as loss_lib
from tasks import corpus
from tasks import mc4

# The text, sizes and steps of the questions about small models.
_SMALL_TEXT = str(pathlib.Path(__file__).with_name("small_text.gin"))
# As many as the pipeline reads in parallel.
_SHARDS = 16
# Of each language in a mixture.
_DOCUMENTS = 100


def _training_run(
    sizes: Mapping[str, int], precision: str, optimizer: str
) -> Run:
  return runs.make(
      [
          "models/switch_tiny.gin",
          *runs.TRAINING_FILES,
          f"precision/{precision}.gin",
      ],
      [
          *runs.bindings(sizes),
          f"optimizer = @{optimizer}",
          "train_steps = 1",
      ],
  )


def _memory_run(model: str, bindings: Sequence[str], **sizes: int) -> Run:
  return runs.make(
      [f"models/{model}.gin", *runs.TRAINING_FILES],
      [*runs.data_bindings(sizes), *bindings, "train_steps = 1"],
  )


def layer(
    num_experts: int,
    num_devices: int = 1,
    options: Mapping[str, Any] | None = None,
    **sizes,
) -> worker.Work:
  """One layer: SwitchFeedForward, or DenseReluDense without experts.

  Args:
    num_experts: the experts; 0 for the dense layer.
    num_devices: CPU devices, which the groups are split over.
    options: further options of SwitchFeedForward.
    **sizes: see tensorflow_graphs.layer.

  Returns:
    the run "layer".
  """
  mesh, mesh_impl = placement.place(
      mtf.convert_to_shape([("data", num_devices)]),
      mtf.convert_to_layout_rules("batch:data"),
      [f"cpu:{i}" for i in range(num_devices)],
      seed=0,
      step=None,
  )
  switch = None
  if num_experts:
    switch = feed_forward.SwitchFeedForward(
        num_experts=num_experts,
        num_cores=sizes["groups"],
        hidden_size=sizes["d_ff"],
        **(options or {}),
    )
  config = runs.config(
      runs.make(["models/switch_tiny.gin", _SMALL_TEXT], ["num_cores = 4"])
  )
  config.device_count["CPU"] = num_devices
  return graphs.layer(
      mesh,
      mesh_impl,
      config=config,
      switch=switch,
      num_experts=num_experts,
      **sizes,
  )


def training(
    precision: str = "float32", optimizer: str = "Adafactor", **sizes
) -> worker.Work:
  """A training step, and its forward pass alone."""
  return runs.training_work(_training_run(sizes, precision, optimizer))


def step(precision: str, **sizes) -> worker.Work:
  """A training step."""
  return _only_the_step(training(precision, **sizes))


def dense_step(**sizes) -> worker.Work:
  """A training step of the dense twin."""
  return _only_the_step(runs.training_work(runs.dense_run(sizes)))


def _only_the_step(work: worker.Work) -> worker.Work:
  return work._replace(runs={"step": work.runs["step"]})


def plan(**options) -> worker.Work:
  """The planned memory of a training step."""
  plan_ = plan_lib.plan(
      _memory_run(**options).experiment, chips.measure_this_cpu(), name="plan"
  )
  names = ("weight", "optimizer", "gradient", "activation")
  parts = [getattr(plan_, f"{name}_bytes_per_core") for name in names]
  return worker.Work({}, {"planned_bytes": dict(zip(names, parts))})


def tensors(arena_bytes: int, **options) -> worker.Work:
  """A training step, with its tensors' peak memory as a fact.

  Args:
    arena_bytes: the bytes that TensorFlow's allocator reserves first.
    **options: the arguments of `_memory_run`.

  Returns:
    the run "step".
  """
  run = _memory_run(**options)
  runs.reserve(run, arena_bytes)
  return runs.watched(runs.training_work(run), "step")


def update(optimizer: str = "Adafactor", **sizes) -> worker.Work:
  """The optimizer alone; weights stand in for their gradients."""
  run = _training_run(sizes, "float32", optimizer)
  experiment = run.experiment
  mesh, mesh_impl = placement.place(
      experiment.mesh, experiment.layout, None, seed=0, step=None
  )
  features = placement.import_features(
      mesh,
      runs.features_of(experiment),
      experiment.sequences_per_batch,
      experiment.lengths,
  )
  loss_lib.loss_and_sums(
      experiment.build_model(),
      features,
      tf.estimator.ModeKeys.TRAIN,
      mtf.VariableDType(tf.float32),
  )
  variables = mesh.graph.trainable_variables
  updates = experiment.optimizer(learning_rate=0.001).apply_grads(
      [v.outputs[0] for v in variables], variables
  )
  draws.seed_loops(mesh.graph)
  lowering = mtf.Lowering(mesh.graph, {mesh: mesh_impl})
  assigned = tf.group(*(lowering.lowered_operation(u) for u in updates))
  session = graphs.open_session(
      runs.config(run), [mtf.MtfRestoreHook(lowering)]
  )
  return worker.Work({"optimizer": lambda: session.run(assigned)}, {})


def decode(**sizes) -> worker.Work:
  """Greedy decoding of a batch, as --mode=infer does it."""
  run = runs.make(
      ["models/switch_tiny.gin", "layouts/single.gin", "runs/evaluate.gin"],
      [
          *runs.bindings(sizes),
          f"Bitransformer.decode.max_decode_length = {sizes['targets']}",
          # Initial values of upstream's scale; with small ones, one token is
          # almost certain.
          "initializer_scale = 1.0",
          # No random token ends a sequence early.
          "Unitransformer.sample_autoregressive.stop_at_token = -1",
      ],
  )
  features = {
      "inputs": runs.features_of(run.experiment)["inputs"],
      "batch_number": tf.zeros([sizes["batch"]], tf.int32),
  }
  spec = prediction_functions.decoding_model_fn(run)(
      features, None, tf.estimator.ModeKeys.PREDICT, {}
  )
  work = graphs.decode(
      runs.config(run), spec.prediction_hooks, spec.predictions["outputs"]
  )
  flops = runs.flops(run.experiment, run.experiment.build_model())
  return work._replace(facts={**work.facts, "flops": flops})


def small_step(bindings: Sequence[str]) -> worker.Work:
  """A training step of models/t5_tiny.gin on small_text.gin."""
  return runs.training_work(
      runs.make(["models/t5_tiny.gin", _SMALL_TEXT], bindings)
  )


def pipeline(
    batches: int, bindings: Sequence[str], from_shards: bool
) -> worker.Work:
  """Batches of small_text.gin, or of its text in shards like C4's."""
  if from_shards:
    directory = tempfile.mkdtemp()
    bindings = [
        *bindings,
        "task = 'c4_span_corruption'",
        f"c4.files = '{directory}/*'",
        "tasks.vocabulary.name = 'embedded'",
    ]
  run = runs.make(["models/t5_tiny.gin", _SMALL_TEXT], bindings)
  experiment = run.experiment
  if from_shards:
    _write_shards(directory)
  batch = _batches(run).get_next()
  operations = [x.op for x in tf.nest.flatten(batch)]
  session = graphs.open_session(runs.config(run))

  def read():
    for _ in range(batches):
      session.run(operations)

  return worker.Work(
      {"pipeline": read},
      {
          "examples": batches * experiment.sequences_per_batch,
          "tokens": batches * experiment.positions_per_batch,
          "shapes": {
              "batch": experiment.sequences_per_batch,
              **experiment.lengths,
          },
      },
  )


def _batches(run: Run) -> tf.data.Iterator:
  """The training batches of a run."""
  return tf.data.make_one_shot_iterator(
      inputs.training_batches(
          run.experiment.task,
          run.experiment.lengths,
          run.experiment.sequences_per_batch,
          run.seed,
          first_step=0,
          steps_per_block=10**6,
      )
  )


def _write_shards(directory: str):
  """Writes the embedded corpus as shards of compressed JSON."""
  shards = [
      gzip.open(f"{directory}/c4-train.{i:05d}-of-{_SHARDS:05d}.json.gz", "wt")
      for i in range(_SHARDS)
  ]
  for number, text in enumerate(corpus.docstrings().documents("train")):
    shards[number % _SHARDS].write(json.dumps({"text": text}) + "\n")
  for shard in shards:
    shard.close()


def mixture(
    languages: Sequence[str] | None, bindings: Sequence[str]
) -> worker.Work:
  """The input pipeline of a session that trains on mC4, up to its first batch.

  Args:
    languages: their codes; None for all 107.
    bindings: gin bindings, of the text that all languages have.

  Returns:
    the run "mixture".
  """
  directory = tempfile.mkdtemp()
  run = runs.make(
      ["models/t5_tiny.gin", _SMALL_TEXT],
      [
          "task = 'mc4'",
          f"mc4.files = '{directory}/*'",
          f"mc4.languages = {languages!r}",
          "tasks.vocabulary.name = 'embedded'",
          *bindings,
      ],
  )
  documents = list(
      itertools.islice(corpus.docstrings().documents("train"), _DOCUMENTS)
  )
  lines = "".join(json.dumps({"text": text}) + "\n" for text in documents)
  for language in languages or mc4.COUNTS:
    pathlib.Path(directory, f"{language}.json").write_text(lines)

  def first_batch():
    with tf.Graph().as_default():
      batch = _batches(run).get_next()
      with tf.Session(config=runs.config(run)) as session:
        session.run(batch)

  return worker.Work({"mixture": first_batch}, {})


def matmul(size: int) -> worker.Work:
  """The product of two square matrices."""
  return graphs.matmul(None, size)


if __name__ == "__main__":
  worker.serve(
      {
          work.__name__: work
          for work in (
              layer,
              training,
              step,
              dense_step,
              plan,
              tensors,
              teachers.student,
              teachers.score,
              watchers.steps,
              update,
              decode,
              small_step,
              pipeline,
              mixture,
              matmul,
          )
      },
      graphs.VERSIONS,
  )
