"""The page that compares messages: what it says tilebuild prints is what tilebuild prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kernel_source import findings, write

PAGE = (Path(__file__).parents[2] / "docs/errors-compared.md").read_text(encoding="utf-8")
HEAD, *SECTIONS = PAGE.split("\n## ")
FRAME = re.search(r"```python\n(.*)    \.\.\.", HEAD, re.DOTALL)


@pytest.mark.parametrize("section", SECTIONS, ids=[s.split("\n", 1)[0] for s in SECTIONS])
def test_section(section: str, tmp_path: Path) -> None:
    body, printed = re.findall(r"```(?:python|text)\n(.*?)\n```", section, re.DOTALL)
    assert FRAME is not None
    write(tmp_path, FRAME[1] + "".join(f"    {line}\n" for line in body.splitlines()))
    assert findings(tmp_path)[0].render(tmp_path) == printed
    assert re.search(r"^- Triton: .+\n- cuTile: .+\n- Better here: .+", section, re.MULTILINE)


def test_there_are_a_dozen() -> None:
    assert len(SECTIONS) >= 12
