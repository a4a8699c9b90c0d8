"""What findings do: severities by check and kernel, and waivers. Verdicts stay what they are: a finding that is waived
is still true, and it does not fail a build until its waiver ends."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tilebuild.oracle.findings import UNKNOWN, Finding, Report
from tilebuild.plan.model import Plan

ERROR, WARNING, WAIVED = "error", "warning", "waived"
DEFAULT = "default"
_SEVERITIES = {"error": ERROR, "warn": WARNING, "off": WARNING}


@dataclass(frozen=True)
class Waiver:
    """The findings with the code `finding`, of kernels whose name matches `kernel` (a shell pattern), are known and
    borne for `reason`, up to and including the day `expires`."""

    finding: str
    reason: str
    expires: datetime.date
    kernel: str = "*"

    def covers(self, finding: Finding, kernel: str) -> bool:
        """Whether it speaks of this finding, be it in force or not."""
        return self.finding == finding.code and fnmatchcase(kernel, self.kernel)

    def __str__(self) -> str:
        of = "" if self.kernel == "*" else f" of {self.kernel}"
        return f'the waiver of {self.finding}{of} ("{self.reason}", until {self.expires})'


@dataclass(frozen=True)
class Policy:
    """Severities "error", "warn" and "off" by check, for all kernels and for those whose name matches a pattern; the
    key "default" stands for every check that is not named. `today` decides which waivers are in force."""

    severities: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    waivers: tuple[Waiver, ...] = ()
    today: datetime.date = datetime.date.min

    def severity(self, check: str, kernel: str) -> str:
        """The most specific one: of the kernel before all kernels, of the check before the default; "error" where
        nothing is said."""
        tables = [table for pattern, table in self.kernels.items() if fnmatchcase(kernel, pattern)]
        for table in (*tables, self.severities):
            for name in (check, DEFAULT):
                if name in table:
                    return table[name]
        return "error"

    def of(self, checks: Iterable[str], kernel: str) -> dict[str, str]:
        """The severities of these checks for a kernel, as `judge` takes them."""
        return {check: self.severity(check, kernel) for check in checks}

    def in_force(self, waiver: Waiver) -> bool:
        return self.today <= waiver.expires

    def weigh(self, finding: Finding, kernel: str, *, lenient: bool = False) -> Weighed:
        """What a finding does. `lenient`: what could not be proved is a warning at most, as of a file of which nobody
        promised that it can be."""
        spoken = [w for w in self.waivers if w.covers(finding, kernel)]
        waiver = next((w for w in spoken if self.in_force(w)), spoken[0] if spoken else None)
        severity = _SEVERITIES[self.severity(finding.check, kernel)]
        if lenient and finding.outcome == UNKNOWN:
            severity = WARNING
        if waiver is not None and self.in_force(waiver):
            severity = WAIVED
        return Weighed(finding, severity, waiver)


@dataclass(frozen=True)
class Weighed:
    """A finding with what it does: "error", "warning", or "waived"; `waiver` speaks of it, but is over unless the
    severity is "waived"."""

    finding: Finding
    severity: str
    waiver: Waiver | None = None

    @property
    def note(self) -> str:
        """What to say of the waiver; empty where there is none."""
        if self.waiver is None:
            return ""
        w = self.waiver
        return f"waived until {w.expires}: {w.reason}" if self.severity == WAIVED else f"{w} has expired"


@dataclass(frozen=True)
class Judged:
    """The report on one kernel of a file, weighed; with its plan, where it was read as one. `unlisted` says that the
    report counts errors that it does not list."""

    file: str
    report: Report
    findings: tuple[Weighed, ...]
    plan: Plan | None = None
    unlisted: bool = False

    @property
    def fails(self) -> bool:
        """Whether anything in it is an error; a report without a verdict is one."""
        return self.unlisted or any(w.severity == ERROR for w in self.findings) or not self.report.verdicts


def judged(
    file: str, report: Report, policy: Policy, plan: Plan | None = None, *, kernel: str = "", lenient: bool = False
) -> Judged:
    """The report with every finding weighed; `kernel` is the name that the policy knows the kernel by, where that is
    not the report's. What a report does not list cannot be waived."""
    name = kernel or report.kernel
    found = tuple(policy.weigh(f, name, lenient=lenient) for f in report.findings)
    unlisted = any(
        policy.severity(check, name) == "error" and not (lenient and report.verdicts[check] == UNKNOWN)
        for check, count in report.omitted.items()
        if count
    )
    return Judged(file, report, found, plan, unlisted)


def stale(policy: Policy, used: Collection[Waiver]) -> Iterator[tuple[Waiver, str]]:
    """The waivers that are to be removed or renewed, each with why: they have expired, or speak of no finding; `used`
    are those that some finding names."""
    for waiver in policy.waivers:
        if not policy.in_force(waiver):
            yield waiver, f"expired on {waiver.expires}"
        elif waiver not in used:
            yield waiver, "is not used: nothing was found that it speaks of"
