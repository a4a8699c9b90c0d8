"""Kernels as text: one for each kind of operation and dtype of the operation table, with an output an operation."""

from __future__ import annotations

from tilebuild.optable import COMBINE, IDENTITY, OPERATORS, OPS, Op

DTYPES = ("f32", "i32", "u32")
_SYMBOLS = {"Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "LShift": "<<",
            "RShift": ">>",             "BitAnd": "&", "BitOr": "|", "BitXor": "^", "Lt": "<",
            "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!=", "USub": "-", "Invert": "~"}  # fmt: skip
_BY_OPERATOR = {name: _SYMBOLS[node] for node, name in OPERATORS.items()}


_JOINED = {
    "add": "{0} + {1}", "mul": "{0} * {1}", "maximum": "tb.maximum({0}, {1})", "minimum": "tb.minimum({0}, {1})",
}  # fmt: skip


def of_kind(kind: str, dtype: str) -> list[Op]:
    return [op for op in OPS.values() if op.kind == kind and dtype in op.dtypes]


def table() -> str:
    """A module with every elementwise and reducing operation for every dtype that has it."""
    parts = ['M, N = tb.dims("M N")\n']
    for dtype in DTYPES:
        parts += [_elementwise(dtype), _reduce(dtype, 0), _reduce(dtype, 1)]
    return "\n\n".join([*parts, _CASTS])


def outputs(dtype: str) -> list[tuple[Op, str]]:
    """The operations of a dtype's elementwise kernel, in the order of its outputs, with the outputs' dtypes."""
    kinds = [op for kind in ("unary", "binary", "compare") for op in of_kind(kind, dtype)]
    return [(op, "i32" if op.result == "bool" else dtype) for op in kinds]


def _expression(op: Op) -> str:
    symbol = _BY_OPERATOR.get(op.name)
    if op.kind == "unary":
        return f"{symbol}a" if symbol else f"tb.{op.name}(a)"
    text = f"(a {symbol} b)" if symbol else f"tb.{op.name}(a, b)"
    return f"{text}.to(tb.i32)" if op.result == "bool" else text


def _elementwise(dtype: str) -> str:
    made = outputs(dtype)
    parameters = "".join(f"    o_{op.name}: tb.Out[tb.{d}, M, N],\n" for op, d in made)
    stores = "".join(f"    o_{op.name}.tiles(BM, BN)[i, j] = {_expression(op)}\n" for op, _ in made)
    return f"""@tb.kernel(variants=[tb.V(BM=3, BN=5, when="N <= 5"), tb.V(BM=2, BN=40)])
def elementwise_{dtype}(
    x: tb.In[tb.{dtype}, M, N],
    y: tb.In[tb.{dtype}, M, N],
{parameters}    *, BM: tb.Const, BN: tb.Const,
):
    i, j = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    a, b = x.tiles(BM, BN)[i, j], y.tiles(BM, BN)[i, j]
{stores}"""


def _reduce(dtype: str, axis: int) -> str:
    """Over whole columns (axis 0) or rows (axis 1), tile by tile, with a running result of each reduction."""
    kept, other = ("N", "M") if axis == 0 else ("M", "N")
    shape = "(1, BN)" if axis == 0 else "(BM, 1)"
    tile = "t, p" if axis == 0 else "p, t"
    made = [op.name for op in of_kind("reduce", dtype)]
    starts = "".join(
        f"    r_{n} = tb.full({shape}, {IDENTITY[n, dtype].replace('inf', 'tb.inf')}, tb.{dtype})\n" for n in made
    )
    outputs = "".join(f"    o_{n}: tb.Out[tb.{dtype}, {kept}],\n" for n in made)
    steps = "".join(f"        r_{n} = {_JOINED[COMBINE[n]].format(f'r_{n}', f'a.{n}({axis})')}\n" for n in made)
    where = "tiles(BN)[p]" if axis == 0 else "col.tiles(BM, 1)[p, 0]"
    stores = "".join(f"    o_{n}.{where} = r_{n}\n" for n in made)
    return f"""@tb.kernel(variants=[tb.V(BM=5, BN=6, when="N <= 30"), tb.V(BM=3, BN=150)])
def reduce{axis}_{dtype}(
    x: tb.In[tb.{dtype}, M, N],
{outputs}    *, BM: tb.Const, BN: tb.Const,
):
    p = tb.program(tb.cdiv({kept}, B{kept}))
{starts}    for t in tb.range(tb.cdiv({other}, B{other})):
        a = x.tiles(BM, BN)[{tile}]
{steps}{stores}"""


_CASTS = """@tb.kernel
def casts(
    f: tb.In[tb.f32, M, N],
    i: tb.In[tb.i32, M, N],
    u: tb.In[tb.u32, M, N],
    i_f: tb.Out[tb.i32, M, N],
    u_f: tb.Out[tb.u32, M, N],
    f_i: tb.Out[tb.f32, M, N],
    f_u: tb.Out[tb.f32, M, N],
    f_b: tb.Out[tb.f32, M, N],
    i_b: tb.Out[tb.i32, M, N],
    b_f: tb.Out[tb.i32, M, N],
    b_i: tb.Out[tb.i32, M, N],
    *, BM: tb.Const = 2, BN: tb.Const = 37,
):
    r, c = tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))
    F, I, U = f.tiles(BM, BN)[r, c], i.tiles(BM, BN)[r, c], u.tiles(BM, BN)[r, c]
    i_f.tiles(BM, BN)[r, c] = F.to(tb.i32)
    u_f.tiles(BM, BN)[r, c] = tb.abs(F).to(tb.u32)
    f_i.tiles(BM, BN)[r, c] = I.to(tb.f32)
    f_u.tiles(BM, BN)[r, c] = U.to(tb.f32)
    f_b.tiles(BM, BN)[r, c] = (I > 0).to(tb.f32)
    i_b.tiles(BM, BN)[r, c] = (F > 0.0).to(tb.i32)
    b_f.tiles(BM, BN)[r, c] = F.to(tb.bool).to(tb.i32)
    b_i.tiles(BM, BN)[r, c] = I.to(tb.bool).to(tb.i32)
"""
