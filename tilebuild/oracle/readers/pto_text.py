"""PTO-MLIR text as a tree of operations: syntax only, what the operations mean is for others to know.

The grammar is MLIR's custom assembly as far as PTO files use it. An operation that is written in another way still
has its name, its line and its tokens, so that a reader can say that it does not know it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<value>%[\w$.-]+(?:[:\#]\d+)?)
      | (?P<symbol>@[\w$.-]+|\^[\w$.-]+)
      | (?P<sigil>[!\#][A-Za-z_][\w$.]*)
      | (?P<number>-?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?))
      | (?P<word>[A-Za-z_][\w$.]*)
      | (?P<mark>->|[-()\[\]{}<>=:,?*])""",
    re.VERBOSE,
)
_OPEN, _CLOSE = "([{<", ")]}>"
_TERMINATORS = ("return", "scf.yield", "func.return")
_LARGEST = 1 << 24  # characters of a file; beyond it nobody wrote it as text


class SyntaxProblem(ValueError):
    """The text is not PTO-MLIR; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True)
class Token:
    """`kind`: string, value, symbol, sigil (a type or an attribute), number, word or mark."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Operation:
    """One operation. `tokens` are those between its name and its regions; dictionaries are in `attributes`."""

    name: str
    line: int
    results: tuple[str, ...]
    tokens: tuple[Token, ...]
    attributes: dict[str, str]
    regions: tuple[tuple[Operation, ...], ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """The names of all values that the tokens mention, in order."""
        return tuple(t.text for t in self.tokens if t.kind == "value")

    @property
    def type(self) -> str:
        """The text of the last type, empty where there is none."""
        last = [t.text for t in self.tokens if t.kind == "sigil" or (t.kind == "word" and t.text in _SCALAR_TYPES)]
        return last[-1] if last else ""

    def group(self, word: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Operand names and their types of `word(%a, %b : A, B)`; nothing where there is no such group."""
        for i, t in enumerate(self.tokens[:-1]):
            if t.text == word and self.tokens[i + 1].text == "(":
                inside = list(_balanced(self.tokens[i + 1 :]))
                colon = next((k for k, x in enumerate(inside) if x.text == ":"), len(inside))
                types = tuple(x.text for x in inside[colon + 1 :] if x.kind in ("sigil", "word"))
                return tuple(x.text for x in inside[:colon] if x.kind == "value"), types
        return (), ()

    def listed(self, word: str) -> tuple[str, ...]:
        """The value names of `word = [%a, %b]`."""
        for i, t in enumerate(self.tokens[:-2]):
            if t.text == word and self.tokens[i + 1].text == "=" and self.tokens[i + 2].text == "[":
                return tuple(x.text for x in _balanced(self.tokens[i + 2 :]) if x.kind == "value")
        return ()

    def named(self, word: str) -> str:
        """The value name of `word = %a`, or an empty string."""
        for i, t in enumerate(self.tokens[:-2]):
            if t.text == word and self.tokens[i + 1].text == "=" and self.tokens[i + 2].kind == "value":
                return self.tokens[i + 2].text
        return ""


_SCALAR_TYPES = ("index", "i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "f16", "bf16", "f32", "f64")


@dataclass
class Module:
    """A file: its attributes, its functions in order, and the types that its aliases stand for."""

    attributes: dict[str, str] = field(default_factory=dict)
    functions: list[Operation] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def resolve(self, type_text: str) -> str:
        """A type's text without aliases."""
        return self.aliases.get(type_text, type_text)


def _balanced(tokens: tuple[Token, ...]) -> Iterator[Token]:
    """What stands inside the bracket that the first token opens."""
    depth = 0
    for t in tokens:
        if t.kind == "mark" and t.text in _OPEN:
            depth += 1
            if depth == 1:
                continue
        elif t.kind == "mark" and t.text in _CLOSE:
            depth -= 1
            if depth == 0:
                return
        yield t


def _tokens(text: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise SyntaxProblem(f"{text[at : at + 20]!r} is no token of MLIR", line)
        kind, end = match.lastgroup or "", match.end()
        # parameters belong to their type or attribute: `!pto.ptr<f32>`, `#pto<round_mode FLOOR>`, `memref<4xf32>`
        if kind in ("sigil", "word") and end < len(text) and text[end] == "<":
            end = _angle_end(text, end, line)
            kind = "sigil"
        found = text[at:end]
        if kind != "space":
            yield Token(kind, found, line)
        line += found.count("\n")
        at = end


def _angle_end(text: str, start: int, line: int) -> int:
    depth = 0
    for i in range(start, len(text)):
        if text[i] == "<":
            depth += 1
        elif text[i] == ">" and text[i - 1] != "-":
            depth -= 1
            if depth == 0:
                return i + 1
    raise SyntaxProblem("a `<` that nothing closes", line)


def parse(text: str) -> Module:
    """The module that a file holds; raises `SyntaxProblem`."""
    if len(text) > _LARGEST:
        raise SyntaxProblem(f"the text has more than {_LARGEST} characters", 1)
    return _Parser(list(_tokens(text))).module()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0

    def peek(self, ahead: int = 0) -> Token:
        at = self.at + ahead
        if at < len(self.tokens):
            return self.tokens[at]
        return Token("end", "", self.tokens[-1].line if self.tokens else 1)

    def next(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def module(self) -> Module:
        module = Module()
        while self.peek().kind != "end":
            if self.peek().kind == "sigil" and self.peek(1).text == "=":
                name = self.next().text
                self.next()
                module.aliases[name] = module.resolve(self.next().text)
                continue
            for op in self.operations(top=True):
                self.collect(op, module)
        return module

    def collect(self, op: Operation, module: Module) -> None:
        if op.name == "func.func":
            module.functions.append(op)
        elif op.name in ("module", "builtin.module"):
            module.attributes.update(op.attributes)
            for inner in op.regions[0] if op.regions else ():
                self.collect(inner, module)
        else:
            raise SyntaxProblem(f"{op.name} stands outside of any function", op.line)

    def operations(self, top: bool = False) -> list[Operation]:
        """Operations up to the closing brace, or at the top one operation."""
        found: list[Operation] = []
        while True:
            token = self.peek()
            if token.kind == "end" or token.text == "}":
                if token.text == "}" and top:
                    raise SyntaxProblem("a `}` that closes nothing", token.line)
                return found
            found.append(self.operation())
            if top:
                return found

    def operation(self) -> Operation:
        results: list[str] = []
        if self.peek().kind == "value":
            while self.peek().kind == "value":
                results.append(self.next().text.split(":")[0])
                if self.peek().text == ",":
                    self.next()
            if self.next().text != "=":
                raise SyntaxProblem(f"{results[0]} is followed by no `=`", self.peek().line)
        name = self.next()
        if name.kind not in ("word", "string", "sigil"):
            raise SyntaxProblem(f"{name.text!r} where an operation is expected", name.line)
        tokens: list[Token] = []
        attributes: dict[str, str] = {}
        regions: list[tuple[Operation, ...]] = []
        depth = 0
        while (token := self.peek()).kind != "end":
            if depth == 0 and (token.text == "}" or self.starts_operation(name.text, tokens, bool(regions))):
                break
            if token.text == "{" and token.kind == "mark":
                if self.is_attributes():
                    attributes.update(self.dictionary())
                else:
                    regions.append(self.region())
                continue
            depth += (token.kind == "mark" and token.text in _OPEN) - (token.kind == "mark" and token.text in _CLOSE)
            tokens.append(self.next())
        return Operation(name.text, name.line, tuple(results), tuple(tokens), attributes, tuple(regions))

    def starts_operation(self, name: str, tokens: list[Token], had_region: bool) -> bool:
        token = self.peek()
        if token.kind == "value":
            if name == "scf.for" and not tokens:
                return False
            ahead = 0
            while self.peek(ahead).kind == "value" and self.peek(ahead + 1).text == ",":
                ahead += 2
            return self.peek(ahead).kind == "value" and self.peek(ahead + 1).text == "="
        if token.kind == "string" and self.peek(1).text == "(":
            return True
        if token.kind != "word":
            return False
        return (had_region and token.text != "else") or "." in token.text or token.text in ("return", "module")

    def region(self) -> tuple[Operation, ...]:
        opened = self.next()
        self.depth += 1
        if self.depth > 64:
            raise SyntaxProblem("regions are nested deeper than 64 levels", opened.line)
        found = tuple(self.operations())
        self.depth -= 1
        if self.next().text != "}":
            raise SyntaxProblem("a `{` that nothing closes", opened.line)
        return found

    def is_attributes(self) -> bool:
        first, second = self.peek(1), self.peek(2)
        if first.kind not in ("word", "string") or first.text in _TERMINATORS:
            return False
        return second.text in ("=", ",", "}")

    def dictionary(self) -> dict[str, str]:
        opened = self.next()
        found: dict[str, str] = {}
        while (token := self.next()).text != "}":
            if token.kind == "end":
                raise SyntaxProblem("a `{` that nothing closes", opened.line)
            if token.text == ",":
                continue
            key, value, depth = token.text.strip('"'), [], 0
            if self.peek().text == "=":
                self.next()
                while self.peek().kind != "end" and (depth or self.peek().text not in (",", "}")):
                    part = self.next()
                    depth += (part.kind == "mark" and part.text in _OPEN) - (
                        part.kind == "mark" and part.text in _CLOSE
                    )
                    value.append(part.text)
            found[key] = " ".join(value)
        return found
