"""What the benchmarks share: interleaved timing, ratios with their spread, tables, and the record of results."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles

RESULTS = Path(__file__).with_name("RESULTS.md")


def interleaved(actions: Mapping[str, Callable[[], object]], rounds: int, inner: int = 1) -> dict[str, list[float]]:
    """Seconds of each action in each round; in a round all take their turn, so that a slow moment hits them alike."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for action in actions.values():
        action()
    for number in range(rounds):
        order = list(actions) if number % 2 else list(reversed(actions))
        for name in order:
            start = time.perf_counter()
            for _ in range(inner):
                actions[name]()
            times[name].append((time.perf_counter() - start) / inner)
    return times


@dataclass(frozen=True)
class Spread:
    """A median with the quartiles around it."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f}..{self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median(values), high)


def ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Of the two times in each round."""
    return spread([a / b for a, b in zip(numerator, denominator)])


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns line up in a terminal, too."""
    text = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in text]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def machine() -> str:
    """The processor, the date and the versions that the figures depend on; nothing that names the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        fields = dict(tuple(map(str.strip, line.split(":", 1))) for line in lines if ":" in line)
        number = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
        model = f"{fields.get('model name', model)} ({number})"
    versions = [f"Python {platform.python_version()}"]
    for name in ("tilebuild", "numpy", "torch", "scikit-build-core", "ninja"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return f"{date.today().isoformat()}, {model}, {', '.join(versions)}"


def publish(title: str, text: str, more: str, append: bool) -> None:
    """Print a table, and add it to RESULTS.md where asked."""
    entry = f"## {title}\n\n{machine()}{f', {more}' if more else ''}.\n\n{text}\n"
    print(entry)
    if append:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(f"\n{entry}")
        print(f"added to {RESULTS.name}", file=sys.stderr)
