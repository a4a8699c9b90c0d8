"""Every error code of the toolchain and the configuration has its section."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("page", "sources"),
    [
        ("toolchain", ["tilebuild/toolchain"]),
        ("config", ["tilebuild/build/config.py", "tilebuild/build/config_toml.py", "tilebuild/build/matrix.py"]),
    ],
)
def test_every_code_has_a_section(page: str, sources: list[str]) -> None:
    files = [f for s in sources for f in ([ROOT / s] if s.endswith(".py") else (ROOT / s).glob("*.py"))]
    sections = re.findall(r"^## (E\d{3})$", (ROOT / "docs" / "errors" / f"{page}.md").read_text(), re.MULTILINE)
    assert sections == sorted(set(sections))
    assert codes(files) <= set(sections)
    assert set(sections) <= codes((ROOT / "tilebuild").rglob("*.py")), "a section of a code that nothing raises"


def codes(files: Iterable[Path]) -> set[str]:
    return {code for f in files for code in re.findall(r'"(E\d{3})"', f.read_text(encoding="utf-8"))}
