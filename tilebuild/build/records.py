"""What code generation made of one kernel for one target: plans, verdicts, source text. Kept between builds, so that
an edit regenerates the kernels of one file only, and no IR library is imported where nothing has to be lowered."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilebuild import oracle
from tilebuild.build import sealed
from tilebuild.build.config import Config
from tilebuild.build.judged import waivers_of, weigh
from tilebuild.build.waivers import policy, today
from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.frontend.discover import KernelDef, VariantDef
from tilebuild.manifest import VerdictEntry
from tilebuild.plan import serialize
from tilebuild.plan.model import Plan
from tilebuild.targets.api import Source, Target


@dataclass(frozen=True)
class VariantRecord:
    """One variant: which of the kernel's variants it is, its plan and the oracle's verdict on it."""

    index: int
    plan: Plan
    verdict: VerdictEntry


@dataclass(frozen=True)
class Record:
    """`stem` names the kernel's source files; `diagnostics` are warnings, and findings of the oracle; `waivers` the
    positions of those that speak of something that was found."""

    stem: str
    variants: tuple[VariantRecord, ...]
    sources: Mapping[str, Source]
    diagnostics: tuple[Diagnostic, ...]
    waivers: tuple[int, ...] = ()


class Records:
    """The records of one build directory."""

    def __init__(self, project: Path, folder: Path, generator: str, config: Config) -> None:
        self.project, self.folder, self.config = project, folder, config
        self.generator = generator
        self.policy = policy(config.oracle, today())

    def get(self, kernel: KernelDef, stem: str, target: Target, arch: str) -> Record:
        """The kept record where nothing it depends on changed, else a new one, whose files are called `stem`; raises
        `TilebuildError`."""
        path = self.folder / "records" / f"{target.name}-{arch}" / f"{stem}.json"
        parts = (
            self.generator,
            kernel.digest,
            kernel.module,
            kernel.name,
            stem,
            target.name,
            arch,
            self.policy.of(oracle.CHECKS, kernel.name),
            [(waiver, self.policy.in_force(waiver)) for waiver in self.policy.waivers],
            repr(self.config.target),
        )
        key = hashlib.sha256(repr(parts).encode()).hexdigest()
        kept = _read(path, key)
        if kept is not None:
            return kept
        record = self.make(kernel, target, arch, stem)
        sealed.write(path, key, _encode(record))
        return record

    def make(self, kernel: KernelDef, target: Target, arch: str, stem: str) -> Record:
        variants: list[VariantRecord] = []
        diagnostics: list[Diagnostic] = []
        used: set[oracle.Waiver] = set()
        for index, variant in enumerate(kernel.variants):
            if variant.target in ("", target.name, f"{target.name}:{arch}"):
                plan, warnings = _plan(kernel, variant, f"{stem}_{index}", target, arch)
                report = oracle.judge(plan, self.policy.of(oracle.CHECKS, kernel.name))
                one = oracle.judged("", report, self.policy, kernel=kernel.name)
                variants.append(VariantRecord(index, plan, oracle.verdict_entry(report)))
                diagnostics += [*warnings, *weigh(one)]
                used |= waivers_of(one)
        if not variants:
            raise TilebuildError(
                Diagnostic(
                    "E404",
                    f"{kernel.name} has no variant for {target.name}:{arch}",
                    kernel.span,
                    fix="add a tb.V without target=",
                )
            )
        sources = target.emit([v.plan for v in variants])
        positions = tuple(n for n, waiver in enumerate(self.policy.waivers) if waiver in used)
        return Record(stem, tuple(variants), sources, tuple(dict.fromkeys(diagnostics)), positions)


def stems(kernels: Sequence[KernelDef], reserved: Collection[str]) -> list[str]:
    """A name for each kernel's files and entry points: its module inside the package and its own, with a number where
    that is taken already, by another kernel or a file of that name (whatever the case of its letters)."""
    taken = {name.casefold() for name in reserved}
    found: list[str] = []
    for kernel in kernels:
        plain = stem = "_".join([*kernel.module.split(".")[1:], kernel.name])
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{plain}_{number}", number + 1
        taken.add(stem.casefold())
        found.append(stem)
    return found


def _plan(
    kernel: KernelDef, variant: VariantDef, name: str, target: Target, arch: str
) -> tuple[Plan, list[Diagnostic]]:
    # the IR library is imported here, where something has to be lowered
    from tilebuild.frontend.lowering import lower
    from tilebuild.ir.verifier import verify

    func = lower(kernel, variant, name)
    found = verify(func)
    errors = [d for d in found if d.severity == "error"]
    if errors:
        raise TilebuildError(errors)
    return target.place(target.lower(func, arch)), found


def _encode(record: Record) -> dict[str, Any]:
    return {
        "stem": record.stem,
        "variants": [[v.index, serialize.dumps(v.plan), v.verdict] for v in record.variants],
        "sources": {
            n: [s.text, [span and dataclasses.astuple(span) for span in s.spans]] for n, s in record.sources.items()
        },
        "diagnostics": [dataclasses.asdict(d) for d in record.diagnostics],
        "waivers": list(record.waivers),
    }


def _read(path: Path, key: str) -> Record | None:
    """The record, or None where it is missing, damaged or of other inputs: it is then made again."""
    data = sealed.read(path, key)
    if data is None:
        return None
    return Record(
        data["stem"],
        tuple(VariantRecord(i, serialize.loads(plan), verdict) for i, plan, verdict in data["variants"]),
        {n: Source(text, _spans(spans)) for n, (text, spans) in data["sources"].items()},
        tuple(_diagnostic(d) for d in data["diagnostics"]),
        tuple(data["waivers"]),
    )


def _spans(items: Sequence[Sequence[Any] | None]) -> tuple[Span | None, ...]:
    return tuple(Span(*item) if item else None for item in items)


def _diagnostic(data: dict[str, Any]) -> Diagnostic:
    span = Span(**data["span"]) if data["span"] else None
    notes = tuple((Span(**s) if s else None, text) for s, text in data["notes"])
    return Diagnostic(data["code"], data["message"], span, notes, data["fix"], data["severity"])
