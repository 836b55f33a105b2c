# make sweep   the main job on the embedded default
# make test    all tests; make check: linters and types
# make torture wrong inputs by the ten thousand, for an hour or so; the counts go to docs/reliability.md
# Both make .venv from requirements.txt where it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
SWEEP ?= experiments/textures/sweep.yaml

.PHONY: sweep test check torture clean

sweep: .venv/.run
	$(BIN)/python launch.py sweep $(SWEEP) --resume

test: .venv/.dev
	$(BIN)/python -m pytest

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: .venv/.dev
	$(BIN)/python -m benchmarks.torture

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed (PYTHON=... names one)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

.venv/.run: .venv/.made requirements.txt
	@echo "Installing about 8 GB of packages into .venv; this takes some minutes."
	$(BIN)/python -m pip install --progress-bar on -r requirements.txt
	@touch $@

.venv/.dev: .venv/.run requirements-dev.txt
	$(BIN)/python -m pip install --progress-bar on -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv runs
