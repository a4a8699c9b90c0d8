"""What a plan declares, before any instruction is looked at: names, sizes, storages, views, symbols.

A fault here belongs to the check `operands`; where there is one, no other check can run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tilebuild.diagnostics import Span
from tilebuild.oracle.findings import VIOLATED, Findings
from tilebuild.oracle.scopes import Known, Scope, constant
from tilebuild.plan.bounds import Range
from tilebuild.plan.expr import ONE, ZERO, Expr
from tilebuild.plan.model import DTYPE_BYTES, Buffer, Global, Placed, Plan, Symbol, Unplaced

LARGEST = 2**63 - 1
_MODES = ("in", "out", "inout", "scalar")
_KINDS = ("dim", "stride", "scalar", "program", "loop")

FIXES: Mapping[str, str] = {
    "O-PLAN-01": "name a buffer that the plan declares",
    "O-PLAN-02": "give every buffer, region, instruction, symbol, space and parameter a name of its own",
    "O-PLAN-03": "make the regions one tree under region 0, and give every instruction one of them",
    "O-PLAN-04": "keep the instructions of a region, inner regions included, next to each other in program order",
    "O-PLAN-05": "run the memory planner before the plan is written: every buffer needs its place",
    "O-PLAN-06": "declare the symbol before it is used, and use a loop id inside its loop only",
    "O-PLAN-07": "sizes are not negative, steps and alignments are at least 1, and all fit in 63 bits",
    "O-PLAN-08": "let the view name a buffer that is not a view of it, in the same storage, and stay inside its bytes",
    "O-PLAN-09": "give the region the fields that its kind needs",
    "O-PLAN-10": "use a dtype, a mode, a kind and a parameter that plans have",
    "O-PLAN-11": "declare one symbol of kind program for each dimension of the launch grid, in its order",
}


def check_declarations(plan: Plan, faults: Findings) -> None:
    """Names are unique and refer to something; sizes are sizes; storages are final."""
    _check_unique(plan, faults)
    for space in plan.spaces:
        if not (0 <= space.capacity <= LARGEST and 1 <= space.alignment <= LARGEST):
            sizes = f"a capacity of {_number(space.capacity)} and an alignment of {_number(space.alignment)} bytes"
            _fault(faults, "O-PLAN-07", f'space "{space.name}" has {sizes}')
    arrays = set()
    for parameter in plan.contract.parameters:
        what = f'parameter "{parameter.name}"'
        if parameter.mode not in _MODES:
            _fault(faults, "O-PLAN-10", f'{what} has the mode "{parameter.mode}", not one of {", ".join(_MODES)}')
        if parameter.dtype not in DTYPE_BYTES:
            _fault(faults, "O-PLAN-10", f'{what} has the unknown dtype "{parameter.dtype}"')
        if parameter.mode != "scalar":
            arrays.add(parameter.name)
    by_id = {b.id: b for b in plan.buffers}
    for buffer in plan.buffers:
        _check_buffer(buffer, arrays, faults)
    for buffer in plan.buffers:
        _check_view(buffer, by_id, faults)


def _check_unique(plan: Plan, faults: Findings) -> None:
    groups: Sequence[tuple[str, Iterable[object]]] = (
        ("buffer", (b.id for b in plan.buffers)),
        ("region", (r.id for r in plan.regions)),
        ("instruction", (i.id for i in plan.instructions)),
        ("symbol", (s.name for s in plan.symbols)),
        ("space", (s.name for s in plan.spaces)),
        ("parameter", (p.name for p in plan.contract.parameters)),
    )
    for what, names in groups:
        seen: set[object] = set()
        for name in names:
            if name in seen:
                _fault(faults, "O-PLAN-02", f"two {what}s have the name {name!r}")
            seen.add(name)


def _check_buffer(buffer: Buffer, arrays: set[str], faults: Findings) -> None:
    what, storage = f'buffer "{buffer.id}"', buffer.storage
    if buffer.dtype not in DTYPE_BYTES:
        _fault(faults, "O-PLAN-10", f'{what} has the unknown dtype "{buffer.dtype}"', buffer.span)
    for name, extent in (("rows", buffer.rows), ("columns", buffer.cols)):
        size = constant(extent)
        if size is not None and not 0 <= size <= LARGEST:
            _fault(faults, "O-PLAN-07", f"{what} has {_number(size)} {name}", buffer.span)
    if not 0 <= buffer.slot < buffer.slots:
        slot = f"slot {_number(buffer.slot)} of {_number(buffer.slots)}"
        _fault(faults, "O-PLAN-07", f"{what} is {slot}", buffer.span)
    if isinstance(storage, Unplaced):
        wants = f'still wants {_number(storage.bytes)} bytes in space "{storage.space}": it has no place'
        _fault(faults, "O-PLAN-05", f"{what} {wants}", buffer.span)
    if isinstance(storage, Placed) and (not 0 <= storage.bytes <= LARGEST or abs(storage.offset) > LARGEST):
        where = f"{_number(storage.bytes)} bytes at offset {_number(storage.offset)}"
        _fault(faults, "O-PLAN-07", f"{what} has {where}", buffer.span)
    if isinstance(storage, Global) and storage.parameter not in arrays:
        message = f'{what} is a view of "{storage.parameter}", which is no array parameter'
        _fault(faults, "O-PLAN-10", message, buffer.span)


def _check_view(buffer: Buffer, by_id: Mapping[str, Buffer], faults: Findings) -> None:
    if not buffer.root:
        return
    what = f'buffer "{buffer.id}" is a view of "{buffer.root}"'
    seen, root = {buffer.id}, buffer
    while root.root:
        if root.root not in by_id:
            _fault(faults, "O-PLAN-01", f'{what}, and "{root.root}" does not exist', buffer.span)
            return
        root = by_id[root.root]
        if root.id in seen:
            _fault(faults, "O-PLAN-08", f"{what}, in a circle", buffer.span)
            return
        seen.add(root.id)
        if len(seen) > 16:
            _fault(faults, "O-PLAN-08", f"{what}, over more than 16 buffers", buffer.span)
            return
    own, whole = buffer.storage, root.storage
    if isinstance(own, Placed) and isinstance(whole, Placed):
        inside = whole.offset <= own.offset and own.offset + own.bytes <= whole.offset + whole.bytes
        if own.space != whole.space or not inside:
            places = f"{place(own)} is not inside {place(whole)}"
            _fault(faults, "O-PLAN-08", f"{what}, but {places}", buffer.span)
    elif type(own) is not type(whole) or isinstance(own, Global):
        kinds = f"{type(own).__name__.lower()} is no view of {type(whole).__name__.lower()}"
        _fault(faults, "O-PLAN-08", f"{what}, but {kinds}", buffer.span)


def place(storage: Placed) -> str:
    """A byte range as messages show it."""
    return f"[{storage.space}, {storage.offset}..{storage.offset + storage.bytes})"


def base_scope(plan: Plan, faults: Findings) -> Scope:
    """What is known outside of all regions: the declared symbols but loop ids, narrowed by the contract's facts."""
    own: dict[str, Known] = {}
    programs = [s for s in plan.symbols if s.kind == "program"]
    if len(programs) != len(plan.launch.grid):
        counts = f"{len(programs)} program ids and a launch grid of {len(plan.launch.grid)} dimensions"
        _fault(faults, "O-PLAN-11", f"the plan has {counts}")
    grid = dict(zip((s.name for s in programs), plan.launch.grid))
    for index, symbol in enumerate(plan.symbols):
        what = f'symbol "{symbol.name}"'
        if symbol.kind not in _KINDS:
            _fault(faults, "O-PLAN-10", f'{what} is of the unknown kind "{symbol.kind}"')
        if symbol.kind == "loop":
            continue
        extent = grid.get(symbol.name)
        ends = [e for e in (symbol.lo, symbol.hi, extent) if e is not None]
        _check_known(ends, own, what, faults)
        own[symbol.name] = Known((0, index), _range(symbol, extent))
    scope = Scope(own)
    contract = plan.contract
    _check_known((d for p in contract.parameters for d in p.dims), own, "the contract's parameters", faults)
    facts = [e for f in contract.facts for e in (f.left, f.right)]
    _check_known([*facts, plan.launch.workspace], own, "the contract's facts or the launch", faults)
    if not faults.listed:
        for fact in contract.facts:
            scope.assume(fact)
    return scope


def _range(symbol: Symbol, extent: Expr | None) -> Range:
    if extent is not None:
        return Range(ZERO, extent - 1)
    if symbol.kind != "dim":
        return Range()
    declared = constant(symbol.lo) if symbol.lo is not None else 0
    return Range(ONE) if declared is None or declared >= 1 else Range(Expr.of(declared))


def _check_known(expressions: Iterable[Expr], known: Mapping[str, Known], what: str, faults: Findings) -> None:
    unknown = sorted({name for e in expressions for name in e.symbols if name not in known})
    if unknown:
        names = ", ".join(f'"{n}"' for n in unknown)
        _fault(faults, "O-PLAN-06", f"{what}: {names} is not declared before")


def _number(value: int) -> str:
    """A number for a message; Python refuses to print very long ones."""
    return str(value) if abs(value) < 10**30 else f"about 2**{value.bit_length()}"


def _fault(faults: Findings, code: str, message: str, span: Span | None = None) -> None:
    faults.add(code, VIOLATED, message, span=span, fix=FIXES[code])
