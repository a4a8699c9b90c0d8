"""How tiles are spread over threads."""

from __future__ import annotations

from collections import Counter

import pytest

from tilebuild.plan.model import Distributed
from tilebuild.targets.simt.mapping import Limits, Mapping, choose, is_partial, parse

WIDE = Limits("gpu", "sm_80", 512, 32, 163 * 1024, 192, 65536, 4, (16, 16))
SMALL = Limits("spirv", "vulkan1.2", 128, 0, 16 * 1024, 128, 0, 1, (8, 16))


@pytest.mark.parametrize(
    ("shape", "mapping"),
    [
        ((4, 1024), Mapping(4, 32, 4)),  # a warp a row
        ((1, 8192), Mapping(1, 256, 4)),  # a block a row
        ((1, 4096), Mapping(1, 128, 4)),
        ((1, 1 << 16), Mapping(1, 512, 4)),  # no more threads than a block may have
        ((64, 64), Mapping(32, 16, 4)),
        ((8, 6), Mapping(8, 4, 2)),  # the vector divides the row
        ((33, 1), Mapping(64, 1, 4)),
        ((1, 1), Mapping(32, 1, 4)),  # a shuffle needs a whole warp
    ],
)
def test_choice(shape: tuple[int, int], mapping: Mapping) -> None:
    found = choose([shape, (shape[0], 1)], WIDE, dot=False, across_rows=False)
    assert found == mapping
    assert found.block % WIDE.warp == 0
    assert found.block <= WIDE.threads


def test_choice_of_a_small_machine() -> None:
    assert choose([(4, 1024)], SMALL, dot=False, across_rows=False) == Mapping(4, 32, 1)
    assert choose([(1, 8192)], SMALL, dot=False, across_rows=False) == Mapping(1, 128, 1)
    assert choose([(32, 32)], SMALL, dot=True, across_rows=False) == Mapping(8, 16, 1)


def test_choice_with_a_product() -> None:
    assert choose([(128, 128)], WIDE, dot=True, across_rows=False) == Mapping(16, 16, 4)
    assert choose([(32, 32)], WIDE, dot=True, across_rows=False) == Mapping(16, 16, 2)
    assert choose([(20, 20)], WIDE, dot=True, across_rows=False) == Mapping(16, 16, 1)


def test_rows_that_are_reduced_lie_in_one_thread() -> None:
    found = choose([(64, 256)], WIDE, dot=False, across_rows=True)
    assert found.groups == 1
    assert found.rows(64) == 64


@pytest.mark.parametrize(
    "mapping", [Mapping(4, 32, 4), Mapping(1, 256, 4), Mapping(16, 16, 1), Mapping(2, 8, 2)], ids=str
)
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 7), (5, 130), (17, 1024)], ids=str)
def test_every_element_has_an_owner(mapping: Mapping, shape: tuple[int, int]) -> None:
    """The register (row, chunk, lane) of the thread that owns an element exists, and no two elements share one."""
    rows, cols = shape
    owned: Counter[tuple[int, ...]] = Counter()
    for r in range(rows):
        for c in range(cols):
            vector = mapping.lanes(cols)
            chunk, rest = divmod(c, mapping.threads * vector)
            place = r // mapping.groups, chunk, c % vector
            assert place < (mapping.rows(rows), mapping.chunks(cols), vector)
            owned[(r % mapping.groups, rest // vector, *place)] += 1
    assert set(owned.values()) == {1}
    assert mapping.values(rows, cols) == mapping.rows(rows) * mapping.chunks(cols) * mapping.lanes(cols)


def test_names() -> None:
    mapping = Mapping(4, 32, 2)
    assert parse(mapping.tile().map) == parse(mapping.partial().map) == mapping
    assert is_partial(mapping.partial())
    assert not is_partial(mapping.tile())
    with pytest.raises(ValueError, match="literal"):
        parse(Distributed("rows").map)
