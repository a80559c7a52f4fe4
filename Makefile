# make demo: the main job on a known workload.  make test: everything, on the running kernel.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo test lint system clean

demo: system $(VENV)/.installed
	$(SUDO) $(BIN)/mmaplock-bt run long-holds --set threshold=5ms -- \
	  $(abspath $(BIN))/python -m mmaplock_bt.workload forks 5 512

test: system $(VENV)/.dev lint
	$(SUDO) $(abspath $(BIN))/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What pip cannot bring: bpftrace, venv, and tracefs mounted.
system:
	@command -v bpftrace >/dev/null && $(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq bpftrace python3-venv; }
	@$(SUDO) test -d /sys/kernel/tracing/events || \
	  $(SUDO) mount -t tracefs nodev /sys/kernel/tracing

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
