"""The region tree of a plan, checked, with what is known inside each region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tilebuild.diagnostics import Span
from tilebuild.oracle.findings import VIOLATED, Findings
from tilebuild.oracle.scopes import Scope
from tilebuild.oracle.structure import FIXES
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Plan, Region

MAX_DEPTH = 64


@dataclass(slots=True, eq=False)
class Node:
    """A region in its tree. `first` and `last` are the steps of its first and last instruction (last < first where
    it has none), filled while the instructions are read; `runs` is False where a loop may run zero times; `bindings`
    says which region binds each loop id that is visible."""

    region: Region
    parent: Node | None
    depth: int
    scope: Scope
    runs: bool
    bindings: Mapping[str, int]
    enter: int = 0
    leave: int = 0
    first: int = 1
    last: int = 0

    def contains(self, other: Node) -> bool:
        """True if `other` is this region or lies inside it."""
        return self.enter <= other.enter < self.leave

    @property
    def enclosing_loop(self) -> Node | None:
        """The innermost loop that this region is or lies in."""
        node: Node | None = self
        while node is not None and node.region.kind != "loop":
            node = node.parent
        return node


def tree(plan: Plan, base: Scope, faults: Findings) -> dict[int, Node]:
    """The regions by id, parents before children; what is wrong with them goes into `faults`."""
    children: dict[int, list[Region]] = {}
    root = None
    for region in plan.regions:
        if region.id == 0:
            root = region
        else:
            children.setdefault(region.parent, []).append(region)
    if root is None or root.kind != "program":
        _fault(faults, "O-PLAN-03", None, 'the plan has no region 0 of kind "program"')
        return {}
    loop_names = frozenset(s.name for s in plan.symbols if s.kind == "loop")
    nodes = {0: Node(root, None, 0, base, True, {})}
    clock = 0
    pending: list[tuple[Node, bool]] = [(nodes[0], False)]
    while pending:
        node, done = pending.pop()
        if done:
            node.leave = clock
            continue
        node.enter = clock
        clock += 1
        pending.append((node, True))
        for region in reversed(children.get(node.region.id, ())):
            if node.depth == MAX_DEPTH:
                _fault(faults, "O-PLAN-03", region, f"region {region.id} is nested deeper than {MAX_DEPTH} levels")
                return nodes
            child = _node(region, node, loop_names, faults)
            nodes[region.id] = child
            pending.append((child, False))
    ids = {region.id for region in plan.regions}
    for region in plan.regions:
        if region.id not in nodes:
            why = "lies in a circle of regions" if region.parent in ids else "does not exist"
            _fault(faults, "O-PLAN-03", region, f"region {region.id}: its parent, region {region.parent}, {why}")
    return nodes


def _node(region: Region, parent: Node, loop_names: frozenset[str], faults: Findings) -> Node:
    scope, runs, bindings = parent.scope, True, parent.bindings
    problem = _malformed(region, parent, loop_names)
    if problem:
        _fault(faults, "O-PLAN-09", region, f"region {region.id} ({region.kind}) {problem}")
        return Node(region, parent, parent.depth + 1, scope, runs, bindings)
    names = [name for e in _expressions(region) for name in e.symbols]
    check_visible(names, scope, faults, f"region {region.id} ({region.kind})", span=region.span)
    if region.kind == "loop" and region.lower is not None and region.upper is not None:
        runs = scope.nonnegative(region.upper - region.lower - 1)
        scope = scope.loop(region.var, region.lower, region.upper)
        bindings = {**bindings, region.var: region.id}
    elif region.kind == "branch":
        scope = scope.branch(region.when)
    return Node(region, parent, parent.depth + 1, scope, runs, bindings)


def _malformed(region: Region, parent: Node, loop_names: frozenset[str]) -> str:
    if parent.region.kind == "nest":
        return f"lies inside nest {parent.region.id}, which holds instructions only"
    if region.kind == "loop":
        if region.lower is None or region.upper is None or region.step < 1:
            return f"needs a lower and an upper bound and a step of at least 1, not {region.step}"
        if region.var not in loop_names:
            return f'has the id "{region.var}", which is not declared as a symbol of kind "loop"'
        if region.var in parent.bindings:
            return f'has the id "{region.var}", which the enclosing region {parent.bindings[region.var]} has too'
        return ""
    if region.kind == "nest":
        return "" if region.lanes is not None else "has no lanes"
    if region.kind == "branch":
        return "" if region.when else "has no condition"
    return "is of no kind that a plan knows (loop, nest, branch)"


def _expressions(region: Region) -> Iterable[Expr]:
    if region.kind == "loop":
        yield from (e for e in (region.lower, region.upper) if e is not None)
    elif region.kind == "nest":
        yield from region.lanes or ()
    else:
        for predicate in region.when:
            yield predicate.left
            yield predicate.right


def check_visible(
    symbols: Iterable[str],
    scope: Scope,
    faults: Findings,
    what: str,
    *,
    span: Span | None = None,
    instructions: tuple[int, ...] = (),
) -> None:
    """Every symbol must be declared, and a loop id used inside its loop only."""
    unknown = sorted({name for name in symbols if scope.known(name) is None})
    if unknown:
        names = ", ".join(f'"{n}"' for n in unknown)
        message = f"{what} uses {names}, which no symbol and no enclosing loop declares"
        faults.add("O-PLAN-06", VIOLATED, message, span=span, instructions=instructions, fix=FIXES["O-PLAN-06"])


def _fault(faults: Findings, code: str, region: Region | None, message: str) -> None:
    faults.add(code, VIOLATED, message, span=region.span if region else None, fix=FIXES[code])
