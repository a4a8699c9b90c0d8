"""One kernel for each intrinsic and size, and what it computes in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from intrinsic_text import Text

Array = Any
SIZES = [(1, 17), (6, 33), (64, 160)]


@dataclass(frozen=True)
class Case:
    """`inputs` gives the arguments other than outputs; `want` takes them as float64 (or i32). An element is within
    `ulps` units in its last place; where sums cancel, in that of the largest element."""

    text: Text
    inputs: Sequence[Callable[[np.random.Generator], Array]]
    want: Callable[..., Sequence[Array]]
    ulps: float = 8.0
    of_largest: bool = False


def normal(*shape: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: np.exp(rng.standard_normal(shape)).astype(np.float32)


def whole(*shape: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.integers(-1000, 1000, shape).astype(np.int32)


def scalar(value: float) -> Callable[[np.random.Generator], Array]:
    return lambda rng: value


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


UNARY: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative, "abs": np.abs, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "rsqrt": lambda x: x**-0.5,
    "sigmoid": sigmoid, "silu": lambda x: x * sigmoid(x), "softmax": softmax,
}  # fmt: skip
POSITIVE = ["log", "sqrt", "rsqrt"]
ANY = [name for name in UNARY if name not in POSITIVE]
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
}  # fmt: skip
REDUCE: dict[str, Callable[[Array], Array]] = {
    "reduce_max": lambda x: x.max(1, keepdims=True), "reduce_min": lambda x: x.min(1, keepdims=True),
    "reduce_sum": lambda x: x.sum(1, keepdims=True),
}  # fmt: skip


def _kernel(size: tuple[int, int], name: str, arrays: int, scalars: Sequence[str] = ()) -> Text:
    prefix = "ascend_tile_" if size[0] == 1 else "__tile_"  # both are in use
    return Text(f"{name}_{size[0]}x{size[1]}", arrays, scalars, prefix)


def cases(size: tuple[int, int]) -> dict[str, Case]:
    """Every intrinsic at one size, by its name."""
    rows, cols = size
    found: dict[str, Case] = {}

    # several intrinsics a kernel: a C compiler's start costs more than what it compiles
    for group, names, make in (("unary", ANY, normal), ("positive", POSITIVE, positive)):
        t = _kernel(size, group, 1 + len(names))
        a = t.load("%arg0", rows, cols)
        for number, name in enumerate(names, 1):
            t.store(f"%arg{number}", t.call(f"{name}_f32", 0, a, rows, cols), rows, cols)
        found[group] = Case(t, [make(rows, cols)], lambda x, n=names: [UNARY[name](x) for name in n], 64)
    t = _kernel(size, "binary", 2 + len(BINARY))
    a, b = t.load("%arg0", rows, cols), t.load("%arg1", rows, cols)
    for number, name in enumerate(BINARY, 2):
        t.store(f"%arg{number}", t.call(f"{name}_f32", 0, a, b, rows, cols), rows, cols)
    found["binary"] = Case(
        t, [normal(rows, cols), positive(rows, cols)], lambda x, y: [f(x, y) for f in BINARY.values()], 0.51
    )
    t = _kernel(size, "reduce", 1 + len(REDUCE))
    a = t.load("%arg0", rows, cols)
    for number, name in enumerate(REDUCE, 1):
        t.store(f"%arg{number}", t.call(f"{name}_f32", 0, a, rows, cols), rows, 1)
    found["reduce"] = Case(t, [positive(rows, cols)], lambda x: [f(x) for f in REDUCE.values()], 16)
    t = _kernel(size, "in_place", 2)
    a = t.load("%arg0", rows, cols)
    t.store("%arg1", t.call("softmax_f32", a, a, rows, cols), rows, cols)
    found["in_place"] = Case(t, [normal(rows, cols)], lambda x: [softmax(x)], 64)
    return found | _with_numbers(size) | _shapes(size)


def _with_numbers(size: tuple[int, int]) -> dict[str, Case]:
    rows, cols = size
    found: dict[str, Case] = {}
    t = _kernel(size, "rms_norm", 2)
    t.store("%arg1", t.call("rms_norm_f32", 0, t.load("%arg0", rows, cols), 1e-5, rows, cols), rows, cols)
    found["rms_norm"] = Case(
        t, [normal(rows, cols)], lambda x: [x / np.sqrt((x * x).mean(1, keepdims=True) + np.float64(np.float32(1e-5)))]
    )
    t = _kernel(size, "scale", 2, ["f32"])
    half = t.call("scale_f32", 0, t.load("%arg0", rows, cols), 0.5, rows, cols)
    t.lines.append(
        f"%s = llvm.call @{t.prefix}scale_f32({t.number(0)}, {half}, %arg2, {t.number(rows)}, {t.number(cols)})"
        " : (i32, i32, f32, i32, i32) -> i32"
    )
    t.store("%arg1", "%s", rows, cols)
    found["scale"] = Case(t, [normal(rows, cols), scalar(3.0)], lambda x, s: [x * 0.5 * s], 0.51)
    t = _kernel(size, "clamp", 2)
    t.store("%arg1", t.call("clamp_f32", 0, t.load("%arg0", rows, cols), -0.5, 0.75, rows, cols), rows, cols)
    found["clamp"] = Case(t, [normal(rows, cols)], lambda x: [np.clip(x, -0.5, 0.75)], 0)
    t = _kernel(size, "cast", 4)
    i = t.call("cast_f32_i32", 0, t.call("scale_f32", 0, t.load("%arg0", rows, cols), 100.0, rows, cols), rows, cols)
    t.store("%arg1", i, rows, cols, "i32")
    j = t.call("cast_i32_f32", 0, t.load("%arg2", rows, cols, "i32"), rows, cols)
    t.store("%arg3", j, rows, cols)
    found["cast"] = Case(
        t, [normal(rows, cols), whole(rows, cols)],
        lambda x, n: [np.trunc(np.float32(x) * np.float32(100)).astype(np.int32), n.astype(np.float64)], 0,
    )  # fmt: skip
    return found


def _shapes(size: tuple[int, int]) -> dict[str, Case]:
    rows, cols = size
    found: dict[str, Case] = {}
    t = _kernel(size, "transpose", 2)
    up = t.call("transpose_f32", 0, t.call("exp_f32", 0, t.load("%arg0", rows, cols), rows, cols), rows, cols)
    t.store("%arg1", up, cols, rows)
    found["transpose"] = Case(t, [normal(rows, cols)], lambda x: [np.exp(x).T])
    taken = (max(1, rows // 2), cols // 3)
    first = (rows - taken[0], cols // 2)
    t = _kernel(size, "slice", 2)
    soft = t.call("softmax_f32", 0, t.load("%arg0", rows, cols), rows, cols)
    t.store("%arg1", t.call("slice_f32", 0, soft, *first, rows, cols, *taken), *taken)
    found["slice"] = Case(
        t, [normal(rows, cols)],
        lambda x: [softmax(x)[first[0] : first[0] + taken[0], first[1] : first[1] + taken[1]]], 64,
    )  # fmt: skip
    t = _kernel(size, "concat", 3)
    left, right = cols, cols // 2
    both = t.call("concat_f32", 0, t.load("%arg0", rows, left), t.load("%arg1", rows, right), rows, left, right)
    t.store("%arg2", t.call("softmax_f32", 0, both, rows, left + right), rows, left + right)
    found["concat"] = Case(
        t, [normal(rows, left), normal(rows, right)], lambda x, y: [softmax(np.concatenate([x, y], 1))], 64
    )
    t = _kernel(size, "matmul", 3)
    n = rows + 3
    a, b = t.load("%arg0", rows, cols), t.load("%arg1", cols, n)
    t.store("%arg2", t.call("matmul_f32", 0, a, b, rows, cols, n), rows, n)
    found["matmul"] = Case(t, [normal(rows, cols), normal(cols, n)], lambda x, y: [x @ y], 64, True)
    return found
