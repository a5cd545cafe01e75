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

"""The embedded corpus: the documentation of installed Python packages.

Its documents are the docstrings of packages in requirements.txt. This is real
English text that needs no download and is the same on every machine with these
versions. `python -m tasks` builds the corpus ahead of its first use.
"""

import collections
from collections.abc import Callable, Sequence
import contextlib
import csv
import dataclasses
import functools
import hashlib
import importlib.metadata
import math
import pathlib
from typing import Any, NamedTuple

import gin

from tasks import cache
from tasks import docstring_documents
from tasks import errors
from tasks import extraction
from tasks import prepared_text
from tasks import waits

# Packages with much documentation in prose. The list is fixed, so that
# installing other packages changes neither the text nor the vocabulary trained
# on it. tf-keras is left out because it repeats keras under another name.
DISTRIBUTIONS = (
    "flax",
    "jax",
    "keras",
    "matplotlib",
    "mesh-tensorflow",
    "nltk",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "seqio-nightly",
    "t5",
    "tensorboard",
    "tensorflow",
    "tensorflow-datasets",
    "tensorflow-estimator",
    "tensorflow-text",
)

# Part of the cache key; increased when the same packages give different text.
_FORMAT = 2


class SourceFile(NamedTuple):
  """A Python file.

  Attributes:
    name: its path below site-packages, the same on every machine.
    path: its path on this machine.
  """

  name: str
  path: str


def installed_files(distributions: Sequence[str]) -> list[SourceFile]:
  """Returns the source files of installed packages, without their tests.

  Args:
    distributions: names as on the package index.

  Returns:
    the files in the order of a hash of their names, which is the same on every
    machine, and any part of which is a sample of all packages.

  Raises:
    DataError: a package is not installed.
  """
  files = []
  for distribution in distributions:
    found = _distribution(distribution)
    for row in csv.reader((found.read_text("RECORD") or "").splitlines()):
      name = pathlib.PurePosixPath(row[0])
      is_test = {"test", "tests"} & set(name.parts) or (
          name.name.startswith("test_") or name.name.endswith("_test.py")
      )
      if name.suffix == ".py" and ".." not in name.parts and not is_test:
        files.append(SourceFile(str(name), str(found.locate_file(name))))
  return sorted(
      files, key=lambda file: hashlib.sha256(file.name.encode()).digest()
  )


def _distribution(name: str) -> importlib.metadata.Distribution:
  try:
    return importlib.metadata.distribution(name)
  except importlib.metadata.PackageNotFoundError as error:
    raise errors.DataError(
        f"The embedded corpus is made of {len(DISTRIBUTIONS)} packages, of "
        f"which {name} is not installed; install those of requirements.txt."
    ) from error


def build(
    directory: pathlib.Path,
    files: Sequence[SourceFile],
    max_bytes: int | None,
    num_workers: int,
    report: Callable[[float], Any],
    description: dict[str, Any],
) -> None:
  """Writes the docstrings of source files as prepared text.

  Args:
    directory: an existing, empty directory.
    files: the source files, read in this order.
    max_bytes: the size of the text; None for all of it.
    num_workers: processes that read; the result does not depend on it.
    report: called with the completed share of the work, from 0 to 1.
    description: entries of the manifest, in JSON types.

  Raises:
    DataError: there is too little text to train on and to validate with.
  """
  counts = collections.Counter()
  documents = []
  paths = [file.path for file in files]
  with contextlib.closing(extraction.extract(paths, num_workers)) as modules:
    for docstrings in docstring_documents.select(modules, max_bytes, counts):
      documents.extend(docstring_documents.group(docstrings))
      done = counts["files"] / len(files)
      report(max(done, counts["bytes"] / (max_bytes or math.inf)))
  pairs = list(docstring_documents.split(documents)) if documents else []
  if not {"train", "validation"} <= {name for name, _ in pairs}:
    raise errors.DataError(
        f"{counts['bytes']} bytes of docstrings are too few to train on and "
        "to validate with"
        + ("." if max_bytes is None else "; increase docstrings.max_bytes.")
    )
  prepared_text.write(
      directory,
      pairs,
      {**description, "extracted": counts},
      docstring_documents.SPLITS,
  )
  report(1.0)


@gin.configurable("docstrings", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """Options of the embedded corpus, set with gin.

  Attributes:
    max_bytes: the size of the text, a sample of all packages; None for all of
      it. Each size is a separate corpus.
  """

  max_bytes: int | None = None


def docstrings() -> prepared_text.PreparedText:
  """Returns the embedded corpus with gin's options; extracts it on first use.

  Raises:
    DataError: as `embedded`.
  """
  return embedded(Options().max_bytes)


def embedded(max_bytes: int | None) -> prepared_text.PreparedText:
  """Returns the embedded corpus; extracts it on first use, on all cores.

  Args:
    max_bytes: as in `Options`.

  Raises:
    DataError: a package is not installed, or max_bytes is too small.
  """
  return _embedded(cache.cache_directory(), max_bytes)


@functools.cache
def _embedded(
    cache_directory: pathlib.Path, max_bytes: int | None
) -> prepared_text.PreparedText:
  """Implements `embedded`, once per process and cache directory."""
  del cache_directory  # cache.build_once reads it.
  versions = {name: _distribution(name).version for name in DISTRIBUTIONS}
  key = {"format": _FORMAT, "packages": versions, "max_bytes": max_bytes}

  def build_entry(directory):
    files = installed_files(DISTRIBUTIONS)
    with waits.work(
        "extracting the embedded corpus", len(files), "files"
    ) as report:
      build(
          directory,
          files,
          max_bytes,
          extraction.num_cores(),
          lambda share: report(int(share * len(files))),
          key,
      )

  return prepared_text.PreparedText(
      cache.build_once("docstrings", key, build_entry)
  )
