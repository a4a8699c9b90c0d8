"""What a call's shapes, strides, dtypes and devices decide, checked once for each combination that occurs.

Everything in the contract that does not depend on addresses or scalars is here: dtype, rank, dimensions, innermost
stride 1, writable outputs whose elements are distinct, and the `tb.require` facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from tilebuild.manifest import KernelEntry
from tilebuild.runtime import expressions, refusals
from tilebuild.runtime.arrays import COPIED, READ_ONLY, View, compact
from tilebuild.runtime.parameters import ArraySpec, Parameters


@dataclass(frozen=True)
class Geometry:
    """`dims`: in the order of `Parameters.dims`. `missing`: outputs to allocate, with their shapes.

    `conflicts`: (i, j, lo, hi) where arrays i and j share memory if lo < address of j - address of i < hi, in bytes.
    `devices`: the DLDeviceTypes of the given arrays. `empty`: every output is empty, so there is nothing to launch.
    `bytes`: of all arrays together. `picked` is the launcher's: what it chose for this geometry, by target and static
    values.
    """

    dims: tuple[int, ...]
    missing: tuple[tuple[ArraySpec, tuple[int, ...]], ...]
    conflicts: tuple[tuple[int, int, int, int], ...]
    devices: frozenset[int]
    empty: bool
    bytes: int
    picked: dict[Any, Any] = field(default_factory=dict, compare=False)


class Rules:
    """The part of one kernel's contract that geometry decides."""

    def __init__(self, kernel: KernelEntry, parameters: Parameters) -> None:
        self._kernel = kernel
        self._parameters = parameters
        self._arrays = parameters.arrays
        self._requires = tuple((text, expressions.condition(text, parameters.symbols)) for text in kernel["requires"])

    def check(self, values: Sequence[Any], given: Sequence[View | None]) -> Geometry:
        """`given` are the arrays' views, None for outputs that are left out; raises `LaunchError`."""
        dims = self._bind(values, given)
        missing = tuple((p, self._shape(p, dims)) for p, view in zip(self._arrays, given) if view is None)
        shapes = {p.place: shape for p, shape in missing}
        device = next((view.device for view in given if view is not None), 0)
        views = [
            View(0, None, shapes[p.place], compact(shapes[p.place]), p.dtype.word, device, 0, 0)
            if view is None
            else view
            for p, view in zip(self._arrays, given)
        ]
        for p, view in zip(self._arrays, views):
            for axis, size in p.computed:
                extent = self._extent(p, axis, size, dims)
                if view.shape[axis] != extent:
                    raise refusals.extent(
                        self._kernel, p, axis, view, expected=extent, dims=dict(zip(self._parameters.dims, dims))
                    )
        devices = frozenset(view.device for view in given if view is not None)
        if any(0 in view.shape for view in views):
            if all(0 in view.shape for p, view in zip(self._arrays, views) if p.written):
                return Geometry(tuple(dims), missing, (), devices, True, 0)
            raise refusals.empty(self._kernel, self._arrays, views)
        for p, view in zip(self._arrays, views):
            if p.dims and view.strides[-1] != 1 and view.shape[-1] != 1:
                raise refusals.stride(self._kernel, p, values[p.index], view)
            if p.written and view.flags & (READ_ONLY | COPIED):
                raise refusals.not_writable(self._kernel, p, values[p.index], view)
            if p.written and not _distinct(view):
                raise refusals.overlaps_itself(self._kernel, p, view)
        self.check_requires(views, dims)
        together = sum(prod(view.shape) * p.dtype.bytes for p, view in zip(self._arrays, views))
        return Geometry(tuple(dims), missing, _conflicts(self._arrays, given), devices, False, together)

    def check_requires(self, views: Sequence[View], dims: Sequence[int]) -> None:
        """Raises `LaunchError` for the first `tb.require` that does not hold."""
        for text, fact in self._requires:
            if not expressions.holds(fact, views, dims):
                raise refusals.requirement(self._kernel, text, dict(zip(self._parameters.dims, dims)))

    def _bind(self, values: Sequence[Any], given: Sequence[View | None]) -> list[int]:
        dims = [-1] * len(self._parameters.dims)
        for p, view in zip(self._arrays, given):
            if view is None:
                continue
            if view.dtype != p.dtype.word:
                raise refusals.dtype(self._kernel, p, values[p.index], view)
            if len(view.shape) != len(p.dims):
                raise refusals.rank(self._kernel, p, view)
            for axis, d in p.named:
                if dims[d] not in (-1, view.shape[axis]):
                    raise refusals.dimension(self._kernel, self._arrays, given, self._parameters.dims[d])
                dims[d] = view.shape[axis]
        for p, view in zip(self._arrays, given):
            unknown = [self._parameters.dims[d] for _, d in p.named if dims[d] < 0]
            if view is None and unknown:
                raise refusals.unknown_extent(self._kernel, p, unknown)
        return dims

    def _shape(self, p: ArraySpec, dims: Sequence[int]) -> tuple[int, ...]:
        extents: Mapping[int, int] = {
            **{axis: dims[d] for axis, d in p.named},
            **{axis: self._extent(p, axis, size, dims) for axis, size in p.computed},
        }
        return tuple(extents[axis] for axis in range(len(p.dims)))

    def _extent(self, p: ArraySpec, axis: int, size: expressions.Function[int], dims: Sequence[int]) -> int:
        try:
            extent = size((), dims, ())
        except ZeroDivisionError:
            extent = -1
        if extent < 0:
            raise refusals.no_extent(self._kernel, p, axis, dict(zip(self._parameters.dims, dims)))
        return extent


def span(view: View, size: int) -> tuple[int, int]:
    """The half-open range of bytes, relative to the pointer, that the elements of a non-empty array lie in."""
    lo = hi = 0
    for extent, stride in zip(view.shape, view.strides):
        if stride >= 0:
            hi += (extent - 1) * stride
        else:
            lo += (extent - 1) * stride
    return lo * size, (hi + 1) * size


def _conflicts(arrays: Sequence[ArraySpec], given: Sequence[View | None]) -> tuple[tuple[int, int, int, int], ...]:
    # outputs that are allocated lie in fresh memory
    spans = {p.place: span(v, p.dtype.bytes) for p, v in zip(arrays, given) if v is not None}
    written = [p.place for p in arrays if p.written and p.place in spans]
    return tuple(
        (i, j, spans[i][0] - spans[j][1], spans[i][1] - spans[j][0])
        for i in written
        for j in spans
        if j != i and not (j in written and j < i)
    )


def _distinct(view: View) -> bool:
    """True only if no two elements share memory: each stride steps over all that the smaller ones reach."""
    reach = 0
    for stride, extent in sorted((abs(s), e) for s, e in zip(view.strides, view.shape) if e > 1):
        if stride <= reach:
            return False
        reach += stride * (extent - 1)
    return True
