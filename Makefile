# Every target sets up what it needs: a virtual environment in .venv with tfprune in it.
PYTHON ?= $(shell for version in 3.12 3.11 3.10; do \
	command -v python$$version >/dev/null 2>&1 && python$$version -c '' >/dev/null 2>&1 \
	&& { echo python$$version; exit; }; done; echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run docs test test-gpu golden test-slow test-architectures soak bench tpu-check lint format clean

run: $(READY)
	$(BIN)/python run.py

# Files side by side: most of the time goes into starting processes and building networks. In the
# order of their folders, not those of few tests last: whole studies are few tests and take longest.
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# The processes share the cores: threads of each process beside them would only be in their way.
test: export TF_NUM_INTRAOP_THREADS = 1
test: $(READY)
	$(PYTEST) -m "not slow and not architectures"

# After a change of tables or figures that is meant: writes what tests compare them with again.
golden: $(READY)
	TFPRUNE_WRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/report/test_golden.py tests/report/test_tensorboard.py

# What is worth running on a GPU, as tests/conftest.py names it, and what only a GPU shows.
test-gpu: $(READY)
	$(PYTEST) -m "gpu and not slow"

# Every architecture of keras.applications is pruned and shrunk.
test-architectures: $(READY)
	$(PYTEST) --dist load -m architectures

# Real data sets read whole, large networks, rows of the benchmark, kills at random moments.
test-slow: $(READY)
	$(PYTEST) -m slow

bench: $(READY)
	$(BIN)/python -m benchmarks

# TPU's own compiler takes every network's programs; minutes for each that has convolutions.
tpu-check: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[tpu_check]'
	$(BIN)/python -m benchmarks.tpu_check

# kill -9 at random moments, 20 times in one process and 20 with two workers; about ten minutes.
soak: $(READY)
	PYTHONPATH=tests:. $(BIN)/python -m end_to_end.soak --kills=20

# One site of README.md, docs/ and the reference, made from the docstrings: build/site/index.html.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	{ echo "tfprune needs Python 3.10, 3.11 or 3.12: make run PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
