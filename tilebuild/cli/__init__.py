"""The command line: `tilebuild COMMAND ...`, one module a command with `add_parser(subparsers)` and `run(args) -> int`.

Exit codes: 0 fine, 1 an error that is explained on stderr (or findings), 2 a wrong command line or an unreadable
file. Only the module of the given command is imported, so that `tilebuild --help` costs no more than Python.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import tilebuild
from tilebuild.diagnostics import TilebuildError, no_room

COMMANDS = {
    "init": "make a new project with one kernel and its tests",
    "build": "build and judge a project's kernels, and say where the files are",
    "check": "judge plans: of a wheel, a build or a package, or files that tilebuild did not make",
    "plan": "show what is physical about kernels: buffers, memory, instructions",
    "mlir": "show kernels in the tile dialect, as MLIR text",
    "doctor": "show which compilers and devices this machine has, and what is missing",
    "toolchain": "make a CMake toolchain file or a Meson cross file for another machine",
    "why": "show which build of each kernel this machine runs, and why not the others",
    "merge": "put kernel sets into wheels: all in one, split with extras, or variants",
    "matrix": "show the jobs of a CI run that builds a release, for GitHub or GitLab",
    "schema": "print a JSON schema: of [tool.tilebuild], of manifests or of toolchain files",
    "config": "show the configuration of a project and where each value comes from",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the process's exit code. `argv` is without the program's name."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = _parser(arguments).parse_args(arguments)
    try:
        return int(importlib.import_module(f"{__name__}.{args.command}").run(args))
    except TilebuildError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `tilebuild plan ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        told = no_room(error)
        if told is None:
            raise
        print(told, file=sys.stderr)
        return told.exit_code
    except KeyboardInterrupt:
        return 130


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tilebuild", description="Builds, judges and shows tile kernels.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((a for a in arguments if not a.startswith("-")), "")
    for name, summary in COMMANDS.items():
        if name == chosen:
            importlib.import_module(f"{__name__}.{name}").add_parser(commands)
        else:
            commands.add_parser(name, help=summary)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked: that takes longer than all the rest."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"tilebuild {tilebuild.__version__}")
        parser.exit()
