"""What fastnorm's row kernels compute, in float64, and one call of a kernel with random rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pto_simulator as simulator

Array = Any
_erf = np.vectorize(math.erf)


def surrounded(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """An array inside a larger one, so that its rows lie further apart than they are long."""
    base = (
        np.full((shape[0] + 1, shape[-1] + 3), np.float32(np.nan)) if len(shape) == 2 else np.empty(shape, np.float32)
    )
    inner = base[: shape[0], : shape[-1]] if len(shape) == 2 else base
    inner[...] = rng.standard_normal(shape).astype(np.float32)
    return inner


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def layernorm(x: Array, w: Array, b: Array) -> Array:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * w + b


REFERENCES: dict[str, tuple[str, Callable[..., Array]]] = {
    "add": ("x:MN y:MN", lambda x, y: x + y),
    "scale": ("x:MN", lambda x: np.float32(1.7) * x),
    "gelu": ("x:MN", gelu),
    "bias_gelu_residual": ("x:MN b:N r:MN", lambda x, b, r: gelu_tanh(x + b) + r),
    "softmax": ("x:MN", softmax),
    "softmax_online": ("x:MN", softmax),
    "layernorm": ("x:MN w:N b:N", layernorm),
    "rmsnorm": ("x:MN w:N", lambda x, w: x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * w),
}
OUTPUTS = {"add": "z"}


def rows(text: str, entry: str, name: str, shape: tuple[int, int]) -> tuple[Array, Array]:
    """`call_rows` of an emitted kernel in the simulator of the tests."""
    return call_rows(name, shape, lambda arrays, numbers: simulator.run(text, entry, arrays, numbers))


def call_rows(
    name: str, shape: tuple[int, int], call: Callable[[dict[str, Array], dict[str, Any]], None]
) -> tuple[Array, Array]:
    """What a kernel of fastnorm gives for random rows, and what it should; fails where it writes beside its output."""
    dims = {"M": shape[0], "N": shape[1]}
    rng = np.random.default_rng(shape[0] * 1000 + shape[1])
    inputs, reference = REFERENCES[name]
    arrays = {}
    for item in inputs.split():
        parameter, letters = item.split(":")
        arrays[parameter] = surrounded(tuple(dims[d] for d in letters), rng)
    values = [a.astype(np.float64) for a in arrays.values()]
    out = surrounded(shape, rng)
    out[...] = np.nan
    arrays[OUTPUTS.get(name, "y")] = out
    call(arrays, {**dims, "s": 1.7, "eps": 1e-5})
    around = out.base.copy()
    around[: shape[0], : shape[1]] = np.nan
    assert np.isnan(around).all(), "wrote beside its output"
    return out, reference(*values)
