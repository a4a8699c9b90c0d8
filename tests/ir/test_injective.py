"""What the places of stores tell: never an id that two programs could differ in, and every id of the usual indices."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilebuild.ir.injective import Coordinate, covered, determined
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import Expr, const, parse, sym

DIMS = {"H": (1, 3), "G": (1, 3)}
IDS = ("i", "p", "k")
ATOMS = (
    "i",
    "p",
    "k",
    "p // H",
    "p % H",
    "p // (H*G)",
    "(p // G) % H",
    "p % G",
    "(p // H) // G",
    "(p // H) % G",
    "H",
    "2",
)


def box(e: Expr, size: int, values: dict[str, int]) -> range:
    start = e.evaluate(values)
    return range(start, start + size)


@st.composite
def starts(draw: st.DrawFn) -> Expr:
    terms = draw(
        st.lists(st.tuples(st.sampled_from([1, 2, 4, -1]), st.lists(st.sampled_from(ATOMS), max_size=2)), max_size=3)
    )
    total = const(0)
    for factor, atoms in terms:
        product = const(factor)
        for a in atoms:
            product = product * parse(a)
        total = total + product
    return total


@settings(max_examples=400, deadline=None)
@given(
    st.integers(1, 2).flatmap(
        lambda axes: st.lists(
            st.lists(st.tuples(starts(), st.integers(1, 4)), min_size=axes, max_size=axes), min_size=1, max_size=2
        )
    ),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)),
)
def test_what_is_told_is_equal_where_boxes_meet(
    stores: list[list[tuple[Expr, int]]], extents: tuple[int, int, int]
) -> None:
    i, p, k = extents
    known = {"H": Range(const(1), const(3)), "G": Range(const(1), const(3))}
    known |= {
        "i": Range(const(0), const(i - 1)),
        "p": Range(const(0), p * sym("H") - 1),
        "k": Range(const(0), const(k - 1)),
    }
    accesses = [[Coordinate(*c) for c in store] for store in stores]
    told = determined(accesses, set(IDS), known)
    if not told:
        return
    for h, g in itertools.product((1, 2, 3), repeat=2):
        points = [
            {"H": h, "G": g, **dict(zip(IDS, ids))} for ids in itertools.product(range(i), range(p * h), range(k))
        ]
        placed = [(v, [box(e, n, v) for e, n in store]) for store in stores for v in points]
        for (v, a), (w, b) in itertools.combinations(placed, 2):
            if all(max(x.start, y.start) < min(x.stop, y.stop) for x, y in zip(a, b)):
                assert all(v[name] == w[name] for name in told), (v, w, told)


RANGES = {
    **{d: Range(const(1)) for d in ("M", "N", "B", "H", "G", "S")},
    "i": Range(const(0), parse("(M + 3) // 4 - 1")),
    "j": Range(const(0), parse("(N + 7) // 8 - 1")),
    "p": Range(const(0), parse("B*H - 1")),
    "q": Range(const(0), parse("B*H*G - 1")),
    "k": Range(const(0), const(3)),
}


def told(*stores: Sequence[tuple[str, int]]) -> set[str]:
    accesses = [[Coordinate(parse(e), n) for e, n in store] for store in stores]
    return set(determined(accesses, {"i", "j", "p", "q", "k"}, RANGES))


@pytest.mark.parametrize(
    ("stores", "expected"),
    [
        ([[("4*i", 4), ("8*j", 8)]], {"i", "j"}),
        ([[("4*i", 5)]], set()),
        ([[("-4*i", 4)]], {"i"}),
        ([[("i + M", 1)]], {"i"}),
        ([[("i + j", 1), ("8*j", 8)]], {"i", "j"}),
        ([[("i + j", 1)]], set()),
        ([[("p // H", 1), ("p % H", 1), ("4*i", 4)]], {"p", "i"}),
        ([[("p // H", 1), ("4*i", 4)]], {"i"}),
        ([[("p % H", 1)]], set()),
        ([[("q // (G*H)", 1), ("(q // G) % H", 1), ("q % G", 1)]], {"q"}),
        ([[("(q // G) // H", 1), ("(q // G) % H", 1), ("q % G", 1)]], {"q"}),
        ([[("q // (G*H)", 1), ("q % G", 1)]], set()),
        ([[("H*(p // H) + p % H", 1)]], {"p"}),  # one digit after the other in one axis
        ([[("16*i + 4*k", 4)]], {"i", "k"}),
        ([[("16*i + 8*k", 8)]], set()),  # k reaches past 16
        ([[("16*i", 4)], [("16*i + 4", 4)], [("16*i + 8", 8)]], {"i"}),
        ([[("8*i", 8)], [("16*i", 16)]], set()),  # one's second is the other's first
        ([[("i", 1), ("0", 4)], [("i", 1), ("4", 4)]], {"i"}),
        ([[("i", 1), ("j", 1)], [("j", 1), ("i", 1)]], set()),
    ],
)
def test_usual_indices(stores: list[list[tuple[str, int]]], expected: set[str]) -> None:
    assert told(*stores) == expected


def test_digits_that_run_over_all_of_an_axis_are_joined() -> None:
    counts = {parse("p // H"): sym("B"), parse("p % H"): sym("H"), sym("i"): sym("M")}
    assert covered(counts) == {sym("p"): sym("B") * sym("H"), sym("i"): sym("M")}
    short = {parse("p // H"): sym("B"), parse("p % H"): sym("H") - 1}
    assert covered(short) == short
