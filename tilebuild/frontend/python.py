"""Python to L1: lowers the body of one kernel variant by walking its syntax tree.

Statements are handled here, expressions in `expressions`, calls in `calls`. Loop-carried values are found by what
the body assigns; nobody writes a yield.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from xdsl.ir import Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.frontend.builder import Builder
from tilebuild.frontend.calls import CallLowering
from tilebuild.frontend.discover import KernelDef, VariantDef
from tilebuild.frontend.scope import Dimension, Sources
from tilebuild.frontend.values import Condition, Iteration, TileSpace, Value, is_number, show
from tilebuild.ir import infer
from tilebuild.ir.dialect import CastOp, ForOp, FuncOp, NarrowOp, ProgramOp, StoreOp, YieldOp
from tilebuild.ir.infer import describe
from tilebuild.ir.types import DTYPES, TileType, ViewType
from tilebuild.ir.verifier import facts_to_ranges
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import Expr, const, parse_predicates, sym

_NARROWINGS = 4  # a validity can only shrink; each round narrows at least one carried tile


def lower_kernel(kernel: KernelDef, variant: VariantDef, name: str, library: Sources) -> FuncOp:
    """L1 of one variant, called `name`; `library` holds the composites written in the language.

    Raises `TilebuildError` with the first broken rule, at its place in the kernel's file.
    """
    return _KernelLowering(kernel, variant, library).run(name)


class _KernelLowering:
    def __init__(self, kernel: KernelDef, variant: VariantDef, library: Sources) -> None:
        self.kernel, self.variant, self.library = kernel, variant, library

    def run(self, name: str) -> FuncOp:
        kernel = self.kernel
        types = [
            ViewType.of(p.dtype, p.mode, p.dims, _strides(p.name, len(p.dims))) if p.dims else DTYPES[p.dtype]
            for p in kernel.parameters
        ]
        block = Block(arg_types=types)
        env: dict[str, Value] = {p.name: a for p, a in zip(kernel.parameters, block.args)}
        env.update(self.variant.consts)
        ranges: dict[str, Range] = {d: Range(const(1)) for d in kernel.dims}
        ranges |= {f"{p.name}__s{a}": Range(const(0)) for p in kernel.parameters for a in range(len(p.dims) - 1)}
        requires = [str(p) for p in parse_predicates(self.variant.when)] if self.variant.when else []
        facts_to_ranges(requires, ranges)
        builder = Builder(block, kernel.file, ranges, requires)
        body = _Body(builder, env, kernel.scope, self.library)
        statements = kernel.node.body
        body.run(statements, ())
        if not any(isinstance(op, ProgramOp) for op in block.ops):
            raise body.fail("E111", f"{kernel.name} has no `tb.program(...)`", kernel.node, "i = tb.program(tb.cdiv(M, BM))")
        func = FuncOp(
            name, kernel.name, [p.name for p in kernel.parameters], kernel.dims, dict(self.variant.consts),
            builder.requires, kernel.file, block,
        )  # fmt: skip
        try:
            func.verify()
        except VerifyException as e:
            raise AssertionError(f"the front end made invalid IR for {kernel.name}: {e}") from e
        return func


def _strides(parameter: str, rank: int) -> list[Expr]:
    return [sym(f"{parameter}__s{axis}") for axis in range(rank - 1)] + [const(1)]


class _Body(CallLowering):
    """Lowers statements; one instance a kernel body or inlined helper."""

    def run(self, statements: Sequence[ast.stmt], after: tuple[Sequence[ast.stmt], ...]) -> Value:
        """Lower statements in order; `after` holds what runs later in enclosing bodies (for liveness)."""
        for i, statement in enumerate(statements):
            with self.at(statement):
                self.statement(statement, (statements[i + 1 :], *after))
        return None

    def statement(self, node: ast.stmt, after: tuple[Sequence[ast.stmt], ...]) -> None:
        if isinstance(node, ast.Assign):
            self.target = node.targets[0]
            value = self.expression(node.value)
            for target in node.targets:
                self.assign(target, value)
        elif isinstance(node, ast.AugAssign):
            read = ast.copy_location(_as_load(node.target), node.target)
            value = self.expression(ast.copy_location(ast.BinOp(read, node.op, node.value), node))
            self.assign(node.target, value)
        elif isinstance(node, ast.Expr):
            if not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)):
                self.expression(node.value)
        elif isinstance(node, ast.For):
            self.loop(node, after)
        elif isinstance(node, ast.If):
            self.branch(node, after)
        elif isinstance(node, ast.Pass):
            pass
        elif isinstance(node, ast.Return):
            raise self.fail("E112", "a kernel does not return: it stores into its outputs", node, "Y[i, j] = value")
        else:
            word = type(node).__name__.lower()
            raise self.fail("E112", f"`{word}` has no meaning in a kernel", node, "kernels use assignments, for, if and stores")

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            if isinstance(self.scope.names.get(target.id), Dimension):
                raise self.fail("E113", f"{target.id} is a dimension and cannot be assigned", target, "choose another name")
            self.env[target.id] = value
        elif isinstance(target, ast.Tuple):
            if not isinstance(value, tuple) or len(value) != len(target.elts):
                raise self.fail("E113", f"{len(target.elts)} names are assigned from {show(value)}", target)
            for t, v in zip(target.elts, value):
                self.assign(t, v)
        elif isinstance(target, ast.Subscript):
            self.store(target, value)
        else:
            raise self.fail("E113", f"cannot assign to {ast.unparse(target)}", target)

    def store(self, target: ast.Subscript, value: Value) -> None:
        space = self.expression(target.value)
        if not isinstance(space, TileSpace):
            raise self.fail("E205", f"a store needs a tile space, found {show(space)}", target, "y.tiles(BM, BN)[i, j] = t")
        if is_number(value) or isinstance(value, Expr):
            raise self.fail("E205", f"{show(value)} is stored into a tile space", target, f"tb.full({space.shape}, value)")
        tile = self.ssa(value, target)
        with self.rules(target):
            infer.store(tile.type, space.view.type, space.shape)
        self.builder.add(StoreOp(tile, space.view, self.start(space, target)))

    # -- control flow ---------------------------------------------------------------------------

    def branch(self, node: ast.If, after: tuple[Sequence[ast.stmt], ...]) -> None:
        test = self.expression(node.test)
        if isinstance(test, Condition) or isinstance(test, SSAValue):
            raise self.fail(
                "E114", f"the condition `{ast.unparse(node.test)}` is not known while building", node.test,
                "use tb.where on tiles, or a variant guarded by `when=`",
            )  # fmt: skip
        self.run(node.body if test else node.orelse, after)

    def loop(self, node: ast.For, after: tuple[Sequence[ast.stmt], ...]) -> None:
        iteration = self.expression(node.iter)
        if not isinstance(iteration, Iteration):
            raise self.fail("E112", f"a loop runs over tb.range, tb.pipeline or tb.unroll, not {show(iteration)}", node.iter)
        if not isinstance(node.target, ast.Name) or node.orelse:
            raise self.fail("E112", "a loop has one name and no else", node.target)
        if iteration.unrolled:
            for k in range(iteration.lower.value, iteration.upper.value):
                self.env[node.target.id] = k
                self.run(node.body, (node.body, *after))
            return
        carried = self.carried(node, after)
        assigned = _stored_names(node.body)
        inits = [self.carried_init(n, node) for n in carried]
        before = dict(self.env)
        for _ in range(_NARROWINGS):
            body, yielded, id = self.loop_body(node, iteration, carried, inits, after)
            narrowed = [self.narrow(*args, id, node) for args in zip(carried, inits, yielded)]
            if all(a is b for a, b in zip(narrowed, inits)):
                break
            inits = narrowed
            self.builder.free_symbol(id)
            self.env.clear()
            self.env.update(before)
        loop = ForOp(id, iteration.lower, iteration.upper, iteration.stages, inits, body)
        with self.at(node.iter):
            self.builder.add(loop)
        self.env.clear()
        # what only the body assigns may never have been assigned: it is gone after the loop
        self.env.update({n: v for n, v in before.items() if n not in assigned})
        self.env.update(dict(zip(carried, loop.outs)))

    def carried(self, node: ast.For, after: tuple[Sequence[ast.stmt], ...]) -> list[str]:
        """Names bound before the loop, assigned in it, and read in a later iteration or after it."""
        later = _loaded_names([s for group in after for s in group])
        first_read = _read_before_written(node.body)
        return [
            n for n in sorted(_stored_names(node.body))
            if n in self.env and (n in first_read or n in later)
        ]  # fmt: skip

    def carried_init(self, name: str, node: ast.For) -> SSAValue:
        value = self.env[name]
        if isinstance(value, SSAValue) and not isinstance(value.type, ViewType):
            return value
        if isinstance(value, float):
            return self.constant(value, "f32")
        raise self.fail(
            "E304", f"{name} changes in the loop but starts as {show(value)}", node,
            f"start it as a tile or a float: {name} = tb.zeros((BM, 1))",
        )  # fmt: skip

    def loop_body(
        self, node: ast.For, it: Iteration, carried: list[str], inits: list[SSAValue], after: tuple[Sequence[ast.stmt], ...]
    ) -> tuple[Block, list[SSAValue], str]:
        assert isinstance(node.target, ast.Name)
        block = Block(arg_types=[v.type for v in inits])
        id = self.builder.fresh_symbol(node.target.id, Range(it.lower, it.upper - 1))
        with self.builder.inside(block), self.at(node.iter):
            self.env.update(dict(zip(carried, block.args)))
            self.env[node.target.id] = sym(id)
            self.run(node.body, (node.body, *after))
            yielded = [self.ssa(self.env[n], node) for n in carried]
            for i, v in enumerate(yielded):
                if v in block.args and v is not block.args[i]:
                    # all updates happen at once: one that takes another's old value takes a copy of it
                    yielded[i] = self.built(CastOp(v, infer.dtype_of(v.type)))
            self.builder.add(YieldOp(yielded))
        self.builder.end_symbol(id)
        return block, yielded, id

    def narrow(self, name: str, init: SSAValue, yielded: SSAValue, id: str, node: ast.For) -> SSAValue:
        """`init`, or `init` narrowed to the validity that the body yields (D7); raises E304 and E305."""
        a, b = init.type, yielded.type
        if a == b:
            return init
        if not (isinstance(a, TileType) and isinstance(b, TileType)) or (a.shape, a.dtype) != (b.shape, b.dtype):
            raise self.fail("E304", f"{name} enters the loop as a {describe(a)} and leaves its body as a {describe(b)}", node)
        if any(id in e.symbols for e in b.valid):
            raise TilebuildError(
                Diagnostic(
                    "E305",
                    f"the valid region of {name} changes from step to step: [{b.valid[0]}, {b.valid[1]}] depends on the "
                    f"loop variable, so lanes would be lost at the ragged last step",
                    self.last_assignment(node, name),
                    notes=((self.builder.span_of(init), f"it starts valid in [{a.valid[0]}, {a.valid[1]}]"),),
                    fix="fill what is not there, X[i, j].fill(0.0), or reduce first: X[i, j].sum(1)",
                )
            )
        op = NarrowOp(init.owner.value if isinstance(init.owner, NarrowOp) else init, b.valid)
        self.builder.add(op)
        return op.result

    def last_assignment(self, node: ast.For, name: str) -> Span:
        found: ast.AST = node
        for inner in ast.walk(ast.Module(node.body, [])):
            if isinstance(inner, ast.Name) and inner.id == name and isinstance(inner.ctx, ast.Store):
                found = inner
        return self.scope.span(found)


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    return target


def _stored_names(statements: Sequence[ast.stmt]) -> set[str]:
    return {
        n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _loaded_names(statements: Sequence[ast.stmt]) -> set[str]:
    found = set()
    for s in statements:
        for n in ast.walk(s):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                found.add(n.id)
            elif isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name):
                found.add(n.target.id)
    return found


def _read_before_written(statements: Sequence[ast.stmt]) -> set[str]:
    """Names that one pass through the statements may read before it assigns them (conservative)."""
    written: set[str] = set()
    read: set[str] = set()
    for s in statements:
        if isinstance(s, (ast.For, ast.If)):
            inner = [*s.body, *s.orelse]
            head = [ast.Expr(s.iter if isinstance(s, ast.For) else s.test)]
            read |= _loaded_names(head) - written
            read |= _read_before_written(inner) - written
            continue  # a loop may run zero times, a branch may not be taken: neither counts as written
        read |= _loaded_names([s]) - written
        written |= _stored_names([s])
    return read
