"""Expressions of a kernel's body: names, numbers, operators, attributes, loads."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from xdsl.ir import SSAValue

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError, did_you_mean
from tilebuild.frontend.builder import Builder
from tilebuild.frontend.library import MODULE
from tilebuild.frontend.scope import Constant, Dimension, Foreign, Function, Member, Module, Scope, Sources
from tilebuild.frontend.values import (
    Builtin,
    Condition,
    DType,
    Helper,
    Method,
    TileSpace,
    Value,
    is_integer,
    is_number,
    show,
)
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    BinaryOp,
    ConstantOp,
    IndexOp,
    LoadOp,
    TransposeOp,
    UnaryOp,
    ViewColumnOp,
    ViewIndexOp,
    ViewTransposeOp,
)
from tilebuild.ir.infer import RuleError, dtype_of
from tilebuild.ir.types import DTYPES, TileType, ViewType
from tilebuild.ir.verifier import simplify_valid
from tilebuild.optable import OPERATORS
from tilebuild.plan.bounds import Range, at_most, nonnegative
from tilebuild.plan.expr import Expr, ExprError, Predicate, const, sym

_PYTHON: Mapping[type[ast.operator], Callable[[object, object], object]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_INTEGER = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_PYTHON_COMPARE: Mapping[str, Callable[[object, object], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_VIEW_METHODS = ("tiles",)
_TILE_METHODS = ("max", "min", "sum", "fill", "to")
_EXACT_F32 = 1 << 24  # every integer up to this is a float32


class ExpressionLowering:
    """State of one body: the builder, the names, the file they come from."""

    def __init__(
        self, builder: Builder, env: dict[str, Value], scope: Scope, library: Sources, call_site: Span | None = None
    ) -> None:
        self.builder, self.env, self.scope, self.library, self.call_site = builder, env, scope, library, call_site

    # -- places and errors ----------------------------------------------------------------------

    def fail(self, code: str, message: str, node: ast.AST, fix: str = "") -> TilebuildError:
        """An error at `node`; inside an inlined helper, at the call with a note on where in the helper."""
        span = self.scope.span(node)
        if self.call_site is None:
            return TilebuildError(Diagnostic(code, message, span, fix=fix))
        return TilebuildError(Diagnostic(code, message, self.call_site, ((span, "in the helper called here"),), fix))

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

    def constant(self, value: float | int, dtype: str) -> SSAValue:
        op = ConstantOp(float(value) if dtype == "f32" else value, dtype)
        self.builder.add(op)
        return op.result

    def ssa(self, value: Value, node: ast.AST, dtype: str = "f32") -> SSAValue:
        """A value as an operand; numbers and integers become scalars of `dtype` where that is exact."""
        if isinstance(value, SSAValue):
            if isinstance(value.type, ViewType):
                raise self.fail("E205", f"{show(value)} is not a tile", node, "load a tile: x.tiles(BM, BN)[i, j]")
            return value
        if isinstance(value, bool) or (is_number(value) and (dtype == "f32" or isinstance(value, int))):
            return self.constant(value, dtype)  # type: ignore[arg-type]
        if isinstance(value, Expr) and dtype in ("f32", "i32"):
            if dtype == "f32":
                self.require_exact(value)
            op = IndexOp(value, dtype)
            self.builder.add(op)
            return op.result
        if is_number(value):
            raise self.fail("E202", f"the float {value} meets {dtype} values", node, f"write an integer, or `.to(tb.f32)`")
        raise self.fail("E205", f"{show(value)} is not a tile or a number", node)

    def require_exact(self, e: Expr) -> None:
        """An integer becomes a float32 exactly up to 2**24: a fact of the contract where it is not proved."""
        if at_most(e, _EXACT_F32, self.builder.ranges):
            return
        widest = e
        for name in reversed(list(self.builder.ranges)):
            known = self.builder.ranges[name]
            if name in widest.symbols and known.hi is not None and known.hi.symbols:
                widest = widest.substitute({name: known.hi})
        self.builder.require(str(Predicate("<=", widest, const(_EXACT_F32))))

    # -- expressions ----------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Value:
        handler = getattr(self, f"on_{type(node).__name__.lower()}", None)
        if handler is None:
            raise self.fail("E112", f"`{ast.unparse(node)}`: {type(node).__name__.lower()} has no meaning in a kernel", node)
        value: Value = handler(node)
        return value

    def on_constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, (int, float, bool, str)):
            return node.value
        raise self.fail("E112", f"the constant {node.value!r} has no meaning in a kernel", node)

    def on_tuple(self, node: ast.Tuple) -> Value:
        return tuple(self.expression(e) for e in node.elts)

    def on_name(self, node: ast.Name) -> Value:
        if node.id in self.env:
            return self.env[node.id]
        binding = self.scope.names.get(node.id)
        if isinstance(binding, Dimension):
            if binding.name not in self.builder.ranges:
                raise self.fail(
                    "E102", f"{node.id} is a dimension that no parameter of the kernel has", node,
                    "use it in a parameter's annotation: its value comes from the arrays",
                )  # fmt: skip
            known = self.builder.ranges[binding.name]
            return sym(binding.name) if known.lo != known.hi or known.lo is None else known.lo
        if isinstance(binding, Constant):
            return binding.value
        if isinstance(binding, Member):
            return self.member(binding.name, node)
        if isinstance(binding, Function) and binding.kind == "fn":
            return Helper(binding)
        if node.id in ("range", "min", "max", "abs") and binding is None:
            return Builtin(node.id)
        self.unknown_name(node, binding)

    def unknown_name(self, node: ast.Name, binding: object) -> None:
        if isinstance(binding, Module):
            raise self.fail("E101", f"{node.id} is the tilebuild module, not a value", node)
        if isinstance(binding, Foreign):
            raise self.fail(
                "E101", f"a kernel cannot use {node.id}: it is {binding.what}", node,
                "use parameters, locals, tb.*, tb.dims, literal constants and tb.fn helpers of this package",
            )  # fmt: skip
        if isinstance(binding, Function):
            raise self.fail("E101", f"{node.id} is a {binding.kind} function: a kernel calls only tb.fn helpers", node, "decorate it with @tb.fn")
        known = [*self.env, *self.scope.names]
        raise self.fail(
            "E101", f"{node.id} is not defined{did_you_mean(node.id, known)}", node,
            "a name assigned only inside a loop or branch does not exist after it" if not did_you_mean(node.id, known) else "",
        )  # fmt: skip

    def on_attribute(self, node: ast.Attribute) -> Value:
        if isinstance(node.value, ast.Name) and node.value.id not in self.env:
            if isinstance(self.scope.names.get(node.value.id), Module):
                return self.member(node.attr, node)
        value = self.expression(node.value)
        if isinstance(value, SSAValue):
            return self.attribute(value, node)
        raise self.fail("E115", f"{show(value)} has no attribute {node.attr}", node)

    def attribute(self, value: SSAValue, node: ast.Attribute) -> Value:
        is_view = isinstance(value.type, ViewType)
        with self.rules(node), self.at(node):
            if node.attr == "T" and is_view:
                return self.built(ViewTransposeOp(value))
            if node.attr == "T":
                return self.built(TransposeOp(value))
            if node.attr == "col" and is_view:
                return self.built(ViewColumnOp(value))
        methods = _VIEW_METHODS if is_view else _TILE_METHODS
        if node.attr in methods:
            return Method(value, node.attr)
        known = [*methods, "T", *(["col"] if is_view else [])]
        raise self.fail("E115", f"{show(value)} has no attribute {node.attr}{did_you_mean(node.attr, known)}", node, f"it has {', '.join(known)}")

    def built(self, op: object) -> SSAValue:
        self.builder.add(op)  # type: ignore[arg-type]
        return op.results[0]  # type: ignore[attr-defined,no-any-return]

    def member(self, name: str, node: ast.AST) -> Value:
        """Something of tilebuild: a dtype, a number, an operation, or a composite of the library."""
        if name in DTYPES:
            return DType(name)
        if name in ("inf", "nan"):
            return float(name)
        if name in self.builtins():
            return Builtin(name)
        composites = self.library.scope(MODULE).names
        found = composites.get(name)
        if isinstance(found, Function) and found.kind == "fn":
            return Helper(found)
        known = [*DTYPES, *self.builtins(), *(n for n, b in composites.items() if isinstance(b, Function))]
        raise self.fail("E101", f"tilebuild has no {name}{did_you_mean(name, known)}", node)

    def builtins(self) -> frozenset[str]:
        raise NotImplementedError  # given by the call lowering, which knows what can be called

    # -- operators ------------------------------------------------------------------------------

    def on_binop(self, node: ast.BinOp) -> Value:
        if isinstance(node.op, ast.MatMult):
            return self.matmul(self.expression(node.left), self.expression(node.right), node)
        return self.binary(type(node.op), self.expression(node.left), self.expression(node.right), node)

    def matmul(self, a: Value, b: Value, node: ast.AST) -> Value:
        raise NotImplementedError  # a call lowering: dot with a zero accumulator

    def binary(self, op: type[ast.operator], a: Value, b: Value, node: ast.AST) -> Value:
        with self.rules(node), self.at(node):
            if isinstance(a, SSAValue) or isinstance(b, SSAValue):
                return self.elementwise(op, a, b, node)
            if is_number(a) and is_number(b) and op in _PYTHON:
                try:
                    return _PYTHON[op](a, b)  # type: ignore[return-value]
                except (ArithmeticError, ValueError) as e:
                    raise self.fail("E210", f"`{ast.unparse(node)}`: {e}", node) from None
            if is_integer(a) and is_integer(b) and op in _INTEGER:
                return self.integer(op, Expr.of(a), Expr.of(b), node)  # type: ignore[arg-type]
            if isinstance(a, (Expr, int, float)) and isinstance(b, (Expr, int, float)) and op in (ast.Add, ast.Sub, ast.Mult, ast.Div):
                return self.built(BinaryOp(OPERATORS[op.__name__], self.ssa(a, node), self.ssa(b, node)))
        raise self.fail("E205", f"`{ast.unparse(node)}` is not defined for {show(a)} and {show(b)}", node)

    def integer(self, op: type[ast.operator], a: Expr, b: Expr, node: ast.AST) -> Value:
        if op in (ast.FloorDiv, ast.Mod) and not nonnegative(b - 1, self.builder.ranges):
            raise self.fail("E210", f"the divisor {b} is not proved positive", node, "divide by a dimension or a positive constant")
        result: Expr = _PYTHON[op](a, b)  # type: ignore[assignment]
        return result.value if result.is_const else result

    def elementwise(self, op: type[ast.operator], a: Value, b: Value, node: ast.AST) -> Value:
        name = OPERATORS.get(op.__name__)
        if name is None:
            raise self.fail("E204", f"`{ast.unparse(node)}`: {op.__name__} is not an operation on tiles", node, "tilebuild.optable lists the operations")
        left, right = self.pair(a, b, node)
        return self.built(BinaryOp(name, left, right))

    def pair(self, a: Value, b: Value, node: ast.AST) -> tuple[SSAValue, SSAValue]:
        """Two operands of one dtype: that of the one that already is a value."""
        if isinstance(a, SSAValue) and not isinstance(b, SSAValue):
            return self.ssa(a, node), self.ssa(b, node, dtype_of(a.type))
        if isinstance(b, SSAValue) and not isinstance(a, SSAValue):
            return self.ssa(a, node, dtype_of(b.type)), self.ssa(b, node)
        return self.ssa(a, node), self.ssa(b, node)

    def on_unaryop(self, node: ast.UnaryOp) -> Value:
        value = self.expression(node.operand)
        with self.rules(node), self.at(node):
            if isinstance(value, SSAValue) and type(node.op).__name__ in OPERATORS:
                return self.built(UnaryOp(OPERATORS[type(node.op).__name__], self.ssa(value, node)))
            if isinstance(node.op, ast.USub) and isinstance(value, (int, float, Expr)):
                return -value
            if isinstance(node.op, ast.UAdd) and isinstance(value, (int, float, Expr)):
                return value
            if isinstance(node.op, ast.Not) and isinstance(value, bool):
                return not value
        raise self.fail("E205", f"`{ast.unparse(node)}` is not defined for {show(value)}", node)

    def on_compare(self, node: ast.Compare) -> Value:
        operands = [self.expression(e) for e in (node.left, *node.comparators)]
        if any(isinstance(v, SSAValue) for v in operands):
            if len(node.ops) > 1:
                raise self.fail("E205", "tiles are compared two at a time", node, "(a < b) & (b < c)")
            return self.elementwise(type(node.ops[0]), operands[0], operands[1], node)  # type: ignore[arg-type]
        predicates = []
        for op, a, b in zip(node.ops, operands, operands[1:]):
            symbol = _COMPARE.get(type(op))
            if symbol is not None and is_number(a) and is_number(b):
                if not _PYTHON_COMPARE[symbol](a, b):
                    return False
            elif symbol is not None and is_integer(a) and is_integer(b):
                predicates.append(Predicate(symbol, Expr.of(a), Expr.of(b)))  # type: ignore[arg-type]
            else:
                raise self.fail("E205", f"`{ast.unparse(node)}` compares {show(a)} with {show(b)}", node)
        return Condition(tuple(predicates)) if predicates else True

    def on_boolop(self, node: ast.BoolOp) -> Value:
        values = [self.expression(v) for v in node.values]
        if all(isinstance(v, bool) for v in values):
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node.op, ast.And) and all(isinstance(v, (bool, Condition)) for v in values):
            if not all(v for v in values if isinstance(v, bool)):
                return False
            return Condition(tuple(p for v in values if isinstance(v, Condition) for p in v.predicates))
        raise self.fail("E205", f"`{ast.unparse(node)}` joins {', '.join(map(show, values))}", node, "on tiles: (a < b) & (c < d)")

    def on_ifexp(self, node: ast.IfExp) -> Value:
        test = self.expression(node.test)
        if not isinstance(test, (bool, int)):
            raise self.fail("E114", f"the condition `{ast.unparse(node.test)}` is not known while building", node.test, "tb.where(condition, a, b)")
        return self.expression(node.body if test else node.orelse)

    # -- loads ----------------------------------------------------------------------------------

    def on_subscript(self, node: ast.Subscript) -> Value:
        value = self.expression(node.value)
        if isinstance(value, TileSpace):
            with self.rules(node), self.at(node):
                start = self.start(value, node)
                result = infer.load(value.type, start, value.shape)
                return self.built(LoadOp(value.view, start, simplify_valid(result, self.builder.ranges)))
        if isinstance(value, SSAValue) and isinstance(value.type, ViewType):
            with self.rules(node), self.at(node):
                return self.built(ViewIndexOp(value, self.indices(node)))
        if isinstance(value, tuple):
            index = self.expression(node.slice)
            if isinstance(index, int) and -len(value) <= index < len(value):
                return value[index]  # type: ignore[no-any-return]
        fix = "x.tiles(BM, BN)[i, j]" if isinstance(value, SSAValue) else ""
        raise self.fail("E205", f"{show(value)} cannot be indexed", node, fix)

    def indices(self, node: ast.Subscript) -> list[Expr]:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        found = []
        for part in parts:
            value = self.expression(part)
            if not is_integer(value):
                raise self.fail("E211", f"an index is an integer over dimensions and ids, found {show(value)}", part)
            found.append(Expr.of(value))  # type: ignore[arg-type]
        return found

    def start(self, space: TileSpace, node: ast.Subscript) -> tuple[Expr, Expr]:
        """The first element (row, col) of the indexed tile."""
        indices = self.indices(node)
        if len(indices) != space.rank:
            raise self.fail("E211", f"{len(indices)} indices into a tile space of {space.rank}", node)
        row, col = indices if space.rank == 2 else (const(0), indices[0])
        return row * space.shape[0], col * space.shape[1]
