"""`tilebuild doctor`: what this machine can build, or which kernels of a wheel or package it can run."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tilebuild.manifest import LibraryEntry
    from tilebuild.package.read import Built
    from tilebuild.toolchain import Candidate

DESCRIPTION = """
Shows this machine and the compilers on it, tries the one that a build would take, and says how to get what is missing.
With a wheel, a directory or the name of an installed package: which of its kernel libraries this machine can run, and
why not the others; the libraries are loaded for that. The exit code is 0 where something can be built (or run), else 1.
"""
WIDTH = 80


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = commands.add_parser("doctor", description=DESCRIPTION)
    parser.add_argument("place", nargs="?", metavar="WHEEL|PACKAGE", help="whose kernels to look at")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Prints the tables; 0 where something can be built or run, else 1.

    Raises `TilebuildError` where a toolchain file (E505) or the place cannot be read.
    """
    from tilebuild.package.read import open_built
    from tilebuild.toolchain import survey

    built = open_built(args.place) if args.place else None  # before anything is printed: it may not be there
    _print(_machine())
    if built is not None:
        return _libraries(built)
    able = _compilers(survey())
    print()
    _print(list(_targets()))
    return 0 if able else 1


def _print(lines: Iterator[str] | Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


def _machine() -> Iterator[str]:
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from tilebuild.package.show import table
    from tilebuild.toolchain import machine

    try:
        own = version("tilebuild")
    except PackageNotFoundError:
        own = "not installed"
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        system = f"{platform.system()} {platform.release()}"
    levels = machine.levels()
    rows = [
        ("system", system),
        ("machine", f"{machine.host()}, {os.cpu_count()} processors"),
        *([("C library", f"glibc {machine.glibc()}")] if machine.glibc() else []),
        *(
            [("levels", ", ".join(f"{name} {'yes' if has else 'no'}" for name, has in levels.items()))]
            if levels
            else []
        ),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("tilebuild", own),
    ]
    yield from table(("this machine", ""), [(f"  {name}", value) for name, value in rows])


def _compilers(candidates: Sequence[Candidate]) -> bool:
    """One table a role, and under it what to do about those that do not fit."""
    from tilebuild.package.show import table

    able = False
    for role in dict.fromkeys(c.description.role for c in candidates):
        group = [c for c in candidates if c.description.role == role]
        taken = _taken(group)
        tried = taken is not None and role == "c-compiler"
        broken = _tried(taken) if taken and tried else ""
        able = able or (taken is not None and not broken)
        rows = []
        for c in group:
            state = "no" if not c.fits else "fits" if c is not taken or not tried else "fails" if broken else "works"
            rows.append(
                (f"  {c.description.name}", c.version or "-", state, c.command[0] if c.command else "not found")
            )
        print()
        _print(list(table((group[0].description.title, "version", "state", "where"), rows)))
        for c in group:
            problem = broken if c is taken else c.problem
            if problem:
                _print(_advice(c, problem))
        _print(_conclusion(group, taken, tried, broken))
    return able


def _taken(group: Sequence[Candidate]) -> Candidate | None:
    """The one that a build takes where the choice is free: the first that fits or that a variable names."""
    first = next((c for c in group if c.fits or c.chosen), None)
    return first if first is not None and first.fits else None


def _tried(candidate: Candidate) -> str:
    """What goes wrong when it compiles something small, or an empty string."""
    import tempfile
    from pathlib import Path

    from tilebuild.toolchain.trial import trial

    with tempfile.TemporaryDirectory() as directory:
        return trial(candidate.tool(), Path(directory))


def _advice(candidate: Candidate, problem: str) -> Iterator[str]:
    yield ""
    for line in f"{candidate.description.name}: {problem}".splitlines()[:12]:
        yield from textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    for system, command in candidate.description.get.items():
        yield f"    {system}: {command}"


def _conclusion(group: Sequence[Candidate], taken: Candidate | None, tried: bool, broken: str) -> Iterator[str]:
    title = group[0].description.title
    if taken is None:
        text = f"A build finds no {title} here: {group[0].description.why}."
        requirement = next((c.description.requirement for c in group if c.description.requirement), "")
        if requirement and not any(c.chosen for c in group):
            text += f' With build isolation, pip then installs "{requirement}" for the build.'
    else:
        text = f"A build takes {taken.tool().identity} as {title}"
        text += ", and it fails to compile a small file." if broken else "."
        text += " It compiled and linked a small library." if tried and not broken else ""
    yield ""
    yield from textwrap.wrap(text, WIDTH)


def _targets() -> Iterator[str]:
    """Which targets can be built with the tools that are here, as the targets themselves judge them."""
    import tempfile
    from pathlib import Path

    from tilebuild.diagnostics import Diagnostic, TilebuildError
    from tilebuild.package.show import table
    from tilebuild.targets import api

    rows: list[tuple[str, ...]] = []
    problems: list[Diagnostic] = []
    with tempfile.TemporaryDirectory() as directory:
        for name, target in api.installed().items():
            try:
                tools = target.tools(target.options(), Path(directory, "probes.json"))
            except TilebuildError as error:
                problems += error.diagnostics
                rows.append((f"  {name}", "no", ", ".join(d.code for d in error.diagnostics)))
            else:
                rows.append((f"  {name}", "yes", ", ".join(t.identity for t in tools) or "needs no other program"))
    yield from table(("target", "builds", "with"), rows)
    # the tables above have said what is missing; what is left is tools that are there and do not go together
    for problem in problems:
        if problem.code != "E501":
            yield from ("", *problem.render().splitlines())


def _libraries(built: Built) -> int:
    from tilebuild.package.show import table

    runs = False
    rows, reasons = [], []
    for name, entry in built.manifest["libraries"].items():
        ok, reason = _judged(built, name, entry)
        runs = runs or ok
        rows.append((f"  {entry['target']} {entry['arch']}", "yes" if ok else "no", entry["file"]))
        reasons.append(f"{entry['file']}: {reason}")
    print()
    _print(list(table(("kernel library", "runs", "file"), rows)))
    print()
    for reason in reasons:
        _print(textwrap.wrap(reason, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))
    kernels, package = len(built.manifest["kernels"]), built.manifest["package"]
    print(f"\n{_count(kernels, 'kernel')} of {package}: {'runs here' if runs else 'does not run here'}")
    return 0 if runs else 1


def _judged(built: Built, name: str, entry: LibraryEntry) -> tuple[bool, str]:
    """Whether this machine runs a library, found out by loading it as a launch does, and why or why not."""
    import hashlib
    import tempfile
    from pathlib import Path

    from tilebuild.diagnostics import TilebuildError
    from tilebuild.package.read import builds
    from tilebuild.runtime.devices import DeviceError, device

    try:
        content = built.read(entry["file"])
    except TilebuildError as error:
        return False, error.diagnostics[0].message
    digest = hashlib.sha256(content).hexdigest()
    if digest != entry["sha256"]:
        return (
            False,
            f"the file was altered: its sha256 is {digest[:12]}..., the manifest says {entry['sha256'][:12]}...",
        )
    wanted = [build for _, _, build in builds(built.manifest) if build["library"] == name]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, Path(entry["file"]).name)
        path.write_bytes(content)
        try:
            judge = device(entry["target"])
            for build in wanted:
                able, reason = judge.available(build, entry)
                if not able:
                    return False, f"it is for {entry['target']} {entry['arch']}; {reason}"
            library = judge.load(str(path), entry)
            for build in wanted:
                library.function(build)
        except DeviceError as error:
            return False, str(error)
    if not wanted:
        return False, "no kernel of the manifest is in it"
    level = getattr(library, "level", "")
    return True, f"loaded, with {_count(len(wanted), 'entry point')}{f' at level {level}' if level else ''}"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
