# make sweep   the main job on the embedded default
# make install .venv with all that it needs, and no more
# make test    all tests; make check: linters and types
# make site    docs/ as pages in site/, every link checked
# make torture wrong inputs by the ten thousand, for an hour or so; the counts go to docs/reliability.md
# make evidence the studies of docs/studies/ again, for hours; goes on where it was
# make audit   known weaknesses of the packages in .venv; make sbom: what they are, as sbom.json
# All make .venv from requirements.txt where it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
SWEEP ?= experiments/textures/sweep.yaml

.PHONY: sweep install test check site torture evidence audit sbom clean

sweep: .venv/.run
	$(BIN)/python launch.py sweep $(SWEEP) --resume

install: .venv/.run

test: .venv/.dev
	status=0; \
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile || status=$$?; \
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile || status=$$?; \
	exit $$status

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

site: .venv/.dev
	$(BIN)/python -m mkdocs build --strict

torture: .venv/.dev
	$(BIN)/python -m benchmarks.torture

evidence: .venv/.dev
	$(BIN)/python -m benchmarks.evidence

audit: .venv/audit/.made .venv/.run
	.venv/audit/bin/pip-audit --strict --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

sbom: .venv/audit/.made .venv/.run
	.venv/audit/bin/cyclonedx-py environment --output-reproducible --output-file sbom.json $(BIN)/python

.venv/audit/.made: requirements-audit.txt | .venv/.made
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet -r $<
	@touch $@

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=... names one)" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

.venv/.run: .venv/.made requirements.txt
	@echo "Installing about 8 GB of packages into .venv; this takes some minutes."
	$(BIN)/python -m pip install --progress-bar on -r requirements.txt
	@touch $@

.venv/.dev: .venv/.run requirements-dev.txt requirements-docs.txt
	$(BIN)/python -m pip install --progress-bar on -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv runs
