"""`sync` on PTX: all threads reach each barrier together, and nothing races for shared memory between two of them."""

from __future__ import annotations

from collections.abc import Sequence

from tilebuild.oracle.checks.ptx_races import Clash, Races, UndecidedError
from tilebuild.oracle.findings import UNKNOWN, VIOLATED, Findings
from tilebuild.oracle.readers.ptx_block import BlockThreads, Kernel
from tilebuild.oracle.readers.ptx_bounds import SharedAccesses
from tilebuild.oracle.readers.ptx_text import Instruction
from tilebuild.oracle.readers.ptx_threads import Event, Trace, parted, races
from tilebuild.oracle.readers.ptx_together import Together

_ORDER = "put a barrier between the two"
_WAIT = "wait for the copy (cp.async.wait_group), and put a barrier after the wait"
_TOGETHER = "move the barrier out of the branch, or make all threads take it"
_BLOCK = "name the block: .reqntid in the text, or the launch's"


def run(kernel: Kernel, functions: Sequence[BlockThreads], found: Findings) -> None:
    """Report every barrier that not all threads are proved to reach, and every pair of accesses that may race. Raises
    `TooSlowError`."""
    for function in functions:
        _Sync(kernel, function, found).run()
    _calls([f.shared for f in functions], found)


def _calls(followed: Sequence[SharedAccesses], found: Findings) -> None:
    """A function that is called is judged by itself: what it does meets what its caller does."""
    for shared in followed[1:]:
        meets = [i for i in shared.function.body if i.op in ("bar", "barrier") and "warp" not in i.parts]
        if meets or shared.accesses or shared.lost:
            message = f"the function {shared.function.name} touches shared memory or has barriers, and is called where "
            message += "the oracle does not follow it: nothing is proved about the order of threads"
            found.add(
                "O-PTX-14", UNKNOWN, message, artifact_line=shared.function.line, fix="let the compiler inline it"
            )


class _Sync:
    def __init__(self, kernel: Kernel, function: BlockThreads, found: Findings) -> None:
        self.kernel, self.block, self.found = kernel, function, found
        self.shared = function.shared
        self.body = self.shared.function.body

    def run(self) -> None:
        meets = any(i.op in ("bar", "barrier") for i in self.body)
        writes = any(a.touch.write for a in self.shared.accesses)
        if not (meets or writes or self.shared.lost):
            return
        if self.block.problem:
            message = f"nothing is proved about the order of threads: {self.block.problem}"
            line = self.shared.function.line
            self.found.add("O-PTX-14", UNKNOWN, message, artifact_line=line, fix="use plain loops")
            return
        together = self.block.together
        self._barriers(together)
        if self.shared.lost:
            first = next(iter(self.shared.lost.values()))
            message = f"{first.text} (line {first.line}) touches shared memory, and the oracle does not know where: "
            message += "nothing is proved about races"
            self._add("O-PTX-14", message, first, "see what the check operands says of it")
        elif writes and together.lanes is None:
            first = next(a.i for a in self.shared.accesses if a.touch.write)
            message = (
                f"{first.text} (line {first.line}) writes shared memory, and the shape of the block is not known: "
            )
            message += "nothing is proved about races"
            self._add("O-PTX-14", message, first, _BLOCK)
        elif writes:
            self._races(together)

    def _add(self, code: str, message: str, i: Instruction, fix: str, outcome: str = UNKNOWN) -> None:
        self.found.add(code, outcome, message, span=self.kernel.span(i), artifact_line=i.line, fix=fix)

    # -- barriers ---------------------------------------------------------------------------------

    def _barriers(self, together: Together) -> None:
        open_ones = [
            (number, k)
            for number, block in enumerate(together.flow.blocks)
            for k in range(block.first, block.last)
            for here in (together.barriers.get(k),)
            if here is not None and here.whole and not together.uniform.together(number, self.body[k].guard)
        ]
        split = parted(self.block.traces) if open_ones else None
        if split is not None:
            self._parted(together, *split)
            return
        for number, k in open_ones:
            i, culprit = self.body[k], together.uniform.culprit(number)
            why = f"line {culprit.line}, where threads may go different ways" if culprit else "its predicate"
            message = f"{i.text} (line {i.line}) is not proved to be reached by all threads: it depends on {why}"
            self._add("O-PTX-10", message, i, _TOGETHER)

    def _parted(self, together: Together, first: Trace, second: Trace, at: int) -> None:
        if at >= len(first.barriers):
            first, second = second, first
        i = self.body[first.barriers[at]]
        other = "ends"
        if at < len(second.barriers):
            j = self.body[second.barriers[at]]
            other = f"gets to {j.text} (line {j.line})"
        lanes = together.lanes
        assert lanes is not None
        message = (
            f"thread {lanes.thread_name(first.thread)} gets to {i.text} (line {i.line}) as its barrier number {at + 1}"
            f", where thread {lanes.thread_name(second.thread)} {other}"
        )
        self._add("O-PTX-10", message, i, _TOGETHER, VIOLATED)

    # -- races ------------------------------------------------------------------------------------

    def _races(self, together: Together) -> None:
        try:
            clashes = Races(together, self.block.tick).run()
        except UndecidedError as reason:
            first = self.shared.accesses[0].i
            message = f"nothing is proved about races for shared memory: {reason}"
            self._add("O-PTX-14", message, first, "make the kernel smaller")
            clashes = None
        if clashes == []:
            return
        traces = self.block.traces
        certain = races(traces)
        for first_event, second_event in certain.values():
            self._race(together, first_event, second_event)
        early = {(a.number, b.number): (a, b) for trace in traces for a, b in trace.early}
        for pair, (copy, event) in early.items():
            if pair not in certain:
                self._race(together, copy, event)
        reported = {frozenset(p) for p in (*certain, *early)}
        for clash in clashes or ():
            if frozenset((clash.first.number, clash.second.number)) not in reported:
                self._clash(together, clash)

    def _race(self, together: Together, a: Event, b: Event) -> None:
        """Two accesses that certainly happen in no order."""
        assert together.lanes is not None
        late = a.late or b.late
        byte = max(a.first, b.first)
        one, other = (f"thread {together.lanes.thread_name(e.thread)} {self._deed(e)}" for e in (a, b))
        way = "while the copy is under way" if late else "with no barrier between the two"
        message = f"{one}, and {other}, {way}: both touch byte {byte} of the shared array {a.array}"
        last = self.body[max(a.number, b.number)]
        self._add("O-PTX-12" if late else "O-PTX-11", message, last, _WAIT if late else _ORDER, VIOLATED)

    def _deed(self, event: Event) -> str:
        i = self.body[event.number]
        verb = ("reads", "writes", "updates")[event.kind]
        return f"{verb} bytes {event.first}..{event.first + event.bytes} with {i.text} (line {i.line})"

    def _clash(self, together: Together, clash: Clash) -> None:
        assert together.lanes is not None
        one, other = (f"thread {together.lanes.thread_name(t)}" for t in clash.threads)
        a, b = clash.first, clash.second
        message = (
            f"{b.i.text} (line {b.i.line}) {b.verb} the shared array {b.array.name} and {a.i.text} (line {a.i.line}) "
            f"{a.verb} it, in an order that is not proved: it may be that {one} and {other} meet at byte "
            f"{clash.address}"
        )
        late = clash.asynchronous
        self._add("O-PTX-12" if late else "O-PTX-11", message, b.i, _WAIT if late else _ORDER)
