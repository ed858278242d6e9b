# In a fresh clone, `make repro` installs the environment and runs the pipeline. `make help` describes all targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
THREADS = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Test processes: more than the cores of a small machine, because tests wait for servers and other processes.
WORKERS = 4

UV := PYTHON='$(PYTHON)' requirements/uv
# default: torch as in the lock, with CUDA on Linux. cpu: without CUDA (docs/install.md). .venv/.torch stores the choice.
TORCH ?= $(or $(shell cat .venv/.torch 2>/dev/null),default)
AUDIT := .cache/audit

.PHONY: help setup repro benchmark services bench torture test test-all test-fast fuzz lint format lock sbom audit licenses \
  dist check-wheel check-docs release-notes clean
help:
	@echo "make repro      set up, then dvc repro: data, train, evaluate, export"
	@echo "make benchmark  set up, then compare the methods of benchmark.yaml"
	@echo "make services   set up, then start a Prefect server and a worker in the background (docs/services.md)"
	@echo "make bench      set up, then repeat the measurements of docs/performance.md (about 15 minutes)"
	@echo "make torture    set up, then inject every fault of docs/reliability.md (about 80 minutes; resumes where it stopped)"
	@echo "make setup      install .venv; TORCH=cpu omits CUDA (docs/install.md)"
	@echo "make test       set up, then run every test but the nightly ones"
	@echo "make test-all   set up, then run every test, also those marked nightly"
	@echo "make test-fast  run the fast tests (under 2 minutes)"
	@echo "make fuzz       run the property tests with new random examples"
	@echo "make lint       run ruff and mypy"
	@echo "make lock       upgrade the pinned versions in requirements/*.lock within the bounds of pyproject.toml"
	@echo "make sbom       list the locked packages as CycloneDX JSON (.cache/sbom)"
	@echo "make licenses   list the licenses of the locked packages; fails on one that pyproject.toml does not allow"
	@echo "make dist       build the wheel and the source distribution into dist/"
	@echo "make check-wheel  build them, then install and import the wheel in an empty environment"
	@echo "make check-docs check the links and names in the documentation"
	@echo "make release-notes TAG=v1.2.3  check a release tag, write its notes to .cache/release-notes.md"
	@echo "make audit      list known vulnerabilities of the locked packages, from api.osv.dev"

# setup.sh installs only what is out of date. It takes 0.1 s if nothing is.
setup:
	@PYTHON='$(PYTHON)' requirements/setup.sh $(TORCH)
	@echo '$(TORCH)' > .venv/.torch

repro: setup
	@medtune params check
	dvc repro

# DVC reports a stage that never ran as changed and cannot pull its outputs, so the stage is added on first use.
benchmark: setup
	cp benchmarks/stage.yaml benchmarks/dvc.yaml
	dvc repro benchmarks/dvc.yaml

services: setup
	@medtune services up

bench: setup
	python -m benchmarks.suite $(ARGS)

# One process per core. --fresh repeats everything, --save updates the table in docs/reliability.md.
torture: setup
	$(THREADS) python -m pytest tests/robustness --hypothesis-profile torture -n $(shell nproc) $(ARGS)

test: setup
	$(THREADS) python -m pytest -n $(WORKERS) --dist loadgroup -m "not nightly" $(ARGS)

test-all: setup
	$(THREADS) python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

test-fast: setup
	$(THREADS) python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow and not real and not gpu" $(ARGS)

# The other test targets use the same hypothesis examples in every run.
fuzz: setup
	$(THREADS) python -m pytest -n $(WORKERS) --dist loadgroup -m hypothesis --hypothesis-profile fuzz $(ARGS)

lint: setup
	ruff check .
	ruff format --check .
	mypy

format: setup
	ruff check --fix .
	ruff format .

LOCKS := dev dev-cpu train predict serve serve-gpu
COMPILE = $(UV) pip compile --universal --python-version 3.11 --upgrade --quiet --no-emit-index-url --no-annotate \
  --generate-hashes --custom-compile-command 'make lock'
SUBSET = $(COMPILE) --constraint requirements/dev.lock
AUDITED := train predict serve serve-gpu
NO_CUDA := --override requirements/cpu.override $(addprefix --no-emit-package ,onnxruntime-gpu torch torchvision)

# bootstrap.lock and audit.lock are compiled from .in files, the other locks from pyproject.toml. dev.lock comes first,
# because its versions constrain the other locks except audit.lock.
lock:
	$(COMPILE) --extra dev pyproject.toml -o requirements/dev.lock
	$(SUBSET) --extra dev $(NO_CUDA) pyproject.toml -o requirements/dev-cpu.lock
	$(SUBSET) --extra segment pyproject.toml -o requirements/train.lock
	$(SUBSET) --extra dicom --extra volumes --extra wsi $(NO_CUDA) pyproject.toml -o requirements/predict.lock
	$(SUBSET) --extra dicom --extra serve --extra volumes --extra wsi $(NO_CUDA) pyproject.toml -o requirements/serve.lock
	$(SUBSET) --extra dicom --extra serve-gpu --extra volumes --extra wsi pyproject.toml -o requirements/serve-gpu.lock
	$(SUBSET) requirements/bootstrap.in -o requirements/bootstrap.lock
	$(COMPILE) requirements/audit.in -o requirements/audit.lock
	mkdir -p .cache/pylock
	for name in $(LOCKS); do \
	  $(UV) pip compile --universal --python-version 3.11 --no-deps --quiet --format pylock.toml \
	    requirements/$$name.lock -o .cache/pylock/pylock.$$name.toml || exit; \
	done
	$(UV) run --no-project --isolated --with packaging python requirements/sizes.py \
	  $(LOCKS:%=.cache/pylock/pylock.%.toml) > .cache/pylock/sizes.txt
	mv .cache/pylock/sizes.txt requirements/sizes.txt

# The audit tools have a separate environment, because the locks that they check do not contain them.
$(AUDIT)/.stamp: requirements/audit.lock
	$(UV) venv --quiet --clear --python '$(PYTHON)' $(AUDIT)
	$(UV) pip sync --require-hashes --python $(AUDIT)/bin/python requirements/audit.lock
	touch $@

sbom: $(AUDIT)/.stamp
	@$(AUDIT)/bin/python requirements/sbom.py $(AUDITED:%=requirements/%.lock)

audit: $(AUDIT)/.stamp
	@$(AUDIT)/bin/python requirements/audit.py $(AUDITED:%=requirements/%.lock)

licenses: setup
	@python requirements/licenses.py

dist:
	rm -rf dist
	$(UV) build --python '$(PYTHON)' --build-constraints requirements/dev.lock --require-hashes --out-dir dist .

WHEEL_ENV := .cache/wheel
check-wheel: dist
	$(UV) venv --quiet --clear --python '$(PYTHON)' $(WHEEL_ENV)
	$(UV) pip install --quiet --require-hashes --python $(WHEEL_ENV)/bin/python -r requirements/predict.lock
	$(UV) pip install --quiet --no-deps --python $(WHEEL_ENV)/bin/python dist/*.whl
	cd $(WHEEL_ENV) && env -u PYTHONPATH bin/python -c 'import medtune; medtune.Bundle, medtune.load_params()'
	cd $(WHEEL_ENV) && env -u PYTHONPATH bin/medtune --version
	diff <(cd medtune && find . -name '*.j2' | sort) \
	  <(cd $(WHEEL_ENV)/lib/python*/site-packages/medtune && find . -name '*.j2' | sort)

check-docs: setup
	python -m pytest tests/contracts/test_doc_references.py

# TAG comes from the command line or, in the release workflow, from the environment.
release-notes:
	@mkdir -p .cache
	@$(PYTHON) requirements/release.py "$$TAG" > .cache/release-notes.md

clean:
	rm -rf .cache artifacts data/prepared .pytest_cache .mypy_cache .ruff_cache
