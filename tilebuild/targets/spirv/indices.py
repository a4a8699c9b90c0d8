"""Integer expressions of a plan as 32-bit arithmetic.

Sums and products are right modulo 2**32 whatever their parts are, so an index is right when its final value is in
range, which the launcher sees to: no dimension, grid or array is larger than LARGEST elements. Where the true value of
a part matters (division, min, max, comparisons) it is proved to fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.plan.bounds import Range, nonnegative
from tilebuild.plan.expr import Call, Expr, Sym, const, emin
from tilebuild.plan.model import Plan
from tilebuild.targets.spirv.builder import Builder

LARGEST = 1 << 30  # of dimensions, grids and arrays in elements; the runtime's device checks each launch
_MIN, _MAX = -(1 << 31), (1 << 31) - 1


class Indices:
    """`symbols` maps a name to the id of its value. What was computed is remembered within its `scope`."""

    def __init__(self, builder: Builder, plan: Plan) -> None:
        self.b, self.plan = builder, plan
        self.symbols: dict[str, int] = {}
        self._scopes: list[dict[Expr, int]] = [{}]
        self._ranges = {s.name: _limited(s.kind, Range(s.lo, s.hi)) for s in plan.symbols}
        # the launcher bounds the whole grid, which no product of ranges shows
        self._in_grid = {
            s.name: Range(const(0), const(LARGEST - 1)) if s.kind == "program" else self._ranges[s.name]
            for s in plan.symbols
        }
        self._proved: set[Expr] = set()

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed inside is not there afterwards."""
        self._scopes.append({})
        yield
        self._scopes.pop()

    def value(self, e: Expr) -> int:
        """The expression modulo 2**32, as a signed number."""
        for known in self._scopes:
            if e in known:
                return known[e]
        result = self._sum(e)
        self._scopes[-1][e] = result
        return result

    def exact(self, e: Expr) -> int:
        """The expression's true value; raises `TilebuildError` E412 where it may not fit."""
        self._prove(e)
        return self.value(e)

    def _prove(self, e: Expr) -> None:
        if e in self._proved or e in self.plan.launch.grid:
            return
        for ranges in (self._ranges, self._in_grid):
            if nonnegative(e - _MIN, ranges) and nonnegative(_MAX - e, ranges):
                self._proved.add(e)
                return
        message = (
            f"{self.plan.kernel} computes {e}, which is not proved to fit into 32 bits where no dimension is larger "
            f"than {LARGEST}, and {self.plan.target}:{self.plan.arch} has 32-bit indices"
        )
        raise TilebuildError(Diagnostic("E412", message, fix="bound it with a fact: tb.require(M * N <= 2**30)"))

    def nonnegative(self, e: Expr) -> bool:
        return any(nonnegative(e, ranges) for ranges in (self._ranges, self._in_grid))

    def _sum(self, e: Expr) -> int:
        b, total = self.b, 0
        for monomial, coefficient in e.terms:
            factors = [self._atom(a) for a in monomial]
            negative = coefficient < 0 and bool(factors) and bool(total)
            scale = -coefficient if negative else coefficient
            if scale != 1 or not factors:
                factors.append(b.i(scale))
            product = factors[0]
            for f in factors[1:]:
                product = b.op("IMul", b.int_t(), product, f)
            total = b.op("ISub" if negative else "IAdd", b.int_t(), total, product) if total else product
        return total or b.i(0)

    def _atom(self, atom: Sym | Call) -> int:
        if isinstance(atom, Sym):
            return self.symbols[atom.name]
        b = self.b
        args = [self.exact(a) for a in atom.args]
        if atom.op in ("min", "max"):
            result = args[0]
            for a in args[1:]:
                result = b.extended("SMin" if atom.op == "min" else "SMax", b.int_t(), result, a)
            return result
        quotient = self._floor_division(atom, args)
        if atom.op == "//":
            return quotient
        return b.op("ISub", b.int_t(), args[0], b.op("IMul", b.int_t(), quotient, args[1]))

    def _floor_division(self, atom: Call, args: list[int]) -> int:
        b = self.b
        quotient = b.op("SDiv", b.int_t(), *args)
        if all(self.nonnegative(a) for a in atom.args):
            return quotient
        # towards zero so far: one less where it was not exact and the signs differ
        rest = b.op("ISub", b.int_t(), args[0], b.op("IMul", b.int_t(), quotient, args[1]))
        differ = b.op("SLessThan", b.bool_t(), b.op("BitwiseXor", b.int_t(), rest, args[1]), b.i(0))
        inexact = b.op("INotEqual", b.bool_t(), rest, b.i(0))
        down = b.op("LogicalAnd", b.bool_t(), differ, inexact)
        return b.op("Select", b.int_t(), down, b.op("ISub", b.int_t(), quotient, b.i(1)), quotient)


def _limited(kind: str, known: Range) -> Range:
    if kind != "dim":
        return known
    return Range(known.lo, const(LARGEST) if known.hi is None else emin(known.hi, LARGEST))
