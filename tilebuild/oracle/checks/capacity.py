"""`capacity`: every placed buffer lies inside its space, aligned, with room for its elements."""

from __future__ import annotations

from tilebuild.oracle.context import Context, storage_name
from tilebuild.oracle.findings import UNKNOWN, VIOLATED
from tilebuild.oracle.limits import BLOCKS, STATIC_SHARED, capacity, threads
from tilebuild.oracle.lives import family
from tilebuild.plan.expr import Expr, cdiv
from tilebuild.plan.model import DTYPE_BYTES, Buffer, Placed, Space

NAME = "capacity"
_SHARED = "shared"
_PANEL = 32  # columns of one panel of the block layout "panels32"


def run(context: Context) -> None:
    """Compare the plan's places with its spaces, and its spaces with what the device has."""
    spaces = {s.name: s for s in context.plan.spaces}
    for space in spaces.values():
        _check_declared(context, space)
    highest: dict[str, tuple[int, Buffer]] = {}
    roomy: set[tuple[Expr, Expr, str, str, int]] = set()  # tiles of which one is known to have room
    for buffer in context.plan.buffers:
        storage = buffer.storage
        if not isinstance(storage, Placed):
            continue
        _check_place(context, buffer, storage, spaces.get(storage.space))
        alike = (buffer.rows, buffer.cols, buffer.dtype, buffer.layout.blayout, storage.bytes)
        if alike not in roomy and _check_size(context, buffer, storage):
            roomy.add(alike)
        end = storage.offset + storage.bytes
        if storage.space not in highest or end > highest[storage.space][0]:
            highest[storage.space] = end, buffer
    for name, (end, buffer) in highest.items():
        _check_space(context, name, end, buffer, spaces.get(name))
    _check_slots(context)
    _check_block(context)
    _check_launch_memory(context, {name: end for name, (end, _) in highest.items()})


def _check_block(context: Context) -> None:
    """The launch against what a block of threads may be on the target."""
    plan, launch = context.plan, context.plan.launch
    known, count = BLOCKS.get(plan.target), threads(plan)
    if known is None:
        return
    if count is None:
        message = f"the launch names no block of threads; {plan.target} has at most {known.threads}"
        context.findings.add("O-CAP-08", UNKNOWN, message, fix="state the block's shape in the launch")
        return
    limits = [(f"{count} threads", count, known.threads)]
    limits += [(f"{n} threads along axis {a}", n, most) for a, (n, most) in enumerate(zip(launch.block, known.sides))]
    if known.registers:
        limits += [
            (f"{launch.registers} registers in each of {count} threads", launch.registers * count, known.registers),
            (f"{launch.registers} registers in a thread", launch.registers, known.thread_registers),
        ]
    for what, value, most in limits:
        if not 0 <= value <= most:
            message = f"the launch has a block of {what}; {plan.target} has at most {most}"
            fix = "launch fewer threads, or let each keep less"
            context.findings.add("O-CAP-08", VIOLATED, message, fix=fix)
    if len(launch.block) > len(known.sides) or count < 1:
        message = f"the launch has a block of {' x '.join(map(str, launch.block))} threads"
        context.findings.add("O-CAP-08", VIOLATED, message, fix="give a block one to three sides of at least 1")


def _check_launch_memory(context: Context, high: dict[str, int]) -> None:
    """The shared memory that the launch has, against what is placed there and against the device."""
    plan, launch = context.plan, context.plan.launch
    if plan.target not in BLOCKS:
        return
    total, used = launch.shared_static + launch.shared_dynamic, high.get(_SHARED, 0)
    if used > total or min(launch.shared_static, launch.shared_dynamic) < 0:
        message = f"tiles are placed up to byte {used} of {_SHARED}, and the launch has {total}"
        context.findings.add("O-CAP-09", VIOLATED, message, fix=f"launch with {used} bytes of shared memory")
    static, known = STATIC_SHARED.get(plan.target), capacity(plan.target, plan.arch, _SHARED)
    if static is not None and launch.shared_static > static:
        message = f"the launch has {launch.shared_static} bytes of static shared memory; {plan.target} has {static}"
        fix = f"make what exceeds {static} bytes dynamic, and ask for it at the launch"
        context.findings.add("O-CAP-09", VIOLATED, message, fix=fix)
    if known is not None and total > known:
        message = f"the launch has {total} bytes of shared memory; {plan.target} {plan.arch} has {known}"
        context.findings.add("O-CAP-09", VIOLATED, message, fix="make the tiles smaller, or keep fewer alive at a time")
    elif known is None and launch.shared_dynamic:
        message = f"the launch has {total} bytes of shared memory; what {plan.target} {plan.arch} has is not known"
        context.findings.add("O-CAP-09", UNKNOWN, message, fix="name an architecture that the oracle knows")


def _check_declared(context: Context, space: Space) -> None:
    plan, known = context.plan, capacity(context.plan.target, context.plan.arch, space.name)
    if known is not None and space.capacity > known:
        message = f"space {space.name} is declared with {space.capacity} bytes; {plan.target} {plan.arch} has {known}"
        fix = f"declare at most {known} bytes for the space {space.name}"
        context.findings.add("O-CAP-05", VIOLATED, message, fix=fix)


def _check_place(context: Context, buffer: Buffer, storage: Placed, space: Space | None) -> None:
    if storage.offset < 0:
        message = f"{storage_name(buffer)} begins before its space"
        fix = "place it at an offset of 0 or more"
        context.findings.add("O-CAP-02", VIOLATED, message, span=buffer.span, fix=fix)
    if space is not None and not buffer.root and storage.offset % space.alignment:
        message = f"{storage_name(buffer)} is not aligned to {space.alignment} bytes, as space {space.name} wants"
        below = storage.offset - storage.offset % space.alignment
        fix = f"place it at {below} or {below + space.alignment}"
        context.findings.add("O-CAP-03", VIOLATED, message, span=buffer.span, fix=fix)


def _check_size(context: Context, buffer: Buffer, storage: Placed) -> bool:
    """Whether its bytes are enough for its elements."""
    cols = cdiv(buffer.cols, _PANEL) * _PANEL if buffer.layout.blayout == "panels32" else buffer.cols
    need = buffer.rows * cols * DTYPE_BYTES[buffer.dtype]
    scope, held = context.program.base, Expr.of(storage.bytes)
    if scope.at_most(need, held):
        return True
    outcome = VIOLATED if scope.below(held, need) else UNKNOWN
    shape = f"{buffer.rows} x {buffer.cols} elements of {buffer.dtype}"
    panels = f" in panels of {_PANEL} columns" if cols != buffer.cols else ""
    verb = "need" if outcome == VIOLATED else "are not proved to fit: they need"
    message = f"{storage_name(buffer)} has {storage.bytes} bytes; its {shape}{panels} {verb} {need}"
    fix = f"give the buffer {need} bytes"
    context.findings.add("O-CAP-04", outcome, message, span=buffer.span, fix=fix)
    return False


def _check_space(context: Context, name: str, end: int, buffer: Buffer, declared: Space | None) -> None:
    plan, known = context.plan, capacity(context.plan.target, context.plan.arch, name)
    limits = [limit for limit in (known, declared.capacity if declared else None) if limit is not None]
    if not limits:
        message = (
            f"{storage_name(buffer)} is in space {name}, which the plan does not declare and of which "
            f"nothing is known for target {plan.target}, architecture {plan.arch or 'unnamed'}"
        )
        fix = "declare the space with its capacity and alignment"
        context.findings.add("O-CAP-06", UNKNOWN, message, span=buffer.span, fix=fix)
    elif end > min(limits):
        message = f"space {name} is filled up to byte {end} by tile {buffer.id}, and holds {min(limits)}"
        fix = f"make the tiles smaller, or keep fewer alive at a time: {end - min(limits)} bytes are too many"
        context.findings.add("O-CAP-01", VIOLATED, message, span=buffer.span, fix=fix)


def _check_slots(context: Context) -> None:
    """The copies of a multi-buffered tile are buffers of their own: none may be missing."""
    families: dict[tuple[object, ...], dict[int, list[Buffer]]] = {}
    for buffer in context.plan.buffers:
        if buffer.slots > 1 and isinstance(buffer.storage, Placed):
            families.setdefault(family(buffer), {}).setdefault(buffer.slot, []).append(buffer)
    for copies in families.values():
        some = next(iter(copies.values()))[0]
        most = max(len(c) for c in copies.values())
        missing = some.slots * most - sum(len(c) for c in copies.values())
        if missing:
            message = f"tile {some.id} is slot {some.slot} of {some.slots}, but {missing} of these copies have no place"
            fix = "place every slot as a buffer of its own"
            context.findings.add("O-CAP-07", VIOLATED, message, span=some.span, fix=fix)
