"""PTX text as tokens, and a cursor over them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tilebuild.testing.ptx.faults import Fault

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\f\v]+|//[^\n]*|/\*.*?\*/|@@DWARF[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<name>[A-Za-z%_$][A-Za-z0-9_$%]*(?:(?:\.|::)[A-Za-z0-9_$]+)*)
      | (?P<dot>\.[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z0-9_]+)*)
      | (?P<number>0[fF][0-9a-fA-F]{8}|0[dD][0-9a-fA-F]{16}|0[xX][0-9a-fA-F]+U?|0[bB][01]+U?|
                   \d+\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\d+U?)
      | (?P<mark><<|>>|&&|\|\||==|!=|<=|>=|[-+*/%&|^~!?:(){}\[\]<>,;=@])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """`kind`: string, name (with its dots), dot (a directive), number, mark, or end."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """All tokens of a text, ended by one of kind "end"; raises Fault EMU-01."""
    found, line, at = [], 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise Fault("EMU-01", f"no token of PTX begins with {text[at : at + 10]!r}", line)
        at = match.end()
        if match.lastgroup not in ("blank", "newline"):
            found.append(Token(match.lastgroup, match[0], line))
        line += match[0].count("\n")
    found.append(Token("end", "the end of the text", line))
    return found


class Cursor:
    """A place in a list of tokens."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0

    @property
    def now(self) -> Token:
        """The token here."""
        return self._tokens[self._at]

    def ahead(self, count: int = 1) -> Token:
        """A token further on; the last one past the end."""
        return self._tokens[min(self._at + count, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The token here, and go on."""
        token = self.now
        if token.kind != "end":
            self._at += 1
        return token

    def accept(self, text: str) -> bool:
        """Whether the token here is this one, which is then taken."""
        if self.now.text != text or self.now.kind in ("string", "end"):
            return False
        self._at += 1
        return True

    def expect(self, text: str) -> Token:
        """Take this token; raises Fault EMU-01 where another one stands."""
        token = self.now
        if not self.accept(text):
            raise Fault("EMU-01", f'"{text}" is missing before "{token.text}"', token.line)
        return token

    def kind(self, kind: str) -> Token:
        """Take a token of a kind; raises Fault EMU-01."""
        if self.now.kind != kind:
            raise Fault("EMU-01", f'a {kind} is missing before "{self.now.text}"', self.now.line)
        return self.take()

    def rest_of_line(self) -> None:
        """Leave what remains of the line of the token taken last."""
        line = self._tokens[self._at - 1].line
        while self.now.kind != "end" and self.now.line == line:
            self._at += 1

    def braces(self) -> None:
        """Leave a group in braces, with the groups inside it."""
        first = self.expect("{")
        depth = 1
        while depth:
            token = self.take()
            if token.kind == "end":
                raise Fault("EMU-01", "the brace is never closed", first.line)
            depth += (token.text == "{") - (token.text == "}")
