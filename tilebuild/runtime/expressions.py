"""The manifest's expressions and launch slots as Python functions, compiled once when a kernel is looked up.

Each function takes what a call has established: the array views `v` and the scalars' slots `s`, both in declaration
order, and the dimensions `d`. Only text that `tilebuild.plan.expr` has parsed and printed again is compiled, so a
manifest cannot name anything but the symbols in scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from tilebuild.plan.expr import ExprError, parse, parse_predicates
from tilebuild.runtime.arrays import View

Views = Sequence[View]
Dims = Sequence[int]
Scalars = Sequence[int]
T = TypeVar("T")
Function = Callable[[Views, Dims, Scalars], T]

_GLOBALS: dict[str, Any] = {"__builtins__": {}, "min": min, "max": max}


def extent(text: str, sources: Mapping[str, str]) -> Function[int]:
    """An integer expression; `sources` maps each symbol in scope to its place in `v`, `d`, `s`. Raises `ExprError`."""
    e = parse(text)
    return cast("Function[int]", _compile(str(e), e.symbols, sources, text))


def condition(text: str, sources: Mapping[str, str]) -> Function[bool]:
    """A conjunction of comparisons, as in `tb.require` and `when`. Raises `ExprError`."""
    parts = parse_predicates(text)
    symbols = frozenset[str]().union(*(p.left.symbols | p.right.symbols for p in parts))
    return cast("Function[bool]", _compile(" and ".join(str(p) for p in parts), symbols, sources, text))


def holds(fact: Function[bool], views: Views, dims: Dims) -> bool:
    """Whether a condition holds; one that divides by zero does not."""
    try:
        return fact(views, dims, ())
    except ZeroDivisionError:
        return False


def slots(names: Iterable[str], sources: Mapping[str, str]) -> Function[tuple[int, ...]]:
    """The values of a build's launch slots, in order. Raises `ExprError` for a slot that the kernel does not have."""
    places = []
    for name in names:
        if name not in sources:
            raise ExprError(f"the launch slot {name!r} is not one of {', '.join(sources)}")
        places.append(sources[name])
    return cast("Function[tuple[int, ...]]", eval(f"lambda v, d, s: ({''.join(p + ', ' for p in places)})", _GLOBALS))


def _compile(code: str, symbols: frozenset[str], sources: Mapping[str, str], text: str) -> Any:
    unknown = sorted(symbols - set(sources))
    if unknown:
        raise ExprError(f"{text!r} names {', '.join(unknown)}, and the kernel has {', '.join(sources) or 'no symbols'}")
    names = sorted(symbols)
    return eval(
        f"lambda v, d, s: (lambda {', '.join(names)}: {code})({', '.join(sources[n] for n in names)})", _GLOBALS
    )
