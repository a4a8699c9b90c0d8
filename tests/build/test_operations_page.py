"""docs/operations.md is what the operation table and the composites say, and says all of it."""

from __future__ import annotations

from pathlib import Path

import tilebuild as tb
from tilebuild.build import operations_docs
from tilebuild.optable import COMPOSITES, OPS

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_page_is_current() -> None:
    assert operations_docs.page() == PAGE, "run `python -m tilebuild.build.operations_docs`"


def test_every_operation_has_a_meaning_and_a_row() -> None:
    assert [op.name for op in OPS.values() if not op.meaning] == []
    assert [op.name for op in OPS.values() if f"| {operations_docs.spelling(op)} |" not in PAGE] == []


def test_what_a_target_lacks_has_an_alternative() -> None:
    lacking = [op for op in OPS.values() if any(op.on(*t.split(":")) == () for t in operations_docs.TARGETS)]
    assert [op.name for op in lacking if not op.instead] == []


def test_every_composite_is_in_the_table() -> None:
    assert set(COMPOSITES) == set(tb._HOMES["functions"]) | set(tb._HOMES["library"])
