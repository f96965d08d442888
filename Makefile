# Everything a newcomer needs is `make demo` and `make test`; both do their own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
# Processes of the unit tests; each takes about 2 GB.
JOBS ?= 2
# Any python from 3.11 on; override with `make PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv and install the package into it

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no python >= 3.11 with venv found; install one or run make PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## audit a phantom patient whose parse is wrong in three places
	$(BIN)/synth demo -o demo --overwrite

test: check  ## everything CI runs

check: lint types layers notebooks pytest  ## all gates

lint: $(STAMP)  ## ruff, as linter and as formatter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy
	$(BIN)/mypy

layers: $(STAMP)  ## import-linter: which module may import which
	$(BIN)/lint-imports

notebooks: $(STAMP)  ## execute the notebooks on phantoms
	$(BIN)/python -m pytest -q tests/test_notebooks.py

# The notebooks have run by then; the shape checks of the decoders run in here.
pytest: $(STAMP)  ## unit tests and doctests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --ignore=tests/test_notebooks.py

schema: $(STAMP)  ## publish the JSON Schemas again after a change of the models
	$(BIN)/python -c "import json, synth.parse as p; print(json.dumps(p.json_schema(), indent=2))" > docs/schema/parse.schema.json
	$(BIN)/python -c "import json, synth.residual.findings as f; print(json.dumps(f.json_schema(), indent=2))" > docs/schema/findings.schema.json
	$(BIN)/python -c "import json, synth.action as a; print(json.dumps(a.json_schema(), indent=2))" > docs/schema/plan.schema.json
	$(BIN)/python -c "import json, synth.report.forecast_record as f; print(json.dumps(f.json_schema(), indent=2))" > docs/schema/forecast.schema.json

bench: $(STAMP)  ## the scientific benchmarks on DATA (a folder laid out like openkbp/validation)
	@test -n "$(DATA)" || { echo "error: say which data: make bench DATA=path/to/openkbp/validation" >&2; exit 2; }
	$(BIN)/synth benchmark faults --arena openkbp --data $(DATA) --json
	$(BIN)/synth benchmark reconstruction --data $(DATA) --json

.PHONY: help setup demo test check lint types layers notebooks pytest schema bench
