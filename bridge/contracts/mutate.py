#!/usr/bin/env python3
"""Takes out every check of the contracts, one at a time, and runs the tests.

Each time at least one must fail. All mutants are compiled together: in a copy of the project every
`if (…) revert …;` gets a second condition that asks an environment variable (through a cheat code)
whether this check is the one that is switched off; so do the conditions in assembly that `IN_ASSEMBLY`
names. So there is one build, and then one run of the tests for each mutant.

With `--resume FILE` each verdict is kept in that file, and a run that was cut off goes on behind it, as
long as the contracts are the same; survivors are tried again, as there may be a new test.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import queue
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
# Checks that are no `if (…) revert …`: contract, condition, error. Each stands once in its file.
IN_ASSEMBLY = [
    ("BeefyAnchor", "gt(mload(0x60), HALF_ORDER)", "BeefyAnchor_HighS"),
    ("BeefyAnchor", "iszero(signer)", "BeefyAnchor_BadSignature"),
    ("BeefyAnchor", "xor(signer, shr(96, calldataload(place)))", "BeefyAnchor_BadSignature"),
]
SWITCH = """
/// @dev Whether a check is on. Only in the copy that `mutate.py` makes.
function _on(uint256 number) view returns (bool) {
    (, bytes memory out) = address(uint160(uint256(keccak256("hevm cheat code")))).staticcall(
        abi.encodeWithSignature("envOr(string,uint256)", "MUTANT", uint256(0))
    );
    return abi.decode(out, (uint256)) != number;
}
"""
# Tests that are about something else: the vectors' (their folder stays behind), and two of sizes and of gas.
TEST = (
    "test",
    "--no-match-contract",
    "VectorsTest",
    "--no-match-test",
    "test_deploymentFits|test_attack_gasGriefing|test_attack_quorumOffByOneForEveryN",
)
# Where the tests of a contract are. They run first; all others only if a mutant survives these.
FIRST = {
    "BeefyAnchor": "test/attacks/AnchorAttacks.t.sol",
    "BeefyCodec": "test/attacks/AnchorAttacks.t.sol",
    "Mmr": "test/attacks/AnchorAttacks.t.sol",
    "OptimismPortal": "test/attacks/{Portal,Deposit}Attacks.t.sol",
    "L1StandardBridge": "test/{attacks/Deposit,unit/Messenger}*.t.sol",
    "L1CrossDomainMessenger": "test/unit/Messenger.t.sol",
    "AnchorStateRegistry": "test/unit/Game.t.sol",
    "BeefyOutputGame": "test/unit/Game.t.sol",
    "DisputeGameFactory": "test/unit/Game.t.sol",
    "OpenToken": "test/attacks/SetupAttacks.t.sol",
    "SuperchainConfig": "test/attacks/SetupAttacks.t.sol",
}
INTRO = """# The checks, taken out one at a time

Written by `./mutate.py --table MUTATION.md`. Each row is one check of the contracts, switched off alone; the
last column names a test that fails then (the first that did; others may as well).

"""


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
        out += source[at:]
        for contract, text, error in IN_ASSEMBLY:
            if path.stem != contract:
                continue
            if source.count(text) != 1:
                raise SystemExit(f"{path.name} should contain `{text}` once: mend IN_ASSEMBLY")
            mutants.append(
                (str(path.relative_to(root)), source.count("\n", 0, source.index(text)) + 1, text, error)
            )
            number = len(mutants)
            # Asked in front of the assembly; all ones leaves the condition as it is.
            block = out.rindex("assembly (", 0, out.index(text))
            asked = f"uint256 on{number} = _on({number}) ? type(uint256).max : 0;\n"
            out = out[:block] + asked + out[block:].replace(text, f"and(on{number}, {text})", 1)
        if out != source:
            # Asking is a view; the functions with checks in them become views too.
            out = re.sub(r"(?<=\s)pure(?=\s)", "view", out)
            path.write_text(out + SWITCH)
    harness = root / "test" / "chain" / "Harness.sol"
    harness.write_text(harness.read_text().replace("external pure", "external view"))
    return mutants


def forge(root: pathlib.Path, *arguments: str, mutant: int = 0) -> subprocess.CompletedProcess:
    # Without the intermediate language compiling takes seconds rather than minutes; the checks are the same.
    environment = {
        **os.environ,
        "MUTANT": str(mutant),
        "FOUNDRY_PROFILE": "lite",
        "FOUNDRY_VIA_IR": "false",
        "FOUNDRY_DYNAMIC_TEST_LINKING": "true",
    }
    return subprocess.run([FORGE, *arguments], cwd=root, env=environment, capture_output=True, text=True)


def digest_of(root: pathlib.Path) -> str:
    """One word for all sources, instrumented."""
    total = hashlib.sha256()
    for path in sorted((root / "src").rglob("*.sol")):
        total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def known_verdicts(file: pathlib.Path | None, root: pathlib.Path) -> dict[int, str | None]:
    """What an earlier run over the same sources found: a mutant's number, and the test that failed.

    Survivors are not among them, nor those whose test is gone: these run again.
    """
    if not file:
        return {}
    digest = digest_of(root)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not lines or lines[0] != digest:
        file.write_text(json.dumps(digest) + "\n")
        return {}
    tests = "".join(path.read_text() for path in (root / "test").rglob("*.sol"))
    return {number: killer for number, killer in lines[1:] if killer and f"function {killer}(" in tests}


def copy_project(root: pathlib.Path) -> None:
    """A copy of the contracts, with what they need, and without what mutants do not run."""
    unused = ("out*", "cache", "snapshots", "halmos", "vectors", "invariant", "gas")
    shutil.copytree(HERE, root, ignore=shutil.ignore_patterns(*unused))
    for name in ("package.json", "node_modules"):
        (root.parent / name).symlink_to(HERE.parent / name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only checks whose file, condition or error contains this")
    parser.add_argument("--table", type=pathlib.Path, help="writes the table there (Markdown)")
    parser.add_argument("--resume", type=pathlib.Path, help="keeps the verdicts there, and goes on from them")
    parser.add_argument("--jobs", type=int, default=1, help="mutants that run at the same time")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "0" / "contracts"
        root.parent.mkdir()
        copy_project(root)
        mutants = instrument(root)
        known = known_verdicts(options.resume, root)
        wanted = [
            n for n, (file, _, *rest) in enumerate(mutants, 1) if options.only in " ".join([file, *rest])
        ]
        missing = [n for n in wanted if n not in known]

        if missing:
            base = forge(root, *TEST)
            if base.returncode:
                print(base.stdout[-4000:], base.stderr[-4000:], sep="\n")
                print("the tests fail without any mutant", file=sys.stderr)
                return 2
        # A folder for each job, all built: forge keeps failures of fuzz tests in its own.
        free: queue.Queue[pathlib.Path] = queue.Queue()
        free.put(root)
        for job in range(1, options.jobs if missing else 1):
            other = pathlib.Path(folder) / str(job) / "contracts"
            shutil.copytree(root.parent, other.parent, symlinks=True)
            free.put(other)

        def run(number: int) -> tuple[int, str | None]:
            place = free.get()
            try:
                near = FIRST.get(pathlib.Path(mutants[number - 1][0]).stem)
                narrow = (
                    forge(place, *TEST, "--fail-fast", "--match-path", near, mutant=number) if near else None
                )
                result = (
                    narrow
                    if narrow and narrow.returncode
                    else forge(place, *TEST, "--fail-fast", mutant=number)
                )
            finally:
                free.put(place)
            if result.returncode == 0:
                return number, None
            killer = re.search(r"\[FAIL[^\n]*\] (\w+)\(", result.stdout)
            if not killer:
                raise SystemExit(f"mutant {number}: no test failed, but forge did\n{result.stderr[-2000:]}")
            return number, killer.group(1)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for done in concurrent.futures.as_completed([pool.submit(run, n) for n in missing]):
                number, killer = done.result()
                known[number] = killer
                file, line, _, error = mutants[number - 1]
                print(
                    f"{len(known)}/{len(mutants)} {file}:{line} {error}: {killer or 'SURVIVES'}", flush=True
                )
                if options.resume:
                    with options.resume.open("a") as log:
                        log.write(json.dumps([number, killer]) + "\n")

    rows, survivors, excused = [], 0, 0
    for number in wanted:
        file, _, condition, error = mutants[number - 1]
        verdict = f"`{known[number]}`"
        if known[number] is None and error in UNREACHABLE:
            verdict = f"none; not to be reached: {UNREACHABLE[error]}"
            excused += 1
        elif known[number] is None:
            verdict = "**SURVIVES**"
            survivors += 1
        short = condition.replace("|", "\\|")
        rows.append(f"| `{pathlib.Path(file).stem}` | `{short}` | `{error}` | {verdict} |")
    killed = len(rows) - survivors - excused
    count = f"{len(rows)} checks: {killed} killed, {excused} not to be reached, {survivors} survive"
    if options.table:
        head = ["| Contract | Check taken out | Error | Test that fails |", "|---|---|---|---|"]
        options.table.write_text(INTRO + "\n".join([*head, *rows]) + f"\n\n{count}.\n")
    print(count)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
