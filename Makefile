# The same commands for people and for CI. PYTHON is any Python from 3.11 on.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install quickstart check audit test test-fast test-lowest test-cluster test-nfs docs bench papers clean

help:  ## print this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 16

install: $(STAMP)  ## make the virtual environment .venv with the tested versions

# constraints.txt holds the tested versions. `make install CONSTRAINTS=` takes the newest ones instead.
CONSTRAINTS ?= -c constraints.txt
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "raysweep needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e '.[dev]'
	touch $@

# axe-core tests the report in Chromium. Without npm that test is skipped, with its reason.
AXE := tests/report/node_modules/.package-lock.json
$(AXE): tests/report/package-lock.json
	! command -v npm > /dev/null || npm ci --prefix tests/report --ignore-scripts --no-audit --no-fund --silent

quickstart: $(STAMP)  ## run the first sweep, print its front and where its figure is
	$(BIN)/raysweep sweep search_spaces/quickstart.yaml
	@echo 'Next: $(BIN)/raysweep report results/quickstart    (or ". $(BIN)/activate" once, then "raysweep ...")'

check: $(STAMP)  ## check style, types, and that no tracked file holds a secret
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_security.py -k secret

audit: $(STAMP)  ## test whether DP-SGD keeps its guarantee here, and that each way to break it is found
	$(BIN)/raysweep selftest
	$(BIN)/python -m pytest -q tests/trial/test_selftest.py tests/defences/test_neighbours.py tests/defences/test_tradeoff.py

test: $(STAMP) $(AXE)  ## run all tests except those of a cluster
	$(BIN)/python -m pytest -n 3 --dist worksteal

FAST := -n 2 --dist worksteal -m 'not (cluster or ray or slow)'
test-fast: $(STAMP)  ## run the tests that need no Ray and little time
	$(BIN)/python -m pytest $(FAST)

# Its own environment: constraints-lowest.txt holds the lower bounds of pyproject.toml.
LOWEST := .venv-lowest
test-lowest:  ## run the fast tests and one small sweep on the lowest versions that we support
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[dev]'
	$(LOWEST)/bin/python -m pytest $(FAST)
	rm -rf results/lowest
	$(LOWEST)/bin/raysweep sweep search_spaces/quickstart.yaml --trials 4 --out results/lowest

test-cluster: $(STAMP)  ## test `ray up` on hosts in network namespaces, and Slurm (needs root and .ci/run's packages)
	$(BIN)/python -m pytest tests/cluster -m cluster --ignore=tests/cluster/test_nfs.py

# Not part of .ci/run: it starts a kernel of its own.
test-nfs: $(STAMP)  ## test results on NFS (needs root, user-mode-linux, kmod and nfs-kernel-server)
	$(BIN)/python -m pytest tests/cluster/test_nfs.py -m cluster

docs: $(STAMP)  ## write the page of all YAML keys, docs/space.md
	$(BIN)/python docs/make_space_reference.py

bench: $(STAMP)  ## reproduce the figures of README.md and the benchmarks page
	$(BIN)/python -m benchmarks.quickstart --json
	$(BIN)/python -m benchmarks.cli --json
	$(BIN)/python -m benchmarks.fashion_mnist --json
	$(BIN)/python -m benchmarks.membership --json
	$(BIN)/python -m benchmarks.recipes --json
	$(BIN)/python -m benchmarks.claims --json
	$(BIN)/python -m benchmarks.limits --json
	$(BIN)/python -m benchmarks.validity --json
	$(BIN)/python -m benchmarks.dp_step --json
	$(BIN)/python -m benchmarks.precision --json
	$(BIN)/python -m benchmarks.private_training --json
	$(BIN)/python -m benchmarks.trial --full --json
	$(BIN)/python -m benchmarks.ensemble --json
	$(BIN)/python -m benchmarks.overhead --json
	$(BIN)/python -m benchmarks.memory --json
	$(BIN)/python -m benchmarks.growth --full --json
	$(BIN)/python -m benchmarks.faults --json
	$(BIN)/python -m benchmarks.scale --json
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[bench]'
	$(BIN)/python -m benchmarks.attacks --json
	$(BIN)/python -m benchmarks.pruning --full --json

papers: $(STAMP)  ## draw the papers' tables and figures from the committed records (docs/papers.md)
	for script in analysis/papers/*_*.py; do $(BIN)/python $$script --out analysis/results/figures; done

clean:  ## remove the environments and caches
	rm -rf $(VENV) $(LOWEST) tests/report/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
