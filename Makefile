PYTHON ?= python3
VENV := .venv
RUN := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(VENV)/bin
CORES := $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")

.PHONY: quickstart test test-fast test-faults lint check docs lock wheel clean

quickstart: $(VENV)/.train ## install .[train] and run the whole line on a sample of real speech
	$(VENV)/bin/serene quickstart -o runs/quickstart

test: $(VENV)/.dev lint ## install .[dev], check style and layers, run every test
	$(RUN)/python -m pytest -n $(CORES) --dist worksteal

test-fast: $(VENV)/.dev ## the tests that take under three seconds each
	$(RUN)/python -m pytest -n $(CORES) --dist worksteal -m "not slow"

test-faults: $(VENV)/.dev ## kill -9 at 50 moments, full disks, every file of a run damaged, 5,000 mutated sounds; many minutes
	$(RUN)/python -m pytest -n $(CORES) --dist worksteal tests/faults tests/inference/test_hostile_audio.py -m "faults or not faults"

lint: $(VENV)/.dev ## style and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

check: lint ## style, layers and types
	$(VENV)/bin/pyright

docs: $(VENV)/.dev ## serve the documentation
	$(VENV)/bin/mkdocs serve

lock: test ## the versions with which every test has just passed become requirements.lock
	{ head -n 1 requirements.lock; $(VENV)/bin/python -m pip freeze --exclude-editable | grep == | sed 's/+.*//' | LC_ALL=C sort -f; } > requirements.new
	mv requirements.new requirements.lock

wheel: ## build the wheel, install it alone, and let it answer without torch, far from these sources
	rm -rf dist
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/alone
	dist/alone/bin/python -m pip install --quiet --constraint requirements.lock dist/*.whl
	cd dist/alone && bin/python -I -c "import importlib.util as u; assert u.find_spec('torch') is None"
	cd dist/alone && bin/python -Im serene prepare sample -o sample.jsonl && bin/python -Im serene predict sample.jsonl -o answers.csv
	test "$$(wc -l < dist/alone/answers.csv)" -eq "$$(( $$(wc -l < src/serene/sample/manifest.jsonl) + 1 ))"

clean: ## remove the environment and what runs left behind
	rm -rf $(VENV) runs site dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip

$(VENV)/.train: $(VENV)/bin/python pyproject.toml $(shell find src recipes -type f 2>/dev/null)
	test -e $(VENV)/.dev || $(VENV)/bin/python -m pip install --quiet '.[train]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $@
