"""`python -m tilebuild.targets.spirv.assemble LISTING MODULE [--invocations N] [--shared-bytes N] [-- VALIDATOR ...]`

Turns a listing into a binary module, checks it, and runs the validator, where one is given, on the result. What is
wrong is printed as `LISTING:line:1: error: ...`, and no module is left behind; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tilebuild.targets.spirv import text
from tilebuild.targets.spirv.check import Limits, check
from tilebuild.targets.spirv.module import ModuleError, encode

HEADER_LINES = 3


def main(arguments: list[str] | None = None) -> int:
    """The command; see above."""
    given = sys.argv[1:] if arguments is None else arguments
    own, validator = (given[: given.index("--")], given[given.index("--") + 1 :]) if "--" in given else (given, [])
    parser = argparse.ArgumentParser(prog="assemble", allow_abbrev=False)
    parser.add_argument("listing")
    parser.add_argument("module", type=Path)
    parser.add_argument("--invocations", type=int, required=True)
    parser.add_argument("--shared-bytes", type=int, required=True)
    args = parser.parse_args(own)
    args.module.unlink(missing_ok=True)
    problems = _write(args.listing, args.module, Limits(args.invocations, args.shared_bytes))
    if not problems and validator:
        problems = _validate(validator)
    if problems:
        args.module.unlink(missing_ok=True)
        print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


def _write(listing: str, output: Path, limits: Limits) -> list[str]:
    try:
        module = text.parse(Path(listing).read_text(encoding="utf-8"))
    except ModuleError as e:
        line, _, words = str(e).removeprefix("line ").partition(": ")
        return [f"{listing}:{line}:1: error: {words}"]
    found = check(module, limits)
    if not found:
        output.write_bytes(encode(module))
    return [f"{listing}:{f.index + 1 + HEADER_LINES}:1: error: {f.message}" for f in found]


def _validate(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return [f"{command[0]}: error: {e}"]
    words = (done.stdout + done.stderr).strip()
    return [f"{' '.join(command)}: exit code {done.returncode}:\n{words}"] if done.returncode else []


if __name__ == "__main__":
    sys.exit(main())
