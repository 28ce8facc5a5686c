# The only commands, for people and for CI. `make` lists them. Each one makes first what it needs, in `.venv` and `.cache`, and nothing
# outside this folder but the usual download caches.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help install demo test check system simulate fuzz pythons audit torture bench docs coverage

# Any Python from 3.11 on; `make PYTHON=/path/to/python install` chooses another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

# The lock alone decides what is installed, and the interpreter is the one that made `.venv`. Files are copied out of the download cache:
# a hard link would let a damaged environment damage the cache, and fails with a warning where the two are on different disks.
export UV_LINK_MODE := copy
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Nothing a person's own environment says may change what is imported.
unexport PYTHONPATH VIRTUAL_ENV

help: ## list the commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

install: $(INSTALLED) ## make .venv and the command .venv/bin/landfast

# The machine's certificates come first (a company may have its own), then those that uv brings along.
$(INSTALLED): pyproject.toml uv.lock
	@test -n "$(PYTHON)" || { echo "Landfast needs Python 3.11 or later: install it, or name it with make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet 'uv>=0.13,<1'
	@$(BIN)/uv sync --locked --quiet --system-certs || $(BIN)/uv sync --locked --quiet
	@touch $@

demo: $(INSTALLED) ## the main job on an embedded broker, killed half-way, then the proof
	@$(BIN)/landfast demo

TORTURE ?= --kills 1000 --minutes 60

# The tests on real parts mostly wait. Each of the processes has a broker of its own, and tests go to whoever is free, in order.
WORKERS ?= 2
SIDE_BY_SIDE = --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder

test: check ## everything: check, then all tests on real parts, then the coverage floors
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest tests $(SIDE_BY_SIDE)
	@$(MAKE) coverage

# Bandit's B310 is left out: the one address that is opened is http, of a host and a port of the settings.
check: $(INSTALLED) ## lint, format, types, import directions, docstrings, house rules (seconds)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/interrogate --quiet tests
	@$(BIN)/bandit --quiet --recursive src --severity-level medium --skip B310
	@$(BIN)/python -m pytest tests/house --quiet

system: $(INSTALLED) ## only the tests on a real broker and a real store
	@$(BIN)/python -m pytest tests -m system $(SIDE_BY_SIDE)

simulate: $(INSTALLED) ## seeded schedules of the whole engine in a simulated world (SIMULATE="--schedules 1000", "--seed 7", "--every-call")
	@$(BIN)/python -m landfast.testing.world $(SIMULATE)

fuzz: $(INSTALLED) ## hostile bytes for settings, decoders, log entries, ids and log lines (FUZZ="--minutes 5")
	@$(BIN)/python -m tests.fuzz $(FUZZ)

torture: $(INSTALLED) ## real workers killed on a real broker for an hour, then the count (TORTURE="--kills 30 --json report.json")
	@coproc BROKER { exec $(BIN)/python -m landfast.testing.kafka; }; broker=$$BROKER_PID; trap 'kill $$broker' EXIT; \
	read -r servers <&$${BROKER[0]}; \
	$(BIN)/landfast torture --servers "$$servers" --option session.timeout.ms=2000 $(TORTURE)

# CI has one Python. A seed must have the same trace on all.
PYTHONS ?= python3.12 python3.13
TRACE = from landfast.testing.world import campaign; print(campaign(0, 260).trace)

pythons: $(INSTALLED) ## the tests without real parts on the other Pythons that are supported (PYTHONS="python3.13")
	@seen=$$($(BIN)/python -c '$(TRACE)'); for python in $(PYTHONS); do \
	other=$$("$$python" -c 'import sys; print(".cache/python-%d.%d" % sys.version_info[:2])'); echo "$$other"; \
	UV_PROJECT_ENVIRONMENT="$$other" $(BIN)/uv sync --locked --quiet --python "$$python"; \
	test "$$("$$other/bin/python" -c '$(TRACE)')" = "$$seen" || { echo "the seeds of 260 schedules have another trace there"; exit 1; }; \
	"$$other/bin/python" -m pytest tests -m 'not system' $(SIDE_BY_SIDE); done

# Not part of `check`: advisories are asked for over the network.
audit: $(INSTALLED) ## the known vulnerabilities of what the lock names (asks PyPI)
	@$(BIN)/uv export --locked --no-dev --no-emit-project --quiet --output-file .cache/requirements.txt
	@$(BIN)/uv tool run --quiet --from 'pip-audit>=2.9,<3' pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement .cache/requirements.txt || { \
		echo "Not audited: a dependency is vulnerable, or its advisories could not be asked for; the lines above say which"; exit 1; }

bench: $(INSTALLED) ## Landfast, the hand-written loop and the floors, side by side (BENCH="--records 200000" for a quick one)
	@$(BIN)/python -m benchmarks $(BENCH)

docs: $(INSTALLED) ## write docs/reference anew from the code
	@$(BIN)/python docs/generate.py

# The guarantee rests on the first group, so no branch of it goes unproven. The number elsewhere is a floor, not a goal.
PROVEN := src/landfast/model.py,src/landfast/errors.py,src/landfast/ports.py,src/landfast/core/*

coverage: $(INSTALLED) ## the coverage of the last test run against its floors
	@$(BIN)/coverage combine --quiet --keep 2>/dev/null || test -f .coverage || { echo "No test run to report on: run make test first"; exit 1; }
	@missed=0; \
	echo "Branch coverage of the values, errors, ports and core: 100 % or fail"; \
	$(BIN)/coverage report --include='$(PROVEN)' --fail-under=100 || missed=1; \
	echo "Branch coverage elsewhere: 95 % or fail"; \
	$(BIN)/coverage report --omit='$(PROVEN)' --fail-under=95 || missed=1; \
	exit $$missed
