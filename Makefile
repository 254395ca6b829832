# Everything goes through here, on any machine with Python 3.11, pip and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV := $(shell command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
SYNCED := .venv/.synced
ARGS ?=
ROUNDS ?= 20

##@ Start

.PHONY: help
help: ## Show this help
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(SYNCED) ## Install everything from the lock into .venv

.PHONY: run
run: setup ## Bring the whole system up and play a conversation (ARGS=--once: check it and stop)
	@exec $(BIN)/socialsync run $(ARGS)

##@ Test

.PHONY: test
test: lint types node scanners ## Everything: lint, types, unit, integration, controller, chart, drills and end to end
	$(BIN)/pytest $(ARGS)

.PHONY: test-unit
test-unit: setup ## Unit tests: no sockets, no servers
	$(BIN)/pytest tests/unit $(ARGS)

.PHONY: test-integration
test-integration: setup ## Tests on a real Postgres and Redis, which they start
	$(BIN)/pytest tests/integration $(ARGS)

.PHONY: test-controller
test-controller: control-plane ## The operator and Beat on a real Kubernetes control plane, which they start
	$(BIN)/pytest tests/unit/controller tests/controller $(ARGS)

.PHONY: control-plane
control-plane: setup ## Build etcd and Kubernetes' control plane for the tests, once (needs Go)
	@$(BIN)/python tests/control_plane.py

.PHONY: test-helm
test-helm: control-plane scanners ## The chart, rendered, scanned, and taken by a real API server
	$(BIN)/pytest tests/helm $(ARGS)

.PHONY: e2e
e2e: node ## Install the chart into a real cluster ($$KUBECONFIG, or a node of its own) and drill it, with what happens on screen
	$(BIN)/pytest tests/e2e -s $(ARGS)

.PHONY: node
node: control-plane ## Install and build what a Kubernetes node on this machine needs, once (Linux, root, Go)
	@PYTHONPATH=tests $(BIN)/python tests/e2e/node.py

.PHONY: scanners
scanners: setup ## Install what scans the chart, once (needs Go)
	@$(BIN)/python tests/helm/scanners.py

.PHONY: charts
charts: setup ## Make what follows from the chart: tables, the CRD's copy and k8s/
	PYTHONPATH=tests $(BIN)/python -m helm.generate

.PHONY: test-drills
test-drills: setup ## Kill processes and count what arrives, a few rounds
	$(BIN)/pytest tests/drills $(ARGS)

.PHONY: drill
drill: control-plane ## The same for longer (ROUNDS=20), and the operator's and Beat's, with what happens on screen
	DRILL_ROUNDS=$(ROUNDS) $(BIN)/pytest tests/drills -s $(ARGS)
	SCALE_DOWNS=500 OUTAGE_SECONDS=60 BEAT_ROUNDS=200 $(BIN)/pytest tests/controller -m drill -s $(ARGS)

BENCHES := webhooks reply_latency scan pools scaling posts comments

.PHONY: bench
bench: $(BENCHES:%=bench-%) ## All benches, one JSON line each; each compares with the plain design where there is one

.PHONY: $(BENCHES:%=bench-%)
$(BENCHES:%=bench-%): bench-%: setup
	@$(BIN)/python bench/$*.py $(ARGS)

##@ Code

.PHONY: lint
lint: setup ## Check style and which package imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

.PHONY: types
types: setup ## Check types, strictly
	$(BIN)/mypy

.PHONY: format
format: setup ## Format and sort what can be fixed by itself
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: lock-check
lock-check: $(UV) ## Check that uv.lock is up to date
	$(UV) lock --check

.PHONY: clean
clean: ## Remove what was built and installed; the data of `make run` in .socialsync stay
	rm -rf .venv .uv dist bench/out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(SYNCED): pyproject.toml uv.lock $(wildcard services/*/pyproject.toml) operator/pyproject.toml | $(UV)
	$(UV) sync --locked
	@touch $@

.uv/bin/uv:
	python3 -m pip install --quiet --disable-pip-version-check --target .uv uv
