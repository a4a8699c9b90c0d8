"""What a target gives a build: the `Target` protocol and the data that passes through it. Imports no IR library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tilebuild.plugins import entry_points

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from tilebuild.diagnostics import Span
    from tilebuild.ir.dialect import FuncOp
    from tilebuild.plan.model import Plan
    from tilebuild.toolchain import Tool


@dataclass(frozen=True)
class Source:
    """Generated text, and for each of its lines the Python line it comes from (None for none)."""

    text: str
    spans: tuple[Span | None, ...]


PYTHON = "{python}"  # the word of a command that stands for the interpreter that runs the build


@dataclass(frozen=True)
class Edge:
    """A command of the build graph. Paths are relative to the build directory; see `PYTHON` for the first word."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    title: str
    depfile: str = ""


@dataclass(frozen=True)
class Artifact:
    """The library that a target's edges make: its path in the build directory and under `_kernels/`, and what the
    manifest says of it. `levels` are the entry suffixes of a library with several instruction sets."""

    output: str
    file: str
    levels: tuple[str, ...]
    flags: Mapping[str, tuple[str, ...]]  # compiler name -> flags


@dataclass(frozen=True)
class Job:
    """One target and architecture of a build: the generated sources of all kernels (by file name) and their plans."""

    arch: str
    options: Any
    tools: tuple[Tool, ...]
    sources: tuple[str, ...]
    plans: tuple[Plan, ...]
    folder: str  # of sources, support files and outputs, relative to the build directory


class Target(Protocol):
    """The few things a build asks of a target. `options` is a frozen dataclass: `[tool.tilebuild.target.<name>]`."""

    name: str
    architectures: tuple[str, ...]
    options: type[Any]
    machines: tuple[tuple[str, str], ...]
    """Architectures, each with the machine (`x86_64`) whose own code its library is; empty for a target whose libraries
    are a device's code, the same beside every host."""

    def architecture(self, arch: str) -> str:
        """The architecture to build for, the machine's where `arch` is empty; raises E403 where it cannot be built."""

    def with_options(self, options: Any) -> Target:
        """The target whose `lower`, `place` and `emit` heed these options; itself where they do not matter there."""

    def requirements(self, options: Any, cache: Path, arch: str = "") -> list[str]:
        """What to ask the package index for (PEP 508) so that the target's tools for an architecture are there."""

    def tools(self, options: Any, cache: Path, arch: str = "") -> tuple[Tool, ...]:
        """The compilers to use for an architecture; `cache` is the file of probe answers. Raises E501 to E503."""

    def lower(self, func: FuncOp, arch: str) -> Plan:
        """The plan of one variant, not placed yet; raises E4xx."""

    def place(self, plan: Plan) -> Plan:
        """The plan with every buffer placed; raises E401."""

    def emit(self, plans: Sequence[Plan]) -> Mapping[str, Source]:
        """The source text of one kernel's variants: file name suffix -> source."""

    def support(self) -> Mapping[str, bytes]:
        """Files that the sources include or that are compiled with them."""

    def graph(self, job: Job) -> tuple[list[Edge], Artifact]:
        """The commands that turn the sources into the library."""

    def resources(self, job: Job, folder: Path) -> Mapping[str, Mapping[str, int]]:
        """What the compilers report of each variant once the graph has run in `folder`: variant -> name -> number
        (registers, bytes)."""

    def texts(self, job: Job) -> Mapping[str, str]:
        """The final code of each variant as text that the oracle reads: variant -> file in the build directory.
        Empty for a target whose plan is all there is to judge."""


class Installed(Mapping[str, Target]):
    """Targets by name, in name order. One is imported when it is first asked for: most builds need few of them."""

    def __init__(self, found: Iterable[EntryPoint]) -> None:
        self._found = {e.name: e for e in sorted(found, key=lambda e: e.name)}

    def __getitem__(self, name: str) -> Target:
        target: Target = self._found[name].load()
        return target

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def installed() -> Installed:
    """Every installed target."""
    return Installed(entry_points("tilebuild.targets"))
