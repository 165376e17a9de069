"""Fails when cargo's JSON messages, read from standard input, hold a warning.

Cargo repeats the warnings of crates that it did not have to compile again, so that this sees all of
them at the price of none. With `--message-format json-render-diagnostics` cargo itself shows them.
"""

import json
import sys


def main() -> int:
    """Counts the warnings; the exit status is 1 if there is one or if the build failed."""
    found, finished = 0, None
    for line in sys.stdin:
        message = json.loads(line)
        if message["reason"] == "compiler-message":
            found += message["message"]["level"] in ("warning", "error")
        elif message["reason"] == "build-finished":
            finished = message["success"]
    if found:
        print(f"{found} warnings of rustc and clippy: see above", file=sys.stderr)
    return 0 if finished and not found else 1


if __name__ == "__main__":
    sys.exit(main())
