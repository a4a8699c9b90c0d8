"""Plants every fault everywhere, and says what became of the mutants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tilebuild.oracle.findings import PROVED, UNKNOWN, VIOLATED
from tilebuild.oracle.judge import judge
from tilebuild.oracle.mutate.faults import FAULTS, Fault
from tilebuild.plan.model import Plan

# What became of a mutant: the named check says violated; only other checks do; nothing is violated and something is
# unknown. All is proved, and randomised runs do what the original does; do something else, in the way that the mutant
# says, so that no promise of the oracle is broken (it does not know the kernel); do not do what the mutant says: the
# oracle is wrong. All is proved and nobody ran it.
CAUGHT, BY_OTHERS, OPEN, SAME, OTHER, WRONG, NOT_RUN = (
    "caught", "by other checks", "unknown", "the same", "another program", "MISSED", "not run",
)  # fmt: skip
FATES = (CAUGHT, BY_OTHERS, OPEN, SAME, OTHER, WRONG, NOT_RUN)
_RAN = {"same": SAME, "other": OTHER, "wrong": WRONG}

# What running an original and its mutant tells: "same", "other" or "wrong", as above
Execute = Callable[[Plan, Plan], str]


@dataclass
class Row:
    """What became of the mutants of one class; `notable` lists those that were proved."""

    fault: Fault
    fates: Counter[str] = field(default_factory=Counter)
    notable: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.fates.values())


def self_test(
    plans: Iterable[Plan], execute: Execute | None = None, faults: Sequence[Fault] = FAULTS
) -> tuple[list[Row], list[str]]:
    """A row for each class of faults, and the plans that are not proved as they are: they are left out, since nothing
    follows from breaking what is not known to be right."""
    rows = [Row(fault) for fault in faults]
    unfit = []
    for plan in plans:
        name = f"{plan.kernel} [{plan.variant}] on {plan.target}:{plan.arch}"
        if judge(plan).outcome != PROVED:
            unfit.append(name)
            continue
        for row in rows:
            for place, mutant in row.fault.plant(plan):
                fate = _fate(row.fault, plan, mutant, execute)
                row.fates[fate] += 1
                if fate in (SAME, OTHER, WRONG, NOT_RUN):
                    row.notable.append(f"{name}: {row.fault.name} at {place}: {fate}")
    return rows, unfit


def _fate(fault: Fault, plan: Plan, mutant: Plan, execute: Execute | None) -> str:
    verdicts = judge(mutant).verdicts
    if verdicts[fault.check] == VIOLATED:
        return CAUGHT
    if VIOLATED in verdicts.values():
        return BY_OTHERS
    if UNKNOWN in verdicts.values():
        return OPEN
    return _RAN[execute(plan, mutant)] if execute is not None else NOT_RUN


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: a line a class, with the share of each fate in the last line."""
    total: Counter[str] = sum((row.fates for row in rows), Counter())
    fates = [fate for fate in FATES if total[fate] or fate in (CAUGHT, WRONG)]
    yield f"| fault | check | mutants | {' | '.join(fates)} |"
    yield f"|---|---|{'---:|' * (len(fates) + 1)}"
    for row in rows:
        counts = " | ".join(str(row.fates[fate]) for fate in fates)
        yield f"| {row.fault.name}: {row.fault.summary} | `{row.fault.check}` | {row.total} | {counts} |"
    count = sum(total.values())
    shares = " | ".join(f"{total[fate]} ({_percent(total[fate], count)})" for fate in fates)
    yield f"| all | | {count} | {shares} |"


def _percent(part: int, whole: int) -> str:
    """With one decimal, never rounded to all or nothing where it is neither."""
    share = 100 * part / max(1, whole)
    return f"{min(max(share, 0.1), 99.9) if 0 < part < whole else share:.1f} %"
