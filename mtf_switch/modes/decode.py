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

"""The modes that decode and score, configured by gin."""

import gin
import rich.console

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.serving import decodings
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import decoded_evaluation
from mtf_switch.training import inputs
from mtf_switch.training import prediction
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import watching


@gin.configurable(module="mtf_switch.decoding")
@values.checked
def evaluate(
    run: run_lib.Run,
    console: rich.console.Console,
    split: str = "validation",
    checkpoint_step: checkpoints.Selection = None,
    watch: bool = False,
    watch_minutes: values.Count | None = None,
):
  """Decodes a split and applies the metrics of each task.

  Writes inputs, targets and predictions, one a line, and metrics.jsonl to
  model_dir/<split>_eval, and TensorBoard's events.

  Args:
    run: the run.
    console: the console for progress.
    split: the split.
    checkpoint_step: which checkpoints; see checkpoints.Selection.
    watch: whether to evaluate all checkpoints as they come, each once.
    watch_minutes: how long to wait for one; None to wait without an end.

  Raises:
    UserError: a checkpoint or the split is missing, or no task has metrics.
  """
  with progress.Display(console) as display:
    steps = () if watch else _select(run, checkpoint_step, display)
    evaluation = decoded_evaluation.Evaluation(run, split, display)
    inputs.warn_of_losses(
        run.experiment,
        split,
        "mesh_eval_dataset_fn",
        inputs.EVALUATION_EXAMPLES_COUNTED,
        display,
    )
    for step in steps:
      evaluation.evaluate(step)
    if watch:
      watching.evaluate(
          run,
          checkpoint_step,
          watch_minutes,
          evaluation.evaluate_missing,
          display,
      )


@gin.configurable(module="mtf_switch.decoding")
@values.checked
def infer(
    run: run_lib.Run,
    console: rich.console.Console,
    input_file: str,
    output_file: str,
    checkpoint_step: checkpoints.Step = None,
):
  """Decodes a file of inputs, one a line, to a file of outputs, one a line.

  Lines keep their order. A blank line stays blank and is not decoded.

  Args:
    run: the run.
    console: the console for progress.
    input_file: the inputs.
    output_file: the outputs; replaced when all of them are there.
    checkpoint_step: the step of the checkpoint; None or -1 for the latest.

  Raises:
    UserError: the checkpoint or the inputs are missing.
  """
  experiment = run.experiment
  is_lm = experiment.model_type == "lm"
  if is_lm:
    decodings.check_beams_of_lm(decodings.of_gin(is_lm).beam_size)
  lines = read_lines(input_file)
  with progress.Display(console) as display:
    (step,) = _select(run, checkpoint_step, display)
    ids = inputs.encode_lines(
        {n: line for n, line in enumerate(lines, start=1) if line.strip()},
        experiment.vocabularies[0],
        experiment.lengths["targets" if is_lm else "inputs"],
        # An "lm" continues its inputs.
        add_eos=not is_lm,
        feature="inputs",
    )
    texts = iter(prediction.decode(run, ids, step, display))
    outputs = [next(texts) if line.strip() else "" for line in lines]
    files.write_lines(output_file, outputs)
    display.note(f"step {step}: {len(lines)} lines written to {output_file}")


@gin.configurable(module="mtf_switch.decoding")
@values.checked
def score(
    run: run_lib.Run,
    console: rich.console.Console,
    input_file: str,
    output_file: str,
    checkpoint_step: checkpoints.Step = None,
):
  """Writes the log-probabilities of a file's targets, one number a line.

  A line of the file is inputs, a tab and targets; for model_type "lm" only
  targets. The number is the natural logarithm of the probability of the
  targets and the end of the sequence, given the inputs. Targets that are too
  long are cut. The other lines of the file have no influence.

  Args:
    run: the run.
    console: the console for progress.
    input_file: the pairs.
    output_file: the numbers; replaced when all of them are there.
    checkpoint_step: the step of the checkpoint; None or -1 for the latest.

  Raises:
    UserError: the checkpoint or the inputs are missing, or a line has another
      number of columns.
  """
  experiment = run.experiment
  lines = read_lines(input_file)
  with progress.Display(console) as display:
    (step,) = _select(run, checkpoint_step, display)
    names = ["targets"]
    if experiment.model_type != "lm":
      names = ["inputs", "targets"]
    columns = [line.split("\t") for line in lines]
    for number, texts in enumerate(columns, start=1):
      if len(texts) != len(names):
        raise errors.UserError(
            f"{input_file}:{number}: {len(texts)} columns where "
            f"{' and '.join(names)} are expected, with a tab between columns."
        )
    features = {
        name: inputs.encode_lines(
            {n: texts[i] for n, texts in enumerate(columns, start=1)},
            experiment.vocabularies[name == "targets"],
            experiment.lengths[name],
            add_eos=True,
            feature=name,
        )
        for i, name in enumerate(names)
    }
    scores = [
        float(scored["score"])
        for scored in prediction.predict(
            run,
            prediction_functions.scoring_model_fn(
                run, counted_lowering.shown_by(display)
            ),
            features,
            step,
            display,
            "scored",
        )
    ]
    files.write_lines(output_file, scores)
    display.note(f"step {step}: {len(lines)} lines written to {output_file}")


def _select(
    run: run_lib.Run,
    checkpoint_step: checkpoints.Selection,
    display: progress.Display,
) -> list[int]:
  """The steps of the checkpoints; the vocabulary may be trained for that."""
  with display.working("checking the vocabulary and the checkpoints"):
    return run.select_checkpoints(checkpoint_step)


def read_lines(input_file: str) -> list[str]:
  """Returns the lines of a file or of a pipe.

  Args:
    input_file: its path.

  Raises:
    DataError: it cannot be read.
  """
  # Here and not above, where it could be the user's own module of that name.
  from tasks import records  # pylint: disable=g-import-not-at-top

  numbered = records.numbered_lines(input_file, or_stream=True)
  return [line for _, line in numbered]
