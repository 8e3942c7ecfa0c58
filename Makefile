# The same commands for people and for CI. PYTHON is any Python from 3.11 on.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install quickstart test test-cluster test-nfs check bench papers clean

install: $(STAMP)

# constraints.txt holds the versions that were tested; `make install CONSTRAINTS=` takes the newest.
CONSTRAINTS ?= -c constraints.txt
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "raysweep needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINTS) -e '.[dev]'
	touch $@

quickstart: $(STAMP)  ## set up, run the first sweep, show the front and where its figure is
	$(BIN)/raysweep sweep search_spaces/quickstart.yaml

test: $(STAMP)  ## set up and pass the tests
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-cluster: $(STAMP)  ## a real `ray up` onto hosts in network namespaces, Slurm (root; packages: .ci/run)
	$(BIN)/python -m pytest tests/cluster -m cluster --ignore=tests/cluster/test_nfs.py

# Eight minutes, with root and Debian's user-mode-linux, kmod and nfs-kernel-server; not part of .ci/run.
test-nfs: $(STAMP)  ## results on NFS, in a Linux of their own
	$(BIN)/python -m pytest tests/cluster/test_nfs.py -m cluster

check: $(STAMP)  ## style, types, and no secret in a tracked file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_security.py -k secret

bench: $(STAMP)  ## make the figures of README.md and benchmarks/README.md again
	$(BIN)/python -m benchmarks.quickstart --json
	$(BIN)/python -m benchmarks.cli --json
	$(BIN)/python -m benchmarks.fashion_mnist --json
	$(BIN)/python -m benchmarks.dp_step --json
	$(BIN)/python -m benchmarks.precision --json
	$(BIN)/python -m benchmarks.trial --full --json
	$(BIN)/python -m benchmarks.shadows --json
	$(BIN)/python -m benchmarks.overhead --json
	$(BIN)/python -m benchmarks.memory --json
	$(BIN)/python -m benchmarks.growth --full --json
	$(BIN)/python -m benchmarks.faults --json
	$(BIN)/python -m benchmarks.scale --json
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[bench]'
	$(BIN)/python -m benchmarks.attacks --json
	$(BIN)/python -m benchmarks.pruning --full --json

papers: $(STAMP)  ## the papers' tables and figures from the committed records (docs/papers.md)
	for script in analysis/papers/*_*.py; do $(BIN)/python $$script --out analysis/results/figures; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
