# The user's face of Twofold. Every target sets up what it needs in build/ and reuses it the next time.

PYTHON ?= python3
CONFIG ?=
NETWORK ?=
IMAGES ?=
JOBS ?=
SCHEDULER ?=
SIM ?=
WAVES ?=
COVERAGE ?=
RANDOM ?=
GATES ?=
SEED ?=
BENCH ?=
DATA ?=
ROW ?=
KIND ?=
COUNT ?=
EPOCHS ?=
FULL ?=
TECH ?=
LIBERTY ?=
WEIGHTS ?=
COMPONENT ?=
BOARD ?= ulx3s_85f

VENV := build/venv
RUN := $(VENV)/bin/python
TWOFOLD := $(VENV)/bin/twofold
BASE := $(VENV)/.base
TRAIN := $(VENV)/.train
ONNX := $(VENV)/.onnx
CLUSTER := $(VENV)/.cluster
LITEX := $(VENV)/.litex
TASKS := $(VENV)/.tasks
COMPILED := $(VENV)/.compiled
PEERS := $(VENV)-bench/.peers
MUTMUT := $(VENV)-mutation/.mutmut
PNR := $(VENV)/.pnr
DOCS := $(VENV)-docs/.docs
# What runs independent jobs: this machine's processes, or a Dask cluster's.
ENGINE = $(if $(JOBS),--jobs $(JOBS)) $(if $(SCHEDULER),--scheduler $(call quote,$(SCHEDULER)))
# Python compiles what is imported: a fifth of what is installed.
PIP := $(RUN) -m pip install --disable-pip-version-check --quiet --progress-bar on --no-compile

KNOWN := PYTHON CONFIG NETWORK IMAGES JOBS SCHEDULER SIM WAVES COVERAGE RANDOM GATES SEED BENCH DATA ROW KIND COUNT EPOCHS FULL TECH LIBERTY WEIGHTS \
  COMPONENT BOARD SHELL
UNKNOWN := $(strip $(foreach v,$(filter-out $(KNOWN) MAKE% -*,$(.VARIABLES)),$(if $(filter command,$(origin $v)),$v)))
$(if $(UNKNOWN),$(error Variable must be one of those that `make help` shows, not $(UNKNOWN)))

quote = '$(subst ','\'',$1)'
# CONFIG is one path, maybe with spaces, or a list: the argument $1 and a path, for each.
configs = $(if $(CONFIG),$(if $(shell test -e $(call quote,$(CONFIG)) && echo one),$1 $(call quote,$(CONFIG)),$(foreach c,$(CONFIG),$1 $(call quote,$c))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo verilog sim test pytest lint coverage docs synth bitstream package formal mutation bench results clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile
	@echo "Variables: CONFIG=configs/x.toml NETWORK=folder IMAGES=n JOBS=n SCHEDULER=address GATES=generic|ecp5 SIM=verilator|icarus WAVES=1 COVERAGE=1 RANDOM=n SEED=n BENCH=name DATA=folder ROW=name EPOCHS=n FULL=1 KIND=rtl|python COUNT=n TECH=ecp5|ice40|asic LIBERTY=file WEIGHTS=file COMPONENT=name BOARD=name PYTHON=python3"

demo: $(TRAIN) ## train, quantize, map, emit and verify on real data; build/demo/report.html
	$(TWOFOLD) demo

verilog: $(BASE) ## emit one build (CONFIG); build/verilog
	$(TWOFOLD) emit --config $(call quote,$(or $(CONFIG),configs/log_8x8.toml)) --out build/verilog

sim: $(if $(RANDOM)$(NETWORK),$(TRAIN),$(BASE)) $(if $(SCHEDULER),$(CLUSTER)) ## run the benches (CONFIG SIM WAVES BENCH; COVERAGE=1: what they reach of the Verilog), random networks (RANDOM SEED) or one (NETWORK), on a data set's images (IMAGES DATA), also on gates (GATES), side by side (JOBS SCHEDULER)
	$(TWOFOLD) sim $(if $(SIM),--sim $(SIM)) $(if $(filter-out 0,$(WAVES)),--waves) $(if $(filter-out 0,$(COVERAGE)),--coverage) $(call configs,--config) \
	  $(if $(SEED),--seed $(SEED)) $(if $(GATES),--gates $(GATES)) $(if $(RANDOM),--random $(RANDOM)) $(if $(NETWORK),--network $(call quote,$(NETWORK))) \
	  $(if $(IMAGES),--images $(IMAGES)) $(if $(DATA),--data $(call quote,$(DATA))) $(if $(JOBS),--jobs $(JOBS)) \
	  $(if $(RANDOM)$(NETWORK),--reference twofold.train.reference:run,$(BENCH))

test: $(COMPILED) ## check style and types, and run every test beside it
	@$(MAKE) --no-print-directory --jobs 2 pytest lint

# What it starts asks for no share of its jobs: MAKEFLAGS is none of theirs. Hundreds of processes import the project:
# Python may keep what it has compiled of it. Memory of large arrays is kept for the next ones.
pytest: $(COMPILED)
	MAKEFLAGS= MFLAGS= PYTHONDONTWRITEBYTECODE= MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_MMAP_THRESHOLD_=268435456 $(RUN) -m pytest -n 2 --dist worksteal

lint: $(COMPILED) ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

coverage: $(COMPILED) ## run every test and see which lines they reach; build/coverage/index.html
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest -n 2 --dist worksteal
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage html --quiet
	$(RUN) -m coverage json --quiet
	$(RUN) -m coverage report

docs: $(DOCS) ## make the site of the pages and of the public names; build/docs/site/index.html
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict

synth: $(PNR) $(if $(SCHEDULER),$(CLUSTER)) ## cells, area, clock rate and multipliers by component (CONFIG TECH LIBERTY COMPONENT JOBS SCHEDULER); build/synth/report.json
	$(TWOFOLD) synth --config $(or $(call configs,),configs/log_8x8.toml configs/subset_8x8.toml) $(if $(TECH),--tech $(TECH)) \
	  $(if $(LIBERTY),--liberty $(call quote,$(LIBERTY))) $(if $(COMPONENT),--component $(COMPONENT)) $(ENGINE)

bitstream: $(PNR) ## make a board's bitstream (BOARD CONFIG); build/bitstream/BOARD/report.json
	$(TWOFOLD) board build $(BOARD) $(if $(CONFIG),--config $(call quote,$(CONFIG)))

package: $(BASE) ## write what an FPGA project takes of a build (CONFIG NETWORK): Verilog, C driver, testbench; build/package
	$(TWOFOLD) package $(call quote,$(or $(CONFIG),configs/log_8x8.toml)) $(if $(NETWORK),--network $(call quote,$(NETWORK))) --out build/package

formal: $(BASE) ## prove the hardware's properties, and that each proof catches a seeded fault; build/formal/report.json
	$(TWOFOLD) prove

mutation: $(BASE) $(MUTMUT) ## seed faults into netlist and Python (KIND COUNT SEED), an hour; build/mutation/report.json
	$(TWOFOLD) mutate $(KIND) $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

bench: $(TRAIN) $(if $(filter qat_step frozen,$(or $(BENCH),frozen)),$(PEERS)) ## run the benchmarks, or one (BENCH WEIGHTS LIBERTY); build/bench/report.json
	$(TWOFOLD) bench $(BENCH)

results: $(TRAIN) ## measure the rows of docs/results.md (DATA ROW EPOCHS FULL=1), hours; build/results/report.json
	$(TWOFOLD) results $(if $(DATA),--data $(call quote,$(DATA))) $(if $(ROW),--row $(ROW)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(if $(FULL),--full)

clean: ## remove what was built, not the set-up
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name venv ! -name 'venv-*' ! -name tools -exec rm -rf {} +; fi

$(VENV)/bin/python:
	@$(call quote,$(PYTHON)) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: Python must be 3.11 or newer, not $$($(call quote,$(PYTHON)) --version 2>&1); set PYTHON=" >&2; exit 2; }
	@$(call quote,$(PYTHON)) -c 'import ensurepip, venv' \
	  || { echo "error: Python must have its venv module (Debian: python3-venv)" >&2; exit 2; }
	@echo "Making a virtual environment in $(VENV)"
	@$(call quote,$(PYTHON)) -m venv $(VENV)

# The project itself is installed as a path to src/: edits need no new installation.
$(BASE): requirements/base.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing $< (about 500 MB, once)"
	@$(PIP) -r $<
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

$(TRAIN): requirements/train.txt $(BASE)
	@echo "Installing $< (PyTorch; about 900 MB or more, once)"
	@$(PIP) -r $<
	@touch $@

$(ONNX): requirements/onnx.txt $(BASE)
	@echo "Installing $< (ONNX and onnxruntime; 100 MB, once)"
	@$(PIP) -r $<
	@touch $@

$(CLUSTER): requirements/cluster.txt $(BASE)
	@echo "Installing $< (Dask; 30 MB, once)"
	@$(PIP) -r $<
	@touch $@

$(LITEX): requirements/litex.txt $(BASE)
	@echo "Installing $< (LiteX and Migen; 10 MB, once)"
	@$(PIP) -r $<
	@touch $@

$(TASKS): requirements/tasks.txt $(TRAIN)
	@echo "Installing $< (torchmetrics and pycocotools; 11 MB, once)"
	@$(PIP) -r $<
	@touch $@

# The tests start hundreds of processes, and where Python keeps nothing that it compiles each would compile PyTorch again.
# Some packages hold files of Python 2, which are left out.
$(COMPILED): $(TRAIN) $(ONNX) $(CLUSTER) $(LITEX) $(TASKS)
	@echo "Compiling what is installed (once)"
	@$(RUN) -m compileall -q -j 0 $(VENV)/lib > $(VENV)/compiled.log 2>&1 || true
	@touch $@

$(PNR): requirements/pnr.txt $(BASE)
	@echo "Installing $< (place and route for ECP5 and iCE40; about 400 MB, once)"
	@$(PIP) -r $<
	@touch $@

# It sees the project's packages, too.
$(MUTMUT): requirements/mutation.txt $(BASE)
	@echo "Installing $< (mutmut; 40 MB, once)"
	@$(RUN) -m venv $(VENV)-mutation
	@$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$($(VENV)-mutation/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth"
	@$(VENV)-mutation/bin/python -m pip install --disable-pip-version-check --quiet --progress-bar on --no-compile -r $<
	@touch $@

# It only reads the sources.
$(DOCS): requirements/docs.txt | $(VENV)/bin/python
	@echo "Installing $< (MkDocs; 170 MB, once)"
	@$(RUN) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip install --disable-pip-version-check --quiet --progress-bar on --no-compile -r $<
	@touch $@

# The peers see the project and its packages, too. Without them, what compares with them says "not run".
$(PEERS): requirements/bench.txt $(TRAIN)
	@echo "Installing $< (Brevitas, da4ml; 40 MB, once)"
	@{ $(RUN) -m venv $(VENV)-bench \
	  && $(RUN) -c 'import os, sysconfig; print(sysconfig.get_path("purelib"), os.path.abspath("src"), sep="\n")' \
	    > "$$($(VENV)-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth" \
	  && $(VENV)-bench/bin/python -m pip install --disable-pip-version-check --quiet --progress-bar on --no-compile -r $< \
	  && touch $@; } || echo "Brevitas and da4ml cannot be installed here: they are not compared with"
