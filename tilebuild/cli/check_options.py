"""The options of `tilebuild check`: what is known of a launch, what findings do, and where the verdicts go."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilebuild.diagnostics import did_you_mean

if TYPE_CHECKING:
    from tilebuild.oracle import Facts, Policy

FORMATS = ("text", "json", "sarif", "html")
SEVERITIES = ("error", "warn", "off")
_LARGEST_SIDE = (1 << 31) - 1  # the most that any device takes: blocks along a grid's first axis


@dataclass(frozen=True)
class Options:
    """The command line, checked."""

    facts: Facts
    arch: str
    policy: Policy
    strict: bool
    quiet: bool
    format: str
    output: Path | None
    self_test: bool


class _Pairs(argparse.Action):
    """Gathers NAME=VALUE options into a dictionary; a name that is given twice is an error."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: object) -> None:
        name, value = values
        pairs = {**getattr(namespace, self.dest)}
        if name in pairs:
            raise argparse.ArgumentError(self, f"{name} is given twice, as {pairs[name]} and as {value}")
        setattr(namespace, self.dest, {**pairs, name: value})


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options to the command."""
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to say it (default: text)")
    parser.add_argument("--output", type=Path, metavar="F", help="write the verdicts to this file")
    parser.add_argument("--quiet", action="store_true", help="say nothing of plans that are proved (text only)")
    parser.add_argument(
        "--self-test", action="store_true", help="break the plans in every known way, and say what the oracle says"
    )
    weigh = parser.add_argument_group("what findings do")
    weigh.add_argument("--strict", action="store_true", help="take what is not proved of final code as an error too")
    weigh.add_argument(
        "--severity", type=_severity, action=_Pairs, default={}, metavar="CHECK=error|warn|off",
        help='of one check, or of all with "default"; goes before what --project says',
    )  # fmt: skip
    weigh.add_argument(
        "--project", type=Path, metavar="DIR", help="take severities and waivers from its [tool.tilebuild.oracle]"
    )
    launch = parser.add_argument_group("how the kernels of .ptx files will be launched, where the files do not say it")
    launch.add_argument("--arch", default="", help="the architecture, such as sm_90 (default: that of the file)")
    launch.add_argument(
        "--launch", type=_launch, default={}, metavar="block=X[xY[xZ]],grid=..,dynamic-shared=BYTES",
        help="the threads of a block, the blocks of the grid, the dynamic shared memory of a block",
    )  # fmt: skip
    launch.add_argument(
        "--extent", type=_extent, action=_Pairs, default={}, metavar="NAME=BYTES",
        help="the bytes of the array that a kernel's parameter points to",
    )  # fmt: skip
    launch.add_argument("--block", type=_sides, default=(), metavar="X[,Y[,Z]]", help="as block= of --launch")
    launch.add_argument("--dynamic-shared", type=_bytes, metavar="BYTES", help="as dynamic-shared= of --launch")
    parser.set_defaults(error=parser.error)


def read(args: argparse.Namespace) -> Options:
    """The options of a parsed command line, which ends here with exit code 2 where they do not fit together. Raises
    `TilebuildError` where the project's configuration is wrong."""
    from tilebuild.oracle import Facts

    launch: Mapping[str, tuple[int, ...]] = args.launch
    for name, given in (("block", args.block), ("dynamic-shared", args.dynamic_shared)):
        if name in launch and given not in ((), None):
            args.error(f"{name} is given twice: --{name}, and --launch {name}=..")
    shared = launch.get("dynamic-shared", () if args.dynamic_shared is None else (args.dynamic_shared,))
    return Options(
        facts=Facts(
            launch.get("block", args.block), launch.get("grid", ()), shared[0] if shared else None, extents=args.extent
        ),
        arch=args.arch,
        policy=_policy(args.project, args.severity),
        strict=args.strict,
        quiet=args.quiet,
        format=args.format,
        output=args.output,
        self_test=args.self_test,
    )


def _policy(project: Path | None, severities: Mapping[str, str]) -> Policy:
    from tilebuild.oracle import Policy

    if project is None:
        return Policy(severities)
    from tilebuild.build import configure
    from tilebuild.build.waivers import policy, today

    read = policy(configure(project.resolve()).oracle, today())
    # what the command line says goes before all that the file says, of single kernels too
    return replace(read, kernels={"*": severities, **read.kernels}) if severities else read


def _severity(text: str) -> tuple[str, str]:
    from tilebuild.oracle import CHECKS

    check, _, severity = text.partition("=")
    if check not in (*CHECKS, "default"):
        known = f"the checks are {', '.join(CHECKS)}"
        raise argparse.ArgumentTypeError(f'there is no check "{check}"{did_you_mean(check, CHECKS)}; {known}')
    if severity not in SEVERITIES:
        raise argparse.ArgumentTypeError(f'{check}: "{severity}" is none of {", ".join(SEVERITIES)}')
    return check, severity


def _launch(text: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in ("block", "grid", "dynamic-shared"):
            fix = "write block=X[xY[xZ]], grid=X[xY[xZ]] and dynamic-shared=BYTES, separated by commas"
            raise argparse.ArgumentTypeError(f'"{part}" is no fact of a launch: {fix}')
        if name in found:
            raise argparse.ArgumentTypeError(f"{name} is given twice")
        found[name] = (_bytes(value),) if name == "dynamic-shared" else _sides(value)
    return found


def _sides(text: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    sides = tuple(int(part) for part in parts if part.isdecimal())
    if len(sides) != len(parts) or len(sides) > 3 or not all(1 <= n <= _LARGEST_SIDE for n in sides):
        raise argparse.ArgumentTypeError(f'"{text}" is not one to three sides of at least 1, such as 32x8')
    return sides


def _extent(text: str) -> tuple[str, int]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f'"{text}" is not NAME=BYTES')
    return name, _bytes(value)


def _bytes(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'"{text}" is not a number of bytes')
    return int(text)
