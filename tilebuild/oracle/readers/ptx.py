"""Reads PTX, whoever made it, into `tilebuild.oracle.readers.ptx_text.Module`."""

from __future__ import annotations

from tilebuild.oracle.readers.ptx_cursor import DEPTH, Cursor
from tilebuild.oracle.readers.ptx_text import (
    LARGEST,
    SPACES,
    TYPE_BYTES,
    Function,
    Instruction,
    Module,
    Operand,
    SyntaxProblem,
    Token,
    Variable,
    integer,
)

_LINKING = (".visible", ".extern", ".weak", ".common")
_IN_BODY = (".branchtargets", ".calltargets", ".callprototype", ".pragma", ".loc")


def read(text: str, name: str) -> Module:
    """The module that a PTX text holds; raises `SyntaxProblem` where it is none."""
    if len(text) > LARGEST:
        raise SyntaxProblem(f"the text has more than {LARGEST} characters", 1)
    module = _Reader(text, name).module()
    if not module.version or not module.target:
        raise SyntaxProblem("there is no .version or no .target", 1)
    return module


class _Reader(Cursor):
    # -- the module -------------------------------------------------------------------------------

    def module(self) -> Module:
        while self.token.kind != "end":
            self.top()
        return self.result

    def top(self) -> None:
        token = self.next()
        linking: list[str] = []
        while token.text in _LINKING:
            linking.append(token.text)
            token = self.next()
        module, text = self.result, token.text
        if text == ".version":
            module.version = self.next().text
        elif text == ".target":
            module.target = self.next().text
            while self.take(","):
                self.next()
        elif text == ".address_size":
            module.address_size = self.number()
        elif text in (".entry", ".func"):
            self.function(text == ".entry", token.line)
        elif text.lstrip(".") in SPACES and token.kind == "directive":
            module.variables += self.variables(text[1:], ".extern" in linking)
        elif text == ".file":
            self.file()
        elif text == ".section":
            self.section()
        elif text in (".pragma", ".alias"):
            self.skip_to(";")
        elif text == ".loc":
            self.location()
        elif text == ";":
            return
        elif token.kind == "directive":
            module.unknown.append((text, token.line))
            self.unknown()
        else:
            raise SyntaxProblem(f"{text!r} stands outside of any function", token.line)

    def unknown(self) -> None:
        """What follows a directive that nobody knows: up to its semicolon, or the end of its line or block."""
        line = self.token.line
        while self.token.kind != "end":
            if self.token.text == "{":
                self.next()
                self.skip_to("}")
                return
            if self.take(";") or self.token.line != line:
                return
            self.next()

    def file(self) -> None:
        number, name = self.number(), self.next().text
        self.result.files[number] = name.strip('"')
        while self.take(","):
            self.number()

    def location(self) -> None:
        file, line = self.number(), self.number()
        if self.token.kind == "number":
            self.number()
        self.loc = (file, line)
        while self.take(","):  # inlined code keeps the place of its own text
            self.next()
            while self.token.kind in ("number", "word") or self.token.text == "+":
                if self.token.kind == "word" and self.tokens[self.at - 1].kind == "number":
                    break
                self.next()

    def section(self) -> None:
        self.next()
        self.expect("{")
        self.skip_to("}")

    # -- declarations -----------------------------------------------------------------------------

    def variables(self, space: str, extern: bool) -> list[Variable]:
        """`.shared .align 4 .b8 name[64], ...;`"""
        kind, align, vector = "", 0, 1
        while self.token.kind == "directive":
            kind, align, vector = self.attribute(kind, align, vector)
        found = []
        while True:
            found.append(self.declarator(space, kind, align, vector, extern))
            another = self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].kind == "word"
            if not (another and self.take(",")):
                break
        if space not in ("param", "reg"):
            self.skip_to(";")
        return found

    def attribute(self, kind: str, align: int, vector: int) -> tuple[str, int, int]:
        token = self.next()
        text = token.text[1:]
        if text == "align":
            return kind, self.number(), vector
        if text in TYPE_BYTES:
            return text, align, vector
        if text in ("v2", "v4", "v8"):
            return kind, align, int(text[1:])
        if text == "attribute":
            self.expect("(")
            self.skip_to(")")
        return kind, align, vector  # .ptr, .global, .texref and the like say nothing of sizes

    def declarator(self, space: str, kind: str, align: int, vector: int, extern: bool) -> Variable:
        token = self.next()
        if token.kind != "word":
            raise SyntaxProblem(f"{token.text!r} where a name is expected", token.line)
        unit = TYPE_BYTES.get(kind, 0) * vector
        size: int | None = unit or None
        while self.take("["):
            if self.take("]"):
                size = None
            else:
                length = self.number()
                size = None if size is None else size * length
                self.expect("]")
        if self.take("="):
            depth = 0
            while depth or self.token.text not in (",", ";"):
                depth += (self.token.text in ("{", "(")) - (self.token.text in ("}", ")"))
                self.next()
        return Variable(self.declare(token.text), space, align or unit or 1, size, extern, token.line)

    # -- functions --------------------------------------------------------------------------------

    def parameters(self) -> tuple[Variable, ...]:
        found: list[Variable] = []
        self.expect("(")
        while not self.take(")"):
            token = self.next()
            if token.text in (".param", ".reg"):
                found += self.variables(token.text[1:], False)
            elif token.text != ",":
                raise SyntaxProblem(f"{token.text!r} where a parameter is expected", token.line)
        return tuple(found)

    def function(self, entry: bool, line: int) -> None:
        if self.token.kind == "directive" and self.token.text == ".attribute":
            self.next()
            self.expect("(")
            self.skip_to(")")
        returns = self.parameters() if self.token.text == "(" else ()
        function = Function(self.next().text, entry, line, returns=returns)
        if self.token.text == "(":
            function.params = self.parameters()
        while self.token.text not in ("{", ";"):
            token = self.next()
            values: list[int] = []
            while self.token.kind in ("number", "string") or self.token.text == ",":
                argument = self.next()
                value = integer(argument.text) if argument.kind == "number" else None
                values += [] if value is None else [value]
            if token.kind != "directive":
                raise SyntaxProblem(f"{token.text!r} stands before a function's body", token.line)
            function.directives[token.text[1:]] = tuple(values)
        self.result.functions.append(function)
        if self.take(";"):
            function.defined = False
            return
        self.loc, self.widths = None, function.widths
        self.expect("{")
        self.block(function)

    def block(self, function: Function) -> None:
        if len(self.scopes) == DEPTH:
            raise SyntaxProblem(f"blocks are nested deeper than {DEPTH} levels", self.token.line)
        self.scopes.append({})
        if len(self.scopes) > 1:
            self.declare_labels()
        while not self.take("}"):
            self.statement(function)
        self.scopes.pop()

    def declare_labels(self) -> None:
        """Labels of an inner block are its own, and are used before they stand."""
        depth, at = 0, self.at
        while at + 1 < len(self.tokens) and depth >= 0:
            token, after = self.tokens[at], self.tokens[at + 1].text
            depth += (token.text == "{") - (token.text == "}")
            starts = self.tokens[at - 1].text in (";", "{", "}", ":") or self.tokens[at - 1].line != token.line
            if depth == 0 and token.kind == "word" and after == ":" and starts:
                self.declare(token.text)
            at += 1

    def statement(self, function: Function) -> None:
        token = self.next()
        if token.text == "{":
            self.block(function)
        elif token.text == ";":
            return
        elif token.kind == "directive":
            self.directive(token, function)
        elif token.kind == "word" and self.take(":"):
            label = self.resolve(token.text)
            function.labels[label] = len(function.body)
            if self.token.text in (".branchtargets", ".calltargets", ".callprototype"):
                self.next()
                names = [self.resolve(t.text) for t in self.skip_to(";") if t.kind == "word"]
                function.tables[label] = tuple(names)
        elif token.kind == "word" or token.text == "@":
            self.instruction(token, function)
        else:
            raise SyntaxProblem(f"{token.text!r} where an instruction is expected", token.line)

    def directive(self, token: Token, function: Function) -> None:
        text = token.text
        if text == ".loc":
            self.location()
        elif text == ".reg":
            self.registers(function)
        elif text[1:] in SPACES:
            found = self.variables(text[1:], False)
            if text == ".param":
                function.slots.update(v.name for v in found)
                self.skip_to(";")
            else:
                function.variables += found
        elif text == ".file":
            self.file()
        elif text == ".section":
            self.section()
        else:
            if text not in _IN_BODY:
                self.result.unknown.append((text, token.line))
            self.unknown()

    def registers(self, function: Function) -> None:
        bits, found = 64, self.skip_to(";")
        for token, after in zip(found, [*found[1:], Token("end", "", 0)]):
            if token.kind == "directive":
                bits = TYPE_BYTES.get(token.text[1:], 8) * 8
            elif token.kind == "word" and after.text == "<":
                function.widths[f"{token.text}<"] = bits
            elif token.kind == "word":
                function.widths[self.declare(token.text)] = bits

    def instruction(self, token: Token, function: Function) -> None:
        guard = None
        if token.text == "@":
            negated = self.take("!")
            guard = (self.resolve(self.next().text), negated)
            token = self.next()
        if token.kind != "word":
            raise SyntaxProblem(f"{token.text!r} where an instruction is expected", token.line)
        operands: list[Operand] = []
        while not self.take(";"):
            if not self.take(","):
                operands.append(self.operand())
        function.body.append(Instruction(tuple(token.text.split(".")), tuple(operands), token.line, guard, self.loc))
