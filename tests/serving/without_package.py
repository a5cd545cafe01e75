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

"""A program that loads SavedModels without this package, as a user would.

Its arguments are the directory of --mode=export, a JSON file with what to ask,
and a file with the example that --mode=export prints.
"""

import json
import sys

for name in ("mtf_switch", "mesh_tensorflow", "seqio", "t5", "gin"):
  sys.modules[name] = None

import tensorflow as tf  # noqa: E402

DIRECTORY, FILE, PRINTED = sys.argv[1:]


def main():
  """Prints the answers as JSON."""
  with open(FILE) as file:
    asked = json.load(file)
  answers = {"ids": {}, "texts": {}, "errors": []}
  model = tf.saved_model.load(f"{DIRECTORY}/ids/{asked['step']}")
  functions = model.signatures
  inputs, targets = (tf.constant(asked[x]) for x in ("inputs", "targets"))
  answers["ids"]["greedy"] = [
      functions["greedy"](inputs=inputs[:n])["outputs"].numpy().tolist()
      for n in asked["batches"]
  ]
  answers["ids"]["samples"] = [
      functions["sample"](inputs=inputs)["outputs"].numpy().tolist()
      for _ in range(2)
  ]
  answers["ids"]["score"] = [
      functions["score"](inputs=inputs[:n], targets=targets[:n])["scores"]
      .numpy()
      .tolist()
      for n in asked["batches"]
  ]
  short = functions["greedy"](inputs=tf.constant([[5, 1], [9, 1]]))
  padded = functions["greedy"](inputs=tf.constant([[5, 1, 0], [9, 1, 0]]))
  answers["short"] = [x["outputs"].numpy().tolist() for x in (short, padded)]
  for wrong in asked["wrong"]:
    try:
      functions["greedy"](inputs=tf.constant(wrong))
    except tf.errors.InvalidArgumentError as error:
      answers["errors"].append(error.message)
  answers["needs_text"] = "tensorflow_text" in sys.modules
  # As TensorFlow Serving loads it.
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    graph = tf.compat.v1.saved_model.load(
        session, ["serve"], f"{DIRECTORY}/ids/{asked['step']}"
    )
    greedy = graph.signature_def["serving_default"]
    answers["session"] = session.run(
        greedy.outputs["outputs"].name,
        {greedy.inputs["inputs"].name: asked["inputs"]},
    ).tolist()

  names = {}
  with open(PRINTED) as file:
    exec(file.read(), names)  # pylint: disable=exec-used
  functions = names["model"].signatures
  for name in ("greedy", "beam"):
    answers["texts"][name] = [
        texts(functions[name](inputs=tf.constant(asked["lines"][:n])))
        for n in asked["batches"]
    ]
  answers["none"] = texts(
      functions["greedy"](inputs=tf.constant([], tf.string))
  )
  answers["texts"]["score"] = [
      functions["score"](
          inputs=tf.constant(asked["lines"][:n]),
          targets=tf.constant(asked["answers"][:n]),
      )["scores"]
      .numpy()
      .tolist()
      for n in asked["batches"]
  ]
  tokens = functions["tokenize"](inputs=tf.constant(asked["lines"]))
  answers["tokenize"] = {k: x.numpy().tolist() for k, x in tokens.items()}
  print(json.dumps(answers))


def texts(outputs):
  """Text, not bytes."""
  return [x.decode() for x in outputs["outputs"].numpy()]


main()
