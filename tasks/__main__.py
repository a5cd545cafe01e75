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

"""`python -m tasks`: builds the embedded corpus ahead of its first use."""

import argparse
import contextlib
import warnings

import rich.progress

from tasks import corpus
from tasks import errors
from tasks import vocabulary
from tasks import vocabulary_training
from tasks import waits


def main():
  """Builds the corpus and its vocabulary, with a progress bar."""
  parser = argparse.ArgumentParser(
      prog="python -m tasks",
      description="Builds the embedded corpus and its vocabulary, if missing.",
  )
  parser.add_argument("--max_bytes", type=int, help="as docstrings.max_bytes")
  parser.add_argument(
      "--vocabulary_size",
      type=int,
      default=vocabulary.DEFAULT_SIZE,
      help="as vocabulary.size (%(default)s)",
  )
  arguments = parser.parse_args()
  warnings.simplefilter("ignore", errors.DataNotice)  # Printed at the end.
  try:
    with rich.progress.Progress() as progress:

      @contextlib.contextmanager
      def show(name: str, total: int | None, unit: str):
        del unit
        bar = progress.add_task(name, total=total)
        yield lambda done: progress.update(bar, completed=done)
        progress.update(bar, total=1, completed=1)

      with waits.shown_by(show):
        text = corpus.embedded(arguments.max_bytes)
        model = vocabulary_training.trained_on(text, arguments.vocabulary_size)
  except errors.DataError as error:
    parser.exit(1, f"{error}\n")
  for name in text.splits:
    print(
        f"{name}: {text.num_documents(name)} documents, "
        f"{text.num_bytes(name) / 1e6:.2f} MB"
    )
  print(f"text: {text.directory}\nvocabulary: {model}")
  print(vocabulary_training.describe(vocabulary_training.report_of(model)))


if __name__ == "__main__":
  main()
