"""The memory of a plan as pictures: its buffers over time (instructions) and addresses, one SVG a space.

Plain SVG with the classes that `tilebuild.oracle.page` styles; no scripts. All text from a plan is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tilebuild.oracle.context import Analysis
from tilebuild.oracle.findings import Findings
from tilebuild.oracle.lives import lives
from tilebuild.oracle.program import Program, prepare
from tilebuild.plan.model import Distributed, Placed, Plan

COLOURS = 8  # classes c0 to c7
LARGEST = 2000  # lives that one picture shows
_WIDTH, _LEFT, _RIGHT, _BAND = 960, 84, 16, 15
_HEIGHT, _LANE = 300, 18


@dataclass(frozen=True)
class Bar:
    """Something that is live from step `first` to step `last`, at the bytes `[start, end)` (of a register tile: in
    its own lane)."""

    name: str
    first: int
    last: int
    start: int
    end: int
    title: str


@dataclass(frozen=True)
class Drawing:
    """A titled SVG; `note` is what it leaves out."""

    title: str
    svg: str
    note: str = ""


def drawings(plan: Plan) -> list[Drawing]:
    """A picture for each space that holds something, and one for the tiles in registers; none of a broken plan."""
    try:
        program = prepare(plan, Findings("operands", plan.kernel))
    except Exception:  # the report has said what is wrong with it
        return []
    if program is None or not program.operations:
        return []
    capacities = {s.name: s.capacity for s in plan.spaces}
    colours: dict[str, int] = {}
    found = []
    for space, bars in _placed(program).items():
        high = max(b.end for b in bars)
        size = f"{high:,} of {capacities[space]:,} bytes" if space in capacities else f"{high:,} bytes"
        found.append(_draw(program, f"{space}: {size}", bars, colours, capacities.get(space)))
    registers = list(_registers(program))
    if registers:
        found.append(_draw(program, f"registers: {len(registers)} tiles without an address", registers, colours))
    return found


def _placed(program: Program) -> dict[str, list[Bar]]:
    found: dict[str, list[Bar]] = {}
    for life in sorted(lives(Analysis(program).flow), key=lambda x: (x.first, x.begin.index)):
        storage = life.root.storage
        if isinstance(storage, Placed):
            end = storage.offset + storage.bytes
            shape = f"{life.root.rows} x {life.root.cols} {life.root.dtype}"
            when = f"live from instruction {life.begin.instr.id} to {life.end.instr.id}"
            title = f"{life.root.id}: {shape}, bytes {storage.offset}..{end}, {when}"
            found.setdefault(storage.space, []).append(
                Bar(life.root.id, life.first, life.last, storage.offset, end, title)
            )
    return found


def _registers(program: Program) -> Iterator[Bar]:
    lane = 0
    for root, touches in program.local.items():
        buffer = program.buffers[root]
        if isinstance(buffer.storage, Distributed):
            steps = [t.step for t in touches]
            ids = f"instructions {touches[0].instr.id} to {touches[-1].instr.id}"
            title = f"{root}: {buffer.rows} x {buffer.cols} {buffer.dtype}, map {buffer.storage.map}, {ids}"
            yield Bar(root, min(steps), max(steps), lane, lane + 1, title)
            lane += 1


def clashes(bars: Sequence[Bar]) -> Iterator[tuple[Bar, Bar]]:
    """The pairs of bars that are live at the same time in the same bytes."""
    live: list[Bar] = []
    for bar in bars:
        live = [b for b in live if b.last >= bar.first]
        yield from ((b, bar) for b in live if b.start < bar.end and bar.start < b.end)
        live.append(bar)


class _Scale:
    """From steps and bytes to the picture's units."""

    def __init__(self, steps: int, low: int, high: int, top: int, height: int) -> None:
        self.steps, self.low, self.high, self.top, self.height = steps, low, high, top, height

    def x(self, step: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * step / self.steps, 2)

    def y(self, byte: float) -> float:
        return round(self.top + self.height * (byte - self.low) / max(1, self.high - self.low), 2)


def _draw(
    program: Program, title: str, bars: Sequence[Bar], colours: dict[str, int], capacity: int | None = None
) -> Drawing:
    note = f"{len(bars) - LARGEST} later lives are not shown" if len(bars) > LARGEST else ""
    bars = sorted(bars, key=lambda b: (b.first, b.start))[:LARGEST]
    in_lanes = capacity is None and all(b.end == b.start + 1 for b in bars)
    low, high = min([0, *(b.start for b in bars)]), max(b.end for b in bars)
    # the capacity is in the picture where it is near; else its distance would be all that there is to see
    if capacity is not None and high <= capacity < 1.6 * high:
        high = capacity
    regions = list(_regions(program))
    depth = max((d for *_, d in regions), default=0)
    top = 8 + depth * _BAND
    scale = _Scale(_steps(program), low, high, top, _LANE * high if in_lanes else _HEIGHT)
    parts = [*_bands(scale, regions), *_axes(program, scale, in_lanes=in_lanes)]
    if capacity is not None and capacity <= high:
        y = scale.y(capacity)
        parts.append(f'<line class="cap" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_label(_WIDTH - _RIGHT, y - 4, f"capacity {capacity:,}", "cap", "end"))
    for bar in bars:
        colour = colours.setdefault(bar.name, len(colours) % COLOURS)
        parts.append(_bar(scale, bar, f"b c{colour}"))
    if not in_lanes:
        parts += [_clash(scale, a, b) for a, b in clashes(bars)]
    for bar in bars:
        parts += _name(scale, bar)
    height = scale.top + scale.height + 34
    view = f'viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html.escape(title)}"'
    return Drawing(title, f'<svg xmlns="http://www.w3.org/2000/svg" {view}>{"".join(parts)}</svg>', note)


def _steps(program: Program) -> int:
    return 1 + max(n.last for n in program.nodes.values())


def _bar(scale: _Scale, bar: Bar, style: str) -> str:
    x, y = scale.x(bar.first), scale.y(bar.start)
    width, height = scale.x(bar.last + 1) - x, scale.y(bar.end) - y
    box = f'x="{x}" y="{y}" width="{max(1.0, width - 1.5):.2f}" height="{max(2.5, height - 1.5):.2f}" rx="2"'
    return f'<rect class="{style}" {box}><title>{html.escape(bar.title)}</title></rect>'


def _name(scale: _Scale, bar: Bar) -> Iterator[str]:
    """The buffer's name, where it has room."""
    width = scale.x(bar.last + 1) - scale.x(bar.first)
    height = scale.y(bar.end) - scale.y(bar.start)
    if height >= 11 and width >= 7 * len(bar.name) + 6:
        yield _label(scale.x(bar.first) + 5, scale.y((bar.start + bar.end) / 2) + 3.5, bar.name, "in")


def _clash(scale: _Scale, a: Bar, b: Bar) -> str:
    first, last = max(a.first, b.first), min(a.last, b.last)
    start, end = max(a.start, b.start), min(a.end, b.end)
    title = f"{a.name} and {b.name} are both live in the bytes {start}..{end}"
    return _bar(scale, Bar("", first, last, start, end, title), "clash")


def _axes(program: Program, scale: _Scale, *, in_lanes: bool) -> Iterator[str]:
    bottom = scale.top + scale.height
    firsts: dict[int, int] = {}  # step -> id of its first instruction
    for instr, _, reads, writes in program.operations:
        for touch in (*reads, *writes):
            firsts.setdefault(touch.step, instr.id)
    for step in _ticks(scale.steps, 16):
        x = scale.x(step)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{scale.top}" y2="{bottom}"/>'
        if step in firsts:
            yield _label(scale.x(step + 0.5), bottom + 13, f"%{firsts[step]}", "tick", "middle")
    yield _label((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 28, "instructions, in program order", "tick", "middle")
    for byte in () if in_lanes else _bytes(scale.low, scale.high):
        y = scale.y(byte)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield _label(_LEFT - 6, y + 4, f"{byte:,}", "tick", "end")
    yield f'<rect class="frame" x="{_LEFT}" y="{scale.top}" width="{_WIDTH - _LEFT - _RIGHT}" height="{scale.height}"/>'


def _regions(program: Program) -> Iterator[tuple[str, str, int, int, int]]:
    """Loops and branches, each with its class, text, steps and depth among them (1 is outermost)."""
    depths: dict[int, int] = {}
    for node in sorted(program.nodes.values(), key=lambda n: n.enter):
        above = depths.get(node.parent.region.id, 0) if node.parent is not None else 0
        region = node.region
        shown = region.kind in ("loop", "branch") and node.last >= node.first
        depths[region.id] = above + shown
        if shown:
            condition = " and ".join(map(str, region.when))
            text = f"loop {region.var} in {region.lower}..{region.upper}" if region.kind == "loop" else condition
            yield region.kind, text, node.first, node.last, depths[region.id]


def _bands(scale: _Scale, regions: Iterable[tuple[str, str, int, int, int]]) -> Iterator[str]:
    """Regions as bars above the picture."""
    for kind, text, first, last, depth in regions:
        x, y, end = scale.x(first), 4 + (depth - 1) * _BAND, scale.x(last + 1)
        box = f'x="{x}" y="{y}" width="{max(1.0, end - x - 1.5):.2f}" height="{_BAND - 3}" rx="2"'
        yield f'<rect class="band {kind}" {box}><title>{html.escape(text)}</title></rect>'
        room = int((end - x - 8) / 6)
        if room >= 6:
            yield _label(x + 4, y + _BAND - 6, text if len(text) <= room else f"{text[: room - 1]}…", "band")


def _ticks(count: int, most: int) -> range:
    return range(0, count, max(1, -(-count // most)))


def _bytes(low: int, high: int) -> Iterator[int]:
    """About six round addresses: multiples of a power of two, and both ends."""
    step = 1
    while (high - low) / step > 6:
        step *= 2
    yield from (n for n in range(-(-low // step) * step, high, step) if high - n > step / 3)
    yield high


def _label(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(text)}</text>'
