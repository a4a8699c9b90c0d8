"""The HTML page and its pictures: what is in them, that nothing of a plan is obeyed, and that they stand alone."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import block_plans
import plans
import pytest

from tilebuild.oracle import Judged, Policy, judge, judged
from tilebuild.oracle.page import html_text
from tilebuild.oracle.picture import LARGEST, Drawing, drawings
from tilebuild.plan.model import Plan

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Checks that tags are closed in order, and keeps their names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def weighed(plan: Plan) -> Judged:
    return judged("k.json", judge(plan), Policy(), plan)


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    assert found.open == []
    return found


def clashing() -> Plan:
    plan = plans.chain()
    buffers = tuple(replace(b, storage=replace(b.storage, offset=128)) if b.id == "b" else b for b in plan.buffers)
    return replace(plan, buffers=buffers)


def bars(drawing: Drawing, style: str) -> list[ET.Element]:
    return [r for r in ET.fromstring(drawing.svg).iter(f"{SVG}rect") if style in r.get("class", "").split()]


def test_the_page_stands_alone_and_says_everything() -> None:
    page = html_text([weighed(clashing()), weighed(plans.ragged())], {"x.whl": "not a wheel"}, ["a waiver is not used"])
    found = outline(page)
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert not [v for k, v in found.attributes if k in ("src", "href") and not (v or "").startswith("#")]
    assert not [k for k, _ in found.attributes if k.startswith("on")]
    for text in (
        "O-ALIAS-01",
        "place one of the two outside",
        "x.whl: not a wheel",
        "a waiver is not used",
        "2 kernels",
    ):
        assert text in page


def test_a_plan_cannot_put_tags_into_the_page() -> None:
    plan = clashing()
    evil = '<script>alert("1")</script>'
    buffers = tuple(replace(b, id=evil) if b.id == "a" else b for b in plan.buffers)

    def renamed(accesses):  # type: ignore[no-untyped-def]
        return tuple(replace(a, buffer=evil) if a.buffer == "a" else a for a in accesses)

    instructions = tuple(replace(i, reads=renamed(i.reads), writes=renamed(i.writes)) for i in plan.instructions)
    page = html_text([weighed(replace(plan, kernel=evil, buffers=buffers, instructions=instructions))], {evil: evil})
    assert "script" not in outline(page).tags
    assert page.count("&lt;script&gt;") > 4


def test_the_picture_shows_every_life_and_the_clash() -> None:
    (drawing,) = drawings(clashing())
    shown = bars(drawing, "b")
    titles = [t.text or "" for r in shown for t in r.iter(f"{SVG}title")]
    assert [t.split(":")[0] for t in titles] == ["a", "b", "c"]
    assert "bytes 0..256, live from instruction 0 to 2" in titles[0]
    (clash,) = bars(drawing, "clash")
    a, b, _ = shown
    assert float(b.get("x", "")) <= float(clash.get("x", "")) < float(a.get("x", "")) + float(a.get("width", ""))
    assert float(clash.get("y", "")) == float(b.get("y", ""))
    assert "128..256" in "".join(clash.itertext())


@pytest.mark.parametrize("plan", [plans.chain(), plans.reuse(), plans.ragged(), plans.carried(), plans.product()])
def test_no_clash_is_drawn_of_a_proved_plan(plan: Plan) -> None:
    for drawing in drawings(plan):
        assert bars(drawing, "b")
        assert not bars(drawing, "clash")


def test_register_tiles_have_lanes() -> None:
    shared, registers = drawings(block_plans.reduction())
    assert shared.title.startswith("shared: 128 of 16,384 bytes")
    assert registers.title == "registers: 3 tiles without an address"
    ys = [float(r.get("y", "")) for r in bars(registers, "b")]
    assert len(set(ys)) == 3


def test_loops_are_bands_above_the_picture() -> None:
    (drawing,) = drawings(plans.carried())
    (band,) = bars(drawing, "band")
    assert "loop" in "".join(band.itertext())


def test_a_broken_plan_has_no_picture_and_a_page() -> None:
    plan = replace(plans.chain(), regions=())
    assert drawings(plan) == []
    outline(html_text([weighed(plan)], {}))


def test_a_large_plan_is_cut_and_says_so() -> None:
    b = plans.Build()
    b.tile("a")
    for _ in range(LARGEST + 5):
        b.op("full", "", "a", value="0")
        b.store("a")
    (drawing,) = drawings(b.plan())
    assert len(bars(drawing, "b")) == LARGEST
    assert drawing.note == "5 later lives are not shown"
