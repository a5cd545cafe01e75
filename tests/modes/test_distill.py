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

"""Distillation: small language models from start to end."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import json
import shutil

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import numpy as np
import pytest
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import placement
from mtf_switch.modes import distill
from mtf_switch.modes import teach
from mtf_switch.modes import train
from mtf_switch.planning import units
from mtf_switch.training import checkpoints
from mtf_switch.training import estimators
from mtf_switch.training import inference
from mtf_switch.training import model_functions
from mtf_switch.training import model_graph
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import student_start
from mtf_switch.training import teacher as teacher_lib
from mtf_switch.training import warm_start
from mtf_switch.transformer import distillation
from mtf_switch.transformer import loss as loss_lib
import tasks  # noqa: F401  As run_switch.py, before gin closes.
from tests import gin_files
from tests import toy_tasks  # noqa: F401

COMMON = [
    "task = 'toy_lm'",
    "sequence_length = {'targets': 40}",
    "model_type = 'lm'",
    "batch_size = 4",
    "train_steps = 4",
    "d_model = 16",
    "d_kv = 8",
    "num_heads = 2",
    "train.metrics_every = 1",
    "train.save_checkpoints_steps = 2",
]
SPARSE = [
    "make_layer_stack.layers ="
    " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
    "num_blocks = 1",
    "num_experts = 4",
    "num_cores = 2",
    "d_ff = 32",
]
LAYER = "transformer/block_000/layer_001"
NOISY = [
    "constant_learning_rate.learning_rate = 0.01",
    "dropout_rate = 0.1",
    "expert_dropout_rate = 0.4",
]
DENSE = ["num_layers = 1", "d_ff = 32"]


def configured(model_dir, model, files, *params):
  gin_files.clear()
  model_files = {
      "sparse": ("models/switch_tiny.gin", SPARSE),
      "dense": ("models/t5_tiny.gin", DENSE),
  }
  file, sizes = model_files[model]
  strict_gin.parse(
      [
          file,
          "layouts/single.gin",
          "schedules/constant_0_001.gin",
          *files,
      ],
      [*COMMON, *sizes, *params],
      [],
  )
  return run_lib.Run(model_dir=str(model_dir))


def trained(model_dir, model, *params):
  run = configured(model_dir, model, ["runs/pretrain.gin"], *params)
  train.train(run, rich.console.Console(file=io.StringIO()))
  return model_dir


def distilled(model_dir, teacher_dir, *params, model="dense"):
  """Distils, and returns what the terminal says."""
  run = configured(
      model_dir,
      model,
      ["runs/distill.gin"],
      f"teacher_dir = {str(teacher_dir)!r}",
      *params,
  )
  console = rich.console.Console(file=io.StringIO(), width=1000)
  distill.distill(run, console)
  return console.file.getvalue()


def weights(model_dir, step=4):
  reader = tf.train.load_checkpoint(checkpoints.path(str(model_dir), step))
  return {x: reader.get_tensor(x) for x in reader.get_variable_to_shape_map()}


def assert_same(one, other):
  assert one.keys() == other.keys()
  for name, value in one.items():
    np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
  """A sparse language model, trained with dropout and the router's jitter."""
  return trained(tmp_path_factory.mktemp("teacher"), "sparse", *NOISY)


@pytest.fixture(scope="module")
def student(tmp_path_factory, teacher):
  """A dense one that has learnt from the teacher."""
  directory = tmp_path_factory.mktemp("student")
  said = distilled(directory, teacher)
  assert "9 copied, 2 fresh in place of experts; see" in said, said
  return directory


def test_the_checkpoint_is_the_students_alone(student):
  found = weights(student)
  assert not any("teacher" in name for name in found)
  assert f"{LAYER}/DenseReluDense/wi/kernel" in found


def test_all_terms_are_recorded(student, teacher):
  lines = (student / "metrics.jsonl").read_text().splitlines()
  first, *_ = (x for x in map(json.loads, lines) if x["kind"] == "train")
  of_teacher = first["distillation"]
  assert set(of_teacher) == {
      "loss",
      "soft_cross_entropy",
      "teacher_cross_entropy",
      "agreement",
  }
  # After four steps the teacher is better than a student that begins.
  assert of_teacher["teacher_cross_entropy"] < first["cross_entropy"]
  assert 0 <= of_teacher["agreement"] <= 1
  record = json.loads((student / "distillation.json").read_text())
  assert record["teacher_dir"] == str(teacher)
  assert (record["step"], record["soft_fraction"]) == (4, 0.25)


def test_without_soft_loss_it_is_ordinary_training(tmp_path, teacher):
  # As the teacher was trained, with the same noise.
  distilled(
      tmp_path,
      teacher,
      *NOISY,
      "distill.soft_fraction = 0.0",
      "distill.start_step = 1",
      "distill.initialize_from_teacher = False",
      model="sparse",
  )
  assert_same(weights(tmp_path), weights(teacher))


def killed_after_step_2(run, directory):
  """Copies what a run had when its first checkpoint was saved."""
  for path in [*run.glob("model.ckpt-2*"), *run.glob("*.json")]:
    shutil.copy(path, directory)
  (directory / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"')


def test_a_killed_run_goes_on_as_if_never_interrupted(
    tmp_path, teacher, student
):
  killed_after_step_2(student, tmp_path)
  said = distilled(tmp_path, teacher)
  assert "initial weights" not in said
  assert_same(weights(tmp_path), weights(student))


def test_a_run_that_goes_on_has_the_teacher_it_began_with(
    tmp_path, teacher, student
):
  killed_after_step_2(student, tmp_path)
  with pytest.raises(errors.UserError, match="a distillation from"):
    distilled(tmp_path, student)
  record = json.loads((tmp_path / "distillation.json").read_text())
  record["step"] = 3  # A teacher that was trained further since.
  (tmp_path / "distillation.json").write_text(json.dumps(record))
  with pytest.raises(errors.UserError, match="no checkpoint of step 3"):
    distilled(tmp_path, teacher)


@pytest.fixture(scope="module")
def initial(teacher):
  """Begins a student; returns its first weights and what is recorded."""

  def initial(directory, experts, num_layers=1):
    run = configured(
        directory,
        "dense",
        ["runs/pretrain.gin"],
        f"num_layers = {num_layers}",
    )
    path = checkpoints.path(str(teacher), 4)
    console = rich.console.Console(file=io.StringIO(), width=1000)
    of_experts = student_start.make_of_experts(
        run, lambda: teacher_of(run, teacher), path, experts, console
    )
    with tf.Graph().as_default(), tf.Session() as session:
      session.run(tf.assign(tf.train.create_global_step(), 0))
      mesh, _ = model_graph.place(run, {}, None)
      features = model_graph.import_features(
          run.experiment, mesh, {"targets": tf.constant(batch())}
      )
      loss_lib.loss_and_sums(
          run.experiment.build_model(),
          features,
          tf.estimator.ModeKeys.TRAIN,
          utils.get_variable_dtype(),
      )
      (hook,) = student_start.initialize(run, path, of_experts, console, None)
      hook.begin()
      session.run(tf.global_variables_initializer())
      hook.after_create_session(session, None)
      found = session.run(warm_start.weights())
    record = json.loads((directory / "initialization.json").read_text())
    return found, record, console.file.getvalue()

  return initial


@pytest.mark.parametrize("experts", ["mean", "most_used"])
def test_weights_start_as_the_teachers(tmp_path, teacher, initial, experts):
  found, record, said = initial(tmp_path, experts)
  assert "9 copied, 2 made of experts; see initialization.json" in said
  expected = weights(teacher)
  assert len(record["copied"]) == 9
  for name, source in record["copied"].items():
    np.testing.assert_array_equal(found[name], expected[source])
  places = []
  for kernel in ("wi", "wo"):
    dense = found[f"{LAYER}/DenseReluDense/{kernel}/kernel"]
    of_experts = expected[f"{LAYER}/SwitchFeedForward/experts/{kernel}/kernel"]
    if experts == "mean":
      # Sums of four in another order.
      np.testing.assert_allclose(dense, of_experts.mean(0), atol=1e-7)
    else:
      places += [i for i, x in enumerate(of_experts) if (x == dense).all()]
  assert experts == "mean" or (len(places) == 2 and places[0] == places[1])
  (router,) = record["not_in_student"]
  assert "/router/" in router


def test_layers_that_the_teacher_lacks_start_fresh(tmp_path, initial):
  _, record, said = initial(tmp_path, "fresh", num_layers=2)
  assert "9 copied, 2 fresh in place of experts, 8 fresh otherwise" in said
  assert all("/block_001/" in name for name in record["not_in_teacher"])


def taught(directory, teacher_dir, *params):
  """Asks the teacher, and returns what the terminal says."""
  run = configured(teacher_dir, "sparse", ["runs/teach.gin"], *params)
  console = rich.console.Console(file=io.StringIO(), width=1000)
  teach.teach(run, console, str(directory))
  return console.file.getvalue()


WHOLE = ["teach.choices = 384", "teach.steps_per_file = 3"]


@pytest.fixture(scope="module")
def whole_cache(tmp_path_factory, teacher):
  """The teacher's probabilities of 259 tokens, rounded up to 384 rows."""
  directory = tmp_path_factory.mktemp("cache")
  said = taught(directory, teacher, *WHOLE)
  # 4 batches of 4 rows, 384 tokens of 8 bytes and 8 bytes for each target.
  size = units.bytes_(4 * 4 * 40 * (384 * 8 + 8))
  assert f"up to {size} for 4 batches in" in said
  return directory


@pytest.fixture(scope="module")
def cached_student(tmp_path_factory, teacher, whole_cache):
  """As student, from the cache."""
  directory = tmp_path_factory.mktemp("cached")
  distilled(directory, teacher, f"teacher_cache = {str(whole_cache)!r}")
  return directory


def losses(model_dir):
  lines = (model_dir / "metrics.jsonl").read_text().splitlines()
  records = map(json.loads, lines)
  return [x["distillation"] for x in records if x["kind"] == "train"]


def test_a_cache_of_all_tokens_teaches_as_the_teacher(student, cached_student):
  for cached, live in zip(losses(cached_student), losses(student), strict=True):
    # Float32; the weights drift apart from step to step.
    assert cached == pytest.approx(live, rel=1e-6)


def test_a_killed_run_goes_on_in_the_middle_of_a_file(
    tmp_path, teacher, whole_cache, cached_student
):
  killed_after_step_2(cached_student, tmp_path)
  distilled(tmp_path, teacher, f"teacher_cache = {str(whole_cache)!r}")
  assert_same(weights(tmp_path), weights(cached_student))


def test_a_killed_teacher_goes_on_with_equal_files(teacher, whole_cache):
  first, last = sorted(whole_cache.glob("teacher.tfrecord*"))
  content = last.read_bytes()
  last.unlink()
  taught(whole_cache, teacher, *WHOLE)
  assert last.read_bytes() == content
  assert first.exists()


@pytest.mark.parametrize(
    "params, expected",
    [
        (["batch_size = 2"], "has batch_size = 4, but this run has 2"),
        (["train_steps = 5"], "has 4 batches, but this run needs 5"),
        (["distill.temperature = 2.0"], "temperature = 1.0"),
        (["teacher_dir = 'elsewhere'"], "is of the teacher"),
        (["teacher_step = 3"], "teacher_step = 3"),
        (["teacher_cache = 'nowhere'"], "has no teacher.json"),
    ],
)
def test_another_cache_is_refused(
    tmp_path, teacher, whole_cache, params, expected
):
  with pytest.raises(errors.UserError) as raised:
    distilled(
        tmp_path, teacher, f"teacher_cache = {str(whole_cache)!r}", *params
    )
  assert expected in str(raised.value)


def test_the_cache_of_a_teacher_that_was_trained_anew_is_refused(
    tmp_path, student, whole_cache
):
  # Another checkpoint of step 4.
  with pytest.raises(errors.UserError, match="of another checkpoint than"):
    distilled(tmp_path, student, f"teacher_cache = {str(whole_cache)!r}")


@pytest.fixture
def shapes_of_the_program():
  """Shapes as they are after compat.use_graph_mode."""
  tf.disable_v2_tensorshape()
  yield
  tf.enable_v2_tensorshape()


@pytest.mark.usefixtures("shapes_of_the_program")
def test_choices_are_on_the_mesh():
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    features = placement.import_features(
        mesh,
        {"targets_teacher_ids": tf.zeros([4, 40, 3], tf.int32)},
        4,
        {"targets": 40},
    )
  assert features["targets_teacher_ids"].shape.to_integer_list == [4, 40, 3]


def test_a_damaged_cache_ends_in_one_line(tmp_path, teacher, whole_cache):
  cache = tmp_path / "cache"
  shutil.copytree(whole_cache, cache)
  first, _ = sorted(cache.glob("teacher.tfrecord*"))
  content = bytearray(first.read_bytes())
  content[len(content) // 2] ^= 1
  first.write_bytes(content)
  with pytest.raises(errors.UserError) as raised:
    distilled(
        tmp_path / "student",
        teacher,
        f"teacher_cache = {str(cache)!r}",
        "distill.initialize_from_teacher = False",
    )
  assert str(raised.value).splitlines()[0] == (
      f"{first} is damaged; remove it, and run --mode=teach again."
  )


@pytest.mark.parametrize(
    "params, expected",
    [
        (["teach.choices = 385"], "385 is more than the 384 rows"),
        (["d_ff = 48"], "is of another model"),
        (["teach.checkpoint_step = 3"], "no checkpoint of step 3"),
    ],
)
def test_what_cannot_be_taught_is_refused(tmp_path, teacher, params, expected):
  with pytest.raises(errors.UserError, match=expected):
    taught(tmp_path, teacher, *params)
  assert not list(tmp_path.glob("teacher.tfrecord*"))


def test_another_cache_in_its_directory_is_refused(teacher, whole_cache):
  with pytest.raises(errors.UserError, match="choices = 384, and this one has"):
    taught(whole_cache, teacher)


def teacher_of(run, directory, *params, soft_fraction=0.25):
  return teacher_lib.Teacher(
      run.experiment,
      teacher_lib.gin_files(str(directory), None),
      params,
      ([], []),
      distillation.Mix(soft_fraction),
      checkpoints.path(str(directory), 4),
  )


def batch():
  """Rows of 40 tokens, the second half padding."""
  tokens = np.random.RandomState(0).randint(3, 200, [4, 40])
  tokens[:, 20:] = 0
  return tokens.astype(np.int32)


class Step:
  """A step of a student with a teacher, in a session of its own.

  Attributes:
    graph: the TrainingGraph.
  """

  def __init__(self, run, teacher, student=None):
    """Builds the graph; the weights are those of a run, or initial ones."""
    self._targets = tf.placeholder(tf.int32, [4, 40])
    tf.train.create_global_step()
    graphs = []

    def make_hooks(graph):
      graphs.append(graph)
      self._gradients = [
          graph.lowering.export_to_tf_tensor(x)
          for x in graph.gradients.values()
      ]
      return []

    model_functions.training_model_fn(
        run, 4, make_hooks, change_loss_at=teacher.change_loss_at
    )({"targets": self._targets}, None, tf.estimator.ModeKeys.TRAIN, {})
    (self.graph,) = graphs
    self.session = tf.Session(config=estimators.session_config(run))
    self.session.run(tf.global_variables_initializer())
    self.session.run(tf.local_variables_initializer())
    if student:
      trainable = {v.op.name for v in tf.trainable_variables()}
      saver = tf.train.Saver(
          [v for v in tf.global_variables() if v.op.name in trainable]
      )
      saver.restore(self.session, checkpoints.path(str(student), 4))
    self.session.run(self.graph.lowering.copy_masters_to_slices())

  def __call__(self):
    """The figures and the gradients of the batch."""
    return self.session.run(
        [self.graph.figures, self._gradients], {self._targets: batch()}
    )


@pytest.fixture(scope="module")
def on_one_core(teacher, student):
  """The figures and the greatest gradients on one core."""
  return figures_of_step(teacher, student, "", "")


def figures_of_step(teacher, student, mesh_shape, layout_rules, *params):
  run = configured(
      "unused",
      "dense",
      ["runs/pretrain.gin"],
      f"mesh_shape = {mesh_shape!r}",
      f"layout_rules = {layout_rules!r}",
      *params,
  )
  # As many slots as tokens: what drops none on one core drops none on several.
  of_teacher = teacher_of(run, teacher, "capacity_factor_eval = 4.0")
  with tf.Graph().as_default():
    figures, gradients = Step(run, of_teacher, student)()
  return figures, [abs(x).max() for x in gradients]


@pytest.mark.parametrize(
    "mesh_shape, layout_rules, params",
    [
        ("data:2", "batch:data", []),
        ("data:2", "batch:data,experts:data", []),
        (
            "data:2,model:2",
            "batch:data,experts:data,d_ff:model,vocab:model",
            [],
        ),
        # Two microbatches.
        (
            "",
            "",
            [
                "utils.serialize_num_microbatches"
                ".tokens_per_microbatch_per_replica = 80"
            ],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:the layout splits the teacher's experts")
def test_no_layout_changes_the_step(
    teacher, student, on_one_core, mesh_shape, layout_rules, params
):
  figures, gradients = figures_of_step(
      teacher, student, mesh_shape, layout_rules, *params
  )
  expected_figures, expected_gradients = on_one_core
  # Float32, and sums in another order.
  assert figures == pytest.approx(expected_figures, rel=1e-5)
  assert gradients == pytest.approx(expected_gradients, rel=1e-4, abs=1e-7)


def test_split_experts_have_the_slots_of_evaluation(teacher):
  run = configured(
      "unused",
      "dense",
      ["runs/pretrain.gin"],
      "mesh_shape = 'data:2'",
      "layout_rules = 'batch:data,experts:data'",
  )
  with pytest.warns(errors.UserNotice, match="capacity_factor_eval = 1.5"):
    teacher_of(run, teacher, "capacity_factor_eval = 1.5")


def scores(teacher_dir):
  """The log-probability of each row, as --mode=score computes it."""
  run = configured("unused", "sparse", ["runs/pretrain.gin"])
  with tf.Graph().as_default(), tf.Session() as session:
    mesh, impl = model_graph.place(run, {}, None)
    features = model_graph.import_features(
        run.experiment, mesh, {"targets": tf.constant(batch())}
    )
    results = inference.score(run.experiment, features).results
    lowering = mtf.Lowering(mesh.graph, {mesh: impl})
    tensor = lowering.export_to_tf_tensor(results)
    path = checkpoints.path(str(teacher_dir), 4)
    tf.train.Saver(tf.global_variables()).restore(session, path)
    session.run(lowering.copy_masters_to_slices())
    return session.run(tensor)


@pytest.fixture(scope="module")
def apart(teacher):
  """A step of models that are bound differently, and its teacher."""
  # The teacher's run left d_ff = 32 in its operative config.
  run = configured(
      "unused",
      "dense",
      ["runs/pretrain.gin"],
      "d_ff = 48",
      "dropout_rate = 0.5",
      "Unitransformer.z_loss = 0.25",
  )
  found = teacher_of(run, teacher)
  with found._configuration.in_place():
    assert strict_gin.value("Unitransformer.z_loss") == 1e-4
  assert strict_gin.value("Unitransformer.z_loss") == 0.25
  with tf.Graph().as_default():
    yield Step(run, found)


def test_the_teacher_is_frozen(apart):
  with apart.session.graph.as_default():
    names = [v.op.name for v in tf.global_variables()]
    of_teacher = [v.op.name for v in tf.local_variables()]
  assert f"teacher/{LAYER}/rms_norm/scale" in of_teacher
  assert not any("teacher" in name for name in names)
  graph = apart.graph.lowering.graph
  assert not any("teacher" in v.name for v in graph.trainable_variables)
  assert not any("teacher" in name for name in apart.graph.gradients)
  assert not any(
      "teacher" in op.name
      for op in graph.operations
      if isinstance(op, mtf.Assign)
  )


def test_the_teacher_scores_as_it_does_alone(apart, teacher):
  # Without the dropout and the jitter of its training. 80 real tokens.
  assert apart()[0]["teacher_cross_entropy"] * 80 == pytest.approx(
      -scores(teacher).sum(), rel=1e-6
  )


def test_bindings_of_student_and_teacher_do_not_mix(apart):
  with apart.session.graph.as_default():
    shapes = {
        v.op.name.removeprefix("teacher/"): v.shape.as_list()
        for v in [*tf.global_variables(), *tf.local_variables()]
    }
  assert shapes[f"{LAYER}/DenseReluDense/wi/kernel"] == [16, 48]
  assert shapes[f"{LAYER}/SwitchFeedForward/experts/wi/kernel"] == [4, 16, 32]


@pytest.mark.parametrize(
    "rules, params, expected",
    [
        ("batch:all,experts:all", ["num_cores = 3"], "num_cores = 2 or 4."),
        ("batch:all,experts:all", ["num_cores = 1"], "num_cores = 2."),
        ("experts:all", ["num_experts = 3"], "num_experts = 2 or 4."),
        ("d_ff:all", ["d_ff = 33"], "d_ff = 32 or 34."),
    ],
)
def test_a_teacher_that_the_mesh_cannot_split_is_refused(
    teacher, rules, params, expected
):
  run = configured(
      "unused",
      "dense",
      ["runs/pretrain.gin"],
      "mesh_shape = 'all:2'",
      f"layout_rules = '{rules}'",
  )
  with pytest.raises(errors.UserError) as raised:
    teacher_of(run, teacher, *params)
  message = str(raised.value)
  assert message.startswith(f"the teacher's gin files, {teacher}/")
  assert f"{expected} (distill.teacher_params takes bindings" in message
  assert "\n" not in message


def test_a_teacher_that_drops_no_token_needs_no_groups(teacher):
  run = configured(
      "unused", "dense", ["runs/pretrain.gin"], "mesh_shape = 'all:2'"
  )
  found = teacher_of(run, teacher, "num_cores = 3")
  assert "num_cores" not in {number.name for number in found.layout_numbers}
  # But the choice of the experts that most tokens take does.
  mesh = mtf.Mesh(mtf.Graph(), "mesh")
  with tf.Graph().as_default():
    features = model_graph.import_features(
        run.experiment, mesh, {"targets": tf.constant(batch())}
    )
    with pytest.raises(errors.UserError) as raised:
      found.expert_loads(features)
  message = str(raised.value)
  assert message.startswith(f"the teacher's gin files, {teacher}/")
  assert "num_cores = 3 groups" in message and "\n" not in message


def test_a_student_equal_to_its_teacher_has_nothing_to_learn(student):
  run = configured(
      "unused", "dense", ["runs/pretrain.gin"], "Unitransformer.z_loss = 0.0"
  )
  with tf.Graph().as_default():
    figures, gradients = Step(
        run, teacher_of(run, student, soft_fraction=1.0), student
    )()
  assert figures["agreement"] == 1
  # Half of the 160 positions are padding.
  assert figures["loss"] == pytest.approx(
      figures["soft_cross_entropy"] / 2, rel=1e-6
  )
  assert max(abs(x).max() for x in gradients) < 1e-6


def test_what_the_teachers_files_leave_open_is_the_students():
  run = configured("unused", "dense", ["runs/pretrain.gin"])
  found = teacher_lib.Teacher(
      run.experiment,
      ["runs/pretrain.gin", "models/switch_tiny.gin"],
      ["d_ff = 64", "num_cores = 2", "model_type = 'lm'"],
      ([], []),
      distillation.Mix(),
  )
  with found._configuration.in_place():
    values = [
        strict_gin.value(f"{x}/gin.macro.value")
        for x in ("batch_size", "task", "d_ff")
    ]
  assert values == [4, "toy_lm", 64]


@pytest.mark.parametrize(
    "params, expected",
    [
        (["distill.teacher_dir = 'nowhere'"], "no checkpoint in 'nowhere'"),
        (["distill.soft_fraction = 1.5"], "soft_fraction = 1.5"),
        (["distill.temperature = 0.0"], "temperature = 0.0"),
        (["distill.end_step = 3", "distill.start_step = 3"], "end_step = 3"),
        (["distill.teacher_gin = 'layouts/single.gin'"], "teacher_gin"),
        (["distill.teacher_params = ['num_experts = 8']"], "4 x 16 x 32 there"),
        (["distill.teacher_gin = 'models/t5_tiny.gin'"], "must be equal"),
        (["sequence_length = {'targets': 39}"], "sequence_length = {'targets'"),
        (["distill.teacher_params = ['d_fff = 8']"], "Nothing in gin uses"),
        (
            [
                "distill.initialize_from_teacher = False",
                "distill.initialize_experts = 'mean'",
            ],
            "needs distill.initialize_from_teacher",
        ),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, teacher, params, expected):
  with pytest.raises(errors.UserError) as raised:
    distilled(tmp_path, teacher, *params)
  assert expected in str(raised.value)
  assert not list(tmp_path.glob("model.ckpt*"))


@pytest.mark.parametrize(
    "model, params, expected",
    [
        ("sparse", [], "this student has experts of its own"),
        ("dense", ["teacher_dir = %r"], "model.ckpt-4 has none"),
    ],
)
def test_only_dense_layers_are_made_of_experts(
    tmp_path, teacher, student, model, params, expected
):
  with pytest.raises(errors.UserError, match=expected):
    distilled(
        tmp_path,
        teacher,
        "distill.initialize_experts = 'most_used'",
        *[x % str(student) for x in params],
        model=model,
    )


def test_directories_of_other_runs_are_refused(teacher, student):
  with pytest.raises(errors.UserError, match="are both"):
    distilled(teacher, teacher)
  with pytest.raises(errors.UserError, match="is no distillation"):
    distilled(teacher, student)
