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

"""What --mode=serve cannot serve, and where it cannot."""

from tensorflow.core.protobuf import saved_model_pb2

from tests.mistakes.mistake import Mistake


def _serve(*flags: str, contains=(), params=(), files=None) -> Mistake:
  """The mode at a free port, and what its line must have."""
  return Mistake(
      contains,
      flags=[
          "--mode=serve",
          "--port=0",
          *flags,
          *(f"--gin_param={param}" for param in params),
      ],
      files=files or {},
      is_whole=True,
  )


def _without_signatures() -> bytes:
  model = saved_model_pb2.SavedModel()
  model.meta_graphs.add().meta_info_def.tags.append("serve")
  return model.SerializeToString()


MISTAKES = [
    _serve(contains=["--mode=serve needs --saved_model."]),
    _serve("--saved_model=no", contains=["--saved_model=no does not exist"]),
    _serve(
        "--saved_model=.",
        contains=[". is not a SavedModel: it has no saved_model.pb"],
    ),
    _serve(
        "--saved_model=out",
        contains=["out/text/3 cannot be loaded as a SavedModel: "],
        files={"out/text/3/saved_model.pb": b"\xff" * 20},
    ),
    _serve(
        "--saved_model=out",
        contains=["out has no signature that takes texts, only none at all"],
        files={"out/saved_model.pb": _without_signatures()},
    ),
    _serve(
        *("--saved_model=.", "--host=no name"),
        contains=["--host=no name is no address and no name of one"],
    ),
    _serve(
        *("--saved_model=.", "--port=65536"),
        contains=["--port=65536", "65535"],
    ),
    _serve(
        "--saved_model=.",
        contains=["serve.batch_size = 0", "at least 1"],
        params=["serve.batch_size = 0"],
    ),
    _serve(
        "--saved_model=.",
        contains=["serve.request_examples = 64 is more than"],
        params=["serve.queue_examples = 8"],
    ),
    Mistake(
        ["--saved_model goes with --mode=serve only."],
        flags=["--saved_model=x"],
    ),
]
