"""`tilebuild merge`: kernel sets and host wheels into the wheels of a release."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Puts kernel sets, as `tilebuild build --output` wrote them, into wheels that hold the host's part of the same project.
Inputs that disagree (another project, version, source or tilebuild, a target twice, an altered file) are refused, and
then nothing is written.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("merge", description=DESCRIPTION)
    parser.add_argument("inputs", nargs="+", type=Path, help="kernel sets (directories) and wheels, in any order")
    help_layout = "instead of the project's setting `wheel`"
    parser.add_argument("--layout", choices=("fat", "split", "variants"), help=help_layout)
    parser.add_argument("--output", type=Path, default=Path("dist"), metavar="DIR", help="the default is dist")


def run(args: argparse.Namespace) -> int:
    """Prints the files that were written; 0. Raises `TilebuildError`."""
    from tilebuild.package import kernel_set, layouts
    from tilebuild.package.show import table

    sets = [kernel_set.read(path) for path in args.inputs if path.suffix != ".whl"]
    wheels = [path for path in args.inputs if path.suffix == ".whl"]
    layout = args.layout or next((s.layout for s in sets), "fat")
    written = layouts.write_wheels(sets, wheels, layout, args.output)
    print("\n".join(table(("written", "size"), layouts.summary(written))))
    return 0
