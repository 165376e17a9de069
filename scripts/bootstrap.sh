#!/usr/bin/env bash
# Sets up what building, testing and the demo need on Debian or Ubuntu with Rust, Node.js and Python.
# Idempotent; says nothing when there is nothing to do.
#
#   scripts/bootstrap.sh        everything
#   scripts/bootstrap.sh lint   the linters too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/env.sh
source scripts/env.sh

say() { printf '  set-up: %s\n' "$*" >&2; }
fail() {
	printf 'set-up failed: %s\n' "$*" >&2
	exit 1
}

need_command() { command -v "$1" >/dev/null 2>&1 || fail "$1 is missing. $2"; }

need_command cargo "Install Rust from https://rustup.rs and open a new shell."
need_command node "Install Node.js 20 or newer."
need_command npm "Install npm (it comes with Node.js)."
need_command python3 "Install Python 3.10 or newer."

system_packages() {
	local wanted=(build-essential clang libclang-dev protobuf-compiler cmake pkg-config python3-venv)
	if [ "${1:-}" = lint ]; then wanted+=(shellcheck); fi
	command -v dpkg-query >/dev/null 2>&1 || {
		for tool in cc clang protoc cmake pkg-config; do
			need_command "$tool" "This system has no apt: install clang, libclang, protobuf, cmake and pkg-config by hand."
		done
		return
	}
	local missing=() package
	for package in "${wanted[@]}"; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
	done
	[ ${#missing[@]} -eq 0 ] && return
	say "installing ${missing[*]}"
	local root=()
	[ "$(id -u)" -eq 0 ] || root=(sudo)
	"${root[@]}" apt-get update -q >/dev/null
	DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

rust_toolchain() {
	command -v rustup >/dev/null 2>&1 || {
		[ -d "$(rustc --print sysroot)/lib/rustlib/wasm32v1-none" ] ||
			fail "rustc has no target wasm32v1-none, and there is no rustup to add it."
		return
	}
	local toolchain
	toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
	rustup run "$toolchain" rustc --version >/dev/null 2>&1 || {
		say "installing Rust $toolchain"
		rustup toolchain install "$toolchain" --profile minimal >/dev/null 2>&1 || fail "rustup could not install Rust $toolchain"
	}
	local sysroot
	sysroot=$(rustup run "$toolchain" rustc --print sysroot)
	[ -d "$sysroot/lib/rustlib/wasm32v1-none" ] || {
		say "adding the WASM target"
		rustup target add --toolchain "$toolchain" wasm32v1-none >/dev/null 2>&1 || fail "rustup could not add wasm32v1-none"
	}
	[ -d "$sysroot/lib/rustlib/src" ] || {
		say "adding the standard library's source"
		rustup component add --toolchain "$toolchain" rust-src >/dev/null 2>&1 || fail "rustup could not add rust-src"
	}
	# The compiler of our own crates: see scripts/env.sh.
	[ -x "$sysroot/bin/clippy-driver" ] || {
		say "adding clippy"
		rustup component add --toolchain "$toolchain" clippy >/dev/null 2>&1 || fail "rustup could not add clippy"
	}
	[ "${1:-}" != lint ] || [ -x "$sysroot/bin/rustfmt" ] || {
		say "adding rustfmt"
		rustup component add --toolchain "$toolchain" rustfmt >/dev/null 2>&1 || fail "rustup could not add rustfmt"
	}
}

# A stamp holds the digest of what was installed, so that a change of the list installs again.
stamp_is() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

python_venv() {
	local digest
	digest=$(sha256sum <scripts/requirements.txt)
	stamp_is "$TRIBUTARY_VENV/.stamp" "$digest" && return
	say "making the Python environment (torch and what it is compared with; a few minutes)"
	mkdir -p "$TRIBUTARY_CACHE"
	[ -x "$TRIBUTARY_PYTHON" ] || python3 -m venv "$TRIBUTARY_VENV" || fail "python3 -m venv failed; is python3-venv installed?"
	"$TRIBUTARY_PYTHON" -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt ||
		fail "pip could not install scripts/requirements.txt"
	printf '%s' "$digest" >"$TRIBUTARY_VENV/.stamp"
}

npm_packages() {
	local folder=$1 digest
	digest=$(sha256sum <"$folder/package-lock.json")
	stamp_is "$folder/node_modules/.stamp" "$digest" && return
	say "installing the npm packages of $folder"
	(cd "$folder" && npm ci --silent --no-audit --no-fund) || fail "npm ci failed in $folder"
	printf '%s' "$digest" >"$folder/node_modules/.stamp"
}

mkdir -p "$TRIBUTARY_CACHE"
system_packages "${1:-}"
rust_toolchain "${1:-}"
python_venv
npm_packages e2e/polkadot-js
npm_packages bridge
