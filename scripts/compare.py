"""Runs every kernel of fastnorm and compares it with NumPy in float64.

    python compare.py                        on real data: the letter pairs in Python's standard library
    python compare.py --shape 37x1000 ...    on random matrices of these shapes

Runs where fastnorm and NumPy are installed. Exit code 1 where a result is out of its bound.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from dataclasses import dataclass
from math import erf, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from fastnorm import kernels

Array = Any
EPS = 1e-5
PRINTABLE = 95  # letters of ASCII, from the space on


@dataclass(frozen=True)
class Case:
    """One kernel: its arguments, what float64 says, and the size of the numbers that were added up or cancelled on the
    way, to which an error is relative."""

    kernel: Any
    arguments: tuple[Any, ...]
    want: Array
    scale: Array


def cases(x: Array, y: Array) -> list[Case]:
    """Every kernel, on float32 matrices `x` and `y` of one shape."""
    w, b = np.float32(1) + y[0] / 8, y[-1].copy()
    x64, y64, w64, b64 = (a.astype(np.float64) for a in (x, y, w, b))
    e = np.exp(x64 - x64.max(1, keepdims=True))
    soft = e / e.sum(1, keepdims=True)
    mean, var = x64.mean(1, keepdims=True), x64.var(1, keepdims=True)
    rms = np.sqrt((x64 * x64).mean(1, keepdims=True) + EPS)
    std = np.sqrt(var + EPS)
    t = x64 + b64
    gelu_tanh = 0.5 * t * (1 + np.tanh(sqrt(2 / pi) * (t + 0.044715 * t**3)))
    spread = abs(x64).max(1, keepdims=True)
    return [
        Case(kernels.add, (x, y), x64 + y64, abs(x64) + abs(y64)),
        Case(kernels.scale, (x, np.float32(1.5)), 1.5 * x64, abs(x64)),
        Case(kernels.gelu, (x,), 0.5 * x64 * (1 + np.vectorize(erf)(x64 / sqrt(2))), abs(x64)),
        Case(kernels.bias_gelu_residual, (x, b, y), gelu_tanh + y64, abs(t) + abs(y64)),
        # an error of the exponent, which grows with it, is a relative error of the result
        Case(kernels.softmax, (x,), soft, soft * (1 + spread)),
        Case(kernels.softmax_online, (x,), soft, soft * (1 + spread)),
        Case(
            kernels.layernorm,
            (x, w, b, EPS),
            (x64 - mean) / std * w64 + b64,
            (spread / std) * abs(w64) + abs(b64),
        ),
        Case(kernels.rmsnorm, (x, w, EPS), x64 / rms * w64, abs(x64 / rms * w64)),
        Case(kernels.matmul, (x, y.T.copy()), x64 @ y64.T, abs(x64) @ abs(y64.T)),
    ]


BOUND = 2e-6  # relative to `Case.scale`: about 17 units in the last place of float32
TINY = 1e-30  # smaller numbers are as good as zero


def compare(x: Array, y: Array) -> bool:
    """Runs the kernels and prints a line for each; whether all are within the bound."""
    print(f"{'kernel':<20}{'result':>12}{'ms':>10}{'error':>10}   relative to float64, bound {BOUND:.0e}")
    fine = True
    for case in cases(x, y):
        case.kernel(*case.arguments)  # the first call loads the library
        start = time.perf_counter()
        got = case.kernel(*case.arguments)
        took = (time.perf_counter() - start) * 1e3
        error = float((abs(got - case.want) / (case.scale + TINY)).max())
        good = got.dtype == np.float32 and got.shape == case.want.shape and error <= BOUND  # a NaN is not
        fine &= good
        shape = "x".join(map(str, got.shape))
        print(f"{case.kernel.__name__:<20}{shape:>12}{took:>10.3f}{error:>10.1e}   {'ok' if good else 'OUT OF BOUND'}")
    return fine


def letter_pairs() -> tuple[list[str], Array]:
    """The modules of Python's standard library and, for each (row), how often each pair of printable letters follows
    one another in its text (column), as log(1 + count)."""
    files = sorted(p for p in Path(sysconfig.get_path("stdlib")).glob("*.py") if p.stat().st_size > 2000)
    rows = []
    for file in files:
        text = np.frombuffer(file.read_bytes(), np.uint8).astype(np.int64) - ord(" ")
        pairs = text[:-1] * PRINTABLE + text[1:]
        printable = (text >= 0) & (text < PRINTABLE)
        counts = np.bincount(pairs[printable[:-1] & printable[1:]], minlength=PRINTABLE**2)
        rows.append(np.log1p(counts).astype(np.float32))
    return [f.stem for f in files], np.stack(rows)


def neighbours(names: list[str], x: Array) -> bool:
    """Which module's text is most like which other's, by the kernels; whether NumPy in float64 says the same."""
    n = x.shape[1]
    ones, zeros = np.ones(n, np.float32), np.zeros(n, np.float32)
    rows = kernels.layernorm(x, ones, zeros, EPS)
    alike = kernels.matmul(rows, rows.T.copy())
    chances = kernels.softmax(kernels.scale(alike, np.float32(20 / n)))
    x64 = x.astype(np.float64)
    x64 = (x64 - x64.mean(1, keepdims=True)) / np.sqrt(x64.var(1, keepdims=True) + EPS)
    want = x64 @ x64.T
    for table in (chances, want):
        np.fill_diagonal(table, -1)
    found, expected = chances.argmax(1), want.argmax(1)
    for name in ("ast", "csv", "decimal", "ftplib", "gzip", "zipfile"):
        if name in names:
            print(f"  {name:<10} is written most like {names[found[names.index(name)]]}")
    same = int((found == expected).sum())
    print(f"  the same as float64 NumPy finds, for {same} of {len(names)} modules")
    return same == len(names)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", help="ROWSxCOLUMNS of random matrices, instead of real data")
    shapes = parser.parse_args().shape
    if shapes:
        random = np.random.default_rng(0)
        sizes = [tuple(int(n) for n in shape.split("x")) for shape in shapes]
        fine = [compare(*random.standard_normal((2, *size), np.float32)) for size in sizes]
        return not all(fine)
    names, x = letter_pairs()
    print(f"{len(names)} modules of Python's standard library, {x.shape[1]} letter pairs")
    return not all([compare(x, x[::-1].copy()), neighbours(names, x)])


if __name__ == "__main__":
    sys.exit(main())
