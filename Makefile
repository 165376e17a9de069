# demo · test · lint · fmt: each sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One profile and one set of features for everything, so that each dependency is built once.
PROFILE := testnet
FEATURES := tributary-node/fast-runtime,tributary-runtime/fast-runtime
# zombienet-sdk takes ten minutes to compile and is built by test-network alone.
SELECT := --workspace --exclude tributary-zombienet --profile $(PROFILE) --features $(FEATURES)
ENV := source scripts/env.sh

.PHONY: help setup build demo test test-network lint fmt specs vectors

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 — /p' $(MAKEFILE_LIST)

setup: ## installs what is missing (asks nothing, does nothing twice)
	@scripts/bootstrap.sh

build: setup ## node, worker, tools and tests
	@$(ENV); cargo build $(SELECT) --all-targets --locked

demo: build ## the main job, from data to payout (KEEP=1 leaves it running)
	@$(ENV); "$$CARGO_TARGET_DIR/$(PROFILE)/tributary-demo" $(if $(KEEP),--keep)

test: build ## every test
	@$(ENV); cargo test $(SELECT) --locked
	@python3 examples/defi-exploits/build.py --check

test-network: setup ## two validators under zombienet, and a worker on the second
	@$(ENV); cargo build $(SELECT) --all-targets --locked
	@$(ENV); cargo test -p tributary-zombienet --profile $(PROFILE) --locked -- --nocapture

lint: ## formatters and linters, without changing anything
	@scripts/bootstrap.sh lint
	@$(ENV); cargo fmt --all --check
	@$(ENV); cargo clippy $(SELECT) --all-targets --locked -- -D warnings
	@$(ENV); ruff check --quiet . && ruff format --check --quiet .
	@shellcheck scripts/*.sh .ci/run
	@npm run --silent --prefix e2e/polkadot-js lint

fmt: ## formats everything
	@scripts/bootstrap.sh lint
	@$(ENV); cargo fmt --all
	@$(ENV); ruff check --quiet --fix . && ruff format --quiet .

specs: build ## writes chain-specs/ again from what the node exports
	@$(ENV); TRIBUTARY_UPDATE_SPECS=1 cargo test $(SELECT) --locked -p tributary-node --test chain_specs

vectors: setup ## writes primitives/vectors/ again from what the code gives
	@$(ENV); cargo test $(SELECT) --locked --test suite -- --ignored write_the_vectors
