"""The part of a window that its array has, against every lane looked at by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import const, sym
from tilebuild.targets.clip import Window, clipped


@given(
    st.integers(-12, 12),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 9),
    st.sets(st.sampled_from("sn"), max_size=2),
)
def test_lanes(start: int, size: int, step: int, extent: int, known: set[str]) -> None:
    """Whatever is known: nothing, the start, the extent, or both."""
    ranges = {"n": Range(const(1)), "s": Range()}
    values = {"s": start, "n": extent}
    ranges |= {name: Range(const(values[name]), const(values[name])) for name in known}
    found = clipped(Window(sym("s"), size, step), sym("n"), ranges)
    first, begin, length = (e.evaluate(values) for e in found)
    lanes = [r for r in range(size) if 0 <= start + r * step < extent]
    assert length == len(lanes)
    assert 0 <= begin <= extent
    assert first >= 0
    assert first + length <= size
    if lanes:
        assert (first, begin) == (lanes[0], start + lanes[0] * step)
