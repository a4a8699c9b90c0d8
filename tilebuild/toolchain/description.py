"""What a toolchain file says: one compiler as data, read strictly, and where the files are looked for."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from tilebuild.diagnostics import Diagnostic, TilebuildError, did_you_mean
from tilebuild.plugins import entry_points
from tilebuild.schema import Problem, Reader, dotted
from tilebuild.toolchain import yaml_source
from tilebuild.toolchain.yaml_source import CODE

ENTRY_POINTS = "tilebuild.toolchains"
VARIABLE = "TILEBUILD_TOOLCHAINS"
PLACEHOLDER = re.compile(r"\{(\w+)\}")
# what a command template may use; the lists are spliced in, one element an item
LISTS = ("command", "flags", "platform_flags", "arch_flags", "link_flags", "include", "define", "in")
_ROLE = re.compile(rb"^role: *([\w-]+) *$", re.MULTILINE)
TEXTS = ("out", "depfile", "arch")


@dataclass(frozen=True)
class Place:
    """One place to look for a compiler; exactly one of `environment`, `path` and `package` is given."""

    environment: str = ""
    """A variable whose value is the command to run."""
    path: tuple[str, ...] = ()
    """Names on PATH, in order."""
    package: str = ""
    """An importable Python package, never imported, and in it:"""
    file: str = ""
    """The executable's path inside the package."""


@dataclass(frozen=True)
class VersionProbe:
    """How to ask a compiler what it is."""

    arguments: tuple[str, ...]
    """What to call it with."""
    pattern: str
    """Finds the version (the first group) in what it prints."""
    minimum: str
    """The oldest version that fits."""
    below: str = ""
    """The first version that does not fit any more; none where empty."""
    product: str = ""
    """Must be found in what it prints, too: tells apart programs that go by one name."""


@dataclass(frozen=True)
class Platform:
    """What is added where code is made for one kind of machine."""

    flags: tuple[str, ...] = ()
    """For every command."""
    link: tuple[str, ...] = ()
    """For linking."""
    architectures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Flags that choose an instruction set, by architecture or level."""


@dataclass(frozen=True)
class Cross:
    """A compiler that makes code for every machine it is described for, on any of them."""

    cpp: tuple[str, ...]
    """In place of `arguments`, for C++."""
    ar: tuple[str, ...]
    """In place of `arguments`, for static libraries: an archiver with the options of ar."""


@dataclass(frozen=True)
class Description:
    """One compiler, as a toolchain file describes it."""

    name: str
    """What it is called in configuration and messages."""
    role: str
    """What it is for: tools with one role can stand in for each other."""
    title: str
    """What messages call tools of this role."""
    rank: int
    """The order within a role where the choice is free, least first."""
    why: str
    """One clause for messages: what in a build needs it."""
    find: tuple[Place, ...]
    """Where it is looked for, in order."""
    version: VersionProbe
    """How to ask for its version, and which versions fit."""
    commands: Mapping[str, tuple[str, ...]]
    """Command lines by step ("compile", "link", ...), with placeholders."""
    platforms: Mapping[str, Platform]
    """By a pattern over machine-system[-libc], such as `x86_64-linux-gnu`; the first that fits counts."""
    module: str = ""
    """For a library instead of an executable: the Python module to run, with the file that was found as its first
    argument."""
    arguments: tuple[str, ...] = ()
    """Follow the executable in every command but the version probe."""
    cross: Cross | None = None
    """Where it can make code for other machines than the one it runs on; most can not without a system of theirs."""
    flags: tuple[str, ...] = ()
    """For every compilation."""
    deps: Literal["gcc", "msvc", "none"] = "none"
    """How it reports included files, as Ninja calls it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set where the user has not; `{cache}` is a directory that outlives a build."""
    requirement: str = ""
    """What to ask the package index for (PEP 508), where it can be had there."""
    get: Mapping[str, str] = field(default_factory=dict)
    """How to get it, by system: shown when it is missing."""

    def platform(self, machine: str) -> Platform | None:
        """What is added for a machine, or None where nothing is known about it."""
        return next((entry for pattern, entry in self.platforms.items() if fnmatchcase(machine, pattern)), None)


def descriptions(
    extra_dirs: Iterable[Path] = (), environ: Mapping[str, str] | None = None, role: str = ""
) -> Mapping[str, Description]:
    """All known compilers by name: the built-in ones, those of installed packages (entry points of the group
    `tilebuild.toolchains`, each naming a package with `*.yaml` files), of the directories in TILEBUILD_TOOLCHAINS and
    of `extra_dirs`; a later one replaces one of the same name. With `role`, files that say that they are of another one
    are not looked into. Raises `TilebuildError` (E505) with all errors of all files.
    """
    variable = (os.environ if environ is None else environ).get(VARIABLE, "")
    wanted = [Path(part) for part in variable.split(os.pathsep) if part]
    known: dict[str, Description] = {}
    errors: list[Diagnostic] = []
    for directory in (built_in(), *_installed(), *wanted, *extra_dirs):
        if not directory.is_dir():
            errors.append(Diagnostic(CODE, f"{directory}: no such directory of toolchain files", fix=f"see {VARIABLE}"))
        for file in sorted(directory.glob("*.yaml")):
            try:
                if role and _role(file) not in ("", role):
                    continue
                description = read(file)
            except TilebuildError as error:
                errors += error.diagnostics
            else:
                known[description.name] = description
    if errors:
        raise TilebuildError(errors)
    return known


def read(file: Path) -> Description:
    """Reads one toolchain file; raises `TilebuildError` (E505) with every error in it."""
    try:
        stamp = file.stat().st_mtime_ns
    except OSError as error:
        raise TilebuildError(Diagnostic(CODE, f"{file}: {error.strerror}")) from None
    return _read(file, stamp)


def _role(file: Path) -> str:
    """What a file says in its line `role:`, before it is parsed; empty where there is no such line."""
    try:
        match = _ROLE.search(file.read_bytes())
    except OSError:
        return ""  # `read` says why
    return match[1].decode() if match else ""


@cache
def _read(file: Path, _stamp: int) -> Description:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TilebuildError(Diagnostic(CODE, f"{file}: {error}")) from None
    source = yaml_source.load(text, str(file))
    reader = Reader()
    description = reader.read(Description, source.data)
    if description is not None:
        reader.problems += _mistakes(description)
    if description is None or reader.problems:
        raise TilebuildError(
            Diagnostic(
                CODE,
                f"{dotted(p.path)}: {p.message}" if p.path else p.message,
                yaml_source.place(source, p.path, p.at_key),
                fix=p.fix,
            )
            for p in reader.problems
        )
    return description


def _mistakes(description: Description) -> Iterator[Problem]:
    """What the types do not say."""
    for i, place in enumerate(description.find):
        given = [key for key in ("environment", "path", "package") if getattr(place, key)]
        if len(given) != 1 or bool(place.file) != bool(place.package):
            message = f"a place has either `environment`, or `path`, or `package` and `file`; found {given or 'none'}"
            yield Problem("value", ("find", i), message)
    probe = description.version
    for key, text in (("pattern", probe.pattern), ("product", probe.product)):
        try:
            compiled = re.compile(text)
        except re.error as error:
            yield Problem("value", ("version", key), f"not a regular expression: {error}")
        else:
            if key == "pattern" and compiled.groups != 1:
                yield Problem("value", ("version", key), f"has {compiled.groups} groups, not one for the version")
    for key, text in (("minimum", probe.minimum), ("below", probe.below)):
        if text and not re.fullmatch(r"\d+(\.\d+)*", text):
            yield Problem("value", ("version", key), f'"{text}" is not a version', "write numbers and dots")
    for step, words in description.commands.items():
        for i, word in enumerate(words):
            for name in PLACEHOLDER.findall(word):
                if name not in LISTS + TEXTS:
                    suggestion = did_you_mean(name, LISTS + TEXTS)
                    listed = ", ".join(LISTS + TEXTS)
                    message = f"unknown placeholder {{{name}}}{suggestion}"
                    yield Problem("value", ("commands", step, i), message, f"the placeholders are {listed}")


def built_in() -> Path:
    """The directory of the toolchain files that come with tilebuild: beside this package's modules in a wheel; beside
    the package itself in a source tree."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "toolchain_files"
    return inside if inside.is_dir() else package.parent / "toolchain_files"


def _installed() -> Iterator[Path]:
    for entry in entry_points(ENTRY_POINTS):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError:
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise TilebuildError(
                Diagnostic(CODE, f'the entry point "{entry.name}" names no package with toolchain files: {entry.value}')
            )
        yield from map(Path, spec.submodule_search_locations)
