# One door for people and CI. Everything lands in .venv; nothing is installed elsewhere.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
unexport PYTHONDONTWRITEBYTECODE # nodes start from compiled code, as those of an installed program do

.PHONY: help test unit lint format demo proto pins bench soak crowd storm weather fuzz clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# The pins hold every build and test tool, hatchling included, so the editable build needs no isolation and no network.
$(READY): requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Meerkat needs Python 3.11 or newer, this is " + sys.version) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test: lint unit ## everything that CI runs

unit: $(READY) ## the tests, those with real nodes included
	$(BIN)/python -m pytest -n 2 --dist loadgroup || { test $$? -eq 1 && $(BIN)/python scripts/second_look.py; }

lint: $(READY) ## style, types and the floors of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## put the code into the one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: $(READY) ## watch a whole pool at work on this machine
	$(BIN)/meerkat demo

proto: $(READY) ## generate the code for src/meerkat/wire/v1/*.proto
	$(BIN)/python scripts/gen_wire.py

pins: $(READY) ## write requirements-dev.txt anew from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	$(BIN)/python scripts/pin_requirements.py

bench: $(READY) ## measure this build on this machine
	$(BIN)/python -m bench

SOAK_SECONDS ?= 3600
SOAK_FIRST ?= 100000
soak: $(READY) ## live seeded worlds for SOAK_SECONDS, seeds from SOAK_FIRST on
	cd tests && ../$(BIN)/python -m world --seeds $(SOAK_FIRST) --forever $(SOAK_SECONDS)

CROWD ?= 8,32,128
crowd: $(READY) ## figures of pools of CROWD nodes on virtual time
	cd tests && ../$(BIN)/python -m world --crowd $(CROWD)

STORM_KILLS ?= 200
STORM_REWRITES ?= 1000
storm: $(READY) ## kill nodes at STORM_KILLS moments each, read what is rewritten STORM_REWRITES times
	KILLS=$(STORM_KILLS) REWRITES=$(STORM_REWRITES) $(BIN)/python -m pytest -q -s --timeout 7200 tests/e2e/scenarios/test_kills.py \
	  tests/e2e/scenarios/test_readers.py

WEATHER_SECONDS ?= 300
weather: $(READY) ## live on lossy lines and in split networks for WEATHER_SECONDS each, as root
	LOSSY_SECONDS=$(WEATHER_SECONDS) SPLIT_SECONDS=$(WEATHER_SECONDS) $(BIN)/python -m pytest -q -s --timeout 7200 tests/e2e/network

MUTANTS_SEEDS ?= 30
mutants: $(READY) ## plant every known mistake into the engine, and see what finds it
	$(BIN)/python -m pytest -q tests/world/test_mistakes.py
	cd tests && ../$(BIN)/python -W ignore -m world --survey --hard --seeds 0:$(MUTANTS_SEEDS)

FUZZ_SECONDS ?= 600
fuzz: $(READY) ## try what comes from outside with inputs that nobody has thought of, for FUZZ_SECONDS
	end=$$(( $$(date +%s) + $(FUZZ_SECONDS) )); while [ $$(date +%s) -lt $$end ]; do \
	  FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest -q -x --timeout 1800 tests/fuzz || exit 1; done

clean: ## remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
