"""Raising an error at the kernel's own line."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError

_PACKAGE = str(Path(__file__).parents[2])


def fail(code: str, message: str, fix: str = "") -> NoReturn:
    """Raise `TilebuildError` at the innermost line outside tilebuild, with the program that was running there."""
    from tilebuild.lang.reference.launch import current

    launch = current()
    notes = ((None, launch.situation()),) if launch is not None else ()
    raise TilebuildError(Diagnostic(code, message, caller(), notes, fix))


def caller() -> Span | None:
    """The innermost call site outside this package: a line of the kernel, of its helper, or of the launch."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return _span(frame) if frame is not None else None


def _span(frame: FrameType) -> Span:
    file, line = frame.f_code.co_filename, frame.f_lineno
    if sys.version_info >= (3, 11):
        start, end, column, end_column = list(frame.f_code.co_positions())[frame.f_lasti // 2]
        if start is not None and end is not None and column is not None and end_column is not None:
            return Span(file, start, column, end, end_column)
    # Python 3.10 knows the line only
    text = linecache.getline(file, line).encode()
    return Span(file, line, len(text) - len(text.lstrip()), line, len(text.rstrip()))
