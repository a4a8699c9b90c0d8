"""Judges PTX, whoever made it: shared memory stays inside its arrays and inside the device."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tilebuild.diagnostics import Span
from tilebuild.oracle.checks import ptx_initial, ptx_sync
from tilebuild.oracle.facts import Facts
from tilebuild.oracle.findings import UNKNOWN, VIOLATED, Findings, Report
from tilebuild.oracle.limits import BLOCKS, STATIC_SHARED, capacity
from tilebuild.oracle.readers import ptx
from tilebuild.oracle.readers.ptx_block import BlockThreads
from tilebuild.oracle.readers.ptx_bounds import SharedAccesses
from tilebuild.oracle.readers.ptx_inline import inlined
from tilebuild.oracle.readers.ptx_run import TooSlowError
from tilebuild.oracle.readers.ptx_text import Function, Instruction, Module, Name, Variable
from tilebuild.oracle.readers.ptx_values import HIGHEST, LOWEST, Range, single
from tilebuild.plan.model import Launch

CHECKS = ("operands", "capacity", "sync", "linear-use")
TARGET = "gpu"
_TIME = 10.0  # seconds a kernel may take
_AXES = "xyz"


def judge_ptx(
    text: str,
    name: str,
    *,
    arch: str = "",
    launch: Launch | Mapping[str, Launch] | None = None,
    facts: Facts | Mapping[str, Facts] | None = None,
    severities: Mapping[str, str] | None = None,
    spans: Sequence[Span | None] | None = None,
    seconds: float = _TIME,
) -> list[Report]:
    """The verdicts on the kernels of a PTX text, which `name` names in messages.

    `arch` is the architecture it will run on, that of the text where it is empty. `launch` (a plan's) or `facts` give
    the block, the dynamic shared memory and more, of every kernel or of each by its name. `spans` maps the lines (from
    1) of the source that `.loc` directives name; without it, these are shown. After `seconds` of computing a kernel is
    unknown. Raises `ptx_text.SyntaxProblem` where the text is not PTX, and ValueError where `facts` name a parameter
    that no kernel has.
    """
    module = ptx.read(text, name)
    if isinstance(facts, Facts):
        _require_parameters(module, facts)
    off = {check for check, severity in (severities or {}).items() if severity == "off"}
    reports = []
    for entry in module.entries:
        given = launch.get(entry.name) if isinstance(launch, Mapping) else launch
        its = facts.get(entry.name) if isinstance(facts, Mapping) else facts
        its = its or Facts.of(given)
        kernel = _Kernel(
            module, inlined(module, entry), arch or module.target, its, spans, time.thread_time() + seconds
        )
        ran = [kernel.findings(check) for check in CHECKS if check not in off]
        reports.append(
            Report(
                entry.name,
                "",
                TARGET,
                kernel.arch,
                {f.check: f.verdict for f in ran},
                tuple(finding for f in ran for finding in f.listed),
                {f.check: f.omitted for f in ran if f.omitted},
                "artifact",
                name,
            )
        )
    return reports


@dataclass
class _Kernel:
    """One kernel with all that is known of where it will run."""

    module: Module
    entry: Function
    arch: str
    launch: Facts
    spans: Sequence[Span | None] | None
    deadline: float
    followed: list[SharedAccesses] | None = None
    threads: list[BlockThreads] | None = None

    def findings(self, check: str) -> Findings:
        """What a check says; it never raises."""
        found = Findings(check, self.entry.name)
        try:
            if check == "capacity":
                self._capacity(found)
            elif check == "operands":
                self.followed = [self._followed(function, found) for function in self.functions]
            else:
                self._order(check, found)
        except TooSlowError:
            message = "the kernel took longer than it may: what is not reported is not proved"
            found.add("O-PTX-06", UNKNOWN, message, artifact_line=self.entry.line, fix="make the kernel smaller")
        except Exception as error:  # whatever is in a text, the answer is a verdict
            message = f"the check {check} gave up: {type(error).__name__}: {str(error)[:200]}"
            fix = "this is a fault of the oracle: report it with the file"
            found.add("O-INTERNAL", UNKNOWN, message, fix=fix)
        return found

    @cached_property
    def values(self) -> dict[str, int]:
        """What scalar parameters are, by their names in the text; the facts may give their positions instead."""
        names = [p.name for p in self.entry.params]
        given = self.launch.values
        return {n: given[k] for at, n in enumerate(names) for k in (n, str(at)) if k in given}

    def _followed(self, function: Function, found: Findings) -> SharedAccesses:
        shared = SharedAccesses(self, function, found)
        shared.run()
        return shared

    def _order(self, check: str, found: Findings) -> None:
        if self.followed is None:
            nowhere = Findings("operands", self.entry.name)
            self.followed = [self._followed(function, nowhere) for function in self.functions]
        if self.threads is None:
            self.threads = [BlockThreads(self, shared) for shared in self.followed]
        judge = ptx_sync.run if check == "sync" else ptx_initial.run
        judge(self, self.threads, found)

    def span(self, i: Instruction) -> Span | None:
        """The source line of an instruction."""
        if i.loc is None or i.loc[1] < 1:
            return None
        file, line = i.loc
        if self.spans is not None:
            return self.spans[line - 1] if line <= len(self.spans) else None
        return Span(self.module.files[file], line) if file in self.module.files else None

    # -- what the kernel is made of ---------------------------------------------------------------

    @cached_property
    def functions(self) -> list[Function]:
        """The kernel and all that it calls."""
        defined = {f.name: f for f in self.module.functions if f.defined}
        found, pending = [self.entry], [self.entry]
        while pending:
            body = pending.pop().body
            names = [o.name for i in body if i.op == "call" for o in i.operands if isinstance(o, Name)]
            indirect = any(i.op == "call" and not any(isinstance(o, Name) for o in i.operands[:2]) for i in body)
            called = [f for f in defined.values() if not f.entry and (indirect or f.name in names)]
            for f in called:
                if f not in found:
                    found.append(f)
                    pending.append(f)
        return found

    @cached_property
    def arrays(self) -> dict[str, Variable]:
        """The shared arrays that the kernel can name; those of the module where it does."""
        used = {
            o.name
            for f in self.functions
            for i in f.body
            for operand in i.operands
            for o in (operand, getattr(operand, "base", None))
            if isinstance(o, Name)
        }
        found = [v for v in self.module.variables if v.name in used]
        found += [v for f in self.functions for v in f.variables]
        return {v.name: v for v in found if v.space == "shared"}

    def size(self, array: Variable) -> int | None:
        """The bytes of an array; None where only a launch says."""
        if array.bytes is not None:
            return array.bytes
        return self.launch.shared_dynamic

    @cached_property
    def block(self) -> tuple[int, ...] | None:
        """The threads of a block along each axis, where they are known."""
        given = self.entry.directives.get("reqntid") or self.launch.block
        return (*given, 1, 1)[:3] if given and all(n > 0 for n in given) else None

    def special(self) -> dict[str, Range]:
        """The ranges of the special registers."""
        most = BLOCKS[TARGET]
        total = math.prod(self.entry.directives.get("maxntid") or (most.threads,))
        found = {"%laneid": Range(0, 31), "%warpid": Range(0, 63)}
        for axis, name in enumerate(_AXES):
            if self.block is not None:
                size = self.block[axis]
                found[f"%ntid.{name}"] = single(size)
                found[f"%tid.{name}"] = single(0) if size == 1 else Range(0, size - 1, taken=LOWEST | HIGHEST)
            else:
                size = max(1, min(total, most.sides[axis]))
                found[f"%ntid.{name}"] = Range(1, size)
                found[f"%tid.{name}"] = Range(0, size - 1)
            blocks = (1 << 31) - 1 if axis == 0 else 65535
            found[f"%ctaid.{name}"] = Range(0, blocks - 1)
            found[f"%nctaid.{name}"] = Range(1, blocks)
            if self.launch.grid:
                blocks = (*self.launch.grid, 1, 1)[axis]
                found[f"%nctaid.{name}"] = single(blocks)
                found[f"%ctaid.{name}"] = single(0) if blocks == 1 else Range(0, blocks - 1, taken=LOWEST | HIGHEST)
        return found

    # -- capacity ---------------------------------------------------------------------------------

    def _capacity(self, findings: Findings) -> None:
        self._threads(findings)
        static = 0
        for array in self.arrays.values():
            if array.bytes is not None:
                static = -(-static // max(1, array.align)) * max(1, array.align) + array.bytes
        limit, known = STATIC_SHARED[TARGET], capacity(TARGET, self.arch, "shared")
        first = next(iter(self.arrays.values()), None)
        line = first.line if first is not None else self.entry.line
        if static > limit:
            message = f"the kernel has {static} bytes of static shared memory; {TARGET} has {limit}"
            fix = f"make what exceeds {limit} bytes dynamic, and ask for it at the launch"
            findings.add("O-CAP-09", VIOLATED, message, artifact_line=line, fix=fix)
        dynamic = next((a for a in self.arrays.values() if a.bytes is None), None)
        asked = self.launch.shared_dynamic
        if dynamic is not None and asked is None:
            message = f"the size of the shared array {dynamic.name} is given at the launch, which is not known here"
            fix = "judge it with its launch"
            findings.add("O-PTX-07", UNKNOWN, message, artifact_line=dynamic.line, fix=fix)
        total = static + (asked or 0)
        if known is not None and total > known:
            message = f"the kernel has {total} bytes of shared memory; {TARGET} {self.arch} has {known}"
            fix = "use less shared memory"
            findings.add("O-CAP-09", VIOLATED, message, artifact_line=line, fix=fix)
        elif known is None and (asked or 0) > 0:
            message = f"the kernel has {total} bytes of shared memory; what {TARGET} {self.arch} has is not known"
            findings.add("O-CAP-09", UNKNOWN, message, artifact_line=line, fix="name an architecture that is known")

    def _threads(self, findings: Findings) -> None:
        most, wanted = BLOCKS[TARGET], self.entry.directives.get("reqntid", ())
        given = self.launch.block
        shapes = [("requires", wanted), ("is launched with", given)]
        for verb, shape in shapes:
            too_many = math.prod(shape) > most.threads or any(n > m for n, m in zip(shape, most.sides))
            if too_many or any(n < 1 for n in shape):
                message = f"the kernel {verb} a block of {_shape(shape)} threads; {TARGET} has at most {most.threads}"
                message += f", and {_shape(most.sides)} along its axes"
                findings.add("O-CAP-08", VIOLATED, message, artifact_line=self.entry.line, fix="use fewer threads")
        bound = self.entry.directives.get("maxntid", ())
        for shape, directive, wrong in (
            (wanted, "reqntid", bool(wanted) and (*wanted, 1, 1)[:3] != (*given, 1, 1)[:3]),
            (bound, "maxntid", bool(bound) and math.prod(given) > math.prod(bound)),
        ):
            if given and wrong:
                block = f"a block of {_shape(given)} threads"
                message = f"the kernel is launched with {block}, against .{directive} {_shape(shape)}"
                fix = "launch it as it was compiled"
                findings.add("O-CAP-08", VIOLATED, message, artifact_line=self.entry.line, fix=fix)


def _require_parameters(module: Module, facts: Facts) -> None:
    names = [p.name for entry in module.entries for p in entry.params]
    most = max((len(entry.params) for entry in module.entries), default=0)
    for name in (*facts.extents, *facts.values):
        if name not in names and not (name.isdigit() and int(name) < most):
            raise ValueError(f"a fact about {name} is given, and no kernel has that parameter; there are {names}")


def _shape(block: Sequence[int]) -> str:
    return " x ".join(map(str, block))
