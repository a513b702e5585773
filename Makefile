# Each of these sets up all it needs on a fresh machine with Python 3.11, 3.12 or 3.13:
#   make demo    make test
# PYTHON=... picks the interpreter, VENV=... the environment, PIP_ARGS=... goes to pip install.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV ?= .venv
PIP_ARGS ?=
JOBS ?= 2
PYTEST_ARGS ?=
OUT ?= demo-output

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
TEST_EXTRAS := test,demo,baselines,ann,plots,polars,sql,hpo
SAY := @printf '\n== %s\n'

.PHONY: help demo test lint format types layers pytest bench docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready-demo ## grocery baskets to recommendations, with plots and a saved model in demo-output/
	$(BIN)/python -m demo --out $(OUT)

test: lint types layers pytest ## everything that must hold: linters, types, layers, tests

lint: $(VENV)/.ready-test ## ruff: format and rules
	$(SAY) 'ruff format'
	$(BIN)/ruff format --check .
	$(SAY) 'ruff check'
	$(BIN)/ruff check .

format: $(VENV)/.ready-test ## rewrite the files in our format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.ready-test ## mypy, strict
	$(SAY) 'mypy'
	$(BIN)/mypy

layers: $(VENV)/.ready-test ## who may import whom
	$(SAY) 'import-linter'
	$(BIN)/lint-imports

pytest: $(VENV)/.ready-test ## the tests alone, with coverage
	$(SAY) 'pytest'
	$(BIN)/python -m pytest -n $(JOBS) --cov --cov-report=term $(PYTEST_ARGS)

bench: $(VENV)/.ready-test ## run every benchmark script and rewrite benchmarks/RESULTS.md (hours)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: $(VENV)/.ready-docs ## reference pages in build/docs
	$(BIN)/python -m pdoc --docformat google --output-directory build/docs hyperrank recsys

clean: ## remove the environment, caches and outputs
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage $(OUT)

$(BIN)/python:
	$(SAY) 'virtual environment in $(VENV), from $(PYTHON)'
	@test -n "$(PYTHON)" || { echo 'no Python found; install Python 3.11 and run again, or give PYTHON=/path/to/python'; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is {v[0]}.{v[1]}; give PYTHON=/path/to/python")'
	"$(PYTHON)" -m venv $(VENV)

# The stamp is newer than what it was made from, so a second run installs nothing.
$(VENV)/.ready-demo: EXTRAS := demo
$(VENV)/.ready-test: EXTRAS := $(TEST_EXTRAS)
$(VENV)/.ready-docs: EXTRAS := docs
$(VENV)/.ready-%: pyproject.toml constraints.txt | $(BIN)/python
	$(SAY) 'packages for $*: a few minutes the first time'
	$(PIP) torch==2.13.0
	$(PIP) -e '.[$(EXTRAS)]'
	@touch $@
