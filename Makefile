# Two commands: `make demo` and `make test`. Everything lives in .venv; the second run is quick.
# PYTHON=python3.11 chooses the interpreter that .venv is made with; `make demo PAGE=no` ends
# after the printed part; `make test TESTS=tests/weights` runs a part of the tests, and
# `make test WORKERS=4` has four processes run them (docs/reference/testing.md).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist loadgroup
READY := $(VENV)/.ready

# Without cached bytecode every process that a test starts compiles thousands of modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help env demo docs test test-all durations lint format bench constraints release clean

help:
	@echo "make env          .venv with everything; .venv/bin/ragcore works after it"
	@echo "make demo         weights, the sample collection, an answer, an image, then the page"
	@echo "make test         style, types and the fast tests: ten minutes on two idle cores"
	@echo "make test-all     style, types and every test; SHARD=2/6 runs the second of six parts"
	@echo "make lint         style, spelling, plain words and types"
	@echo "make bench        measure speed on this machine"
	@echo "make docs         the documentation as a site in site/, links checked, without a network"
	@echo "make constraints  renew requirements.lock (UPGRADE=all, or UPGRADE=\"NAME NAME\")"
	@echo "make release      sdist, wheels, checksums and bill of materials in dist/"
	@echo "make clean        remove .venv, caches and build results"

env: $(READY)

$(READY): pyproject.toml requirements.lock scripts/make_env.sh
	@bash scripts/make_env.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: $(READY)
	@$(BIN)/ragcore demo $(if $(filter no,$(PAGE)),--no-page)

# What both tiers run before their tests: style, spelling, plain words and types.
lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/python scripts/check_words.py
	$(BIN)/mypy

test: lint
	@bash scripts/ensure_chromium.sh
	$(PYTEST) -m "not full" $(TESTS) || { code=$$?; echo $$code >.pytest_cache/exit; exit $$code; }

# SHARD=2/6 runs the second of six parts, cut by the durations in tests/.durations.
SHARD :=
SPLIT := $(if $(SHARD),--group $(word 1,$(subst /, ,$(SHARD))) --splits $(word 2,$(subst /, ,$(SHARD))))

test-all: lint
	@bash scripts/ensure_chromium.sh
	@bash scripts/ensure_milvus.sh $(VENV)
	$(PYTEST) -m "full or not full" $(SPLIT) $(TESTS)

# Rewritten after tests were added or have become slower: one run of everything.
durations: $(READY)
	$(PYTEST) -m "full or not full" --store-durations --clean-durations

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "open site/index.html"

constraints:
	@bash scripts/lock.sh "$(BIN)/uv" $(UPGRADE)

release: $(READY)
	@$(BIN)/python scripts/release.py

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
