# Sourced by the Makefile's recipes and by the other scripts: where things live outside the checkout.
# shellcheck shell=bash
export TRIBUTARY_CACHE="${TRIBUTARY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tributary}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$TRIBUTARY_CACHE/target}"
export TRIBUTARY_VENV="${TRIBUTARY_VENV:-$TRIBUTARY_CACHE/venv}"
export TRIBUTARY_PYTHON="$TRIBUTARY_VENV/bin/python"
# tch finds libtorch in the venv's torch package, at build time and at run time.
export LIBTORCH_USE_PYTORCH=1
export PATH="$TRIBUTARY_VENV/bin:$HOME/.cargo/bin:$PATH"
torch_lib=$(echo "$TRIBUTARY_VENV"/lib/python3*/site-packages/torch/lib)
export LD_LIBRARY_PATH="$torch_lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
unset torch_lib
# Our own crates are always compiled by clippy's driver: it is rustc with more warnings, so that
# linting needs no pass of its own over a thousand dependencies. `make lint` looks at the warnings.
clippy=$(rustc --print sysroot 2>/dev/null || true)/bin/clippy-driver
if [ -x "$clippy" ]; then export RUSTC_WORKSPACE_WRAPPER="$clippy"; fi
unset clippy
