"""docs/errors/package.md has a section for every code that packages raise."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_code_that_packages_raise_is_documented() -> None:
    raised = {
        c for f in (ROOT / "tilebuild" / "package").glob("*.py") for c in re.findall(r'"(E7\d\d)"', f.read_text())
    }
    page = (ROOT / "docs" / "errors" / "package.md").read_text()
    assert {"E740", "E741", "E742", "E743", "E744", "E745", "E746", "E750", "E751"} <= raised
    assert raised - set(re.findall(r"(?m)^## (E\d{3})$", page)) == set()
