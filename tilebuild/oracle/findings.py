"""What a check says: findings with three-valued outcomes, gathered into the report of one plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tilebuild.diagnostics import Span
from tilebuild.manifest import VerdictEntry

VERSION = "0.1"

PROVED, UNKNOWN, VIOLATED = "proved", "unknown", "violated"
_RANK = {PROVED: 0, UNKNOWN: 1, VIOLATED: 2}

LISTED = 100  # findings of one check that a report lists; the rest are counted


def worst(outcomes: Iterable[str]) -> str:
    """The worst outcome; of none at all, `unknown`: what was not looked at is not fine."""
    return max(outcomes, key=_RANK.__getitem__, default=UNKNOWN)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong ("violated") or could not be proved ("unknown").

    `message` is one sentence with the numbers; `span` is the Python line, `artifact_line` the line of the judged
    text, where they are known; `instructions` are the ids of the plan's instructions that take part.
    """

    code: str
    check: str
    outcome: str
    message: str
    kernel: str
    span: Span | None = None
    artifact_line: int | None = None
    instructions: tuple[int, ...] = ()
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """The verdict on one plan: for each check that ran "proved", "violated" or "unknown".

    `omitted` counts, for each check, the findings beyond the first `LISTED`; `artifact` is what the judged text is
    called, where it is no plan.
    """

    kernel: str
    variant: str
    target: str
    arch: str
    verdicts: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    omitted: Mapping[str, int] = field(default_factory=dict)
    scope: str = "plan"
    artifact: str = ""

    @property
    def outcome(self) -> str:
        """The worst verdict; "unknown" where no check ran."""
        return worst(self.verdicts.values())

    @property
    def title(self) -> str:
        """Which plan this is, for people."""
        variant = f" [{self.variant}]" if self.variant else ""
        return f"{self.kernel}{variant} on {self.target}{f':{self.arch}' if self.arch else ''}"


def verdict_entry(report: Report) -> VerdictEntry:
    """The report as the manifest keeps it."""
    return {
        "outcome": report.outcome,
        "scope": report.scope,
        "oracle": VERSION,
        "checks": dict(report.verdicts),
        "findings": [f"{f.code}: {f.message}" for f in report.findings],
    }


class Findings:
    """Gathers the findings of one check; lists the first ones and counts the rest."""

    def __init__(self, check: str, kernel: str) -> None:
        self.check = check
        self.kernel = kernel
        self.listed: list[Finding] = []
        self.omitted = 0
        self.verdict = PROVED

    def add(
        self,
        code: str,
        outcome: str,
        message: str,
        *,
        span: Span | None = None,
        instructions: tuple[int, ...] = (),
        fix: str = "",
        artifact_line: int | None = None,
    ) -> None:
        """Record a finding; `outcome` is `VIOLATED` or `UNKNOWN`."""
        self.verdict = worst((self.verdict, outcome))
        if len(self.listed) == LISTED:
            self.omitted += 1
            return
        finding = Finding(code, self.check, outcome, message, self.kernel, span, artifact_line, instructions, fix)
        self.listed.append(finding)
