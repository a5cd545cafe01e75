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

r"""Trains, evaluates and applies Switch Transformers.

For example, from any directory:

  python run_switch.py --model_dir=/tmp/switch_tiny \
    --gin_file=models/switch_tiny.gin --gin_file=layouts/single.gin \
    --gin_file=objectives/span_corruption.gin \
    --gin_file=schedules/rsqrt_no_ramp_down.gin --gin_file=runs/pretrain.gin \
    --gin_param="task = 'docstrings_span_corruption'" \
    --gin_param="num_cores = 1" --gin_param="batch_size = 16" \
    --gin_param="train_steps = 1000"

A gin file is looked for in the working directory and then in gin/. The same
command resumes an interrupted run. TensorFlow's log is in model_dir/log.txt.
"""

# Nothing here may import TensorFlow before the flags are checked: --help and
# mistakes on the command line are answered at once. switch_command/ has the
# parts, mtf_switch/modes/launch.py everything that needs TensorFlow.
from collections.abc import Sequence
import gc
import sys
import traceback

from switch_command import installation

if sys.version_info[:2] != (3, 11):
  version = ".".join(map(str, sys.version_info[:3]))
  sys.exit(
      "run_switch: " + installation.incomplete(f"Python {version} is not 3.11")
  )

try:
  from absl import app
  from absl import flags
except ModuleNotFoundError as error:
  sys.exit(
      "run_switch: " + installation.incomplete(f"{error.name} is not installed")
  )

from switch_command import calls
from switch_command import checks
from switch_command import definitions
from switch_command import flags_of_t5
from switch_command import mistakes
from switch_command import modes
from switch_command import parsing
from switch_command import signals
from switch_command import streams

FLAGS = flags.FLAGS


def main():
  """The entry point."""
  streams.open_all()
  # --help describes the main module, which is a small script in .venv/bin
  # where this program is run by its name.
  sys.modules["__main__"].__doc__ = __doc__
  for flag in FLAGS.get_flags_for_module(definitions.__name__):
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  if answer := flags_of_t5.answer(sys.argv[1:]):
    sys.exit(f"run_switch: {answer}")
  app.run(_main, flags_parser=parsing.parse)


def _main(argv: Sequence[str]) -> int:
  """Runs one mode and returns the exit status."""
  log = streams.Log()
  ending = signals.Signals(log.terminal)
  status = 1
  try:
    mode = modes.MODES[FLAGS.mode]
    of_mode = checks.check(argv, mode, log)
    calls.call(mode, of_mode, log)
    sys.stdout.flush()
    return 0
  except mistakes.Mistake as mistake:
    message = str(mistake)
  except (Exception, KeyboardInterrupt) as error:  # pylint: disable=broad-exception-caught
    traceback.print_exc()
    status = getattr(error, "exit_status", 1)
    message = _explain(error)
    # While modules are loaded, an interrupt becomes an ImportError.
    if not message and ending.first:
      status = 128 + ending.first
      message = f"stopped by {ending.first.name}; run the same command again."
    elif not message and isinstance(error, ModuleNotFoundError):
      message = installation.incomplete(f"{_missing(error)} is not installed")
    message = message or traceback.format_exc()
  finally:
    ending.close()
    # Python would look for garbage among all objects, for seconds, to end.
    gc.freeze()
  print(f"run_switch: {message}", file=log.terminal)
  return status


def _missing(error: ModuleNotFoundError) -> str:
  """The module that is missing; gin's copy of an error has it in its text."""
  return error.name or str(error).partition("'")[2].partition("'")[0]


def _explain(error: BaseException) -> str | None:
  """One line for an error that the user can correct, None for any other."""
  if launch := sys.modules.get("mtf_switch.modes.launch"):
    return launch.explain(error)
  own = sys.modules.get("mtf_switch.errors")  # Without TensorFlow.
  if own and isinstance(error, (own.UserError, own.Stopped)):
    return str(error)
  return None


if __name__ == "__main__":
  main()
