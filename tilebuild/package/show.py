"""A plan as text that a person reads: memory, buffers with their lives, and the program beside its Python lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import zip_longest

from tilebuild.diagnostics import Span
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import Access, Buffer, Global, Instr, Parameter, Placed, Plan, Region, Slice
from tilebuild.plan.planner import lives

INDENT = "  "
Lanes = tuple[Expr, Expr]


def show(plan: Plan, source: Callable[[str], str | None], about: Mapping[str, str] | None = None) -> str:
    """`source` gives the text of a source file by the path that spans name, or None where it is not at hand; `about`
    is what else is known of the plan, by title."""
    return "\n".join([*_head(plan, about or {}), *_spaces(plan), *_buffers(plan), *_program(plan, source)])


def _head(plan: Plan, about: Mapping[str, str]) -> Iterator[str]:
    ids = [s.name for s in plan.symbols if s.kind == "program"]
    facts = {"facts": ", ".join(map(str, plan.contract.facts))} if plan.contract.facts else {}
    titled = {
        "plan": f"{plan.variant} for {plan.target} {plan.arch}".rstrip(),
        **about,
        "grid": ", ".join(f"{i} < {extent}" for i, extent in zip_longest(ids, plan.launch.grid, fillvalue="?")),
        "contract": ", ".join(_parameter(p) for p in plan.contract.parameters),
        **facts,
    }
    yield f"{plan.kernel}, from {plan.source}"
    yield from ("  " + line for line in table((), titled.items()))


def _parameter(p: Parameter) -> str:
    shape = f"[{', '.join(map(str, p.dims))}]" if p.mode != "scalar" else ""
    return f"{p.name}: {p.mode} {p.dtype}{shape}"


def _spaces(plan: Plan) -> Iterator[str]:
    used = plan.scratch()
    rows = [
        (s.name, str(used.get(s.name, 0)), str(s.capacity), f"{used.get(s.name, 0) / s.capacity:.1%}", str(s.alignment))
        for s in plan.spaces
    ]
    yield from _titled("spaces", ("name", "used bytes", "of", "", "aligned to"), rows)


def _buffers(plan: Plan) -> Iterator[str]:
    life = _lives(plan)
    rows = []
    for b in plan.buffers:
        copies = f" ({b.slot + 1} of {b.slots})" if b.slots > 1 else ""
        view = f" in {b.root}" if b.root else ""
        shape = f"{b.rows} x {b.cols}"
        rows.append((b.id + copies, b.dtype, shape, *_storage(b, view), life.get(b.id, "none"), _line(b.span)))
    yield from _titled("buffers", ("id", "dtype", "rows x cols", "storage", "offset", "bytes", "life", "line"), rows)


def _storage(b: Buffer, view: str) -> tuple[str, str, str]:
    s = b.storage
    if isinstance(s, Placed):
        return s.space + view, str(s.offset), str(s.bytes)
    if isinstance(s, Global):
        return f"{s.parameter}[{s.offset}], strides {s.strides[0]}, {s.strides[1]}", "", ""
    return type(s).__name__.lower() + view, "", ""


def _lives(plan: Plan) -> dict[str, str]:
    ids = [instr.id for instr in plan.instructions]
    return {
        name: f"%{ids[life.first]}" + (f"..%{ids[life.last]}" if life.last > life.first else "")
        for name, life in lives(plan).items()
    }


def _program(plan: Plan, source: Callable[[str], str | None]) -> Iterator[str]:
    yield "  program"
    regions = {r.id: r for r in plan.regions}
    sizes = {b.id: b for b in plan.buffers}
    texts: dict[str, list[str]] = {}
    open_path: list[int] = []
    shown: Span | None = None
    for instr in plan.instructions:
        path = _path(regions, instr.region)
        common = next((i for i, (a, b) in enumerate(zip_longest(open_path, path)) if a != b), len(path))
        for depth in range(common, len(path)):
            yield f"{INDENT * (depth + 2)}{_region(regions[path[depth]])}"
        open_path = path
        margin = INDENT * (len(path) + 2)
        if instr.span and (shown is None or instr.span.line != shown.line):
            if instr.span.file not in texts:
                texts[instr.span.file] = (source(instr.span.file) or "").splitlines()
            lines = texts[instr.span.file]
            text = lines[instr.span.line - 1].strip() if instr.span.line <= len(lines) else ""
            yield f"{margin}# {instr.span.line}" + (f": {text}" if text else "")
            shown = instr.span
        lanes = regions[instr.region].lanes if instr.region in regions else None
        yield f"{margin}%{instr.id} {_instr(instr, sizes, lanes)}"


def _path(regions: dict[int, Region], region: int) -> list[int]:
    """The regions around an instruction, outermost first, without the program itself."""
    path: list[int] = []
    while region != 0:
        path.insert(0, region)
        region = regions[region].parent
    return path


def _region(r: Region) -> str:
    if r.kind == "loop":
        step = f" step {r.step}" if r.step != 1 else ""
        return f"loop {r.var} in {r.lower} .. {r.upper}{step}"
    if r.kind == "nest" and r.lanes:
        return f"nest {r.lanes[0]} x {r.lanes[1]}, lane by lane"
    return f"{r.kind} {' and '.join(map(str, r.when))}".rstrip()


def _instr(instr: Instr, buffers: dict[str, Buffer], lanes: Lanes | None) -> str:
    writes = ", ".join(_access(a, buffers, lanes) for a in instr.writes)
    reads = ", ".join(_access(a, buffers, lanes) for a in instr.reads)
    attrs = " ".join(f"{name}={value}" for name, value in instr.attrs)
    engine = f"@{instr.engine}" if instr.engine else ""
    right = " ".join(part for part in (instr.op, engine, reads, f"{{{attrs}}}" if attrs else "") if part)
    return f"{writes} = {right}" if writes else right


def _access(a: Access, buffers: dict[str, Buffer], lanes: Lanes | None) -> str:
    """The buffer, its box where that is not all of it, and the valid region where that is neither the box nor what the
    head of the nest says already."""
    b = buffers.get(a.buffer)
    whole = b is not None and _is_all(a.rows, b.rows) and _is_all(a.cols, b.cols)
    box = "" if whole else f"[{_slice(a.rows)}, {_slice(a.cols)}]"
    told = ((a.rows.size, *(lanes or ())[:1]), (a.cols.size, *(lanes or ())[1:]))
    clipped = any(valid not in known for valid, known in zip(a.valid, told))
    return f"{a.buffer}{box}" + (f"<{a.valid[0]} x {a.valid[1]}>" if clipped else "")


def _is_all(s: Slice, extent: Expr) -> bool:
    return s.start == Expr.of(0) and s.size == extent and s.step == 1


def _slice(s: Slice) -> str:
    step = f":{s.step}" if s.step != 1 else ""
    return f"{s.start}:{s.start + s.size * s.step}{step}"


def _line(span: Span | None) -> str:
    return str(span.line) if span else ""


def _titled(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    rows = list(rows)
    yield f"  {title}{'' if rows else '  none'}"
    yield from ("    " + line for line in table(head, rows) if rows)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows of cells as lines with aligned columns, below the head if there is one."""
    rows = [*([head] if head else []), *rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
