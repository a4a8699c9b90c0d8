"""`tilebuild build`: the kernel part of a wheel build, alone, with a table of what came out."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """
Builds and judges the kernels of a project, as `pip install` would, and prints a line for each kernel, variant and
target. Nothing is written outside the project's build directory, except for --output: a kernel set, which
`tilebuild merge` puts into wheels.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("build", description=DESCRIPTION)
    parser.add_argument("project", nargs="?", default=".", type=Path, help="the directory of a pyproject.toml")
    parser.add_argument("--target", action="append", metavar="TARGET", help="instead of the targets in pyproject.toml")
    help_requirements = (
        "print what a package index must provide for this build (a requirements file), and build nothing"
    )
    parser.add_argument("--requirements", action="store_true", help=help_requirements)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write what was built there, as a kernel set")


def run(args: argparse.Namespace) -> int:
    """Prints the table and where the files are; 0. Raises `TilebuildError` where the build fails."""
    from tilebuild.build import configure
    from tilebuild.build.driver import build_kernels, requirements
    from tilebuild.package.read import builds
    from tilebuild.package.show import table

    project = args.project.resolve()
    settings = {"tilebuild.targets": args.target} if args.target else {}
    config = configure(project, settings)
    if args.requirements:
        print("\n".join(requirements(project, config)))
        return 0
    built = build_kernels(project, config, log=lambda line: print(line, flush=True))
    libraries = built.manifest["libraries"]
    rows = [
        (
            f"{kernel['module']}.{kernel['name']}",
            " ".join(f"{name}={value}" for name, value in variant["consts"].items()),
            variant["when"] or "always",
            f"{build['target']} {build['arch']}",
            f"{build['verdict']['outcome']} ({build['verdict']['scope']})",
            str(sum(build["resources"].values())),
        )
        for kernel, variant, build in builds(built.manifest)
    ]
    print()
    print("\n".join(table(("kernel", "variant", "when", "target", "verdict", "scratch bytes"), rows)))
    print()
    sizes = [(entry["file"], f"{entry['bytes']:,} bytes", " ".join(entry["levels"])) for entry in libraries.values()]
    print("\n".join(table(("library", "size", "levels"), sizes)))
    print(f"\nfiles are in {_common(list(built.files.values()))}")
    if args.output:
        from tilebuild.package import kernel_set

        # whose order the wheel will have: that of all targets of the project
        kernel_set.write(project, configure(project), built, args.output)
        print(f"the kernel set is in {args.output}")
    return 0


def _common(files: list[Path]) -> str:
    import os

    return os.path.commonpath([f.parent for f in files])
