"""Runs the checks over one plan. Nothing that a plan holds makes this raise."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from types import ModuleType

from tilebuild.oracle.checks import aliasing, capacity, dead_writes, linear_use, operands, sync
from tilebuild.oracle.context import Analysis, Context
from tilebuild.oracle.findings import UNKNOWN, Findings, Report
from tilebuild.oracle.program import prepare
from tilebuild.plan.model import Plan

_MODULES: tuple[ModuleType, ...] = (aliasing, capacity, linear_use, dead_writes, operands, sync)
CHECKS: tuple[str, ...] = tuple(module.NAME for module in _MODULES)


def judge(plan: Plan, severities: Mapping[str, str] | None = None) -> Report:
    """The verdict on a plan. A check whose severity is "off" does not run and has no verdict; severities do not
    change outcomes otherwise: what fails a build is the caller's decision."""
    # nothing here makes circles that would have to be collected, and looking for them takes a third of the time
    collects = gc.isenabled()
    gc.disable()
    try:
        return _judge(plan, severities)
    finally:
        if collects:
            gc.enable()


def _judge(plan: Plan, severities: Mapping[str, str] | None) -> Report:
    off = {name for name, severity in (severities or {}).items() if severity == "off"}
    structure = Findings("operands", plan.kernel)
    program = None
    try:
        program = prepare(plan, structure)
    except Exception as error:  # whatever is in a plan, the answer is a verdict
        _gave_up(structure, error)
    analysis = Analysis(program) if program is not None else None
    ran: list[Findings] = []
    for module in _MODULES:
        if module.NAME in off:
            continue
        findings = structure if module is operands else Findings(module.NAME, plan.kernel)
        ran.append(findings)
        if analysis is not None:
            try:
                module.run(Context(plan, analysis, findings))
            except Exception as error:
                _gave_up(findings, error)
        elif module is not operands:
            first = structure.listed[0]
            message = f"the check {module.NAME} did not run: the plan is broken ({first.code}: {first.message})"
            findings.add("O-NOT-RUN", UNKNOWN, message, span=first.span, fix=first.fix)
    return Report(
        plan.kernel,
        plan.variant,
        plan.target,
        plan.arch,
        {f.check: f.verdict for f in ran},
        tuple(finding for f in ran for finding in f.listed),
        {f.check: f.omitted for f in ran if f.omitted},
    )


def _gave_up(findings: Findings, error: Exception) -> None:
    message = f"the check {findings.check} gave up: {type(error).__name__}: {str(error)[:200]}"
    fix = "this is a fault of the oracle: report it with the plan"
    findings.add("O-INTERNAL", UNKNOWN, message, fix=fix)
