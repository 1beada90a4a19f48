# Every target sets up what it needs in .venv and skips what is done. `make help` lists them.
PYTHON ?= python3
CONFIG ?= configs/gan_mnist5k.py
DATASET ?= all
BENCH ?= step augment
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  variables: CONFIG=$(CONFIG)  ARGS="--config.optim.lr=1e-4"  DATASET=$(DATASET)  BENCH="$(BENCH)"  PYTHON=$(PYTHON)'

setup: $(READY)  ## install the tested versions into .venv

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

train: $(READY)  ## train CONFIG, or resume it
	$(BIN)/python -m experiments.train --config $(CONFIG) $(ARGS)

data: $(READY)  ## fetch and prepare DATASET (fashion_mnist, emoji64/google, ... or all: experiments.prepare --help)
	$(BIN)/python -m experiments.prepare --dataset $(DATASET) $(ARGS)

test: $(READY)  ## the tests, warnings as errors
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-all: $(READY)  ## the tests and the slow ones, with all of XLA's optimisation
	XLA_FLAGS= $(BIN)/python -m pytest -n 2 -m '' $(ARGS)

lint: $(READY)  ## style and formatting, as CI checks them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(READY)  ## write the generated tables: results, operations, configs
	$(BIN)/python -m experiments.report

bench: $(READY)  ## speed of the training step and of every operation, BENCH, against the peers installed in .venv
	for table in $(BENCH); do $(BIN)/python -m experiments.bench $$table $(ARGS) || exit 1; done

cuda: $(READY)  ## add JAX for NVIDIA GPUs
	$(BIN)/python -m pip install "jax[cuda13]==$$($(BIN)/python -c 'import jax; print(jax.__version__)')"

tpu: $(READY)  ## add JAX for TPUs
	$(BIN)/python -m pip install "jax[tpu]==$$($(BIN)/python -c 'import jax; print(jax.__version__)')"

lock:  ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --extra mnist5k --extra fd --extra study --extra sweep --extra dev --custom-compile-command 'make lock' \
	  --output-file requirements.lock $(ARGS)

.PHONY: help setup train data test test-all lint docs bench cuda tpu lock
