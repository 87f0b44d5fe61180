# `make help` lists the targets.
SHELL := /bin/bash
VENV := .venv
STAMP := $(VENV)/.installed
PYTHON ?= python3
# Stages and tests find `lenet` and `dvc` here, as in an activated venv.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install repro retrain test test-long check ui readme bench screenshots clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1|/' | column -t -s '|'

install: $(STAMP) ## make the venv and install everything at the versions of constraints.txt

# What the kernels are compiled from: an edit there compiles them again, or the tests would try the old ones.
KERNELS := setup.py $(wildcard src/lenet/kernels/*.[ch]) src/lenet/kernels/levels.py

$(STAMP): pyproject.toml constraints.txt $(KERNELS)
	@$(PYTHON) -c 'import sys; sys.exit("python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(VENV)/bin/python || { echo "making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "installing into $(VENV): about 2 GB and three minutes the first time ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

repro: $(STAMP) ## run the stages of the pipeline that are out of date
	@dvc repro
	@lenet sync || echo "the results are complete; the messages above name what MLflow does not show"
	@echo
	@echo "report:   results/report.html, results/report.md"
	@echo "compare:  lenet ui   (after: source $(VENV)/bin/activate)"

retrain: $(STAMP) ## run the pipeline and the gate; PROMOTE=1 acts on the decision
	@dvc repro
	@lenet sync || echo "the messages above name what MLflow does not show"
	@lenet gate $${PROMOTE:+--promote} $${AGAINST:+--against "$$AGAINST"}

test: $(STAMP) ## run the tests, the fast ones first
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not long'

test-long: $(STAMP) ## run the tests that take minutes each: a retraining in CI, twenty kills, joined searches
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long

check: $(STAMP) ## format, lint, type-check, and the direction of imports
	@ruff format --check . && ruff check . && mypy && lint-imports

ui: $(STAMP) ## open MLflow on the project's store
	@lenet ui

bench: $(STAMP) ## measure speed and overhead on an idle machine
	@python benchmarks/kernels.py && python benchmarks/throughput.py && python benchmarks/throughput.py --level avx2 && python benchmarks/sweep.py && python benchmarks/store.py && python benchmarks/search.py

readme: $(STAMP) ## write the table of results into README.md
	@lenet report --readme

screenshots: $(STAMP) ## take the documentation's screenshots (needs chromium)
	@python docs/screenshots.py

clean: $(STAMP) ## list what can be deleted of the runs
	@lenet clean
