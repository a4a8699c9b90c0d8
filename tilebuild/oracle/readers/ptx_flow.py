"""The control flow of a PTX function: blocks, loops, live registers, and which instructions addresses depend on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tilebuild.oracle.readers.ptx_text import Address, Function, Group, Instruction, Name, Operand, Register

LEAVES = ("ret", "exit", "trap")
_WIDE = 64  # blocks between a branch and where its ways meet
_NO_RESULT = (
    "st", "red", "bra", "brx", "ret", "exit", "trap", "membar", "fence", "prefetch", "prefetchu", "call", "nanosleep",
    "pmevent", "brkpt", "stmatrix", "cp", "discard", "setmaxnreg", "griddepcontrol", "applypriority",
)  # fmt: skip


class FlowProblem(ValueError):
    """A jump to nowhere, or loops that are entered in the middle."""


@dataclass
class Block:
    """Instructions `[first, last)`; `jumps` are the successors with the condition under which each is taken: a guard
    and its truth, or None."""

    first: int
    last: int
    jumps: list[tuple[int, tuple[str, bool] | None]] = field(default_factory=list)
    before: list[int] = field(default_factory=list)


@dataclass
class Loop:
    """A natural loop: its header, its blocks, the blocks that go back to the header, the number of ways out."""

    header: int
    blocks: set[int] = field(default_factory=set)
    back: list[int] = field(default_factory=list)
    exits: int = 0


def registers(operand: Operand) -> Iterator[str]:
    """The registers that an operand names."""
    if isinstance(operand, Register):
        yield operand.name
    elif isinstance(operand, Address) and isinstance(operand.base, Register):
        yield operand.base.name
    elif isinstance(operand, Group):
        for item in operand.items:
            yield from registers(item)


def results(i: Instruction) -> tuple[str, ...]:
    """The registers that an instruction writes."""
    if not i.operands or isinstance(i.operands[0], Address):
        return ()
    waits = i.op in ("bar", "barrier") and "red" not in i.parts
    nothing = waits or (i.op in _NO_RESULT and not (i.op == "call" and len(i.operands) > 1))
    return () if nothing else tuple(registers(i.operands[0]))


def sources(i: Instruction) -> Iterator[str]:
    """The registers that an instruction reads, its guard included."""
    if i.guard is not None:
        yield i.guard[0]
        yield from results(i)  # what it leaves alone where the guard does not hold
    written = bool(results(i)) and i.op != "call"
    for operand in i.operands[1:] if written else i.operands:
        yield from registers(operand)


class Flow:
    """Blocks in reverse postorder, numbered by it; raises `FlowProblem`."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.blocks = self._ordered(self._split())
        for number, block in enumerate(self.blocks):
            for target, _ in block.jumps:
                if number not in self.blocks[target].before:
                    self.blocks[target].before.append(number)
        self.above = self._dominators()
        self.loops = self._loops()
        self.joins = self._joins()

    def _split(self) -> list[Block]:
        body, labels = self.function.body, self.function.labels
        starts = {0, *(at for at in labels.values() if at < len(body))}
        for k, i in enumerate(body):
            if i.op in ("bra", "brx", *LEAVES) and k + 1 < len(body):
                starts.add(k + 1)
        ordered = sorted(starts)
        index = {first: k for k, first in enumerate(ordered)}
        blocks = [Block(a, b) for a, b in zip(ordered, [*ordered[1:], len(body)])]
        for k, block in enumerate(blocks):
            last = body[block.last - 1] if block.last > block.first else None
            falls = k + 1 < len(blocks)
            if last is not None and last.op in ("bra", "brx", *LEAVES):
                falls = falls and last.guard is not None
                taken = None if last.guard is None else (last.guard[0], not last.guard[1])
                for target in self._targets(last):
                    if target < len(body):
                        block.jumps.append((index[target], taken))
                if falls:
                    block.jumps.append((k + 1, None if last.guard is None else last.guard))
            elif falls:
                block.jumps.append((k + 1, None))
        return blocks

    def _targets(self, i: Instruction) -> Iterator[int]:
        if i.op in LEAVES:
            return
        names: Iterable[str] = (o.name for o in i.operands if isinstance(o, Name))
        if i.op == "brx":
            names = [label for name in names for label in self.function.tables.get(name, ())]
            if not names:
                raise FlowProblem(f"line {i.line}: the targets of the jump are not known")
        for name in names:
            if name not in self.function.labels:
                raise FlowProblem(f"line {i.line}: there is no label {name}")
            yield self.function.labels[name]

    def _ordered(self, blocks: list[Block]) -> list[Block]:
        seen, postorder = {0}, []
        stack = [(0, iter(blocks[0].jumps))] if blocks else []
        while stack:
            at, rest = stack[-1]
            for target, _ in rest:
                if target not in seen:
                    seen.add(target)
                    stack.append((target, iter(blocks[target].jumps)))
                    break
            else:
                postorder.append(at)
                stack.pop()
        order = {old: new for new, old in enumerate(reversed(postorder))}
        found = [blocks[old] for old in reversed(postorder)]
        for block in found:
            block.jumps = [(order[t], c) for t, c in block.jumps]
        return found

    def _loops(self) -> dict[int, Loop]:
        above = self.above
        loops: dict[int, Loop] = {}
        for number, block in enumerate(self.blocks):
            for target, _ in block.jumps:
                if target > number:
                    continue
                at = number
                while at > target:
                    at = above[at]
                if at != target:
                    line = self.function.body[self.blocks[target].first].line
                    raise FlowProblem(f"line {line}: the loop there is entered in more than one place")
                loop = loops.setdefault(target, Loop(target, {target}))
                if number not in loop.back:
                    loop.back.append(number)
                pending = [number]
                while pending:
                    inner = pending.pop()
                    if inner not in loop.blocks:
                        loop.blocks.add(inner)
                        pending += self.blocks[inner].before
        for loop in loops.values():
            loop.exits = sum(t not in loop.blocks for b in loop.blocks for t, _ in self.blocks[b].jumps)
            loop.exits += sum(self.function.body[self.blocks[b].last - 1].op in LEAVES for b in loop.blocks)
        return loops

    def _joins(self) -> dict[int, int]:
        """Blocks that are reached whenever their immediate dominator was: what that one knew holds there again."""
        found = {}
        for number, block in enumerate(self.blocks):
            if (
                number
                and number not in self.loops
                and len(block.before) > 1
                and self._always(self.above[number], number)
            ):
                found[number] = self.above[number]
        return found

    def _always(self, start: int, end: int) -> bool:
        """True if every way from one block goes forward to another one; false where a loop is left or begun again."""
        seen, pending = {start}, [start]
        while pending:
            at = pending.pop()
            if not self.blocks[at].jumps or self.function.body[self.blocks[at].last - 1].op in LEAVES:
                return False
            for target, _ in self.blocks[at].jumps:
                if target == end or target in seen:
                    continue
                if target <= at or target > end or len(seen) > _WIDE:
                    return False
                seen.add(target)
                pending.append(target)
        return True

    def _dominators(self) -> list[int]:
        """The immediate dominator of each block (Cooper, Harvey and Kennedy, 2001)."""
        above = [-1] * len(self.blocks)
        if above:
            above[0] = 0
        changed = True
        while changed:
            changed = False
            for number in range(1, len(self.blocks)):
                new = -1
                for before in self.blocks[number].before:
                    if above[before] < 0:
                        continue
                    other = before
                    while new >= 0 and new != other:
                        if other > new:
                            other = above[other]
                        else:
                            new = above[new]
                    new = other if new < 0 else new
                if new != above[number]:
                    above[number], changed = new, True
        return above

    # -- registers --------------------------------------------------------------------------------

    def needed(self, roots: Iterable[str]) -> set[str]:
        """The registers that the given ones and all jumps depend on."""
        body = self.function.body
        made: dict[str, list[Instruction]] = {}
        for i in body:
            for name in results(i):
                made.setdefault(name, []).append(i)
        pending = list(roots) + [i.guard[0] for i in body if i.guard and i.op in ("bra", "brx", *LEAVES)]
        found: set[str] = set()
        while pending:
            name = pending.pop()
            if name in found:
                continue
            found.add(name)
            for i in made.get(name, ()):
                if i.op not in ("ld", "ldu", "atom", "tex", "call"):
                    pending += sources(i)
                elif i.guard is not None:
                    pending.append(i.guard[0])
        return found

    def live(self, wanted: set[str], uses: dict[int, list[str]]) -> list[set[str]]:
        """For each block, the wanted registers that are read before they are written from its start on; `uses` are
        further reads, by instruction."""
        body = self.function.body
        gen: list[set[str]] = []
        kill: list[set[str]] = []
        for block in self.blocks:
            read: set[str] = set()
            written: set[str] = set()
            for k in range(block.first, block.last):
                i = body[k]
                made = [r for r in results(i) if r in wanted]
                jump = i.op in ("bra", "brx", *LEAVES)
                if made or jump:
                    read |= {r for r in sources(i) if r in wanted} - written
                read |= set(uses.get(k, ())) - written
                written |= set(made)
            gen.append(read)
            kill.append(written)
        live = [set(g) for g in gen]
        changed = True
        while changed:
            changed = False
            for number in range(len(self.blocks) - 1, -1, -1):
                after = set().union(*(live[t] for t, _ in self.blocks[number].jumps))
                new = gen[number] | (after - kill[number])
                if new != live[number]:
                    live[number], changed = new, True
        return live
