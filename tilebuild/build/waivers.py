"""Waivers and severities of single kernels, as `[tool.tilebuild.oracle]` has them and as the oracle takes them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tilebuild.diagnostics import did_you_mean
from tilebuild.schema import KeyPath, Problem, keys

if TYPE_CHECKING:
    from tilebuild import oracle
    from tilebuild.build.config import OracleConfig


@dataclass(frozen=True)
class Day:
    """A day, written YYYY-MM-DD."""

    PATTERN: ClassVar[str] = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
    date: datetime.date

    def __str__(self) -> str:
        return self.date.isoformat()

    @classmethod
    def parse(cls, text: str) -> Day:
        """Raises `ValueError` with a sentence and a fix."""
        try:
            return cls(datetime.datetime.strptime(text, "%Y-%m-%d").date())
        except ValueError:
            raise ValueError(f'"{text}" is not a day', 'write it as "2027-01-31"') from None


@dataclass(frozen=True)
class WaiverConfig:
    """A finding that is known and borne for a while: it does not fail a build, stays in the verdict, and is printed.
    An expired waiver counts for nothing, and one that nothing was found for is reported."""

    finding: str
    """The code of the finding, such as "O-ALIAS-01"."""
    reason: str
    """Why it may be borne."""
    expires: Day
    """The last day on which it counts, such as 2027-01-31 (in UTC; SOURCE_DATE_EPOCH takes the place of today)."""
    kernel: str = "*"
    """The kernels that it speaks of: a name, or a pattern with `*` and `?`."""


def policy(config: OracleConfig, today: datetime.date) -> oracle.Policy:
    """What the configuration makes of findings on a day."""
    from tilebuild import oracle  # a build with nothing to do does not need it

    checks = {key.name: getattr(config, key.field) for key in keys(type(config)).values() if key.field not in _TABLES}
    waivers = tuple(oracle.Waiver(w.finding, w.reason, w.expires.date, w.kernel) for w in config.waivers)
    return oracle.Policy({k: v for k, v in checks.items() if v is not None}, config.kernel, waivers, today)


_TABLES = ("kernel", "waivers")


def in_force(config: OracleConfig, today: datetime.date) -> list[bool]:
    """Which waivers count on a day: a build's result depends on it."""
    return [today <= waiver.expires.date for waiver in config.waivers]


def today(environ: Mapping[str, str] | None = None) -> datetime.date:
    """The day, in UTC, on which waivers are weighed: that of SOURCE_DATE_EPOCH where it is set, so that a build that
    is repeated gives what it gave."""
    epoch = (os.environ if environ is None else environ).get("SOURCE_DATE_EPOCH", "")
    now = datetime.datetime.now(datetime.timezone.utc)
    if epoch.isdecimal():
        now = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
    return now.date()


def as_text(table: Any) -> None:
    """Turns dates, which TOML has as such, into the text that they are read from; in place."""
    waivers = table.get("waivers") if isinstance(table, dict) else None
    for waiver in waivers if isinstance(waivers, list) else ():
        if isinstance(waiver, dict) and type(waiver.get("expires")) is datetime.date:
            waiver["expires"] = waiver["expires"].isoformat()


def problems(table: Any, checks: tuple[str, ...]) -> Iterator[Problem]:
    """What the types do not say of the table `[tool.tilebuild.oracle]`."""
    if not isinstance(table, dict):
        return
    path: KeyPath = ("oracle",)
    kernels = table.get("kernel")
    for name, severities in kernels.items() if isinstance(kernels, Mapping) else ():
        for check in severities if isinstance(severities, Mapping) else ():
            if check not in checks:
                message = f"unknown key{did_you_mean(check, checks)}"
                yield Problem("key", (*path, "kernel", name, check), message, f"the keys here are {', '.join(checks)}")
    waivers = table.get("waivers")
    for n, waiver in enumerate(waivers if isinstance(waivers, (list, tuple)) else ()):
        for key, what in (("reason", "say why the finding may be borne"), ("finding", "name a code: O-ALIAS-01")):
            value = waiver.get(key) if isinstance(waiver, Mapping) else None
            if isinstance(value, str) and not value.strip():
                yield Problem("value", (*path, "waivers", n, key), "is empty", what)
        code = waiver.get("finding") if isinstance(waiver, Mapping) else None
        if isinstance(code, str) and code.strip() and not code.startswith("O-"):
            message = f'"{code}" is no code of a finding'
            yield Problem("value", (*path, "waivers", n, "finding"), message, 'codes begin with "O-", as O-ALIAS-01')
