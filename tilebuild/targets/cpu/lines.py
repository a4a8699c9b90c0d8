"""C text under construction."""

from __future__ import annotations

from tilebuild.diagnostics import Span


class Lines:
    """Text under construction, with the span of each line."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.spans: list[Span | None] = []
        self.depth = 0

    def add(self, line: str, span: Span | None = None) -> None:
        self.text.append(f"{'    ' * self.depth}{line}" if line else "")
        self.spans.append(span)

    def open(self, line: str, span: Span | None = None) -> None:
        self.add(line, span)
        self.depth += 1

    def close(self, line: str = "}") -> None:
        self.depth -= 1
        self.add(line)
