"""The oracle as a build step on final code: the verdict on what a compiler made, next to the one on the plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tilebuild import oracle
from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.manifest import VerdictEntry
from tilebuild.oracle import Judged, Policy, Waiver

if TYPE_CHECKING:
    from tilebuild.build.records import Record


def weigh(judged: Judged) -> Iterator[Diagnostic]:
    """The oracle's findings as the configuration weighs them: severity "error", "warning" or "waived". An unknown
    about code of our own is an error like a violation: what cannot be proved is not to be emitted."""
    for weighed in judged.findings:
        found = oracle.diagnostic(weighed.finding, judged.report.artifact)
        note: tuple[tuple[Span | None, str], ...] = ((None, weighed.note),) if weighed.note else ()
        yield dataclasses.replace(found, severity=weighed.severity, notes=(*found.notes, *note))
    if judged.unlisted:
        first = judged.findings[0].finding
        message = f"kernel {first.kernel}: there are more findings than are listed, and those cannot be waived"
        yield Diagnostic(first.code, message, first.span, fix=first.fix)


def waivers_of(judged: Judged) -> set[Waiver]:
    """The waivers that speak of something that was found."""
    return {weighed.waiver for weighed in judged.findings if weighed.waiver is not None}


def final_code(
    folder: Path,
    texts: Mapping[str, str],
    records: Sequence[Record],
    policy: Policy,
    *,
    arch: str,
    log: Callable[[str], None],
) -> tuple[dict[str, VerdictEntry], set[Waiver]]:
    """The verdicts of variants whose final code is text that the oracle reads: that of the plan and that of the code
    together, at the code's scope; and the waivers that were used. `texts` maps a variant to its file in `folder`.

    Raises `TilebuildError` with every finding that the configuration calls an error.
    """
    plans = {v.plan.variant: v for r in records for v in r.variants}
    spans = {
        v: source.spans for r in records for source in r.sources.values() for v in (x.plan.variant for x in r.variants)
    }
    verdicts: dict[str, VerdictEntry] = {}
    problems: list[Diagnostic] = []
    used: set[Waiver] = set()
    for file in sorted(set(texts.values())):
        here = [v for v, f in texts.items() if f == file]
        kernel = plans[here[0]].plan.kernel  # a file of code is that of one kernel
        reports = oracle.judge_text(
            (folder / file).read_text(encoding="utf-8"),
            file,
            arch=arch,
            launches={v: plans[v].plan.launch for v in here},
            severities=policy.of(oracle.CHECKS, kernel),
            spans=spans[here[0]],
        )
        by_entry = {report.kernel: report for report in reports}
        for report in reports:
            one = oracle.judged(file, report, policy, kernel=kernel)
            used |= waivers_of(one)
            for diagnostic in weigh(one):
                if diagnostic.severity == "error":
                    problems.append(diagnostic)
                else:
                    log(diagnostic.render())
        for variant in here:
            if variant not in by_entry:
                problems.append(Diagnostic("E722", f"{file} holds no entry {variant}: the oracle cannot judge it"))
            else:
                verdicts[variant] = together([plans[variant].verdict, oracle.verdict_entry(by_entry[variant])])
    if problems:
        raise TilebuildError(problems)
    return verdicts, used


def together(verdicts: Sequence[VerdictEntry]) -> VerdictEntry:
    """One entry for several verdicts on one kernel: of each check the worst, at the scope of the last."""
    checks: dict[str, str] = {}
    for verdict in verdicts:
        for check, outcome in verdict["checks"].items():
            checks[check] = oracle.worst([outcome, checks.get(check, outcome)])
    return {
        "outcome": oracle.worst([v["outcome"] for v in verdicts]),
        "scope": verdicts[-1]["scope"],
        "oracle": verdicts[-1]["oracle"],
        "checks": checks,
        "findings": [f for v in verdicts for f in v["findings"]],
    }
