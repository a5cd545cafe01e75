# Every target runs in this checkout's .venv, which `make setup` creates.

SHELL := /bin/bash
PYTHON := .venv/bin/python
UV = $(shell sed -n 's/^UV = "\(.*\)"/\1/p' scripts/setup_env.py)
# Repositories and commits; T5X imports the last two.
T5X := google-research/t5x@cc342d419ec3e3e9c4bf1df33c82330cafdc1e16 \
  google/flaxformer@399ea3a85e9807ada653fd0de1a9de627eb0acde \
  google/airio@69897df7d9a427b947a9f7bb4164c7782b43e601 \
  google-research/jestimator@326824a477feef6d92e6f44175000907a72899ca
COMPILE := .venv/lock/bin/uv pip compile --quiet --system-certs \
  --python-version 3.11 --python-platform linux

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-peers test-peers-t5x bench bench-peers lint \
  format lock clean

help: ## Show this list.
	@echo "Targets:"
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

setup: ## Create or update .venv (the other targets do so too).
	@for python in .python/*/bin/python3.11 python3.11 python3; do \
	  if "$$python" -c 'import venv' 2> /dev/null; then \
	    exec "$$python" scripts/setup_env.py; \
	  fi; \
	done; \
	echo "Python 3 is missing. On Debian and Ubuntu:" \
	  "sudo apt install python3 python3-pip" >&2; \
	exit 1

demo: setup ## Pre-train a small Switch Transformer and its dense twin.
	@$(PYTHON) -m benchmarks.demo

test: setup ## Run the tests.
	@$(PYTHON) -m pytest -n 2 tests/

test-peers: setup ## Compare conversions with Hugging Face's own models.
	@test -x .venv-peers/bin/python || $(MAKE) bench-peers
	@.venv-peers/bin/python -m tests.peers.huggingface

test-peers-t5x: setup ## Compare conversions with T5X's own models.
	@test -x .venv-t5x/bin/python || { \
	  $(PYTHON) -m venv --without-pip .venv-t5x && \
	  $(PYTHON) -m pip --python .venv-t5x/bin/python install --quiet \
	    -r benchmarks/requirements-t5x.txt; }
	@for source in $(T5X); do \
	  name=$${source%@*}; place=.venv-t5x/sources/$$name; \
	  test -e $$place/LICENSE || { \
	    git init --quiet $$place && \
	    git -C $$place fetch --quiet --depth 1 https://github.com/$$name \
	      $${source#*@} && \
	    git -C $$place checkout --quiet FETCH_HEAD; } || exit 1; \
	done
	@sources=$$(printf ":$(CURDIR)/.venv-t5x/sources/%s" $(T5X)); \
	PYTHONPATH=$$(sed 's/@[^:]*//g; s/^://' <<< "$$sources") \
	  .venv-t5x/bin/python -m tests.peers.t5x

bench: setup ## Measure the speed and write docs/performance.md.
	@$(PYTHON) -m benchmarks
	@$(PYTHON) -m benchmarks.report

bench-peers: setup ## Create .venv-peers with Hugging Face, for comparison.
	@$(PYTHON) -m venv --without-pip .venv-peers
	@$(PYTHON) -m pip --python .venv-peers/bin/python install --quiet \
	  -r benchmarks/requirements-huggingface.txt

lint: setup ## Check the style.
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m pyink --quiet --check .

format: setup ## Format the code in the house style.
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m pyink --quiet .

lock: ## Regenerate requirements*.txt from requirements*.in.
	@test -x $(PYTHON) || $(MAKE) setup
	@$(PYTHON) -m pip install --quiet --target .venv/lock --upgrade $(UV)
	@$(COMPILE) requirements.in --output-file requirements.txt \
	  --custom-compile-command \
	  "make lock  (to install: pip install --no-deps -r requirements.txt)"
	@$(COMPILE) requirements-parquet.in --output-file requirements-parquet.txt \
	  --no-config --custom-compile-command "make lock  (to install: pip install \
	--no-deps -r requirements-parquet.txt)"

clean: ## Remove the environments and the caches of tools.
	@rm -rf .venv .venv-peers .venv-t5x .python .pytest_cache .ruff_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
