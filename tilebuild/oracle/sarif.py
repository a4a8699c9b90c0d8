"""Reports as SARIF 2.1.0, which code hosts show beside the lines of a pull request.

Names and required properties are those of the OASIS standard "Static Analysis Results Interchange Format (SARIF)
Version 2.1.0", sections 3.13 (sarifLog) to 3.49 (reportingDescriptor). One run; a finding is a result, its code the
rule, a waiver a suppression. Paths are relative to the working directory, lines and columns count from 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from urllib.parse import quote

from tilebuild.diagnostics import Span
from tilebuild.oracle.findings import UNKNOWN, VERSION, Finding
from tilebuild.oracle.weighing import ERROR, WAIVED, Judged, Weighed

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_text(judged: Sequence[Judged], unreadable: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """The SARIF log. A result of kind "fail" is violated or fails all the same, one of kind "review" could not be
    proved and is not held against anybody; a kernel without a finding has no result. Files that could not be read,
    and notes on waivers, are notifications of the run."""
    found = [(j, w) for j in judged for w in j.findings]
    rules = sorted({(w.finding.code, w.finding.check) for _, w in found})
    index = {code: n for n, (code, _) in enumerate(rules)}
    notifications = [
        {"level": "error", "message": {"text": f"{file}: cannot be judged: {reason}"}}
        for file, reason in unreadable.items()
    ]
    notifications += [{"level": "warning", "message": {"text": note}} for note in notes]
    run = {
        "tool": {
            "driver": {
                "name": "tilebuild check",
                "semanticVersion": _semantic(VERSION),
                "rules": [_rule(code, check) for code, check in rules],
            }
        },
        "invocations": [
            {"executionSuccessful": not unreadable, "toolExecutionNotifications": notifications},
        ],
        "columnKind": "unicodeCodePoints",
        "results": [_result(j, w, index[w.finding.code]) for j, w in found],
        "properties": {"verdicts": [_verdict(j) for j in judged]},
    }
    return json.dumps({"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _semantic(version: str) -> str:
    return ".".join([*version.split("."), "0", "0"][:3])


def _rule(code: str, check: str) -> dict[str, object]:
    return {"id": code, "name": code.replace("-", ""), "properties": {"check": check}}


def _verdict(judged: Judged) -> dict[str, object]:
    report = judged.report
    return {
        "file": judged.file,
        "kernel": report.title,
        "scope": report.scope,
        "outcome": report.outcome,
        "checks": dict(report.verdicts),
        "findingsNotListed": dict(report.omitted),
    }


def _result(judged: Judged, weighed: Weighed, rule: int) -> dict[str, object]:
    finding, title = weighed.finding, judged.report.title
    said = f"kernel {title}: {finding.message}" + (f". Fix: {finding.fix}" if finding.fix else "")
    places = list(_places(judged.file, finding))
    result: dict[str, object] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "kind": "fail",
        "level": "error" if weighed.severity == ERROR else "warning",
        "message": {"text": said},
        "locations": places[:1],
        "partialFingerprints": {"tilebuild/v1": _fingerprint(judged, finding)},
        "properties": {
            "check": finding.check,
            "outcome": finding.outcome,
            "severity": weighed.severity,
            "instructions": list(finding.instructions),
        },
    }
    if finding.outcome == UNKNOWN and weighed.severity != ERROR:
        result |= {"kind": "review", "level": "none"}  # 3.27.10: other levels are for results of kind "fail" only
    if places[1:]:
        result["relatedLocations"] = places[1:]
    if weighed.severity == WAIVED and weighed.waiver is not None:
        why = f"{weighed.waiver.reason} (until {weighed.waiver.expires})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return result


def _fingerprint(judged: Judged, finding: Finding) -> str:
    """The same for one finding in a later run: line numbers and instructions may change."""
    where = finding.span.file if finding.span else judged.file
    parts = (finding.code, judged.report.kernel, judged.report.target, where, re.sub(r"\d+", "#", finding.message))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _places(file: str, finding: Finding) -> Iterable[dict[str, object]]:
    """The Python line first, where it is known: that is what a pull request shows."""
    if finding.span is not None and finding.span.line >= 1:
        yield _place(finding.span.file, _region(finding.span))
    artifact = file.partition(": ")[0] if not file.endswith((".ptx", ".pto")) else file
    yield _place(artifact, {"startLine": finding.artifact_line} if finding.artifact_line else None)


def _region(span: Span) -> dict[str, object]:
    region: dict[str, object] = {"startLine": span.line, "startColumn": max(0, span.column) + 1}
    if span.end_line >= span.line:
        region |= {"endLine": span.end_line, "endColumn": max(0, span.end_column) + 1}
    return region


def _place(file: str, region: Mapping[str, object] | None) -> dict[str, object]:
    path = PurePath(file)
    artifact: dict[str, object] = {"uri": quote(path.as_posix())}
    if path.is_absolute():
        relative = os.path.relpath(path)
        inside = not relative.startswith(os.pardir)
        artifact = {"uri": quote(PurePath(relative).as_posix())} if inside else {"uri": path.as_uri()}
    physical: dict[str, object] = {"artifactLocation": artifact}
    if region:
        physical["region"] = region
    return {"physicalLocation": physical}
