"""Structured control flow: blocks and their ends, merges, constructs, and that every use is dominated by its
definition. Section 2.16 and "Structured Control Flow" of the SPIR-V specification."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tilebuild.targets.spirv.check.facts import Facts, Finding
from tilebuild.targets.spirv.grammar import TERMINATORS
from tilebuild.targets.spirv.module import Instruction

_MERGES = ("SelectionMerge", "LoopMerge")


@dataclass
class Block:
    """`items` are its instructions with their index, from the label to the terminator."""

    label: int
    items: list[tuple[int, Instruction]]
    successors: list[int] = field(default_factory=list)
    predecessors: list[int] = field(default_factory=list)

    @property
    def start(self) -> int:
        return self.items[0][0]

    @property
    def end(self) -> tuple[int, Instruction]:
        return self.items[-1]

    @property
    def merge(self) -> Instruction | None:
        """The merge instruction, which stands before the terminator."""
        before = self.items[-2][1] if len(self.items) > 1 else None
        return before if before is not None and before.op in _MERGES else None


def check(facts: Facts) -> Iterator[Finding]:
    blocks: dict[int, Block] = {}
    wrong = list(_blocks(facts, blocks))
    yield from wrong
    if wrong or not blocks:
        return
    flow = _Flow(blocks)
    yield from flow.targets()
    if not flow.broken:
        flow.dominate()
        yield from flow.order()
        yield from flow.uses(facts)
        yield from flow.merges()
        yield from flow.loops()
        yield from flow.constructs()


def _blocks(facts: Facts, blocks: dict[int, Block]) -> Iterator[Finding]:
    inside: Block | None = None
    started = False
    for n, i in enumerate(facts.instructions):
        if i.op == "Label":
            if inside is not None:
                yield Finding(n, f"the block %{inside.label} has no branch at its end")
            inside = blocks[i.result] = Block(i.result, [(n, i)])
        elif i.op == "FunctionEnd":
            if inside is not None:
                yield Finding(n, f"the block %{inside.label} has no branch at its end")
            inside = None
        elif inside is not None:
            inside.items.append((n, i))
            if i.op in TERMINATORS:
                inside = None
        elif started:
            yield Finding(n, f"Op{i.op} outside a block")
        started = started or i.op == "Function"
    for number, block in enumerate(blocks.values()):
        for n, i in block.items[:-2]:
            if i.op in _MERGES:
                yield Finding(n, f"Op{i.op} is not followed by the branch that it is for")
        seen_other = False
        for n, i in block.items[1:]:
            if i.op == "Variable" and (number or seen_other):
                yield Finding(n, "OpVariable of a function belongs to the start of its first block")
            seen_other |= i.op not in ("Variable", "Line")


class _Flow:
    def __init__(self, blocks: dict[int, Block]) -> None:
        self.blocks, self.broken = blocks, False
        self.entry = next(iter(blocks))
        self.dominators: dict[int, set[int]] = {}

    def targets(self) -> Iterator[Finding]:
        for block in self.blocks.values():
            n, end = block.end
            operands = [o for o in end.operands if isinstance(o, int)]
            block.successors = {"Branch": operands, "BranchConditional": operands[1:]}.get(end.op, [])
            for target in block.successors:
                if target not in self.blocks:
                    self.broken = True
                    yield Finding(n, f"a branch to %{target}, which is no block")
                elif target == self.entry:
                    self.broken = True
                    yield Finding(n, "a branch to the function's first block")
                else:
                    self.blocks[target].predecessors.append(block.label)
            if block.merge is not None:
                for target in (o for o in block.merge.operands if isinstance(o, int)):
                    if target not in self.blocks:
                        self.broken = True
                        yield Finding(n, f"a merge at %{target}, which is no block")
        for block in self.blocks.values():
            if block.label != self.entry and not block.predecessors:
                yield Finding(block.start, f"nothing leads to the block %{block.label}")
                self.broken = True

    def dominate(self) -> None:
        """The blocks on every way to each block, by iteration (Cooper, Harvey, Kennedy use the same equations)."""
        everything = set(self.blocks)
        self.dominators = dict.fromkeys(self.blocks, everything)
        self.dominators[self.entry] = {self.entry}
        changed = True
        while changed:
            changed = False
            for label, block in self.blocks.items():
                if label != self.entry:
                    found = set.intersection(*(self.dominators[p] for p in block.predecessors)) | {label}
                    if found != self.dominators[label]:
                        self.dominators[label], changed = found, True

    def before(self, a: int, b: int) -> bool:
        """Whether a dominates b."""
        return a in self.dominators[b]

    def order(self) -> Iterator[Finding]:
        for label, block in self.blocks.items():
            for d in self.dominators[label]:
                if self.blocks[d].start > block.start:
                    yield Finding(block.start, f"the block %{label} stands before %{d}, which dominates it")

    def uses(self, facts: Facts) -> Iterator[Finding]:
        made = {i.result: (b.label, n) for b in self.blocks.values() for n, i in b.items if i.result}
        for label, block in self.blocks.items():
            for n, i in block.items:
                for used in i.ids():
                    where = made.get(used)
                    if where is None or facts.made[used].op == "Label":
                        continue
                    same = where[0] == label
                    if (same and where[1] >= n) or (not same and not self.before(where[0], label)):
                        yield Finding(n, f"%{used} is used where it is not always defined before")

    def headers(self) -> Iterator[tuple[Block, Instruction, int]]:
        """Blocks with a merge instruction, it, and the merge block."""
        for block in self.blocks.values():
            merge = block.merge
            if merge is not None:
                target = merge.operands[0]
                assert isinstance(target, int)
                yield block, merge, target

    def merges(self) -> Iterator[Finding]:
        owner: dict[int, int] = {}
        loops = {target: merge.operands[1] for _, merge, target in self.headers() if merge.op == "LoopMerge"}
        for block, merge, target in self.headers():
            n = block.items[-2][0]
            if target in owner:
                yield Finding(n, f"%{target} is the merge block of %{owner[target]} already")
            owner[target] = block.label
            if not self.before(block.label, target) or target == block.label:
                yield Finding(n, f"the header %{block.label} does not dominate its merge block %{target}")
            if merge.op == "SelectionMerge" and block.end[1].op != "BranchConditional":
                yield Finding(n, "OpSelectionMerge before an unconditional end")
        for block in self.blocks.values():
            n, end = block.end
            leaves = any(t in loops or t in loops.values() for t in block.successors)
            if end.op == "BranchConditional" and block.merge is None and not leaves:
                yield Finding(n, f"the two ways out of %{block.label} have no merge block")

    def loops(self) -> Iterator[Finding]:
        back: dict[int, list[int]] = {}
        for label, block in self.blocks.items():
            for target in block.successors:
                if self.before(target, label):
                    back.setdefault(target, []).append(label)
        for header in back:
            merge = self.blocks[header].merge
            if merge is None or merge.op != "LoopMerge":
                yield Finding(self.blocks[header].start, f"a loop leads back to %{header}, which has no OpLoopMerge")
        for block, merge, _ in self.headers():
            if merge.op != "LoopMerge":
                continue
            again = merge.operands[1]
            assert isinstance(again, int)
            n, sources = block.items[-2][0], back.get(block.label, [])
            if len(sources) != 1:
                yield Finding(n, f"{len(sources)} branches lead back to the loop header %{block.label}, not one")
            elif not self.before(again, sources[0]):
                yield Finding(n, f"the branch back to %{block.label} is not in its continue construct")
            if not self.before(block.label, again):
                yield Finding(n, f"the header %{block.label} does not dominate its continue target %{again}")

    def constructs(self) -> Iterator[Finding]:
        """Ways out of a construct lead to its merge block or, out of a selection, to those of the loop around it."""
        loops = [(b.label, t, m.operands[1]) for b, m, t in self.headers() if m.op == "LoopMerge"]
        for block, merge, target in self.headers():
            allowed: set[object] = {target}
            if merge.op == "SelectionMerge":
                around = [w for w in loops if self.before(w[0], block.label) and not self.before(w[1], block.label)]
                if around:
                    innermost = max(around, key=lambda w: len(self.dominators[w[0]]))
                    allowed |= set(innermost[1:])
            inside = {b for b in self.blocks if self.before(block.label, b) and not self.before(target, b)}
            for label in sorted(inside):
                for way in self.blocks[label].successors:
                    if way not in inside and way not in allowed:
                        n = self.blocks[label].end[0]
                        yield Finding(n, f"a way out of the construct of %{block.label} that is not its merge block")
