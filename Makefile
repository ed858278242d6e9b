# make repro: the whole job, in a fresh clone.  make test: everything that is checked.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)
THREADS = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

AUDIT := .cache/audit

.PHONY: help setup repro benchmark services bench torture test test-fast lint format lock sbom audit clean
help:
	@echo "make repro      set up, then dvc repro: data, train, evaluate, export"
	@echo "make benchmark  set up, then compare the methods of benchmark.yaml"
	@echo "make services   set up, then start a Prefect server and a worker that stay (docs/services.md)"
	@echo "make bench      set up, then measure every figure of docs/performance.md (15 minutes)"
	@echo "make torture    set up, then every fault of docs/reliability.md at full count (within an hour; goes on where it was)"
	@echo "make test       set up, then every test"
	@echo "make test-fast  the tests for the inner loop (under 2 minutes)"
	@echo "make lint       ruff and mypy"
	@echo "make lock       resolve requirements/*.in anew"
	@echo "make sbom       what the locks install, as CycloneDX JSON (.cache/sbom)"
	@echo "make audit      known vulnerabilities of what the locks install (asks api.osv.dev)"

# The environment is whole when its stamp is newer than the lock; bytecode is compiled once, here.
setup: .venv/.stamp
.venv/.stamp: requirements/dev.lock requirements/bootstrap.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"error: {sys.executable} is Python {v[0]}.{v[1]}, MedTune needs 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.lock
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements/dev.lock requirements/bootstrap.lock
	mkdir -p .cache/prefect  # Prefect makes its folder, not the one above it
	touch $@

repro: setup
	@python -m medtune params check
	dvc repro

# The comparison becomes a stage where it is first asked for: DVC would call one that never ran changed, and fail to
# pull what it never made.
benchmark: setup
	cp benchmarks/stage.yaml benchmarks/dvc.yaml
	dvc repro benchmarks/dvc.yaml

services: setup
	@python -m medtune services up

bench: setup
	python -m benchmarks.suite $(ARGS)

torture: setup
	python -m torture $(ARGS)

test: setup
	$(THREADS) python -m pytest -n 2 --dist loadgroup $(ARGS)

test-fast: setup
	$(THREADS) python -m pytest -n 2 --dist loadgroup -m "not slow and not real and not gpu" $(ARGS)

lint: setup
	ruff check .
	ruff format --check .
	mypy

format: setup
	ruff check --fix .
	ruff format .

lock: setup
	for name in dev train handoff serve bootstrap audit; do \
	  constraint=; case $$name in train|handoff|serve) constraint="-c requirements/dev.lock";; esac; \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' $$constraint requirements/$$name.in -o requirements/$$name.lock; \
	done

# An environment of its own: what looks at the locks is no part of them.
$(AUDIT)/.stamp: requirements/audit.lock | .venv/.stamp
	uv venv --quiet --clear --python $(BIN)/python $(AUDIT)
	uv pip sync --quiet --require-hashes --python $(AUDIT)/bin/python requirements/audit.lock
	touch $@

sbom: $(AUDIT)/.stamp
	@$(AUDIT)/bin/python requirements/sbom.py requirements/train.lock requirements/handoff.lock

audit: $(AUDIT)/.stamp
	@$(AUDIT)/bin/python requirements/audit.py requirements/train.lock requirements/serve.lock requirements/handoff.lock

clean:
	rm -rf .cache artifacts data/prepared .pytest_cache .mypy_cache .ruff_cache
