"""The cpu as a plug-in: its architectures, options, compilers and build edges."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tilebuild import toolchain
from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.targets.api import Artifact, Edge, Job, Source
from tilebuild.toolchain import Tool

if TYPE_CHECKING:
    from tilebuild.ir.dialect import FuncOp
    from tilebuild.plan.model import Plan

_HERE = Path(__file__).parent
_ROLE = "c-compiler"
_SUPPORT = ("kernel.h", "prelude.h", "storage.h", "indirect.h", "arena.c", "dispatch.c", "pool.c")
_MACHINES = {"x86_64": "x86-64", "AMD64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
# tiles of different dtypes take turns in the same bytes of the arena
_FLAGS = ("-fno-strict-aliasing",)
# entry suffix -> instruction set in the toolchain files, least first
_LEVELS: Mapping[str, Mapping[str, str]] = {
    "x86-64": {"v2": "x86-64-v2", "v3": "x86-64-v3", "v4": "x86-64-v4"},
    "aarch64": {"v8": "aarch64"},
}


@dataclass(frozen=True)
class CpuOptions:
    """`[tool.tilebuild.target.cpu]`."""

    compiler: Literal["auto", "gcc", "clang", "zig"] = "auto"
    """Which C compiler to use; "auto" takes the first of gcc, clang and zig that is there and fits."""
    levels: tuple[Literal["v2", "v3", "v4"], ...] = ("v2", "v3", "v4")
    """The x86-64 micro-architecture levels in the library; the best one that a machine has is chosen at load."""


class Cpu:
    """See `tilebuild.targets.api.Target`. A build with nothing to do imports this module: the others wait for use."""

    name = "cpu"
    architectures = tuple(_LEVELS)
    options = CpuOptions
    machines = (("x86-64", "x86_64"), ("aarch64", "aarch64"))

    def architecture(self, arch: str) -> str:
        here = _MACHINES.get(platform.machine(), "")
        if not here:
            raise TilebuildError(
                Diagnostic(
                    "E403",
                    f"cpu:{arch or '<this machine>'} cannot be built on a {platform.machine()} machine",
                    fix="build it on another machine, or take it out of `targets`",
                )
            )
        return arch or here

    def with_options(self, options: CpuOptions) -> Cpu:
        return self

    def requirements(self, options: CpuOptions, cache: Path, arch: str = "") -> list[str]:
        return toolchain.requirements(_ROLE, options.compiler, machine=_machine(arch), cache=cache)

    def tools(self, options: CpuOptions, cache: Path, arch: str = "") -> tuple[Tool, ...]:
        return (toolchain.find(_ROLE, options.compiler, machine=_machine(arch), cache=cache),)

    def lower(self, func: FuncOp, arch: str) -> Plan:
        from tilebuild.targets.cpu.lower import lower

        return lower(func, arch)

    def place(self, plan: Plan) -> Plan:
        from tilebuild.plan import planner

        return planner.place(plan)

    def emit(self, plans: Sequence[Plan]) -> Mapping[str, Source]:
        from tilebuild.targets.cpu.emit import emit

        return {".c": emit(plans)}

    def support(self) -> Mapping[str, bytes]:
        return {name: (_HERE / name).read_bytes() for name in _SUPPORT}

    def graph(self, job: Job) -> tuple[list[Edge], Artifact]:
        (compiler,) = job.tools
        options: CpuOptions = job.options
        levels = {s: isa for s, isa in _LEVELS[job.arch].items() if job.arch != "x86-64" or s in options.levels}
        base = next(iter(_LEVELS[job.arch].values()))
        arena = max((sum(p.scratch().values()) for p in job.plans), default=0)
        edges = [
            _compile(
                compiler,
                job,
                source,
                f"{Path(source).stem}_{suffix}",
                isa,
                define=[f"TB_LEVEL={suffix}"],
                title=f"{Path(source).stem} {suffix}",
            )
            for source in job.sources
            for suffix, isa in levels.items()
        ]
        edges.append(
            _compile(
                compiler, job, "arena.c", "arena", base, define=[f"TB_ARENA_BYTES={arena}"], title="scratch memory"
            )
        )
        present = [f"TB_HAS_{suffix.upper()}" for suffix in levels]
        edges.append(_compile(compiler, job, "dispatch.c", "dispatch", base, define=present, title="level dispatch"))
        edges.append(_compile(compiler, job, "pool.c", "pool", base, define=[], title="thread pool"))
        objects = tuple(e.output for e in edges)
        library = f"{job.folder}/kernels.so"
        edges.append(Edge(compiler.link_command(objects, library), objects, library, f"link cpu:{job.arch}"))
        flags = {
            compiler.identity: tuple(
                dict.fromkeys(f for isa in levels.values() for f in (*compiler.flags(isa), *_FLAGS))
            )
        }
        # a folder of a name that a package could have: where a shared library lies, tools look for a module
        return edges, Artifact(library, f"cpu/{job.arch.replace('-', '_')}/kernels.so", tuple(levels), flags)

    def resources(self, job: Job, folder: Path) -> Mapping[str, Mapping[str, int]]:
        return {}

    def texts(self, job: Job) -> Mapping[str, str]:
        return {}


def _machine(arch: str) -> str:
    """The machine to make code for: this one, or one with the processor of `arch` and this one's system."""
    return toolchain.with_processor(dict(Cpu.machines).get(arch, ""))


def _compile(compiler: Tool, job: Job, source: str, stem: str, isa: str, *, define: list[str], title: str) -> Edge:
    path, output = f"{job.folder}/{source}", f"{job.folder}/{stem}.o"
    command = compiler.compile_command(path, output, arch=isa, include=[job.folder], define=define)
    return Edge((*command, *_FLAGS), (path,), output, f"compile {title}", f"{output}.d")


TARGET = Cpu()
