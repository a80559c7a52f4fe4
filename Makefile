# make demo: the main job on a known workload.  make test: the daily tests, on the running kernel.
# make unit: the tests that need no kernel, no root and, once set up, no index of packages.
PYTHON ?= python3
# Not out of the environment: `clean` removes it.
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# What root runs leaves nothing in the checkout that its owner could not remove. No path is made
# absolute: make would cut it at a blank.
AS_ROOT := $(SUDO) env PYTHONDONTWRITEBYTECODE=1 HYPOTHESIS_STORAGE_DIRECTORY=$(shell mktemp -du)
# And the other way round: `sudo make` makes the owner's files as the owner.
AS_OWNER := $(if $(filter 0,$(shell id -u)),$(if $(SUDO_USER),sudo -Hu $(SUDO_USER)))

# Processes for the tests that need no kernel. Those that trace disturb each other: one at a time.
JOBS ?= auto
# Only for a count of which bpftrace 0.23 says that it lost it.
AGAIN := --reruns 2 --only-rerun Raced

SUITES ?= bullseye bookworm trixie sid tracefs
KERNELS ?= bullseye bookworm trixie sid bookworm-arm64 trixie-arm64 bookworm-rt trixie-rt trixie-v2

.PHONY: alarms attacks bench bench-check bench-tools browser-tools captures chaos clean containers-tools demo docs \
  fleet-tools fuzz kernels-tools lint matrix-tools package readers-tools selftest soak startup system test test-browser \
  test-containers test-debian test-fleet test-kernels test-matrix test-package test-readers test-service \
  test-thorough throughput unit

demo: system $(VENV)/.installed
	$(AS_ROOT) $(BIN)/mmaplock-bt run -- $(BIN)/python -m mmaplock_bt.workload smaps 7 1024

test: system $(VENV)/.dev lint
	$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider -n $(JOBS) tests/unit
	$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider $(AGAIN) -m daily tests/kernel

# All others that trace.
test-thorough: system $(VENV)/.dev
	$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider $(AGAIN) -m "not daily" tests/kernel

# Every shipped profile on a workload whose events are known.
selftest: system $(VENV)/.installed
	$(AS_ROOT) $(BIN)/mmaplock-bt selftest

unit: $(VENV)/.dev
	$(AS_OWNER) $(BIN)/python -m pytest -n $(JOBS) tests/unit

# What is written from the code; the tests compare.
docs: $(VENV)/.dev
	$(AS_OWNER) $(BIN)/python tools/architecture.py
	$(AS_OWNER) $(BIN)/python tools/cause_docs.py
	$(AS_OWNER) $(BIN)/python tools/template_docs.py
	$(AS_OWNER) $(BIN)/python tools/schema_files.py
	$(AS_OWNER) $(BIN)/python tools/man_page.py
	$(AS_OWNER) $(BIN)/python tools/completions.py

# Long ones. The roots of the suites are kept in ~/.cache/mmaplock-bt.
# MATRIX_FLAGS=--no-record leaves the README's table alone; --capture only records tests/data.
MATRIX_FLAGS ?=

test-matrix: system $(VENV)/.dev matrix-tools
	$(AS_ROOT) $(BIN)/python -u tools/matrix.py $(MATRIX_FLAGS) $(SUITES)

# `make test test-thorough` with the Python, the bpftrace and the tools of a suite, in a root of its own.
# TESTS="-n 2 tests/unit" gives pytest's words instead.
SUITE ?= trixie
TESTS ?=
test-debian: system $(VENV)/.dev matrix-tools
	$(AS_ROOT) JOBS=$(JOBS) $(BIN)/python -u tools/userland.py $(SUITE) $(TESTS)

test-kernels: $(VENV)/.dev kernels-tools
	$(AS_ROOT) $(BIN)/python -u tools/kernels.py $(MATRIX_FLAGS) $(KERNELS)

# The streams in tests/data, from every bpftrace and every kernel that can trace.
captures:
	$(MAKE) test-matrix test-kernels MATRIX_FLAGS=--capture

matrix-tools:
	@command -v mmdebstrap >/dev/null || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq mmdebstrap; }

ARM = $(findstring arm64,$(KERNELS))
kernels-tools: matrix-tools
	@(for tool in qemu-system-x86_64 $(if $(ARM),qemu-system-aarch64) busybox cpio mke2fs modprobe zstd; do \
	  command -v $$tool >/dev/null || exit 1; done) || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends \
	    qemu-system-x86 $(if $(ARM),qemu-system-arm) busybox-static cpio e2fsprogs kmod zstd; }

# What tracing costs on this machine, beside C, BCC, perf and scripts by hand: bench/results and the
# README's section. BENCH_FLAGS=--quick takes about two minutes.
BENCH_FLAGS ?=
bench: system $(VENV)/.dev bench-tools
	$(AS_ROOT) $(BIN)/python tools/prices.py run $(BENCH_FLAGS)

# The peers as checks: their counts and sums equal ours. Those in C and BCC here, the kernel module
# in Debian's kernels.
bench-check: system $(VENV)/.dev bench-tools kernels-tools
	$(AS_ROOT) $(BIN)/python tools/prices.py check
	$(AS_ROOT) $(BIN)/python -u tools/module_peer.py

# Only the peers need these. What is not to be had is a row that says so.
bench-tools: matrix-tools
	@(for tool in clang bpftool perf trace-cmd; do command -v $$tool >/dev/null || exit 1; done) && \
	  test -e /usr/include/bpf/libbpf.h && /usr/bin/python3 -I -c 'import bcc' 2>/dev/null || \
	  { $(SUDO) apt-get update -qq; for package in clang libbpf-dev bpftool linux-perf trace-cmd \
	    python3-bpfcc; do $(SUDO) apt-get install -y -qq --no-install-recommends $$package; done; true; }

# Hostile profiles, templates and parameters, each by every command that reads one.
attacks: $(VENV)/.dev
	$(AS_ROOT) env MMAPLOCK_ATTACKS=all $(BIN)/python -m pytest -p no:cacheprovider tests/unit/attacks

# What a run adds to bpftrace's own start and end.
startup: system $(VENV)/.dev
	$(AS_ROOT) $(BIN)/python tools/startup.py

# How often `compare` is wrong on this machine; half an hour.
alarms: system $(VENV)/.dev
	$(AS_ROOT) $(BIN)/python tools/alarms.py

# Kills at random moments, and what is left then; a round takes some seconds. SEED=N begins there;
# ENGINE=tracefs: by that one alone.
ROUNDS ?= 300
SEED ?=
ENGINE ?=
chaos: system $(VENV)/.dev
	$(AS_ROOT) $(BIN)/python tools/chaos.py --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ENGINE),--engine $(ENGINE))

# Whether a long run stays as it began: the overview and stuck-locks beside stress-ng.
MINUTES ?= 20
SOAK_FLAGS ?= --docs
soak: system $(VENV)/.dev
	@command -v stress-ng >/dev/null || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq stress-ng; }
	$(AS_ROOT) $(BIN)/python tools/soak.py --minutes $(MINUTES) $(SOAK_FLAGS)

# Ten minutes of atheris over what reads texts from outside: two for each parser. Findings join
# tests/data/fuzz, which the unit suite replays.
FUZZ_SECONDS ?= 120
fuzz: $(VENV)/.dev
	$(AS_OWNER) $(BIN)/python -m pip install --quiet -e '.[fuzz]'
	for target in lines stream result gate profile; do \
	  $(AS_OWNER) $(BIN)/python tools/fuzz.py $$target $(FUZZ_SECONDS) || exit 1; done

# How fast `report` reads a raw stream again, and in how much memory.
throughput: $(VENV)/.dev
	$(AS_OWNER) $(BIN)/python tools/throughput.py

# The exports, read by the programs that they are for.
test-readers: $(VENV)/.dev readers-tools
	$(AS_OWNER) $(BIN)/python -m pytest -p no:cacheprovider tests/readers

readers-tools: $(VENV)/.dev
	@(for tool in node npm; do command -v $$tool >/dev/null || exit 1; done; \
	  command -v go >/dev/null || ls /usr/lib/go-*/bin/go >/dev/null 2>&1) || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends \
	    golang-go $$(command -v node >/dev/null || echo nodejs) $$(command -v npm >/dev/null || echo npm); }
	$(AS_OWNER) $(BIN)/python tools/readers.py

# The HTML pages in Chromium, and speedscope's app where readers-tools has brought it. playwright
# brings no browser of its own here.
test-browser: $(VENV)/.dev browser-tools
	$(AS_OWNER) $(BIN)/python -m pytest -p no:cacheprovider tests/browser

browser-tools: $(VENV)/.dev
	@command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends \
	    chromium-headless-shell fonts-dejavu-core; }
	@$(BIN)/python -c 'import playwright' 2>/dev/null || \
	  $(AS_OWNER) $(BIN)/python -m pip install --quiet playwright

# The agent in a Prometheus, and what is deployed with it, read by promtool, systemd and kubernetes.
test-fleet: system $(VENV)/.dev fleet-tools
	$(AS_ROOT) $(BIN)/python -m pytest -p no:cacheprovider tests/fleet

fleet-tools: $(VENV)/.dev
	$(AS_OWNER) $(BIN)/python tools/fleet.py
	@command -v systemd-analyze >/dev/null || $(SUDO) apt-get install -y -qq --no-install-recommends systemd
	@$(BIN)/python -c 'import kubernetes_validate' 2>/dev/null || \
	  $(AS_OWNER) $(BIN)/python -m pip install --quiet kubernetes-validate

# The image, and containers of Podman's (it needs no daemon): a quarter of an hour the first time.
test-containers: system $(VENV)/.dev containers-tools
	$(AS_ROOT) $(BIN)/python tools/containers.py $(BIN)/python -m pytest -p no:cacheprovider tests/containers

containers-tools: matrix-tools
	@(for tool in podman buildah crun unshare; do command -v $$tool >/dev/null || exit 1; done) || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends \
	    podman buildah crun; }

# Debian's packages of what is committed, into dist/: built in a root of Debian 12 of their own.
package: $(VENV)/.dev matrix-tools
	$(AS_ROOT) $(BIN)/python -u tools/package.py

# The same, installed by apt in a Debian 12 and a Debian 13 that have nothing else.
PACKAGE_SUITES ?= bookworm trixie
test-package: system package
	$(AS_ROOT) MMAPLOCK_SUITES="$(PACKAGE_SUITES)" $(BIN)/python -m pytest -p no:cacheprovider tests/package

# The agent's unit under a live systemd: the packages in an emulated Debian 13.
test-service: package kernels-tools
	$(AS_ROOT) $(BIN)/python -u tools/service.py

lint: $(VENV)/.dev
	$(AS_OWNER) $(BIN)/ruff check .
	$(AS_OWNER) $(BIN)/ruff format --check --quiet .
	$(AS_OWNER) $(BIN)/mypy
	$(AS_OWNER) $(BIN)/mypy tools/*.py
	$(AS_OWNER) $(BIN)/lint-imports

# What pip cannot bring: bpftrace, venv, and tracefs mounted.
system:
	@command -v bpftrace >/dev/null && $(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq bpftrace python3-venv; }
	@$(SUDO) test -d /sys/kernel/tracing/events || \
	  $(SUDO) mount -t tracefs nodev /sys/kernel/tracing

$(VENV)/bin/python:
	$(AS_OWNER) $(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(AS_OWNER) $(BIN)/python -m pip install --quiet -e .
	@$(AS_OWNER) touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(AS_OWNER) $(BIN)/python -m pip install --quiet -e '.[dev]'
	@$(AS_OWNER) touch $@ $(VENV)/.installed

# What root left there before is root's to remove.
LEFT := $(VENV) .fuzz dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
clean:
	@{ rm -rf $(LEFT) && find . -name __pycache__ -prune -exec rm -rf {} +; } 2>/dev/null || \
	  { $(SUDO) rm -rf $(LEFT) && $(SUDO) find . -name __pycache__ -prune -exec rm -rf {} +; }
