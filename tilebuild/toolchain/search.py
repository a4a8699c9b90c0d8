"""Looks for a compiler, decides whether it fits, and says what is wrong and how to get one where none does."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tilebuild.diagnostics import Diagnostic, TilebuildError, did_you_mean
from tilebuild.toolchain import probe
from tilebuild.toolchain.description import Description, Place, descriptions
from tilebuild.toolchain.machine import host
from tilebuild.toolchain.tool import Tool, fingerprint

AUTO = "auto"
# they go by a compiler's name on PATH and stay the same when the compiler behind them changes
_LAUNCHERS = ("ccache", "sccache", "distcc", "icecc", "buildcache")


@dataclass(frozen=True)
class Candidate:
    """What stands at one place where a compiler was looked for. `problem` says why it does not fit, and is empty where
    it does; `command` is empty where nothing was found; `chosen` says that the user named this place. `machine` is the
    one to make code for, empty for this one."""

    description: Description
    problem: str = ""
    command: tuple[str, ...] = ()
    version: str = ""
    fingerprint: str = ""
    chosen: bool = False
    machine: str = ""

    @property
    def fits(self) -> bool:
        return not self.problem

    def tool(self) -> Tool:
        """The compiler at this place, which must be one that fits."""
        description = self.description
        command = (*self.command, *description.arguments)
        return Tool(description.name, self.version, command, self.fingerprint, self.machine or host(), description)


def find(
    role: str,
    prefer: str = AUTO,
    *,
    machine: str = "",
    known: Mapping[str, Description] | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Tool:
    """The first compiler of a role that fits, or the one named by `prefer`; `machine` is the one to make code for, this
    one where it is empty.

    `cache` is a file in which answers of version probes are kept between processes: with it, a second call starts no
    process. Raises `TilebuildError`: E501 none found, E502 found but another product or version, E503 unknown name.
    """
    found = _search(role, prefer, machine, known=known, cache=cache, environ=environ)
    if isinstance(found, Tool):
        return found
    raise _error(found)


def requirements(
    role: str,
    prefer: str = AUTO,
    *,
    machine: str = "",
    known: Mapping[str, Description] | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[str]:
    """What to ask the package index for (PEP 508): nothing where a compiler fits, or where none can be had there, for
    then the build says what is missing. Raises `TilebuildError` (E503)."""
    found = _search(role, prefer, machine, known=known, cache=cache, environ=environ)
    if isinstance(found, Tool) or found[-1].chosen:
        return []
    able = [d for d in _wanted(role, prefer, known, environ) if not _cannot_cross(d, machine)]
    return [d.requirement for d in able if d.requirement][:1]


def survey(
    known: Mapping[str, Description] | None = None,
    *,
    cache: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Candidate]:
    """For every known compiler the one that a build would take, or else the best reason why there is none."""
    result = []
    every = descriptions(environ=environ) if known is None else known
    for description in sorted(every.values(), key=lambda d: (d.role, d.rank, d.name)):
        looked_at: list[Candidate] = []
        for candidate in _candidates(description, environ, cache):
            looked_at.append(candidate)
            if candidate.fits or candidate.chosen:
                break
        decided = looked_at[-1] if looked_at[-1].fits or looked_at[-1].chosen else None
        present = next((c for c in looked_at if c.command), None)
        nothing = Candidate(description, "; ".join(c.problem for c in looked_at))
        result.append(decided or present or nothing)
    return result


def _search(
    role: str,
    prefer: str,
    machine: str,
    *,
    known: Mapping[str, Description] | None,
    cache: Path | None,
    environ: Mapping[str, str] | None,
) -> Tool | list[Candidate]:
    """The first that fits, or everything that was looked at: it ends at a place that the user named, for that is never
    silently replaced by something else."""
    looked_at: list[Candidate] = []
    for description in _wanted(role, prefer, known, environ):
        for found in _candidates(description, environ, cache):
            cannot = _cannot_cross(description, machine) if found.fits else ""
            problem = f"{' '.join(found.command)} {cannot}" if cannot else found.problem
            candidate = replace(found, problem=problem, machine=machine)
            looked_at.append(candidate)
            if candidate.fits:
                return candidate.tool()
            if candidate.chosen:
                return looked_at
    return looked_at


def _cannot_cross(description: Description, machine: str) -> str:
    """Why a compiler makes no code for a machine; empty where it does, as for this one."""
    if machine in ("", host()):
        return ""
    if description.cross is None:
        return f"makes code for the machine that it runs on ({host()}), and this is for {machine}"
    if description.platform(machine) is None:
        return f"is described for {', '.join(description.platforms)}, and this is for {machine}"
    return ""


def _wanted(
    role: str, prefer: str, known: Mapping[str, Description] | None, environ: Mapping[str, str] | None
) -> list[Description]:
    every = descriptions(environ=environ, role=role) if known is None else known
    if not every:  # no such role: the message lists those that there are
        every = descriptions(environ=environ)
    of_role = sorted((d for d in every.values() if d.role == role), key=lambda d: (d.rank, d.name))
    if not of_role:
        roles = sorted({d.role for d in every.values()})
        raise TilebuildError(Diagnostic("E503", f'unknown kind of compiler "{role}"{did_you_mean(role, roles)}'))
    if prefer == AUTO:
        return of_role
    names = [AUTO, *(d.name for d in of_role)]
    if prefer not in names:
        message = f'unknown compiler "{prefer}"{did_you_mean(prefer, names)}'
        raise TilebuildError(Diagnostic("E503", message, fix=f"write one of {', '.join(names)}"))
    return [d for d in of_role if d.name == prefer]


def _candidates(description: Description, environ: Mapping[str, str] | None, cache: Path | None) -> Iterator[Candidate]:
    variables = os.environ if environ is None else environ
    for place in description.find:
        if place.environment:
            yield from _from_environment(description, place, variables, cache)
        elif place.package:
            yield _from_package(description, place, variables, cache)
        else:
            missing = []
            for name in place.path:
                path = _which(name, variables)
                if path:
                    stamps = probe.stamp((path,), variables)
                    yield _judged(Candidate(description, command=(path,)), stamps, variables, cache)
                else:
                    missing.append(name)
            if missing:
                yield Candidate(description, f"not on PATH: {', '.join(missing)}")


def _from_environment(
    description: Description, place: Place, environ: Mapping[str, str], cache: Path | None
) -> Iterator[Candidate]:
    value = environ.get(place.environment, "")
    if not value:
        yield Candidate(description, f"{place.environment} is not set")
        return
    where = f"{place.environment}={value}"
    if description.module:
        if os.path.isfile(value):
            candidate = Candidate(description, command=_library(description, os.path.abspath(value)), chosen=True)
            yield _judged(candidate, probe.file_stamp(value), environ, cache)
        else:
            yield Candidate(description, f"{where} names no file", chosen=True)
        return
    try:
        command = (value,) if os.path.isfile(value) else tuple(shlex.split(value))
    except ValueError as error:
        yield Candidate(description, f"{place.environment} is not a command: {error}", chosen=True)
        return
    executable = shutil.which(command[0], path=environ.get("PATH", os.defpath)) if command else None
    if not executable:
        yield Candidate(description, f"{where} names no command that can be run", chosen=True)
        return
    command = (os.path.abspath(executable), *command[1:])  # a build may run it in another directory
    stamps = probe.stamp(command, environ)
    yield _judged(Candidate(description, command=command, chosen=True), stamps, environ, cache)


def _from_package(description: Description, place: Place, environ: Mapping[str, str], cache: Path | None) -> Candidate:
    try:
        spec = importlib.util.find_spec(place.package)
    except ImportError:
        spec = None
    if spec is None:
        return Candidate(description, f"the Python package {place.package} is not installed")
    for directory in spec.submodule_search_locations or ():
        for suffix in ("", ".exe"):
            path = Path(directory, place.file + suffix)
            if path.is_file():
                command = _library(description, str(path)) if description.module else (str(path),)
                stamps = probe.file_stamp(str(path)) if description.module else probe.stamp(command, environ)
                # an isolated build environment is another place and time for the same bytes
                content = [_distribution(place.package), path.stat().st_size]
                return _judged(Candidate(description, command=command), stamps, environ, cache, content)
    return Candidate(description, f"the Python package {place.package} has no file {place.file}")


def _library(description: Description, path: str) -> tuple[str, ...]:
    return (sys.executable, "-m", description.module, path)


def _distribution(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and seldom needed

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _judged(
    candidate: Candidate,
    stamps: list[probe.Stamp],
    environ: Mapping[str, str],
    cache: Path | None,
    content: object = None,
) -> Candidate:
    """The candidate with what its version probe says about it; `content` stands for the executable's bytes where there
    is something better than its size and time of modification."""
    description, wanted = candidate.description, candidate.description.version
    answer = probe.ask((*candidate.command, *wanted.arguments), stamps, environ, cache)
    shown = " ".join(candidate.command)

    def unfit(problem: str, version: str = "") -> Candidate:
        return Candidate(description, f"{shown} {problem}", candidate.command, version, "", candidate.chosen)

    if answer.problem:
        return unfit(f"{answer.problem}")
    match = re.search(wanted.pattern, answer.text, re.MULTILINE)
    if not match or not match[1] or not re.search(wanted.product, answer.text):
        first = next(iter(answer.text.strip().splitlines()), "")
        return unfit(f'is not {description.name}: it calls itself "{first[:100]}"')
    version = match[1]
    if _numbers(version) < _numbers(wanted.minimum):
        return unfit(f"is {description.name} {version}, and {wanted.minimum} or newer is needed", version)
    if wanted.below and _numbers(version) >= _numbers(wanted.below):
        return unfit(f"is {description.name} {version}, and a version below {wanted.below} is needed", version)
    if description.platform(host()) is None:
        known = ", ".join(description.platforms)
        return unfit(f"is described for {known}, and this machine is {host()}", version)
    digest = fingerprint(description, answer.text, content or [stamp[1:] for stamp in stamps])
    return Candidate(description, "", candidate.command, version, digest, candidate.chosen)


def _which(name: str, environ: Mapping[str, str]) -> str | None:
    """Like `shutil.which`, but passes over compiler launchers in disguise (a directory of links to ccache)."""
    for directory in environ.get("PATH", os.defpath).split(os.pathsep):
        path = shutil.which(name, path=directory) if directory else None
        if path and Path(os.path.realpath(path)).stem not in _LAUNCHERS:
            return os.path.abspath(path)
    return None


def _numbers(version: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version))
    return numbers + (0,) * (4 - len(numbers))


def _error(looked_at: list[Candidate]) -> TilebuildError:
    if looked_at[-1].chosen:
        looked_at = looked_at[-1:]
    wanted = list({c.description.name: c.description for c in looked_at}.values())
    names, title, why = ", ".join(d.name for d in wanted), wanted[0].title, wanted[0].why
    notes = tuple((None, f"{c.description.name}: {c.problem}") for c in looked_at)
    ways = [f"{system}: {command}" for d in wanted for system, command in d.get.items()]
    variables = [p.environment for d in wanted for p in d.find if p.environment]
    ways.append(f"or name one that fits in {' or '.join(variables)}")
    fix = "\n       ".join(["get one:" if len(wanted) > 1 else "get it:", *ways])
    if any(c.command for c in looked_at):
        return TilebuildError(Diagnostic("E502", f"no {title} ({names}) that fits was found: {why}", None, notes, fix))
    return TilebuildError(Diagnostic("E501", f"no {title} ({names}) was found: {why}", None, notes, fix))
