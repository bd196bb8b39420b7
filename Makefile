# `make demo` runs the main job on built-in data, `make test` passes the tests, `make bench` measures speed. All set up
# what they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test bench check format clean

# The digits are so small that a second thread only waits for the first.
demo: export OMP_NUM_THREADS = 1
demo: $(VENV)/installed
	rm -rf runs/demo
	$(BIN)/holdfast train atlas --data digits --out runs/demo/atlas
	$(BIN)/holdfast train fgsm_rs --data digits --out runs/demo/fgsm_rs
	$(BIN)/holdfast evaluate runs/demo/atlas --attacks quick
	$(BIN)/holdfast evaluate runs/demo/fgsm_rs --attacks quick
	$(BIN)/holdfast report runs/demo/atlas runs/demo/fgsm_rs --out report.html

test: $(VENV)/installed-test
	$(BIN)/python -m pytest

# The short form begins nothing more after 12 minutes; benchmarks/speed/__main__.py says how to get the long one.
bench: $(VENV)/installed $(VENV)/peers
	PYTHONPATH=$(VENV)/peers $(BIN)/python -m benchmarks.speed --short --out runs/bench --pages runs/bench
	cat runs/bench/speed_cpu_short.md

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Holdfast needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# One stamp a set of extras, so that nothing is installed twice.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@ $(VENV)/installed

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/installed-test $(VENV)/installed

# Other packages, to compare with, apart from Holdfast's own; without them their rows are left out, and the next call
# asks for them again.
$(VENV)/peers: $(VENV)/bin/python benchmarks/requirements-peers.txt
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $@ -r benchmarks/requirements-peers.txt && touch $@ || true

clean:
	rm -rf $(VENV) runs/demo report.html .mypy_cache .pytest_cache .ruff_cache
