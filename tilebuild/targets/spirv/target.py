"""spirv as a plug-in: its architectures, options, optional validator and build edges."""

from __future__ import annotations

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

_ROLE = "spirv-validator"
_ARCHITECTURES = ("vulkan1.2",)
# of tiles, that one invocation may keep: where one is made from another lane by lane, half of that is alive at a time,
# and drivers spill before they fail
_VALUES = 192
_DOT = 16  # invocations of a row group in a matrix product


@dataclass(frozen=True)
class SpirvOptions:
    """`[tool.tilebuild.target.spirv]`. The defaults are what every Vulkan device has; with others the kernels run on
    devices that have as much, and the runtime refuses the rest."""

    max_invocations: int = 128
    """The most invocations of a workgroup (maxComputeWorkGroupInvocations, and maxComputeWorkGroupSize along x)."""
    max_shared_bytes: int = 16384
    """The most bytes of workgroup memory (maxComputeSharedMemorySize)."""
    keep_nan: bool = True
    """Whether to demand of the device that it keeps NaN and infinities (shaderSignedZeroInfNanPreserveFloat32). false
    lets kernels run on devices that do not promise it; what they make of NaN and infinities is then not defined."""
    validator: Literal["auto", "spirv-val", "none"] = "auto"
    """Whether spirv-val judges each module, too; "auto" asks it where it is installed. The own check always runs."""


@dataclass(frozen=True)
class Spirv:
    """See `tilebuild.targets.api.Target`. What is lowered depends on the options: a build asks `with_options`."""

    given: SpirvOptions = SpirvOptions()

    name = "spirv"
    architectures = _ARCHITECTURES
    options = SpirvOptions
    machines = ()

    def with_options(self, options: SpirvOptions) -> Spirv:
        """The target as it is configured; raises `TilebuildError` E604 for an option that makes no sense."""
        wrong = [
            f"tool.tilebuild.target.spirv.{key}: {value} is less than {least}, which every Vulkan device has"
            for key, value, least in (
                ("max-invocations", options.max_invocations, SpirvOptions.max_invocations),
                ("max-shared-bytes", options.max_shared_bytes, SpirvOptions.max_shared_bytes),
            )
            if value < least
        ]
        if wrong:
            raise TilebuildError([Diagnostic("E604", message, fix="leave it out") for message in wrong])
        return Spirv(options)

    def architecture(self, arch: str) -> str:
        if arch and arch not in _ARCHITECTURES:
            message = f"spirv:{arch} cannot be built; there is {', '.join(_ARCHITECTURES)}"
            raise TilebuildError(Diagnostic("E403", message, fix=f'write "spirv:{_ARCHITECTURES[0]}"'))
        return arch or _ARCHITECTURES[0]

    def requirements(self, options: SpirvOptions, cache: Path, arch: str = "") -> list[str]:
        return []

    def tools(self, options: SpirvOptions, cache: Path, arch: str = "") -> tuple[Tool, ...]:
        """The validator, where it is wanted and there is one."""
        from tilebuild import toolchain

        if options.validator == "none":
            return ()
        try:
            return (toolchain.find(_ROLE, options.validator, cache=cache),)
        except TilebuildError as e:
            if options.validator == "auto" and all(d.code == "E501" for d in e.diagnostics):
                return ()
            raise

    def lower(self, func: FuncOp, arch: str) -> Plan:
        from tilebuild.targets.simt.lower import lower
        from tilebuild.targets.simt.mapping import Limits

        threads = _power_below(self.given.max_invocations)
        dot = (threads // _DOT, _DOT)
        # no warps: subgroups of different sizes, and none that every device has
        limits = Limits("spirv", arch, threads, 0, self.given.max_shared_bytes, _VALUES, 0, 1, dot)
        return lower(func, limits)

    def place(self, plan: Plan) -> Plan:
        from dataclasses import replace

        from tilebuild.targets.simt.place import place
        from tilebuild.targets.spirv.interface import push_constants

        placed = place(plan)
        return replace(placed, launch=replace(placed.launch, push_constants=4 * len(push_constants(placed))))

    def emit(self, plans: Sequence[Plan]) -> Mapping[str, Source]:
        from tilebuild.targets.spirv.emit import emit
        from tilebuild.targets.spirv.text import join, listing

        found = {}
        for plan in plans:
            module, spans = emit(plan, keep_nan=self.given.keep_nan)
            lines = listing(module)
            head = [None] * (len(lines) - len(spans))
            # the number is how a build tells a kernel's variants apart
            found[f"_{plan.variant.rpartition('_')[2]}.spvasm"] = Source(join(lines), (*head, *spans))
        return found

    def support(self) -> Mapping[str, bytes]:
        return {}

    def graph(self, job: Job) -> tuple[list[Edge], Artifact]:
        options: SpirvOptions = job.options
        edges = [_assemble(job, source, options) for source in job.sources]
        modules = tuple(e.output for e in edges)
        library = f"{job.folder}/kernels.spv.zip"
        command = (PYTHON, "-m", "tilebuild.targets.spirv.pack", library, *modules)
        edges.append(Edge(command, modules, library, f"pack spirv:{job.arch}"))
        flags = {t.identity: t.flags(job.arch) for t in job.tools}
        return edges, Artifact(library, f"spirv/{job.arch}/kernels.spv.zip", (), flags)

    def resources(self, job: Job, folder: Path) -> Mapping[str, Mapping[str, int]]:
        """By entry: what a device must have, and the module's size. `folder` is the build directory."""
        return {
            plan.variant: {
                "workgroup_bytes": sum(plan.scratch().values()),
                "invocations": _product(plan.launch.block),
                "push_constant_bytes": plan.launch.push_constants,
                "storage_buffers": sum(p.mode != "scalar" for p in plan.contract.parameters),
                "keep_nan": int(job.options.keep_nan),
                "words": (folder / job.folder / f"{plan.variant}.spv").stat().st_size // 4,
            }
            for plan in job.plans
        }

    def texts(self, job: Job) -> Mapping[str, str]:
        """None: modules are binary, and were checked when they were assembled; the oracle reads the plan."""
        return {}


def _assemble(job: Job, source: str, options: SpirvOptions) -> Edge:
    listing = f"{job.folder}/{source}"
    module = f"{listing.removesuffix('.spvasm')}.spv"
    own = (PYTHON, "-m", "tilebuild.targets.spirv.assemble", listing, module)
    limits = ("--invocations", str(options.max_invocations), "--shared-bytes", str(options.max_shared_bytes))
    validate = [("--", *t.fill("validate", {"out": ""}, {"in": (module,)}, job.arch)) for t in job.tools]
    title = f"assemble {Path(source).stem}{' and validate' if validate else ''}"
    return Edge((*own, *limits, *(validate[0] if validate else ())), (listing,), module, title)


def _power_below(n: int) -> int:
    """The largest power of two that is at most n."""
    return 1 << n.bit_length() - 1


def _product(numbers: Sequence[int]) -> int:
    total = 1
    for n in numbers:
        total *= n
    return total


TARGET = Spirv()
