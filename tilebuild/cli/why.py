"""`tilebuild why`: which build of each kernel this machine runs, and why not the others."""

from __future__ import annotations

import argparse

DESCRIPTION = """
Looks at the machine as a call would, without loading a library, and shows for each kernel of an installed package which
target and architecture is taken, and the reason for every candidate. Nothing of the package itself is imported.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("why", description=DESCRIPTION)
    parser.add_argument("package", metavar="PACKAGE", help="the import name of an installed package with kernels")
    parser.add_argument("--kernel", metavar="NAME", help="only this kernel")


def run(args: argparse.Namespace) -> int:
    """Prints the trace of every kernel; 0 where each has a build that can run here, 1 where one has none."""
    from tilebuild.runtime import find
    from tilebuild.runtime.package import find_package

    package = find_package(args.package)
    status = 0
    for module, name in package.kernels:
        if args.kernel not in (None, name):
            continue
        launcher = find(module, name)
        print(f"{module}.{name}: {launcher.targets[0] if launcher.targets else 'nothing built for it runs here'}")
        for c in launcher.trace:
            print(f"  {'yes' if c.accepted else 'no ':<3} {c.target}:{c.arch}  {c.reason}")
        status = status if launcher.targets else 1
    return status
