"""A module under construction: ids in order of need, types and constants once each, sections in their order.

The body of the one function is written front to back. Each of its instructions remembers the Python line that was
`place`d last, and gets it into the module as OpLine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tilebuild.diagnostics import Span
from tilebuild.targets.spirv.grammar import OPCODES, SECTIONS, SET, TERMINATORS
from tilebuild.targets.spirv.module import Instruction, Module, Operand
from tilebuild.targets.spirv.text import float_word

_FUNCTIONS = SECTIONS.index("functions")


class Builder:
    """`spans` of `finish` has one entry an instruction: the Python line that it comes from, or None."""

    def __init__(self) -> None:
        self._next = 1
        self._sections: list[list[Instruction]] = [[] for _ in SECTIONS]
        self._known: dict[Instruction, int] = {}
        self._variables: list[Instruction] = []  # of the function: they stand at its start
        self._head: list[Instruction] = []
        self._body: list[tuple[Instruction, Span | None]] = []
        self._span: Span | None = None

    # -- sections ---------------------------------------------------------------------------------

    def id(self) -> int:
        self._next += 1
        return self._next - 1

    def add(self, op: str, *operands: Operand) -> None:
        """An instruction without a result in its section, once."""
        instruction = Instruction(op, operands)
        if instruction not in self._known:
            self._known[instruction] = 0
            self._sections[OPCODES[op].section].append(instruction)

    def once(self, op: str, *operands: Operand, type: int = 0, section: str = "types") -> int:
        """A type, constant, string or import: the same one always has the same id."""
        key = Instruction(op, operands, type)
        if key not in self._known:
            self._known[key] = self.id()
            made = Instruction(op, operands, type, self._known[key])
            self._sections[SECTIONS.index(section)].append(made)
        return self._known[key]

    def void_t(self) -> int:
        return self.once("TypeVoid")

    def bool_t(self) -> int:
        return self.once("TypeBool")

    def int_t(self) -> int:
        return self.once("TypeInt", 32, 1)

    def uint_t(self) -> int:
        return self.once("TypeInt", 32, 0)

    def float_t(self) -> int:
        return self.once("TypeFloat", 32)

    def pointer(self, storage: str, pointee: int) -> int:
        return self.once("TypePointer", storage, pointee)

    def constant(self, type: int, bits: int) -> int:
        """A 32-bit number by its bits; negative integers may be given as they are."""
        return self.once("Constant", bits & 0xFFFFFFFF, type=type)

    def i(self, value: int) -> int:
        return self.constant(self.int_t(), value)

    def f(self, value: float) -> int:
        return self.constant(self.float_t(), float_word(value))

    def boolean(self, value: bool) -> int:
        return self.once("ConstantTrue" if value else "ConstantFalse", type=self.bool_t())

    def struct(self, *members: int) -> int:
        """A structure of its own: two with the same members may be laid out differently."""
        result = self.id()
        self._sections[SECTIONS.index("types")].append(Instruction("TypeStruct", members, 0, result))
        return result

    def variable(self, storage: str, type: int, name: str) -> int:
        """A variable outside the function."""
        result = self.id()
        made = Instruction("Variable", (storage,), self.pointer(storage, type), result)
        self._sections[SECTIONS.index("types")].append(made)
        self.add("Name", result, name)
        return result

    # -- the function -----------------------------------------------------------------------------

    @contextmanager
    def function(self) -> Iterator[int]:
        """The one function, of no arguments and no result; its id."""
        void = self.void_t()
        result = self.id()
        kind = self.once("TypeFunction", void)
        self._head = [Instruction("Function", ("None", kind), void, result), Instruction("Label", (), 0, self.id())]
        yield result
        self.place(None)
        self.effect("Return")
        self.effect("FunctionEnd")

    def place(self, span: Span | None) -> None:
        """What follows comes from this line; None: from none."""
        self._span = span

    def local(self, type: int, name: str) -> int:
        """A variable of the function, in registers once the driver has looked at it."""
        result = self.id()
        self._variables.append(Instruction("Variable", ("Function",), self.pointer("Function", type), result))
        self.add("Name", result, name)
        return result

    def op(self, name: str, type: int, *operands: Operand) -> int:
        """An instruction with a result."""
        result = self.id()
        self._body.append((Instruction(name, operands, type, result), self._span))
        return result

    def effect(self, name: str, *operands: Operand) -> None:
        """An instruction without one."""
        self._body.append((Instruction(name, operands), self._span))

    def exact(self, name: str, *operands: Operand) -> int:
        """Float arithmetic that is rounded as written: neither contracted nor rearranged."""
        result = self.op(name, self.float_t(), *operands)
        self.add("Decorate", result, "NoContraction")
        return result

    def extended(self, name: str, type: int, *operands: Operand) -> int:
        """An instruction of GLSL.std.450."""
        return self.op("ExtInst", type, self.once("ExtInstImport", SET, section="imports"), name, *operands)

    def load(self, type: int, pointer: int) -> int:
        return self.op("Load", type, pointer)

    def store(self, pointer: int, value: int) -> None:
        self.effect("Store", pointer, value)

    def label(self, result: int) -> None:
        self._body.append((Instruction("Label", (), 0, result), self._span))

    @contextmanager
    def when(self, condition: int) -> Iterator[None]:
        """What is written inside runs where the condition holds."""
        inside, after = self.id(), self.id()
        self.effect("SelectionMerge", after, "None")
        self.effect("BranchConditional", condition, inside, after)
        self.label(inside)
        yield
        self.effect("Branch", after)
        self.label(after)

    @contextmanager
    def loop(self, name: str, first: int, end: Callable[[], int], step: int, control: str = "None") -> Iterator[int]:
        """A signed counter from `first` below `end()`, which is asked before every round; its value."""
        counter = self.local(self.int_t(), name)
        self.store(counter, first)
        head, test, inside, again, after = (self.id() for _ in range(5))
        self.effect("Branch", head)
        self.label(head)
        self.effect("LoopMerge", after, again, control)
        self.effect("Branch", test)
        self.label(test)
        value = self.load(self.int_t(), counter)
        self.effect("BranchConditional", self.op("SLessThan", self.bool_t(), value, end()), inside, after)
        self.label(inside)
        yield value
        self.effect("Branch", again)
        self.label(again)
        self.store(counter, self.op("IAdd", self.int_t(), value, self.i(step)))
        self.effect("Branch", head)
        self.label(after)

    # -- the result -------------------------------------------------------------------------------

    def finish(self) -> tuple[Module, list[Span | None]]:
        """The module, and the line of each instruction."""
        lined = list(self._with_lines())
        before = [i for section in self._sections[:_FUNCTIONS] for i in section]
        head = [*before, *self._head, *self._variables]
        instructions = (*head, *(i for i, _ in lined))
        return Module(self._next, instructions), [*[None] * len(head), *(span for _, span in lined)]

    def _with_lines(self) -> Iterator[tuple[Instruction, Span | None]]:
        """The body with an OpLine wherever the line changes; its effect ends with its block."""
        names = sorted({span.file for _, span in self._body if span is not None})
        files = {name: self.once("String", name, section="strings") for name in names}
        at: Span | None = None
        for instruction, span in self._body:
            if span is not None and span != at and instruction.op not in ("Label", "FunctionEnd"):
                yield Instruction("Line", (files[span.file], span.line, span.column + 1)), span
                at = span
            yield instruction, span
            if instruction.op in TERMINATORS:
                at = None
