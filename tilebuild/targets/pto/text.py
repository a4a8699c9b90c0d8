"""PTO-MLIR text under construction: lines with spans, nested scopes, and SSA names for index expressions."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.plan.bounds import Ranges, nonnegative
from tilebuild.plan.expr import Atom, Expr, Sym

_BINARY = {"//": "arith.divsi", "%": "arith.remsi", "min": "arith.minsi", "max": "arith.maxsi"}
_LARGEST = (2 - 2**-23) * 2.0**127  # of float32


class Text:
    """One function's body. Values are reused inside the scope that computes them; constants stand at its top."""

    def __init__(self, ranges: Ranges) -> None:
        self.lines: list[tuple[str, Span | None]] = []
        self.constants: dict[str, str] = {}  # the line that defines a constant -> its name
        self.known: list[dict[object, str]] = [{}]
        self.ranges = ranges
        self.depth = 2
        self.count = 0

    def add(self, line: str, span: Span | None = None) -> None:
        self.lines.append((f"{'  ' * self.depth}{line}", span))

    @contextmanager
    def block(self, head: str, span: Span | None = None, tail: str = "}") -> Iterator[None]:
        """A region: what is computed in it is not known after it."""
        self.add(f"{head} {{", span)
        self.depth += 1
        self.known.append({})
        yield
        self.known.pop()
        self.depth -= 1
        self.add(tail, span)

    def name(self, key: object) -> str | None:
        """The SSA value that holds `key` here, or None."""
        return next((scope[key] for scope in reversed(self.known) if key in scope), None)

    def bind(self, key: object, value: str) -> str:
        self.known[-1][key] = value
        return value

    def fresh(self) -> str:
        self.count += 1
        return f"%{self.count}"

    def value(self, key: object, line: str, span: Span | None) -> str:
        """The value of an operation, computed once a scope."""
        found = self.name(key)
        if found is None:
            found = self.bind(key, self.fresh())
            self.add(f"{found} = {line}", span)
        return found

    # -- constants ------------------------------------------------------------------------------

    def constant(self, name: str, value: str, kind: str) -> str:
        return self.constants.setdefault(f"arith.constant {value} : {kind}", name)

    def integer(self, value: int, kind: str = "index") -> str:
        prefix = {"index": "c", "i64": "a", "i32": "i"}[kind]
        return self.constant(f"%{prefix}{'m' if value < 0 else ''}{abs(value)}", str(value), kind)

    def literal(self, text: str, dtype: str, span: Span | None = None) -> str:
        """A number's text as a scalar of the dtype."""
        if dtype == "i32":
            return self.integer(int(text), "i32")
        value = float32(float(text))
        if not math.isfinite(value):
            return self.limitless(value, dtype, span)
        return self.constants.setdefault(f"arith.constant {value:.9e} : {dtype}", f"%f{len(self.constants)}")

    def limitless(self, value: float, dtype: str, span: Span | None) -> str:
        """An infinity or NaN, computed: ptoas 0.27 writes the constant, and what folds to it, as `Inf.0f`, no C++.

        Twice or more the largest float is infinite, and the number of cores is what it cannot fold.
        """
        one = self.integer(1)
        more = self.binary("arith.addi", "%block.num", one, span)
        factor = self.value(("i32", more), f"arith.index_cast {more} : index to i32", span)
        factor = self.value(("f32", more), f"arith.sitofp {factor} : i32 to f32", span)
        largest = self.literal(str(math.copysign(_LARGEST, value)), "f32")
        found = self.value(("mulf", largest, factor), f"arith.mulf {factor}, {largest} : f32", span)
        if math.isnan(value):
            zero = self.literal("0.0", "f32")
            found = self.value(("mulf", found, zero), f"arith.mulf {found}, {zero} : f32", span)
        if dtype != "f32":
            found = self.value((dtype, found), f"arith.truncf {found} : f32 to {dtype}", span)
        return found

    # -- index arithmetic -----------------------------------------------------------------------

    def index(self, e: Expr, span: Span | None) -> str:
        """An SSA value of type index that holds an expression."""
        if e.is_const:
            return self.integer(e.value)
        found = self.name(e)
        if found is not None:
            return found
        total = ""
        for monomial, coefficient in sorted(e.terms, key=lambda t: t[1] < 0):
            size = abs(coefficient)
            factors = [self.atom(a, span) for a in monomial]
            if size != 1 or not factors:
                factors.append(self.integer(size))
            product = factors[0]
            for factor in factors[1:]:
                product = self.binary("arith.muli", product, factor, span)
            if not total and coefficient < 0:
                total = self.integer(0)
            if not total:
                total = product
            else:
                total = self.binary("arith.subi" if coefficient < 0 else "arith.addi", total, product, span)
        return self.bind(e, total)

    def atom(self, atom: Atom, span: Span | None) -> str:
        if isinstance(atom, Sym):
            found = self.name(atom.name)
            assert found is not None, f"{atom.name} is not computed here"
            return found
        if atom.op in ("//", "%") and not all(nonnegative(a, self.ranges) for a in atom.args):
            # the dialect's division truncates; for what is not negative that is the same
            message = f"the pto target divides only what is proved not to be negative: {atom}"
            raise TilebuildError(Diagnostic("E402", message, span))
        first, *rest = [self.index(a, span) for a in atom.args]
        for operand in rest:
            first = self.binary(_BINARY[atom.op], first, operand, span)
        if atom.op in ("//", "%") and any(_is_call(a) for a in atom.args):
            first = self.pinned(first, 0, span)
        return first

    def pinned(self, value: str, least: int, span: Span | None) -> str:
        """The same number, which is at least `least`, computed in a statement of its own.

        ptoas 0.27 puts a value that is used once into the expression that uses it and forgets parentheses two levels
        down: (unsigned)(a / (b / c)) becomes (unsigned)(a / b / c), and (float)(int)(a - b) converts an unsigned
        difference. A maximum uses its operand twice, so that it gets a variable.
        """
        return self.binary("arith.maxsi", value, self.integer(least), span)

    def binary(self, op: str, a: str, b: str, span: Span | None) -> str:
        return self.value((op, a, b), f"{op} {a}, {b} : index", span)


def _is_call(e: Expr) -> bool:
    """True for a quotient, remainder, minimum or maximum by itself."""
    (monomial, coefficient), *more = e.terms or [((), 0)]
    return not more and coefficient == 1 and len(monomial) == 1 and not isinstance(monomial[0], Sym)


def float32(value: float) -> float:
    """The nearest float32, infinite beyond the largest."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded
