"""`dead-writes`: what is written is read before it is overwritten, or before the program ends."""

from __future__ import annotations

from tilebuild.oracle.boxes import covers, disjoint
from tilebuild.oracle.context import Context, instruction_name, span_of, storage_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.flow import Reach, obstacles
from tilebuild.oracle.program import Touch
from tilebuild.oracle.regions import Node
from tilebuild.plan.model import Global

NAME = "dead-writes"
_PENDING = 256  # unread writes of one buffer that are followed at a time


def run(context: Context) -> None:
    """Follow every write of a local buffer to a read, to a full overwrite, or to the end."""
    useful = _useful(context)
    for root, touches in context.program.local.items():
        _Follower(context, context.analysis.flow.reaches[root]).follow(touches)
        first = next((t for t in touches if t.write), None)
        if first is not None and root not in useful and any(not t.write for t in touches):
            what = "and all that reads it only feeds itself: nothing of it reaches an array"
            _report(context, first, "O-DEAD-04", VIOLATED, what)


def _useful(context: Context) -> set[str]:
    """The buffers whose values may reach an array, by the id of their root."""
    reads: dict[str, list[tuple[Touch, ...]]] = {}  # root -> what the instructions that write it read
    pending: list[Touch] = []
    for _, _, read, written in context.program.operations:
        if not written or any(isinstance(w.buffer.storage, Global) for w in written):
            pending += read
        for write in written:
            reads.setdefault(write.root.id, []).append(read)
    found: set[str] = set()
    while pending:
        root = pending.pop().root.id
        if root not in found:
            found.add(root)
            pending += [touch for group in reads.get(root, ()) for touch in group]
    return found


class _Follower:
    def __init__(self, context: Context, reaches: list[Reach]) -> None:
        self._context = context
        self._reaches = {id(r.read): r for r in reaches}
        self._pending: list[Touch] = []
        # loops with a read that may see a value of the iteration before: at their end, what is pending is read
        self._carried: set[int] = set()

    def follow(self, touches: list[Touch]) -> None:
        for r in self._reaches.values():
            self._note_carried(r)
        node = touches[0].node
        for touch in touches:
            self._leave(node, touch.node)
            node = touch.node
            if touch.write:
                self._write(touch)
            else:
                self._pending = [w for w in self._pending if disjoint(w, touch)]
        self._leave(node, None)
        for write in self._pending:
            _report(self._context, write, "O-DEAD-01", VIOLATED, "and nothing reads it")

    def _note_carried(self, reach: Reach) -> None:
        loop = reach.read.node.enclosing_loop
        while loop is not None:
            if not reach.sources or not all(loop.contains(s.node) for s in reach.sources):
                self._carried.add(loop.region.id)
            loop = loop.parent.enclosing_loop if loop.parent is not None else None

    def _leave(self, node: Node | None, following: Node | None) -> None:
        while node is not None and (following is None or not node.contains(following)):
            if node.region.id in self._carried:
                self._pending = [w for w in self._pending if not node.contains(w.node)]
            node = node.parent

    def _write(self, write: Touch) -> None:
        kept = []
        for earlier in self._pending:
            if not obstacles(write, earlier) and covers(write, earlier):
                what = f"and {instruction_name(write.instr)} overwrites all of it before anything reads it"
                _report(self._context, earlier, "O-DEAD-02", VIOLATED, what, by=write)
            else:
                kept.append(earlier)
        if len(kept) == _PENDING:
            what = f"and more than {_PENDING} writes of the buffer wait for a read: it is not followed any further"
            _report(self._context, kept.pop(0), "O-DEAD-03", UNKNOWN, what)
        self._pending = [*kept, write]


def _report(context: Context, write: Touch, code: str, outcome: str, what: str, *, by: Touch | None = None) -> None:
    message = f"{instruction_name(write.instr)} writes {storage_name(write.buffer)}, {what}"
    ids = (write.instr.id,) if by is None else (write.instr.id, by.instr.id)
    fix = "remove the write, or read what it wrote"
    context.findings.add(code, outcome, message, span=span_of(write), instructions=ids, fix=fix)
