SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What pytest is asked for besides the whole; e.g. `make test ARGS="-k rollback"`.
ARGS ?=

help: ## Show what there is to do
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready: pyproject.toml requirements/lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prompt-operator needs Python 3.11 or newer; this is %d.%d. Run make PYTHON=/path/to/python3.11 …" % sys.version_info[:2])'
	@echo "Installing the pinned dependencies into $(VENV) (once, about a minute) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(VENV)/ready ## Install everything into .venv

demo: $(VENV)/ready ## Tell the whole story on an embedded Kubernetes (ARGS=--keep leaves it running)
	@$(BIN)/prompt-operator demo $(ARGS)

test: $(VENV)/ready ## Pass every test: unit, property, integration on a real API server, faults
	@$(BIN)/prompt-operator cluster binaries >/dev/null # built here, where the progress of it is seen
	@$(BIN)/prompt-operator cluster binaries --node >/dev/null || echo "The tests that need a node are skipped."
	@$(BIN)/python -m tests.support.prometheus_binaries >/dev/null || echo "The tests with a real Prometheus are skipped."
	@$(BIN)/python -m pytest $(ARGS)

unit: $(VENV)/ready ## Pass the fast tests only (seconds, no Kubernetes)
	@$(BIN)/python -m pytest tests/unit tests/property $(ARGS)

lint: $(VENV)/ready ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

crds: $(VENV)/ready ## Write crds/ and the generated tables anew from the models
	@$(BIN)/python -m prompt_operator.cli.generate

bench: $(VENV)/ready ## Measure latency, writes, memory, cold start as ratios; simulate verdicts (ARGS="--only verdicts")
	@$(BIN)/python -m tests.bench $(ARGS)

lock: ## Pin all dependencies anew (needs pip-tools)
	pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --extra dev \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header \
	  --unsafe-package prompt-operator -o requirements/lock.txt pyproject.toml
	sed -i '/^# WARNING/d;/^# Consider using/d;/^prompt-operator @/,+1d' requirements/lock.txt

clean: ## Remove what was made here (the cache of Kubernetes binaries stays)
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help install demo test unit lint crds bench lock clean
