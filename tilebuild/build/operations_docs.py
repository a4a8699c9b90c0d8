"""The reference page of the operations, out of the operation table and the docstrings of the composites.

`python -m tilebuild.build.operations_docs` in a source tree writes it anew; a test compares it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import tilebuild
from tilebuild.lang import functions
from tilebuild.optable import ACCURACY, COMPOSITES, OPERATORS, OPS, VALID, Composite, Op

PAGE_FILE = Path(__file__).parents[2] / "docs" / "operations.md"
TARGETS = ("cpu", "gpu", "spirv", "pto:a2a3", "pto:a5")
_HEAD = """\
# Operations

<!-- made by `python -m tilebuild.build.operations_docs` out of tilebuild/optable.py, tilebuild/lang/functions.py and
tilebuild/lang/library.py: change it there -->

Every operation on tiles and scalars. Operands have one dtype; a literal, and a dimension or index where that is exact,
takes the tile's. `f16 bf16 i8 u8` are storage: `.to(tb.f32)` or `.to(tb.i32)` first. On a target that lacks an
operation the build stops with [E402](errors/build.md), and says what to write instead. `.reference` executes all of
them.

How exact an f32 operation is: [accuracy.md](accuracy.md); integers are exact. "ulp": a distance in units of the exact
result's last place.
"""
_TITLES = {
    "unary": "One operand", "binary": "Two operands", "compare": "Comparisons, which give bool",
    "reduce": "Over an axis: `t.sum(1)` or `tb.sum(t, 1)`",
}  # fmt: skip
_SHAPES = """\
## Moving lanes

Exact, for every dtype; on the cpu target, and the transpose of an array, `x.T`, on all. An axis on which lanes move has
to be fully valid (`t.fill(0.0)` makes it so), the other one stays as valid as it was.

| | result |
|---|---|
| `t.T` | transposed; the valid region too |
| `tb.slice(t, (row, col), (rows, cols))` | the box of these extents that starts there |
| `tb.concat(a, b, ..., axis=1)` | tiles side by side along an axis |
| `tb.interleave(a, b)` | the columns of two tiles by turns, a's first |
| `tb.reshape(t, (rows, cols))` | the same lanes, row after row, in rows of another length |

gpu, spirv and pto stop with E402: cut the array into other tiles instead, `x.tiles(BM, BN // 2)`.
"""
_CONVERSIONS = """\
## Conversions: `t.to(dtype, round="trunc", sat=False)`

Between all dtypes; the valid region stays. Floats are `f32 f16 bf16`, integers `i32 u32 i8 u8`.

| from | to | result |
|---|---|---|
| floats | integers | by `round`: `"trunc"` (towards zero), `"nearest"` (halves to even), `"floor"`, `"ceil"` |
| floats | integers, out of range | with `sat=True` its end, for NaN 0; else not defined (E331 on `.reference`) |
| integers | integers | the low bits; with `sat=True` the end of the range |
| `f32`, or integers by way of it | `f16 bf16` | the nearest; beyond the largest ±∞, or it with `sat=True` |
| integers | `f32` | the nearest |
| numbers | `bool` | whether it is not 0 |
| `bool` | numbers | 0 or 1 |

Arrays: the cpu target has all dtypes; gpu and spirv have `f32 i32 u32`, with conversions between these and `bool`; pto
has `f32 f16 bf16 i32 i8`, with those between them that its hardware has.
"""


def page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    for kind, title in _TITLES.items():
        parts += _section(title, [op for op in OPS.values() if op.kind == kind])
    return "\n".join([*parts, *_choice(), *_composites(), _CONVERSIONS, _SHAPES])


def spelling(op: Op) -> str:
    """How a kernel writes an operation."""
    symbols = {
        "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "LShift": "<<", "RShift": ">>",
        "BitAnd": "&", "BitOr": "\\|", "BitXor": "^", "USub": "-", "Invert": "~", "Lt": "<", "LtE": "<=", "Gt": ">",
        "GtE": ">=", "Eq": "==", "NotEq": "!=",
    }  # fmt: skip
    symbol = next((symbols[node] for node, name in OPERATORS.items() if name == op.name), "")
    if op.kind == "unary":
        return f"`{symbol}x`" if symbol else f"`tb.{op.name}(x)`"
    if op.kind == "reduce":
        return f"`{op.name}`"
    return f"`a {symbol} b`" if symbol else f"`tb.{op.name}(a, b)`"


def _section(title: str, ops: list[Op]) -> Iterator[str]:
    yield f"## {title}\n\nValid region: {VALID[ops[0].kind]}.\n"
    yield "| | dtypes | meaning | accuracy | " + " | ".join(TARGETS) + " | elsewhere write |"
    yield "|---" * (5 + len(TARGETS)) + "|"
    for op in ops:
        meaning = op.meaning.replace("|", "\\|")
        cells = [spelling(op), f"`{' '.join(op.dtypes)}`", meaning, ACCURACY[op.accuracy], *_targets(op), op.instead]
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _targets(entry: Op | Composite) -> Iterator[str]:
    """For each target the dtypes that it has: "all", "none", or their names."""
    for name in TARGETS:
        has = entry.on(*name.split(":"))
        yield "all" if has == entry.dtypes else f"`{' '.join(has)}`" if has else "none"


def _choice() -> Iterator[str]:
    yield "## Choice\n"
    yield (
        "`tb.where(condition, a, b)`: a where the bool `condition` holds, else b, for every dtype; exact, on cpu, gpu "
        "and spirv. Valid where\nall three are; an extent of 1 repeats.\n"
    )


def _composites() -> Iterator[str]:
    """What is written in the language, with its docstring."""
    yield "## Written in the language itself\n"
    yield (
        "Inlined from one text for every target, so that targets differ by the accuracy of the operations above only."
        "\nValid regions follow from what they are made of: elementwise the lesser of all operands.\n"
    )
    yield "| | dtypes | meaning and accuracy | " + " | ".join(TARGETS) + " |"
    yield "|---" * (3 + len(TARGETS)) + "|"
    for operator, name in (("a // b", "_floordiv"), ("a % b", "_mod")):
        meaning = inspect.getdoc(getattr(functions, name).__wrapped__) or ""
        cells = [f"`{operator}`", "`f32`", " ".join(meaning.split()).replace("|", "\\|"), *_targets(COMPOSITES["pow"])]
        yield "| " + " | ".join(cells) + " |"
    for name, composite in COMPOSITES.items():
        function = getattr(tilebuild, name).__wrapped__
        call = f"`tb.{name}({', '.join(inspect.signature(function).parameters)})`"
        meaning = " ".join((inspect.getdoc(function) or "").split()).replace("|", "\\|")
        yield "| " + " | ".join([call, f"`{' '.join(composite.dtypes)}`", meaning, *_targets(composite)]) + " |"
    yield ""


def main() -> None:
    """Writes the page anew."""
    PAGE_FILE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
