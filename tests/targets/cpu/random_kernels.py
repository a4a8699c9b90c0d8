"""Random well-typed kernels as text, drawn from a small grammar whose arithmetic is exact.

Floats stay small integers (products and sums are clamped), so the order of a sum and the contraction to fma change
nothing: the reference path and every compiled level must agree to the bit. A kernel either works tile by tile on a
two-dimensional grid, or loops over the tiles of a row and carries what it reduces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Value = tuple[str, str, str]  # text, dtype, shape
Type = tuple[str, str]  # (dtype, shape): shape "full", "row" [BM, 1], "col" [1, BN], "cell" [1, 1]
_EXTENTS = {"full": (1, 1), "row": (1, 0), "col": (0, 1), "cell": (0, 0)}
_SHAPES = {extents: shape for shape, extents in _EXTENTS.items()}
_LIMIT = "64.0"
_SIGNATURE = """@tb.kernel
def {name}(
    x: tb.In[tb.f32, M, N], y: tb.In[tb.f32, M, N], k: tb.In[tb.i32, M, N], u: tb.In[tb.u32, M, N],
    r: tb.In[tb.f32, M], c: tb.In[tb.f32, N], s: tb.f32, n: tb.i32,
    o: tb.Out[tb.f32, M, N], p: tb.Out[tb.i32, M, N], q: tb.InOut[tb.f32, M],
    *, BM: tb.Const = {bm}, BN: tb.Const = {bn},
):
"""
_INPUTS = """{indent}x_, y_ = x.tiles(BM, BN)[i, j], y.tiles(BM, BN)[i, j]
{indent}k_, u_ = k.tiles(BM, BN)[i, j], u.tiles(BM, BN)[i, j]
{indent}c_ = c.tiles(BN)[j]
"""


def module(seed: int, count: int) -> str:
    """`count` kernels `k0`, `k1`, ...; the same text for the same seed."""
    random = Random(seed)
    return 'M, N = tb.dims("M N")\n\n\n' + "\n\n".join(_kernel(random, f"k{n}") for n in range(count))


def _kernel(random: Random, name: str) -> str:
    bm, bn = random.choice([1, 2, 3, 4, 5, 7, 8]), random.choice([1, 3, 4, 8, 13, 16, 17, 31, 32, 65, 130])
    head = _SIGNATURE.format(name=name, bm=bm, bn=bn)
    return head + (_by_tile(random) if random.random() < 0.6 else _by_row(random))


def _by_tile(random: Random) -> str:
    body = _Body(random, "    ")
    body.statements(random.randint(4, 12))
    text = "    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))\n    r_ = r.col.tiles(BM, 1)[i, 0]\n"
    text += _INPUTS.format(indent="    ") + body.text
    text += f"    o.tiles(BM, BN)[i, j] = {body.full('f32')}\n    p.tiles(BM, BN)[i, j] = {body.full('i32')}\n"
    return text


def _by_row(random: Random) -> str:
    first = _Body(random, "        ", [("a", "f32", "row"), ("b", "f32", "row")])
    first.statements(random.randint(2, 6))
    second = _Body(random, "        ", [("a", "f32", "row"), ("b", "f32", "row")])
    second.statements(random.randint(2, 6))
    loop = "    for j in tb.range(tb.cdiv(N, BN)):\n"
    text = "    i = tb.program(tb.cdiv(M, BM))\n    r_ = r.col.tiles(BM, 1)[i, 0]\n"
    text += "    a, b = tb.zeros((BM, 1)), tb.full((BM, 1), 3.0)\n"
    text += loop + _INPUTS.format(indent="        ") + first.text
    reductions = [f"tb.{op}({first.full('f32')}, 1)" for op in ("sum", "max")]
    before = random.choice(["a", "b", "tb.maximum(a, b)"])
    text += f"        a, b = {_clamp(f'a + {reductions[0]}')}, {before} - {reductions[1]}\n"
    text += f"        b = {_clamp('b')}\n"
    text += "    q.col.tiles(BM, 1)[i, 0] = a - b\n"
    text += loop + _INPUTS.format(indent="        ") + second.text
    text += (
        f"        o.tiles(BM, BN)[i, j] = {second.full('f32')}\n        p.tiles(BM, BN)[i, j] = {second.full('i32')}\n"
    )
    return text


def _clamp(text: str) -> str:
    return f"tb.maximum(tb.minimum({text}, {_LIMIT}), -{_LIMIT})"


class _Body:
    """Straight-line code: every statement names a new value."""

    def __init__(self, random: Random, indent: str, more: Sequence[Value] = ()) -> None:
        self.random, self.indent, self.text = random, indent, ""
        self.values: list[Value] = [
            ("tb.iota(BM, 0)", "i32", "row"), ("tb.iota(BN)", "i32", "col"), ("(x_ > y_)", "bool", "full"),
            ("r_", "f32", "row"), ("c_", "f32", "col"), ("x_", "f32", "full"), ("y_", "f32", "full"),
            ("k_", "i32", "full"), ("u_", "u32", "full"), *more,
        ]  # fmt: skip

    def statements(self, count: int) -> None:
        makers: list[Callable[[], tuple[Type, str]]] = [
            self.arithmetic, self.arithmetic, self.arithmetic, self.integers, self.unary, self.compare, self.select,
            self.reduce, self.cast, self.logic,
        ]  # fmt: skip
        for n in range(count):
            (dtype, shape), expression = self.random.choice(makers)()
            self.text += f"{self.indent}t{n} = {expression}\n"
            self.values.append((f"t{n}", dtype, shape))

    def pick(self, dtype: str) -> tuple[str, str]:
        """A value of a dtype, with its shape; later ones are likelier."""
        found = [(name, shape) for name, d, shape in self.values if d == dtype]
        return self.random.choice(found[-3:] + found)

    def full(self, dtype: str) -> str:
        """A value with the tile's extents, valid in all of the tile's lanes; full by adding to one that is."""
        name, shape = self.pick(dtype)
        base = "x_" if dtype == "f32" else "k_"
        return f"{name} + {base}" if shape != "full" else name

    def pair(self, dtype: str) -> tuple[str, str, str]:
        (a, sa), (b, sb) = self.pick(dtype), self.pick(dtype)
        extents = tuple(max(p, q) for p, q in zip(_EXTENTS[sa], _EXTENTS[sb]))
        return a, b, _SHAPES[extents]  # type: ignore[index]

    def arithmetic(self) -> tuple[Type, str]:
        a, b, shape = self.pair("f32")
        kind = self.random.randrange(6)
        if kind == 0:
            b = self.random.choice(["s", "2.0", "-3.0", "N", "(i + 1)"])
            shape = self.shape_of(a)
        text = (
            f"{a} {self.random.choice('+-*')} {b}"
            if kind < 4
            else f"tb.{self.random.choice(['maximum', 'minimum'])}({a}, {b})"
        )
        return ("f32", shape), _clamp(text)

    def shape_of(self, name: str) -> str:
        return next(shape for n, _, shape in self.values if n == name)

    def integers(self) -> tuple[Type, str]:
        dtype = self.random.choice(["i32", "i32", "u32"])
        a, b, shape = self.pair(dtype)
        if dtype == "i32" and self.random.random() < 0.3:
            b, shape = self.random.choice(["n", "7", "-5", "(i - 2)"]), self.shape_of(a)
        operator = self.random.choice(["+", "-", "*", "&", "|", "^", "max"])
        return (dtype, shape), f"tb.maximum({a}, {b})" if operator == "max" else f"({a} {operator} {b})"

    def unary(self) -> tuple[Type, str]:
        dtype = self.random.choice(["f32", "i32", "u32", "bool"])
        a, shape = self.pick(dtype)
        if dtype == "f32":
            text = self.random.choice([f"-{a}", f"tb.abs({a})", f"tb.floor({a})", f"tb.ceil({a})"])
        else:
            text = f"~{a}" if dtype == "bool" else self.random.choice([f"-{a}", f"~{a}", f"tb.abs({a})"])
        return (dtype, shape), text

    def compare(self) -> tuple[Type, str]:
        a, b, shape = self.pair(self.random.choice(["f32", "i32", "u32"]))
        return ("bool", shape), f"({a} {self.random.choice(['<', '<=', '>', '>=', '==', '!='])} {b})"

    def logic(self) -> tuple[Type, str]:
        a, b, shape = self.pair("bool")
        return ("bool", shape), f"({a} {self.random.choice('&|^')} {b})"

    def select(self) -> tuple[Type, str]:
        dtype = self.random.choice(["f32", "i32", "u32"])
        condition, shape = self.pick("bool")
        a, b, other = self.pair(dtype)
        extents = tuple(max(p, q) for p, q in zip(_EXTENTS[shape], _EXTENTS[other]))
        return (dtype, _SHAPES[extents]), f"tb.where({condition}, {a}, {b})"  # type: ignore[index]

    def reduce(self) -> tuple[Type, str]:
        dtype = self.random.choice(["f32", "f32", "i32", "u32"])
        a, shape = self.pick(dtype)
        axis = self.random.randrange(2)
        extents = list(_EXTENTS[shape])
        extents[axis] = 0
        text = f"{a}.{self.random.choice(['sum', 'max', 'min'])}({axis})"
        return (dtype, _SHAPES[extents[0], extents[1]]), _clamp(text) if dtype == "f32" else text

    def cast(self) -> tuple[Type, str]:
        source, target = self.random.choice([("f32", "i32"), ("bool", "i32"), ("bool", "f32"), ("i32", "bool")])
        a, shape = self.pick(source)
        return (target, shape), f"{a}.to(tb.{target})"
