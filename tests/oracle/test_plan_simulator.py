"""The plan simulator: right plans give the right numbers on it, and what is wrong with others shows."""

from __future__ import annotations

from dataclasses import replace

import block_plans
import numpy as np
import plans
import pytest
from fastnorm_plans import expected, fastnorm
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.oracle.mutate import faults
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Buffer, Layout, Placed, Plan
from tilebuild.testing.plan_calls import agree, arguments, compare, outcome
from tilebuild.testing.plan_memory import decoded, encoded, offsets
from tilebuild.testing.plan_simulator import Arguments

PLANS = fastnorm()


def shaped(plan: Plan, call: Arguments, arrays: dict[str, np.ndarray], mode: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The parameters' elements, without what lies between their rows."""
    found = {}
    for p in plan.contract.parameters:
        if p.mode in mode:
            shape = [d.evaluate(dict(call.dims)) for d in p.dims]
            flat = arrays[p.name]
            steps = [s * flat.itemsize for s in (*call.strides[p.name], 1)]
            found[p.name] = np.lib.stride_tricks.as_strided(flat, shape, steps)
    return found


def test_all_kernels_are_here_for_all_targets() -> None:
    assert {name.split()[2] for name in PLANS} == {"cpu", "gpu", "spirv", "pto"}
    assert len({name.split()[0] for name in PLANS}) == 9
    assert len(PLANS) >= 38


@pytest.mark.parametrize("name", PLANS)
def test_a_proved_plan_computes_its_kernel(name: str) -> None:
    plan = PLANS[name]
    for seed in (0, 1):
        call = arguments(plan, seed)
        found = outcome(plan, call, seed)
        assert found is not None
        want = expected(plan.kernel, shaped(plan, call, dict(call.arrays), ("in",)), call.scalars)
        (got,) = shaped(plan, call, found, ("out",)).values()
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-4)
        between = {n: a.copy() for n, a in found.items()}
        for array in shaped(plan, call, between, ("out",)).values():
            array[...] = 0
        before = {n: a.copy() for n, a in call.arrays.items()}
        for array in shaped(plan, call, before, ("out",)).values():
            array[...] = 0
        assert all(np.array_equal(before[n], between[n]) for n in before)  # inputs, and what lies between rows


@pytest.mark.parametrize("name", [n for n in PLANS if n.split()[0] in ("softmax_online", "matmul")])
def test_a_plan_is_the_same_whatever_memory_held(name: str) -> None:
    assert compare(PLANS[name], PLANS[name], calls=2) == "same"


@pytest.mark.parametrize("plan", [block_plans.reduction(), block_plans.product()], ids=["reduction", "product"])
def test_a_race_shows(plan: Plan) -> None:
    assert compare(plan, plan) == "same"
    mutants = list(faults.drop_a_barrier(plan))
    assert mutants
    assert [place for place, mutant in mutants if compare(plan, mutant) != "wrong"] == []


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        ("matmul 0 cpu", faults.overlap_tiles),
        ("matmul 0 gpu", faults.overlap_tiles),
        ("matmul 0 gpu", faults.drop_a_barrier),
        ("softmax 1 gpu", faults.drop_a_barrier),
        ("matmul 0 pto", faults.another_engine),
    ],
)
def test_what_shares_bytes_or_races_shows(name: str, plant) -> None:  # type: ignore[no-untyped-def]
    """Not every mutant does harm in every call: tiles may share bytes that small sizes do not reach."""
    told = [compare(PLANS[name], mutant, calls=2) for _, mutant in plant(PLANS[name])]
    assert "other" not in told  # it is the same program, in other places
    assert told.count("wrong") >= 0.5 * len(told) > 0


def test_reading_what_nothing_wrote_shows() -> None:
    plan = plans.carried()
    mutants = dict(faults.drop_the_first_write(plan))
    assert {compare(plan, mutant) for mutant in mutants.values()} == {"wrong"}


def test_an_access_outside_of_everything_is_a_fault() -> None:
    plan = plans.chain()
    far = tuple(
        replace(b, storage=replace(b.storage, offset=1 << 20)) if isinstance(b.storage, Placed) and b.id == "a" else b
        for b in plan.buffers
    )
    shrunk = replace(plan, buffers=tuple(replace(b, rows=Expr.of(1)) if b.id == "a" else b for b in far))
    call = arguments(plan, 0)
    assert outcome(shrunk, call, 0) is not None  # memory grows with the plan's own offsets
    negative = tuple(
        replace(b, storage=replace(b.storage, offset=-(1 << 20))) if isinstance(b.storage, Placed) else b
        for b in plan.buffers
    )
    assert outcome(replace(plan, buffers=negative), call, 0) is None
    assert not agree(None, None)


@given(
    st.sampled_from(["row_major", "col_major", "panels32"]), st.sampled_from(["none_box", "row_major", "col_major"]),
    st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip
def test_a_layout_gives_every_element_a_place_of_its_own(
    blayout: str, slayout: str, size: int, down: int, across: int
) -> None:
    extents = 32 * down, 32 * across
    tile = Buffer("t", Placed("vec", 64, 0), "f32", Expr.of(0), Expr.of(0), Layout(blayout, slayout, 512))
    places = offsets(tile, np.arange(extents[0]), np.arange(extents[1]), extents, size).ravel()
    assert sorted(places) == list(range(64, 64 + extents[0] * extents[1] * size, size))


@settings(max_examples=30)
@given(st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=9), st.sampled_from(["f32", "f16", "bf16"]))
def test_values_survive_their_bytes(values: list[float], dtype: str) -> None:
    array = np.array(values, dtype=np.float32)
    back = decoded(encoded(array, dtype), dtype)
    assert encoded(back, dtype).tobytes() == encoded(array, dtype).tobytes()
    exact = dtype != "bf16"
    np.testing.assert_allclose(back, array, rtol=0 if exact else 2**-8, atol=0 if exact else 1e-38)
