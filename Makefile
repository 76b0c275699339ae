# On a machine with Python >= 3.11, git and make, every target does its own set-up. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Worker processes of the trainer tests: each loads PyTorch and FunASR (about 1.5 GiB).
TRAINER_WORKERS ?= 2
# What pytest gets besides, e.g. make test-unit ARGS="-k resolve -x"
ARGS ?=
# uv trusts what the machine trusts: company proxies have certificates of their own. The second name is for uv < 0.11.
export UV_SYSTEM_CERTS ?= 1
export UV_NATIVE_TLS ?= 1

PYTHON_FILES = crds operator trainer tests bench hack examples
SHELL_FILES = $(wildcard hack/*.sh tests/cluster/*.sh examples/ci/*.sh .ci/run)

##@ Use
.PHONY: demo
demo: .venv/.ready ## fine-tune the telephone demo on this machine and show its report (3 min)
	$(BIN)/asrtune run examples/telephone-demo/finetune.yaml

##@ Test
.PHONY: test
test: lint types generated docs test-unit test-trainer test-operator test-charts ## all that fits in some minutes: check, unit, trainer, operator, charts

.PHONY: test-unit
test-unit: .venv/.ready ## the pure and fast tests, on every core
	$(PYTEST) -n auto -m "not soak and not gpu" $(ARGS) tests/unit

.PHONY: test-trainer
test-trainer: .venv/.ready ## the tests with PyTorch, FunASR and a real S3 server (TRAINER_WORKERS=2)
	OMP_NUM_THREADS=1 $(PYTEST) -n $(TRAINER_WORKERS) --dist loadfile -m "not soak and not gpu" $(ARGS) tests/trainer

.PHONY: test-operator
test-operator: .venv/.ready cluster ## the tests on a real API server with the real controllers
	$(PYTEST) -n 2 --dist loadfile -m "not soak and not gpu" $(ARGS) tests/operator

.PHONY: test-charts
test-charts: .venv/.ready cluster ## the Helm charts: rendered, checked, installed, upgraded and removed on a real API server
	$(PYTEST) -n 2 --dist loadfile -m "not soak and not gpu" $(ARGS) tests/charts

.PHONY: e2e
e2e: .venv/.ready ## a finetune with real pods on two real nodes, made on this machine (Linux; needs root)
	@[ "$$(id -u)" = 0 ] || { echo "make e2e needs root: its nodes have namespaces, mounts and cgroups of their own" >&2; exit 77; }
	tests/cluster/build.sh etcd kube kueue node containerd coredns distribution
	$(PYTEST) -s -m e2e $(ARGS) tests/e2e

.PHONY: images
images: ## build the images of operator and trainer with buildah, and their SBOMs (Linux; needs root; 30 GB of disk)
	hack/images.sh

.PHONY: test-images
test-images: .venv/.ready images ## the built images on a real node: install, train, look for what should not be in them
	@[ "$$(id -u)" = 0 ] || { echo "make test-images needs root, as make e2e does" >&2; exit 77; }
	tests/cluster/build.sh etcd kube node containerd coredns distribution
	$(PYTEST) -s -m e2e $(ARGS) tests/images

.PHONY: acceptance
acceptance: ## from nothing to a measured model: build, install the charts on two real nodes, run the demo (as root)
	hack/acceptance.sh $(ARGS)

.PHONY: cluster
cluster: ## build the parts of Kubernetes that test-operator needs (once, 15 min)
	tests/cluster/build.sh

.PHONY: test-gpu
test-gpu: .venv/.ready ## the tests that need a CUDA device
	$(PYTEST) -m "gpu and not soak" $(ARGS) tests

.PHONY: soak
soak: .venv/.ready cluster ## the long forms of the tests (kills, seeds, sizes)
	$(PYTEST) -m "soak and not gpu" --timeout 7200 $(ARGS) tests

.PHONY: bench
bench: .venv/.ready ## every measurement in bench/, one after the other
	for script in $(sort $(wildcard bench/[a-z]*.py)); do echo "== $$script"; $(BIN)/python "$$script"; done

##@ Check
.PHONY: check
check: lint types generated rules ## all that needs no running: lint, types, generated files, the repository's rules

.PHONY: lint
lint: .venv/.ready ## formatting, ruff, the layers between packages, shell scripts
	$(BIN)/ruff format --check $(wildcard $(PYTHON_FILES))
	$(BIN)/ruff check $(wildcard $(PYTHON_FILES))
	$(BIN)/lint-imports
	$(BIN)/shellcheck --external-sources --source-path SCRIPTDIR $(SHELL_FILES)

.PHONY: types
types: .venv/.ready ## mypy --strict
	$(BIN)/mypy

.PHONY: generated
generated: .venv/.ready ## fail when crds/*.yaml, what charts/ has of them, or the dashboards are not what the code gives
	$(BIN)/python -m asrtune_api.crd --check
	$(BIN)/python hack/reference.py --check
	$(BIN)/python hack/charts.py --check
	cd hack && ../$(BIN)/python -m dashboards --check

.PHONY: docs
docs: .venv/.ready ## build the documentation's site into build/site; fails on links that lead nowhere
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: rules
rules: .venv/.ready ## the repository's rules: sizes, paths, dependencies, locks
	$(PYTEST) -q tests/unit/test_repository.py

.PHONY: lint-ci
lint-ci: .venv/.ready ## the CI templates by actionlint and argo lint (built once, minutes)
	hack/ci-linters.sh

.PHONY: lock-check
lock-check: ## fail when requirements/ is not what pyproject.toml asks for (needs the network)
	hack/lock.sh --check

##@ Change
.PHONY: format
format: .venv/.ready ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix --exit-zero --quiet $(wildcard $(PYTHON_FILES))
	$(BIN)/ruff format $(wildcard $(PYTHON_FILES))

.PHONY: generate
generate: .venv/.ready ## write crds/*.yaml from the models, what charts/ has of them, and the dashboards
	$(BIN)/python -m asrtune_api.crd
	$(BIN)/python hack/reference.py
	$(BIN)/python hack/charts.py
	cd hack && ../$(BIN)/python -m dashboards

.PHONY: lock
lock: ## compile requirements/ from pyproject.toml (LOCK=--upgrade for the newest versions)
	hack/lock.sh $(LOCK)

.PHONY: environment
environment: .venv/.ready ## set up .venv, as every target does when it has to

.PHONY: clean
clean: ## remove .venv and builds; downloads stay in ~/.cache, and what runs wrote in runs/
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard $(PYTHON_FILES)) -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## this list
	@awk -F ':[^#]*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.venv/.ready: requirements/dev.txt pyproject.toml hack/environment.sh
	hack/environment.sh
	touch $@
