"""Source spans and messages: the one shape in which anything in tilebuild says that something is wrong.

A message has a code, one sentence, a place in the source, notes that state the facts in conflict, and a fix.
This is the ground floor: it uses the standard library only.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Span:
    """A range of source text. Lines count from 1, columns from 0; the end is exclusive, as in `ast`."""

    file: str
    line: int
    column: int = 0
    end_line: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column + 1}"


@dataclass(frozen=True)
class Diagnostic:
    """`notes` are further places (or None) with what is true there; `fix` says what to write instead."""

    code: str
    message: str
    span: Span | None = None
    notes: tuple[tuple[Span | None, str], ...] = ()
    fix: str = ""
    severity: str = "error"

    def render(self, root: Path | None = None) -> str:
        """The message as text, with the source line and a caret where the file can be read."""
        head = f"{self.span}: " if self.span else ""
        lines = [f"{head}{self.severity}[{self.code}]: {self.message}", *_excerpt(self.span, root)]
        for span, text in self.notes:
            lines.append(f"  note: {f'{span}: ' if span else ''}{text}")
            if span != self.span:
                lines += _excerpt(span, root)
        if self.fix:
            lines += [f"  fix: {self.fix}"]
        return "\n".join(lines)


class TilebuildError(Exception):
    """One or more diagnostics; `str()` is what a user reads. `exit_code` is for command lines."""

    exit_code = 1

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic], root: Path | None = None) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = (
            (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        )
        self.root = root
        super().__init__("; ".join(f"[{d.code}] {d.message}" for d in self.diagnostics))

    def __str__(self) -> str:
        return "\n\n".join(d.render(self.root) for d in self.diagnostics)


_NO_ROOM = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of your quota there",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.EROFS: "build in a copy of the project, or set `build-dir` (TILEBUILD_BUILD_DIR) to a directory for builds",
    errno.EACCES: "make it writable, or set `build-dir` (TILEBUILD_BUILD_DIR) to a directory for builds",
    errno.EPERM: "make it writable, or set `build-dir` (TILEBUILD_BUILD_DIR) to a directory for builds",
}


def no_room(error: OSError) -> TilebuildError | None:
    """The message (E730) for an error that says that a file may not or cannot be written; None for any other error."""
    if error.errno not in _NO_ROOM:
        return None
    place = f"{error.filename2 or error.filename or 'a file'}"
    verb = "opened" if error.errno in (errno.EACCES, errno.EPERM) else "written"
    what = f"{place} cannot be {verb}: {error.strerror}"
    return TilebuildError(Diagnostic("E730", what, fix=f"{_NO_ROOM[error.errno]}; what is built already is kept"))


def _excerpt(span: Span | None, root: Path | None) -> list[str]:
    if span is None:
        return []
    path = Path(span.file) if root is None else root / span.file
    try:
        # not splitlines: a form feed or a line separator ends no line of Python
        source = path.read_text(encoding="utf-8").split("\n")[span.line - 1]
    except (OSError, IndexError, UnicodeDecodeError):
        return []
    # ast counts columns in UTF-8 bytes; a terminal counts characters
    start = len(source.encode()[: span.column].decode(errors="replace"))
    end = (
        len(source.encode()[: span.end_column].decode(errors="replace")) if span.end_line == span.line else len(source)
    )
    margin = " " * len(str(span.line))
    caret = "".join(c if c == "\t" else " " for c in source[:start]) + "^" * max(1, end - start)
    return [f"  {span.line} | {source}", f"  {margin} | {caret}"]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """` (did you mean "x"?)`, or an empty string where nothing is close."""
    import difflib  # only where something is wrong: it costs more to import than this module

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""
