# demo · test · bench-… · lint · fmt: each sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One profile and one set of features for everything, so that each dependency is built once.
PROFILE := testnet
FEATURES := tributary-node/fast-runtime,tributary-runtime/fast-runtime
# zombienet-sdk takes ten minutes to compile and is built by test-network alone.
SELECT := --workspace --exclude tributary-zombienet --profile $(PROFILE) --features $(FEATURES)
ENV := source scripts/env.sh
# npm's own starter exits with 0 whatever forge says.
FORGE := bin/forge
PROFILE_FUZZ ?= lite

.PHONY: help setup contracts build demo bench-worker bench-gpu bench-attribution test test-contracts test-network lint lint-contracts fmt l1 specs vectors

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 — /p' $(MAKEFILE_LIST)

setup: ## installs what is missing (asks nothing, does nothing twice)
	@scripts/bootstrap.sh

contracts: setup ## the Solidity contracts
	@cd bridge/contracts && $(FORGE) build --quiet

build: contracts ## contracts, node, worker, relayer, tools and tests
	@$(ENV); cargo build $(SELECT) --all-targets --locked

demo: build ## the main job, from data to payout (KEEP=1 leaves it running)
	@$(ENV); "$$CARGO_TARGET_DIR/$(PROFILE)/tributary-demo" $(if $(KEEP),--keep)

bench-worker: build ## the worker's engine beside PEFT and transformers, on this machine's processor (ARGS="--help")
	@$(ENV); "$$CARGO_TARGET_DIR/$(PROFILE)/tributary-bench" worker --base gpu-worker/base-model/tiny \
		--data examples/defi-exploits $(ARGS)

bench-gpu: ## the engine on a CUDA device, in 8 minutes (ARGS="--help" lists options)
	@scripts/bench-gpu.sh $(ARGS)

test: build ## every test
	@cd bridge/contracts && FOUNDRY_PROFILE=$(PROFILE_FUZZ) $(FORGE) test --summary
	@npm run --silent --prefix bridge test:viem
	@$(ENV); cargo test $(SELECT) --locked --no-fail-fast
	@python3 examples/defi-exploits/build.py --check

bench-attribution: build ## attribution against retrained models (its speed: bench-worker); figures to target/bench
	@mkdir -p target/bench
	@$(ENV); "$$CARGO_TARGET_DIR/$(PROFILE)/attribution-eval" --out target/bench/attribution.json $(ARGS)

test-contracts: contracts ## the Solidity contracts alone (PROFILE_FUZZ=lite, ci or ciheavy)
	@cd bridge/contracts && FOUNDRY_PROFILE=$(PROFILE_FUZZ) $(FORGE) test

test-network: contracts ## two validators under zombienet, and a worker on the second
	@$(ENV); cargo build $(SELECT) --all-targets --locked
	@$(ENV); cargo test -p tributary-zombienet --profile $(PROFILE) --locked -- --nocapture

lint: contracts ## formatters and linters, without changing anything
	@scripts/bootstrap.sh lint
	@$(ENV); cargo fmt --all --check
	@$(ENV); cargo build $(SELECT) --all-targets --locked --message-format json-render-diagnostics | python3 scripts/no_warnings.py
	@$(ENV); ruff check --quiet . && ruff format --check --quiet .
	@cd bridge/contracts && $(FORGE) fmt --check
	@shellcheck scripts/*.sh .ci/run
	@npm run --silent --prefix e2e/polkadot-js lint

lint-contracts: contracts ## slither and halmos on the contracts
	@$(ENV); bridge/contracts/lint.sh

fmt: ## formats everything
	@scripts/bootstrap.sh lint
	@$(ENV); cargo fmt --all
	@cd bridge/contracts && $(FORGE) fmt
	@$(ENV); ruff check --quiet --fix . && ruff format --quiet .

L1_CONFIG ?= bridge/deploy.dev.json
l1: build ## the bridge's contracts on TRIBUTARY_L1_RPC (paid by TRIBUTARY_L1_KEY_FILE); addresses to l1.json
	@$(ENV); "$$CARGO_TARGET_DIR/$(PROFILE)/tributary-relayer" deploy --config $(L1_CONFIG)
	@$(ENV); "$$CARGO_TARGET_DIR/$(PROFILE)/tributary-relayer" configure

specs: build ## writes chain-specs/ again from what the node exports
	@$(ENV); TRIBUTARY_UPDATE_SPECS=1 cargo test $(SELECT) --locked -p tributary-node --test chain_specs

vectors: setup ## writes the vectors of primitives and contracts again from what the code gives
	@$(ENV); cargo test $(SELECT) --locked --lib --test suite -- --ignored write_the_vectors
