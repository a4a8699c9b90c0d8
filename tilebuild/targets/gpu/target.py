"""The gpu as a plug-in: its architectures, options, compilers and build edges."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tilebuild import toolchain
from tilebuild.diagnostics import Diagnostic, TilebuildError, did_you_mean
from tilebuild.plan.model import Plan
from tilebuild.targets.api import PYTHON, Artifact, Edge, Job, Source
from tilebuild.targets.gpu.limits import ARCHITECTURES, limits
from tilebuild.targets.gpu.roles import ASSEMBLER, COMPILER, LINKER
from tilebuild.toolchain import Tool
from tilebuild.toolchain.search import AUTO

if TYPE_CHECKING:
    from tilebuild.ir.dialect import FuncOp

_STEP = (PYTHON, "-m", "tilebuild.targets.gpu.step")


@dataclass(frozen=True)
class GpuOptions:
    """`[tool.tilebuild.target.gpu]`."""

    compiler: Literal["nvrtc", "nvcc"] = "nvrtc"
    """What compiles the generated CUDA C++ to PTX; nvcc also needs a C++ compiler of the host."""
    ptx: bool = True
    """Keep the PTX beside the machine code, so that the driver can compile it for newer architectures."""


class Gpu:
    """See `tilebuild.targets.api.Target`."""

    name = "gpu"
    architectures = ARCHITECTURES
    options = GpuOptions
    machines = ()

    def architecture(self, arch: str) -> str:
        if arch in ARCHITECTURES:
            return arch
        message = (
            f'gpu has no architecture "{arch}"{did_you_mean(arch, ARCHITECTURES)}'
            if arch
            else "gpu needs an architecture: a build does not look at the machine's device"
        )
        raise TilebuildError(
            Diagnostic("E403", message, fix=f'write "gpu:sm_80", or another of {", ".join(ARCHITECTURES)}')
        )

    def with_options(self, options: GpuOptions) -> Gpu:
        return self

    def requirements(self, options: GpuOptions, cache: Path, arch: str = "") -> list[str]:
        wanted = [(COMPILER, options.compiler), (ASSEMBLER, AUTO), (LINKER, AUTO)]
        # all parts come from one release: where one is missing, none of those that are there is relied on
        found = [toolchain.requirements(role, prefer, cache=cache) for role, prefer in wanted]
        missing = [r for requirements in found for r in requirements]
        return list(dict.fromkeys(missing))

    def tools(self, options: GpuOptions, cache: Path, arch: str = "") -> tuple[Tool, ...]:
        """Raises E501 to E503, and E506 where the parts are of different releases."""
        found = (
            toolchain.find(COMPILER, options.compiler, cache=cache),
            toolchain.find(ASSEMBLER, cache=cache),
            toolchain.find(LINKER, cache=cache),
        )
        agree(found)
        return found

    def lower(self, func: FuncOp, arch: str) -> Plan:
        from tilebuild.targets.simt.lower import lower

        return lower(func, limits(arch))

    def place(self, plan: Plan) -> Plan:
        from tilebuild.targets.simt.place import place

        return place(plan)

    def emit(self, plans: Sequence[Plan]) -> Mapping[str, Source]:
        from tilebuild.targets.gpu.emit import emit

        return {".cu": emit(plans)}

    def support(self) -> Mapping[str, bytes]:
        return {}

    def graph(self, job: Job) -> tuple[list[Edge], Artifact]:
        """Raises E422 where the compiler does not know the architecture."""
        compiler, assembler, linker = job.tools
        require_known(compiler, job.arch)
        options: GpuOptions = job.options
        where = job.folder
        edges = []
        for source in job.sources:
            path, output = f"{where}/{source}", f"{where}/{Path(source).stem}.ptx"
            command = (*_STEP, "compile", compiler.name, job.arch, path, output)
            edges.append(Edge(command, (path,), output, f"compile {Path(source).stem} for {job.arch}"))
        texts = tuple(e.output for e in edges)
        whole, cubin, fatbin = (f"{where}/kernels.{suffix}" for suffix in ("ptx", "cubin", "fatbin"))
        edges.append(Edge((*_STEP, "join", whole, *texts), texts, whole, f"join the PTX for {job.arch}"))
        assemble = (*_STEP, "assemble", job.arch, whole, cubin, f"{where}/{_LOG}")
        edges.append(Edge(assemble, (whole,), cubin, f"assemble for {job.arch}"))
        images = (cubin, whole) if options.ptx else (cubin,)
        edges.append(Edge((*_STEP, "merge", job.arch, fatbin, *images), images, fatbin, f"merge gpu:{job.arch}"))
        flags = {
            compiler.identity: compiler.flags(job.arch),
            assembler.identity: assembler.flags(job.arch),
            linker.identity: (*linker.flags(), *(f"kind={k}" for k in (["elf", "ptx"] if options.ptx else ["elf"]))),
        }
        return edges, Artifact(fatbin, f"gpu/{job.arch}/kernels.fatbin", (), flags)

    def resources(self, job: Job, folder: Path) -> Mapping[str, Mapping[str, int]]:
        """What the assembler says that each entry takes, from the log of its last run."""
        from tilebuild.targets.gpu import ptx

        text = (folder / job.folder / _LOG).read_text(encoding="utf-8")
        found = ptx.resources(text)
        return {p.variant: found[p.variant] for p in job.plans}

    def texts(self, job: Job) -> Mapping[str, str]:
        """The PTX file of each entry, relative to the build directory."""
        return {
            plan.variant: f"{job.folder}/{Path(source).stem}.ptx"
            for source in job.sources
            for plan in job.plans
            if plan.variant.rpartition("_")[0] == Path(source).stem
        }


_LOG = "kernels.log"


def require_known(compiler: Tool, arch: str) -> None:
    """Raises `TilebuildError` E422 for an architecture that is newer, or older, than the compiler."""
    if compiler.name == "nvrtc":
        from tilebuild.targets.gpu.nvrtc import Nvrtc

        known = [f"sm_{n}" for n in Nvrtc(compiler.command[-1]).architectures()]
    else:
        listed = subprocess.run([*compiler.command, "--list-gpu-code"], capture_output=True, text=True, check=False)
        known = re.findall(r"^sm_\d+$", listed.stdout, re.MULTILINE)
    if arch not in known:
        message = f"{compiler.identity} does not compile for {arch}: it knows {', '.join(known) or 'no architecture'}"
        fix = "take another architecture, or a release of the CUDA tools that knows it"
        raise TilebuildError(Diagnostic("E422", message, fix=fix))


def agree(tools: Sequence[Tool]) -> None:
    """Raises `TilebuildError` E506 where the compiler, the assembler and the linker are of different releases: an
    assembler refuses the PTX of a newer compiler, and the package index mixes them easily."""
    releases = {tool.identity: ".".join(tool.version.split(".")[:2]) for tool in tools}
    if len(set(releases.values())) > 1:
        notes = tuple((None, f"{tool.identity}: {tool.command[-1]}") for tool in tools)
        fix = (
            'install them together: pip install "cuda-toolkit[nvcc,nvrtc]==13.5.0" (a requirement of nvidia-cuda-nvcc '
            "alone does not pin the parts that it works with)"
        )
        raise TilebuildError(
            Diagnostic("E506", f"the CUDA tools are of different releases: {', '.join(releases)}", None, notes, fix)
        )


TARGET = Gpu()
