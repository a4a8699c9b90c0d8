"""Comparisons, selections and moves (PTX ISA, "Comparison and Selection Instructions", mov, cvta, isspacep)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.binder import Binder, Op, Words
from tilebuild.testing.ptx.floats import flushed
from tilebuild.testing.ptx.integers import elementwise
from tilebuild.testing.ptx.kinds import KINDS, Kind
from tilebuild.testing.ptx.memory import WINDOW
from tilebuild.testing.ptx.syntax import Pair, Sink, Symbol, Vector
from tilebuild.testing.ptx.threads import Chosen

Array = NDArray[Any]
PRED = KINDS["pred"]
_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
    "num": lambda a, c: ~(np.isnan(a) | np.isnan(c)), "nan": lambda a, c: np.isnan(a) | np.isnan(c),
}  # fmt: skip
_BOOLEAN: dict[str, Callable[[Array, Array], Array]] = {
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip


def _comparison(w: Words, kind: Kind) -> Callable[[Array, Array], Array]:
    name = w.take("ne", "equ", "neu", "ltu", "leu", "gtu", "geu", *_COMPARE)
    if not name:
        w.refuse()
    if name == "ne":
        if kind.is_float:
            return lambda a, c: (a != c) & ~(np.isnan(a) | np.isnan(c))
        return np.not_equal
    if name in _COMPARE:
        return _COMPARE[name]
    if name == "neu":
        return np.not_equal
    ordered = _COMPARE[name[:-1]]
    return lambda a, c: ordered(a, c) | np.isnan(a) | np.isnan(c)


def _test(b: Binder, w: Words) -> tuple[Callable[[Chosen], tuple[Array, Array | None]], Kind]:
    """The comparison of set and setp; with a boolean operator also the other predicate."""
    kind = w.kind()
    compare, ftz = _comparison(w, kind), w.flag("ftz")
    combine = _BOOLEAN.get(w.take(*_BOOLEAN))
    _, first, second, *extra = w.instruction.operands
    left, right = b.read(first, kind), b.read(second, kind)
    also = b.read(extra[0], PRED) if extra else None
    if (combine is None) != (also is None):
        w.refuse()

    def test(chosen: Chosen) -> tuple[Array, Array | None]:
        x, y = left(chosen), right(chosen)
        if ftz and kind.name == "f32":
            x, y = flushed(x), flushed(y)
        return compare(x, y), None if also is None else also(chosen)

    def combined(chosen: Chosen) -> tuple[Array, Array | None]:
        found, other = test(chosen)
        return found, other

    # the operator is applied by the caller, which may want the negated comparison as well
    return (combined if combine else test), kind


def _setp(b: Binder, w: Words) -> Op:
    operator = next((m for m in w.instruction.modifiers if m in _BOOLEAN), "")
    test, kind = _test(b, w)
    w.done()
    combine = _BOOLEAN.get(operator)
    target = w.instruction.operands[0]
    both = isinstance(target, Pair)
    first = b.write(target.first if isinstance(target, Pair) else target, PRED)
    second = b.write(target.second, PRED) if isinstance(target, Pair) else None
    packed = kind.lanes == 2
    if packed and not both:
        w.refuse()

    def run(chosen: Chosen) -> None:
        found, other = test(chosen)
        if packed:
            one, two = found[..., 0], found[..., 1]
            if combine is not None and other is not None:
                one, two = combine(one, other), combine(two, other)
        else:
            one, two = found, ~np.asarray(found)
            if combine is not None and other is not None:
                one, two = combine(one, other), combine(two, other)
        first(chosen, one)
        if second is not None:
            second(chosen, two)

    return run


def _set(b: Binder, w: Words) -> Op:
    operator = next((m for m in w.instruction.modifiers if m in _BOOLEAN), "")
    test, _ = _test(b, w)
    result = w.kind()
    w.done()
    combine = _BOOLEAN.get(operator)
    write = b.write(w.instruction.operands[0], result)
    true: Any = 1.0 if result.is_float else result.number.type(-1 if result.family == "s" else (1 << result.bits) - 1)

    def run(chosen: Chosen) -> None:
        found, other = test(chosen)
        if combine is not None and other is not None:
            found = combine(found, other)
        write(chosen, np.where(found, true, type(true)(0)))

    return run


def _as_bits(kind: Kind) -> Kind:
    """A type for what only copies: numbers where constants can be numbers, else bits."""
    return kind if kind.is_float and kind.plain else KINDS[f"u{kind.bits}"]


def _select(x: Array, y: Array, p: Array) -> Array:
    return np.where(p, x, y)


def _selp(b: Binder, w: Words) -> Op:
    plain = _as_bits(w.kind())
    return elementwise(b, w, _select, [plain, plain, PRED], plain)


def _slct(b: Binder, w: Words) -> Op:
    by, plain = w.kind(), _as_bits(w.kind())
    ftz = w.flag("ftz")

    def compute(x: Array, y: Array, z: Array) -> Array:
        first: Array = (flushed(z) if ftz else z) >= 0
        return np.where(first, x, y)

    return elementwise(b, w, compute, [plain, plain, by], plain)


def _testp(b: Binder, w: Words) -> Op:
    kind = w.kind()
    least = np.finfo(kind.number).tiny
    tests: dict[str, Callable[[Array], Array]] = {
        "finite": np.isfinite, "infinite": np.isinf, "number": lambda x: ~np.isnan(x), "notanumber": np.isnan,
        "normal": lambda x: np.isfinite(x) & (np.abs(x) >= least),
        "subnormal": lambda x: (np.abs(x) < least) & (x != 0),
    }  # fmt: skip
    name = w.take(*tests)
    return elementwise(b, w, tests[name], [kind], PRED) if name else w.refuse()


def _mov(b: Binder, w: Words) -> Op:
    kind = w.kind()
    w.done()
    target, source = w.instruction.operands
    if isinstance(target, Vector):
        return _unpack(b, kind, target, source)
    if isinstance(source, Vector):
        return _pack(b, kind, target, source)
    if kind.family == "pred":
        return elementwise(b, w, lambda a: a, [PRED], PRED)
    plain = KINDS[f"u{kind.bits}"] if isinstance(source, Symbol) else _as_bits(kind)
    read, write = b.read(source, plain), b.write(target, plain)
    return lambda chosen: write(chosen, read(chosen))


def _unpack(b: Binder, kind: Kind, target: Vector, source: Any) -> Op:
    bits = kind.bits // len(target.items)
    part, whole = KINDS[f"u{bits}"], KINDS[f"u{kind.bits}"]
    read = b.read(source, whole)
    writes = [(n, b.write(item, part)) for n, item in enumerate(target.items) if not isinstance(item, Sink)]

    def run(chosen: Chosen) -> None:
        values = np.array(read(chosen))
        for n, write in writes:
            write(chosen, (values >> whole.number.type(n * bits)).astype(part.number))

    return run


def _pack(b: Binder, kind: Kind, target: Any, source: Vector) -> Op:
    bits = kind.bits // len(source.items)
    part, whole = KINDS[f"u{bits}"], KINDS[f"u{kind.bits}"]
    readers = [b.read(item, part) for item in source.items]
    write = b.write(target, whole)

    def run(chosen: Chosen) -> None:
        result: Array = np.zeros((), whole.number)
        for n, read in enumerate(readers):
            result = result | np.asarray(read(chosen)).astype(whole.number) << whole.number.type(n * bits)
        write(chosen, result)

    return run


def _cvta(b: Binder, w: Words) -> Op:
    kind, back = w.kind(), w.flag("to")
    space = w.take("global", "shared", "local", "const", "param", "shared::cta", "shared::cluster", "param::entry")
    base = kind.number.type(WINDOW.get(space.split("::")[0], 0))
    return elementwise(b, w, (lambda a: a - base) if back else (lambda a: a + base), [kind], kind)


def _isspacep(b: Binder, w: Words) -> Op:
    space = w.take("global", "shared", "local", "shared::cta", "shared::cluster").split("::")[0]
    number = {"global": 0, "shared": 1, "local": 2}[space] if space else w.refuse()
    return elementwise(b, w, lambda a: a >> np.uint64(44) == number, [KINDS["u64"]], PRED)


TABLE: dict[str, Callable[[Binder, Words], Op]] = {
    "setp": _setp, "set": _set, "selp": _selp, "slct": _slct, "testp": _testp, "mov": _mov, "cvta": _cvta,
    "isspacep": _isspacep,
}  # fmt: skip
