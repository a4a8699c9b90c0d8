"""`tilebuild plan`: what is physical about built kernels, from a wheel, a build, a package or a plan file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tilebuild.diagnostics import Diagnostic, did_you_mean
from tilebuild.manifest import BuildEntry, VariantEntry

if TYPE_CHECKING:
    from tilebuild.plan.model import Plan

DESCRIPTION = """
Shows each kernel's plan: the memory it takes in each space, every buffer with its place and the instructions that it
lives through (%%first..%%last), and the instructions beside the Python lines they come from. Nothing is imported or
installed.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("plan", description=DESCRIPTION)
    parser.add_argument("where", metavar="WHEEL|DIR|PACKAGE|PLAN.json", help="what holds the plans")
    parser.add_argument("--kernel", metavar="NAME", help="only this kernel")


def run(args: argparse.Namespace) -> int:
    """Prints the plans; 0. Raises `UnreadableError` where there are none."""
    from tilebuild.package.read import UnreadableError, builds, open_built, read_plan
    from tilebuild.package.show import show

    path = Path(args.where)
    if path.is_file() and path.name.endswith((".json", ".json.gz")) and path.name != "manifest.json":
        texts = [show(_whole(read_plan(path.read_bytes(), args.where), args.where), _beside)]
    else:
        built = open_built(str(path.parent) if path.name == "manifest.json" else args.where)
        names = [kernel["name"] for kernel in built.manifest["kernels"]]
        if args.kernel and args.kernel not in names:
            fact = f"{args.where}: there is no kernel {args.kernel}{did_you_mean(args.kernel, names)}"
            raise UnreadableError(Diagnostic("E706", fact, fix=f"name one of: {', '.join(names)}"))
        texts = [
            show(_whole(built.plan(build), args.where), built.source, _about(variant, build))
            for kernel, variant, build in builds(built.manifest)
            if args.kernel in (None, kernel["name"])
        ]
    print("\n\n".join(texts))
    return 0


def _whole(plan: Plan, where: str) -> Plan:
    """The plan, if its regions are a tree and its names refer to something: others cannot be drawn."""
    from tilebuild.oracle import judge
    from tilebuild.package.read import UnreadableError

    broken = [f for f in judge(plan).findings if f.code.startswith("O-PLAN")]
    if broken:
        raise UnreadableError([Diagnostic(f.code, f"{where}: {f.message}", f.span, fix=f.fix) for f in broken])
    return plan


def _about(variant: VariantEntry, build: BuildEntry) -> dict[str, str]:
    constants = ", ".join(f"{name} = {value}" for name, value in variant["consts"].items())
    guard = f"where {variant['when']}" if variant["when"] else "always"
    verdict = build["verdict"]
    checks = ", ".join(f"{check} {outcome}" for check, outcome in verdict["checks"].items())
    return {
        "variant": f"{constants}, {guard}" if constants else guard,
        "verdict": f"{verdict['outcome']} (scope {verdict['scope']}, oracle {verdict['oracle']}): {checks}",
    }


def _beside(name: str) -> str | None:
    """The source text, where the working directory has the file."""
    return Path(name).read_text(encoding="utf-8") if Path(name).is_file() else None
