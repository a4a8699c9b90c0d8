"""The body of a function: statements, blocks in braces with names of their own, operands."""

from __future__ import annotations

from collections.abc import Mapping

from tilebuild.testing.ptx.constants import constant, integer, number
from tilebuild.testing.ptx.declarations import SIZES, symbol, variable
from tilebuild.testing.ptx.faults import Fault, unsupported
from tilebuild.testing.ptx.lexer import Cursor
from tilebuild.testing.ptx.syntax import (
    Address,
    Group,
    Guard,
    Instruction,
    Negated,
    Operand,
    Pair,
    Register,
    Sink,
    Symbol,
    Variable,
    Vector,
)

_PASSED_OVER = (".loc", ".file")


class Body:
    """What `read` finds in a body. Names that a block declares get a `#n`, so that they are the function's alone."""

    def __init__(self, at: Cursor, registers: Mapping[str, str]) -> None:
        self.at = at
        self.registers: dict[str, str] = dict(registers)
        self.variables: list[Variable] = []
        self.instructions: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.targets: dict[str, tuple[str, ...]] = {}
        self._scopes: list[dict[str, str]] = []
        self._label_uses: list[tuple[str, ...]] = []
        self._blocks = 0

    def read(self) -> None:
        """Read from the opening brace to the closing one."""
        at = self.at
        first = at.expect("{")
        self._scopes.append({})
        # a label may be used before it is declared: a block's labels are found first
        self._find_labels()
        while not at.accept("}"):
            if at.now.kind == "end":
                raise Fault("EMU-01", "the brace is never closed", first.line)
            self._statement()
        self._scopes.pop()

    def _find_labels(self) -> None:
        depth, ahead, line_of = 0, 0, self.at
        while True:
            token = line_of.ahead(ahead)
            if token.kind == "end" or (token.text == "}" and depth == 0):
                return
            depth += (token.text == "{") - (token.text == "}")
            starts = (
                ahead == 0
                or line_of.ahead(ahead - 1).text in (";", "{", "}", ":")
                or (line_of.ahead(ahead - 1).line != token.line)
            )
            if depth == 0 and token.kind == "name" and starts and line_of.ahead(ahead + 1).text == ":":
                self._declare(token.text)
            ahead += 1

    def _declare(self, name: str) -> str:
        own = name
        if len(self._scopes) > 1:
            self._blocks += 1
            own = f"{name}#{self._blocks}"
        self._scopes[-1][name] = own
        return own

    def _own(self, name: str) -> str:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return name

    def _statement(self) -> None:
        at = self.at
        token = at.now
        if token.text == "{":
            self.read()
        elif token.text in _PASSED_OVER:
            at.take()
            at.rest_of_line()
        elif token.text == ".pragma":
            while not at.accept(";"):
                at.take()
        elif token.text == ".reg":
            at.take()
            self._registers()
        elif token.text in (".local", ".shared", ".param", ".global", ".const"):
            at.take()
            first = variable(at, token.text[1:])
            self._add(first)
            while at.accept(","):
                self._add(variable(at, token.text[1:], like=first))
            at.expect(";")
        elif token.text == ".section":
            at.take()
            at.take()
            at.braces()
        elif token.kind == "name" and at.ahead().text == ":":
            at.take()
            at.take()
            self._label(self._own(token.text))
        elif token.text == ";":
            at.take()
        elif token.kind == "name" or token.text == "@":
            self._instruction()
        else:
            unsupported(f'the directive "{token.text}" in a function', token.line)

    def _add(self, made: Variable) -> None:
        own = self._declare(made.name)
        self.variables.append(
            Variable(
                own, made.space, made.type, made.count, made.align, made.line, made.array, made.values, made.addresses
            )
        )

    def _registers(self) -> None:
        at = self.at
        line = at.now.line
        kind = at.kind("dot").text[1:]
        if kind not in SIZES:
            unsupported(f"a register of the type .{kind}", line)
        while True:
            name = at.kind("name").text
            if at.accept("<"):
                count = number(at.kind("number").text).value
                at.expect(">")
                for n in range(count):
                    self.registers[self._declare(f"{name}{n}")] = kind
            else:
                self.registers[self._declare(name)] = kind
            if not at.accept(","):
                break
        at.expect(";")

    def _label(self, name: str) -> None:
        at = self.at
        if at.now.text in (".branchtargets", ".calltargets"):
            at.take()
            names = [self._own(at.kind("name").text)]
            while at.accept(","):
                names.append(self._own(at.kind("name").text))
            at.expect(";")
            self.targets[name] = tuple(names)
        elif at.now.text == ".callprototype":
            while not at.accept(";"):
                at.take()
            self.targets[name] = ()
        else:
            self.labels[name] = len(self.instructions)

    def _instruction(self) -> None:
        at = self.at
        guard = None
        if at.accept("@"):
            negated = at.accept("!")
            guard = Guard(self._own(at.kind("name").text), negated)
        word = at.kind("name")
        opcode, *modifiers = word.text.split(".")
        while at.now.kind == "dot":  # written apart: "cvt .rn"
            modifiers += at.take().text[1:].split(".")
        operands: list[Operand] = []
        while not at.accept(";"):
            if operands:
                at.expect(",")
            operands.append(self._operand())
        self.instructions.append(Instruction(word.line, opcode, tuple(modifiers), tuple(operands), guard))

    def _operand(self) -> Operand:
        at = self.at
        if at.accept("{"):
            return Vector(self._list("}"))
        if at.accept("("):
            if at.now.kind == "name" or at.now.text == ")":
                return Group(self._list(")"))
            found = Group(self._list(")"))
            return found.items[0] if len(found.items) == 1 and at.now.text != "," else found
        if at.accept("["):
            return self._address()
        if at.now.text == "!" and at.ahead().kind == "name":
            at.take()
            return Negated(self._operand())
        if at.now.kind != "name" or at.now.text == "WARP_SZ":
            return constant(at)
        if at.now.text == "_":
            at.take()
            first: Operand = Sink()
        else:
            first = self._name()
        if at.accept("|"):
            return Pair(first, self._operand())
        return first

    def _list(self, end: str) -> tuple[Operand, ...]:
        items: list[Operand] = []
        while not self.at.accept(end):
            if items:
                self.at.expect(",")
            items.append(self._operand())
        return tuple(items)

    def _name(self) -> Operand:
        found = symbol(self.at)
        own = self._own(found.name)
        if not found.offset and not found.generic and (own in self.registers or found.name.startswith("%")):
            return Register(own)
        return Symbol(own, found.offset, found.generic)

    def _address(self) -> Operand:
        at = self.at
        if at.now.kind != "name":
            offset = integer(at)
            at.expect("]")
            return Address(None, offset)
        line = at.now.line
        found = symbol(at)
        own = self._own(found.name)
        if at.accept(","):
            unsupported("an address of several parts (a tensor or a texture)", line)
        at.expect("]")
        if own in self.registers or own.startswith("%"):
            return Address(Register(own), found.offset)
        return Address(Symbol(own), found.offset)
