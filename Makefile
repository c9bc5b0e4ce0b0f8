# Two commands: `make demo` and `make test`. Everything lives in .venv; the second run is quick.
# PYTHON=python3.11 chooses the interpreter that .venv is made with; `make demo PAGE=no` ends
# after the printed part; `make test TESTS=tests/weights` runs a part of the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help env demo test test-browser test-cluster lint format bench constraints clean

help:
	@echo "make env          .venv with everything; .venv/bin/ragcore works after it"
	@echo "make demo         weights, the sample collection, an answer, a picture, then the page"
	@echo "make test         style check and all tests"
	@echo "make test-browser only the journeys through the pages in a real Chromium"
	@echo "make test-cluster a Ray cluster of three nodes, one of them lost: two minutes on an idle machine"
	@echo "make lint         style and types"
	@echo "make bench        measure speed on this machine"
	@echo "make constraints  pin the versions that are installed now"
	@echo "make clean        remove .venv, caches and build results"

env: $(READY)

$(READY): pyproject.toml constraints.txt scripts/make_env.sh
	@bash scripts/make_env.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: $(READY)
	@$(BIN)/ragcore demo $(if $(filter no,$(PAGE)),--no-page)

test: $(READY)
	@bash scripts/ensure_chromium.sh
	@bash scripts/ensure_milvus.sh $(VENV)
	$(BIN)/ruff check
	$(BIN)/python -m pytest $(TESTS)

test-browser: $(READY)
	@bash scripts/ensure_chromium.sh
	$(BIN)/python -m pytest -m browser tests/app

test-cluster: $(READY)
	$(BIN)/python -m pytest -m cluster tests/ingest

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

constraints: $(READY)
	@bash scripts/pin_versions.sh "$(BIN)/python" > constraints.new && mv constraints.new constraints.txt
	@touch $(READY)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
