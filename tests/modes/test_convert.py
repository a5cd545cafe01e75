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

"""The mode convert: there and back, and what is done with the model between."""

import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tests.conversion import peers
from tests.conversion import t5x_peers
from tests.peers import t5x_models

MODEL = "switch_untied"
FLAGS = [
    "--gin_file=layouts/single.gin",
    "--gin_file=runs/evaluate.gin",
    "--gin_param=task = 'docstrings_span_corruption'",
    "--gin_param=sequence_length = {'inputs': 16, 'targets': 8}",
    "--gin_param=batch_size = 2",
    "--gin_param=num_cores = 1",
]


def run(server, directory, *flags):
  done = server.run(flags, directory)
  assert not done.returncode, done.stderr
  return done


@pytest.fixture(scope="module")
def converted(server, tmp_path_factory):
  """A directory with a model "there", and "moved", which it has become."""
  directory = tmp_path_factory.mktemp("convert")
  peers.write(MODEL, directory / "there")
  done = run(
      server,
      directory,
      "--mode=convert",
      "--huggingface_dir=there",
      "--output_dir=here",
  )
  (directory / "here").rename(directory / "moved")
  (directory / "there" / "spiece.model").unlink()  # There is a copy.
  return directory, done


def test_every_variable_is_accounted_for(converted):
  directory, done = converted
  *lines, summary = done.stdout.splitlines()
  found = peers.variables(str(directory / "moved" / "model.ckpt-0"))
  del found["global_step"]
  for name in found:
    assert sum(name in line.split() for line in lines) == 1, name
  (line,) = [
      x for x in lines if "block.1.layer.1.mlp.experts" in x and "wo" in x
  ]
  assert line.split() == [
      "encoder.block.1.layer.1.mlp.experts.expert_0..2.wo.weight",
      "encoder/block_000/layer_003/SwitchFeedForward/experts/wo/kernel",
      *("3", "x", "12", "x", "8", "288", "transposed,", "stacked"),
  ]
  values = sum(x.size for x in found.values())
  tensors = len(peers.fixture(MODEL)["shapes"])
  assert summary == (
      f"{tensors - 2} tensors with {values:,} values became {len(found)}; "
      "2 left out, with 2,048 values."
  )
  assert "wrote here." in done.stderr


def test_the_gin_file_names_the_copy_of_the_vocabulary(converted):
  directory, _ = converted
  text = (directory / "moved" / "model.gin").read_text()
  (copy,) = (directory / "moved" / "vocabulary").iterdir()
  path = directory / "here" / "vocabulary" / copy.name
  assert f'vocabulary.path = "{path}"' in text


def test_a_converted_model_decodes_where_it_was_moved(server, converted):
  directory, _ = converted
  (directory / "inputs.txt").write_text("the switch\n\none expert\n")
  run(
      server,
      directory,
      "--mode=infer",
      "--model_dir=moved",
      "--gin_file=moved/model.gin",
      *FLAGS,
      "--input_file=inputs.txt",
      "--output_file=outputs.txt",
  )
  first, blank, last = (directory / "outputs.txt").read_text().splitlines()
  assert first and last and not blank


def test_the_way_back_is_the_same_files(server, converted):
  directory, _ = converted
  done = run(
      server,
      directory,
      "--mode=convert",
      "--model_dir=moved",
      "--gin_file=moved/model.gin",
      *FLAGS,
      "--output_dir=back",
  )
  there, back = (
      safetensors_numpy.load_file(directory / x / "model.safetensors")
      for x in ("there", "back")
  )
  assert set(there) == set(back)
  for name, value in there.items():
    np.testing.assert_array_equal(back[name], value)
  assert "decoder.embed_tokens.weight" in done.stdout
  values = sum(x.size for x in there.values()) - 2 * 1024
  assert f" with {values:,} values became {len(there)}." in done.stdout
  names = {x.name for x in (directory / "back").iterdir()}
  assert names == {
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "spiece.model",
      "tokenizer_config.json",
  }


def test_a_checkpoint_of_t5x_is_brought_here(server, tmp_path):
  t5x_peers.unpack("switch_base", tmp_path)
  file, bindings = t5x_models.MODELS["switch_base"]
  done = run(
      server,
      tmp_path,
      "--mode=convert",
      "--t5x_dir=checkpoint",
      "--output_dir=here",
      f"--gin_file={file}",
      *(f"--gin_param={x}" for x in bindings),
      f"--gin_param=vocabulary.path = '{peers.FIXTURES / 'spiece.model'}'",
  )
  *lines, summary = done.stdout.splitlines()
  found = peers.variables(
      str(tmp_path / "here" / f"model.ckpt-{t5x_peers.STEP}")
  )
  del found["global_step"]
  for name in found:
    assert sum(name in line.split() for line in lines) == 1, name
  values = sum(x.size for x in found.values())
  assert summary == (
      f"{len(found)} tensors with {values:,} values became {len(found)}."
  )
  assert f"{4 * len(found)} arrays of the optimizer are left out" in done.stderr
  assert "the model is in here/model.gin." in done.stderr
  (copy,) = (tmp_path / "here" / "vocabulary").iterdir()
  assert copy.name in (tmp_path / "here" / "model.gin").read_text()
