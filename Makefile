# Everything a user or a contributor runs. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
CHIP   ?= tiny
SEED   ?= 1
WORKERS ?= auto
OUT    ?= trained/$(basename $(notdir $(TEXT)))

# A variable as one word of the shell, whatever is in it.
quote = '$(subst ','\'',$(1))'
# option,NAME,VALUE: both, or nothing where there is no value.
option = $(if $(2),$(1) $(call quote,$(2)))

SPACE = GNU make cannot build in a path with a space: $(CURDIR); move the project to a path without one

export YOWASP_CACHE_DIR := $(CURDIR)/build/yowasp
export PYTHONHASHSEED := 0

.DEFAULT_GOAL := help
.PHONY: help setup packages test test-gates lint format verilog sim synth asic fpga costs demo train clean

help: ## List targets and variables
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo; awk -F ' ## ' '/^# [A-Z]+ ## / { printf "  %-15s %s\n", substr($$1, 3), $$2 }' $(MAKEFILE_LIST)

# BLOCK ## sim: a bench, ? lists them; synth, asic, fpga: a bench's block or a module; none: the chip, fpga: on its board
# SIM ## sim: icarus or verilator (default: the bench's own choice)
# CHIP ## tiny, edge or server; synth, asic, fpga, costs, test-gates: also edge,rows=8,lanes=8 (default: tiny; fpga, demo: edge; costs: server)
# SEED ## sim: seed of stimulus and power-up state; fpga: of the placement (default: 1)
# DEVICE ## fpga: 25k, 45k or 85k, of the ECP5 (default: 85k)
# SPEED ## fpga: speed grade of the ECP5, 6, 7 or 8 (default: 6, the slowest, which the ULX3S has)
# WAVES ## sim: 1 writes an FST file and a GTKWave view of the ports
# ONLY ## sim: a regular expression on names of tests
# LIBERTY ## asic, test-gates, costs: standard cells, a Liberty file
# SRAM ## asic: a folder of RAM macros, a Liberty file each; none: their area is not available
# CLOCK ## asic, test-gates, costs, fpga: MHz to aim at (default: 250; fpga: 100)
# TEXT ## train: a UTF-8 text file
# OUT ## train: the directory to write (default: trained/NAME of NAME.txt)
# ARGS ## test, test-gates, lint, costs, asic, fpga, demo, train: further arguments of pytest, verif.synth.*, mozg demo, mozg.train
# WORKERS ## test: processes at once (default: auto, one a core)
# PYTHON ## setup: the Python to build on, 3.11 or newer (default: python3)

setup: $(STAMP) ## Install Debian packages and the Python environment (.venv); nothing if that is done

$(STAMP): pyproject.toml | packages
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make setup PYTHON=python3.11"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

packages: ## Install the Debian packages that are missing, or say which they are
	@$(if $(word 2,$(CURDIR)),echo $(call quote,$(SPACE)); exit 1)
	@.ci/packages

test: $(STAMP) ## Run every test: models, driver, conversion, benches
	$(BIN)/python -m pytest -n $(call quote,$(WORKERS)) --dist worksteal -m "not slow" $(ARGS)

test-gates: $(STAMP) ## Run netlists of tiny, or CHIP=, against the RTL: generic gates, and cells of LIBERTY=file; minutes
	@$(BIN)/python -m verif.synth.gates --chip $(call quote,$(CHIP)) $(call option,--liberty,$(LIBERTY)) \
	    $(call option,--clock,$(CLOCK)) $(ARGS)

lint: $(STAMP) ## Check Python (ruff) and the Verilog (Verilator, Icarus, Yosys)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m verif.lint $(ARGS)

format: $(STAMP) ## Format the Python sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

verilog: $(STAMP) ## Write the chip's Verilog to build/verilog/CHIP; CHIP=tiny|edge|server
	$(BIN)/python -m verif.verilog $(call quote,$(CHIP))

sim: $(STAMP) ## Run the whole chip's bench, or BLOCK=name (? lists); SIM=icarus|verilator CHIP= SEED= WAVES=1 ONLY=test
	$(BIN)/python -m verif.runner $(call option,,$(BLOCK)) $(call option,--sim,$(SIM)) --chip $(call quote,$(CHIP)) \
	    --seed $(call quote,$(SEED)) $(if $(filter-out 0,$(WAVES)),--waves) $(call option,--only,$(ONLY))

synth: $(STAMP) ## Size and longest path of each module of the chip, or of BLOCK=name, in Yosys; CHIP=
	@$(BIN)/python -m verif.synth.generic $(call option,,$(BLOCK)) --chip $(call quote,$(CHIP))

asic: $(STAMP) ## Map the chip, or BLOCK=name, to the cells of LIBERTY=file: area, timing; CHIP= SRAM=folder CLOCK=MHz
	@test -n $(call quote,$(LIBERTY)) || { echo "name the standard cells: make asic LIBERTY=file.lib"; exit 1; }
	@.ci/packages sta=opensta
	@$(BIN)/python -m verif.synth.asic $(call option,,$(BLOCK)) --chip $(call quote,$(CHIP)) --liberty $(call quote,$(LIBERTY)) \
	    $(call option,--sram,$(SRAM)) $(call option,--clock,$(CLOCK)) $(ARGS)

fpga: $(STAMP) $(VENV)/.fpga ## Bitstream of edge, or CHIP=, on a ULX3S; or BLOCK=name routed alone; DEVICE= SPEED= CLOCK= SEED=
	@$(BIN)/python -m verif.synth.fpga $(call option,,$(BLOCK)) --chip $(call quote,$(if $(filter file,$(origin CHIP)),edge,$(CHIP))) \
	    --seed $(call quote,$(SEED)) $(call option,--device,$(DEVICE)) $(call option,--speed,$(SPEED)) \
	    $(call option,--clock,$(CLOCK)) $(ARGS)

$(VENV)/.fpga: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fpga]'
	@touch $@

costs: $(STAMP) ## What each choice of the server, or CHIP=, costs in gates and buys in cycles; LIBERTY=file: a row in parts
	@$(BIN)/python -m verif.synth.costs --chip $(call quote,$(if $(filter file,$(origin CHIP)),server,$(CHIP))) \
	    $(call option,--liberty,$(LIBERTY)) $(call option,--clock,$(CLOCK)) $(ARGS)

demo: $(STAMP) ## Generate text with a small GPT on the simulated chip; CHIP= (default: edge)
	$(BIN)/mozg demo $(if $(filter file,$(origin CHIP)),,--chip $(call quote,$(CHIP))) $(ARGS)

train: $(STAMP) ## Train a small GPT on TEXT=file and write its checkpoint to OUT=directory; installs PyTorch
	@test -f $(call quote,$(TEXT)) || { echo "name a text that is there: make train TEXT=file.txt"; exit 1; }
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	$(BIN)/python -m mozg.train --text $(call quote,$(TEXT)) --out $(call quote,$(OUT)) $(ARGS)

clean: ## Remove everything that was built, but not .venv
	rm -rf build .pytest_cache .ruff_cache
