# Every task of the project; `make` alone lists them. Works with Python 3.11 to 3.13, pip, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-dev demo dev test check format docs lock bench bench-large clean

# A venv without pip (Debian without python3-venv) is filled by the system's pip.
PIP = if [ -x $(BIN)/pip ]; then set -- $(BIN)/python -m pip; else set -- $(PYTHON) -m pip --python $(BIN)/python; fi; \
	"$$@" --disable-pip-version-check --no-input install --quiet
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --no-strip-extras pyproject.toml

help: ## list the tasks
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## create .venv with the locked dependencies and the tokenmart command

install-dev: $(VENV)/.installed-dev ## the same, with the tools of test and check

demo: install ## make a sample quarter in an empty home, run everything, show the headline table
	$(BIN)/tokenmart demo $(ARGS)

dev: install ## Dagster UI and daemon on this home
	$(BIN)/tokenmart dev $(ARGS)

test: install-dev ## run every test; skipped ones say why (ARGS="-k price" selects)
	$(BIN)/python -m pytest -n auto $(ARGS)

check: install-dev ## formatting, lint, types, import contracts, SQL style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/sqlfluff lint sql

format: install-dev ## format Python and SQL in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/sqlfluff fix sql

docs: install-dev ## write the data dictionary and the command reference again
	$(BIN)/python docs/generate.py

lock: install-dev ## pin dependencies again after pyproject.toml changed (ARGS=--upgrade takes newer ones)
	$(COMPILE) --output-file requirements.lock $(ARGS)
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)

bench: install-dev ## measure every promise against its references (ARGS="--only job-1m" chooses, --keep writes the page)
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-large: install-dev ## the same for 100 million requests (needs about 25 GB of disk)
	$(BIN)/python -m benchmarks.run --large $(ARGS)

clean: ## remove .venv and caches; your data in data/home stays
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "make: $(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=python3.11 install" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --version >/dev/null; } \
	  || { rm -rf $(VENV); echo "make: $(PYTHON) can make no virtual environment." \
	    "On Debian and Ubuntu: apt-get install python3-venv python3-pip" >&2; exit 1; }

# Each stamp is newer than what it was made from, so a second `make install` has nothing to do.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing the locked dependencies into $(VENV)"
	@$(PIP) --require-hashes --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "installing the locked tools into $(VENV)"
	@$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@
