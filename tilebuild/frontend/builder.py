"""Where lowered operations go: the current block, the span of what is being lowered, the symbols in scope."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager

from xdsl.ir import Block, Operation, SSAValue

from tilebuild.diagnostics import Span
from tilebuild.ir.dialect import TileOp
from tilebuild.ir.spans import set_span, span_of
from tilebuild.plan.bounds import Range


class Builder:
    """`ranges` are the symbols in scope with what is known of them, `dims` those of them that a launch knows;
    `requires` are the launch contract's facts; `top` is the kernel's own block; `steps` counts what was lowered."""

    def __init__(
        self, block: Block, file: str, dims: Sequence[str], ranges: MutableMapping[str, Range], requires: list[str]
    ) -> None:
        self.block = self.top = block
        self.file, self.dims, self.ranges, self.requires = file, dims, ranges, requires
        self.span: Span | None = None
        self.steps = 0
        self._used = set(ranges)

    def add(self, op: Operation) -> None:
        if self.span is not None and isinstance(op, TileOp):
            set_span(op, self.span)
        self.block.add_op(op)

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        outer, self.block = self.block, block
        try:
            yield
        finally:
            self.block = outer

    def fresh_symbol(self, name: str, known: Range) -> str:
        """Declare an id; a name that was used before gets a number."""
        unique, n = name, 1
        while unique in self._used:
            unique, n = f"{name}_{n}", n + 1
        self._used.add(unique)
        self.ranges[unique] = known
        return unique

    def end_symbol(self, name: str) -> None:
        """End an id's scope; its name stays taken, so that every id of a kernel has one meaning."""
        del self.ranges[name]

    def used_symbols(self) -> frozenset[str]:
        return frozenset(self._used)

    def restore_symbols(self, used: frozenset[str]) -> None:
        """Give the names back that were declared since: what used them was discarded."""
        self._used = set(used)

    def require(self, fact: str) -> None:
        if fact not in self.requires:
            self.requires.append(fact)

    def span_of(self, value: SSAValue) -> Span | None:
        owner = value.owner
        return span_of(owner, self.file) if isinstance(owner, Operation) else None
