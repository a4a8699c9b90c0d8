"""`sync`: whatever touches the same bytes at the same time, one of the touches a write, is put in order by something.

Three kinds of plans. A block of threads: between two barriers its threads run in any order, so what one instruction
writes to a placed tile, another one touches after a barrier only, around loops too. Several engines (instructions name
theirs): the assembler orders what begins at one address, so tiles that share bytes and are touched by several engines
begin at the same one. Everything else runs in program order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tilebuild.oracle.boxes import disjoint
from tilebuild.oracle.context import Context, instruction_name, span_of, storage_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.limits import threads
from tilebuild.oracle.program import Touch
from tilebuild.oracle.regions import Node
from tilebuild.oracle.scopes import constant
from tilebuild.plan.model import Buffer, Instr, Placed

NAME = "sync"
_MOST = 64  # different touches of one space between two barriers; no real kernel has twenty
_CARRIER = "barrier "


def run(context: Context) -> None:
    """Judge the plan as the kind that it is."""
    if threads(context.plan) != 1:
        _Barriers(context).run()
    elif any(i.engine for i in context.plan.instructions):
        _engines(context)
    _check_edges(context)


def _check_edges(context: Context) -> None:
    """An edge that a barrier carries names one."""
    barriers = {f"{_CARRIER}{i.id}" for i in context.plan.instructions if i.op == "barrier"}
    for edge in context.plan.edges:
        if edge.carrier.startswith(_CARRIER) and edge.carrier not in barriers:
            message = f"the edge from instruction {edge.source} to {edge.target} is carried by {edge.carrier}"
            message += ", which the plan does not have"
            ids = (edge.source, edge.target)
            fix = "put the barrier back, or remove the edge"
            context.findings.add("O-SYNC-03", VIOLATED, message, instructions=ids, fix=fix)


@dataclass(frozen=True)
class _Open:
    """A touch with no barrier on one of its sides; `certain` unless a barrier in a loop that may not run is there."""

    touch: Touch
    certain: bool = True


@dataclass
class _Section:
    """A piece of the program: the touches before its first barrier and those after its last one, by what they touch,
    and whether every way through it meets a barrier."""

    before: dict[object, _Open] = field(default_factory=dict)
    after: dict[object, _Open] = field(default_factory=dict)
    barrier: bool = False  # on some way
    closed: bool = False  # on every way


class _Barriers:
    """Composes sections along the region tree; two touches that no barrier separates are judged where they meet."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.judged: set[tuple[object, object, bool]] = set()
        self.gave_up = False

    def run(self) -> None:
        stack: list[tuple[Node, _Section]] = []
        for instr, node, reads, writes in self.context.program.operations:
            while stack and not stack[-1][0].contains(node):
                self._leave(stack)
            for inner in _path(stack[-1][0] if stack else None, node):
                stack.append((inner, _Section()))
            if instr.op == "barrier":
                self._barrier(instr, node)
            self._append(stack[-1][1], self._section(instr, (*reads, *writes)))
        while len(stack) > 1:
            self._leave(stack)

    def _section(self, instr: Instr, touches: Iterable[Touch]) -> _Section:
        if instr.op == "barrier":
            return _Section(barrier=True, closed=True)
        placed = {_key(t): _Open(t) for t in touches if isinstance(t.root.storage, Placed)}
        return _Section(placed, dict(placed))

    def _barrier(self, instr: Instr, node: Node) -> None:
        at: Node | None = node
        while at is not None:
            if at.region.kind in ("branch", "nest"):
                what = "a branch" if at.region.kind == "branch" else "a nest"
                message = f"{instruction_name(instr)} stands in {what}: not every thread of the block may reach it"
                fix = "move the barrier out of it"
                self.context.findings.add(
                    "O-SYNC-02", VIOLATED, message, span=instr.span, instructions=(instr.id,), fix=fix
                )
                return
            at = at.parent

    def _leave(self, stack: list[tuple[Node, _Section]]) -> None:
        node, section = stack.pop()
        region = node.region
        if region.kind == "loop" and region.lower is not None and region.upper is not None:
            if not node.parent or not node.parent.scope.at_most(region.upper, region.lower + region.step):
                self._meet(section.after, section.before, node)  # one iteration and the next
            section.closed = section.closed and node.runs
        elif region.kind in ("branch", "nest"):
            section.closed = False
        self._append(stack[-1][1], section)

    def _append(self, first: _Section, second: _Section) -> None:
        self._meet(first.after, second.before, None)
        if not first.closed:
            passed = not first.barrier
            for key, touch in second.before.items():
                known = first.before.get(key)
                if known is None or (passed and not known.certain):
                    first.before[key] = touch if passed else replace(touch, certain=False)
        if second.closed:
            first.after = second.after
        else:
            if second.barrier:
                first.after = {k: replace(t, certain=False) for k, t in first.after.items()}
            first.after.update(second.after)
        first.barrier = first.barrier or second.barrier
        first.closed = first.closed or second.closed
        for touches in (first.before, first.after):
            if len(touches) > _MOST:
                self._give_up(touches)

    def _give_up(self, touches: dict[object, _Open]) -> None:
        oldest = next(iter(touches))
        instr = touches.pop(oldest).touch.instr
        if not self.gave_up:
            self.gave_up = True
            message = f"{instruction_name(instr)} is followed by more than {_MOST} different touches and no barrier"
            message += ": they are not compared any further"
            fix = "put a barrier in between"
            self.context.findings.add("O-SYNC-04", UNKNOWN, message, span=instr.span, instructions=(instr.id,), fix=fix)

    def _meet(self, earlier: dict[object, _Open], later: dict[object, _Open], loop: Node | None) -> None:
        for key, a in earlier.items():
            for other, b in later.items():
                if (key, other, loop is not None) in self.judged or not (a.touch.write or b.touch.write):
                    continue
                self.judged.add((key, other, loop is not None))
                if _share_bytes(a.touch, b.touch):
                    self._judge(a, b, loop)

    def _judge(self, a: _Open, b: _Open, loop: Node | None) -> None:
        first, second = a.touch, b.touch
        varies = loop is not None and (_bound_inside(first, loop) or _bound_inside(second, loop))
        if not varies and disjoint(first, second):
            return
        sure = a.certain and b.certain and _constant(first) and _constant(second)
        sure = sure and "nest" not in (first.node.region.kind, second.node.region.kind)
        again = f" in the next iteration of the loop over {loop.region.var}" if loop is not None else ""
        missing = "no barrier between them" if sure else "no barrier that is proved to be between them"
        message = (
            f"{instruction_name(first.instr)} {_verb(first)} {storage_name(first.buffer)}, and "
            f"{instruction_name(second.instr)} {_verb(second)} {storage_name(second.buffer)}{again}, with {missing}: "
            f"another thread may be there already"
        )
        ids = (first.instr.id, second.instr.id)
        where = f"at the end of the loop over {loop.region.var}" if loop is not None else "between the two"
        self.context.findings.add(
            "O-SYNC-01", VIOLATED if sure else UNKNOWN, message, span=span_of(second), instructions=ids,
            fix=f"put a barrier {where}",
        )  # fmt: skip


def _path(outer: Node | None, inner: Node) -> list[Node]:
    """The regions from the one inside `outer` to `inner`."""
    found = []
    node: Node | None = inner
    while node is not None and node is not outer:
        found.append(node)
        node = node.parent
    return found[::-1]


def _key(touch: Touch) -> object:
    """What a touch is judged by: equal ones need no second judgement."""
    node, names = touch.node, touch.lanes.symbols
    bound = tuple((name, node.bindings[name]) for name in sorted(names) if name in node.bindings)
    scope = node.scope.simplest(names)
    return touch.buffer.id, id(touch.lanes), touch.write, node.region.kind == "nest", id(scope), bound


def _bound_inside(touch: Touch, loop: Node) -> bool:
    """True if the box moves from one iteration of the loop to the next."""
    outside = loop.parent.bindings if loop.parent is not None else {}
    return any(name in touch.node.bindings and name not in outside for name in touch.lanes.symbols)


def _share_bytes(a: Touch, b: Touch) -> bool:
    return a.root is b.root or _overlap(a.buffer, b.buffer)


def _overlap(a: Buffer, b: Buffer) -> bool:
    x, y = a.storage, b.storage
    if not (isinstance(x, Placed) and isinstance(y, Placed)) or x.space != y.space:
        return False
    return x.offset < y.offset + y.bytes and y.offset < x.offset + x.bytes


def _constant(touch: Touch) -> bool:
    return all(constant(e) is not None for axis in touch.lanes.axes for e in (axis.start, axis.size))


def _verb(touch: Touch) -> str:
    return "writes" if touch.write else "reads"


def _engines(context: Context) -> None:
    """Tiles that overlap without beginning at one address are touched by one engine only: it works in order."""
    users: dict[tuple[str, int], dict[str, tuple[int, Touch]]] = {}  # at one address: by engine the longest
    for touches in context.program.local.values():
        for touch in touches:
            storage = touch.buffer.storage
            if isinstance(storage, Placed):
                here = users.setdefault((storage.space, storage.offset), {})
                end, engine = storage.offset + storage.bytes, touch.instr.engine
                if engine not in here or here[engine][0] < end:
                    here[engine] = end, touch
    open_ones: dict[str, tuple[int, Touch]] = {}  # begun at lower addresses: by engine the one that ends last
    last_space = ""
    for (space, start), here in sorted(users.items(), key=lambda item: item[0]):
        open_ones = {e: o for e, o in open_ones.items() if o[0] > start} if space == last_space else {}
        last_space = space
        for engine, (_, touch) in here.items():
            for other, (_, earlier) in open_ones.items():
                if other != engine:
                    _report_engines(context, earlier, touch)
        for engine, found in here.items():
            if engine not in open_ones or open_ones[engine][0] < found[0]:
                open_ones[engine] = found


def _report_engines(context: Context, a: Touch, b: Touch) -> None:
    message = (
        f"{storage_name(a.buffer)} and {storage_name(b.buffer)} share bytes from different addresses, and engine "
        f"{a.instr.engine or 'unnamed'} touches the one ({instruction_name(a.instr)}), engine "
        f"{b.instr.engine or 'unnamed'} the other ({instruction_name(b.instr)}): the assembler does not order them"
    )
    ids = (a.instr.id, b.instr.id)
    fix = "let the two begin at one address, or not overlap"
    context.findings.add("O-SYNC-05", VIOLATED, message, span=span_of(b), instructions=ids, fix=fix)
