"""Which threads hold the same number in a register, whatever the data are.

A register is symmetric under a mask if the lanes `l` and `l ^ mask` of each warp hold the same. A sum (or any other
commutative operation) of a register and its exchange over a mask is symmetric under that mask, and what is made of
symmetric registers is: so the result of a butterfly reduction is the same in all lanes. Masks are kept as the set of
their bits: reductions exchange over powers of two.
"""

from __future__ import annotations

from tilebuild.oracle.readers.ptx_flow import registers, results
from tilebuild.oracle.readers.ptx_text import Instruction, Number, Operand, Register
from tilebuild.oracle.readers.ptx_uniform import Uniformity

_EVERY = 31  # all bits of a lane's number
_COMMUTATIVE = frozenset(("add", "mul", "min", "max", "and", "or", "xor"))
_OWN = frozenset(("atom", "vote", "match", "redux", "activemask", "elect", "ldmatrix", "mma", "wmma", "tex", "call"))
_PASSES = 3


class Symmetry:
    """The symmetries of a function's registers."""

    def __init__(self, uniform: Uniformity) -> None:
        self.uniform = uniform
        self._exchanged: dict[str, tuple[str, int, int]] = {}  # by register: of which one, over what mask, in which run
        self._masks: dict[str, int] = {}
        self._written: dict[str, int] = {}
        for i in uniform.function.body:
            for name in results(i):
                self._written[name] = self._written.get(name, 0) + 1
        self._runs: list[int] = []  # by block the first one of its straight line
        for number, block in enumerate(uniform.flow.blocks):
            before_it = block.before[0] if len(block.before) == 1 else number
            straight = before_it < number and len(uniform.flow.blocks[before_it].jumps) == 1
            self._runs.append(self._runs[before_it] if straight else number)
        for _ in range(_PASSES):
            before = dict(self._masks)
            for number, block in enumerate(uniform.flow.blocks):
                for k in range(block.first, block.last):
                    self._step(number, uniform.function.body[k])
            if before == self._masks:
                break

    def mask(self, operand: Operand) -> int:
        """The bits under which an operand is symmetric."""
        found = _EVERY
        for name in registers(operand):
            found &= self._masks.get(name, 0) if self.uniform.differs(name) else _EVERY
        return found

    def same(self, operand: Operand, one: int, other: int) -> bool:
        """True if two threads, by their linear ids, hold the same in an operand."""
        if not any(self.uniform.differs(name) for name in registers(operand)):
            return True
        return one // 32 == other // 32 and (one ^ other) & ~self.mask(operand) == 0

    def _step(self, number: int, i: Instruction) -> None:
        names = results(i)
        for name in names:
            if self._written[name] > 1:  # it is no longer the one that was exchanged
                self._exchanged = {k: e for k, e in self._exchanged.items() if e[0] != name}
        if not names or any(self._written[name] > 1 for name in names) or number in self.uniform.divergent_blocks:
            return
        mask = _EVERY
        for operand in i.operands[1:]:
            mask &= self.mask(operand)
        if i.guard is not None:
            mask &= self.mask(Register(i.guard[0]))
        if i.op == "shfl":
            self._exchange(i, self._runs[number])
            return
        if i.op in _OWN or (i.op in ("ld", "ldu") and "shared" not in i.parts):
            return
        if i.op in _COMMUTATIVE and len(i.operands) == 3:
            a, b = i.operands[1:]
            for x, y in ((a, b), (b, a)):
                if isinstance(x, Register) and isinstance(y, Register) and y.name in self._exchanged:
                    of, exchanged, where = self._exchanged[y.name]
                    if of == x.name and (where == self._runs[number] or self._written.get(of, 2) == 1):
                        mask = self.mask(x) | exchanged
        self._masks[names[0]] = mask
        for name in names[1:]:
            self._masks[name] = mask
        if i.op == "mov" and isinstance(i.operands[1], Register):
            source = i.operands[1].name
            if source in self._exchanged:
                self._exchanged[names[0]] = self._exchanged[source]

    def _exchange(self, i: Instruction, run: int) -> None:
        """`shfl.sync.bfly` of one register over a constant power of two, in whole warps."""
        if "bfly" not in i.parts or len(i.operands) < 5:
            return
        to, of, mask, clamp, members = i.operands[:5]
        whole = isinstance(members, Number) and members.value % (1 << 32) == (1 << 32) - 1
        numbers = isinstance(mask, Number) and isinstance(clamp, Number) and clamp.value == _EVERY
        if not (whole and numbers and isinstance(of, Register) and isinstance(mask, Number)):
            return
        name = next(iter(registers(to)), "")
        if mask.value in (1, 2, 4, 8, 16):
            self._exchanged[name] = (of.name, mask.value, run)
            self._masks[name] = self.mask(of)
