# evermap: `make` or `make help` lists what can be done.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Arguments for pytest; two processes by default: make test PYTEST_ARGS="-k store"
PYTEST_ARGS ?= -n 2
# More arguments for the benchmark: make bench BENCH_ARGS="..."
BENCH_ARGS ?=

# Small networks are fastest with one thread per process, and two processes then do not fight for the cores.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow lint format bench selection clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)  ## create .venv and install evermap with the tested versions

# torch first and alone: the build that fits this machine settles which builds of the others fit.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("evermap needs Python 3.11 or newer, and this is %d.%d: make PYTHON=/path/to/python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing evermap and what it needs into $(VENV): a few minutes, once."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt) -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## run the demonstration; the last line is the path of its report
	$(BIN)/evermap run demo

test: $(STAMP)  ## run the tests, but for the slow ones
	$(BIN)/pytest $(PYTEST_ARGS)

test-slow: $(STAMP)  ## run the slow tests
	$(BIN)/pytest -m slow $(PYTEST_ARGS)

lint: $(STAMP)  ## check format, style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## put the code into its format and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

selection: $(STAMP)  ## measure what choosing is worth (half an hour); finished runs are kept
	$(BIN)/python -P benchmarks/selection.py --jobs 2 --page docs/selection.md

bench: $(STAMP)  ## measure speed
	$(BIN)/python -P benchmarks/speed.py $(BENCH_ARGS)

clean:  ## remove .venv, caches and builds; runs stay
	rm -rf $(VENV) build dist evermap.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
