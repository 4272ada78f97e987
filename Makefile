# Everything a user or a contributor runs. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CHIP   ?= tiny
SEED   ?= 1
WORKERS ?= auto

export YOWASP_CACHE_DIR := $(CURDIR)/build/yowasp
export PYTHONHASHSEED := 0

.DEFAULT_GOAL := help
.PHONY: help setup packages test lint format verilog sim demo train clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install Debian packages and the Python environment (.venv); nothing if that is done

$(STAMP): pyproject.toml | packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make setup PYTHON=python3.11"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

packages:
	@.ci/packages

test: $(STAMP) ## Run every test: models, driver, conversion, benches
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

lint: $(STAMP) ## Check Python (ruff) and the Verilog (Verilator, Icarus, Yosys)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m verif.lint

format: $(STAMP) ## Format the Python sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

verilog: $(STAMP) ## Write the chip's Verilog to build/verilog/CHIP; CHIP=tiny|edge|server
	$(BIN)/python -m verif.verilog $(CHIP)

sim: $(STAMP) ## Run the whole chip's bench, or BLOCK=name (? lists); SIM=icarus|verilator CHIP= SEED= WAVES=1 ONLY=test
	$(BIN)/python -m verif.runner $(if $(BLOCK),'$(BLOCK)') $(if $(SIM),--sim $(SIM)) --chip $(CHIP) \
	    --seed $(SEED) $(if $(WAVES),--waves) $(if $(ONLY),--only '$(ONLY)')

demo: $(STAMP) ## Generate text with a small GPT on the simulated chip
	$(BIN)/mozg demo $(ARGS)

train: $(STAMP) ## Train a small GPT on TEXT=file and write its checkpoint
	@test -n "$(TEXT)" || { echo "name a text: make train TEXT=file.txt"; exit 1; }
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	$(BIN)/python -m mozg.train "$(TEXT)" $(ARGS)

clean: ## Remove everything that was built, but not .venv
	rm -rf build .pytest_cache .ruff_cache
