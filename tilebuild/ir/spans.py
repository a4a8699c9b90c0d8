"""Source spans on operations: `span = "line:column-line:column"`, in the file that the function names."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ArrayAttr, StringAttr
from xdsl.ir import Operation

from tilebuild.diagnostics import Span
from tilebuild.ir.base import TileOp
from tilebuild.ir.structure import FuncOp


def set_span(op: TileOp, span: Span) -> None:
    op.span = _attribute(span)


def set_parameter_spans(func: FuncOp, spans: Sequence[Span]) -> None:
    """Where the parameters are declared, in their order."""
    func.param_spans = ArrayAttr(map(_attribute, spans))


def parameter_span(func: FuncOp, name: str) -> Span:
    """Where a parameter is declared, or the start of the file where that is not known."""
    for parameter, span in zip(func.params, func.param_spans or ()):
        if parameter.data == name:
            return _span(span.data, func.file.data) or Span(func.file.data, 1)
    return Span(func.file.data, 1)


def _attribute(span: Span) -> StringAttr:
    return StringAttr(f"{span.line}:{span.column}-{span.end_line}:{span.end_column}")


def span_of(op: Operation, file: str) -> Span | None:
    """The span of an operation, or None where it has none (or one that is not a span)."""
    return _span(op.span.data, file) if isinstance(op, TileOp) and isinstance(op.span, StringAttr) else None


def _span(text: str, file: str) -> Span | None:
    try:
        (line, column), (end_line, end_column) = (map(int, p.split(":")) for p in text.split("-"))
    except ValueError:
        return None
    return Span(file, line, column, end_line, end_column)
