"""`tilebuild init`: a new project with one kernel, which builds and passes its tests at once."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Writes a project with one kernel and its tests, ready for `pip install`. Nothing that is there is overwritten.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("init", description=DESCRIPTION)
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="where to; the default is here")
    parser.add_argument("--name", help="what the project is called; the default is the directory's name")
    parser.add_argument("--ci", choices=("github", "gitlab"), default="", help="add workflows that build its wheels")


def run(args: argparse.Namespace) -> int:
    """Prints the files and what to do next; 0. Raises `TilebuildError`."""
    from tilebuild.package import project

    files = project.create(args.directory, args.name or args.directory.resolve().name, args.ci)
    for path in files:
        print(f"wrote {path}")
    print(f'\nnext:\n  cd {args.directory}\n  pip install ".[test]"\n  pytest')
    return 0
