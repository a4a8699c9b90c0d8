"""Passes the tests: makes a fresh environment in build/test-env, installs tilebuild with its test extra, runs pytest.

    python3 scripts/run_tests.py [pytest's arguments]

Needs Python 3.10 or newer and a package index. Standard library only. TILEBUILD_TEST_EXTRAS names further extras to
install, with commas; the tests that need them are skipped without: `cuda` (the CUDA compilers, 250 MB), `zig` (a C
compiler), `wheels` (what judges wheels), `lint` (mypy) and `torch`.
"""

from __future__ import annotations

import os
import subprocess
import sys

import wheelhouse


def main() -> int:
    """pytest's exit code."""
    if sys.version_info < (3, 10):  # noqa: UP036
        sys.exit(f"tilebuild needs Python 3.10 or newer, and this is {sys.version.split()[0]}")
    python = wheelhouse.environment(wheelhouse.ROOT / "build" / "test-env")
    extras = ",".join(["test", *filter(None, os.environ.get("TILEBUILD_TEST_EXTRAS", "").split(","))])
    wheelhouse.pip(python, "install", f"{wheelhouse.ROOT}[{extras}]")
    # the program rather than `python -m pytest`, which would put the tree before the installed package
    return subprocess.call([python.with_name("pytest"), *sys.argv[1:]], cwd=wheelhouse.ROOT)


if __name__ == "__main__":
    sys.exit(main())
