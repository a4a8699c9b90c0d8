"""`tilebuild schema`: the published JSON schemas, for editors and other programs."""

from __future__ import annotations

import argparse

DESCRIPTION = """
Prints a JSON schema (draft 7): of the table [tool.tilebuild] in pyproject.toml, of the manifest of a wheel's kernels,
or of toolchain files.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("schema", description=DESCRIPTION)
    parser.add_argument("name", choices=("config", "manifest", "toolchain"))


def run(args: argparse.Namespace) -> int:
    """Prints the schema; 0."""
    from tilebuild.package import schemas

    print(schemas.text(args.name), end="")
    return 0
