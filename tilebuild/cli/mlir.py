"""`tilebuild mlir`: a project's kernels in the tile dialect, as MLIR text."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Prints every kernel variant of a project as a tile.func, in MLIR's generic form, which `mlir-opt
--allow-unregistered-dialect` reads and which is a kernel source itself, in a .mlir file of a package. Nothing is
imported, built or written.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("mlir", description=DESCRIPTION)
    parser.add_argument("project", nargs="?", default=".", metavar="PROJECT", help="its directory (default: here)")
    parser.add_argument("--kernel", metavar="NAME", help="only this kernel")


def run(args: argparse.Namespace) -> int:
    """Prints the text; 0. Raises `TilebuildError` for what is wrong with the project or its kernels."""
    from tilebuild.build import configure
    from tilebuild.diagnostics import Diagnostic, TilebuildError, did_you_mean
    from tilebuild.frontend.discover import discover
    from tilebuild.frontend.lowering import lower

    project = Path(args.project)
    kernels = discover(project, configure(project).kernels)
    names = [k.name for k in kernels]
    if args.kernel and args.kernel not in names:
        message = f"there is no kernel {args.kernel}{did_you_mean(args.kernel, names)}"
        raise TilebuildError(Diagnostic("E706", message, fix=f"name one of: {', '.join(names)}"))
    print("module {")
    for kernel in kernels:
        for index, variant in enumerate(kernel.variants):
            if args.kernel in (None, kernel.name):
                try:
                    print(lower(kernel, variant, f"{kernel.name}_{index}"))
                except TilebuildError as e:
                    raise TilebuildError(e.diagnostics, project) from None
    print("}")
    return 0
