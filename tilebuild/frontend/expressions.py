"""Expressions of a kernel's body: names, numbers, operators, attributes, loads."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from xdsl.ir import SSAValue

from tilebuild.diagnostics import TilebuildError, did_you_mean
from tilebuild.frontend.library import COMPOSITE_METHODS, composites
from tilebuild.frontend.operands import OperandLowering
from tilebuild.frontend.scope import Constant, Dimension, Foreign, Function, Member, Module, source_text
from tilebuild.frontend.values import (
    COMPARISONS,
    FOLDS,
    Builtin,
    Condition,
    DType,
    Helper,
    Method,
    TileSpace,
    Value,
    in_64_bits,
    is_integer,
    plain,
    show,
)
from tilebuild.ir import infer
from tilebuild.ir.dialect import (
    BinaryOp,
    LoadOp,
    SelectOp,
    TransposeOp,
    UnaryOp,
    ViewColumnOp,
    ViewIndexOp,
    ViewTransposeOp,
)
from tilebuild.ir.facts import simplify_valid
from tilebuild.ir.infer import dtype_of
from tilebuild.ir.types import DTYPES, TileType, ViewType
from tilebuild.optable import COMPOSED, OPERATORS
from tilebuild.plan.bounds import nonnegative
from tilebuild.plan.expr import Expr, Predicate, build_bounded, const, sym

_INTEGER = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%"}
_SCALAR = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_OPERATORS = "tiles have + - * / // % ** & | ^ << >> and comparisons; see also tb.minimum, tb.maximum and tb.exp"
_VIEW_METHODS = ("tiles", "window")
_MOST_FACTORS = 64  # of a literal exponent that becomes products
_TILE_METHODS = ("max", "min", "sum", "prod", *COMPOSITE_METHODS, "fill", "to")


class ExpressionLowering(OperandLowering):
    """Names, numbers, operators, attributes and loads; `local_names` are those that the body assigns anywhere."""

    local_names: frozenset[str] = frozenset()

    # -- expressions ----------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Value:
        handler = getattr(self, f"on_{type(node).__name__.lower()}", None)
        if handler is None:
            fix = "kernels use numbers, names, operators, attributes, calls, indices and tuples"
            raise self.fail("E112", f"`{source_text(node)}` has no meaning in a kernel", node, fix)
        value: Value = handler(node)
        return value

    def on_constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, (int, float, str)):
            return self.folded(node, lambda: node.value)
        raise self.fail("E112", f"the constant {source_text(node)} has no meaning in a kernel", node)

    def folded(self, node: ast.AST, compute: Callable[[], object]) -> Value:
        """A number computed while building, as Python does it, in 64 bits."""
        try:
            return in_64_bits(compute())
        except (ArithmeticError, ValueError) as e:
            raise self.fail("E210", f"`{source_text(node)}`: {e}", node) from None

    def on_tuple(self, node: ast.Tuple) -> Value:
        return tuple(self.expression(e) for e in node.elts)

    def on_name(self, node: ast.Name) -> Value:
        if node.id in self.env:
            return self.env[node.id]
        binding = self.scope.names.get(node.id)
        if node.id in self.local_names:  # Python would not look at the module's name either
            raise self.fail(
                "E101", f"{node.id} has no value here", node,
                "assign it before; what only a loop or a branch assigns does not exist after it",
            )  # fmt: skip
        if isinstance(binding, Dimension):
            if binding.name not in self.builder.dims:
                raise self.fail(
                    "E102", f"{node.id} is a dimension that no parameter of the kernel has", node,
                    "use it in a parameter's annotation: its value comes from the arrays",
                )  # fmt: skip
            known = self.builder.ranges[binding.name]
            return plain(known.lo) if known.lo is not None and known.lo == known.hi else sym(binding.name)
        if isinstance(binding, Constant):
            value = binding.value
            return self.folded(node, lambda: value)
        if isinstance(binding, Member):
            return self.member(binding.name, node)
        if isinstance(binding, Function) and binding.kind == "fn":
            return Helper(binding)
        if node.id in ("range", "min", "max", "abs") and binding is None:
            return Builtin(node.id)
        raise self.unknown_name(node, binding)

    def unknown_name(self, node: ast.Name, binding: object) -> TilebuildError:
        if isinstance(binding, Module):
            return self.fail("E101", f"{node.id} is the tilebuild module, not a value", node, f"{node.id}.zeros(...)")
        if isinstance(binding, Foreign):
            return self.fail(
                "E101", f"a kernel cannot use {node.id}: it is {binding.what}", node,
                "use parameters, locals, tb.*, tb.dims, literal constants and tb.fn helpers of this package",
            )  # fmt: skip
        if isinstance(binding, Function):
            message = f"{node.id} is a {binding.kind} function: a kernel calls only tb.fn helpers"
            return self.fail("E101", message, node, "decorate it with @tb.fn" if binding.kind == "plain" else "")
        known = did_you_mean(node.id, [*self.env, *self.scope.names])
        fix = "" if known else "use parameters, locals, tb.* and what the file defines at module level"
        return self.fail("E101", f"{node.id} is not defined{known}", node, fix)

    def on_attribute(self, node: ast.Attribute) -> Value:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if isinstance(self.scope.names.get(owner), Module) and owner not in self.local_names:
            return self.member(node.attr, node)
        value = self.expression(node.value)
        if isinstance(value, SSAValue):
            return self.attribute(value, node)
        raise self.fail("E115", f"{show(value)} has no attribute {node.attr}", node, "tiles and arrays have attributes")

    def attribute(self, value: SSAValue, node: ast.Attribute) -> Value:
        is_view = isinstance(value.type, ViewType)
        with self.rules(node), self.at(node):
            if node.attr == "T" and is_view:
                return self.built(ViewTransposeOp(value))
            if node.attr == "T":
                return self.built(TransposeOp(value))
            if node.attr == "shape" and isinstance(value.type, TileType):
                return value.type.shape
            if node.attr == "col" and is_view:
                return self.built(ViewColumnOp(value))
        methods = _VIEW_METHODS if is_view else _TILE_METHODS
        if node.attr in methods:
            return Method(value, node.attr)
        known = [*methods, "T", "col" if is_view else "shape"]
        raise self.fail(
            "E115",
            f"{show(value)} has no attribute {node.attr}{did_you_mean(node.attr, known)}",
            node,
            f"it has {', '.join(known)}",
        )

    def member(self, name: str, node: ast.AST) -> Value:
        """Something of tilebuild: a dtype, a number, an operation, or a composite of the library."""
        if name in DTYPES:
            return DType(name)
        if name in ("inf", "nan"):
            return float(name)
        if name in self.builtins():
            return Builtin(name)
        public = {n: f for n, f in composites(self.library).items() if not n.startswith("_")}
        if name in public:
            return Helper(public[name])
        known = [*DTYPES, *self.builtins(), *public]
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
            if isinstance(a, (int, float)) and isinstance(b, (int, float)) and op in FOLDS:
                return self.folded(node, lambda: FOLDS[op](a, b))
            if is_integer(a) and is_integer(b) and op in _INTEGER:
                return self.integer(op, Expr.of(a), Expr.of(b), node)
            if isinstance(a, (Expr, int, float)) and isinstance(b, (Expr, int, float)) and op in _SCALAR:
                return self.built(BinaryOp(OPERATORS[op.__name__], self.ssa(a, node), self.ssa(b, node)))
        raise self.fail("E205", f"`{source_text(node)}` is not defined for {show(a)} and {show(b)}", node)

    def integer(self, op: type[ast.operator], a: Expr, b: Expr, node: ast.AST) -> Value:
        if op in (ast.FloorDiv, ast.Mod) and not nonnegative(b - 1, self.builder.ranges):
            fix = "divide by a dimension or a positive constant"
            raise self.fail("E210", f"the divisor {b} is not proved positive", node, fix)
        return plain(build_bounded(_INTEGER[op], [a, b]))

    def elementwise(self, op: type[ast.operator] | type[ast.cmpop], a: Value, b: Value, node: ast.AST) -> Value:
        if op is ast.Pow:
            return self.power(a, b, node)
        name = OPERATORS.get(op.__name__)
        if name is None:
            raise self.fail(
                "E204", f"`{source_text(node)}`: this operator is not defined on tiles and scalars", node, _OPERATORS
            )
        left, right = self.pair(a, b, node)
        if name in COMPOSED and dtype_of(left.type) == dtype_of(right.type) == "f32":
            return self.composite(COMPOSED[name], [left, right], node)
        return self.built(BinaryOp(name, left, right))

    def power(self, a: Value, b: Value, node: ast.AST) -> Value:
        """A literal whole exponent is so many products; the rest is the library's `pow`."""
        if not (isinstance(a, SSAValue) and type(b) is int and abs(b) <= _MOST_FACTORS):
            left, right = self.pair(a, b, node)
            return self.composite("pow", [left, right], node)
        base = self.ssa(a, node)
        dtype = dtype_of(base.type)
        if b < 0 and dtype != "f32":
            raise self.fail("E204", f"{dtype} values have no negative powers", node, "`.to(tb.f32)` first")
        if b == 0:
            one = self.number(1, node, dtype)
            return self.built(SelectOp(self.built(BinaryOp("eq", base, base)), one, one))
        result: SSAValue | None = None
        factor, rest = base, abs(b)
        while True:
            if rest & 1:
                result = factor if result is None else self.built(BinaryOp("mul", result, factor))
            rest >>= 1
            if not rest and result is not None:
                return result if b > 0 else self.built(UnaryOp("recip", result))
            factor = self.built(BinaryOp("mul", factor, factor))

    def composite(self, name: str, args: list[Value], node: ast.AST) -> Value:
        raise NotImplementedError  # a call lowering: a helper of the library

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
            if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
                return self.folded(node, lambda: -value)
            if isinstance(node.op, ast.USub) and isinstance(value, Expr):
                return -value
            if isinstance(node.op, ast.UAdd) and isinstance(value, (int, float, Expr)):
                return value
            if isinstance(node.op, ast.Not) and isinstance(value, bool):
                return not value
        raise self.fail("E205", f"`{source_text(node)}` is not defined for {show(value)}", node)

    def on_compare(self, node: ast.Compare) -> Value:
        operands = [self.expression(e) for e in (node.left, *node.comparators)]
        if any(isinstance(v, SSAValue) for v in operands):
            if len(node.ops) > 1:
                raise self.fail("E205", "tiles are compared two at a time", node, "(a < b) & (b < c)")
            with self.rules(node), self.at(node):
                return self.elementwise(type(node.ops[0]), operands[0], operands[1], node)
        predicates = []
        for op, a, b in zip(node.ops, operands, operands[1:]):
            symbol = _COMPARE.get(type(op))
            if symbol is not None and isinstance(a, (int, float)) and isinstance(b, (int, float)):
                if not COMPARISONS[symbol](a, b):
                    return False
            elif symbol is not None and is_integer(a) and is_integer(b):
                predicates.append(Predicate(symbol, Expr.of(a), Expr.of(b)))
            else:
                raise self.fail("E205", f"`{source_text(node)}` compares {show(a)} with {show(b)}", node)
        return Condition(tuple(predicates)) if predicates else True

    def on_boolop(self, node: ast.BoolOp) -> Value:
        values = [self.expression(v) for v in node.values]
        if all(isinstance(v, bool) for v in values):
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node.op, ast.And) and all(isinstance(v, (bool, Condition)) for v in values):
            if not all(v for v in values if isinstance(v, bool)):
                return False
            return Condition(tuple(p for v in values if isinstance(v, Condition) for p in v.predicates))
        message = f"`{source_text(node)}` joins {', '.join(map(show, values))}"
        raise self.fail("E205", message, node, "on tiles: (a < b) & (c < d)")

    def on_ifexp(self, node: ast.IfExp) -> Value:
        return self.expression(node.body if self.decided(node.test) else node.orelse)

    def decided(self, test: ast.expr) -> bool:
        """The truth of a condition on numbers known while building; raises E114."""
        value = self.expression(test)
        if not isinstance(value, (int, float)):
            raise self.fail(
                "E114", f"the condition `{source_text(test)}` is not known while building: it is {show(value)}", test,
                "use tb.where on tiles, or a variant guarded by `when=`",
            )  # fmt: skip
        return bool(value)

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
                chosen: Value = value[index]
                return chosen
        fix = "x.tiles(BM, BN)[i, j]" if isinstance(value, SSAValue) else ""
        if isinstance(value, SSAValue) and isinstance(value.type, TileType):
            fix = "a tile is used whole: load the part of the array, x.tiles(BM, BN)[i, j]"
        raise self.fail("E205", f"{show(value)} cannot be indexed", node, fix)

    def indices(self, node: ast.Subscript) -> list[Expr]:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        found = []
        for part in parts:
            value = self.expression(part)
            if not is_integer(value):
                raise self.fail("E211", f"an index is an integer over dimensions and ids, found {show(value)}", part)
            found.append(Expr.of(value))
        return found

    def start(self, space: TileSpace, node: ast.Subscript) -> tuple[Expr, Expr]:
        """The first element (row, col) of the indexed tile."""
        return self.place(space, self.indices(node), node)

    def place(self, space: TileSpace, indices: list[Expr], node: ast.AST) -> tuple[Expr, Expr]:
        if len(indices) != space.rank:
            message = f"a tile space of {space.rank} dimension(s) takes as many indices, found {len(indices)}"
            form = "X[i, j]" if space.rank == 2 else "X[j]"
            raise self.fail("E211", message, node, f"one index a dimension: {form}")
        row, col = indices if space.rank == 2 else (const(0), indices[0])
        return row * space.shape[0], col * space.shape[1]
