"""The tokens of a PTX text one after another, the names that its blocks declare, and operands."""

from __future__ import annotations

import re

from tilebuild.oracle.readers.ptx_text import (
    Address,
    Group,
    Module,
    Name,
    Number,
    Operand,
    Other,
    Register,
    SyntaxProblem,
    Token,
    integer,
    tokens,
)

DEPTH = 64  # of blocks and operands


class Cursor:
    """Walks over the tokens of a text, and reads operands."""

    def __init__(self, text: str, name: str) -> None:
        self.tokens, self.at = list(tokens(text)), 0
        self.result = Module(name)
        self.loc: tuple[int, int] | None = None
        self.widths: dict[str, int] = {}  # of the function's registers
        self.scopes: list[dict[str, str]] = []  # names that inner blocks declare, and what they are called here
        self.count = 0

    # -- tokens -----------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        if self.at < len(self.tokens):
            return self.tokens[self.at]
        return Token("end", "", self.tokens[-1].line if self.tokens else 1)

    def next(self) -> Token:
        token = self.token
        if token.kind == "end":
            raise SyntaxProblem("the text ends too early", token.line)
        self.at += 1
        return token

    def take(self, text: str) -> bool:
        if self.token.text == text and self.token.kind != "string":
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        token = self.next()
        if token.text != text:
            raise SyntaxProblem(f"{token.text!r} where {text!r} is expected", token.line)

    def number(self) -> int:
        sign = -1 if self.take("-") else 1
        token = self.next()
        value = integer(token.text) if token.kind == "number" else None
        if value is None:
            raise SyntaxProblem(f"{token.text!r} where an integer is expected", token.line)
        return sign * value

    def skip_to(self, *ends: str) -> list[Token]:
        """Tokens up to and including one of `ends`, outside of all brackets."""
        found: list[Token] = []
        depth = 0
        while True:
            token = self.next()
            if depth == 0 and token.kind == "mark" and token.text in ends:
                return found
            if token.kind == "mark":
                depth += (token.text in "({[") - (token.text in ")}]")
            found.append(token)

    # -- names ------------------------------------------------------------------------------------

    def declare(self, name: str) -> str:
        """The name under which a declaration is known: inner blocks may use one again."""
        if len(self.scopes) < 2:
            return name
        self.count += 1
        self.scopes[-1][name] = f"{name}@{self.count}"
        return self.scopes[-1][name]

    def resolve(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), name)

    # -- operands ---------------------------------------------------------------------------------

    def operand(self, depth: int = 0) -> Operand:
        token = self.token
        if depth > DEPTH:
            raise SyntaxProblem("operands are nested too deeply", token.line)
        if token.text in ("{", "("):
            self.next()
            closing = "}" if token.text == "{" else ")"
            items: list[Operand] = []
            while not self.take(closing):
                if not self.take(","):
                    items.append(self.operand(depth + 1))
            return Group(tuple(items))
        if token.text == "[":
            self.next()
            return self.address()
        return self.simple(depth)

    def simple(self, depth: int) -> Operand:
        token = self.next()
        if token.text in ("-", "+", "!", "~"):
            inner = self.operand(depth + 1)
            if token.text == "-" and isinstance(inner, Number):
                return Number(-inner.value)
            return inner if token.text == "+" else Other(f"{token.text}{_text(inner)}")
        if token.kind == "number":
            value = integer(token.text)
            return Other(token.text) if value is None else Number(value)
        if token.kind != "word":
            if token.text in (";", "]", "}", ")", ",") or token.kind == "end":
                raise SyntaxProblem(f"{token.text!r} where an operand is expected", token.line)
            return Other(token.text)
        if self.take("|"):  # a second result of setp or shfl
            return Group((self.named(token.text), self.operand(depth + 1)))
        found = self.named(token.text)
        if isinstance(found, Name) and self.token.text in ("+", "-"):
            sign = -1 if self.next().text == "-" else 1
            return Name(found.name, sign * self.number())
        return found

    def named(self, text: str) -> Register | Name | Other:
        if text == "_":
            return Other("_")
        if text.startswith("%"):
            base = re.sub(r"\.[xyzw]$", "", text)  # a vector register's element, or a special register's
            return Register(self.resolve(base) if base == text else self.resolve(base) + text[len(base) :])
        found = self.resolve(text)
        return Register(found) if found in self.widths else Name(found)

    def address(self) -> Address:
        base: Register | Name | None = None
        offset, sign, deep = 0, 1, False
        while not self.take("]"):
            token = self.token
            if token.kind == "number":
                offset += sign * self.number()
                sign = 1
            elif token.text in ("+", "-"):
                self.next()
                sign = 1 if token.text == "+" else -1
            elif token.kind == "word":
                found = self.named(self.next().text)
                if base is not None or isinstance(found, Other):
                    deep = True
                else:
                    base = found
            else:  # the coordinates of a tensor, a cache policy
                deep = True
                self.skip_to("]")
                break
        if deep:
            return Address(Name("?"), 0)
        return Address(base, offset)


def _text(operand: Operand) -> str:
    return operand.name if isinstance(operand, (Register, Name)) else "?"
