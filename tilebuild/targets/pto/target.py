"""pto as a plug-in: its architectures, options, tools and build edges."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.targets.api import PYTHON, Artifact, Edge, Job, Source

if TYPE_CHECKING:
    from tilebuild.ir.dialect import FuncOp
    from tilebuild.plan.model import Plan
    from tilebuild.toolchain import Tool

_ASSEMBLER, _COMPILER = "pto-assembler", "npu-compiler"


@dataclass(frozen=True)
class PtoOptions:
    """`[tool.tilebuild.target.pto]`."""

    assembler: Literal["auto", "ptoas", "none"] = "auto"
    """Whether ptoas checks and assembles the text: "auto" where it is found, "ptoas" always, "none" never."""
    compiler: Literal["auto", "bisheng", "none"] = "none"
    """Whether bisheng makes a library of what ptoas wrote; it needs the pto-isa headers (PTO_ISA_ROOT, or a CANN
    toolkit in ASCEND_HOME_PATH)."""
    compiler_flags: Literal["npu-arch", "aicore-arch"] = "npu-arch"
    """How bisheng is told the architecture: newer releases take --npu-arch, older ones --cce-aicore-arch."""


class Pto:
    """See `tilebuild.targets.api.Target`."""

    name = "pto"
    architectures = ("a2a3", "a5")
    options = PtoOptions
    machines = ()

    def architecture(self, arch: str) -> str:
        if arch not in self.architectures:
            message = f"pto needs an architecture: {' or '.join(self.architectures)}"
            raise TilebuildError(Diagnostic("E403", message, fix='write "pto:a2a3" in `targets`'))
        return arch

    def with_options(self, options: PtoOptions) -> Pto:
        return self

    def requirements(self, options: PtoOptions, cache: Path, arch: str = "") -> list[str]:
        return []

    def tools(self, options: PtoOptions, cache: Path, arch: str = "") -> tuple[Tool, ...]:
        assembler = _optional(_ASSEMBLER, options.assembler, cache)
        if assembler is None:
            return ()
        compiler = _optional(_COMPILER, options.compiler, cache)
        if compiler is not None and not _headers() and options.compiler == "auto":
            compiler = None
        return (assembler,) if compiler is None else (assembler, compiler)

    def lower(self, func: FuncOp, arch: str) -> Plan:
        from tilebuild.targets.pto.lower import lower

        return lower(func, arch)

    def place(self, plan: Plan) -> Plan:
        from tilebuild.targets.pto.place import place

        return place(plan)

    def emit(self, plans: Sequence[Plan]) -> Mapping[str, Source]:
        from tilebuild.targets.pto.emit import emit
        from tilebuild.targets.pto.verify import verify

        source = emit(plans)
        problems = verify(source.text, plans[0].arch, f"{plans[0].variant}.pto")
        if problems:
            raise TilebuildError(problems)
        return {".pto": source}

    def support(self) -> Mapping[str, bytes]:
        return {}

    def resources(self, job: Job, folder: Path) -> Mapping[str, Mapping[str, int]]:
        return {}

    def texts(self, job: Job) -> Mapping[str, str]:
        """The text of each variant's entry, relative to the build directory: what the oracle's reader judges."""
        found: dict[str, str] = {}
        for source in job.sources:
            stem = source.removesuffix(".pto")
            for plan in job.plans:
                if plan.variant.rpartition("_")[0] == stem:
                    found[plan.variant] = f"{job.folder}/{source}"
        return found

    def graph(self, job: Job) -> tuple[list[Edge], Artifact]:
        texts = tuple(f"{job.folder}/{source}" for source in job.sources)
        assembler = next((t for t in job.tools if t.description.role == _ASSEMBLER), None)
        compiler = next((t for t in job.tools if t.description.role == _COMPILER), None)
        edges = [_assemble(assembler, job.arch, text) for text in texts] if assembler else []
        assembled = tuple(e.output for e in edges)
        flags = {assembler.identity: assembler.flags(job.arch)} if assembler else {}
        if compiler is None:
            # what is assembled is an input of the bundle, so that a text that ptoas rejects is not bundled
            output = f"{job.folder}/kernels.pto"
            command = (PYTHON, "-m", "tilebuild.targets.pto.merge", output, *texts)
            edges.append(Edge(command, (*texts, *assembled), output, f"bundle pto:{job.arch}"))
            return edges, Artifact(output, f"pto/{job.arch}/kernels.pto", (), flags)
        style = job.arch if job.options.compiler_flags == "npu-arch" else f"{job.arch}.aicore"
        output = f"{job.folder}/kernels.so"
        lists = {"in": assembled, "include": _headers()}
        command = compiler.fill("compile", {"out": output}, lists, style)
        edges.append(Edge(command, assembled, output, f"compile pto:{job.arch}"))
        flags[compiler.identity] = compiler.flags(style)
        return edges, Artifact(output, f"pto/{job.arch}/kernels.so", (), flags)


def _optional(role: str, prefer: str, cache: Path) -> Tool | None:
    """The tool of a role; None where it is not wanted, or where it may be missing and is."""
    from tilebuild import toolchain

    if prefer == "none":
        return None
    try:
        return toolchain.find(role, prefer, cache=cache)
    except TilebuildError as error:
        if prefer == "auto" and all(d.code == "E501" for d in error.diagnostics):
            return None
        raise


def _headers() -> list[str]:
    """The include directories of pto-isa."""
    roots = [os.environ.get(name, "") for name in ("PTO_ISA_ROOT", "ASCEND_HOME_PATH")]
    return [str(Path(root).absolute() / "include") for root in roots if root]


def _assemble(tool: Tool, arch: str, text: str) -> Edge:
    output = f"{text.removesuffix('.pto')}.cpp"
    command = tool.fill("assemble", {"out": output}, {"in": (text,)}, arch)
    return Edge(
        (PYTHON, "-m", "tilebuild.targets.pto.assemble", output, *command),
        (text,),
        output,
        f"assemble {Path(text).stem}",
    )


TARGET = Pto()
