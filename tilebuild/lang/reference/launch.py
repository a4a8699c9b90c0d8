"""One launch on the reference path: the grid, the program that is running, and the body with its dimensions bound."""

from __future__ import annotations

import math
import warnings
from contextvars import ContextVar
from types import FunctionType
from typing import Any

import numpy as np

from tilebuild.diagnostics import Diagnostic, Span
from tilebuild.lang.reference.binding import Call
from tilebuild.lang.reference.errors import fail
from tilebuild.lang.reference.view import NOBODY, View
from tilebuild.lang.types import Dim

_current: ContextVar[Launch | None] = ContextVar("launch", default=None)


def current() -> Launch | None:
    """The launch that is running, if one is."""
    return _current.get()


def specialise(function: FunctionType) -> FunctionType:
    """A helper with the running launch's dimensions in place of its module's; itself outside a launch."""
    launch = current()
    return function if launch is None else launch.specialise(function)


class UnwrittenWarning(UserWarning):
    """Output elements that no program wrote (E332)."""


class Launch:
    """Runs the body for every point of the grid; `number` is the running program's, in row-major order."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.number = 0
        self._grid: tuple[int, ...] = ()
        self._declared = False
        self._specialised: dict[FunctionType, FunctionType] = {}
        self._views: dict[str, View] = {}
        for p in call.parameters:
            if p["mode"] != "scalar":
                array = call.arrays[p["name"]]
                writer, reader = (np.full(array.shape, NOBODY) for _ in range(2))
                self._views[p["name"]] = View(self, p["name"], p["mode"], p["dtype"], array, writer, reader)

    def run(self) -> None:
        """Execute every program, the first of which tells the grid; warn of output elements that none wrote."""
        body = self.specialise(self.call.function)
        arguments = {**self._views, **self.call.scalars, **self.call.consts}
        names = body.__code__.co_varnames[: body.__code__.co_argcount]
        positional = [arguments.pop(n) for n in names]
        token = _current.set(self)
        try:
            while True:
                self._declared = False
                with np.errstate(all="ignore"):
                    body(*positional, **arguments)
                if not self._declared:
                    fail("E111", f"{body.__name__} has no tb.program(...)", "i = tb.program(tb.cdiv(M, BM))")
                if self.number + 1 == math.prod(self._grid):
                    break
                self.number += 1
        finally:
            _current.reset(token)
        self._warn_of_unwritten()

    def program(self, extents: tuple[Any, ...]) -> int | tuple[int, ...]:
        """The running program's ids; the first call of all declares the grid."""
        if self._declared or (self.number and extents != self._grid):
            fail("E111", "tb.program stands once, at the top of a kernel, with extents that all programs agree on")
        if not extents or not all(type(n) is int and n >= 1 for n in extents):
            fail("E111", f"tb.program{extents}: an extent is an integer of at least 1", "tb.program(tb.cdiv(M, BM))")
        self._grid, self._declared = extents, True
        ids = self._ids(self.number)
        return ids if len(ids) > 1 else ids[0]

    def _ids(self, number: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(number, self._grid))

    def describe(self, number: int) -> str:
        """A program by its ids."""
        return f"program ({', '.join(map(str, self._ids(number)))})"

    def situation(self) -> str:
        """Where the launch is, for a message."""
        values = ", ".join(f"{k}={v}" for k, v in {**self.call.dims, **self.call.consts}.items())
        place = f"in {self.describe(self.number)} of a {list(self._grid)} grid" if self._grid else "before tb.program"
        return f"{place}, {values}"

    def specialise(self, function: FunctionType) -> FunctionType:
        """The function with dimensions as integers. A dimension that the kernel does not have is no name at all."""
        if function not in self._specialised:
            dims = self.call.dims
            names = {
                name: dims[value.text] if isinstance(value, Dim) else value
                for name, value in function.__globals__.items()
                if not isinstance(value, Dim) or value.text in dims
            }
            bound = FunctionType(function.__code__, names, function.__name__, function.__defaults__)
            bound.__kwdefaults__ = function.__kwdefaults__
            self._specialised[function] = bound
        return self._specialised[function]

    def _warn_of_unwritten(self) -> None:
        code = self.call.function.__code__
        for view in self._views.values():
            missing = np.argwhere(view.writer == NOBODY)
            if view.mode == "out" and len(missing):
                message = (
                    f"no program wrote {len(missing)} of the {view.writer.size} elements of {view.name}, "
                    f"the first at {missing[0].tolist()}"
                )
                diagnostic = Diagnostic(
                    "E332", message, Span(code.co_filename, code.co_firstlineno), ((None, self.situation()),),
                    "let the grid and the loops cover the array: tb.cdiv(extent, tile extent)", "warning",
                )  # fmt: skip
                warnings.warn(diagnostic.render(), UnwrittenWarning, stacklevel=5)
