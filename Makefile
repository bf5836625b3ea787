# `make help` lists what there is to do. Every target sets up .venv by itself, and brings it up to date when a
# dependency, a package's metadata or a native source has changed.

PYTHON ?= python3
VENV := $(CURDIR)/.venv
RUN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# What the caller's shell has set up for other projects stays out. Without bytecode on disk every process of the tests
# would compile all that it imports.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
export PATH := $(RUN):$(PATH)
export CXX

# Tests run side by side; JOBS=0 runs them in one process, as debuggers want it. One more than two processors, since
# many tests wait for a deadline.
JOBS ?= 3

# The Python of a machine with a GPU, with its own packages.
GPU_PYTHON ?= $(PYTHON)
TEST := $(RUN)/python -m pytest -q -n $(JOBS) --dist worksteal

PIP := $(RUN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --quiet --constraint constraints.txt
PACKAGES := hal $(sort $(wildcard backends/*)) collectives conformance $(wildcard examples/backend-*)
EDITABLE := $(foreach package,$(PACKAGES),--editable ./$(package))
METADATA := pyproject.toml constraints.txt $(PACKAGES:%=%/pyproject.toml) $(wildcard backends/*/hatch_build.py)
NATIVE := $(shell find backends/*/native -type f)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow test-exhaustive test-rxe test-gpu bench-gpu bench-ib check format docs conformance mutants bench bench-host bench-simulator bench-verifier clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup: $(STAMPS)/native  ## only set up .venv
	@:

demo: setup  ## see it work, on this machine
	@$(RUN)/python examples/demo.py

test: setup  ## the everyday tests, a few minutes; PYTEST="-k name" adds options
	@$(TEST) $(PYTEST)

test-slow: setup  ## the long tests: the matrix, long fuzzing, packaging
	@$(TEST) -m "slow and not exhaustive" $(PYTEST)

test-rxe: setup  ## the ib backend on an RDMA device: this machine's, or one in software in a small virtual machine
	@$(RUN)/python -m tests.doubles.rxe --timeout 540 /bin/bash tests/doubles/rxe/tests.sh

test-exhaustive: setup  ## more of what the others sample: every algorithm in every type, long runs; not in .ci/run
	@$(TEST) -m exhaustive $(PYTEST)

conformance: setup  ## every clause of the specification, on the host backend; ARGS="--quick" adds arguments
	@$(RUN)/hal conformance --backend host $(ARGS)

mutants: setup  ## the conformance suite against backends that are broken in one place each; ARGS="..." adds arguments
	@$(RUN)/python -m tests.mutants $(ARGS)

check: setup  ## style (ruff) and types (mypy --strict)
	@$(RUN)/ruff check --quiet .
	@$(RUN)/ruff format --quiet --check . || { echo "make check: run 'make format'" >&2; exit 1; }
	@$(RUN)/mypy

format: setup  ## bring the source into the common format
	@$(RUN)/ruff check --quiet --fix .
	@$(RUN)/ruff format --quiet .

docs: setup  ## the documentation, as a site in site/
	@NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --strict
	@echo "site/index.html"

bench: setup  ## all_reduce over shared memory, as a table; ARGS="..." replaces the arguments
	@$(RUN)/hal bench $(or $(ARGS),all_reduce)

bench-host: setup  ## HAL beside other libraries on this machine; ARGS="..." adds arguments
	@$(RUN)/python -m benchmarks.host $(ARGS)

bench-simulator: setup  ## calibrate the simulator on this machine, and compare it; ARGS="..." adds arguments
	@$(RUN)/python -m benchmarks.simulator $(ARGS)

test-gpu:  ## conformance and collectives on the GPU that is there, with GPU_PYTHON and its packages; nothing is installed
	@$(GPU_PYTHON) -m benchmarks.gpu test $(ARGS)

bench-gpu:  ## speed on the GPU that is there; writes docs/results/
	@$(GPU_PYTHON) -m benchmarks.gpu bench $(ARGS)

bench-ib: setup  ## RDMA beside perftest, TCP beside a socket and gloo; ARGS="..." adds arguments
	@$(RUN)/python -m benchmarks.ib $(ARGS)

bench-verifier: setup  ## what it costs to prove plans right; ARGS="..." adds arguments
	@$(RUN)/python -m benchmarks.verifier $(ARGS)

clean:  ## remove all that was made here, .venv too
	@rm -rf .venv site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@rm -rf $(PACKAGES:%=%/build) $(PACKAGES:%=%/dist) backends/*/src/*/*.so
	@find $(PACKAGES) tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

# The steps of the set-up. A stamp is touched when its step has succeeded.

$(STAMPS)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "make: Python 3.11 or\
	 newer is needed, and $(PYTHON) is `$(PYTHON) --version 2>&1`; name another with make PYTHON=..." >&2; exit 1; }
	@command -v $(firstword $(CXX)) >/dev/null || { echo "make: no C++ compiler: $(CXX) is not there;\
	 install g++ 11 or newer, or name another with make CXX=..." >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
	 || { echo "make: $(PYTHON) lacks its C headers (Python.h); install them (python3-dev)" >&2; exit 1; }
	@echo "[1/3] a Python environment in .venv"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(INSTALL) pip
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/python $(METADATA)
	@echo "[2/3] installing the packages into .venv"
	@$(INSTALL) --group dev
	@$(INSTALL) --no-build-isolation $(EDITABLE)
	@touch $@

$(STAMPS)/native: $(STAMPS)/packages $(NATIVE)
	@echo "[3/3] compiling the native modules"
	@for build in backends/*/hatch_build.py; do $(RUN)/python $$build || exit 1; done
	@touch $@
