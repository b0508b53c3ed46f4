# Cleave: `make demo` and `make test` do all their own set-up on a fresh Debian or Ubuntu machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo setup pictures bench test check lint types docs test-system test-installed fuzz libiperf clean
.PHONY: chaos chaos-links chaos-reader chaos-crowd chaos-camera chaos-sinks soak
.PHONY: install-edge install-cloud uninstall-edge uninstall-cloud

help:
	@echo "make demo         the pair at work: a weak edge, a cloud, a network that changes (3 minutes)"
	@echo "make setup        both daemons with all their optional parts in .venv, to try them by hand (README.md)"
	@echo "make bench        all benchmarks, written to docs/benchmarks.md (as root, on a quiet machine; an hour)"
	@echo "                  make bench BENCH=--resume goes on where a run stopped; BENCH=--help shows what can be chosen"
	@echo "make test         the test suite"
	@echo "make check        ruff, mypy --strict, then the test suite: what CI runs"
	@echo "make test-system  only the tests that run real daemon processes"
	@echo "make fuzz         damaged conversations, a hundred million: goes on where it was stopped (tests/fuzz/progress.json)"
	@echo "make chaos        kill -9 of edge, cloud and both, a hundred rounds each (a quarter of an hour on a free core)"
	@echo "                  make chaos CHAOS='--rounds 10 --seed 7' does fewer, or some again"
	@echo "make soak         half an hour under faults: memory, descriptors, tasks, latencies (on a quiet machine)"
	@echo "                  make soak MINUTES=5 is shorter, and tells less; report and figures are put into var/soak"
	@echo "make chaos-reader peers that stop reading for a minute; make chaos-crowd: 64 active edges and 256 idle ones"
	@echo "make chaos-links  a thousand link cuts under load (a quarter of an hour on a quiet machine with two cores)"
	@echo "                  make chaos-links CUTS='--cuts 100 --seed 7' does fewer, or some again"
	@echo "make chaos-camera  an RTSP camera killed twenty times, and stopped, beside a real edge (CAMERA=--gstreamer: theirs)"
	@echo "make chaos-sinks  the MQTT broker away for a minute, then in turns (needs mosquitto)"
	@echo "make install-edge, make install-cloud   as root: the daemon as a systemd service (docs/install.md); again: upgrade"
	@echo "make uninstall-edge, uninstall-cloud    as root: remove it; with PURGE=1 settings and state, too"
	@echo "make test-installed  installs both into a booted Debian in a container and breaks them there (as root; minutes)"
	@echo "make docs         write docs/configuration.md anew from the settings, and the table of metrics in docs/seeing.md"
	@echo "make pictures     the pictures of the pages in docs/pictures anew (needs chromium and mosquitto)"
	@echo "make clean        remove the virtual environment and what was made"

demo: $(VENV)/.demo libiperf
	$(BIN)/python -m benchmarks.demo

setup: $(VENV)/.setup libiperf

bench: $(VENV)/.bench libiperf
	$(BIN)/python -m benchmarks.bench $(BENCH)

# Tests that compute share the machine by files; those that run daemons, which mostly wait, by single tests, three at a
# time. Those marked `alone` use all cores or play links, and have it to themselves. And what installs into a container
# is no part of the suite: it takes minutes, and root.
DAEMONS := tests/chaos tests/cloud_daemon tests/system
test: $(VENV)/.dev libiperf
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not alone" --durations=12 $(addprefix --ignore=,$(DAEMONS) tests/installed)
	$(BIN)/python -m pytest -n 3 --dist load -m "not alone" --durations=25 $(DAEMONS)
	$(BIN)/python -m pytest -m alone --durations=12 tests/benchmarks tests/fuzz

test-system: $(VENV)/.dev libiperf
	$(BIN)/python -m pytest -m system

MUTANTS ?= 100000000
FUZZ_WORKERS ?= $(shell nproc)
fuzz: $(VENV)/.dev
	nice -n 19 $(BIN)/python -m tests.fuzz.run --mutants $(MUTANTS) --workers $(FUZZ_WORKERS) --state tests/fuzz/progress.json

test-installed: $(VENV)/.dev
	$(BIN)/python -m pytest tests/installed

chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.kill_rounds $(CHAOS)

MINUTES ?= 30
soak: $(VENV)/.dev libiperf
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) $(SOAK)

chaos-reader: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.slow_reader $(READER)

chaos-crowd: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.crowd $(CROWD)

chaos-links: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.link_cuts $(CUTS)

chaos-camera: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.cameras $(CAMERA)

chaos-sinks: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.broker_away $(SINKS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python docs/write_configuration.py --check
	$(BIN)/python docs/write_metrics.py --check

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test

pictures: $(VENV)/.dev libiperf
	$(BIN)/python -m tests.system.take_pictures

docs: $(VENV)/.dev
	$(BIN)/python docs/write_configuration.py
	$(BIN)/python docs/write_metrics.py

clean:
	rm -rf $(VENV) var build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# --- as services ------------------------------------------------------------------------------------------
export DESTDIR VARIANTS PURGE
install-edge install-cloud uninstall-edge uninstall-cloud:
	@PYTHON="$(PYTHON)" systemd/install.sh $(subst -, ,$@)

# --- set-up ---------------------------------------------------------------------------------------------
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Cleave needs Python 3.11 or later as $(PYTHON); install one, or say make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }

# torch comes first and alone, so that the pinned version is there before anything else asks for "torch".
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet -c constraints.txt torch
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.setup: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[camera,mqtt,onnx]'
	@touch $@

$(VENV)/.bench: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.setup $(VENV)/.demo $(VENV)/.bench

# The iperf3 binding needs the C library. Without it everything runs, measuring by long pings instead.
libiperf: | $(VENV)/bin/python
	@$(BIN)/python -c 'import iperf3; iperf3.Client()' 2>/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq libiperf0 >/dev/null; \
	elif sudo -n true 2>/dev/null && command -v apt-get >/dev/null; then \
		sudo -n apt-get update -qq && sudo -n apt-get install -y -qq libiperf0 >/dev/null; \
	else \
		echo "libiperf is missing: sudo apt-get install libiperf0 (bandwidth is measured by pings until then)" >&2; \
	fi
