# Fleetcast: `make up` runs everything on this machine, `make test` checks everything. See `make help`.

SHELL := /bin/bash
PYTHON ?= python3
PART ?=
ONLY ?=
SECURE ?=
FRESH ?=
MODULE ?= risk/score
SEED ?=
INCIDENTS ?= 200
MINUTES ?= 60
HOURS ?= 2
DB ?=
UPGRADE ?=
VENV := .venv
STAMP := $(VENV)/.installed
MUTANTS := .data/mutants
SUPERVISORCTL := $(VENV)/bin/supervisorctl -c .data/supervisord.conf
VERSION := -c 'import sys; print(sys.implementation.cache_tag)'

# Where PYTHON is given and .venv has another version, .venv is made anew. ANOTHER is that version, or "none".
ifneq ($(origin PYTHON),file)
ANOTHER := $(filter-out $(shell $(VENV)/bin/python $(VERSION) 2>/dev/null),$(shell $(PYTHON) $(VERSION) 2>/dev/null || echo none))
endif

.DEFAULT_GOAL := help
.PHONY: help up test check lint docs site train accuracy accuracy-tables bench mutants season fuzz soak containers release \
  constraints audit venv tools status stop start reload clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | column -t -s '|'

up: venv tools ## run everything on this machine until Ctrl-C; with TLS and a login: make up SECURE=1
	@exec $(VENV)/bin/python -m stack.up $(if $(filter-out 0 no,$(SECURE)),--secure)

test bench: FETCH := --tests

test: venv tools ## run all tests
	@$(VENV)/bin/python -m pytest -n 2 --dist loadfile

lint: venv ## check style, types, the direction of imports, reference pages, licences, and shell scripts' syntax
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy serving exporter stack forecaster supply
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/python -m docs.generate --check
	@$(VENV)/bin/python -m supply.licences
	@bash -n stack/fetch_tools.sh .ci/run

docs: venv ## write the reference pages in docs/ from the code
	@$(VENV)/bin/python -m docs.generate

check: lint ## what to run before a commit: lint and the fast tests
	@$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile --ignore tests/integration -m "not slow"

# Pages link to the runbook, CONTRIBUTING.md, SECURITY.md and examples/: these are copied beside the pages, and the links follow.
site: venv ## build docs/ as a web site in site/
	@$(VENV)/bin/python -m supply.install docs
	@rm -rf site .data/site-docs && mkdir -p .data && cp -r docs .data/site-docs
	@rm -rf .data/site-docs/*.py .data/site-docs/__pycache__
	@cp -r examples prometheus/runbook.md CONTRIBUTING.md SECURITY.md CHANGELOG.md .data/site-docs/
	@find .data/site-docs -name '*.md' -exec sed -Ei \
	  's#\.\./prometheus/runbook#runbook#g; s#\.\./(CONTRIBUTING|SECURITY|examples/)#\1#g; s#\]\((\.\./)?docs/#](\1#g' {} +
	@$(VENV)/bin/zensical build --clean --strict

train: venv ## train the default model anew from the simulator (forecaster/artifacts/default)
	@$(VENV)/bin/fleet-forecaster train --output forecaster/artifacts/default

# The oracle's figures, then the default model's against what came, then, with DATA=FILE.npz, those of real servers.
accuracy: venv ## measure the shipped models: make accuracy [DATA=servers.npz] (at most 20 minutes; tables, .data/accuracy)
	@mkdir -p .data/accuracy
	@timeout --foreground 20m $(MAKE) --no-print-directory accuracy-tables || { \
	  test $$? -ne 124 || echo "stopped after 20 minutes: what is missing above was not measured" >&2; exit 1; }

accuracy-tables:
	@$(VENV)/bin/fleet-forecaster backtest --oracle --fleets 16 --model default,heuristic,persistence,seasonal-naive \
	  --report .data/accuracy/oracle.json
	@$(VENV)/bin/fleet-forecaster backtest --fleets 4 --per-server 40 --model default,heuristic --plots .data/accuracy/fleet \
	  --report .data/accuracy/fleet.json
	@$(VENV)/bin/fleet-forecaster backtest --capacity --fleets 4 --report .data/accuracy/capacity.json
	@if test -n "$(DATA)"; then $(VENV)/bin/fleet-forecaster backtest --config.file node_exporter --data "$(DATA)" --kept-out \
	  --per-server 32 --seed 7 --model servers,last-day,seasonal-naive,persistence --plots .data/accuracy/servers \
	  --report .data/accuracy/servers.json && \
	  $(VENV)/bin/fleet-forecaster backtest --config.file node_exporter --data "$(DATA)" --kept-out --per-server 200 --draws 3 \
	  --model servers,gbm,seasonal-naive,last-day --report .data/accuracy/incidents.json; \
	else echo "real servers are not measured: give a recording with DATA=FILE.npz (format: docs/backtest.md)"; fi

bench: venv tools ## measure speed and size beside floors and peers: make bench [ONLY="forward cycle"] (minutes)
	@$(VENV)/bin/python -m supply.install bench
	@$(VENV)/bin/python -m tests.benchmarks $(ONLY) --report .data/bench.json

# In a copy, so that an interrupted run leaves no changed operator behind.
mutants: venv tools ## change one operator of a module at a time, list changes no test notices: make mutants MODULE=risk/score
	@$(VENV)/bin/python -m supply.install mutants
	@rm -rf $(MUTANTS) && mkdir -p $(MUTANTS) && git ls-files -z | xargs -0 cp --parents -P -t $(MUTANTS)
	@ln -s ../../.tools $(MUTANTS)/.tools
	@printf '[cosmic-ray]\nmodule-path = "forecaster/$(MODULE).py"\ntimeout = 120.0\nexcluded-modules = []\n%s\n%s\n' \
	  'test-command = "$(abspath $(VENV))/bin/python -m pytest -qx -p no:cacheprovider tests/$(firstword $(subst /, ,$(MODULE)))"' \
	  'distributor.name = "local"' > $(MUTANTS)/mutants.toml
	@cd $(MUTANTS) && PATH="$(abspath $(VENV))/bin:$$PATH" && cosmic-ray init mutants.toml mutants.sqlite \
	  && cosmic-ray baseline mutants.toml && cosmic-ray exec mutants.toml mutants.sqlite \
	  && cr-report --show-diff --surviving-only mutants.sqlite && cr-rate mutants.sqlite

season: venv tools ## break the real stack again and again, in fast motion: make season [SEED=7] [INCIDENTS=200] (20 minutes)
	@$(VENV)/bin/python -m tests.season $(if $(SEED),--seed $(SEED)) --incidents $(INCIDENTS)

fuzz: venv ## give every reader of the outside broken and hostile inputs: make fuzz [MINUTES=60] [SEED=7]
	@$(VENV)/bin/python -m tests.fuzz --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

soak: venv tools ## run the whole stack with a fault every few minutes: make soak [HOURS=2] [SEED=7] (needs root for a full disk)
	@$(VENV)/bin/python -m tests.soak --hours $(HOURS) $(if $(SEED),--seed $(SEED))

containers: venv ## build the image and run docker-compose.yml with podman: sudo make containers [SECURE=1] [FRESH=1] (15 minutes)
	@$(VENV)/bin/python -m supply.install containers
	@$(VENV)/bin/python -m tests.containers $(if $(filter-out 0 no,$(SECURE)),--secure) $(if $(filter-out 0 no,$(FRESH)),--fresh)

# --no-isolation builds with the setuptools of .venv, which was checked against its hash. Its constraints pin the wheel, too.
release: venv ## make wheel, sdist, SBOM, constraints and their sha256 sums in dist/
	@$(VENV)/bin/python -m supply.install release
	@rm -rf dist build && mkdir -p .data && $(VENV)/bin/python -m build --no-isolation . >.data/build.log 2>&1 || { \
	  cat .data/build.log >&2; exit 1; }
	@$(VENV)/bin/python -m supply.sbom dist
	@cd dist && { cat ../constraints.txt; \
	  echo "fleetcast==$$(echo *.whl | cut -d- -f2) --hash=sha256:$$(sha256sum *.whl | cut -d' ' -f1)"; } > constraints.txt
	@cd dist && sha256sum -- * | tee SHA256SUMS

# Without `venv`, which cannot install what is not pinned yet.
constraints: ## pin what pyproject.toml asks for, with hashes: make constraints [UPGRADE="torch numpy"], or UPGRADE=all
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m uv --version >/dev/null 2>&1 || sed -n '/^uv==/,/[^\\]$$/p' constraints.txt \
	  | $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement /dev/stdin
	@$(VENV)/bin/python -m supply.lock $(if $(filter all,$(UPGRADE)),--upgrade,$(addprefix --upgrade-package=,$(UPGRADE)))

audit: venv ## compare the pinned packages with known vulnerabilities on disk: make audit DB=all.zip (OSV's export of PyPI)
	@test -n "$(DB)" || { echo "which database? make audit DB=FOLDER or DB=all.zip (CONTRIBUTING.md says where from)" >&2; exit 2; }
	@$(VENV)/bin/python -m supply.audit $(DB)

status: ## what `make up` runs right now
	@$(SUPERVISORCTL) status || test $$? -eq 3  # 3: a part is stopped

stop: ## stop one part, the rest keeps running: make stop PART=prometheus
	@test -n "$(PART)" || { echo "which part? make stop PART=prometheus (make status lists them)" >&2; exit 2; }
	@$(SUPERVISORCTL) stop $(PART)

start: ## start a stopped part again: make start PART=prometheus
	@test -n "$(PART)" || { echo "which part? make start PART=prometheus (make status lists them)" >&2; exit 2; }
	@$(SUPERVISORCTL) start $(PART)

reload: ## let a part read its configuration anew: make reload PART=forecaster
	@test -n "$(PART)" || { echo "which part? make reload PART=forecaster (make status lists them)" >&2; exit 2; }
	@$(SUPERVISORCTL) signal HUP $(PART)

venv: $(STAMP) ## make or update the virtual environment .venv: make venv [PYTHON=python3.12]

ifneq ($(ANOTHER),)
.PHONY: $(STAMP)
endif

# The stamp is written last: an interrupted installation is completed by the next run.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1 || true): Python 3.11 or newer is needed." \
	       "Install it and run: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -z "$(ANOTHER)" -o ! -x $(VENV)/bin/python || echo "$(VENV) has another Python than $(PYTHON): it is made anew"
	@test -z "$(ANOTHER)" && $(VENV)/bin/python -m pip --version >/dev/null 2>&1 || \
	  $(PYTHON) -m venv --clear $(VENV) || { echo "no virtual environment could be made with $(PYTHON);" \
	  "on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@echo "installing the pinned packages into $(VENV) (the first time takes minutes)"
	@$(VENV)/bin/python -m supply.install backtest dev stack train
	@$(VENV)/bin/python -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Exit code 3 says that a program is missing: what can run without it still runs.
tools: ## find or fetch prometheus, alertmanager and node_exporter into .tools/bin
	@stack/fetch_tools.sh $(FETCH) .tools || test $$? -eq 3

clean: ## remove the state in .data (history, snapshots, logs); stop `make up` first
	@if test -S .data/supervisor.sock && $(SUPERVISORCTL) pid >/dev/null 2>&1; then \
	  echo "the stack is running: stop it first (Ctrl-C where make up runs)" >&2; exit 1; fi
	rm -rf .data
