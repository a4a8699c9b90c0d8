"""The check of one call against a kernel's contract: binding, views, allocation, addresses and scalars.

What a build's proofs assume is checked before each launch; the part that only geometry decides is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilebuild.manifest import KernelEntry
from tilebuild.runtime import refusals
from tilebuild.runtime.allocate import allocate
from tilebuild.runtime.arrays import ExportError, View, export
from tilebuild.runtime.geometry import Geometry, Rules, span
from tilebuild.runtime.parameters import Parameters
from tilebuild.runtime.scalars import ScalarError

_REMEMBERED = 256  # geometries a kernel; a program that needs more pays for the check again


class _Missing:
    """An output that the caller left out."""


MISSING: Any = _Missing()


# one checked call: its geometry, views in declaration order, scalar slots, and what the call returns
Call = tuple[Geometry, Sequence[View], Sequence[int], Any]


class Contract:
    """Built once a kernel; raises `ExprError` for an entry that is not of the manifest's grammar."""

    def __init__(self, kernel: KernelEntry) -> None:
        self.kernel = kernel
        self.parameters = parameters = Parameters(kernel)
        self.rules = Rules(kernel, parameters)
        self._geometries: dict[tuple[object, ...], Geometry] = {}
        outputs = [p for p in parameters.arrays if p.mode == "out"]
        returned = [p.index for p in outputs or parameters.arrays if p.written]
        self._returned, self._only = returned, returned[0] if len(returned) == 1 else None
        self._optional = frozenset(p.index for p in outputs)
        self._inputs = tuple(i for i in range(len(parameters.names)) if i not in self._optional)
        self._arrays = tuple(p.index for p in parameters.arrays)
        self._aligned = tuple((p.place, p.dtype.bytes - 1) for p in parameters.arrays if p.dtype.bytes > 1)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        """The arguments in declaration order, `MISSING` for outputs that are left out; raises `LaunchError`.

        Positional arguments are the parameters that are no outputs where their number fits, else all parameters.
        """
        names = self.parameters.names
        if not kwargs and len(args) == len(names):
            return list(args)
        values = [MISSING] * len(names)
        named_inputs = sum(names[i] in kwargs for i in self._inputs) if kwargs else 0
        order = self._inputs if len(args) + named_inputs == len(self._inputs) else range(len(names))
        if len(args) > len(order):
            raise self._wrong_arguments(f"{len(args)} positional arguments were given")
        for i, value in zip(order, args):
            values[i] = value
        for name, value in kwargs.items():
            if name not in names:
                raise refusals.unknown_keyword(self.kernel, name, names, self.parameters.signature)
            i = names.index(name)
            if values[i] is not MISSING:
                raise self._wrong_arguments(f"{name} was given twice")
            values[i] = value
        absent = [names[i] for i in self._inputs if values[i] is MISSING]
        if absent:
            raise self._wrong_arguments(f"{', '.join(absent)} was not given")
        return values

    def _wrong_arguments(self, fact: str) -> Exception:
        return refusals.arguments(self.kernel, fact, self.parameters.signature)

    def check(self, values: list[Any]) -> Call:
        """Check bound arguments, allocating outputs that are `MISSING`; raises `LaunchError`."""
        views: list[Any] = []
        for i in self._arrays:
            value = values[i]
            try:
                views.append(None if value is MISSING else export(value))
            except ExportError as e:
                raise refusals.export(self.kernel, self.parameters.arrays[len(views)], e) from None
        key = tuple([None if v is None else v[2:] for v in views])
        geometry = self._geometries.get(key)
        if geometry is None:
            geometry = self.rules.check(values, views)
            if len(self._geometries) >= _REMEMBERED:
                self._geometries.clear()
            self._geometries[key] = geometry
        scalars = self._encode(values) if self.parameters.scalars else ()
        for i, j, lo, hi in geometry.conflicts:
            if lo < views[j].pointer - views[i].pointer < hi:
                raise self._overlap(views, i, j)
        if geometry.missing:
            self._allocate(geometry, values, views)
        for i, mask in self._aligned:
            if views[i].pointer & mask and not geometry.empty:
                raise refusals.alignment(self.kernel, self.parameters.arrays[i], views[i])
        results = values[self._only] if self._only is not None else tuple([values[i] for i in self._returned])
        return geometry, views, scalars, results

    def _allocate(self, geometry: Geometry, values: list[Any], views: list[Any]) -> None:
        like = next((values[i] for i in self._arrays if values[i] is not MISSING), None)
        for p, shape in geometry.missing:
            values[p.index] = allocate(self.kernel, p.name, p.dtype, shape, like)
            try:
                views[p.place] = export(values[p.index])
            except ExportError as e:
                raise refusals.export(self.kernel, p, e) from None

    def _encode(self, values: list[Any]) -> list[int]:
        slots = []
        for p in self.parameters.scalars:
            try:
                slots.append(p.encode(values[p.index]))
            except ScalarError as e:
                raise refusals.scalar(self.kernel, p.name, p.dtype, e, self.parameters.signature) from None
        return slots

    def _overlap(self, views: Sequence[View], i: int, j: int) -> Exception:
        ranges = []
        for p, view in ((self.parameters.arrays[k], views[k]) for k in (i, j)):
            lo, hi = span(view, p.dtype.bytes)
            ranges.append((p, view.pointer + lo, view.pointer + hi))
        return refusals.overlap(self.kernel, *ranges)
