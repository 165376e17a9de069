#!/usr/bin/env bash
# Measures the engine on a machine with a CUDA device (docs/performance.md, "GPU"). Needs a Python
# that can import the CUDA build of the PyTorch version in scripts/requirements.txt (or this project's
# own environment), and either cargo or a finished program in TRIBUTARY_BENCH_GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
source scripts/env.sh

fail() {
	printf 'bench-gpu: %s\n' "$*" >&2
	exit 1
}

# The project's Python if it is set up here, else the system's.
if [ ! -x "$TRIBUTARY_PYTHON" ]; then
	TRIBUTARY_PYTHON=$(command -v python3) || fail "there is no python3."
	export TRIBUTARY_PYTHON
fi
torch=$("$TRIBUTARY_PYTHON" -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))' 2>/dev/null) ||
	fail "$TRIBUTARY_PYTHON cannot import torch; install the CUDA build of torch 2.11.0, or run \`make setup\`."
export LD_LIBRARY_PATH="$torch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

program=${TRIBUTARY_BENCH_GPU:-}
if [ -z "$program" ]; then
	command -v cargo >/dev/null 2>&1 ||
		fail "there is no cargo; build tributary-bench-gpu elsewhere and name it in TRIBUTARY_BENCH_GPU."
	# The same selection as everywhere, so that nothing is compiled twice.
	cargo build --workspace --exclude tributary-zombienet --profile testnet --locked \
		--features tributary-node/fast-runtime,tributary-runtime/fast-runtime --bin tributary-bench-gpu
	program=$CARGO_TARGET_DIR/testnet/tributary-bench-gpu
fi
[ -x "$program" ] || fail "$program is not a program."
exec "$program" "$@"
