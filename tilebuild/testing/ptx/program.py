"""The functions that a launch can come to, bound to a batch of threads and cut into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tilebuild.testing.ptx import arithmetic, bitwise, conversions, floats, integers, moves, tensor, transfers, warps
from tilebuild.testing.ptx.atomics import Atomics
from tilebuild.testing.ptx.barriers import Barriers
from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.calls import Calls
from tilebuild.testing.ptx.copies import Copies
from tilebuild.testing.ptx.faults import Fault, unsupported
from tilebuild.testing.ptx.kinds import KINDS
from tilebuild.testing.ptx.meetings import Meetings
from tilebuild.testing.ptx.pieces import End, Piece
from tilebuild.testing.ptx.syntax import Function, Guard, Instruction, Operand, Symbol
from tilebuild.testing.ptx.threads import Chosen

Handler = Callable[[Binder, Words], Op]
_TABLES = (arithmetic, bitwise, conversions, floats, integers, moves, tensor, transfers, warps)
HANDLERS: Mapping[str, Handler] = {name: h for module in _TABLES for name, h in module.TABLE.items()}
_CONTROL = ("bra", "brx", "call", "ret", "exit", "bar", "barrier")


def meets(i: Instruction) -> bool:
    """Whether the threads of a warp execute an instruction together."""
    if i.opcode == "bar":
        return i.modifiers[:1] == ("warp",)
    return i.opcode in tensor.ALIGNED or (i.opcode in warps.MASKED and "sync" in i.modifiers)


class Program:
    """`pieces` in the order of the text; `start` is the first one of the entry."""

    def __init__(self, b: Binder, functions: list[Function], random: np.random.Generator) -> None:
        self._b = b
        self._pc = b.threads.pc
        self.barriers = Barriers(b.threads)
        self.copies = Copies(b.threads, b.memory)
        self.meetings = Meetings(b)
        self.pieces: list[Piece] = []
        self._handlers = {**HANDLERS, **Atomics(random).table, **self.copies.table}
        self._first: dict[tuple[str, int], int] = {}
        self._calls = Calls(b, functions, self._first)
        spans = [(f, *span) for f in functions for span in _spans(f)]
        for n, (f, start, _) in enumerate(spans):
            self._first[f.name, start] = n
        unknown: list[Fault] = []
        for f, start, end in spans:
            b.function = f
            self.pieces.append(self._piece(f, start, end, unknown))
        if unknown:
            texts = sorted({u.message for u in unknown})
            raise Fault("EMU-02", "; ".join(texts), unknown[0].line, unknown[0].fix)
        self.start = self._first[functions[0].name, 0]

        self.tick = b.tick

    def forget(self) -> None:
        """Begin anew, with other blocks."""
        self.barriers.forget()
        self.copies.forget()
        self._calls.forget()

    def _piece(self, f: Function, start: int, end: int, unknown: list[Fault]) -> Piece:
        piece = Piece()
        following = self._first.get((f.name, end), -1)
        for n in range(start, end):
            i = f.instructions[n]
            self._b.line = piece.line = i.line
            piece.text = i.text
            piece.count += 1
            try:
                if meets(i):
                    mask = None if i.opcode in tensor.ALIGNED else warps.mask_operand(i)
                    number = len(self.pieces)
                    piece.end = self.meetings.bind(i, mask, self._operation(i), number, following)
                elif i.opcode in _CONTROL:
                    piece.end = self._control(f, i, following)
                else:
                    piece.ops.append(self._operation(i))
                    if i.guard is not None:
                        piece.ops[-1] = self._guarded(i.guard, piece.ops[-1])
            except Fault as fault:
                if fault.code != "EMU-02":
                    raise
                unknown.append(fault)
        if piece.end is None:
            piece.end = self._go(following) if following >= 0 else self._calls.leave(f)
        return piece

    def _operation(self, i: Instruction) -> Op:
        if i.opcode == "bar":
            return lambda chosen: None
        handler = self._handlers.get(i.opcode)
        if handler is None:
            unsupported(f'the instruction "{i.text}"', i.line)
        try:
            return handler(self._b, Words(i))
        except (ValueError, IndexError) as error:  # fewer or more operands than the form has
            raise Fault("EMU-02", f'"{i.text}" with these operands is not known to the emulator', i.line) from error

    def _guarded(self, guard: Guard, op: Op) -> Op:
        holds, threads = self._b.holds(guard), self._b.threads

        def run(chosen: Chosen) -> None:
            keep = holds(chosen)
            if keep.all():
                op(chosen)
            elif keep.any():
                op(threads.narrow(chosen, keep))

        return run

    def _go(self, target: int) -> End:
        pc = self._pc

        def go(chosen: Chosen) -> None:
            pc[chosen] = target

        return go

    def _control(self, f: Function, i: Instruction, following: int) -> End:
        """What comes after a piece that ends with a branch, a call, a return or a barrier."""
        pc = self._pc
        if i.opcode == "bra":
            (label,) = i.operands
            target = self._label(f, label, i.line)
            if i.guard is None:
                return self._go(target)
            holds = self._b.holds(i.guard)
            ahead, there = np.int32(following), np.int32(target)

            def branch(chosen: Chosen) -> None:
                pc[chosen] = np.where(holds(chosen), there, ahead)

            return branch
        if i.opcode == "brx":
            end = self._indexed(f, i)
        elif i.opcode == "call":
            end = self._calls.call(i, following)
        elif i.opcode == "ret":
            end = self._calls.leave(f)
        elif i.opcode == "exit":
            end = self._calls.exit
        else:
            end = self.barriers.bind(self._b, i, len(self.pieces), following)
        if i.guard is None:
            return end
        holds, threads = self._b.holds(i.guard), self._b.threads

        def guarded(chosen: Chosen) -> None:
            keep = holds(chosen)
            if keep.all():
                end(chosen)
                return
            pc[chosen] = following
            if keep.any():
                end(threads.narrow(chosen, keep))

        return guarded

    def _indexed(self, f: Function, i: Instruction) -> End:
        """brx.idx: a table of labels."""
        index, table = i.operands[:2]
        if not isinstance(table, Symbol) or table.name not in f.targets:
            unsupported(f'"{i.text}" without a list of targets', i.line)
        targets = np.array([self._label(f, Symbol(n), i.line) for n in f.targets[table.name]], np.int32)
        read, pc = self._b.read(index, KINDS["u32"]), self._pc

        def run(chosen: Chosen) -> None:
            wanted = read(chosen)
            if (wanted >= targets.size).any():
                raise Fault("EMU-11", f"brx.idx takes target {int(np.max(wanted))} of {targets.size}", i.line)
            pc[chosen] = targets[wanted]

        return run

    def _label(self, f: Function, operand: Operand, line: int) -> int:
        if isinstance(operand, Symbol) and operand.name in f.labels:
            # a label at the very end stands for the return
            return self._first[f.name, f.labels[operand.name]]
        raise Fault("EMU-01", "a branch to a label that is not in the function", line)


def _spans(f: Function) -> Iterator[tuple[int, int]]:
    """The instructions of each piece: first, and one past the last; an empty piece at the end for labels there."""
    total = len(f.instructions)
    starts = {0, total, *f.labels.values()}
    for n, i in enumerate(f.instructions):
        if i.opcode in _CONTROL or meets(i):
            starts.add(n + 1)
        if meets(i):
            starts.add(n)
    ordered = sorted(starts)
    yield from zip(ordered, [*ordered[1:], total])
