"""Source spans on operations: `span = "line:column-line:column"`, in the file that the function names."""

from __future__ import annotations

from xdsl.dialects.builtin import StringAttr
from xdsl.ir import Operation

from tilebuild.diagnostics import Span
from tilebuild.ir.base import TileOp


def set_span(op: TileOp, span: Span) -> None:
    op.span = StringAttr(f"{span.line}:{span.column}-{span.end_line}:{span.end_column}")


def span_of(op: Operation, file: str) -> Span | None:
    """The span of an operation, or None where it has none (or one that is not a span)."""
    text = op.span.data if isinstance(op, TileOp) and isinstance(op.span, StringAttr) else ""
    try:
        (line, column), (end_line, end_column) = (map(int, p.split(":")) for p in text.split("-"))
    except ValueError:
        return None
    return Span(file, line, column, end_line, end_column)
