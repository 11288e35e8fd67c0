# Everything from nothing on a fresh Debian 12: `make demo`, `make test`. Each target sets up what it
# needs, once; what is up to date costs nothing. As root, or as a user with sudo.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
# One thing after the other, whatever -j says: two apts or pips at once only fail.
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
# The marks of the tests that need more than Python.
MARKS := libvirt or openstack or services or root or slow or browser
# How many processes share the tests. Each has its own servers, on ports and directories of its own.
WORKERS ?= 2
# Once in some thousand boots an emulated guest stops in the middle of its own start, while its QEMU
# says that it runs. No other failure is tried again, and this one is counted as `rerun`.
RERUN := --reruns 1 --only-rerun "no console line matching 'BUILDFLOW-GUEST-READY'"
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(RERUN)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.PHONY: setup
setup: debian kvm venv guest openstack ## install all that is needed: Debian packages, Python, guest image, OpenStack
	@echo "setup: ready"

.PHONY: demo
demo: debian kvm venv guest ## build a real virtual machine, let a second one fail, prove that nothing is left
	@$(BIN)/python examples/demo.py

.PHONY: test
test: setup ## all tests, the quick ones first; ARGS="-k name" for some
	@$(PYTEST) $(ARGS)

.PHONY: test-unit
test-unit: venv ## the tests that need nothing but Python
	@$(PYTEST) -m "not ($(MARKS))" $(ARGS)

.PHONY: planted
planted: venv ## plant mistakes in the product, one at a time: the failure-injection kit finds each
	@$(BIN)/python -m tests.faults.planted $(ARGS)

.PHONY: lint
lint: venv ## style, format and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy tests

.PHONY: lab
lab: debian venv guest openstack ## bring a small real OpenStack up and leave it up
	@$(BIN)/python -m tests.lab.openstack up

.PHONY: lab-down
lab-down: venv ## take it down
	@$(BIN)/python -m tests.lab.openstack down

.PHONY: diagrams
diagrams: venv ## draw the documentation's diagrams again
	@$(BIN)/python -m buildflow.diagrams.manual

.PHONY: bench
bench: debian kvm venv guest ## measure this project's own share of a build
	@$(BIN)/python bench/overhead.py

.PHONY: clean
clean: ## remove all that was made here, the Debian packages apart
	@if [ -x $(BIN)/python ] && [ -e .cache/lab/lab.json ]; then $(BIN)/python -m tests.lab.openstack down; fi
	@rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# ---- the parts of setup -------------------------------------------------------------------------

.PHONY: debian kvm venv guest openstack
debian:
	@scripts/install-debian-packages.sh

kvm: debian
	@scripts/allow-kvm.sh

venv: debian .venv/installed
.venv/installed: pyproject.toml setup.py | debian
	@if [ ! -x $(BIN)/python ]; then echo "setup: making .venv" && $(PYTHON) -m venv .venv; fi
	@echo "setup: installing the Python packages (a minute, once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

guest: debian
	@$(PYTHON) -m tests.lab.guest .cache/guest

openstack: venv
	@$(BIN)/python -m tests.lab.openstack setup
