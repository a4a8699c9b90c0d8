"""Reports as people and programs read them: terminal text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tilebuild.diagnostics import Diagnostic, Span
from tilebuild.oracle.findings import PROVED, VERSION, VIOLATED, Finding, Report

SCHEMA = 1


def diagnostics(report: Report) -> tuple[Diagnostic, ...]:
    """One message a finding, in the report's order; `severity` is "error" for what is violated, else "unknown"."""
    return tuple(_diagnostic(f, report.artifact) for f in report.findings)


def _diagnostic(finding: Finding, artifact: str) -> Diagnostic:
    severity = "error" if finding.outcome == VIOLATED else "unknown"
    message = f"kernel {_printable(finding.kernel)}: {_printable(finding.message)}"
    place = f"{artifact}:{finding.artifact_line}" if finding.artifact_line is not None else ""
    notes = ((None, f"in {_printable(place)}"),) if place else ()
    return Diagnostic(finding.code, message, finding.span, notes, _printable(finding.fix), severity)


def text(report: Report, root: Path | None = None, *, quiet: bool = False, unknown: str = "unknown") -> str:
    """The findings, each with its Python line (read below `root`, the working directory by default) and its fix, and
    one line of verdicts; nothing at all for a proved plan where `quiet`. `unknown` is the severity to show for what
    could not be proved."""
    if quiet and report.outcome == PROVED:
        return ""
    found = (replace(d, severity=unknown) if d.severity == "unknown" else d for d in diagnostics(report))
    parts = [_render(d, root or Path()) for d in found]
    parts += [f"{n} more findings of {check} are not shown" for check, n in report.omitted.items()]
    verdicts = ", ".join(f"{check} {verdict}" for check, verdict in report.verdicts.items())
    parts.append(f"{_printable(report.title)}: {report.outcome} ({verdicts or 'no check ran'})")
    return "\n".join(parts)


def _render(diagnostic: Diagnostic, root: Path) -> str:
    """As `Diagnostic.render`, but a plan from elsewhere does not choose which files are read: an excerpt comes from
    regular files below `root` only."""
    span = diagnostic.span
    if span is None or _is_below(span, root):
        return diagnostic.render(root)
    place = replace(diagnostic, span=None)
    return f"{_printable(str(span))}: {place.render(root)}"


def _is_below(span: Span, root: Path) -> bool:
    path = PurePosixPath(span.file)
    if path.is_absolute() or ".." in path.parts or span.line < 1 or not span.file.isprintable():
        return False
    try:
        return (root / path).resolve().is_relative_to(root.resolve()) and (root / path).is_file()
    except (OSError, ValueError):
        return False


def _printable(message: str) -> str:
    """Names in a plan from elsewhere may hold what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


def json_text(reports: Mapping[str, Sequence[Report]], unreadable: Mapping[str, str]) -> str:
    """The reports of each file, and why other files could not be read, as one JSON document."""
    document = {
        "schema": SCHEMA,
        "oracle": VERSION,
        "plans": [{"file": file, **_plan(r)} for file, found in reports.items() for r in found],
        "unreadable": [{"file": file, "reason": reason} for file, reason in unreadable.items()],
    }
    return json.dumps(document, indent=2)


def _plan(report: Report) -> dict[str, object]:
    return {
        "kernel": report.kernel,
        "variant": report.variant,
        "target": report.target,
        "arch": report.arch,
        "scope": report.scope,
        "outcome": report.outcome,
        "checks": dict(report.verdicts),
        "findings": [_finding(f) for f in report.findings],
        "omitted": dict(report.omitted),
    }


def _finding(finding: Finding) -> dict[str, object]:
    span = finding.span
    place = {"file": span.file, "line": span.line, "column": span.column + 1} if span else None
    return {
        "code": finding.code,
        "check": finding.check,
        "outcome": finding.outcome,
        "message": finding.message,
        "kernel": finding.kernel,
        "place": place,
        "artifact_line": finding.artifact_line,
        "instructions": list(finding.instructions),
        "fix": finding.fix,
    }
