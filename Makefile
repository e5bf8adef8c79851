# `make demo` and `make test` create .venv when it is missing and need nothing else.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
PY := $(VENV)/bin/python

# one thread per test process: the suite runs several processes, and sums must not depend on the machine
export OMP_NUM_THREADS ?= 1
TEST_PROCESSES ?= 2

.PHONY: all venv demo test test-all check docs docs-tools clean

all: check

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt -e ".[dev,demo]"
	touch $@

demo: export OMP_NUM_THREADS = 2
demo: $(STAMP)
	$(PY) samples/digits/run.py

test: $(STAMP)
	$(PY) -m pytest -n $(TEST_PROCESSES)

test-all: $(STAMP)
	$(PY) -m pytest -n $(TEST_PROCESSES) -m "not gpu and not bench"

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest -n $(TEST_PROCESSES)

docs-tools: $(DOCS_STAMP)

docs: $(DOCS_STAMP)
	$(PY) -m mkdocs build --strict

# the tools alone: with the package its kernels would be compiled once more
$(DOCS_STAMP): $(STAMP)
	$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' \
	    | $(PY) -m pip install --quiet -c constraints.txt -r /dev/stdin
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis samples/*/out
	find onnxprune passes samples tests -name __pycache__ -type d -prune -exec rm -rf {} +
