"""Calls in a kernel's body: the constructs of the language, operations, methods, and helpers, which are inlined."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from xdsl.ir import SSAValue

from tilebuild.frontend.indirect import IndirectLowering
from tilebuild.frontend.library import COMPOSITE_METHODS, composites
from tilebuild.frontend.scope import source_text
from tilebuild.frontend.values import (
    Builtin,
    Condition,
    DType,
    Helper,
    Iteration,
    Method,
    Value,
    is_integer,
    plain,
    show,
)
from tilebuild.frontend.views import entries_text
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    AssumeOp,
    BinaryOp,
    CastOp,
    ConcatOp,
    DotOp,
    FillOp,
    FullOp,
    InterleaveOp,
    IotaOp,
    ProgramOp,
    ReduceOp,
    ReshapeOp,
    SelectOp,
    SliceOp,
    UnaryOp,
    _ViewOp,
)
from tilebuild.ir.facts import facts_to_ranges, guards
from tilebuild.ir.infer import dtype_of
from tilebuild.ir.types import TileType
from tilebuild.optable import OPS, conversion
from tilebuild.plan.bounds import Range, nonnegative
from tilebuild.plan.expr import Expr, build_bounded, const, sym

_ORDER = re.compile(r"row|grouped:([1-9][0-9]{0,8})")
_PROGRAM = "i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))"
_MOST_UNROLLED = 4096
_CONVERSION = 't.to(tb.i32, round="nearest", sat=True)'


class CallLowering(IndirectLowering):
    """Adds calls to the expressions."""

    target: ast.expr | None = None  # what the statement being lowered assigns to: ids are named after it

    def builtins(self) -> frozenset[str]:
        return _BUILTINS

    def on_call(self, node: ast.Call) -> Value:
        self.spend(node)
        callee = self.expression(node.func)
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise self.fail("E116", "a call in a kernel lists its arguments one by one", node, "write them out")
        args = [self.expression(a) for a in node.args]
        keywords = {str(k.arg): self.expression(k.value) for k in node.keywords}
        with self.rules(node), self.at(node):
            if isinstance(callee, Builtin):
                return self.builtin(callee.name, args, keywords, node)
            if isinstance(callee, Method):
                return self.method(callee, args, keywords, node)
            if isinstance(callee, Helper):
                return self.inline(callee, args, keywords, node)
        raise self.fail(
            "E116", f"{show(callee)} is not a function", node, "call tb.*, methods of tiles and arrays, and tb.fn"
        )

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
        grouped = _ORDER.fullmatch(order) if isinstance(order, str) else None
        if keywords or grouped is None or (grouped[1] and len(args) != 2):
            message = 'tb.program takes extents and order=, "row" or, for two extents, "grouped:8"'
            raise self.fail("E116", message, node, _PROGRAM)
        extents = [Expr.of(a) for a in args if is_integer(a)]
        if not args or len(extents) < len(args):
            raise self.fail("E116", "tb.program takes one integer extent an axis", node, _PROGRAM)
        first = not any(isinstance(op, ProgramOp) for op in self.builder.top.ops)
        if self.call_site or self.builder.block is not self.builder.top or not first:
            raise self.fail("E111", "tb.program stands once, at the top of a kernel", node, _PROGRAM)
        for e in extents:
            if not nonnegative(e - 1, self.builder.ranges):
                fix = "divide by rounding up, tb.cdiv(M, BM), or add tb.require(...) before"
                raise self.fail("E111", f"the extent {e} is not proved to be at least 1", node, fix)
        names = self.target.elts if isinstance(self.target, ast.Tuple) else [self.target]
        ids = [
            self.builder.fresh_symbol(n.id if isinstance(n, ast.Name) else "p", Range(const(0), e - 1))
            for n, e in zip([*names, *[None] * len(extents)], extents)
        ]
        self.builder.add(ProgramOp(ids, extents, str(order)))
        values: tuple[Value, ...] = tuple(sym(i) for i in ids)
        return values if len(values) > 1 else values[0]

    def require(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        if keywords:
            raise self.fail("E116", "tb.require takes conditions, one after the other", node, "tb.require(N % 8 == 0)")
        for value in args:
            if value is True:
                continue
            if value is False:
                raise self.fail("E117", "tb.require(...) is false for every call", node)
            if not isinstance(value, Condition) or not value.symbols <= set(self.builder.dims):
                raise self.fail("E117", "tb.require takes comparisons of dimensions", node, "tb.require(N % 8 == 0)")
            facts = [str(p) for p in value.predicates]
            for fact in facts:
                self.builder.require(fact)
            facts_to_ranges(facts, self.builder.ranges)
        return None

    def assume(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        """Conditions that may have program ids: a launch checks what implies them for every program."""
        fix = "tb.assume(i * 2 + 1 < tb.cdiv(N, BN))"
        facts: list[str] = []
        for value in args:
            if keywords or not isinstance(value, Condition) or not value.symbols <= set(self.builder.ranges):
                raise self.fail("E117", "tb.assume takes comparisons of dimensions and program ids", node, fix)
            for p in value.predicates:
                needed = guards(p, self.builder.dims, self.builder.ranges)
                if needed is None:
                    message = f"{p} cannot be checked at a launch: no condition on dimensions is found that implies it"
                    raise self.fail("E117", message, node, "tb.require a condition on dimensions")
                for guard in needed:
                    if guard.left.is_const:
                        raise self.fail("E117", f"{p} is false in some program of every call", node)
                    self.builder.require(str(guard))
                facts.append(str(p))
        before = [op for op in self.builder.top.ops if not isinstance(op, (ProgramOp, AssumeOp, _ViewOp))]
        if self.builder.block is not self.builder.top or before or not self.builder.top.ops:
            raise self.fail("E117", "tb.assume stands after tb.program, before what is computed", node, fix)
        self.builder.add(AssumeOp(facts))
        facts_to_ranges(facts, self.builder.ranges)
        return None

    def ceiling_division(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["a", "b"])
        a, b = (self.as_integer(bound[n], node) for n in ("a", "b"))
        if not nonnegative(b - 1, self.builder.ranges):
            raise self.fail("E210", f"tb.cdiv by {b}, which is not proved positive", node)
        return plain(build_bounded("//", [a + b - 1, b]))

    def iteration(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        stages = keywords.pop("stages", 1)
        if keywords or not 1 <= len(args) <= 2 or type(stages) is not int or stages < 1:
            fix = "tb.range(n), tb.range(a, b), tb.pipeline(n, stages=2)"
            raise self.fail("E116", f"{source_text(node.func)} takes an end, or a start and an end", node, fix)
        ends = [self.as_integer(a, node) for a in args]
        lower, upper = ends if len(ends) == 2 else (const(0), ends[0])
        return Iteration(lower, upper, stages)

    def unroll(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        n = self.bind(node, args, keywords, ["n"])["n"]
        if type(n) is not int or not 0 <= n <= _MOST_UNROLLED:
            message = f"tb.unroll takes a count known while building (at most {_MOST_UNROLLED}), found {show(n)}"
            raise self.fail("E116", message, node, "loop with tb.range")
        return Iteration(const(0), const(n), unrolled=True)

    def full(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["shape", "value", "dtype"], optional=1)
        dtype = bound.get("dtype", DType("f32"))
        if not isinstance(dtype, DType):
            raise self.fail("E202", f"the dtype of a tile is one of tb.f32, tb.i32, ..., found {show(dtype)}", node)
        scalar = self.ssa(bound["value"], node, dtype.name)
        if dtype_of(scalar.type) != dtype.name:
            fix = f"`.to(tb.{dtype.name})`"
            raise self.fail("E202", f"tb.full: {show(scalar)} in a tile of {dtype.name}", node, fix)
        infer.require_scalar("full", scalar.type)
        return self.built(FullOp(scalar, self.shape(bound["shape"], node)))

    def zeros(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["shape", "dtype"], optional=1)
        return self.full([bound["shape"], 0, bound.get("dtype", DType("f32"))], {}, node)

    def shape(self, value: Value, node: ast.AST) -> tuple[int, int]:
        if not isinstance(value, tuple) or len(value) != 2 or not all(type(v) is int and v >= 1 for v in value):
            message = f"a tile's shape is two positive integers known while building, found {entries_text(value)}"
            raise self.fail("E203", message, node, "(BM, BN), with tb.Const parameters")
        return value[0], value[1]

    def iota(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["n", "axis"], optional=1)
        n, axis = bound["n"], bound.get("axis", 1)
        if type(n) is not int or type(axis) is not int or not (1 <= n < 1 << 31 and axis in (0, 1)):
            raise self.fail("E203", "tb.iota takes a positive count known while building and an axis, 0 or 1", node)
        return self.built(IotaOp(n, axis))

    def dot(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["a", "b", "acc"], optional=1)
        if "acc" not in bound:
            return self.matmul(bound["a"], bound["b"], node)
        return self.built(DotOp(*(self.ssa(bound[n], node) for n in ("a", "b", "acc"))))

    def matmul(self, a: Value, b: Value, node: ast.AST) -> Value:
        with self.rules(node), self.at(node):
            left, right = self.ssa(a, node), self.ssa(b, node)
            lt, rt = left.type, right.type
            if not isinstance(lt, TileType) or not isinstance(rt, TileType):
                raise self.fail("E205", f"a product of {show(left)} and {show(right)}", node)
            acc = self.built(FullOp(self.number(0, node, "f32"), (lt.shape[0], rt.shape[1])))
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
            raise self.fail(
                "E116", f"tb.{name} takes two or more integers, or a tile and an axis", node, "tb.max(t, 1)"
            )
        numbers = [a for a in args if isinstance(a, (int, float))]
        if len(numbers) == len(args):
            return min(numbers) if name == "min" else max(numbers)
        return plain(build_bounded(name, [self.as_integer(a, node) for a in args]))

    def reduction(self, name: str, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["x", "axis"])
        axis = bound["axis"]
        if type(axis) is not int or not -2 <= axis < 2:
            raise self.fail(
                "E206", f"the axis of a tile is 0 (rows) or 1 (columns), found {show(axis)}", node, "t.sum(1)"
            )
        return self.built(ReduceOp(name, self.ssa(bound["x"], node), axis % 2))

    # -- shapes ---------------------------------------------------------------------------------

    def slice(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["x", "start", "shape"])
        start = bound["start"]
        if not isinstance(start, tuple) or len(start) != 2 or not all(type(v) is int for v in start):
            message = f"a slice starts at two integers known while building, found {entries_text(start)}"
            raise self.fail("E203", message, node, "tb.slice(t, (0, 8), (BM, 8))")
        return self.built(SliceOp(self.ssa(bound["x"], node), start, self.shape(bound["shape"], node)))

    def concat(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        axis = keywords.pop("axis", 1)
        if keywords or type(axis) is not int:
            raise self.fail("E116", "tb.concat takes tiles and axis=0 or axis=1", node, "tb.concat(a, b, axis=1)")
        return self.built(ConcatOp([self.ssa(a, node) for a in args], axis))

    def interleave(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["a", "b"])
        return self.built(InterleaveOp(self.ssa(bound["a"], node), self.ssa(bound["b"], node)))

    def reshape(self, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        bound = self.bind(node, args, keywords, ["x", "shape"])
        return self.built(ReshapeOp(self.ssa(bound["x"], node), self.shape(bound["shape"], node)))

    # -- methods and helpers --------------------------------------------------------------------

    def method(self, method: Method, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        value = method.value
        if method.name == "tiles":
            return self.tiles(value, args, keywords, node)
        if method.name == "window":
            return self.window(value, args, keywords, node)
        if method.name == "fill":
            filling = self.bind(node, args, keywords, ["value"])["value"]
            tile = self.ssa(value, node)
            return self.built(FillOp(tile, self.ssa(filling, node, dtype_of(tile.type))))
        if method.name == "to":
            return self.conversion(value, self.bind(node, args, keywords, ["dtype", "round", "sat"], 2), node)
        if method.name in COMPOSITE_METHODS:
            return self.inline(self.helper(method.name), [value, *args], keywords, node)
        return self.reduction(method.name, [value, *args], keywords, node)

    def conversion(self, value: SSAValue, bound: Mapping[str, Value], node: ast.Call) -> Value:
        dtype, how, sat = bound["dtype"], bound.get("round", "trunc"), bound.get("sat", False)
        if not isinstance(dtype, DType):
            raise self.fail("E202", f".to takes a dtype such as tb.f32, found {show(dtype)}", node)
        if not isinstance(sat, bool) or not isinstance(how, str):
            raise self.fail("E116", ".to takes round= as a name and sat= as True or False", node, _CONVERSION)
        try:
            steps = conversion(dtype_of(value.type), dtype.name, how, sat)
        except ValueError as e:
            raise self.fail("E204", str(e), node, _CONVERSION) from None
        result: Value = value
        for kind, name in steps:
            assert isinstance(result, SSAValue)
            if kind == "composite":
                result = self.composite(name, [result], node)
            elif kind == "unary":
                result = self.built(UnaryOp(name, result))
            elif dtype_of(result.type) != name:
                result = self.built(CastOp(result, name))
        return result

    def helper(self, name: str) -> Helper:
        """A composite of the library."""
        return Helper(composites(self.library)[name])

    def composite(self, name: str, args: list[Value], node: ast.AST) -> Value:
        return self.inline(self.helper(name), args, {}, cast(ast.Call, node))  # it looks at keywords only to refuse

    def inline(self, helper: Helper, args: list[Value], keywords: dict[str, Value], node: ast.Call) -> Value:
        function = helper.function
        definition, name = function.node, function.node.name
        if definition in self.inlined:
            raise self.fail("E118", f"{name} calls itself: a helper is inlined where it is called", node, "use a loop")
        parameters = definition.args
        if parameters.vararg or parameters.kwarg or parameters.kwonlyargs or parameters.posonlyargs:
            raise self.fail("E118", f"the helper {name} has other than ordinary parameters", node)
        if len(definition.decorator_list) != 1:
            raise self.fail("E118", f"the helper {name} has further decorators", node, "keep only @tb.fn")
        *body, last = definition.body
        if not isinstance(last, ast.Return) or last.value is None:
            raise self.fail("E118", f"the helper {name} does not end in `return value`", node)
        names = [a.arg for a in parameters.args]
        bound = self.bind(node, args, keywords, names, optional=len(parameters.defaults))
        call_site = self.call_site or self.scope.span(node)
        inlined = (*self.inlined, definition)
        inner = type(self)(self.builder, {}, function.scope, self.library, call_site=call_site, inlined=inlined)
        for parameter, default in zip(names[len(names) - len(parameters.defaults) :], parameters.defaults):
            inner.env[parameter] = inner.expression(default)
        inner.env.update(bound)
        inner.body(body, ([last],))
        with inner.at(last):
            return inner.expression(last.value)

    def body(self, statements: Sequence[ast.stmt], after: tuple[Sequence[ast.stmt], ...]) -> None:
        raise NotImplementedError  # statements are the body's


_Construct = Callable[[CallLowering, list[Value], dict[str, Value], ast.Call], Value]
_CONSTRUCTS: Mapping[str, _Construct] = {
    "program": CallLowering.program,
    "require": CallLowering.require,
    "assume": CallLowering.assume,
    "cdiv": CallLowering.ceiling_division,
    "range": CallLowering.iteration,
    "pipeline": CallLowering.iteration,
    "unroll": CallLowering.unroll,
    "full": CallLowering.full,
    "zeros": CallLowering.zeros,
    "iota": CallLowering.iota,
    "dot": CallLowering.dot,
    "where": CallLowering.where,
    "gather": CallLowering.gather,
    "gather_rows": CallLowering.gather_rows,
    "scatter": CallLowering.scatter,
    "scatter_rows": CallLowering.scatter_rows,
    "atomic_add": CallLowering.atomic_add,
    "slice": CallLowering.slice,
    "concat": CallLowering.concat,
    "interleave": CallLowering.interleave,
    "reshape": CallLowering.reshape,
    "min": lambda self, a, k, n: self.extreme("min", a, k, n),
    "max": lambda self, a, k, n: self.extreme("max", a, k, n),
}
_BUILTINS = (
    frozenset(_CONSTRUCTS)
    | frozenset(n for n, op in OPS.items() if op.kind in ("unary", "reduce"))
    | {"maximum", "minimum"}
)
