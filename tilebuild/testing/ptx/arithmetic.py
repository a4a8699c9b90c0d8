"""Instructions whose meaning for integers and for floating-point numbers differs: add, mul, min and their like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilebuild.testing.ptx import floats, integers
from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.integers import elementwise, magnitude
from tilebuild.testing.ptx.kinds import Kind

Typed = Callable[[Binder, Words, Kind], Op]


def _either(for_integers: Typed, for_floats: Typed) -> Callable[[Binder, Words], Op]:
    def handler(b: Binder, w: Words) -> Op:
        kind = w.kind()
        if kind.family not in ("u", "s", "f", "bf"):  # bits are no numbers
            w.refuse()
        return (for_floats if kind.is_float else for_integers)(b, w, kind)

    return handler


def _minimum(b: Binder, w: Words, kind: Kind) -> Op:
    relu = w.flag("relu")
    return elementwise(
        b, w, lambda x, y: np.maximum(np.minimum(x, y), 0) if relu else np.minimum(x, y), [kind] * 2, kind
    )


def _maximum(b: Binder, w: Words, kind: Kind) -> Op:
    relu = w.flag("relu")
    return elementwise(
        b, w, lambda x, y: np.maximum(np.maximum(x, y), 0) if relu else np.maximum(x, y), [kind] * 2, kind
    )


def _absolute(b: Binder, w: Words, kind: Kind) -> Op:
    return elementwise(b, w, lambda x: magnitude(x, kind).view(kind.number), [kind], kind)


def _negate(b: Binder, w: Words, kind: Kind) -> Op:
    return elementwise(b, w, np.negative, [kind], kind)


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "add": _either(integers.add, floats.add),
    "sub": _either(integers.subtract, floats.subtract),
    "mul": _either(integers.multiply, floats.multiply),
    "mad": _either(integers.multiply_add, floats.multiply_add),
    "div": _either(integers.quotient, floats.divide),
    "min": _either(_minimum, floats.minimum),
    "max": _either(_maximum, floats.maximum),
    "abs": _either(_absolute, floats.absolute),
    "neg": _either(_negate, floats.negate),
}
