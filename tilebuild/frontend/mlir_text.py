"""MLIR text to operations whose places are known: xDSL reads it, this says where each operation stood."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, UnregisteredOp
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.ir.dialect import Tile

# tile-rs labels the entry block of a function whose arguments the header names already, which MLIR does not allow
_ENTRY_LABEL = re.compile(r"(?<=\{)(\s*(?://[^\n]*\n\s*)*)(\^\w+:)")
# uses of locations defined at the end of the file, as `mlir-opt --mlir-print-debuginfo` prints them
_LOCATION_USE = re.compile(r"\bloc\(#\w+\)")
_SCAN = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"|//[^\n]*|(")|(?<![\w$.%@#!-])([su]?i[1-9]\d{3,})')
_CODE = re.compile(r"\[([EW]\d{3})\] (.*)", re.DOTALL)


@dataclass(frozen=True)
class Module:
    """What one file holds: its operations, outermost first, and where each one stands."""

    file: str
    text: str
    top: tuple[Operation, ...]
    places: dict[Operation, tuple[int, int]]

    def span(self, op: Operation, part: str = "") -> Span:
        """Where an operation stands on its first line; with `part`, where that text stands in it."""
        start, end = self.places[op]
        if op.regions:  # what is inside has places of its own
            end = self.text.find("({" if part else "(", start)
        found = re.search(rf"{re.escape(part)}(?!\w)", self.text[start:end]) if part else None
        if found:
            start, end = start + found.start(), start + found.end()
        return self.at(start, end)

    def argument(self, op: Operation, index: int) -> Span:
        """Where an operand stands in the operation's first list in parentheses."""
        start, end = self.places[op]
        opened = self.text.find("(", start, end)
        closed = self.text.find(")", opened, end)
        words = list(re.finditer(r"%[\w.$-]+(?:#\d+)?", self.text[opened:closed])) if opened >= 0 else []
        if index >= len(words):
            return self.span(op)
        return self.at(opened + words[index].start(), opened + words[index].end())

    def at(self, start: int, end: int) -> Span:
        return _span(self.file, self.text, start, end)


class _Parser(Parser):
    """Notes where operations stand: xDSL keeps no locations of its own."""

    def __init__(self, context: Context, text: str) -> None:
        super().__init__(context, text)
        self.text = text
        self.places: dict[Operation, tuple[int, int]] = {}

    @property
    def position(self) -> int:
        return self._current_token.span.start

    def parse_operation(self) -> Operation:
        start = self.position
        op = super().parse_operation()
        line = self.text[start : self.position].split("\n", 1)[0]
        code = re.sub(r'("(?:[^"\\]|\\.)*")|//.*', lambda m: m[1] or "", line)  # not what a string has after //
        self.places[op] = (start, start + len(code.rstrip()))
        return op


def parse(text: str, file: str) -> Module:
    """The operations of a file; raises `TilebuildError` E130, at its place, where it is not MLIR text."""
    context = Context(allow_unregistered=True)
    context.load_dialect(Builtin)
    context.load_dialect(Tile)
    if "llvm." in text:
        from xdsl.dialects.llvm import LLVM  # 0.1 s that a file of our own dialect does without

        context.load_dialect(LLVM)
    _require_readable(text, file)
    readable = _LOCATION_USE.sub(_blank, _ENTRY_LABEL.sub(_unlabelled, text))
    parser = None
    try:
        parser = _Parser(context, readable)  # reads the first token
        module = parser.parse_module()
    except ParseError as e:
        message = _first_line(e.msg)
        raise _error(message, _span(file, text, e.span.start, max(e.span.end, e.span.start + 1))) from None
    except RecursionError:
        raise _error("it is nested too deeply", Span(file, 1)) from None
    except Exception as e:  # a reader of text of any origin: what it did not expect is the text's fault, at its place
        code = _CODE.search(str(e))
        at = parser.position if parser else 0
        place = _span(file, text, at, at + 1)
        if code:
            raise TilebuildError(Diagnostic(code[1], code[2], place)) from None
        raise _error(_first_line(str(e) or type(e).__name__), place) from None
    top = tuple(module.body.block.ops)
    return Module(file, text, top, parser.places)


def _require_readable(text: str, file: str) -> None:
    """Refuses what xDSL, as of 0.74, takes exponential time or all memory for."""
    for found in _SCAN.finditer(text):
        if found[1] or found[2]:
            what = "a string that does not end" if found[1] else f"the type {found[2]} is wider than any number"
            raise _error(what, _span(file, text, found.start(), found.end()))


def word(op: Operation) -> str:
    """An operation's name, also of one that no known dialect has."""
    return op.op_name.data if isinstance(op, UnregisteredOp) else op.name


def check(module: Module, top: Operation) -> Iterator[Diagnostic]:
    """What the operations' own rules say of an operation and all inside it, each at its place."""
    for op in top.walk():
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as e:
            found = _CODE.search(str(e))
            code, message = (found[1], found[2]) if found else ("E130", f"{op.name}: {_first_line(str(e))}")
            yield Diagnostic(code, _first_line(message), module.span(op))


def _span(file: str, text: str, start: int, end: int) -> Span:
    """Positions in the text as a span of one line, with columns in UTF-8 bytes."""
    start = min(start, len(text))
    line = text.count("\n", 0, start) + 1
    begin = text.rfind("\n", 0, start) + 1
    stop = text.find("\n", start)
    end = min(end, len(text) if stop < 0 else stop)
    column = len(text[begin:start].encode())
    return Span(file, line, column, line, max(column + 1, len(text[begin:end].encode())))


def _error(message: str, span: Span) -> TilebuildError:
    return TilebuildError(Diagnostic("E130", f"not valid MLIR: {message}", span))


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), message)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _unlabelled(match: re.Match[str]) -> str:
    """The label of a block without arguments, blanked: places stay what they were."""
    return match[1] + " " * len(match[2])
