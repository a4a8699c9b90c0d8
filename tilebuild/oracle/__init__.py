"""The oracle: an independent judge of plans. It uses the plain data of `tilebuild.plan` and of the manifest and
nothing else of tilebuild, so that what it judges cannot have taught it its own mistakes.

`judge` gives a `Report`, `judge_ptx` those of the kernels of a PTX file, `judge_text` those of any text that it can
read; `diagnostics` turns one into messages, `verdict_entry` into what the manifest keeps.
"""

from __future__ import annotations

from tilebuild.oracle.artifact import judge_ptx
from tilebuild.oracle.facts import Facts
from tilebuild.oracle.final import judge_text
from tilebuild.oracle.findings import VERSION, Finding, Report, verdict_entry, worst
from tilebuild.oracle.judge import CHECKS, judge
from tilebuild.oracle.report import diagnostic, diagnostics, json_text, summary, text
from tilebuild.oracle.weighing import Judged, Policy, Waiver, Weighed, judged, stale

__all__ = [
    "CHECKS",
    "VERSION",
    "Facts",
    "Finding",
    "Judged",
    "Policy",
    "Report",
    "Waiver",
    "Weighed",
    "diagnostic",
    "diagnostics",
    "json_text",
    "judge",
    "judge_ptx",
    "judge_text",
    "judged",
    "stale",
    "summary",
    "text",
    "verdict_entry",
    "worst",
]
