# Two commands: `make demo` shows everything, `make test` checks everything. Both make the environment they need.
# `make test-fast` is the part of the tests for the loop of work.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs bench clean

# torch is asked for by its exact version and first: asked for in any other way it may bring gigabytes.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/milstore demo
	$(BIN)/milstore train --split 2
	$(BIN)/milstore query top-patches --case 46
	$(BIN)/milstore report --output data/report.html

# Two workers and hundreds of processes import the same modules: what Python made of them is kept, also where somebody
# has that switched off.
test test-fast: export PYTHONDONTWRITEBYTECODE :=

test: $(READY)
	$(BIN)/python -m pytest --numprocesses 2

# For the loop of work: the quickest half of the tests. Those that tests/left_out.txt names are for make test.
.PHONY: test-fast
test-fast: $(READY)
	$(BIN)/python -m pytest --numprocesses 2 --loop

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What is generated and kept in git: pages in seconds, and the gallery from a demo experiment of five runs in minutes.
.PHONY: pages
pages: $(READY)
	$(BIN)/python -m milstore.schema.generate
	$(BIN)/python -m milstore.cli.reference
	$(BIN)/python -m docs.pages

GALLERY := build/gallery
docs: pages
	$(BIN)/milstore demo --store $(GALLERY)
	$(BIN)/milstore train --split all --store $(GALLERY)
	$(BIN)/python -m milstore.report.showcase $(GALLERY)
	$(BIN)/python -m docs.notebook $(GALLERY)

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info

# Hours of what the tests do for minutes: every fault, five hundred kills, long fuzzing.
.PHONY: torture
torture: $(READY)
	$(BIN)/python -m benchmarks.torture
