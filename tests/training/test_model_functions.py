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

"""The model functions, run on small models without an Estimator."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import functools
import types

from absl import flags
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import device_assignment
from tensorflow.python.tpu import topology as topology_lib

from mtf_switch import errors
import mtf_switch.modes  # noqa: F401  Its names are in gin/runs.
from mtf_switch.training import estimators
from mtf_switch.training import figures as figures_lib
from mtf_switch.training import inputs
from mtf_switch.training import model_functions
from mtf_switch.training import prediction_functions
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from tests import gin_files
from tests import toy_tasks  # noqa: F401

FILES = [
    "layouts/single.gin",
    "schedules/constant_0_001.gin",
    "runs/pretrain.gin",
]
PARAMS = [
    "batch_size = 4",
    "train_steps = 10",
    "d_model = 16",
    "d_ff = 32",
    "d_kv = 8",
    "num_heads = 2",
]
# Encoder and decoder, or the least that is a model: graphs take time to build.
TRANSFORMER = [
    "task = 'toy_copy'",
    "sequence_length = {'inputs': 48, 'targets': 40}",
]
LM = [
    "task = 'toy_lm'",
    "sequence_length = {'targets': 40}",
    "model_type = 'lm'",
]
MODELS = {
    "dense": ["models/t5_tiny.gin", *LM, "num_layers = 1"],
    "sparse": [
        "models/switch_tiny.gin",
        *LM,
        "make_layer_stack.layers ="
        " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
        "num_experts = 4",
        "num_cores = 2",
    ],
    "switch_transformer": [
        "models/switch_tiny.gin",
        *TRANSFORMER,
        "num_experts = 4",
        "num_cores = 2",
    ],
}


def make_run(model, *params, **fields):
  """A run of a small model; closes gin."""
  gin_files.clear()
  file, *params_of_model = MODELS[model]
  strict_gin.parse([file, *FILES], [*PARAMS, *params_of_model, *params], [])
  return run_lib.Run(**{"model_dir": "unused", **fields})


@functools.cache
def training_batches(task):
  """Three batches of 4 rows, the last of which is mostly padding."""
  with tf.Graph().as_default(), tf.Session() as session:
    dataset = inputs.training_batches(
        task, {"inputs": 48, "targets": 40}, 4, 0, 0, 3
    )
    iterator = tf.data.make_initializable_iterator(dataset)
    next_batch = iterator.get_next()
    session.run(iterator.initializer)
    batches = [session.run(next_batch) for _ in range(3)]
  first_row = np.eye(4, dtype=np.int32)[0, :, None]
  batches[-1] = {k: value * first_row for k, value in batches[-1].items()}
  return batches


def build_training(run, features, params, **options):
  """The model function's result, and the graph that its hooks get."""
  graphs = []

  def make_hooks(graph):
    graphs.append(graph)
    return []

  spec = model_functions.training_model_fn(run, 10, make_hooks, **options)(
      features, None, tf.estimator.ModeKeys.TRAIN, params
  )
  (graph,) = graphs
  return spec, graph


def flat(figures):
  """Numbers by name; those of a vector are told apart by their place."""
  numbers = {}
  for name, value in figures.items():
    if np.ndim(value):
      numbers.update({f"{name}[{i}]": x for i, x in enumerate(value)})
    else:
      numbers[name] = value
  return numbers


def train(run, num_steps=3, first_steps=(0,)):
  """Trains from some values of the global step, in turn.

  Returns:
    the figures of all steps, those of layers and vectors by "<layer>/<name>"
    and flat; the weights in the end; and the global step.
  """
  batches = training_batches(run.experiment.task)
  with tf.Graph().as_default():
    tf.set_random_seed(run.seed)
    global_step = tf.train.create_global_step()
    features = {
        name: tf.placeholder(value.dtype, value.shape)
        for name, value in batches[0].items()
    }
    spec, graph = build_training(run, features, {})
    masters = {v.op.name for v in tf.global_variables()}
    weights = {v.op.name: v for v in tf.trainable_variables()}
    weights = {name: v for name, v in weights.items() if name in masters}
    with tf.Session(config=estimators.session_config(run)) as session:
      session.run(tf.global_variables_initializer())
      session.run(graph.lowering.copy_masters_to_slices())
      figures = []
      for first_step in first_steps:
        session.run(global_step.assign(first_step))
        for batch in batches[:num_steps]:
          feed = {features[name]: value for name, value in batch.items()}
          fetched = session.run(
              [graph.figures, graph.layer_figures, graph.summaries]
              + [spec.train_op],
              feed,
          )
          assert not set(fetched[0]) & set(fetched[1])
          figures.append({**fetched[0], **flat(fetched[1])})
      session.run(graph.lowering.copy_slices_to_masters())
      return figures, session.run(weights), session.run(global_step)


def assert_close(actual, expected, tolerance=1e-5):
  """Figures of each step, or weights: equal but for rounding.

  Sums in another order differ in the last bits of float32, which 1e-5 of the
  value is a hundred times of.
  """
  assert len(actual) == len(expected)
  for one, other in zip(actual, expected):
    assert one == pytest.approx(other, rel=tolerance)


def test_reported_cross_entropy_contains_no_other_loss():
  figures, weights, _ = train(
      make_run(
          "sparse",
          "SwitchFeedForward.aux_loss_coefficient = 0.01",
          "Unitransformer.z_loss = 0.0",
      ),
      num_steps=1,
  )
  others, other_weights, _ = train(
      make_run(
          "sparse",
          "SwitchFeedForward.aux_loss_coefficient = 10.0",
          "Unitransformer.z_loss = 0.5",
          "Unitransformer.label_smoothing = 0.2",
      ),
      num_steps=1,
  )
  # The first batch meets the same weights.
  assert others[0]["cross_entropy"] == figures[0]["cross_entropy"]
  assert others[0]["neg_log_perplexity"] == -figures[0]["cross_entropy"]
  # The coefficient is in the auxiliary loss as it is reported, once.
  assert others[0]["aux_loss"] == pytest.approx(
      1000 * figures[0]["aux_loss"], rel=1e-5
  )
  # And all of them are in the loss that is minimized.
  assert any((weights[k] != other_weights[k]).any() for k in weights)


SWITCH_LAYER = "transformer/block_000/layer_001"


def test_figures_and_global_step():
  few_slots = "capacity_factor_train = 0.6"
  figures, _, global_step = train(make_run("sparse", few_slots))
  assert global_step == 3
  assert {name for name in figures[0] if "/" not in name} == {
      "cross_entropy",
      "neg_log_perplexity",
      "packing_efficiency",
      "aux_loss",
      "z_loss",
      "fraction_dropped",
      "learning_rate",
  }
  # Of an untrained model on bytes, of which there are 259.
  assert np.log(259) - 0.5 < figures[0]["cross_entropy"] < np.log(259) + 2
  assert 0 < figures[0]["fraction_dropped"] < 1
  assert figures[0]["learning_rate"] == np.float32(0.001)
  for step, batch in zip(figures, training_batches("toy_lm")):
    # Rows that are all padding have no positions.
    rows = [row for row in batch["targets"] if row.any()]
    assert step["packing_efficiency"] == np.float32(np.mean(np.array(rows) > 0))


def test_each_switch_layer_has_figures():
  z_loss = "SwitchFeedForward.z_loss_coefficient = 0.5"
  (figures,), _, _ = train(make_run("sparse", z_loss), num_steps=1)
  of_layer = {
      name.removeprefix(f"{SWITCH_LAYER}/"): value
      for name, value in figures.items()
      if "/" in name
  }
  names = set(figures_lib.LAYER_FIGURES) - {"load_histogram", "load"}
  bins = {f"load_histogram[{i}]" for i in range(len(figures_lib.LOAD_BINS))}
  loads = {f"load[{i}]" for i in range(4)}
  assert set(of_layer) == names | bins | loads
  # The only layer of its kind: the model's figures are its own.
  for name in ("aux_loss", "z_loss", "fraction_dropped"):
    assert of_layer[name] == figures[name]
  # What four experts allow, of which each token has its best.
  assert 0 < of_layer["entropy"] <= np.log(4)
  assert 1 / 4 <= of_layer["gate"] <= 1
  assert of_layer["load_min"] <= 1 <= of_layer["load_max"] <= 4
  assert sum(of_layer[name] for name in bins) == 4
  assert max(of_layer[name] for name in loads) == of_layer["load_max"]
  # 80 of the 160 positions in each of two groups, of which this batch has as
  # many slots as the capacity factor says, and no more tokens than positions.
  slots = 2 * int(80 * 1.25 / 4)
  real = np.count_nonzero(training_batches("toy_lm")[0]["targets"])
  assert of_layer["capacity"] == pytest.approx(slots / (real / 4))
  # Alpha times at least about 1; ln(4) squared where all logits are 0.
  assert 0.009 < of_layer["aux_loss"] < 0.04
  assert of_layer["z_loss"] == pytest.approx(0.5 * np.log(4) ** 2, rel=0.2)


@pytest.mark.parametrize(
    "params",
    [(), ("mesh_shape = 'all:2'", "layout_rules = 'batch:all,experts:all'")],
)
def test_norms_of_gradients_and_weights_at_recorded_steps(params):
  run = make_run("sparse", *params)
  batch = training_batches(run.experiment.task)[0]
  with tf.Graph().as_default():
    features = {name: tf.constant(value) for name, value in batch.items()}
    tf.set_random_seed(run.seed)
    tf.train.create_global_step()
    spec, graph = build_training(run, features, {}, norms_every=2)
    gradients = [
        graph.lowering.export_to_tf_tensor(x)
        for x in graph.gradients.values()
        if x is not None
    ]
    masters = {v.op.name for v in tf.global_variables()}
    weights = [v for v in tf.trainable_variables() if v.op.name in masters]
    names = ("gradient_norm", "weight_norm")
    fetches = [{name: graph.figures[name] for name in names}, gradients]
    with tf.Session(config=estimators.session_config(run)) as session:
      session.run(tf.global_variables_initializer())
      session.run(graph.lowering.copy_masters_to_slices())
      first, _, _ = session.run([*fetches, spec.train_op])
      assert first == dict.fromkeys(names, 0)  # Step 1 is not recorded.
      session.run(graph.lowering.copy_slices_to_masters())
      before = session.run(weights)
      second, of_step, _ = session.run([*fetches, spec.train_op])

  def norm(arrays):
    return np.sqrt(sum(np.square(x, dtype=float).sum() for x in arrays))

  assert second["gradient_norm"] == pytest.approx(norm(of_step), rel=1e-4)
  # Those that the step begins with.
  assert second["weight_norm"] == pytest.approx(norm(before), rel=1e-5)


def test_noise_follows_from_the_step():
  # The weights stay as they are.
  frozen = "constant_learning_rate.learning_rate = 0.0"
  run = make_run("sparse", "dropout_rate = 0.2", frozen)
  figures, _, _ = train(run, num_steps=1, first_steps=[0, 1, 0])
  first, second, first_again = [f["cross_entropy"] for f in figures]
  assert first == first_again != second


def test_microbatches_change_nothing_but_rounding():
  # Two microbatches of two rows.
  split = "serialize_num_microbatches.tokens_per_microbatch_per_replica = 80"
  # Adafactor would hide a loss that is too large.
  sgd = "optimizer = @SgdOptimizer"
  whole, weights, _ = train(make_run("dense", sgd))
  parts, weights_of_parts, _ = train(make_run("dense", sgd, split))
  assert set(parts[0]) == {
      "cross_entropy",
      "neg_log_perplexity",
      "packing_efficiency",
      "learning_rate",
  }
  assert_close(parts, whole)
  for name, weight in weights.items():
    np.testing.assert_allclose(weights_of_parts[name], weight, rtol=1e-3)


def test_microbatches_leave_the_routing_as_it_is():
  """Four groups of a row each, in one batch or in two microbatches of two."""

  def figures_of(*params):
    figures, _, _ = train(
        make_run(
            "sparse",
            "num_cores = 4",
            "capacity_factor_train = 0.6",
            "SwitchFeedForward.router_jitter = 0.0",
            "SwitchFeedForward.z_loss_coefficient = 0.5",
            # What it summarizes is inside the loop, out of reach of a session.
            "transformer_layers.SelfAttention.z_loss_coeff = 0.1",
            "optimizer = @SgdOptimizer",
            *params,
        ),
        num_steps=1,
    )
    return figures[0]

  whole = figures_of()
  split = "serialize_num_microbatches.tokens_per_microbatch_per_replica = 80"
  parts = figures_of(split)
  assert whole["fraction_dropped"] > 0
  assert_close([parts], [whole])


def test_mesh_changes_nothing_but_rounding():
  noisy = "dropout_rate = 0.1"
  one, weights, _ = train(make_run("sparse", noisy))
  two, weights_of_two, _ = train(
      make_run(
          "sparse",
          noisy,
          "mesh_shape = 'all:2'",
          "layout_rules = 'batch:all,experts:all'",
      ),
  )
  assert_close(two, one)
  assert set(weights_of_two) == set(weights)


def test_initial_weights_follow_from_the_seed():
  def initial_weights(seed, first_step=0):
    run = make_run("dense", seed=seed)
    with tf.Graph().as_default():
      tf.set_random_seed(run.seed)
      tf.train.create_global_step()
      batches = inputs.training_batches(
          run.experiment.task, run.experiment.lengths, 4, seed, first_step, 5
      )
      model_functions.training_model_fn(run, 3, lambda graph: [])(
          tf.data.make_one_shot_iterator(batches).get_next(),
          None,
          tf.estimator.ModeKeys.TRAIN,
          {},
      )
      with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run({v.op.name: v for v in tf.trainable_variables()})

  first, later = initial_weights(0), initial_weights(0, first_step=7)
  other = initial_weights(1)
  for name, weight in first.items():
    # What reads and shuffles takes part in no numbering of draws.
    np.testing.assert_array_equal(later[name], weight)
    if not name.endswith("scale"):  # Of the normalization, all 1.
      assert (other[name] != weight).any()


def tpu_context():
  """TPUEstimator's context for a TPU of two chips with two cores each."""
  topology = topology_lib.Topology(
      mesh_shape=[2, 1, 1, 2],
      device_coordinates=[
          [[0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [1, 0, 0, 1]]
      ],
  )
  return types.SimpleNamespace(
      num_hosts=1,
      num_replicas=4,
      tpu_host_placement_function=lambda host_id: "/device:CPU:0",
      device_assignment=device_assignment.device_assignment(
          topology, computation_shape=[1, 1, 1, 1], num_replicas=4
      ),
  )


def test_tpu_graphs_are_built(tmp_path):
  """As far as one can go without a TPU: nothing is run."""
  flags.FLAGS.mark_as_parsed()  # Mesh TensorFlow reads one of its own.
  run = make_run(
      "sparse",
      "num_cores = 4",
      "mesh_shape = 'all:4'",
      "layout_rules = 'batch:all,experts:all'",
      model_dir=str(tmp_path),
      tpu=run_lib.Tpu("a_tpu"),
  )
  batch = training_batches(run.experiment.task)[0]
  with tf.Graph().as_default() as tf_graph:
    tf.train.create_global_step()
    spec, graph = build_training(
        run,
        {name: tf.constant(value) for name, value in batch.items()},
        {"context": tpu_context()},
    )
    operations = {operation.type for operation in tf_graph.get_operations()}
    assert {"AllToAll", "CrossReplicaSum"} <= operations
    assert spec.host_call
    # Hooks fetch from the host.
    assert f"{SWITCH_LAYER}/load_histogram" in graph.layer_figures
    for figure in {**graph.figures, **graph.layer_figures}.values():
      assert figure.op.type == "VarHandleOp"

  with tf.Graph().as_default():
    tf.train.create_global_step()
    spec = model_functions.perplexity_model_fn(run, num_datasets=3)(
        numbered(batch),
        None,
        tf.estimator.ModeKeys.EVAL,
        {"context": tpu_context()},
    )
    metric_fn, totals = spec.eval_metrics
    for figure, _ in metric_fn(**totals).values():
      assert figure.shape[0] == 3
    # TPUs hand over nothing that has no batch dimension.
    for name, total in totals.items():
      vector = [4] if name.endswith("/expert_load") else []
      assert total.shape == [1, *vector]


def numbered(batch):
  """A batch to evaluate, of the first dataset."""
  targets = tf.constant(batch["targets"])
  return {"targets": targets, "dataset": tf.zeros([len(batch)], tf.int32)}


def run_evaluation(run):
  """The figures of the untrained model over the validation split."""
  (dataset,) = inputs.evaluation_datasets(
      run.experiment.task, run.experiment.lengths, "validation"
  )
  with tf.Graph().as_default():
    tf.set_random_seed(run.seed)
    tf.train.create_global_step()
    iterator = tf.data.make_initializable_iterator(
        inputs.evaluation_batches(
            [dataset.dataset_fn], run.experiment.sequences_per_batch
        )
    )
    spec = model_functions.perplexity_model_fn(run, num_datasets=1)(
        iterator.get_next(), None, tf.estimator.ModeKeys.EVAL, {}
    )
    metric_fn, totals = spec.eval_metrics
    figures = metric_fn(**totals)
    updates = [update for _, update in figures.values()]
    with tf.Session() as session:
      session.run(
          [
              tf.global_variables_initializer(),
              tf.local_variables_initializer(),
              iterator.initializer,
          ]
      )
      with contextlib.suppress(tf.errors.OutOfRangeError):
        while True:
          session.run(updates)
      return flat(session.run({k: v[0] for k, (v, _) in figures.items()}))


def test_evaluation_contains_no_other_loss():
  """Upstream's losses contain the router's and more, in evaluation too."""

  def loss_and_figures(*params):
    run = make_run("sparse", "SwitchFeedForward.router_jitter = 0.0", *params)
    batch = training_batches(run.experiment.task)[0]
    with tf.Graph().as_default(), tf.Session() as session:
      tf.set_random_seed(0)
      tf.train.create_global_step()
      spec = model_functions.perplexity_model_fn(run, num_datasets=1)(
          numbered(batch),
          None,
          tf.estimator.ModeKeys.EVAL,
          {},
      )
      metric_fn, totals = spec.eval_metrics
      figures = metric_fn(**totals)
      session.run(
          [tf.global_variables_initializer(), tf.local_variables_initializer()]
      )
      # The batch is taken in once.
      loss, _ = session.run([spec.loss, [op for _, op in figures.values()]])
      return loss, session.run({k: v[0] for k, (v, _) in figures.items()})

  loss, figures = loss_and_figures(
      "SwitchFeedForward.aux_loss_coefficient = 0.01",
      "SwitchFeedForward.z_loss_coefficient = 0.01",
      "Unitransformer.z_loss = 0.0",
  )
  other_loss, others = loss_and_figures(
      "SwitchFeedForward.aux_loss_coefficient = 10.0",
      "SwitchFeedForward.z_loss_coefficient = 10.0",
      "Unitransformer.z_loss = 0.5",
      "Unitransformer.label_smoothing = 0.2",
  )
  assert other_loss == loss
  assert figures["cross_entropy"] == pytest.approx(loss, rel=1e-6)
  assert others["cross_entropy"] == figures["cross_entropy"]
  assert figures["neg_log_perplexity"] == -figures["cross_entropy"]
  # They are reported, each by itself.
  for name in ("aux_loss", "z_loss"):
    assert others[name] == pytest.approx(1000 * figures[name], rel=1e-5)


@pytest.mark.parametrize(
    "model, params",
    [
        ("dense", []),
        # No token is dropped; which ones are depends on the batch.
        ("switch_transformer", ["capacity_factor_eval = 4.0", "num_cores = 1"]),
    ],
)
def test_evaluation_does_not_depend_on_the_batch_size(model, params):
  # 13 examples: the last batch has 2 empty rows, or there is but one, with 7.
  figures, others = (
      run_evaluation(make_run(model, *params, f"batch_size = {size}"))
      for size in (5, 20)
  )
  if model != "dense":
    assert figures["fraction_dropped"] == 0
    assert figures["aux_loss"] > 0
    # One for each layer; other figures count a batch's padding as nothing.
    assert sum(name.endswith("/entropy") for name in figures) == 2
    for name in [x for x in figures if x.endswith(("aux_loss", "capacity"))]:
      # Not linear in the tokens, hence of a batch; slots are there for empty
      # rows as well.
      del figures[name], others[name]
  else:
    assert set(figures) == {
        "cross_entropy",
        "neg_log_perplexity",
        "packing_efficiency",
    }
  assert_close([figures], [others])
  assert figures["neg_log_perplexity"] == -figures["cross_entropy"]


UNREAD = ("decoder", "mtf_switch.experiment.Experiment", "batch_size")


@pytest.mark.parametrize(
    "mode, number, model_fn",
    [
        (
            tf.estimator.ModeKeys.TRAIN,
            [],
            lambda run: model_functions.training_model_fn(run, 1, lambda _: []),
        ),
        (
            tf.estimator.ModeKeys.EVAL,
            ["dataset"],
            lambda run: model_functions.perplexity_model_fn(run, 1),
        ),
        (
            tf.estimator.ModeKeys.PREDICT,
            ["batch_number"],
            prediction_functions.scoring_model_fn,
        ),
    ],
)
def test_every_graph_names_what_nothing_reads(mode, number, model_fn):
  run = make_run("dense", "sequence_length = {'targets': 8}")
  run.own_bindings.add(UNREAD)
  with tf.Graph().as_default():
    tf.train.create_global_step()
    features = {"targets": tf.ones([4, 8], tf.int32)}
    features.update({name: tf.zeros([4], tf.int32) for name in number})
    with pytest.warns(errors.UserNotice, match="nothing reads decoder/Exp"):
      model_fn(run)(features, None, mode, {})


def test_sampling_repeats_and_differs_between_batches_and_rows():
  run = make_run(
      "switch_transformer",
      "sequence_length = 8",
      "Bitransformer.decode.temperature = 1.0",
  )
  with tf.Graph().as_default():
    tf.set_random_seed(run.seed)
    tf.train.create_global_step()
    batch_number = tf.placeholder(tf.int32, [4])
    features = {
        "inputs": tf.constant([[5, 6, 7, 1, 0, 0, 0, 0]] * 4),
        "batch_number": batch_number,
    }
    run.own_bindings.add(UNREAD)
    with pytest.warns(errors.UserNotice, match="nothing reads decoder/Exp"):
      spec = prediction_functions.decoding_model_fn(run)(
          features, None, tf.estimator.ModeKeys.PREDICT, {}
      )
    with tf.Session() as session:
      session.run(tf.global_variables_initializer())
      outputs, others, again = (
          session.run(spec.predictions["outputs"], {batch_number: [number] * 4})
          for number in (0, 1, 0)
      )
  assert outputs.shape == (4, 8)
  assert len({row.tobytes() for row in outputs}) == 4
  np.testing.assert_array_equal(again, outputs)
  assert (others != outputs).any()


def test_a_language_model_continues_a_part_of_its_targets():
  """Its lengths need not name inputs, which its task does not have."""
  run = make_run("dense", "sequence_length = {'targets': 8}")
  with tf.Graph().as_default():
    tf.train.create_global_step()
    features = {
        "inputs": tf.constant([[5, 6, 7, 0, 0, 0, 0, 0]] * 4),
        "batch_number": tf.zeros([4], tf.int32),
    }
    spec = prediction_functions.decoding_model_fn(run)(
        features, None, tf.estimator.ModeKeys.PREDICT, {}
    )
  # As many tokens follow as a target has.
  assert spec.predictions["outputs"].shape == (4, 8 + 8)


def test_learning_rates():
  def rate(*params):
    run = make_run("dense", *params)
    with tf.Graph().as_default(), tf.Session() as session:
      value = model_functions._learning_rate(run, tf.constant(4), 10)
      return value if isinstance(value, float) else session.run(value)

  assert rate("learning_rate_schedule = 0.5") == 0.5
  assert rate() == np.float32(0.001)
  decay = "linear_decay.steps_or_fraction = 10"
  assert rate(
      "learning_rate_schedule = @learning_rate_schedules.linear_decay", decay
  ) == pytest.approx(0.6)
  assert rate(
      "learning_rate_schedule = [0.5, @learning_rate_schedules.linear_decay]",
      decay,
  ) == pytest.approx(0.3)
