"""Calls in a kernel's body: the constructs of the language, operations, methods, and helpers, which are inlined."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from xdsl.ir import SSAValue

from tilebuild.diagnostics import did_you_mean
from tilebuild.frontend.expressions import ExpressionLowering
from tilebuild.frontend.values import (
    Builtin,
    Condition,
    DType,
    Helper,
    Iteration,
    Method,
    TileSpace,
    Value,
    is_integer,
    show,
)
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    BinaryOp,
    CastOp,
    DotOp,
    FillOp,
    FullOp,
    IotaOp,
    ProgramOp,
    ReduceOp,
    SelectOp,
    UnaryOp,
)
from tilebuild.ir.infer import dtype_of
from tilebuild.ir.types import ViewType
from tilebuild.ir.verifier import facts_to_ranges
from tilebuild.optable import OPS
from tilebuild.plan.bounds import Range, nonnegative
from tilebuild.plan.expr import Expr, cdiv, const, emax, emin, sym

_ORDERS = ("row",)
_MAX_INLINING = 32


class CallLowering(ExpressionLowering):
    """Adds calls to the expressions."""

    depth = 0
    target: ast.expr | None = None  # what the statement being lowered assigns to: ids are named after it

    def builtins(self) -> frozenset[str]:
        return _BUILTINS

    def on_call(self, node: ast.Call) -> Value:
        callee = self.expression(node.func)
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise self.fail("E116", "a call in a kernel lists its arguments one by one", node)
        args = [self.expression(a) for a in node.args]
        keywords = {str(k.arg): self.expression(k.value) for k in node.keywords}
        with self.rules(node), self.at(node):
            if isinstance(callee, Builtin):
                return self.builtin(callee.name, args, keywords, node)
            if isinstance(callee, Method):
                return self.method(callee, args, keywords, node)
            if isinstance(callee, Helper):
                return self.inline(callee, args, keywords, node)
        raise self.fail("E116", f"{show(callee)} is not a function", node)

    def bind(
        self, node: ast.Call, args: Sequence[Value], keywords: Mapping[str, Value], names: Sequence[str], optional: int = 0
    ) -> dict[str, Value]:
        """Arguments by name; the last `optional` names may be missing. Raises E116."""
        bound = dict(zip(names, args))
        problem = f"takes {len(names)} argument(s), found {len(args)}" if len(args) > len(names) else ""
        for name, value in keywords.items():
            if name not in names:
                problem = f"has no argument {name}{did_you_mean(name, names)}"
            elif name in bound:
                problem = f"gets {name} twice"
            bound[name] = value
        missing = [n for n in names[: len(names) - optional] if n not in bound]
        if missing:
            problem = f"needs {', '.join(missing)}"
        if problem:
            raise self.fail("E116", f"{ast.unparse(node.func)} {problem}", node, f"{ast.unparse(node.func)}({', '.join(names)})")
        return bound

    def builtin(self, name: str, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        if name in _CONSTRUCTS:
            return _CONSTRUCTS[name](self, args, keywords, node)
        kind = OPS[name].kind
        if kind == "unary":
            value = self.bind(node, args, keywords, ["x"])["x"]
            return self.built(UnaryOp(name, self.ssa(value, node)))
        if kind == "reduce":
            return self.reduction(name, args, keywords, node)
        bound = self.bind(node, args, keywords, ["a", "b"])
        return self.built(BinaryOp(name, *self.pair(bound["a"], bound["b"], node)))

    # -- constructs -----------------------------------------------------------------------------

    def program(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        order = keywords.pop("order", "row")
        if keywords or order not in _ORDERS:
            raise self.fail("E116", f"tb.program takes extents and order= (one of {', '.join(_ORDERS)})", node)
        if not args or not all(is_integer(a) for a in args):
            raise self.fail("E116", "tb.program takes one integer extent an axis", node, "i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))")
        if self.call_site or any(True for op in self.builder.block.ops if isinstance(op, ProgramOp)) or self.builder.block.parent_op():
            raise self.fail("E111", "tb.program stands once, at the top of a kernel", node)
        extents = [Expr.of(a) for a in args]  # type: ignore[arg-type]
        for e in extents:
            if not nonnegative(e - 1, self.builder.ranges):
                raise self.fail("E111", f"the extent {e} is not proved to be at least 1", node)
        names = self.target.elts if isinstance(self.target, ast.Tuple) else [self.target]
        ids = [
            self.builder.fresh_symbol(n.id if isinstance(n, ast.Name) else "p", Range(const(0), e - 1))
            for n, e in zip([*names, *[None] * len(extents)], extents)
        ]
        self.builder.add(ProgramOp(ids, extents, str(order)))
        values: tuple[Value, ...] = tuple(sym(i) for i in ids)
        return values if len(values) > 1 else values[0]

    def require(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        for value in [*args, *keywords.values()]:
            if value is True:
                continue
            if value is False:
                raise self.fail("E117", "tb.require(...) is false for every call", node)
            if not isinstance(value, Condition) or any(
                (p.left.symbols | p.right.symbols) - set(self.dimension_names()) for p in value.predicates
            ):
                raise self.fail("E117", "tb.require takes comparisons of dimensions", node, "tb.require(N % 8 == 0)")
            facts = [str(p) for p in value.predicates]
            for fact in facts:
                self.builder.require(fact)
            facts_to_ranges(facts, self.builder.ranges)
        return None

    def dimension_names(self) -> list[str]:
        # program and loop ids have both ends; a dimension or a stride starts without an upper one
        ids = {i.data for op in self.builder.block.ops if isinstance(op, ProgramOp) for i in op.ids}
        return [n for n in self.builder.ranges if "__" not in n and n not in ids]

    def ceiling_division(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["a", "b"])
        a, b = (self.as_integer(bound[n], node) for n in ("a", "b"))
        if not nonnegative(b - 1, self.builder.ranges):
            raise self.fail("E210", f"tb.cdiv by {b}, which is not proved positive", node)
        return _plain(cdiv(a, b))

    def as_integer(self, value: Value, node: ast.AST) -> Expr:
        if not is_integer(value):
            raise self.fail("E211", f"an integer over dimensions and ids is needed, found {show(value)}", node)
        return Expr.of(value)  # type: ignore[arg-type]

    def iteration(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        stages = keywords.pop("stages", 1)
        if keywords or not 1 <= len(args) <= 2 or not isinstance(stages, int) or stages < 1:
            raise self.fail("E116", f"{ast.unparse(node.func)} takes an end, or a start and an end", node, "tb.range(n), tb.range(a, b), tb.pipeline(n, stages=2)")
        ends = [self.as_integer(a, node) for a in args]
        lower, upper = ends if len(ends) == 2 else (const(0), ends[0])
        return Iteration(lower, upper, stages)

    def unroll(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        n = self.bind(node, args, keywords, ["n"])["n"]
        if not isinstance(n, int) or not 0 <= n <= 4096:
            raise self.fail("E116", f"tb.unroll takes a count known while building (at most 4096), found {show(n)}", node)
        return Iteration(const(0), const(n), unrolled=True)

    def full(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["shape", "value", "dtype"], optional=1)
        dtype = bound.get("dtype", DType("f32"))
        if not isinstance(dtype, DType):
            raise self.fail("E202", f"the dtype of a tile is one of tb.f32, tb.i32, ..., found {show(dtype)}", node)
        value = bound["value"]
        scalar = self.ssa(value, node, dtype.name)
        if dtype_of(scalar.type) != dtype.name:
            raise self.fail("E202", f"tb.full: {show(value)} in a tile of {dtype.name}", node)
        return self.built(FullOp(scalar, self.shape(bound["shape"], node)))

    def zeros(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["shape", "dtype"], optional=1)
        dtype = bound.get("dtype", DType("f32"))
        zero = 0.0 if dtype == DType("f32") else 0
        return self.full([bound["shape"], zero, dtype], {}, node)

    def shape(self, value: Value, node: ast.AST) -> tuple[int, int]:
        if not isinstance(value, tuple) or len(value) != 2 or not all(type(v) is int and v >= 1 for v in value):
            raise self.fail("E203", f"a tile's shape is two positive integers known while building, found {show(value)}", node, "(BM, BN), with tb.Const parameters")
        return value[0], value[1]

    def iota(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["n", "axis"], optional=1)
        n, axis = bound["n"], bound.get("axis", 1)
        if not (type(n) is int and n >= 1 and axis in (0, 1)):
            raise self.fail("E203", "tb.iota takes a positive count known while building and an axis, 0 or 1", node)
        return self.built(IotaOp(n, axis))  # type: ignore[arg-type]

    def dot(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["a", "b", "acc"], optional=1)
        if "acc" not in bound:
            return self.matmul(bound["a"], bound["b"], node)
        return self.built(DotOp(*(self.ssa(bound[n], node) for n in ("a", "b", "acc"))))

    def matmul(self, a: Value, b: Value, node: ast.AST) -> Value:
        with self.rules(node), self.at(node):
            left, right = self.ssa(a, node), self.ssa(b, node)
            lt, rt = left.type, right.type
            if not isinstance(lt, infer.TileType) or not isinstance(rt, infer.TileType):
                raise self.fail("E205", f"a product of {show(left)} and {show(right)}", node)
            acc = self.built(FullOp(self.constant(0.0, "f32"), (lt.shape[0], rt.shape[1])))
            return self.built(DotOp(left, right, acc))

    def where(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["condition", "a", "b"])
        condition = bound["condition"]
        if isinstance(condition, bool):
            return bound["a"] if condition else bound["b"]
        return self.built(SelectOp(self.ssa(condition, node), *self.pair(bound["a"], bound["b"], node)))

    def extreme(self, name: str, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        """`tb.min(a, b)` of integers; `tb.max(t, 1)` of a tile over an axis."""
        if args and isinstance(args[0], SSAValue):
            return self.reduction(name, args, keywords, node)
        if keywords or len(args) < 2:
            raise self.fail("E116", f"tb.{name} takes two or more integers, or a tile and an axis", node)
        if all(isinstance(a, (int, float)) for a in args):
            return (min if name == "min" else max)(args)  # type: ignore[type-var]
        exprs = [self.as_integer(a, node) for a in args]
        return _plain(emin(*exprs) if name == "min" else emax(*exprs))

    def reduction(self, name: str, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["x", "axis"])
        axis = bound["axis"]
        if type(axis) is not int:
            raise self.fail("E206", f"an axis is 0 or 1, found {show(axis)}", node)
        return self.built(ReduceOp(name, self.ssa(bound["x"], node), axis + 2 if axis < 0 else axis))

    # -- methods and helpers --------------------------------------------------------------------

    def method(self, method: Method, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        value = method.value
        assert isinstance(value, SSAValue)
        if method.name == "tiles":
            return self.tiles(value, args, keywords, node)
        if method.name == "fill":
            filling = self.bind(node, args, keywords, ["value"])["value"]
            tile = self.ssa(value, node)
            return self.built(FillOp(tile, self.ssa(filling, node, dtype_of(tile.type))))
        if method.name == "to":
            dtype = self.bind(node, args, keywords, ["dtype"])["dtype"]
            if not isinstance(dtype, DType):
                raise self.fail("E202", f".to takes a dtype such as tb.f32, found {show(dtype)}", node)
            return value if dtype_of(value.type) == dtype.name else self.built(CastOp(value, dtype.name))
        return self.reduction(method.name, [value, *args], keywords, node)

    def tiles(self, view: SSAValue, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        assert isinstance(view.type, ViewType)
        infer.extents_2d(view.type)
        rank = len(view.type.dims)
        if keywords or len(args) != rank or not all(type(a) is int and a >= 1 for a in args):
            raise self.fail(
                "E203", f".tiles takes {rank} positive tile extent(s) known while building, found ({', '.join(map(show, args))})", node,
                "x.tiles(BM, BN) with tb.Const parameters",
            )  # fmt: skip
        shape = (1, args[0]) if rank == 1 else (args[0], args[1])
        return TileSpace(view, shape, rank)  # type: ignore[arg-type]

    def inline(self, helper: Helper, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        function = helper.function
        if self.depth >= _MAX_INLINING:
            raise self.fail("E118", f"{function.node.name} calls itself, or helpers nest more than {_MAX_INLINING} deep", node)
        parameters = function.node.args
        if parameters.vararg or parameters.kwarg or parameters.kwonlyargs or parameters.posonlyargs:
            raise self.fail("E118", f"the helper {function.node.name} has other than ordinary parameters", node)
        names = [a.arg for a in parameters.args]
        bound = self.bind(node, args, keywords, names, optional=len(parameters.defaults))
        inner = type(self)(self.builder, {}, function.scope, self.library, self.call_site or self.scope.span(node))
        inner.depth = self.depth + 1
        for name, default in zip(names[len(names) - len(parameters.defaults) :], parameters.defaults):
            inner.env[name] = inner.expression(default)
        inner.env.update(bound)
        *body, last = function.node.body
        if not isinstance(last, ast.Return) or last.value is None:
            raise self.fail("E118", f"the helper {function.node.name} does not end in `return value`", node)
        inner.run(body, ([last],))
        with inner.at(last):
            return inner.expression(last.value)

    def run(self, statements: Sequence[ast.stmt], after: tuple[Sequence[ast.stmt], ...]) -> None:
        raise NotImplementedError  # statements are the body's


def _plain(e: Expr) -> Value:
    return e.value if e.is_const else e


_Construct = Callable[[CallLowering, list[Value], dict[str, Value], ast.Call], Value]
_CONSTRUCTS: Mapping[str, _Construct] = {
    "program": CallLowering.program,
    "require": CallLowering.require,
    "cdiv": CallLowering.ceiling_division,
    "range": CallLowering.iteration,
    "pipeline": CallLowering.iteration,
    "unroll": CallLowering.unroll,
    "full": CallLowering.full,
    "zeros": CallLowering.zeros,
    "iota": CallLowering.iota,
    "dot": CallLowering.dot,
    "where": CallLowering.where,
    "min": lambda self, a, k, n: self.extreme("min", a, k, n),
    "max": lambda self, a, k, n: self.extreme("max", a, k, n),
}
_BUILTINS = frozenset(_CONSTRUCTS) | frozenset(n for n, op in OPS.items() if op.kind in ("unary", "reduce")) | {"maximum", "minimum"}
