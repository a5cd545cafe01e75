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
"""Downstream tasks without a download, and the facts that they ask for.

`cldr_names` is a closed-book task (offline_names.py); `docstring_package`,
`docstring_kind` and `docstring_signature` ask about passages that are read
(offline_docstrings.py). `offline_downstream` is their mixture, and
`offline_understanding` that of the first two about passages. `cldr_facts` is
the text with the answers of the first; the mixtures `offline_span_corruption`,
`offline_prefix_lm` and `offline_full_lm` pre-train on it and on the embedded
corpus. All have the vocabulary of that corpus.
"""

from collections.abc import Callable, Sequence
import functools
import importlib.metadata
import pathlib

import babel
import seqio
from t5.data import postprocessors
from t5.evaluation import metrics

from tasks import cache
from tasks import corpus
from tasks import extraction
from tasks import offline_docstrings
from tasks import offline_names
from tasks import offline_questions
from tasks import prepared_text
from tasks import pretraining
from tasks import sources
from tasks import vocabulary
from tasks import waits

# Part of the cache key; increased when the same packages give other questions.
_FORMAT = 2

# Sequences of the embedded corpus for one of facts. Those are a text of 1.7 MB,
# which has to be read often.
CORPUS_RATE = 3.0


def build_names(directory: pathlib.Path) -> None:
  """Writes the facts and the questions about them as prepared text.

  Args:
    directory: an existing, empty directory; it receives a subdirectory for each
      of `cldr_facts` and `cldr_names`.
  """
  description = {"babel": babel.__version__}
  with waits.work("preparing the questions about names"):
    facts = offline_names.facts()
    (directory / "cldr_facts").mkdir()
    prepared_text.write(
        directory / "cldr_facts", offline_names.documents(facts), description
    )
    offline_questions.write(
        directory / "cldr_names", offline_names.questions(facts), description
    )


def build_docstrings(
    directory: pathlib.Path,
    files: Sequence[corpus.SourceFile],
    num_workers: int,
) -> None:
  """Writes the questions about docstrings as prepared text.

  Args:
    directory: an existing, empty directory; it receives a subdirectory for each
      of `docstring_package`, `docstring_kind` and `docstring_signature`.
    files: source files, in an order that mixes the packages.
    num_workers: processes that read; the result does not depend on it.
  """
  modules = []
  with waits.work(
      "preparing the questions about docstrings", len(files), "files"
  ) as report:
    for module in offline_docstrings.read(files, num_workers):
      modules.append(module)
      report(len(modules))
    for name, questions in (
        ("docstring_package", offline_docstrings.package_questions),
        ("docstring_kind", offline_docstrings.kind_questions),
        ("docstring_signature", offline_docstrings.signature_questions),
    ):
      offline_questions.write(
          directory / name, questions(modules), {"files": len(files)}
      )


def names_text(name: str) -> prepared_text.PreparedText:
  """Returns a text of `build_names`, which the first use prepares."""
  return prepared_text.PreparedText(_names(cache.cache_directory()) / name)


def docstrings_text(name: str) -> prepared_text.PreparedText:
  """Returns a text of `build_docstrings`, which the first use prepares."""
  return prepared_text.PreparedText(_docstrings(cache.cache_directory()) / name)


@functools.cache
def _names(cache_directory: pathlib.Path) -> pathlib.Path:
  """Returns the cache entry, found once per process and cache directory."""
  del cache_directory  # cache.build_once reads it.
  key = {"format": _FORMAT, "babel": babel.__version__}
  return cache.build_once("offline_names", key, build_names)


@functools.cache
def _docstrings(cache_directory: pathlib.Path) -> pathlib.Path:
  """Returns the cache entry, found once per process and cache directory."""
  del cache_directory  # cache.build_once reads it.
  files = offline_docstrings.files()
  key = {
      "format": _FORMAT,
      "packages": {
          name: importlib.metadata.version(name)
          for name in offline_docstrings.DISTRIBUTIONS
      },
      "files": len(files),
  }
  return cache.build_once(
      "offline_docstrings",
      key,
      lambda path: build_docstrings(path, files, extraction.num_cores()),
  )


def _register(
    name: str,
    text: Callable[[str], prepared_text.PreparedText],
    origin: str,
    metric_fn: Callable,
    postprocess_fn: Callable,
) -> None:
  """Registers a task of questions.

  Args:
    name: the task's, and its text's.
    text: returns the text of that name.
    origin: of the questions, in a few words.
    metric_fn: the metric.
    postprocess_fn: makes its arguments of texts.
  """
  feature = seqio.Feature(
      vocabulary.LateVocabulary(corpus.docstrings), add_eos=True
  )
  seqio.TaskRegistry.add(
      name,
      source=sources.PreparedTextSource(
          functools.partial(text, name),
          lambda: origin,
          splits=offline_questions.SPLITS,
      ),
      preprocessors=[
          offline_questions.parse,
          seqio.preprocessors.tokenize,
          seqio.CacheDatasetPlaceholder(),
          seqio.preprocessors.append_eos_after_trim,
      ],
      output_features={"inputs": feature, "targets": feature},
      metric_fns=[metric_fn],
      postprocess_fn=postprocess_fn,
  )


def _register_classes(name: str, classes: Sequence[str]) -> None:
  """Registers a task of docstrings whose targets are names of classes."""
  _register(
      name,
      docstrings_text,
      "docstrings of the installed packages",
      metrics.accuracy,
      functools.partial(
          postprocessors.string_label_to_class_id, label_classes=classes
      ),
  )


_register(
    "cldr_names",
    names_text,
    "CLDR's names in Babel",
    metrics.squad,
    postprocessors.qa,
)
_register_classes("docstring_package", offline_docstrings.PACKAGES)
_register_classes("docstring_kind", offline_docstrings.KINDS)
_register_classes("docstring_signature", offline_docstrings.CHOICES)
for _mixture, _tasks in {
    # What models learn that train on a CPU for a few minutes.
    "offline_understanding": ["docstring_package", "docstring_kind"],
    "offline_downstream": [
        *("cldr_names", "docstring_package", "docstring_kind"),
        "docstring_signature",
    ],
}.items():
  seqio.MixtureRegistry.add(
      _mixture, _tasks, default_rate=seqio.mixing_rate_num_examples
  )

pretraining.register(
    "cldr_facts",
    sources.PreparedTextSource(
        functools.partial(names_text, "cldr_facts"),
        lambda: "sentences with CLDR's names in Babel",
    ),
    vocabulary.LateVocabulary(corpus.docstrings),
)
for _objective in ("span_corruption", "prefix_lm", "full_lm"):
  seqio.MixtureRegistry.add(
      f"offline_{_objective}",
      [
          (f"docstrings_{_objective}", CORPUS_RATE),
          (f"cldr_facts_{_objective}", 1.0),
      ],
  )
