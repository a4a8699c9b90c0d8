"""`operands`: every access lies inside its buffer and its array, and every instruction's operands agree."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tilebuild.oracle.context import Context, instruction_name, storage_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.nests import nest_problems
from tilebuild.oracle.ops import RULES, Rule
from tilebuild.oracle.program import Touch, symbols
from tilebuild.oracle.regions import Node
from tilebuild.oracle.scopes import Scope
from tilebuild.oracle.shapes import Operation, Problem, box_problems, problems, reduced_axis
from tilebuild.oracle.spread import spread_problems
from tilebuild.oracle.views import outside
from tilebuild.plan.expr import Expr, ExprError, parse
from tilebuild.plan.model import Fused, Global, Instr, Placed

NAME = "operands"
_BOOLEANS = ("true", "false")


def run(context: Context) -> None:
    """Judge every access, every instruction, every nest and every fused tile."""
    _Accesses(context).run()
    instructions = _Instructions(context)
    for instr, node, reads, writes in context.program.operations:
        instructions.check(instr, node, reads, writes)
    for node, group in groupby(context.program.operations, key=lambda operation: operation[1]):
        if node.region.kind == "nest":
            touches = [t for _, _, reads, writes in group for t in (*reads, *writes)]
            for touch, problem in nest_problems(node, touches):
                _add(context, touch.instr, problem)
    for touches in context.program.local.values():
        _check_fused(context, touches)
    for instr, problem in spread_problems(context.program):
        _add(context, instr, problem)


class _Accesses:
    """Boxes inside extents, and views inside arrays; equal questions are asked once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._dims = {p.name: p.dims for p in context.plan.contract.parameters}
        self._symbols = {b.id: symbols(b) for b in context.plan.buffers}
        known: dict[tuple[Expr, Expr], tuple[Expr, Expr]] = {}  # equal extents are one object
        self._extents = {b.id: known.setdefault((b.rows, b.cols), (b.rows, b.cols)) for b in context.plan.buffers}
        self._boxes: dict[tuple[int, int, bool, int], tuple[Problem, ...]] = {}
        self._views: set[tuple[str, int]] = set()

    def run(self) -> None:
        for touch in self._context.program.touches:
            storage = touch.buffer.storage
            if isinstance(storage, Global):
                self._view(touch, storage)
            for problem in self._box(touch):
                what = f"{problem.what}: {storage_name(touch.buffer)}"
                _add(self._context, touch.instr, Problem(problem.code, problem.outcome, what, problem.fix))

    def _box(self, touch: Touch) -> tuple[Problem, ...]:
        buffer, clipped = touch.buffer, isinstance(touch.buffer.storage, Global)
        extents = id(self._extents[buffer.id])
        here = (id(touch.lanes), extents, clipped, id(touch.node.scope))
        found = self._boxes.get(here)
        if found is not None:
            return found
        scope = touch.node.scope.simplest(self._symbols[buffer.id] | touch.lanes.symbols)
        key = (id(touch.lanes), extents, clipped, id(scope))
        found = self._boxes.get(key)
        if found is None:
            sides = ((touch.lanes.rows, "rows", buffer.rows), (touch.lanes.cols, "columns", buffer.cols))
            found = tuple(p for axis, name, extent in sides for p in box_problems(scope, axis, name, extent, clipped))
            self._boxes[key] = found
        self._boxes[here] = found
        return found

    def _view(self, touch: Touch, view: Global) -> None:
        scope = touch.node.scope.simplest(self._symbols[touch.buffer.id])
        if (touch.buffer.id, id(scope)) in self._views:
            return
        self._views.add((touch.buffer.id, id(scope)))
        why = outside(scope, touch.buffer, view, self._dims[view.parameter])
        if why:
            what = f"touches {storage_name(touch.buffer)}, which is not proved to lie inside the array: {why}"
            fix = "make the view no larger than its array; what bounds it must be a fact of the contract"
            _add(self._context, touch.instr, Problem("O-OPER-06", UNKNOWN, what, fix))


class _Instructions:
    """Each instruction by itself; what is wrong with the shapes of equal ones in one scope is worked out once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._shapes: dict[tuple[object, ...], tuple[Problem, ...]] = {}
        self._right: set[tuple[object, ...]] = set()

    def check(self, instr: Instr, node: Node, reads: tuple[Touch, ...], writes: tuple[Touch, ...]) -> None:
        # all that is looked at, but for the two operations that depend on which buffers they have
        key = (
            instr.op, instr.attrs, node.region.kind, id(node.scope), len(reads),
            *[(id(t.lanes), t.buffer.dtype, t.buffer.storage.__class__) for t in (*reads, *writes)],
        )  # fmt: skip
        if key in self._right:
            return
        found = False
        for problem in self._problems(instr, node, reads, writes):
            _add(self._context, instr, problem)
            found = True
        if not found and instr.op not in ("dot", "pack"):
            self._right.add(key)

    def _problems(
        self, instr: Instr, node: Node, reads: tuple[Touch, ...], writes: tuple[Touch, ...]
    ) -> Iterator[Problem]:
        rule = RULES.get(instr.op)
        if rule is None:
            what = "is an operation that the oracle does not know: nothing is proved about its operands"
            yield Problem("O-OPER-01", UNKNOWN, what, "use an operation of the table in the documentation")
            return
        if (len(reads), len(writes)) != (rule.reads, rule.writes):
            counts = f"reads {len(reads)} and writes {len(writes)} boxes, not {rule.reads} and {rule.writes}"
            yield Problem("O-OPER-02", VIOLATED, counts, "give the operation the operands it takes")
            return
        if not writes:
            return
        problem = _attribute_problem(self._context, instr, rule, node.scope, writes[0].buffer.dtype)
        if problem:
            yield Problem("O-OPER-02", VIOLATED, problem, "give the operation the attributes it takes")
        problem = _storage_problem(instr, reads, writes[0])
        if problem:
            yield Problem("O-OPER-10", VIOLATED, problem, "load from and store to arrays; compute on tiles")
        if node.region.kind == "nest" and not rule.lanewise:
            what = "does not compute lane by lane, and stands in a nest"
            yield Problem("O-OPER-14", VIOLATED, what, "move it out of the nest")
        yield from self._shape_problems(Operation(instr, rule, reads, writes[0], node.scope))

    def _shape_problems(self, op: Operation) -> tuple[Problem, ...]:
        if op.rule.kind == "dot":  # where its accumulator lies is a matter of its buffers too
            return tuple(problems(op))
        touches = (*op.reads, op.result)
        key = (op.instr.op, op.instr.attrs, id(op.scope), *((id(t.lanes), t.buffer.dtype) for t in touches))
        found = self._shapes.get(key)
        if found is None:
            found = self._shapes[key] = tuple(problems(op))
        return found


def _attribute_problem(context: Context, instr: Instr, rule: Rule, scope: Scope, dtype: str) -> str:
    attributes = dict(instr.attrs)
    for name in rule.attributes:
        if name not in attributes:
            return f'lacks the attribute "{name}"'
    if "value" in rule.attributes and not _is_number(str(attributes["value"])):
        return f"has the value {attributes['value']!r:.40}, which is no number"
    if instr.op == "iota" and reduced_axis(instr) is None:
        return "has an attribute axis that is neither 0 nor 1"
    if instr.op == "param":
        scalars = {p.name: p.dtype for p in context.plan.contract.parameters if p.mode == "scalar"}
        given = scalars.get(str(attributes["name"]))
        if given is None:
            return f"takes {attributes['name']!r:.40}, which is no scalar parameter"
        if given != dtype:
            return f"takes {attributes['name']}, which is {given}, into a tile of {dtype}"
    if instr.op == "index":
        try:
            unknown = [name for name in sorted(parse(str(attributes["expr"])).symbols) if scope.known(name) is None]
        except (ExprError, ValueError, RecursionError):
            return f"has the expression {attributes['expr']!r:.40}, which is none"
        if unknown:
            return f"uses {', '.join(unknown)}, which no symbol and no enclosing loop declares"
    return ""


def _is_number(text: str) -> bool:
    if text.lower() in _BOOLEANS:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _storage_problem(instr: Instr, reads: tuple[Touch, ...], result: Touch) -> str:
    takes = instr.op in ("load", "window", "gather", "pack", "stage")
    gives = instr.op in ("store", "scatter", "atomic_add")
    for read in reads:
        if isinstance(read.buffer.storage, Global) and not takes:
            return f"reads {storage_name(read.buffer)}, and takes tiles only"
        is_array = isinstance(read.buffer.storage, Global)
        if (instr.op in ("load", "window") and not is_array) or (
            instr.op == "gather" and is_array != (read is reads[1])
        ):
            return f"reads {storage_name(read.buffer)}, and takes views of arrays only"
    if isinstance(result.buffer.storage, Global) != gives:
        return f"writes {storage_name(result.buffer)}, and gives {'arrays' if gives else 'tiles'} only"
    for touch, shared in ((reads[0] if reads else result, instr.op == "get"), (result, instr.op in ("put", "stage"))):
        if shared and not isinstance(touch.buffer.storage, Placed):
            verb = "writes" if touch.write else "reads"
            return f"{verb} {storage_name(touch.buffer)}, and threads meet in placed tiles only"
    if instr.op == "pack":
        buffer = result.buffer
        if not isinstance(buffer.storage, Placed) or buffer.layout.blayout != "panels32":
            layout = f"of layout {buffer.layout.blayout}"
            return f"writes {storage_name(buffer)} {layout}, and gives placed tiles of layout panels32 only"
    return ""


def _check_fused(context: Context, touches: list[Touch]) -> None:
    first = touches[0]
    if not isinstance(first.root.storage, Fused):
        return
    for touch in touches:
        if touch.node.region.kind != "nest" or touch.node is not first.node:
            verb = "writes" if touch.write else "reads"
            where = f"first touched by {instruction_name(first.instr)}" if touch is not first else "outside of any nest"
            what = f"{verb} {storage_name(touch.buffer)}, {where}: a fused tile lives inside one nest"
            fix = "give the tile a place in memory, or move its instructions into one nest"
            finding = Problem("O-OPER-13", VIOLATED, what, fix)
            _add(context, touch.instr, finding)
            return


def _add(context: Context, instr: Instr, problem: Problem) -> None:
    message = f"{instruction_name(instr)} {problem.what}"
    ids = (instr.id,)
    context.findings.add(problem.code, problem.outcome, message, span=instr.span, instructions=ids, fix=problem.fix)
