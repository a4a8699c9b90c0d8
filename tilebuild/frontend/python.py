"""Python to L1: lowers the body of one kernel variant by walking its syntax tree.

Statements are handled here, expressions in `expressions`, calls in `calls`. Loop-carried values are found by what
the body assigns; nobody writes a yield.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import Rewriter
from xdsl.utils.exceptions import VerifyException

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.frontend.builder import Builder
from tilebuild.frontend.calls import CallLowering
from tilebuild.frontend.scope import Dimension, Sources, name_problem, source_text
from tilebuild.frontend.signature import PythonKernel, VariantDef
from tilebuild.frontend.values import Iteration, TileSpace, Value, show
from tilebuild.ir import infer
from tilebuild.ir.dialect import CastOp, ForOp, FuncOp, NarrowOp, ProgramOp, StoreOp, YieldOp
from tilebuild.ir.facts import facts_to_ranges, fixed
from tilebuild.ir.infer import describe
from tilebuild.ir.spans import set_parameter_spans
from tilebuild.ir.types import DTYPES, TileType, ViewType
from tilebuild.plan.bounds import Range, at_most
from tilebuild.plan.expr import Expr, const, parse_predicates, sym


def lower_kernel(kernel: PythonKernel, variant: VariantDef, name: str, library: Sources) -> FuncOp:
    """L1 of one variant, called `name`; `library` holds the composites written in the language.

    Raises `TilebuildError` with the first broken rule, at its place in the kernel's file.
    """
    try:
        return _lower(kernel, variant, name, library)
    except RecursionError:
        fix = "give parts of the expression names"
        raise TilebuildError(Diagnostic("E119", f"{kernel.name} is nested too deeply", kernel.span, fix=fix)) from None


def _lower(kernel: PythonKernel, variant: VariantDef, name: str, library: Sources) -> FuncOp:
    ranges: dict[str, Range] = {d: Range(const(1)) for d in kernel.dims}
    ranges |= {f"{p.name}__s{a}": Range(const(0)) for p in kernel.parameters for a in range(len(p.dims) - 1)}
    requires = [str(p) for p in parse_predicates(variant.when)] if variant.when else []
    facts_to_ranges(requires, ranges)
    known = fixed(ranges)
    types = [
        ViewType.of(p.dtype, p.mode, [d.substitute(known) for d in p.dims], _strides(p.name, len(p.dims)))
        if p.dims
        else DTYPES[p.dtype]
        for p in kernel.parameters
    ]
    block = Block(arg_types=types)
    env: dict[str, Value] = {p.name: a for p, a in zip(kernel.parameters, block.args)}
    env.update(variant.consts)
    env.update(variant.statics)
    body = _Body(Builder(block, kernel.file, kernel.dims, ranges, requires), env, kernel.scope, library)
    body.body(kernel.node.body, ())
    if not any(isinstance(op, ProgramOp) for op in block.ops):
        fix = "i = tb.program(tb.cdiv(M, BM))"
        raise body.fail("E111", f"{kernel.name} has no `tb.program(...)`", kernel.node, fix)
    func = FuncOp(
        name, kernel.name, block, params=[p.name for p in kernel.parameters], dims=kernel.dims,
        consts={**dict(variant.consts), **dict(variant.statics)}, requires=requires, file=kernel.file,
        when=variant.when, target=variant.target, otherwise=kernel.otherwise,
    )  # fmt: skip
    set_parameter_spans(func, [p.span for p in kernel.parameters])
    try:
        func.verify()
    except VerifyException as e:
        raise AssertionError(f"the front end made invalid IR for {kernel.name}: {e}") from e
    return func


def _strides(parameter: str, rank: int) -> list[Expr]:
    return [sym(f"{parameter}__s{axis}") for axis in range(rank - 1)] + [const(1)]


class _Body(CallLowering):
    """Lowers statements; one instance a kernel body or inlined helper."""

    def body(self, statements: Sequence[ast.stmt], after: tuple[Sequence[ast.stmt], ...]) -> None:
        """Lower a whole body."""
        self.local_names = frozenset(_stored_names(statements))
        for node in (n for s in statements for n in ast.walk(s)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.require_assignable(node)
        self.run(statements, after)

    def require_assignable(self, node: ast.Name) -> None:
        problem = name_problem(node.id)
        if isinstance(self.scope.names.get(node.id), Dimension):
            problem = f"{node.id} is a dimension and cannot be assigned"
        if problem:
            raise self.fail("E113", problem, node, "choose another name")

    def run(self, statements: Sequence[ast.stmt], after: tuple[Sequence[ast.stmt], ...]) -> None:
        """Lower statements in order; `after` holds what runs later in enclosing bodies (for liveness)."""
        for i, statement in enumerate(statements):
            with self.at(statement):
                self.statement(statement, (statements[i + 1 :], *after))

    def statement(self, node: ast.stmt, after: tuple[Sequence[ast.stmt], ...]) -> None:
        self.spend(node)
        self.target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign):
            value = self.expression(node.value)
            for target in node.targets:
                self.assign(target, value)
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self.assign(node.target, self.expression(node.value))
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
            self.run(node.body if self.decided(node.test) else node.orelse, after)
        elif isinstance(node, ast.Pass):
            pass
        elif isinstance(node, ast.Return):
            raise self.fail("E112", "a kernel does not return: it stores into its outputs", node, "Y[i, j] = value")
        else:
            word = source_text(node).split()[0]
            fix = "kernels use assignments, for, if and stores"
            raise self.fail("E112", f"`{word}` has no meaning in a kernel", node, fix)

    def assign(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.env[target.id] = value
        elif isinstance(target, ast.Tuple):
            if not isinstance(value, tuple) or len(value) != len(target.elts):
                message = f"{len(target.elts)} names are assigned from {show(value)}"
                raise self.fail("E113", message, target, "give both sides the same number of entries")
            for t, v in zip(target.elts, value):
                self.assign(t, v)
        elif isinstance(target, ast.Subscript):
            self.store(target, value)
        else:
            fix = "assign to names, tuples of names, and tile spaces: Y[i, j] = t"
            raise self.fail("E113", f"cannot assign to {source_text(target)}", target, fix)

    def store(self, target: ast.Subscript, value: Value) -> None:
        space = self.expression(target.value)
        if not isinstance(space, TileSpace):
            raise self.fail(
                "E205", f"a store needs a tile space, found {show(space)}", target, "y.tiles(BM, BN)[i, j] = t"
            )
        if isinstance(value, (int, float, Expr)):
            fix = f"tb.full(({space.shape[0]}, {space.shape[1]}), value)"
            raise self.fail("E205", f"{show(value)} is stored into a tile space", target, fix)
        tile = self.ssa(value, target)
        with self.rules(target), self.at(target):
            infer.store(tile.type, space.view.type, space.shape)
            self.builder.add(StoreOp(tile, space.view, self.start(space, target)))

    # -- loops ----------------------------------------------------------------------------------

    def loop(self, node: ast.For, after: tuple[Sequence[ast.stmt], ...]) -> None:
        iteration = self.expression(node.iter)
        if not isinstance(iteration, Iteration):
            message = f"a loop runs over tb.range, tb.pipeline or tb.unroll, not {show(iteration)}"
            raise self.fail("E112", message, node.iter, "for k in tb.range(n):")
        if not isinstance(node.target, ast.Name) or node.orelse:
            raise self.fail("E112", "a loop has one name and no else", node.target, "for k in tb.range(n):")
        if iteration.unrolled:
            for k in range(iteration.lower.value, iteration.upper.value):
                self.spend(node)
                self.env[node.target.id] = k
                self.run(node.body, (node.body, *after))
            return
        carried = self.carried(node, node.target.id, after)
        before = dict(self.env)
        loop = self.settled(node, iteration, carried, after)
        with self.at(node.iter):
            self.builder.add(loop)
        # what only the loop assigns may never have been assigned: it is gone after it
        assigned = _stored_names([node])
        self.env.clear()
        self.env.update({n: v for n, v in before.items() if n not in assigned})
        self.env.update(dict(zip(carried, loop.outs)))

    def carried(self, node: ast.For, id: str, after: tuple[Sequence[ast.stmt], ...]) -> list[str]:
        """Names bound before the loop, assigned in it, and read in a later iteration or after it."""
        read = _read_before_written(node.body) | _loaded_names([s for group in after for s in group])
        return sorted(n for n in _stored_names(node.body) & read if n in self.env and n != id)

    def settled(
        self, node: ast.For, iteration: Iteration, carried: list[str], after: tuple[Sequence[ast.stmt], ...]
    ) -> ForOp:
        """The loop, its carried tiles narrowed until each iteration yields what it was given (D7)."""
        before, used = dict(self.env), self.builder.used_symbols()
        starts = [self.carried_init(n, node) for n in carried]
        inits = starts
        for _ in range(2 * len(carried) + 2):  # each round narrows at least one axis of one tile
            body, yielded, id = self.loop_body(node, iteration, carried, inits, after)
            valid = [self.narrowed(*args, id, node) for args in zip(carried, inits, yielded)]
            if all(v is None for v in valid):
                break
            body.erase(safe_erase=False)
            self.builder.restore_symbols(used)
            self.env.clear()
            self.env.update(before)
            inits = [
                self.narrow(start, init, v) if v is not None else init for start, init, v in zip(starts, inits, valid)
            ]
        for name, init, value in zip(carried, inits, yielded):
            if init.type != value.type:
                raise self.changes(name, init, value, node)
        return ForOp(id, iteration.lower, iteration.upper, inits, body, stages=iteration.stages)

    def carried_init(self, name: str, node: ast.For) -> SSAValue:
        value = self.env[name]
        if isinstance(value, SSAValue) and not isinstance(value.type, ViewType):
            return value
        if isinstance(value, float):
            return self.number(value, node, "f32")
        raise self.fail(
            "E304", f"{name} changes in the loop but starts as {show(value)}", self.last_assignment(node, name),
            f"start it as a tile or a float: {name} = tb.zeros((BM, 1))",
        )  # fmt: skip

    def loop_body(
        self,
        node: ast.For,
        it: Iteration,
        carried: list[str],
        inits: list[SSAValue],
        after: tuple[Sequence[ast.stmt], ...],
    ) -> tuple[Block, list[SSAValue], str]:
        assert isinstance(node.target, ast.Name)
        block = Block(arg_types=[v.type for v in inits])
        id = self.builder.fresh_symbol(node.target.id, Range(it.lower, it.upper - 1))
        with self.builder.inside(block), self.at(node.iter):
            self.env.update(dict(zip(carried, block.args)))
            self.env[node.target.id] = sym(id)
            self.run(node.body, (node.body, *after))
            yielded = [self.yielded(n, node) for n in carried]
            for i, v in enumerate(yielded):
                if v in block.args and v is not block.args[i]:
                    # all updates happen at once: one that takes another's old value takes a copy of it
                    yielded[i] = self.built(CastOp(v, infer.dtype_of(v.type)))
            self.builder.add(YieldOp(yielded))
        self.builder.end_symbol(id)
        return block, yielded, id

    def yielded(self, name: str, node: ast.For) -> SSAValue:
        place = self.last_assignment(node, name)
        if name not in self.env:  # the variable of a loop inside this one
            message = f"{name} is read later, and has no value at the end of the loop"
            raise self.fail("E304", message, place, "give the inner loop's variable another name")
        return self.ssa(self.env[name], place)

    def narrowed(
        self, name: str, init: SSAValue, yielded: SSAValue, id: str, node: ast.For
    ) -> tuple[Expr, Expr] | None:
        """The smaller valid region that `init` must start with; raises E304 and E305."""
        a, b = init.type, yielded.type
        if a == b:
            return None
        if not (isinstance(a, TileType) and isinstance(b, TileType)) or (a.shape, a.dtype) != (b.shape, b.dtype):
            raise self.changes(name, init, yielded, node)
        if any(id in e.symbols for e in b.valid):
            raise self.fail(
                "E305",
                f"the valid region of {name} changes from step to step: [{b.valid[0]}, {b.valid[1]}] depends on the "
                f"loop variable {id}, so lanes would be lost at the ragged last step",
                self.last_assignment(node, name),
                "fill what is not there, X[i, j].fill(0.0), or reduce first: X[i, j].sum(1)",
                ((self.builder.span_of(init), f"it starts valid in [{a.valid[0]}, {a.valid[1]}]"),),
            )
        rows, cols = (y if at_most(y, x, self.builder.ranges) else x for x, y in zip(a.valid, b.valid))
        return (rows, cols) if (rows, cols) != a.valid else None

    def narrow(self, start: SSAValue, init: SSAValue, valid: tuple[Expr, Expr]) -> SSAValue:
        """`start` with a smaller valid region, in place of the `init` of the round before."""
        if init is not start and isinstance(init.owner, Operation):
            Rewriter.erase_op(init.owner)
        return self.built(NarrowOp(start, valid))

    def changes(self, name: str, init: SSAValue, value: SSAValue, node: ast.For) -> TilebuildError:
        """The type that goes into the loop is not the one that comes out of its body."""
        a, b = init.type, value.type
        before, after = describe(a), describe(b)
        if isinstance(a, TileType) and isinstance(b, TileType) and before == after:
            before, after = (f"{describe(t)} valid in [{t.valid[0]}, {t.valid[1]}]" for t in (a, b))
        return self.fail(
            "E304",
            f"{name} is {before} where the loop starts and {after} where its body ends",
            self.last_assignment(node, name),
            "start it as what it becomes: extents and dtype stay in a loop, and a valid region does not grow",
            ((self.builder.span_of(init), "it starts here"),),
        )

    def last_assignment(self, node: ast.For, name: str) -> ast.AST:
        found: ast.AST = node.target
        for inner in ast.walk(ast.Module(node.body, [])):
            if isinstance(inner, ast.Name) and inner.id == name and isinstance(inner.ctx, ast.Store):
                found = inner
        return found


def _as_load(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    return target


def _stored_names(statements: Sequence[ast.stmt]) -> set[str]:
    return {n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


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
            head = [ast.Expr(s.iter if isinstance(s, ast.For) else s.test)]
            inside = _read_before_written([*s.body, *s.orelse])
            if isinstance(s, ast.For) and isinstance(s.target, ast.Name):
                inside.discard(s.target.id)
            read |= (_loaded_names(head) | inside) - written
            continue  # a loop may run zero times, a branch may not be taken: neither counts as written
        read |= _loaded_names([s]) - written
        written |= _stored_names([s])
    return read
