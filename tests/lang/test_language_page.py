"""docs/language.md: its example runs, and it names everything that is offered."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import tilebuild as tb

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")


def test_the_example():
    [source] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    namespace = {"__name__": "page"}
    exec(compile(source, "language.md", "exec", dont_inherit=True), namespace)
    x = namespace["x"]
    np.testing.assert_array_equal(namespace["y"], (x - x.mean(1, keepdims=True)) * 2)


def test_every_name_is_on_the_page():
    internal = {"Kernel", "Tile"}
    missing = [n for n in tb.__all__ if n not in internal and not re.search(rf"\b{n}\b", PAGE)]
    assert missing == []


def test_every_error_of_the_reference_alone_is_documented():
    folder = Path(tb.__file__).parent / "lang"
    raised = {c for f in folder.rglob("*.py") for c in re.findall(r'"(E33\d)"', f.read_text(encoding="utf-8"))}
    page = (Path(__file__).parents[2] / "docs" / "errors" / "reference.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (E\d+)$", page, re.M)) == raised
