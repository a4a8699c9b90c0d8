"""Every error code of the front end and the IR has its section and its test; and none has one that nothing raises."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = re.compile(r'["\[]([EW][123]\d\d)["\]]')


def codes(*folders: str) -> set[str]:
    texts = [f.read_text(encoding="utf-8") for folder in folders for f in sorted((ROOT / folder).glob("*.py"))]
    return {code for text in texts for code in CODE.findall(text)}


def test_every_code_has_a_section() -> None:
    page = (ROOT / "docs/errors/frontend.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\S+)$", page, re.MULTILINE)
    assert sections == sorted(codes("tilebuild/frontend", "tilebuild/ir"))
    for section in page.split("\n## ")[1:]:
        assert "```" in section
        assert "\nCause: " in section
        assert "\nCure: " in section


def test_every_code_is_tested() -> None:
    assert codes("tilebuild/frontend", "tilebuild/ir") == codes("tests/frontend", "tests/ir")
