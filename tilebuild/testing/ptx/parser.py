"""PTX text as a `Module`. Directives that say nothing about what a kernel computes are passed over by name; any other
is an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from tilebuild.testing.ptx.constants import integer
from tilebuild.testing.ptx.declarations import ALIGNABLE, variable
from tilebuild.testing.ptx.faults import Fault, unsupported
from tilebuild.testing.ptx.lexer import Cursor, tokens
from tilebuild.testing.ptx.scopes import Body
from tilebuild.testing.ptx.syntax import Function, Module, Variable

LINKAGE = (".visible", ".extern", ".weak", ".common")
_SPACES = (".global", ".const", ".shared", ".local", ".param")
# performance and debugging hints of a function, with how many numbers follow each at most
_HINTS = (".minnctapersm", ".maxnreg", ".noreturn", ".pragma", ".explicitcluster", ".reqnctapercluster",
          ".maxclusterrank", ".blocksareclusters", ".abi_preserve", ".abi_preserve_control", ".language",
          ".unified")  # fmt: skip


@lru_cache(maxsize=64)
def parse(text: str) -> Module:
    """The module that a PTX text is; raises Fault EMU-01 and EMU-02."""
    return _Parser(text).module()


class _Parser:
    def __init__(self, text: str) -> None:
        self.at = Cursor(tokens(text))
        self.version = self.target = ""
        self.variables: dict[str, Variable] = {}
        self.functions: dict[str, Function] = {}

    def module(self) -> Module:
        at = self.at
        while at.now.kind != "end":
            token = at.take()
            if token.text == ".version":
                self.version = at.kind("number").text
            elif token.text == ".target":
                self.target = at.kind("name").text
                while at.accept(","):
                    at.kind("name")
            elif token.text == ".address_size":
                size = integer(at)
                if size != 64:
                    unsupported(f".address_size {size}", token.line)
            elif token.text in (".file", ".loc"):
                at.rest_of_line()
            elif token.text == ".section":
                at.take()
                at.braces()
            elif token.text == ".pragma":
                while not at.accept(";"):
                    at.take()
            elif token.text == ".alias":
                new, _, old = at.kind("name").text, at.expect(","), at.kind("name").text
                at.expect(";")
                self.functions[new] = self.functions[old]
            elif token.text in LINKAGE:
                continue
            elif token.text in (".entry", ".func"):
                function = self.function(token.text == ".entry")
                known = self.functions.get(function.name)
                if known is None or not known.body:
                    self.functions[function.name] = function
            elif token.text in _SPACES:
                for declared in self.declared(token.text[1:]):
                    self.variables[declared.name] = declared
            else:
                unsupported(f'the directive "{token.text}"', token.line)
        return Module(self.version, self.target, self.variables, self.functions)

    def declared(self, space: str) -> Iterator[Variable]:
        """The variables of a declaration whose state space has been read."""
        if self.at.accept("["):  # .const[2], banks of old versions
            unsupported(f".{space} with a bank number", self.at.now.line)
        first = variable(self.at, space)
        yield first
        while self.at.accept(","):
            yield variable(self.at, space, like=first)
        self.at.expect(";")

    def parameters(self) -> tuple[Variable, ...]:
        """The list in parentheses, if there is one."""
        at = self.at
        found: list[Variable] = []
        if not at.accept("("):
            return ()
        while not at.accept(")"):
            if found:
                at.expect(",")
            token = at.take()
            if token.text not in (".param", ".reg"):
                raise Fault("EMU-01", f'a parameter is wanted, not "{token.text}"', token.line)
            found.append(variable(at, token.text[1:]))
        return tuple(found)

    def function(self, entry: bool) -> Function:
        at = self.at
        while at.now.text == ".attribute":
            at.take()
            while not at.accept(")"):
                at.take()
        results = () if entry else self.parameters()
        name = at.kind("name")
        parameters = self.parameters()
        block: tuple[int, int, int] | None = None
        most = 0
        while at.now.kind == "dot":
            token = at.take()
            if token.text not in (*_HINTS, ".reqntid", ".maxntid"):
                unsupported(f'the directive "{token.text}"', token.line)
            numbers: list[int] = []
            while at.now.kind in ("number", "string") or at.now.text == ",":
                if at.now.kind == "number":
                    numbers.append(integer(at))
                else:
                    at.take()
            if token.text == ".reqntid":
                x, y, z = (*numbers, 1, 1)[:3]
                block = (x, y, z)
            if token.text == ".maxntid":
                x, y, z = (*numbers, 1, 1)[:3]
                most = x * y * z
            if token.text == ".pragma":
                at.accept(";")
        empty = Function(name.text, entry, name.line, results, parameters, {}, (), (), {}, {}, False, block, most)
        if at.accept(";"):
            return empty
        for p in (*results, *parameters):
            if p.align not in ALIGNABLE:
                raise Fault("EMU-01", f"{p.name} has the alignment {p.align}", p.line)
        body = Body(at, {p.name: p.type for p in (*results, *parameters) if p.space == "reg"})
        body.read()
        return replace(
            empty,
            registers=body.registers,
            variables=tuple(body.variables),
            instructions=tuple(body.instructions),
            labels=body.labels,
            targets=body.targets,
            body=True,
        )
