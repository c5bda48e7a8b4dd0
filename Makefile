# GNU make 3.81 and POSIX sh are enough. `make help` lists what there is.
SHELL = /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

DATA =#         a folder of images, .npz, .npy, CSV or Parquet file of your own, for repro
NAME =#         what to call the own data set (default: after its folder or file); which study, for study
TRAINER =#      gpu, cpu or smoke: written to conf/pipeline.yaml, for repro
JOBS =#         stages at once, for repro (default: one for each core, at most 4)
TORCH_INDEX ?=#  the address of a package index with another build of torch
PYTHON ?=#       the Python 3.11 to 3.13 that makes .venv

# Recipes read these from the environment, so that spaces and quotes in a path survive.
export DATA NAME TRAINER JOBS TORCH_INDEX PYTHON

# No telemetry, no update checks, no advertisements.
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true
export DVC_NO_ANALYTICS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export GIT_PYTHON_REFRESH = quiet
export PYTHONUNBUFFERED = 1
# Containers often set it. Each of some forty stages would then compile the libraries anew: 13 s, where reading them takes 6.
unexport PYTHONDONTWRITEBYTECODE
# `dvc repro` starts stages as `python ...`: that is the environment's, whatever else is installed.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Without compiling what is installed: half of pip's time, and most modules are never imported. Python compiles those that are.
PIP = $(PY) -m pip install --no-compile

# An environment belongs to its place and to these two files: when one of them changes, the stamp has another name.
KEY := $(shell { pwd; cat constraints.txt pyproject.toml; } | cksum | tr ' ' '-')
BASE := .venv/.installed-$(KEY)
DEV := .venv/.installed-dev-$(KEY)
PY := .venv/bin/python

# Sets $$python to a Python that runs and fits, or says what to install. An executable alone is no proof: version managers put
# shims on the PATH that only print an error.
define FIND_PYTHON
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; python=; \
for each in "$${PYTHON:-python3.13}" "$${PYTHON:-python3.12}" "$${PYTHON:-python3.11}" "$${PYTHON:-python3}" "$${PYTHON:-python}"; do \
  if "$$each" -c "$$fits" >/dev/null 2>&1; then python=$$each; break; fi; \
done; \
if [ -z "$$python" ]; then \
  echo "No Python 3.11, 3.12 or 3.13 found$${PYTHON:+: PYTHON=$$PYTHON is not one}. Install one (apt install python3 python3-venv, brew install python@3.13) or give PYTHON=<path>." >&2; exit 1; \
fi; \
if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
  echo "$$python cannot make environments: its venv module is missing. Install it (apt install python3-venv)." >&2; exit 1; \
fi
endef

# The index of this environment's torch: the given one, or the one that it was installed from.
INDEX = index=$${TORCH_INDEX:-$$(cat .venv/.torch-index 2>/dev/null)}

# Says what will be downloaded and what is free, and stops where that is too little. The size hangs on the build of torch, so pip is
# asked which one it would take. LATENT_ATLAS_FREE_MB stands in for the disk in tests.
define CHECK_DISK
$(INDEX); $(PY) -m pip install --dry-run --quiet --no-deps --ignore-installed --report .venv/.torch.json -c constraints.txt $${index:+--extra-index-url "$$index"} torch 2>.venv/.pip.log || { \
  echo "pip cannot get torch; is there a network, and a build for this machine?" >&2; tail -n 3 .venv/.pip.log >&2; exit 1; }; \
where=$$($(PY) -c 'import json; print(json.load(open(".venv/.torch.json"))["install"][0]["download_info"]["url"])'); \
case "$$where" in *macosx*|*cpu*) build=CPU; [ "$$(uname -s)" = Darwin ] && build=macOS; download=500; disk=2600;; *) build=CUDA; download=3300; disk=11000;; esac; \
download="about $$download"; \
for old in .venv/.installed-*; do [ -e "$$old" ] && download="less than 500" disk=500; done; \
free=$${LATENT_ATLAS_FREE_MB:-$$(df -Pk . | awk 'NR > 1 { for (i = 2; i <= NF; i++) if ($$i ~ /%$$/) { print int($$(i - 1) / 1024); exit } }')}; \
echo "Installing into .venv with $$($(PY) --version), torch for $$build: $$download MB to download, $$disk MB of disk with pip's cache; $$free MB are free."; \
if [ "$$build" = CUDA ] && ! command -v nvidia-smi >/dev/null 2>&1; then \
  echo "No NVIDIA driver is in sight: TORCH_INDEX=<the CPU index on PyTorch's Get started page> makes that 500 MB."; fi; \
if [ "$$free" -lt "$$disk" ]; then \
  echo "Not enough disk: $$free MB free in $(CURDIR), $$disk MB needed. Make room, or clone to a larger disk." >&2; exit 1; fi
endef

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@awk -F ' *[?]?=# *' '/^[A-Z_]+ [?]?=# / { printf "  %-13s %s\n", $$1 "=", $$2 }' Makefile

$(BASE):
	@$(FIND_PYTHON); \
	if [ "$$(cat .venv/.place 2>/dev/null)" != "$$PWD" ] || ! $(PY) -c pass 2>/dev/null; then \
	  "$$python" -m venv --clear .venv || exit 1; printf '%s\n' "$$PWD" > .venv/.place; \
	fi
	@$(CHECK_DISK)
	@rm -f .venv/.installed-*
	@if [ -n "$$TORCH_INDEX" ] && [ "$$(cat .venv/.torch-index 2>/dev/null)" != "$$TORCH_INDEX" ]; then $(PY) -m pip uninstall -qy torch; fi
	@if [ -n "$$TORCH_INDEX" ]; then printf '%s\n' "$$TORCH_INDEX" > .venv/.torch-index; fi
	@$(INDEX); $(PIP) $$($(PY) -c 'import torch; print("-q")' 2>/dev/null) -c constraints.txt $${index:+--extra-index-url "$$index"} torch
	@echo "Installing the rest, a minute or two ..."
	@$(PIP) -q -c constraints.txt -e .
	@touch $(BASE)
	@echo "Installed: $$(du -sk .venv | awk '{ print int($$1 / 1024) }') MB in .venv."

$(DEV): $(BASE)
	@$(PIP) -q -c constraints.txt -e '.[dev]'
	@touch $(DEV)

.PHONY: install
install: $(BASE) ## .venv with everything that the pipeline needs (repro and the others call it)

.PHONY: database
database: $(BASE)
	@git rev-parse --git-dir >/dev/null 2>&1 || { echo "$(CURDIR) is not a git clone, and DVC needs one: clone it, or run git init." >&2; exit 1; }
	@$(PY) -c 'from latent_atlas.training.tracking import initialise; initialise()'

# Stages that do not wait for each other run side by side, those of the first page first; JOBS=1 for one after another.
.PHONY: repro
repro: database ## install, run what is not up to date, end at the report; with DATA=<path> on your own data
	@$(PY) -m latent_atlas.console free
	@if [ -n "$$TRAINER" ]; then $(PY) pipelines/own.py trainer="$$TRAINER"; fi
	@if [ -n "$$DATA" ]; then $(PY) pipelines/own.py data="$$DATA" name="$$NAME"; \
	else $(PY) pipelines/repro.py pages=digits,core jobs="$$JOBS" && $(PY) -m latent_atlas.console page=core; fi

.PHONY: test
test: $(DEV) ## install what tests need and run them all
	@$(PY) -m pytest -n 2 --dist loadfile --durations=15

.PHONY: lint
lint: $(DEV) ## ruff (rules and format) and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

.PHONY: format
format: $(DEV) ## let ruff rewrite the files
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

.PHONY: report
report: database ## bring the joined report up to date and say where it is
	@$(PY) -m latent_atlas.console free
	@.venv/bin/dvc repro report@core && $(PY) -m latent_atlas.console page=core

.PHONY: bench
bench: $(DEV) ## measure speed against peers (each in an environment of its own)
	@$(PY) bench/run.py

.PHONY: mlflow
mlflow: database ## start MLflow's pages and print the address that compares the runs
	@$(PY) -c 'import os; from latent_atlas.training.tracking import ALL_RUNS, ui_command; address, words = ui_command(); print(address, ALL_RUNS, sep="\n", flush=True); os.execvp(words[0], words)'

.PHONY: study
study: database ## a longer experiment, with NAME=<study>; resumable, results in reports/studies
	@$(PY) bench/study.py name="$${NAME:-dsprites_first}"

# Only what carries the mark of its stage is removed: a folder of your own under data/ or models/ has none.
.PHONY: clean
clean: ## remove what can be made again: stage outputs and caches of tools; not .venv, work/, multirun/ or your files
	@set -- plan reports/build; \
	for mark in data/*/card.json features/*/extractor.json models/*/train.json evaluations/*/evaluation.json; do \
	  [ -f "$$mark" ] && set -- "$$@" "$${mark%/*}"; done; \
	for cache in .pytest_cache .mypy_cache .ruff_cache .hypothesis .dvc/tmp/rwlock; do set -- "$$@" "$$cache"; done; \
	for each in "$$@"; do [ -e "$$each" ] && { echo "removing $$each"; chmod -R u+w "$$each"; rm -rf "$$each"; }; done; \
	find src pipelines tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Kept: .venv, work/ (MLflow, checkpoints), multirun/, DVC's cache (the next make repro takes outputs from there), your data."
