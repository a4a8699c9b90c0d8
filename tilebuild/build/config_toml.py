"""`pyproject.toml` as data together with the place of every key and value in its text.

The standard library's parser decides what is valid and what it means; it keeps no positions, so that a scanner that
trusts its verdict walks the same text once more.
"""

from __future__ import annotations

import bisect
import importlib
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.schema import KeyPath

_tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
# an unescaped closing quote; up to two more may stand right before the closing three
_ENDS = {
    '"""': re.compile(r'(?:\\.|[^\\])*?"{3,5}', re.DOTALL),
    "'''": re.compile(r".*?'{3,5}", re.DOTALL),
    '"': re.compile(r'(?:\\.|[^\\"])*"'),
    "'": re.compile(r"[^']*'"),
}


@dataclass
class Document:
    """`values` and `keys`: offsets of what stands at a path and of the key that it stands under (or of a header)."""

    file: str
    text: str
    data: dict[str, Any]
    values: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    keys: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)

    def span(self, path: KeyPath, at_key: bool = False) -> Span | None:
        """Where the value (or the key) of a path stands; None where it is not written in the text."""
        first, second = (self.keys, self.values) if at_key else (self.values, self.keys)
        offsets = first.get(path) or second.get(path)
        return self._span(*offsets) if offsets else None

    def _span(self, start: int, end: int) -> Span:
        lines = [0, *(match.end() for match in re.finditer("\n", self.text))]

        def place(offset: int) -> tuple[int, int]:
            line = bisect.bisect_right(lines, offset)
            return line, len(self.text[lines[line - 1] : offset].encode())

        return Span(self.file, *place(start), *place(end))


def read(project_dir: Path, name: str = "pyproject.toml") -> Document:
    """Reads a project's TOML file; raises `TilebuildError` (E601) where it is missing or not valid."""
    file = project_dir / name
    try:
        text = file.read_bytes().decode()
    except FileNotFoundError:
        fix = "run in the directory of a project, or write the file"
        raise TilebuildError(Diagnostic("E601", f"{file}: no such file", fix=fix)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TilebuildError(Diagnostic("E601", f"{file}: cannot be read: {error}")) from None
    text = text.replace("\r\n", "\n")  # as the parser does
    try:
        data = _tomllib.loads(text)
    except RecursionError:
        raise TilebuildError(Diagnostic("E601", f"{file}: nested too deeply")) from None
    except ValueError as error:
        raise TilebuildError(_invalid(error, text, name), root=project_dir) from None
    document = Document(name, text, data)
    _Scanner(document).run()
    return document


def _invalid(error: ValueError, text: str, name: str) -> Diagnostic:
    """The parser's words at their place, which they end with: "(at line 3, column 9)" or "(at end of document)"."""
    message, _, place = str(error).partition(" (at ")
    numbers = re.findall(r"\d+", place)
    if len(numbers) == 2:
        line, column = int(numbers[0]), int(numbers[1]) - 1
    else:
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n") - 1
    lines = text.split("\n")
    start = len(lines[line - 1][:column].encode()) if line <= len(lines) else 0
    return Diagnostic("E601", f"{name} is not valid TOML: {message}", Span(name, line, start, line, start + 1))


class _Scanner:
    """Walks a valid document; each method starts at `at` and leaves it behind what it read."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.at = 0
        self.last: dict[KeyPath, int] = {}  # arrays of tables: the index of the newest table

    def run(self) -> None:
        table: KeyPath = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._key_and_value(table)
            self._skip(_BLANK)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _header(self) -> KeyPath:
        start = self.at
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        *outer, name = self._key()
        self.at = self.text.index("]", self.at) + (2 if array else 1)
        path: KeyPath = ()
        for part in outer:
            path = (*path, part)
            if path in self.last:
                path = (*path, self.last[path])
        path = (*path, name)
        if array:
            self.last[path] = self.last.get(path, -1) + 1
            path = (*path, self.last[path])
        for end in range(len(path) + 1):
            self.document.keys.setdefault(path[:end], (start, self.at))
        return path

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            start = self.at
            quote = self.text[start]
            if quote in "\"'":
                self._string(quote)
                parts.append(_tomllib.loads(f"key = {self.text[start : self.at]}")["key"])
            else:
                self._skip(_BARE_KEY)
                parts.append(self.text[start : self.at])
            end = self.at
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                self.at = end
                return parts
            self.at += 1

    def _key_and_value(self, table: KeyPath) -> None:
        start = self.at
        parts = self._key()
        path = (*table, *parts)
        for count in range(1, len(parts) + 1):
            self.document.keys.setdefault((*table, *parts[:count]), (start, self.at))
        self._skip(_SPACE)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        start = self.at
        quote = next((q for q in _ENDS if self.text.startswith(q, start)), None)
        if quote:
            self._string(quote)
        elif self.text.startswith(("[", "{"), start):
            self._collection(path, "]" if self.text[start] == "[" else "}")
        else:
            match = _SCALAR.match(self.text, start)
            self.at = start + len(match[0].rstrip()) if match else start
        self.document.values[path] = (start, self.at)

    def _string(self, quote: str) -> None:
        self.at += len(quote)
        self._skip(_ENDS[quote])

    def _collection(self, path: KeyPath, end: str) -> None:
        self.at += 1
        self._skip(_BLANK)
        index = 0
        while not self.text.startswith(end, self.at):
            if end == "]":
                self._value((*path, index))
                index += 1
            else:
                self._key_and_value(path)
            self._skip(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
                self._skip(_BLANK)
        self.at += 1
