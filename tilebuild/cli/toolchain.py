"""`tilebuild toolchain`: the files by which CMake and Meson build with the compiler of a toolchain file."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Prints a CMake toolchain file or a Meson cross file for a machine, out of the toolchain file that the kernels are built
with: cmake -DCMAKE_TOOLCHAIN_FILE=FILE, meson setup --cross-file FILE.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("toolchain", description=DESCRIPTION)
    parser.add_argument("format", choices=("cmake", "meson"))
    parser.add_argument("--machine", default="", help="such as aarch64-linux-gnu; the default is this one")
    parser.add_argument("--compiler", default="zig", help="a compiler that can make code for other machines: zig")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there instead")


def run(args: argparse.Namespace) -> int:
    """Prints or writes the file; 0. Raises `TilebuildError` where there is no such compiler (E501 to E504)."""
    from tilebuild import toolchain
    from tilebuild.toolchain import cross_files

    tool = toolchain.find("c-compiler", args.compiler, machine=args.machine)
    text = {"cmake": cross_files.cmake, "meson": cross_files.meson}[args.format](tool)
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0
