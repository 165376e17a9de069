#!/usr/bin/env python3
"""Takes out every check of the contracts, one at a time, and runs the tests.

Each time at least one must fail. All mutants are compiled together: in a copy of the project every
`if (…) revert …;` gets a second condition that asks an environment variable (through a cheat code)
whether this check is the one that is switched off. So there is one build, and then one run of the
tests for each mutant.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FORGE = HERE / "bin" / "forge"
# The statement, up to its semicolon; the condition's brackets are matched by hand.
CHECK = re.compile(r"\bif \(")
# Checks that no test can reach, and why they are there all the same.
UNREACHABLE = {"Deployer_WrongAddress": "guards the computation of addresses against a later change"}
SWITCH = """
/// @dev Whether a check is on. Only in the copy that `mutate.py` makes.
function _on(uint256 number) view returns (bool) {
    (, bytes memory out) = address(uint160(uint256(keccak256("hevm cheat code")))).staticcall(
        abi.encodeWithSignature("envOr(string,uint256)", "MUTANT", uint256(0))
    );
    return abi.decode(out, (uint256)) != number;
}
"""
# Tests that are about something else.
SKIP = "VectorsTest"


def checks(source: str):
    """Yields (start of the condition, end of the condition, error's name) of every `if (…) revert …`."""
    for match in CHECK.finditer(source):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        rest = re.match(r"\s*(?:\{\s*)?revert ([\w.]+)", source[end:])
        if rest:
            yield match.end(), end - 1, rest.group(1)


def instrument(root: pathlib.Path) -> list[tuple[str, int, str, str]]:
    """Rewrites the copy in place; returns (file, line, condition, error) of each mutant, numbered from 1."""
    mutants = []
    for path in sorted((root / "src").rglob("*.sol")):
        source = path.read_text()
        out, at = "", 0
        for start, end, error in checks(source):
            condition = " ".join(source[start:end].split())
            line = source.count("\n", 0, start) + 1
            mutants.append((str(path.relative_to(root)), line, condition, error))
            out += source[at:start] + f"_on({len(mutants)}) && (" + source[start:end] + ")"
            at = end
        if at:
            out += source[at:]
            # Asking is a view; the functions with checks in them become views too.
            out = re.sub(r"(?<=\s)pure(?=\s)", "view", out)
            path.write_text(out + SWITCH)
    harness = root / "test" / "chain" / "Harness.sol"
    harness.write_text(harness.read_text().replace("external pure", "external view"))
    return mutants


def forge(root: pathlib.Path, *arguments: str, mutant: int = 0) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MUTANT": str(mutant), "FOUNDRY_PROFILE": "lite"}
    return subprocess.run([FORGE, *arguments], cwd=root, env=environment, capture_output=True, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only checks whose file, condition or error contains this")
    parser.add_argument("--table", type=pathlib.Path, help="writes the table there (Markdown)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "contracts"
        shutil.copytree(
            HERE,
            root,
            ignore=shutil.ignore_patterns(
                "out*", "cache", "snapshots", "halmos", "vectors", "invariant", "gas"
            ),
        )
        for name in ("package.json", "node_modules"):
            (pathlib.Path(folder) / name).symlink_to(HERE.parent / name)
        mutants = instrument(root)
        test = (
            "test",
            "--no-match-contract",
            SKIP,
            "--no-match-test",
            "test_deploymentFits|test_attack_gasGriefing",
        )
        base = forge(root, *test)
        if base.returncode:
            print(base.stdout[-4000:], base.stderr[-4000:], sep="\n")
            print("the tests fail without any mutant", file=sys.stderr)
            return 2

        rows, survivors = [], 0
        for number, (file, line, condition, error) in enumerate(mutants, 1):
            if options.only not in f"{file} {condition} {error}":
                continue
            result = forge(root, *test, "--fail-fast", mutant=number)
            killer = re.search(r"\[FAIL[^\n]*\] (\w+)\(", result.stdout)
            survived = result.returncode == 0 and error not in UNREACHABLE
            survivors += survived
            verdict = "**SURVIVES**" if survived else f"`{killer.group(1) if killer else 'setUp'}`"
            if error in UNREACHABLE:
                verdict = f"not to be reached: {UNREACHABLE[error]}"
            short = condition.replace("|", "\\|")
            rows.append(f"| `{pathlib.Path(file).stem}` | `{short}` | `{error}` | {verdict} |")
            print(f"{number:3}/{len(mutants)} {file}:{line} {error}: {verdict}", flush=True)

    table = (
        "\n".join(["| Contract | Check taken out | Error | Test that fails |", "|---|---|---|---|", *rows])
        + "\n"
    )
    if options.table:
        options.table.write_text(table)
    print(f"{len(rows)} mutants, {survivors} survive")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
