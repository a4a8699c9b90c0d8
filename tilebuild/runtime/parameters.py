"""A kernel's parameters as its manifest entry declares them, resolved to places in a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tilebuild.manifest import KernelEntry, ParameterEntry
from tilebuild.plan.expr import ExprError, parse
from tilebuild.runtime import expressions
from tilebuild.runtime.dtypes import DTYPES, Dtype
from tilebuild.runtime.scalars import ENCODERS


@dataclass(frozen=True)
class ArraySpec:
    """An array parameter. `named` pairs an axis with the dimension that it is, `computed` an axis with its extent."""

    index: int  # among all parameters
    place: int  # among the arrays
    name: str
    mode: str
    dtype: Dtype
    dims: tuple[str, ...]
    named: tuple[tuple[int, int], ...]
    computed: tuple[tuple[int, expressions.Function[int]], ...]

    @property
    def written(self) -> bool:
        return self.mode != "in"


@dataclass(frozen=True)
class ScalarSpec:
    """A scalar parameter; `encode` gives the slot's value or raises `ScalarError`."""

    index: int
    name: str
    dtype: str
    encode: Callable[[Any], int]


class Parameters:
    """`dims` are the dimensions that stand alone on an axis, the ones that a call gives. `symbols` and `slots` map
    what expressions and launch slots may name to code over a call's views `v`, dimensions `d` and scalars `s`.

    Raises `ExprError` for an entry that is not of the manifest's grammar.
    """

    def __init__(self, kernel: KernelEntry) -> None:
        entries = kernel["parameters"]
        self.names = tuple(p["name"] for p in entries)
        texts = [str(parse(text)) for p in entries for text in p["dims"]]
        self.dims = tuple(dict.fromkeys(text for text in texts if text.isidentifier()))
        self.symbols = {name: f"d[{i}]" for i, name in enumerate(self.dims)}
        arrays: list[ArraySpec] = []
        scalars: list[ScalarSpec] = []
        for index, p in enumerate(entries):
            if p["mode"] == "scalar":
                scalars.append(ScalarSpec(index, p["name"], p["dtype"], ENCODERS[_dtype(p).name]))
            else:
                arrays.append(_array(index, len(arrays), p, self.symbols))
        self.arrays, self.scalars = tuple(arrays), tuple(scalars)
        if not self.arrays:
            raise ExprError(f"{kernel['name']} has no array parameter")
        self.slots = {f"dim:{name}": place for name, place in self.symbols.items()}
        self.slots |= {f"ptr:{a.name}": f"v[{a.place}].pointer" for a in arrays}
        self.slots |= {f"scalar:{p.name}": f"s[{i}]" for i, p in enumerate(scalars)}
        for a in arrays:
            for axis in range(len(a.dims)):
                place = f"v[{a.place}].strides[{axis}]"
                self.slots[f"stride:{a.name}:{axis}"] = self.symbols[f"{a.name}__s{axis}"] = place

    @property
    def signature(self) -> str:
        """The parameters of a call, those that may be left out in brackets."""
        outputs = {a.name for a in self.arrays if a.mode == "out"}
        return ", ".join(f"[{name}]" if name in outputs else name for name in self.names)


def _dtype(p: ParameterEntry) -> Dtype:
    if p["dtype"] not in DTYPES:
        raise ExprError(f"the parameter {p['name']} has the dtype {p['dtype']!r}, not one of {', '.join(DTYPES)}")
    return DTYPES[p["dtype"]]


def _array(index: int, place: int, p: ParameterEntry, dims: Mapping[str, str]) -> ArraySpec:
    if p["mode"] not in ("in", "out", "inout"):
        raise ExprError(f"the parameter {p['name']} has the mode {p['mode']!r}, not in, out, inout or scalar")
    order = list(dims)
    texts = tuple(str(parse(text)) for text in p["dims"])
    named = tuple((axis, order.index(text)) for axis, text in enumerate(texts) if text in dims)
    computed = tuple((axis, expressions.extent(text, dims)) for axis, text in enumerate(texts) if text not in dims)
    return ArraySpec(index, place, p["name"], p["mode"], _dtype(p), texts, named, computed)
