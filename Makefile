# Everything starts from a bare machine: python3 (3.11 or newer) with pip, and make. The first target that needs the
# environment sets it up (a minute, network); after that it costs nothing. Some networks need UV_SYSTEM_CERTS=1 in the
# environment, so that uv trusts the certificates of the system.

PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=
JOBS ?= 2# processes that test; a module stays in one of them. 0: this one alone, as a debugger wants it
TYPED := $(foreach each,benchmarks examples,$(if $(wildcard $(each)/*.py),$(each))) # mypy refuses empty directories

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format types opinion contracts deps coverage torture bench openapi docs wheel-test setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## run the whole loop on this machine: Lean, bank, user and backend
	@$(BIN)/leanflow demo $(ARGS)

test: $(READY) ## run the tests; those that need a service are skipped by name
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 $(ARGS)

check: lint types contracts deps ## everything that needs no run: lint, format, types, import contracts, dependencies

lint: $(READY) ## style and format
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .

format: $(READY) ## mend what can be mended by machine
	@$(BIN)/ruff check -q --fix . || true
	@$(BIN)/ruff format -q .

types: $(READY) ## mypy --strict
	@$(BIN)/mypy --no-error-summary leanflow adapters tests $(TYPED)

opinion: $(READY) ## what basedpyright thinks; not a gate
	@$(BIN)/basedpyright $(ARGS)

contracts: $(READY) ## who may import whom
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said"; exit 1; }

deps: $(READY) ## declared dependencies are used, used ones are declared
	@said=$$($(BIN)/deptry . 2>&1) || { echo "$$said"; exit 1; }

coverage: $(READY) ## branch coverage, children included
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

torture: $(READY) ## kill, cut, crowd and jump: the whole of it (ARGS="--help" for parts and seeds)
	@$(BIN)/python -m tests.torture $(ARGS)

bench: $(READY) ## ratios against a floor and a peer, measured in the same run
	@$(BIN)/python -m benchmarks $(ARGS)

openapi: $(UV) ## hold Mockbank to its OpenAPI with schemathesis (ARGS="--spec FILES" for other files of OpenAPI)
	@UV_PROJECT_ENVIRONMENT=.venv-openapi $(UV) sync --quiet --locked --no-default-groups --group openapi
	@.venv-openapi/bin/python -m tests.openapi $(ARGS)

docs: $(READY) ## build the documentation as HTML, warnings as errors
	@$(UV) sync --quiet --locked --inexact --group docs
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel-test: $(READY) ## build sdist and wheel, and test the wheel away from its sources
	@UV="$(CURDIR)/$(UV)" ./.ci/wheel-test

setup: $(READY) ## set up only

clean: ## remove what was set up and built
	rm -rf .venv .venv-openapi .tools dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

# pip can install into a directory where Debian forbids it to touch the system (PEP 668), and where venv is missing.
$(UV):
	@echo "setting up: uv"
	@PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-script-location --upgrade --target .tools "uv>=0.9,<1"

$(READY): $(UV) pyproject.toml uv.lock
	@echo "setting up: .venv"
	@$(UV) sync --quiet --locked
	@touch $@
