# Two commands matter: `make demo` and `make test`. Both create the environment when it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: help demo test check pytest benchmarks clean

help:
	@echo "make demo        train on real data, register, serve, forecast over HTTP (about 5 minutes after installation)"
	@echo "make test        everything that must hold: contracts, style, types, tests"
	@echo "make check       contracts, style and types only"
	@echo "make benchmarks  ratios against a baseline run in the same call"
	@echo "make clean       remove the environment and the demo's data"

demo: $(INSTALLED)
	$(BIN)/heliotrope demo

test: check pytest

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# What needs no Ray shares the cores; what needs it shares one Ray.
pytest: $(INSTALLED)
	$(BIN)/python -m pytest -m "not ray" --numprocesses 2 --dist worksteal --durations=10 --cov --cov-report=
	$(BIN)/python -m pytest -m ray --durations=20 --cov --cov-append --cov-report=term:skip-covered

benchmarks: $(INSTALLED)
	$(BIN)/python -m benchmarks run

clean:
	rm -rf $(VENV) heliotrope-data

# `vus` has the published VUS-PR, which tests/oracle holds ours to. It asks for tensorflow, which that does not need.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Heliotrope needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,postgres]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps vus
	@touch $(INSTALLED)
