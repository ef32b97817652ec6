# One command for each thing a developer or CI does. `make` alone lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

BIN := .venv/bin
STAMP := .venv/.installed
REPORT := build/test-report/backends.json
DEMO_FLAGS ?= --seeds 3 --iterations 20000

.PHONY: help env demo test test-all lint types docs-test wheel-check check clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(STAMP)  ## make .venv and install everything (again only when what is to be installed changed)

# The stamp is written last, so an interrupted installation is done again.
$(STAMP): pyproject.toml constraints.txt tools/make_env.sh
	@rm -f $@
	@PYTHON="$(PYTHON)" tools/make_env.sh
	@touch $@

demo: $(STAMP)  ## watch a time-continuous network learn handwritten digits from reward alone
	$(BIN)/rnla run digits $(DEMO_FLAGS) --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest --backend-report=$(REPORT) $(PYTEST_FLAGS)

test-all: $(STAMP)  ## run the tests, the slow ones too
	$(BIN)/python -m pytest -m "not hardware" --backend-report=$(REPORT) $(PYTEST_FLAGS)

lint: $(STAMP)  ## check the style
	$(BIN)/ruff check .

types: $(STAMP)  ## check the types
	$(BIN)/mypy

docs-test: $(STAMP)  ## run the code blocks of README.md and docs/, and the examples in docstrings
	$(BIN)/python -m pytest -p tools.docs_examples --doctest-modules \
		README.md docs rnla_neuro backends/rnla_neuro_backends

wheel-check: $(STAMP)  ## build the wheel, install it in an empty environment, run it, compare its files
	$(BIN)/python tools/wheel_check.py

check:  ## do all that CI does
	@bash .ci/run

clean:  ## remove the environment, builds and caches (not runs/)
	rm -rf .venv .venv.unfinished build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
