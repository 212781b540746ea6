# Every target makes .venv first if it has to; nothing else needs to be installed by hand.

PYTHON ?= python3
# A pair known to work. Any later pair does: make TORCH="torch torchvision" ...
TORCH ?= torch==2.14.1 torchvision==0.29.1

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := .venv-lowest
# One thread a process: the tests already run on every core, and results do not
# depend on how many there are.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# A worker that crashes is not replaced: its replacement would wait for ever for the tests that
# loadscope had given to the first.
IN_PARALLEL := -n auto --maxprocesses 8 --dist loadscope --max-worker-restart 0
TESTS ?=
EXTRAS := dev,cluster,docs,onnx,optuna,timm,track

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test test-lowest check lint types imports format docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything in it

# The stamp comes last, so that an installation cut short is taken up again.
$(STAMP): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"decathlon needs Python 3.11 or later, this is %s: make PYTHON=python3.11 ..." % sys.version.split()[0])'
	@echo "installing into $(VENV): $(TORCH) and the rest; several GB, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@rm -rf decathlon.egg-info # entry points of an earlier version would be found first
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$(EXTRAS)]"
	@touch $@

demo: $(STAMP) ## the whole way on generated data, minutes on two cores
	$(BIN)/decathlon demo

test: $(STAMP) ## run the tests; TESTS="tests/data -k name" picks some
	$(TEST_ENV) $(BIN)/python -m pytest $(IN_PARALLEL) $(TESTS)

# pip's resolver takes very long over old versions, so the pins go in first, without their
# dependencies. What newer packages deprecate is no fault of the old ones that use it.
test-lowest: ## run the tests with the lowest versions that setup.py allows, in .venv-lowest
	$(PYTHON) -m venv --upgrade-deps $(LOWEST)
	$(PYTHON) tools/lowest.py > $(LOWEST)/pins.txt
	$(LOWEST)/bin/python -m pip install --quiet $$(grep '^torch' $(LOWEST)/pins.txt)
	$(LOWEST)/bin/python -m pip install --quiet --no-deps -r $(LOWEST)/pins.txt
	$(LOWEST)/bin/python -m pip install --quiet -c $(LOWEST)/pins.txt -e ".[$(EXTRAS)]"
	$(TEST_ENV) $(LOWEST)/bin/python -m pytest $(IN_PARALLEL) -W ignore::DeprecationWarning $(TESTS)

# In this order, so that what fails fast fails first and the tests' verdict comes last.
check: lint types imports test ## all of what a change has to pass

lint: $(STAMP) ## style, with ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(STAMP) ## types, with mypy
	$(BIN)/mypy

imports: $(STAMP) ## the order of imports between the rooms
	$(BIN)/lint-imports

docs: $(STAMP) ## build the handbook: out/handbook/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file tools/handbook/mkdocs.yml

bench: $(STAMP) ## measure speed; each program of tools/ prints ratios, and writes out/bench/
	@set -e; for program in tools/bench_*.py; do \
	  echo "$$program"; \
	  $(BIN)/python "$$program" --json "out/bench/$$(basename "$$program" .py).json"; \
	done
	$(BIN)/python tools/bench_training.py --precision bf16 --json out/bench/bench_training_bf16.json

clean: ## remove builds and caches; the next target installs again
	rm -rf $(LOWEST) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache $(STAMP)
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
