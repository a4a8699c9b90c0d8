"""Which registers and branches of a PTX function are the same for all threads of a block.

Control dependence is that of Ferrante, Ottenstein and Warren (1987), from the tree of postdominators; divergence
spreads from thread ids and memory through operands, and through branches into what they choose (Karrenberg and Hack,
2012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tilebuild.oracle.readers.ptx_flow import LEAVES, Flow, registers, results
from tilebuild.oracle.readers.ptx_text import Address, Function, Instruction

_SAME = (
    "%ntid", "%ctaid", "%nctaid", "%gridid", "%smid", "%nsmid", "%nwarpid", "%cluster", "%ncluster", "%is_explicit",
    "%dynamic_smem_size", "%total_smem_size", "%aggr_smem_size", "%envreg", "%reserved_smem",
)  # fmt: skip
# results that depend on the thread, or on memory that others may write meanwhile, whatever the operands are
_OWN = frozenset(
    ("ld", "ldu", "atom", "shfl", "vote", "match", "redux", "activemask", "elect", "ldmatrix", "mma", "wmma", "wgmma",
     "tex", "tld4", "suld", "call", "mbarrier", "tcgen05", "alloca", "stacksave", "multimem", "movmatrix")
)  # fmt: skip


def jumps(i: Instruction) -> bool:
    """True for what may end a block."""
    return i.op in ("bra", "brx", *LEAVES)


class Uniformity:
    """Of each block the one after which it is always passed (`after`), the branches on which it depends, and whether
    all threads of a block of threads go there together. `known_same` says more of a branch, by its instruction."""

    def __init__(self, function: Function, flow: Flow, known_same: Callable[[int], bool] = lambda _: False) -> None:
        self.function, self.flow, self._known_same = function, flow, known_same
        self.exit = len(flow.blocks)
        self._out = [self._successors(n) for n in range(self.exit)]
        self.after = self._postdominators()
        self.depends = self._control()
        self._definitions: dict[str, list[int]] = {}
        for number, block in enumerate(flow.blocks):
            for k in range(block.first, block.last):
                for name in results(function.body[k]):
                    self._definitions.setdefault(name, []).append(number)
        self.divergent_registers: set[str] = set()
        self.divergent_branches: set[int] = set()
        self.divergent_blocks: set[int] = set()
        self._spread()

    def _successors(self, number: int) -> list[int]:
        block = self.flow.blocks[number]
        found = [target for target, _ in block.jumps]
        last = self.last(number)
        leaves = last is not None and last.op in LEAVES
        return [*found, self.exit] if leaves or not found else found

    def last(self, number: int) -> Instruction | None:
        """The last instruction of a block."""
        block = self.flow.blocks[number]
        return self.function.body[block.last - 1] if block.last > block.first else None

    def _postdominators(self) -> list[int]:
        """The nearest block that every way from a block to the end passes; the end itself has the highest number."""
        before: list[list[int]] = [[] for _ in range(self.exit + 1)]
        for number, out in enumerate(self._out):
            for target in out:
                before[target].append(number)
        order, seen, stack = [], {self.exit}, [(self.exit, iter(before[self.exit]))]
        while stack:
            at, rest = stack[-1]
            for number in rest:
                if number not in seen:
                    seen.add(number)
                    stack.append((number, iter(before[number])))
                    break
            else:
                order.append(at)
                stack.pop()
        rank = {number: k for k, number in enumerate(order)}
        after = [self.exit] * (self.exit + 1)
        placed = {self.exit}
        changed = True
        while changed:
            changed = False
            for number in reversed(order[:-1]):
                new = -1
                for target in self._out[number]:
                    if target not in placed:
                        continue
                    other = target
                    while new >= 0 and new != other:
                        if rank[other] < rank[new]:
                            other = after[other]
                        else:
                            new = after[new]
                    new = other
                if new >= 0 and (number not in placed or after[number] != new):
                    after[number], changed = new, True
                    placed.add(number)
        return after

    def _control(self) -> list[set[int]]:
        """For each block those whose branch decides directly whether it is reached."""
        found: list[set[int]] = [set() for _ in range(self.exit + 1)]
        for number, out in enumerate(self._out):
            if len(out) < 2:
                continue
            for target in out:
                at, steps = target, 0
                while at != self.after[number] and at != self.exit and steps <= self.exit:
                    found[at].add(number)
                    at, steps = self.after[at], steps + 1
        return found

    # -- divergence -------------------------------------------------------------------------------

    def _spread(self) -> None:
        while True:
            before = (len(self.divergent_registers), len(self.divergent_blocks), len(self.divergent_branches))
            for number, block in enumerate(self.flow.blocks):
                for k in range(block.first, block.last):
                    i = self.function.body[k]
                    if self._differs(number, i):
                        self.divergent_registers.update(results(i))
                last = self.last(number)
                if last is not None and jumps(last) and self._branches(block.last - 1, last):
                    self.divergent_branches.add(number)
            for number, sources in enumerate(self.depends[:-1]):
                if sources & (self.divergent_branches | self.divergent_blocks):
                    self.divergent_blocks.add(number)
            if before == (len(self.divergent_registers), len(self.divergent_blocks), len(self.divergent_branches)):
                return

    def _branches(self, k: int, i: Instruction) -> bool:
        names = [i.guard[0]] if i.guard is not None else []
        if i.op == "brx":
            names += [name for operand in i.operands for name in registers(operand)]
        return any(map(self.differs, names)) and not self._known_same(k)

    def differs(self, name: str) -> bool:
        """True for a register that may differ between the threads of a block."""
        if name in self.divergent_registers:
            return True
        return name not in self._definitions and not name.startswith(_SAME)

    def _differs(self, number: int, i: Instruction) -> bool:
        made = results(i)
        if not made or all(name in self.divergent_registers for name in made):
            return False
        if i.op in ("bar", "barrier"):
            return False  # what a barrier reduces, all threads get
        if i.op in _OWN and not ({"param", "const"} & set(i.parts)):
            return True
        several = any(len(self._definitions[name]) > 1 for name in made)
        if several and number in self.divergent_blocks:
            return True
        return any(map(self.differs, self._read(i)))

    def _read(self, i: Instruction) -> Iterator[str]:
        if i.guard is not None:
            yield i.guard[0]
        for operand in i.operands[1:]:
            yield from registers(operand)
        if isinstance(i.operands[0], Address):
            yield from registers(i.operands[0])

    def together(self, number: int, guard: tuple[str, bool] | None) -> bool:
        """True if all threads that run get to a guarded instruction in a block together, and as often."""
        return number not in self.divergent_blocks and (guard is None or not self.differs(guard[0]))

    def culprit(self, number: int) -> Instruction | None:
        """A branch that sends threads different ways, on which a block depends."""
        pending, seen = [number], {number}
        while pending:
            for source in sorted(self.depends[pending.pop(0)]):
                if source in self.divergent_branches:
                    return self.last(source)
                if source not in seen:
                    seen.add(source)
                    pending.append(source)
        return None
