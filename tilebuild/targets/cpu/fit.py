"""Fits the coefficients of prelude.h and of tilebuild/lang/library.py: `python -m tilebuild.targets.cpu.fit`.

Each function is fitted as P(t) / Q(t), in the sense of the least maximum relative error, with coefficients that
are float32 numbers. The printed error is that of the rounded coefficients, evaluated in float64 over a dense grid:
what float32 arithmetic adds is measured by the tests and stated in docs/accuracy.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Function = Callable[[Array], Array]

LN2_HI = round(math.log(2.0) * 2**14) / 2**14  # 14 bits: n * LN2_HI is exact in float32 for |n| < 1024
LN2_LO = math.log(2.0) - LN2_HI


@dataclass(frozen=True)
class Problem:
    """Minimise the maximum over [lo, hi] of |weight(t) * (target(t) - P(t) / Q(t))|.

    `degrees` are those of P and of Q; Q's constant term is `q0`. `weight` turns the deviation of P/Q into the relative
    error of the function that is computed from it, as `formula` says.
    """

    prefix: str
    formula: str
    lo: float
    hi: float
    degrees: tuple[int, int]
    target: Function
    weight: Function
    q0: float = 1.0


@dataclass(frozen=True)
class Fit:
    """Coefficients, constant terms first, all of them float32 numbers, and the maximum relative error."""

    p: tuple[float, ...]
    q: tuple[float, ...]
    error: float


def _erf(x: Array) -> Array:
    return np.array([math.erf(v) for v in x])


def _over_root(f: Function) -> Function:
    """f(x) / x as a function of t = x * x, for odd f."""
    return lambda t: f(np.sqrt(t)) / np.sqrt(t)


# A little wider than [-ln(2)/2, ln(2)/2]: the argument is rounded before it is reduced.
_HALF_LN2 = 0.3467
# The same of [-pi/4, pi/4].
_QUARTER_PI = 0.7855
PROBLEMS = (
    Problem(
        "TB_EXP_", "exp(r) = 1 + (r + r*r * P(r))", -_HALF_LN2, _HALF_LN2, (4, 0),
        lambda r: (np.expm1(r) - r) / (r * r), lambda r: r * r / np.exp(r),
    ),
    Problem(
        "TB_EXP2_", "exp2(r) = 1 + r * P(r)", -0.5, 0.5, (5, 0),
        lambda r: np.expm1(r * math.log(2.0)) / r, lambda r: r / np.exp2(r),
    ),
    Problem(
        "TB_LOG_", "log(1 + f) = f + f*f * P(f)", -1 / 3, 1 / 3, (8, 0),
        lambda f: (np.log1p(f) - f) / (f * f), lambda f: f * f / np.log1p(f),
    ),
    Problem(
        "TB_LOG2_", "log2(1 + f) = f + f * P(f)", -1 / 3, 1 / 3, (9, 0),
        lambda f: np.log1p(f) / (f * math.log(2.0)) - 1, lambda f: f * math.log(2.0) / np.log1p(f),
    ),
    Problem(
        "_TANH_", "tanh(x) = x * P(x*x) / Q(x*x)", 1e-12, 9.02**2, (4, 4),
        _over_root(np.tanh), lambda t: 1 / _over_root(np.tanh)(t),
    ),
    Problem(
        "_ERF_", "erf(x) = x * P(x*x) / Q(x*x)", 1e-12, 3.925**2, (5, 5),
        _over_root(_erf), lambda t: 1 / _over_root(_erf)(t),
        q0=1.8125,  # P's constant term is q0 * 2/sqrt(pi), which is close to a float32 number
    ),
    Problem(
        "_SIN_", "sin(r) = r + r*u * P(u), u = r*r", 1e-3, _QUARTER_PI**2, (2, 0),
        lambda u: (_over_root(np.sin)(u) - 1) / u, lambda u: u / _over_root(np.sin)(u),
    ),
    Problem(
        "_COS_", "cos(r) = 1 - u/2 + u*u * P(u), u = r*r", 1e-2, _QUARTER_PI**2, (2, 0),
        lambda u: (np.cos(np.sqrt(u)) - 1 + u / 2) / (u * u), lambda u: u * u / np.cos(np.sqrt(u)),
    ),
    Problem(
        "_ATAN_", "atan(t) = t * P(t*t) / Q(t*t)", 1e-12, 1.0, (3, 3),
        _over_root(np.arctan), lambda u: 1 / _over_root(np.arctan)(u),
    ),
)  # fmt: skip


def _nodes(lo: float, hi: float, count: int) -> Array:
    """Chebyshev nodes: dense at the ends, where a minimax error is hardest to hold."""
    angles = (np.arange(count) + 0.5) * (math.pi / count)
    nodes: Array = (lo + hi) / 2 - (hi - lo) / 2 * np.cos(angles)
    return nodes


def maximum_error(problem: Problem, p: tuple[float, ...], q: tuple[float, ...], count: int = 20_000) -> float:
    """The maximum of |weight * (target - P/Q)| over a dense grid, in float64."""
    t = _nodes(problem.lo, problem.hi, count)
    deviation = problem.weight(t) * (problem.target(t) - np.polyval(p[::-1], t) / np.polyval(q[::-1], t))
    return float(np.max(np.abs(deviation)))


def _solve(problem: Problem, frozen: dict[int, float], count: int = 1_500, rounds: int = 120) -> Array:
    """The coefficients [P..., Q[1:]...] with some of them given, by Lawson's iteration.

    Each round solves the weighted least-squares problem of weight * (target * Q - P) / Q_before, and then weighs the
    nodes by the error that is left, which drives the error towards equal peaks (C. L. Lawson, 1961).
    """
    n_p = problem.degrees[0] + 1
    t = _nodes(problem.lo, problem.hi, count)
    target, weight = problem.target(t), problem.weight(t)
    columns = [t**i for i in range(n_p)] + [-target * t**i for i in range(1, problem.degrees[1] + 1)]
    scale = np.array([np.max(np.abs(c)) for c in columns])
    matrix = np.stack(columns, axis=1) / scale
    free = [i for i in range(len(columns)) if i not in frozen]
    rest = problem.q0 * target - sum((v * columns[i] for i, v in frozen.items()), np.zeros(count))
    solution = np.zeros(len(columns))
    for i, v in frozen.items():
        solution[i] = v
    lawson: Array = np.ones(count)
    before: Array = np.ones(count)
    best: Array = solution.copy()
    best_error = math.inf
    for _ in range(rounds):
        rows = np.sqrt(lawson) * weight / before
        found = np.linalg.lstsq(matrix[:, free] * rows[:, None], rest * rows, rcond=None)[0]
        solution[free] = found / scale[free]
        before = np.polyval(np.concatenate(([problem.q0], solution[n_p:]))[::-1], t)
        error = np.abs(weight * (target - np.polyval(solution[:n_p][::-1], t) / before))
        if (peak := float(np.max(error))) < best_error:
            best, best_error = solution.copy(), peak
        lawson *= error / peak + 1e-3
        lawson /= np.max(lawson)
    return best


def fit(problem: Problem) -> Fit:
    """Solve with real coefficients, then round one at a time, lowest powers first, and solve for the others again:
    what remains free takes up most of each rounding error."""
    n_p = problem.degrees[0] + 1
    order = sorted(range(n_p + problem.degrees[1]), key=lambda i: (i if i < n_p else i - n_p + 1, i))
    frozen: dict[int, float] = {}
    for i in order:
        frozen[i] = float(np.float32(_solve(problem, frozen)[i]))
    p = tuple(frozen[i] for i in range(n_p))
    q = (problem.q0, *(frozen[i] for i in range(n_p, len(order))))
    return Fit(p, q, maximum_error(problem, p, q))


def names(problem: Problem) -> Iterator[tuple[str, str, int]]:
    """(constant's name, "p" or "q", index) of every coefficient."""
    rational = problem.degrees[1] > 0
    for i in range(problem.degrees[0] + 1):
        yield f"{problem.prefix}{'P' if rational else ''}{i}", "p", i
    for i in range(problem.degrees[1] + 1 if rational else 0):
        yield f"{problem.prefix}Q{i}", "q", i


def text(problem: Problem, result: Fit) -> str:
    """The constants as they stand in prelude.h (`TB_` prefixes) or in library.py."""
    in_c = problem.prefix.startswith("TB_")
    error = f"{result.error:.1e} = {result.error * 2**24:.2f} * 2**-24"
    head = f"{problem.formula} on [{problem.lo:.4g}, {problem.hi:.4g}]: {error}"
    lines = [f"/* {head} */" if in_c else f"# {head}"]
    for name, part, i in names(problem):
        value = np.format_float_scientific((result.p if part == "p" else result.q)[i], precision=8, trim="0")
        lines.append(f"#define {name} {value}f" if in_c else f"{name} = {value}")
    return "\n".join(lines)


def main() -> None:
    """Print all constants."""
    print(f"#define TB_LN2_HI {LN2_HI:.17g}f\n#define TB_LN2_LO {np.float32(LN2_LO):.9g}f")
    for problem in PROBLEMS:
        print(text(problem, fit(problem)))


if __name__ == "__main__":
    main()
