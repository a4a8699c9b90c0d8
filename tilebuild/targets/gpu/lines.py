"""CUDA C++ text under construction, with the Python line that each line comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tilebuild.diagnostics import Span


class Lines:
    """`text` and `spans` have one entry a line."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.spans: list[Span | None] = []
        self._depth = 0

    def add(self, line: str, span: Span | None = None) -> None:
        self.text.append(f"{'    ' * self._depth}{line}" if line else "")
        self.spans.append(span)

    @contextmanager
    def block(self, head: str, span: Span | None = None) -> Iterator[None]:
        """A block in braces; an empty head opens a plain one."""
        self.add(f"{head} {{".lstrip(), span)
        self._depth += 1
        yield
        self._depth -= 1
        self.add("}")

    @contextmanager
    def unrolled(self, var: str, count: int, step: int = 1) -> Iterator[str]:
        """The body for `var` = 0, step, ... below `count`; yields what stands for it, "0" where that is all."""
        if count <= step:
            yield "0"
            return
        self.text.append("#pragma unroll")
        self.spans.append(None)
        advance = f"{var}++" if step == 1 else f"{var} += {step}"
        with self.block(f"for (int {var} = 0; {var} < {count}; {advance})"):
            yield var
