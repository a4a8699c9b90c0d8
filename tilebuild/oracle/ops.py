"""The operations that plans are made of, as the oracle understands them: its own table, not the compiler's.

`kind` says how shapes and valid regions relate (`tilebuild.oracle.shapes` has one function for each kind).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_FLOATS = ("f32",)
_NUMBERS = ("f32", "i32", "u32")
_BITS = ("i32", "u32", "bool")
_INTEGERS = ("i32", "u32")
REDUCTIONS = ("sum", "max", "min", "prod")


@dataclass(frozen=True)
class Rule:
    """One operation: how many boxes it reads and writes, the dtypes its operands may have (all, where there are
    none), the dtype of its result ("same" as the operands', "any", or a name), the attributes it needs, and whether
    it computes each lane from the same lane of its operands, so that a nest may hold it."""

    kind: str
    reads: int
    dtypes: tuple[str, ...] = ()
    result: str = "same"
    attributes: tuple[str, ...] = ()
    lanewise: bool = True
    writes: int = 1


def _elementwise(reads: int, dtypes: tuple[str, ...], result: str = "same") -> Rule:
    return Rule("elementwise", reads, dtypes, result)


RULES: Mapping[str, Rule] = {
    "load": Rule("move", 1),
    "store": Rule("move", 1),
    "window": Rule("window", 1, attributes=("value", "row", "col")),
    "gather": Rule("gather", 2, attributes=("oob", "by")),
    "scatter": Rule("scatter", 2, attributes=("mode", "by")),
    "atomic_add": Rule("move", 1, _NUMBERS),
    "pack": Rule("move", 1, lanewise=False),
    "copy": _elementwise(1, ()),
    "cast": _elementwise(1, (), "any"),
    "select": Rule("select", 3),
    "full": Rule("constant", 0, attributes=("value",)),
    "param": Rule("constant", 0, attributes=("name",)),
    "index": Rule("constant", 0, _NUMBERS, attributes=("expr",)),
    "iota": Rule("constant", 0, _NUMBERS, attributes=("axis",)),
    "fill": Rule("fill", 1, attributes=("value",)),
    "box": Rule("move", 1, lanewise=False),
    "interleave": Rule("interleave", 2, lanewise=False),
    "reshape": Rule("reshape", 1, lanewise=False),
    "transpose": Rule("transpose", 1, lanewise=False),
    "dot": Rule("dot", 3, lanewise=False),
    **{name: _elementwise(1, _NUMBERS) for name in ("neg", "abs")},
    **{
        name: _elementwise(1, _FLOATS)
        for name in ("exp", "exp2", "log", "log2", "sqrt", "rsqrt", "recip", "floor", "ceil", "round", "trunc")
    },
    "not": _elementwise(1, _BITS),
    **{name: _elementwise(2, _NUMBERS) for name in ("add", "sub", "mul", "maximum", "minimum")},
    "div": _elementwise(2, _FLOATS),
    **{name: _elementwise(2, _INTEGERS) for name in ("floordiv", "mod", "shl", "shr")},
    **{name: _elementwise(2, _BITS) for name in ("and", "or", "xor")},
    **{name: _elementwise(2, _NUMBERS, "bool") for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{name: Rule("reduce", 1, _NUMBERS, attributes=("axis",)) for name in REDUCTIONS},
    # what the threads of a block do together; `tilebuild.oracle.spread` knows what more must hold of them
    "stage": Rule("move", 1, lanewise=False),
    "combine": Rule("move", 1, _NUMBERS, attributes=("reduce", "width"), lanewise=False),
    "put": Rule("put", 1, _NUMBERS, attributes=("parts",), lanewise=False),
    "get": Rule("reduce", 1, _NUMBERS, attributes=("axis", "reduce"), lanewise=False),
    "barrier": Rule("nothing", 0, lanewise=False, writes=0),
}

# (operands, accumulator) that a dot may have
DOT_DTYPES = frozenset({("f32", "f32"), ("f16", "f32"), ("bf16", "f32"), ("i8", "i32"), ("u8", "i32"), ("u8", "u32")})
