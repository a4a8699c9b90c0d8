"""Judges final code given as text, by its kind: PTX at scope "artifact", PTO with addresses at scope "text"."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tilebuild.diagnostics import Span
from tilebuild.oracle.artifact import judge_ptx
from tilebuild.oracle.findings import Report
from tilebuild.oracle.judge import judge
from tilebuild.oracle.readers import pto
from tilebuild.plan.model import Launch

KINDS = (".ptx", ".pto")


def judge_text(
    text: str,
    name: str,
    *,
    arch: str = "",
    launches: Mapping[str, Launch] | None = None,
    severities: Mapping[str, str] | None = None,
    spans: Sequence[Span | None] | None = None,
) -> list[Report]:
    """The verdicts on the kernels of a text; the ending of `name` is its kind, one of `KINDS`.

    `launches` gives the block of a kernel by its name, `spans` the Python lines of the generated source's lines: what
    `.loc` names in PTX, the text itself for PTO. Raises `SyntaxProblem` of the kind's reader where the text is no such
    code, and ValueError for another kind.
    """
    if name.endswith(".pto"):
        plans = pto.read(text, name)
        return [_lines(dataclasses.replace(judge(plan, severities), scope="text"), spans) for plan in plans]
    if not name.endswith(".ptx"):
        raise ValueError(f"{name}: the oracle reads {' and '.join(KINDS)}")
    return judge_ptx(text, name, arch=arch, launch=launches, severities=severities, spans=spans)


def _lines(report: Report, spans: Sequence[Span | None] | None) -> Report:
    """The report with the Python lines that its places in the text come from, where those are given."""
    if spans is None:
        return report
    findings = []
    for f in report.findings:
        line = f.span.line if f.span is not None else 0
        python = spans[line - 1] if 0 < line <= len(spans) else None
        findings.append(dataclasses.replace(f, span=python or f.span, artifact_line=line or None))
    return dataclasses.replace(report, findings=tuple(findings))
