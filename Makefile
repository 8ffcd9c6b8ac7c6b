# Every target makes .venv first where it is missing or older than what it is made from.
#
#   make demo            train, export, serve and ask, on the data set in demo/ (BODY=, PRETRAINING=)
#   make test            the tests without the long matrices: unit tests, then whole runs and servers, whose bundles stay in .cache/
#   make test-all        all tests, hypothesis at random (SEED=N repeats a run)
#   make test-migration  models of other libraries, exported from environments of these libraries (part of test-all)
#   make lint            format, lint and types, and the Dockerfile
#   make docs            the documentation site in site/; a broken link or an undocumented name fails (Python 3.11)
#   make typecheck       types alone
#   make dist            the wheels and source archives of all packages, in dist/
#   make lock            requirements.lock from requirements.in, with the hashes of every file
#   make bench           the compiled features step against NVTabular (QUICK=1: under two minutes)
#   make bench-serving   servers under load: ours and others (an hour; QUICK=1: twenty minutes)
#   make bench-catalogue large catalogues: exact, int8, index (QUICK=1: to a million items)
#   make bench-accuracy  recommendations by published protocols (DATASET=eshop; others with DATA=FOLDER)
#   make bench-choices   bodies, losses and windows one after the other (DATASET, DATA; CHOICES='gru4rec sasrec')
#   make bench-retraining epochs from yesterday's model and from nothing (QUICK=1: fewer; twenty minutes)
#   make bench-cold-items items that training never saw: how well, and what adding them takes (an hour; QUICK=1: some ten minutes)
#   make bench-training  time and memory of training by interactions and items (five minutes; QUICK=1: one)
#   make bench-client    the client's HTTP, gRPC and gzip (QUICK=1: under a minute)
#   make bench-libraries HTTP libraries under the client (QUICK=1: fewer rounds)
#   make bench-soak      an hour of requests, one in ten malformed: failures, memory (QUICK=1: five minutes)
#   make test-container  the image and docker-compose.yml: contract, replicas, monitoring (ten minutes; needs podman or docker)
#   make clean           remove what tests and builds leave; .venv, runs/ and models stay
#
# What begins with bench writes its figures to benchmarks/results/, with QUICK=1 nowhere, with JSON=FILE to that file.
# PYTHON=python3.10 chooses the interpreter of .venv.

.PHONY: help demo test test-all test-migration lint typecheck docs dist lock bench bench-serving bench-catalogue bench-accuracy bench-choices bench-retraining bench-cold-items bench-training \
	bench-client bench-libraries bench-soak test-container clean bootstrap
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.complete
SEED := $(or $(SEED),$(shell date +%s))
# Compiled files are kept where the environment forbids it, too: hundreds of processes would compile the same sources again.
export PYTHONDONTWRITEBYTECODE :=
# Both cores are used, each model on one thread. What trains and exports whole runs, or starts programs, goes with the tests with a
# server: they wait much of their time, so there are four at once. What measures times under load runs by itself.
UNIT_TESTS := tests bundle/tests training/tests export/tests
WHOLE_RUNS := tests/benchmarks tests/migration export/tests/bundles export/tests/catalogue training/tests/runs
SERVER_TESTS := $(addprefix serving_tests/,measured contract faults models) $(wildcard serving_tests/test_*.py) server/tests client/tests
PACKAGES := bundle training export server client

$(READY): requirements.lock requirements.in scripts/bootstrap training/pyproject.toml export/pyproject.toml \
		server/pyproject.toml client/pyproject.toml bundle/pyproject.toml $(if $(PYTHON),bootstrap)
	@PYTHON='$(PYTHON)' scripts/bootstrap

bootstrap: # a named PYTHON is compared with .venv's on each call, which no file's age can tell

help:
	@sed -n 's/^#   make /make /p' Makefile

demo: $(READY)
	$(BIN)/python demo/run.py $(if $(BODY),--body '$(BODY)') $(if $(PRETRAINING),--pretraining '$(PRETRAINING)')

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' --durations=40 --numprocesses=2 --dist=worksteal \
		$(UNIT_TESTS) $(addprefix --ignore=,$(WHOLE_RUNS))
	$(BIN)/python -m serving_tests.support.made
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow and not alone' --durations=25 --numprocesses=4 --dist=loadfile --no-loadscope-reorder \
		$(SERVER_TESTS) $(WHOLE_RUNS)
	$(BIN)/python -m pytest -m 'not slow and alone' --durations=5 serving_tests/faults serving_tests/measured

test-all: $(READY)
	@echo 'Hypothesis explores at random: SEED=$(SEED) repeats it.'
	$(BIN)/python -m pytest --hypothesis-profile=deep --hypothesis-seed=$(SEED) --durations=30
	$(BIN)/python scripts/test-migration

test-migration: $(READY)
	$(BIN)/python scripts/test-migration

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/hadolint Dockerfile

docs: $(READY)
	@test -x $(BIN)/zensical || { echo 'The tools of the site need Python 3.11: make docs PYTHON=python3.11' >&2; exit 1; }
	rm -rf build/site site
	$(BIN)/python -m pytest -q -m 'not slow' tests/pages/test_docs.py
	$(BIN)/python scripts/site_pages.py build/site
	$(BIN)/zensical build --strict --config-file build/site/mkdocs.yml >build/site/log 2>&1 || { cat build/site/log; exit 1; }
	@! grep '^griffe:' build/site/log # docstrings that do not fit their signature, which zensical lets pass
	mv build/site/site site
typecheck: $(READY)
	$(BIN)/pyright

# Each wheel is built from its source archive, so that what the archive lacks is noticed.
dist: $(READY)
	rm -rf dist
	set -e; for package in $(PACKAGES); do $(BIN)/python -m build --no-isolation --outdir dist $$package; done

lock: $(READY)
	$(BIN)/uv pip compile --universal --python-version 3.10 --no-deps --generate-hashes --no-annotate \
		--custom-compile-command 'make lock' --quiet --output-file requirements.lock requirements.in

# How much is measured, and the file of the figures; $(call figures,FILE) where it is benchmarks/results/FILE.json by default.
figures = $(if $(QUICK),--quick) $(if $(JSON),--json '$(JSON)',$(if $(QUICK),,--json benchmarks/results/$(1).json))
DATA_SET = --dataset '$(or $(DATASET),eshop)' $(if $(DATA),--data '$(DATA)')

bench: $(READY)
	$(BIN)/python -m benchmarks.features $(call figures,features)

bench-serving: $(READY)
	$(BIN)/python -m benchmarks.serving $(call figures,serving) $(if $(QUICK)$(JSON),,--plot benchmarks/results/serving.png)

bench-catalogue: $(READY)
	$(BIN)/python -m benchmarks.catalogue $(call figures,catalogue)

bench-accuracy: $(READY)
	$(BIN)/python -m benchmarks.accuracy $(DATA_SET) $(call figures,accuracy)

bench-choices: $(READY)
	$(BIN)/python -m benchmarks.accuracy.choices $(DATA_SET) $(if $(CHOICES),--choices $(CHOICES)) \
		$(if $(QUICK),--quick) $(if $(JSON),--json '$(JSON)')

bench-retraining: $(READY)
	$(BIN)/python -m benchmarks.retraining $(call figures,retraining)

bench-cold-items: $(READY)
	$(BIN)/python -m benchmarks.cold_items $(call figures,cold_items)

bench-training: $(READY)
	$(BIN)/python -m benchmarks.training $(call figures,training)

bench-client: $(READY)
	$(BIN)/python -m benchmarks.client.transports $(call figures,client_transports)

bench-libraries: $(READY)
	$(BIN)/python -m benchmarks.client.libraries $(if $(QUICK),--quick) $(if $(JSON),--json '$(JSON)')

bench-soak: $(READY)
	$(BIN)/python -m benchmarks.soak $(call figures,soak)

test-container: $(READY)
	$(BIN)/python scripts/test-container

clean:
	rm -rf .pytest_cache .ruff_cache .hypothesis build dist site
	rm -rf $(foreach package,$(PACKAGES),$(package)/build $(package)/dist $(package)/*.egg-info)
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	@echo 'Kept: .venv, runs/, model_repository/, .cache/ (what tests ask). To make .venv anew: rm -rf .venv'
