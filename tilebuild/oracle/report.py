"""Reports as people and programs read them: terminal text and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tilebuild.diagnostics import Diagnostic, Span
from tilebuild.oracle.findings import PROVED, UNKNOWN, VERSION, VIOLATED, Finding, Report
from tilebuild.oracle.weighing import ERROR, Judged, Policy, Weighed
from tilebuild.oracle.weighing import judged as weighed

SCHEMA = 1


def diagnostics(report: Report) -> tuple[Diagnostic, ...]:
    """One message a finding, in the report's order; `severity` is "error" for what is violated, else "unknown"."""
    return tuple(diagnostic(f, report.artifact) for f in report.findings)


def diagnostic(finding: Finding, artifact: str = "", line: str = "") -> Diagnostic:
    """A finding as a message; `artifact` is what the judged text is called, `line` the text of the finding's line."""
    severity = "error" if finding.outcome == VIOLATED else "unknown"
    message = f"kernel {printable(finding.kernel)}: {printable(finding.message)}"
    notes: list[tuple[Span | None, str]] = []
    if finding.artifact_line is not None and artifact:
        place = f"in {artifact}:{finding.artifact_line}"
        notes.append((None, printable(f"{place}: {line.strip()}" if line.strip() else place)))
    return Diagnostic(finding.code, message, finding.span, tuple(notes), printable(finding.fix), severity)


def text(given: Judged | Report, root: Path | None = None, *, quiet: bool = False, lines: Sequence[str] = ()) -> str:
    """The findings, each with its Python line (read below `root`, the working directory by default), the line of the
    judged text out of `lines`, its fix and its waiver, and one line of verdicts; nothing at all for a proved plan
    where `quiet`. What is an error and not proved is called "unknown". In a report that nobody has weighed, every
    finding is an error."""
    judged = weighed("", given, Policy()) if isinstance(given, Report) else given
    report = judged.report
    if quiet and report.outcome == PROVED:
        return ""
    parts = [_shown(w, report.artifact, lines, root or Path()) for w in judged.findings]
    parts += [f"{n} more findings of {check} are not shown" for check, n in report.omitted.items()]
    verdicts = ", ".join(f"{check} {verdict}" for check, verdict in report.verdicts.items())
    parts.append(f"{printable(report.title)}: {report.outcome} ({verdicts or 'no check ran'})")
    return "\n".join(parts)


def _shown(one: Weighed, artifact: str, lines: Sequence[str], root: Path) -> str:
    number = one.finding.artifact_line or 0
    found = diagnostic(one.finding, artifact, lines[number - 1] if 0 < number <= len(lines) else "")
    severity = found.severity if one.severity == ERROR else one.severity
    note: tuple[tuple[Span | None, str], ...] = ((None, printable(one.note)),) if one.note else ()
    return _render(replace(found, severity=severity, notes=(*found.notes, *note)), root)


def summary(judged: Sequence[Judged]) -> str:
    """What all of it came to, in one line; empty for a single kernel, which has said so itself."""
    if len(judged) < 2:
        return ""
    outcomes = Counter(j.report.outcome for j in judged)
    severities = Counter(w.severity for j in judged for w in j.findings)
    said = [f"{outcomes[o]} {o}" for o in (PROVED, VIOLATED, UNKNOWN) if outcomes[o]]
    found = [f"{n} {s}{'s' if n > 1 and s != 'waived' else ''}" for s, n in sorted(severities.items())]
    return f"{len(judged)} kernels: {', '.join(said)}" + (f"; findings: {', '.join(found)}" if found else "")


def _render(diagnostic: Diagnostic, root: Path) -> str:
    """As `Diagnostic.render`, but a plan from elsewhere does not choose which files are read: an excerpt comes from
    regular files below `root` only."""
    span = diagnostic.span
    if span is None or _is_below(span, root):
        return diagnostic.render(root)
    place = replace(diagnostic, span=None)
    return f"{printable(str(span))}: {place.render(root)}"


def _is_below(span: Span, root: Path) -> bool:
    path = PurePosixPath(span.file)
    if path.is_absolute() or ".." in path.parts or span.line < 1 or not span.file.isprintable():
        return False
    try:
        return (root / path).resolve().is_relative_to(root.resolve()) and (root / path).is_file()
    except (OSError, ValueError):
        return False


def printable(message: str) -> str:
    """Names in a plan from elsewhere may hold what a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


def json_text(judged: Sequence[Judged], unreadable: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """The reports, why other files could not be read, and what there is to say of waivers, as one JSON document."""
    document = {
        "schema": SCHEMA,
        "oracle": VERSION,
        "plans": [_plan(j) for j in judged],
        "unreadable": [{"file": file, "reason": reason} for file, reason in unreadable.items()],
        "notes": list(notes),
    }
    return json.dumps(document, indent=2) + "\n"


def _plan(judged: Judged) -> dict[str, object]:
    report = judged.report
    return {
        "file": judged.file,
        "kernel": report.kernel,
        "variant": report.variant,
        "target": report.target,
        "arch": report.arch,
        "scope": report.scope,
        "outcome": report.outcome,
        "checks": dict(report.verdicts),
        "findings": [_finding(w) for w in judged.findings],
        "omitted": dict(report.omitted),
    }


def _finding(weighed: Weighed) -> dict[str, object]:
    finding, waiver = weighed.finding, weighed.waiver
    span = finding.span
    place = {"file": span.file, "line": span.line, "column": span.column + 1} if span else None
    return {
        "code": finding.code,
        "check": finding.check,
        "outcome": finding.outcome,
        "severity": weighed.severity,
        "message": finding.message,
        "kernel": finding.kernel,
        "place": place,
        "artifact_line": finding.artifact_line,
        "instructions": list(finding.instructions),
        "fix": finding.fix,
        "waiver": {"reason": waiver.reason, "expires": waiver.expires.isoformat()} if waiver else None,
    }
