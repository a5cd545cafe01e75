# Every target runs in this checkout's .venv, which `make setup` creates.

SHELL := /bin/bash
PYTHON := .venv/bin/python
UV = $(shell sed -n 's/^UV = "\(.*\)"/\1/p' scripts/setup_env.py)
COMPILE := .venv/lock/bin/uv pip compile --quiet --system-certs \
  --python-version 3.11 --python-platform linux

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-peers bench bench-peers lint format lock \
  clean

help: ## Show this list.
	@echo "Targets:"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 16

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
	@rm -rf .venv .venv-peers .python .pytest_cache .ruff_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
