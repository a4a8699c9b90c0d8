"""Random calls of a plan: sizes that its contract allows and that reach every loop and ragged edge, and arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tilebuild.plan.expr import Call, Expr
from tilebuild.plan.model import Plan
from tilebuild.testing.plan_memory import DTYPES, Array, SimulatedFault
from tilebuild.testing.plan_simulator import Arguments, simulate

_POINTS = 6  # of a grid; more of them do the same again
_ELEMENTS = 60_000  # of all arrays
_TRIES = 400
_RELATIVE, _ABSOLUTE = 2e-4, 2e-5  # float32 sums of some thousand terms, in another order


def arguments(plan: Plan, seed: int) -> Arguments:
    """A call: dimensions (small ones, and those around the constants of the plan), strides with room between rows,
    standard normal numbers, outputs filled likewise. Raises ValueError where the contract allows no small call."""
    rng = np.random.default_rng(seed)
    dims = _dimensions(plan, rng)
    arrays: dict[str, Array] = {}
    strides: dict[str, tuple[int, ...]] = {}
    for p in plan.contract.parameters:
        if p.mode == "scalar":
            continue
        shape = [d.evaluate(dims) for d in p.dims] or [1]
        steps: list[int] = []
        step = 1
        for extent in reversed(shape[1:]):
            step *= extent + int(rng.integers(0, 4))
            steps.insert(0, step)
        strides[p.name] = tuple(steps)
        count = shape[0] * (steps[0] if steps else 1)
        numbers = rng.standard_normal(count) * (1 if p.dtype in ("f32", "f16", "bf16") else 50)
        arrays[p.name] = numbers.astype(DTYPES[p.dtype])
    scalars = {p.name: float(rng.uniform(0.5, 2)) for p in plan.contract.parameters if p.mode == "scalar"}
    return Arguments(dims, arrays, strides, scalars)


def _dimensions(plan: Plan, rng: np.random.Generator) -> dict[str, int]:
    names = [s.name for s in plan.symbols if s.kind == "dim"]
    near = sorted({c + d for c in _constants(plan) for d in (-1, 0, 1, 3)} | {2 * c + 5 for c in _constants(plan)})
    near = [n for n in near if 1 <= n <= 20_000]
    for attempt in range(_TRIES):
        # the first tries reach the second iteration of a loop where there is room; the last ones are small
        large = near and attempt < _TRIES // 2
        dims = {n: int(rng.choice(near)) if large and rng.random() < 0.5 else int(rng.integers(1, 9)) for n in names}
        if all(f.holds(dims) for f in plan.contract.facts) and _is_small(plan, dims):
            return dims
    raise ValueError(f"{plan.kernel}: no small call fulfils the contract")


def _is_small(plan: Plan, dims: dict[str, int]) -> bool:
    points = math.prod(e.evaluate(dims) for e in plan.launch.grid)
    elements = sum(math.prod(d.evaluate(dims) for d in p.dims) for p in plan.contract.parameters)
    return 1 <= points <= _POINTS and elements <= _ELEMENTS


def _constants(plan: Plan) -> set[int]:
    """Divisors and bounds in the loops, grids and facts of a plan: tile extents, as sizes meet them."""
    looked = [e for r in plan.regions for e in (r.lower, r.upper, *(r.lanes or ())) if e is not None]
    looked += [*plan.launch.grid, *(e for f in plan.contract.facts for e in (f.left, f.right))]
    return {n for e in looked for n in _numbers(e) if 1 < n <= 10_000}


def _numbers(e: Expr) -> Iterator[int]:
    for monomial, coefficient in e.terms:
        yield abs(coefficient)
        for atom in monomial:
            if isinstance(atom, Call):
                for argument in atom.args:
                    yield from _numbers(argument)


def outcome(plan: Plan, call: Arguments, seed: int, *, ideal: bool = False) -> dict[str, Array] | None:
    """The arrays after the call, all of their bytes; None where the plan faults. `ideal` as for `simulate`."""
    arrays = {name: array.copy() for name, array in call.arrays.items()}
    try:
        simulate(plan, Arguments(call.dims, arrays, call.strides, call.scalars), seed, ideal=ideal)
    except SimulatedFault:
        return None
    return arrays


def agree(a: dict[str, Array] | None, b: dict[str, Array] | None) -> bool:
    """Whether two outcomes are the same, up to the order of sums; two faults are not."""
    if a is None or b is None:
        return False
    with np.errstate(all="ignore"):
        return all(np.allclose(a[n], b[n], _RELATIVE, _ABSOLUTE, equal_nan=True) for n in a)


def compare(plan: Plan, mutant: Plan, calls: int = 4) -> str:
    """What `calls` random calls tell of a mutant of a plan: "same" where it does what the plan does; "other" where it
    does what it says, whatever memory held before, and that is something else; "wrong" where it does not do what it
    says: the results depend on what nothing wrote, on an order that nothing enforces, or on tiles that share bytes."""
    found = "same"
    for number in range(calls):
        call = arguments(plan, number)
        ran = outcome(mutant, call, 3 * number)
        if not agree(ran, outcome(mutant, call, 3 * number + 1, ideal=True)):
            return "wrong"
        if not agree(ran, outcome(plan, call, 3 * number + 2, ideal=True)):
            found = "other"
    return found
