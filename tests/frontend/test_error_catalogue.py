"""One catalogue: every code that tilebuild prints has a section in docs/errors, and no section is about another."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = {p.name: p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs/errors").glob("*.md"))}
SECTIONS = {code for text in PAGES.values() for code in re.findall(r"^## ([EW]\d{3})\b", text, re.MULTILINE)}


def raised() -> set[str]:
    """Codes in string literals, as `Diagnostic("E101", ...)` and `"[E101] ..."` have them."""
    files = sorted((ROOT / "tilebuild").rglob("*.py"))
    return {c for f in files for c in re.findall(r'["\[]([EW]\d{3})["\]]', f.read_text(encoding="utf-8"))}


def test_every_code_is_documented() -> None:
    assert sorted(raised() - SECTIONS) == []


def test_every_section_is_about_a_code_that_is_raised() -> None:
    assert sorted(SECTIONS - raised()) == []


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", PAGES["README.md"]))
    assert linked == set(PAGES) - {"README.md"}


def test_every_section_says_more_than_its_code() -> None:
    for name, text in PAGES.items():
        for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
            assert len(section.split()) > 5, f"{name}: {section}"
