#!/usr/bin/env bash
# Formatting, slither, halmos. The two Python tools live in a folder of their own, made on the first run. Both build in a
# copy, because they clean before they build.
set -euo pipefail
cd "$(dirname "$0")"
tools="${TRIBUTARY_CONTRACT_TOOLS:-$HOME/.cache/tributary/venv-contracts}"
if [[ ! -x "$tools/bin/slither" || ! -x "$tools/bin/halmos" ]]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet slither-analyzer==0.11.6 halmos==0.3.3
fi

bin/forge fmt --check

copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
ln -s "$PWD/../node_modules" "$copy/node_modules"
cp ../package.json "$copy"
mkdir -p "$copy/contracts/test"
cp -r bin src foundry.toml slither.config.json "$copy/contracts"
cd "$copy/contracts"
# Both read the syntax tree, or code of libraries: without the intermediate language they are built in seconds.
sed -i 's/via_ir = true/via_ir = false/' foundry.toml
export PATH="$PWD/bin:$tools/bin:$PATH"

# What is left out, and why, stands in SECURITY-NOTES.md.
echo "slither"
slither . --config-file slither.config.json

# keccak is injective to the prover: that is what collision resistance means here.
echo "halmos"
cp -r "$OLDPWD/test/halmos" test/
rm -rf src/L1 src/dispute src/token src/interfaces src/anchor/BeefyAnchor.sol src/Deployer.sol out cache
sed -i '/no_match_contract/d' foundry.toml
halmos --contract HalmosMerkle --loop 33 --solver-timeout-assertion 60000
