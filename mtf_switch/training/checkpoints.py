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

"""The checkpoints of a directory: finding, choosing and removing them.

A directory has the checkpoints of which all files are there, whatever the file
`checkpoint` says. That file names the one to go on from, and lists those that
may be removed. Where it is missing or cut, or names one that is missing or
damaged, the newest good checkpoint is the one to go on from.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import os
import re
from typing import Annotated, Literal
import warnings

import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.training import checkpoint_files

# -1 is the latest too, as in T5's gin files.
Step = Annotated[
    Literal[-1] | values.CountOrZero | None,
    "a whole number of at least 0, or None for the latest",
]
_Steps = Annotated[Sequence[values.CountOrZero], values.NOT_EMPTY]
Selection = Annotated[
    Step | _Steps | Literal["all"],
    "a step, a list of steps, 'all', or None for the latest",
]

_PREFIX = "model.ckpt-"
_FILE = re.compile(re.escape(_PREFIX) + r"(\d+)\.(index|data-\d+-of-\d+)")
_UNFINISHED = re.compile(re.escape(_PREFIX) + r"\d+_temp/?")
_MAX_NAMED = 3
# Characters that mean something else to TensorFlow.
_PATTERN = re.compile(r"[*?\[\\]")


def path(model_dir: str, step: int | str) -> str:
  """Returns the path of a checkpoint, as tf.train.Saver expects it."""
  return os.path.join(model_dir, f"{_PREFIX}{step}")


def steps(model_dir: str) -> list[int]:
  """Returns the steps of the complete checkpoints of a directory, in order."""
  return [
      step
      for step in saved_steps(model_dir)
      if not checkpoint_files.fault(path(model_dir, step))
  ]


def saved_steps(model_dir: str) -> list[int]:
  """Returns the steps that were saved, in order: now complete or not."""
  return [
      step
      for step, has_index in _steps_of_files(model_dir).items()
      if has_index
  ]


def latest_step(model_dir: str) -> int:
  """Returns the step at which training would resume; 0 in a new directory."""
  good = (
      step
      for step in _candidates(model_dir)
      if not checkpoint_files.fault(path(model_dir, step))
  )
  return next(good, 0)


def select(
    model_dir: str, checkpoint_step: Selection, setting: str = "--model_dir"
) -> list[int]:
  """Returns the steps of the selected checkpoints, after reading all of them.

  Damaged checkpoints are left out with a notice, unless they were asked for.

  Args:
    model_dir: the directory of the checkpoints.
    checkpoint_step: see Selection.
    setting: the flag or gin parameter that names the directory.

  Returns:
    steps, in order.

  Raises:
    UserError: there is no such checkpoint, it is damaged, or TensorFlow cannot
      restore from a directory of that name.
  """
  _check_name(model_dir, setting)
  found = _steps_of_files(model_dir)
  if not found and _named_step(model_dir) is None:
    raise errors.UserError(
        f"there is no checkpoint in {model_dir!r}; train first, or correct "
        f"{setting}."
    )
  if checkpoint_step in (None, -1):
    step, damaged = _latest_good_step(model_dir)
    chosen = [] if step is None else [step]
  elif checkpoint_step == "all":
    damaged = _damaged(model_dir, found)
    chosen = [step for step in found if step not in damaged]
  else:
    if isinstance(checkpoint_step, int):
      checkpoint_step = [checkpoint_step]
    chosen = sorted(checkpoint_step)
    for step in chosen:
      if step not in found:
        raise errors.UserError(
            f"there is no checkpoint of step {step} in {model_dir!r}, only of "
            f"{', '.join(map(str, found))}."
        )
    damaged = _damaged(model_dir, chosen)
    if damaged:
      raise errors.UserError(f"{_describe(model_dir, damaged)}.")
  if not chosen:
    raise _no_good_checkpoint(model_dir, damaged)
  others = "the others" if checkpoint_step == "all" else f"step {chosen[0]}"
  _note_damaged(model_dir, damaged, f"using {others}")
  return chosen


def resume(model_dir: str) -> int:
  """Returns the step that training goes on from, 0 in a new directory.

  Reads all of that checkpoint, and writes the file `checkpoint`, by which
  TensorFlow restores it. Later checkpoints, from before a user went back, stay
  until training makes them again; they are the first ones to be removed. What
  failed saves have left is removed now.

  Args:
    model_dir: the directory of the run.

  Raises:
    UserError: there are checkpoints, but no good one; the one to go on from is
      of another step than its name; or TensorFlow cannot restore from a
      directory of that name.
  """
  _check_name(model_dir, "--model_dir")
  _remove_unfinished(model_dir)
  step, damaged = _latest_good_step(model_dir)
  if step is None:
    if saved_steps(model_dir) or _named_step(model_dir) is not None:
      raise _no_good_checkpoint(model_dir, damaged)
    # The first save was cut off.
    _note_damaged(model_dir, damaged, "starting at step 0")
    return 0
  inside = checkpoint_files.step_in(path(model_dir, step))
  if inside not in (None, step):
    raise errors.UserError(
        f"{path(model_dir, step)} holds step {inside}, so that weights and "
        f"batches would not go together; name its files {_PREFIX}{inside}.*"
    )
  found = _steps_of_files(model_dir)
  listed = {*(_listed_steps(model_dir) or found), step} & set(found)
  write_list(model_dir, sorted(listed, key=lambda x: (x <= step, x)))
  _note_damaged(model_dir, damaged, f"going on from step {step}")
  return step


def _remove_unfinished(model_dir: str):
  """Removes directories of saves that failed, of which no checkpoint came."""
  if not tf.io.gfile.exists(model_dir):
    return
  for name in tf.io.gfile.listdir(model_dir):
    if _UNFINISHED.fullmatch(name):
      tf.io.gfile.rmtree(os.path.join(model_dir, name))


def prune(
    model_dir: str,
    keep_latest: int | None,
    choose_best: Callable[[Collection[int]], Collection[int]],
) -> list[int]:
  """Removes the checkpoints that are neither among the latest nor the best.

  Args:
    model_dir: the directory of the run.
    keep_latest: how many of the latest stay; all of them if None or 0.
    choose_best: returns those of the given steps that stay as well.

  Returns:
    the steps that the file `checkpoint` lists, the latest last.
  """
  listed = _listed_steps(model_dir) or []
  kept = set(listed)
  if keep_latest:
    kept = {*listed[-keep_latest:], *choose_best(listed)}
  for step in listed:
    if step not in kept:
      checkpoint_files.remove(path(model_dir, step))
  remaining = [step for step in listed if step in kept]
  if remaining != listed:
    write_list(model_dir, remaining)
  return remaining


def set_aside(model_dir: str, step: int, directory: str):
  """Moves a checkpoint to another directory, and takes it off the list.

  Args:
    model_dir: the directory of the run.
    step: the step of the checkpoint.
    directory: where its files go; it is made.
  """
  tf.io.gfile.makedirs(directory)
  checkpoint_files.move(path(model_dir, step), directory)
  remaining = sorted(steps(model_dir), key=lambda x: (x <= step, x))
  if remaining:
    write_list(model_dir, remaining)
  else:
    tf.io.gfile.remove(os.path.join(model_dir, "checkpoint"))


def write_list(model_dir: str, listed: Sequence[int]):
  """Writes the file `checkpoint`, by which TensorFlow finds checkpoints.

  Args:
    model_dir: the directory of the run.
    listed: the steps of its checkpoints, the one to go on from at the end.
  """
  lines = [f'model_checkpoint_path: "{_PREFIX}{listed[-1]}"']
  lines += [f'all_model_checkpoint_paths: "{_PREFIX}{step}"' for step in listed]
  files.write_lines(os.path.join(model_dir, "checkpoint"), lines)


def _check_name(model_dir: str, setting: str):
  """Refuses a directory in which TensorFlow could save but never restore."""
  if _PATTERN.search(model_dir):
    raise errors.UserError(
        f"{setting} = {model_dir!r}: TensorFlow takes a name with *, ?, [ or a "
        "backslash for a pattern, and finds no checkpoint there; use another "
        "name."
    )


def _steps_of_files(model_dir: str) -> dict[int, bool]:
  """The steps of which there are files, in order; whether there is an index."""
  if not tf.io.gfile.isdir(model_dir):
    return {}
  found = {}
  for match in map(_FILE.fullmatch, tf.io.gfile.listdir(model_dir)):
    if match:
      step, kind = int(match[1]), match[2]
      found[step] = found.get(step, False) or kind == "index"
  return dict(sorted(found.items()))


def _state(model_dir: str):
  """The content of the file `checkpoint`; None if it cannot be read."""
  try:
    return tf.train.get_checkpoint_state(model_dir)
  except ValueError:  # It is empty, or no text.
    return None


def _named_step(model_dir: str) -> int | None:
  """The step that the file `checkpoint` names as the one to go on from."""
  state = _state(model_dir)
  return state and _step_of(state.model_checkpoint_path)


def _listed_steps(model_dir: str) -> list[int] | None:
  """The steps that the file `checkpoint` lists; None if it cannot be read."""
  state = _state(model_dir)
  if state is None:
    return None
  found = map(_step_of, state.all_model_checkpoint_paths)
  return [step for step in found if step is not None]


def _step_of(name: str) -> int | None:
  """The step of a checkpoint's name, in whichever directory it once was."""
  match = re.fullmatch(re.escape(_PREFIX) + r"(\d+)", os.path.basename(name))
  return int(match[1]) if match else None


def _candidates(model_dir: str) -> Iterable[int]:
  """The steps to go on from, the preferred first, complete or not."""
  found = sorted(_steps_of_files(model_dir), reverse=True)
  named = _named_step(model_dir)
  return found if named is None else dict.fromkeys([named, *found])


def _latest_good_step(model_dir: str) -> tuple[int | None, dict[int, str]]:
  """The step to go on from, and what is wrong with those that came before it.

  Returns:
    the step, None if there is none, and phrases by steps.
  """
  damaged = {}
  for step in _candidates(model_dir):
    problem = _damaged(model_dir, [step])
    if not problem:
      return step, damaged
    damaged.update(problem)
  return None, damaged


def _damaged(model_dir: str, candidates: Iterable[int]) -> dict[int, str]:
  """What is wrong with checkpoints, by the steps of those that are damaged."""
  found = {
      step: checkpoint_files.damage(path(model_dir, step))
      for step in candidates
  }
  return {step: problem for step, problem in found.items() if problem}


def _describe(model_dir: str, damaged: Mapping[int, str]) -> str:
  """For example: run/model.ckpt-6 has no index file."""
  faults = [
      f"{path(model_dir, step)} {problem}" for step, problem in damaged.items()
  ]
  if len(faults) > _MAX_NAMED:
    faults[_MAX_NAMED:] = [f"{len(faults) - _MAX_NAMED} more are damaged"]
  return "; ".join(faults)


def _note_damaged(model_dir: str, damaged: Mapping[int, str], instead: str):
  """Says what is damaged and what is used instead, if anything is damaged."""
  if damaged:
    warnings.warn(
        f"{_describe(model_dir, damaged)}; {instead}.",
        errors.UserNotice,
        stacklevel=3,
    )


def _no_good_checkpoint(
    model_dir: str, damaged: Mapping[int, str]
) -> errors.UserError:
  return errors.UserError(
      f"{_describe(model_dir, damaged)}; no other checkpoint is there. Bring "
      "back its files, or take another directory."
  )
