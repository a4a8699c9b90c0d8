"""What stands in a kernel's signature: dtypes, dimensions, In/Out/InOut and Const.

Nobody evaluates these at a launch: the build reads the source text, the manifest has the result. They are looked at
on the reference path only, so they carry data and hardly any behaviour.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take this name for typing.TYPE_CHECKING; importing typing costs milliseconds
if TYPE_CHECKING:
    # A checker sees `x: tb.In[tb.f32, M, N]` as an f32 (the class in tilebuild/__init__.pyi) with notes.
    from typing import Annotated as In
    from typing import Annotated as InOut
    from typing import Annotated as Out
    from typing import Any

    Const = int
    Static = Any

__all__ = [
    "Array",
    "ArrayMode",
    "Const",
    "DType",
    "Dim",
    "In",
    "InOut",
    "Out",
    "Static",
    "Tile",
    "bf16",
    "bool",
    "dim",
    "dims",
    "f16",
    "f32",
    "i8",
    "i32",
    "inf",
    "nan",
    "u8",
    "u32",
]

inf = float("inf")
nan = float("nan")


class DType:
    """An element type. f32, i32, u32 and bool have arithmetic; the others are storage: `.to(tb.f32)` first."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tb.{self.name}"


f32 = DType("f32")
f16 = DType("f16")
bf16 = DType("bf16")
i8 = DType("i8")
u8 = DType("u8")
i32 = DType("i32")
u32 = DType("u32")
bool = DType("bool")


class Tile:
    """A two-dimensional value with static extents and a dynamic valid rectangle: for annotating `@tb.fn` helpers."""

    __slots__ = ()


class Dim:
    """A named dimension, or integer arithmetic on dimensions; `str()` is the Python expression over their names.
    `static` are the values that kernels are built for; empty for any."""

    __slots__ = ("static", "text")

    def __init__(self, text: str, static: tuple[int, ...] = ()) -> None:
        self.text = text
        self.static = static

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def __add__(self, other: Dim | int) -> Dim:
        return Dim(f"({self} + {other})")

    def __radd__(self, other: int) -> Dim:
        return Dim(f"({other} + {self})")

    def __sub__(self, other: Dim | int) -> Dim:
        return Dim(f"({self} - {other})")

    def __rsub__(self, other: int) -> Dim:
        return Dim(f"({other} - {self})")

    def __mul__(self, other: Dim | int) -> Dim:
        return Dim(f"({self} * {other})")

    def __rmul__(self, other: int) -> Dim:
        return Dim(f"({other} * {self})")

    def __floordiv__(self, other: Dim | int) -> Dim:
        return Dim(f"({self} // {other})")

    def __rfloordiv__(self, other: int) -> Dim:
        return Dim(f"({other} // {self})")

    def __mod__(self, other: Dim | int) -> Dim:
        return Dim(f"({self} % {other})")

    def __rmod__(self, other: int) -> Dim:
        return Dim(f"({other} % {self})")

    def __neg__(self) -> Dim:
        return Dim(f"(-{self})")


def dims(names: str) -> Dim | tuple[Dim, ...]:
    """`M, N = tb.dims("M N")`: dimensions by name, in order; a single name gives the dimension itself.

    Raises ValueError for what is not a name, or is there twice.
    """
    found = names.replace(",", " ").split()
    if not found or len(set(found)) < len(found) or not all(n.isidentifier() for n in found):
        raise ValueError(f'tb.dims({names!r}): give different names, separated by spaces: tb.dims("M N")')
    made = tuple(Dim(n) for n in found)
    return made[0] if len(made) == 1 else made


def dim(name: str, *, static: tuple[int, ...] = ()) -> Dim:
    """`D = tb.dim("D", static=(64, 128))`: one dimension; kernels are built once for each of its static values."""
    if not name.isidentifier() or not all(type(n) is int and n >= 1 for n in static):
        raise ValueError(f'tb.dim({name!r}, static={static!r}): give a name and positive integers: tb.dim("D", ...)')
    return Dim(name, tuple(static))


class Array:
    """An array parameter: its mode ("in", "out" or "inout"), dtype and dimensions, outermost first."""

    __slots__ = ("dims", "dtype", "mode")

    def __init__(self, mode: str, dtype: DType, dims: tuple[Dim | int, ...]) -> None:
        self.mode = mode
        self.dtype = dtype
        self.dims = dims

    def __repr__(self) -> str:
        name = {"in": "In", "out": "Out", "inout": "InOut"}[self.mode]
        return f"tb.{name}[{', '.join(map(repr, (self.dtype, *self.dims)))}]"


class ArrayMode:
    """`In`, `Out` and `InOut`: subscripted with a dtype and dimensions, they describe an array parameter."""

    __slots__ = ("mode",)

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __getitem__(self, item: tuple[DType | Dim | int, ...]) -> Array:
        parts = item if isinstance(item, tuple) else (item,)
        dtype, *extents = parts
        if not isinstance(dtype, DType) or not extents or not all(isinstance(e, (Dim, int)) for e in extents):
            raise TypeError(
                f"{self!r}[{', '.join(map(repr, parts))}]: give a dtype, then the dimensions: [tb.f32, M, N]"
            )
        return Array(self.mode, dtype, tuple(e for e in extents if isinstance(e, (Dim, int))))

    def __repr__(self) -> str:
        return f"tb.{ {'in': 'In', 'out': 'Out', 'inout': 'InOut'}[self.mode] }"


if not TYPE_CHECKING:
    In = ArrayMode("in")
    Out = ArrayMode("out")
    InOut = ArrayMode("inout")

    class Const:
        """A compile-time integer that tunes a kernel and never changes its result beyond rounding."""

    class Static:
        """A compile-time value that a kernel's meaning depends on: built for each of those in its default."""
