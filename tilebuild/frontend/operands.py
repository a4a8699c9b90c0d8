"""What every part of a body's lowering shares: places, errors, and how a value becomes an operand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from xdsl.ir import SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.frontend.builder import Builder
from tilebuild.frontend.scope import Scope, Sources
from tilebuild.frontend.values import TileSpace, Value, show
from tilebuild.ir.dialect import ConstantOp, IndexOp, TileOp
from tilebuild.ir.infer import FLOATS, INTEGERS, RuleError
from tilebuild.ir.types import ViewType
from tilebuild.plan.bounds import at_most, largest
from tilebuild.plan.expr import Expr, ExprError, Predicate, const

# Integers over dimensions that become scalars of these dtypes: every integer in between is exact.
EXACT = {"f32": (-(1 << 24), 1 << 24), "i32": INTEGERS["i32"]}
_MOST_STEPS = 20_000  # the largest kernels of the corpus need hundreds


class OperandLowering:
    """State of one body: the builder, the names, the file they come from, and the helpers it is inlined through."""

    def __init__(
        self,
        builder: Builder,
        env: dict[str, Value],
        scope: Scope,
        library: Sources,
        *,
        call_site: Span | None = None,
        inlined: tuple[ast.FunctionDef, ...] = (),
    ) -> None:
        self.builder, self.env, self.scope, self.library = builder, env, scope, library
        self.call_site, self.inlined = call_site, inlined

    # -- places and errors ----------------------------------------------------------------------

    def fail(
        self, code: str, message: str, node: ast.AST, fix: str = "", notes: tuple[tuple[Span | None, str], ...] = ()
    ) -> TilebuildError:
        """An error at `node`; inside an inlined helper, at the call with a note on where in the helper."""
        span = self.scope.span(node)
        if self.call_site is not None:
            span, notes = self.call_site, ((span, "in the helper called here"), *notes)
        return TilebuildError(Diagnostic(code, message, span, notes, fix))

    def spend(self, node: ast.AST) -> None:
        """One more statement or call; unrolling and inlining multiply them."""
        self.builder.steps += 1
        if self.builder.steps > _MOST_STEPS:
            message = f"the kernel has more than {_MOST_STEPS} statements and calls after unrolling and inlining"
            raise self.fail("E119", message, node, "loop with tb.range, or unroll less")

    @contextmanager
    def at(self, node: ast.AST) -> Iterator[None]:
        """Operations built inside get this node's span (a helper's get that of its call)."""
        outer = self.builder.span
        self.builder.span = self.call_site or self.scope.span(node)
        try:
            yield
        finally:
            self.builder.span = outer

    @contextmanager
    def rules(self, node: ast.AST) -> Iterator[None]:
        """Type rules broken inside become errors at `node`."""
        try:
            yield
        except RuleError as e:
            raise self.fail(e.code, e.message, node, e.fix) from None
        except ExprError as e:
            raise self.fail("E210", str(e), node) from None

    # -- values ---------------------------------------------------------------------------------

    def built(self, op: TileOp) -> SSAValue:
        self.builder.add(op)
        return op.results[0]

    def number(self, value: float | int, node: ast.AST, dtype: str) -> SSAValue:
        """A literal as a scalar of `dtype`."""
        if dtype in FLOATS:
            return self.built(ConstantOp(float(value), dtype))
        low, high = INTEGERS[dtype]
        if isinstance(value, float):
            raise self.fail(
                "E202", f"the float {value} meets {dtype} values", node, "write an integer, or `.to(tb.f32)`"
            )
        if not low <= value <= high:
            raise self.fail(
                "E202", f"the integer {value} is no {dtype} ({low} to {high})", node, "convert with `.to(...)`"
            )
        return self.built(ConstantOp(int(value), dtype))

    def ssa(self, value: Value, node: ast.AST, dtype: str = "f32") -> SSAValue:
        """A value as an operand; numbers and integers become scalars of `dtype` where that is exact."""
        if isinstance(value, SSAValue):
            if isinstance(value.type, ViewType):
                raise self.fail("E205", f"{show(value)} is not a tile", node, "load a tile: x.tiles(BM, BN)[i, j]")
            return value
        if isinstance(value, (int, float)):
            return self.number(value, node, dtype)
        if isinstance(value, Expr):
            if dtype not in EXACT:
                raise self.fail("E202", f"{show(value)} meets {dtype} values", node, "convert them: `.to(tb.f32)`")
            low, high = EXACT[dtype]
            self.require_at_most(value, high, node, dtype)
            self.require_at_most(-value, -low, node, dtype)
            return self.built(IndexOp(value, dtype))
        fix = "load a tile: X[i, j]" if isinstance(value, TileSpace) else "tiles, scalars and numbers have values"
        raise self.fail("E205", f"{show(value)} is not a tile or a number", node, fix)

    def require_at_most(self, e: Expr, limit: int, node: ast.AST, dtype: str) -> None:
        """A fact of the contract where it is not proved."""
        if at_most(e, limit, self.builder.ranges):
            return
        widest = largest(e, self.builder.dims, self.builder.ranges)
        if widest is None:
            fix = f"bound it: tb.require(...) on dimensions, so that it is at most {limit}"
            raise self.fail("E210", f"the integer {e} is not proved to be exact as {dtype}", node, fix)
        self.builder.require(str(Predicate("<=", widest, const(limit))))
