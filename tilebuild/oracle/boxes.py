"""Which lanes of a buffer two touches share: proofs about boxes, also across views of the same bytes."""

from __future__ import annotations

from tilebuild.oracle.program import Axis, Lanes, Touch
from tilebuild.oracle.scopes import Scope, constant
from tilebuild.plan.expr import Expr
from tilebuild.plan.model import DTYPE_BYTES, Buffer, Placed


def common_scope(a: Touch, b: Touch) -> Scope | None:
    """A scope in which the symbols of both boxes mean what they mean where the touches stand, or None: a loop id that
    both name may belong to two different loops."""
    first, second = a.node.bindings, b.node.bindings
    if first is second or all(first.get(v) == second.get(v) for v in a.lanes.symbols):
        return b.node.scope
    if all(first.get(v) == second.get(v) for v in b.lanes.symbols):
        return a.node.scope
    return None


def covers(outer: Touch, inner: Touch) -> bool:
    """True if every lane that `inner` touches is proved to be touched by `outer` too."""
    scope = common_scope(outer, inner)
    if scope is None:
        return False
    if same_shape(outer.buffer, inner.buffer):
        return lanes_cover(scope, outer.lanes, inner.lanes)
    own, other = outer.buffer.storage, inner.buffer.storage
    size = packed_bytes(outer.buffer)
    if not (isinstance(own, Placed) and isinstance(other, Placed)) or size is None or not is_whole(scope, outer):
        return False
    return own.offset <= other.offset and other.offset + other.bytes <= own.offset + size


def disjoint(a: Touch, b: Touch) -> bool:
    """True if no lane is proved to be touched by both."""
    if same_shape(a.buffer, b.buffer):
        scope = common_scope(a, b)
        return scope is not None and lanes_disjoint(scope, a.lanes, b.lanes)
    x, y = a.buffer.storage, b.buffer.storage
    if not (isinstance(x, Placed) and isinstance(y, Placed)):
        return False
    return x.offset + x.bytes <= y.offset or y.offset + y.bytes <= x.offset


def same_shape(a: Buffer, b: Buffer) -> bool:
    """True if the two, of one root, name each element by the same row and column."""
    if a is b:
        return True
    return (a.storage, a.dtype, a.rows, a.cols, a.layout) == (b.storage, b.dtype, b.rows, b.cols, b.layout)


def is_whole(scope: Scope, touch: Touch) -> bool:
    """True if the touch is proved to reach every element of its buffer."""
    buffer, lanes = touch.buffer, touch.lanes
    return all(
        axis.step == 1 and constant(axis.start) == 0 and scope.at_most(extent, axis.valid)
        for axis, extent in ((lanes.rows, buffer.rows), (lanes.cols, buffer.cols))
    )


def packed_bytes(buffer: Buffer) -> int | None:
    """Bytes of the elements alone, where the extents are constants."""
    rows, cols = constant(buffer.rows), constant(buffer.cols)
    return None if rows is None or cols is None else rows * cols * DTYPE_BYTES[buffer.dtype]


def lanes_cover(scope: Scope, outer: Lanes, inner: Lanes) -> bool:
    """True if every lane of `inner` is proved to be one of `outer`."""
    if outer is inner:
        return True
    return _axis_covers(scope, outer.rows, inner.rows) and _axis_covers(scope, outer.cols, inner.cols)


def _axis_covers(scope: Scope, outer: Axis, inner: Axis) -> bool:
    if outer.step == inner.step and outer.start == inner.start:
        return scope.at_most(inner.valid, outer.valid)
    return outer.step == 1 and scope.at_most(outer.start, inner.start) and scope.at_most(inner.end, outer.end)


def lanes_disjoint(scope: Scope, a: Lanes, b: Lanes) -> bool:
    """True if no lane of one is proved to be one of the other."""
    if a is b:
        return False
    return any(
        scope.at_most(x.end, y.start) or scope.at_most(y.end, x.start) for x, y in ((a.rows, b.rows), (a.cols, b.cols))
    )


def union_covers(writes: list[Touch], read: Touch) -> tuple[Touch, ...]:
    """Writes that together reach every lane of `read`, side by side along one axis; none where that is not proved."""
    for along in (0, 1):
        across = 1 - along
        need = read.lanes.axes[along]
        strips = []
        for write in writes:
            scope = common_scope(write, read)
            if scope is None or not same_shape(write.buffer, read.buffer) or write.lanes.axes[along].step != 1:
                continue
            if _axis_covers(scope, write.lanes.axes[across], read.lanes.axes[across]):
                strips.append((write, scope, write.lanes.axes[along]))
        used = _chain(strips, need)
        if used:
            return used
    return ()


def _chain(strips: list[tuple[Touch, Scope, Axis]], need: Axis) -> tuple[Touch, ...]:
    """Strips that follow one another from the start of `need` to its end."""
    reached: Expr = need.start
    used: list[Touch] = []
    while strips:
        for k, (write, scope, strip) in enumerate(strips):
            if scope.at_most(strip.start, reached) and scope.below(reached, strip.end):
                reached = strip.end
                used.append(write)
                del strips[k]
                if scope.at_most(need.end, reached):
                    return tuple(used)
                break
        else:
            return ()
    return ()
