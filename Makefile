# Every target makes .venv first if it has to; nothing else needs to be installed by hand.

PYTHON ?= python3
# Exact versions, with hashes, for Linux and macOS and every Python from 3.11 on.
LOCKED := requirements.lock
# A pair known to work. Any later pair does: make TORCH="torch torchvision" ...
TORCH ?= $(shell sed -nE 's/^(torch(vision)?==[0-9.]+).*/\1/p' $(LOCKED))

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := -m pip --quiet --disable-pip-version-check
WITH_LOWEST := .venv-lowest
WITH_WHEEL := .venv-wheel
# One thread a process: the tests already run on every core, and results do not
# depend on how many there are. What a process compiles is kept for the next one.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
# A worker that crashes is not replaced: its replacement would wait for ever for the tests that
# loadscope had given to the first. tests/conftest.py says how many workers auto is.
IN_PARALLEL := -n auto --maxprocesses 8 --dist loadscope --max-worker-restart 0
TESTS ?=
EXTRAS := dev,cluster,datasets,docs,onnx,optuna,timm,track
comma := ,

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install lock demo test test-lowest check lint types imports format docs picture \
  bench wheel try-wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything in it; LOCK=1: exactly as requirements.lock says

# The stamp comes last, so that an installation cut short is taken up again. All that is installed
# is compiled on all cores; some packages hold files of later Pythons, which cannot be.
$(STAMP): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"decathlon needs Python 3.11 or later, this is %s: make PYTHON=python3.11 ..." % sys.version.split()[0])'
	@echo "installing into $(VENV): $(TORCH) and the rest; several GB, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@rm -rf decathlon.egg-info # entry points of an earlier version would be found first
ifdef LOCK
	@$(BIN)/python $(PIP) install --no-compile --require-hashes -r $(LOCKED)
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation -e .
else
	@$(BIN)/python $(PIP) install --no-compile $(TORCH)
	@$(BIN)/python $(PIP) install --no-compile -e ".[$(EXTRAS)]"
endif
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

# Versions that still fit stay. uv writes one file for all systems and Pythons, which pip installs.
lock: $(STAMP) ## write requirements.lock after a change of setup.py; NEWEST=1: take newer versions
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --custom-compile-command "make lock" $(if $(NEWEST),--upgrade) \
	  $(addprefix --extra ,$(subst $(comma), ,$(EXTRAS))) setup.py --output-file $(LOCKED)

demo: $(STAMP) ## the whole way on generated data, minutes on two cores
	$(BIN)/decathlon demo

test: $(STAMP) ## run the tests; TESTS="tests/data -k name" picks some
	$(TEST_ENV) $(BIN)/python -m pytest $(IN_PARALLEL) $(TESTS)

# pip's resolver takes very long over old versions, so the pins go in first, without their
# dependencies. What newer packages deprecate is no fault of the old ones that use it.
test-lowest: ## run the tests with the lowest versions that setup.py allows, in .venv-lowest
	$(PYTHON) -m venv --upgrade-deps $(WITH_LOWEST)
	$(PYTHON) tools/lowest.py $(EXTRAS) > $(WITH_LOWEST)/pins.txt
	$(WITH_LOWEST)/bin/python $(PIP) install $$(grep '^torch' $(WITH_LOWEST)/pins.txt)
	$(WITH_LOWEST)/bin/python $(PIP) install --no-deps -r $(WITH_LOWEST)/pins.txt
	$(WITH_LOWEST)/bin/python $(PIP) install -c $(WITH_LOWEST)/pins.txt -e ".[$(EXTRAS)]"
	$(TEST_ENV) $(WITH_LOWEST)/bin/python -m pytest $(IN_PARALLEL) \
	  -W ignore::DeprecationWarning $(TESTS)

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

picture: $(STAMP) ## draw the pictures of the README again
	$(BIN)/decathlon score results --kind published --format svg --out docs/images/board-light.svg
	$(BIN)/decathlon score results --kind published --format svg-dark --out docs/images/board-dark.svg

bench: $(STAMP) ## measure speed; each program of tools/ prints ratios, and writes out/bench/
	@set -e; for program in tools/bench_*.py; do \
	  echo "$$program"; \
	  $(BIN)/python "$$program" --json "out/bench/$$(basename "$$program" .py).json"; \
	done
	$(BIN)/python tools/bench_training.py --precision bf16 --json out/bench/bench_training_bf16.json

# With the time of the commit in it, a wheel of the same commit is the same, byte for byte.
wheel: $(STAMP) ## build the wheel and the source archive into dist/
	rm -rf build dist decathlon.egg-info
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct || date +%s) \
	  $(BIN)/python -m build --no-isolation --outdir dist
	rm -rf decathlon.egg-info

try-wheel: wheel ## install the wheel in an empty environment, run the demo; LOWEST=1: lowest versions
	$(PYTHON) -m venv --clear --upgrade-deps $(WITH_WHEEL)
ifdef LOWEST
	$(PYTHON) tools/lowest.py > $(WITH_WHEEL)/pins.txt
	$(WITH_WHEEL)/bin/python $(PIP) install $$(grep '^torch' $(WITH_WHEEL)/pins.txt)
	$(WITH_WHEEL)/bin/python $(PIP) install --no-deps -r $(WITH_WHEEL)/pins.txt
	$(WITH_WHEEL)/bin/python $(PIP) install -c $(WITH_WHEEL)/pins.txt dist/*.whl
else
	$(WITH_WHEEL)/bin/python $(PIP) install dist/*.whl
endif
	cd $(WITH_WHEEL) && bin/decathlon demo --scale 0.2
	rm -rf $(WITH_WHEEL)

clean: ## remove builds and caches; the next target installs again
	rm -rf $(WITH_LOWEST) $(WITH_WHEEL) build dist *.egg-info .mypy_cache .ruff_cache \
	  .pytest_cache .hypothesis .import_linter_cache $(STAMP)
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
