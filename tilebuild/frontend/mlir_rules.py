"""What a function of the tile dialect that a person wrote must keep to, beyond its operations' own rules.

The Python front end makes only functions of this form; targets, planner and launcher rely on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping

from xdsl.ir import Block, Operation

from tilebuild.diagnostics import Diagnostic
from tilebuild.frontend.mlir_text import Module
from tilebuild.frontend.operands import EXACT
from tilebuild.frontend.scope import name_problem
from tilebuild.ir.dialect import ForOp, FuncOp, IndexOp, ProgramOp
from tilebuild.ir.facts import facts_to_ranges
from tilebuild.ir.infer import dtype_of
from tilebuild.ir.types import ViewType, parse_expr
from tilebuild.plan.bounds import Range, at_most, nonnegative
from tilebuild.plan.expr import Expr, ExprError, const, parse_predicates, sym

_ORDER = re.compile(r"row|grouped:[1-9]\d*")


def problems(func: FuncOp, parsed: Module) -> Iterator[Diagnostic]:
    """What is wrong with a function whose operations verify, each at its place."""
    rules = _Rules(func, parsed)
    rules.names()
    if not rules.found:
        rules.parameters()
        rules.facts()
    if not rules.found:
        rules.body()
    yield from rules.found


class _Rules:
    def __init__(self, func: FuncOp, parsed: Module) -> None:
        self.func, self.parsed = func, parsed
        self.dims = [d.data for d in func.dims]
        self.params = [p.data for p in func.params]
        self.found: list[Diagnostic] = []

    def report(self, code: str, message: str, op: Operation | None = None, fix: str = "", part: str = "") -> None:
        self.found.append(Diagnostic(code, message, self.parsed.span(op or self.func, part), fix=fix))

    def names(self) -> None:
        """Every name is an identifier and means one thing."""
        meaning: dict[str, str] = {}
        words: list[tuple[Operation, str, str]] = [(self.func, p, "a parameter") for p in self.params]
        words += [(self.func, d, "a dimension") for d in self.dims]
        for op in self.func.walk():
            if isinstance(op, ProgramOp):
                words += [(op, i.data, "a program id") for i in op.ids]
            elif isinstance(op, ForOp):
                words.append((op, op.id.data, "a loop's id"))
        for name in (self.func.sym_name.data, self.func.variant.data):
            problem = name_problem(name)
            if problem and "__" not in name:
                self.report("E133", problem, fix="rename the kernel", part=f'"{name}"')
        for op, name, what in words:
            problem = name_problem(name)
            if not problem and name in meaning:
                problem = f"{name} is {meaning[name]} and {what}"
            if problem:
                self.report("E133", problem, op, "every name of a kernel means one thing", f'"{name}"')
            meaning[name] = what

    def parameters(self) -> None:
        outputs = 0
        for name, arg in zip(self.params, self.func.body.block.args):
            t = arg.type
            if not isinstance(t, ViewType):
                continue
            outputs += t.mode in ("out", "inout")
            strides = [sym(f"{name}__s{a}") for a in range(len(t.dims) - 1)] + [const(1)]
            if not t.dims or list(t.strides) != strides or t.offset != const(0):
                form = f"""["{'", "'.join(map(str, strides))}"], "0\""""
                message = f"the array {name} does not have the strides and offset of an argument"
                self.report("E133", message, fix=f"the strides and the offset of {name} are {form}")
            wrong = sorted(set().union(*(e.symbols for e in t.dims)) - set(self.dims))
            if wrong:
                self.report("E102", f"the extents of {name} use {', '.join(wrong)}, which dims does not list")
            for e in t.dims:
                if e.is_const and e.value < 1:
                    self.report("E102", f"the extent {e} of {name} is not positive")
        used = {s for a in self.func.body.block.args if isinstance(a.type, ViewType) for d in a.type.dims
                for s in d.symbols}  # fmt: skip
        for name in self.dims:
            if name not in used:
                self.report("E102", f"no array has the extent {name}", part=f'"{name}"')
        if not outputs:
            self.report("E104", f"{self.func.variant.data} has no output", fix='give one array the mode "out"')

    def facts(self) -> None:
        guards = [("requires", r.data) for r in self.func.requires]
        if self.func.when:
            guards.append(("when", self.func.when.data))
        for where, fact in guards:
            try:
                predicates = parse_predicates(fact)
            except ExprError as e:
                self.report("E117", str(e), part=where)
                continue
            used = set().union(*(p.left.symbols | p.right.symbols for p in predicates))
            if used - set(self.dims):
                self.report("E117", f"{where}: {fact!r} is no condition on the dimensions", part=where)

    def body(self) -> None:
        ranges = {d: Range(const(1)) for d in self.dims}
        facts = [r.data for r in self.func.requires]
        facts_to_ranges([*facts, *([self.func.when.data] if self.func.when else [])], ranges)
        for name, arg in zip(self.params, self.func.body.block.args):
            if isinstance(arg.type, ViewType):
                ranges |= {f"{name}__s{a}": Range(const(0)) for a in range(len(arg.type.dims) - 1)}
        self.block(self.func.body.block, ranges)

    def block(self, block: Block, ranges: MutableMapping[str, Range]) -> None:
        for op in block.ops:
            if isinstance(op, ProgramOp):
                self.grid(op, ranges)
            elif isinstance(op, ForOp):
                lower, upper = op.bounds
                self.block(op.body.block, {**ranges, op.id.data: Range(lower, upper - 1)})
            elif isinstance(op, IndexOp):
                self.exact(op, parse_expr(op.expr.data), ranges)

    def grid(self, op: ProgramOp, ranges: MutableMapping[str, Range]) -> None:
        if not _ORDER.fullmatch(op.order.data):
            self.report("E116", f"the order of programs is row or grouped:<n>, not {op.order.data!r}", op, part="order")
        for name, extent in op.grid:
            if not extent.symbols <= set(self.dims):
                self.report("E111", f"the extent {extent} is no expression over the dimensions", op)
            elif not nonnegative(extent - 1, ranges):
                fix = "divide by rounding up, (M + 3) // 4, or add a fact to requires"
                self.report("E111", f"the extent {extent} is not proved to be at least 1", op, fix)
            ranges[name] = Range(const(0), extent - 1)

    def exact(self, op: IndexOp, e: Expr, ranges: MutableMapping[str, Range]) -> None:
        if e.symbols - set(ranges):
            return  # the verifier says so
        dtype = dtype_of(op.result.type)
        low, high = EXACT[dtype]
        if not (at_most(e, high, ranges) and at_most(const(low), e, ranges)):
            fix = f'bound a dimension: requires = ["{next(iter(sorted(e.symbols)), "N")} <= 65536"]'
            self.report("E210", f"the integer {e} is not proved to be exact as {dtype}", op, fix)
