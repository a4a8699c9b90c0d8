"""What a loop carries: which names, narrowed to which valid region, and what is left after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_source import findings, in_kernel, lowered, write

from tilebuild.ir.dialect import ForOp, FuncOp, NarrowOp
from tilebuild.ir.types import TileType
from tilebuild.ir.verifier import verify

CLIP = ("min(4, M - 4*i)", "min(8, N - 8*j)")
FULL = ("4", "8")


def kernel(folder: Path, body: str) -> FuncOp:
    write(folder, in_kernel(body))
    (func,) = lowered(folder)
    assert [d for d in verify(func) if d.severity == "error"] == []
    return func


def loops(func: FuncOp) -> list[ForOp]:
    return [op for op in func.body.walk() if isinstance(op, ForOp)]


def valid(loop: ForOp) -> list[tuple[str, ...]]:
    return [tuple(map(str, v.type.valid)) for v in loop.outs if isinstance(v.type, TileType)]


CARRIED = {
    # body of a loop over c, given t = X[i, j] (clipped), u = zeros and w = full of 2.0 (full); then Y = t + u + w:
    # how many values are carried, and the valid region of each
    "nothing": ("a = X[i, j]", []),
    "an accumulator": ("u = u + 1.0", [FULL]),
    "an accumulator that is clipped": ("u = u + X[i, j]", [CLIP]),
    "augmented": ("u += X[i, j]", [CLIP]),
    "written first": ("u = X[i, j]\nw = u", [CLIP, CLIP]),
    "a chain": ("w = u\nu = t", [CLIP, CLIP]),
    "an exchange": ("u, w = w, u", [FULL, FULL]),
    "an exchange of different regions": ("t, u = u, t", [CLIP, CLIP]),
    "a circle of three": ("t, u, w = u, w, t", [CLIP, CLIP, CLIP]),
    "under a condition": ("if BM > 2:\n    u = u + 1.0\nelse:\n    w = w + 1.0", [FULL, FULL]),
    "in a loop inside": ("for d in tb.range(2):\n    u = u + X[i, j]", [CLIP]),
    "unrolled": ("for d in tb.unroll(3):\n    u = u + 1.0", [FULL]),
    "filled again": ("u = (u + X[i, j]).fill(0.0)", [FULL]),
}


@pytest.mark.parametrize("name", CARRIED)
def test_carried(name: str, tmp_path: Path) -> None:
    body, expected = CARRIED[name]
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    start = "t, u, w = X[i, j], tb.zeros((BM, BN)), tb.full((BM, BN), 2.0)"
    func = kernel(tmp_path, f"{start}\nfor c in tb.range(5):\n{lines}\nY[i, j] = t + u + w")
    outer = loops(func)[0]
    assert valid(outer) == expected
    # every narrowed start is used, and what was discarded while narrowing left nothing behind
    narrows = [op for op in func.body.walk() if isinstance(op, NarrowOp)]
    assert all(op.result.has_one_use() for op in narrows)
    live = set(func.body.walk())
    values = [*func.body.block.args, *(r for op in live for r in op.results)]
    assert all(use.operation in live for v in values for use in v.uses)
    assert [op.id.data for op in loops(func)] == ["c", "d"][: len(loops(func))]


def test_many_that_follow_each_other(tmp_path: Path) -> None:
    """A shift register narrows one tile a round."""
    n = 9
    start = "".join(f"t{k} = tb.zeros((BM, BN))\n" for k in range(n))
    shift = "".join(f"    t{k} = t{k + 1}\n" for k in range(n - 1))
    func = kernel(tmp_path, f"{start}for c in tb.range(3):\n{shift}    t{n - 1} = X[i, j]\nY[i, j] = t0")
    assert valid(loops(func)[0]) == [CLIP] * n


def test_scalars_are_carried(tmp_path: Path) -> None:
    func = kernel(tmp_path, "a = 1.0\nfor c in tb.range(3):\n    a = a * s\nY[i, j] = X[i, j] * a")
    (loop,) = loops(func)
    assert [str(v.type) for v in loop.outs] == ["f32"]


def test_the_variable_of_an_inner_loop_is_not_carried(tmp_path: Path) -> None:
    body = "acc = tb.zeros((BM, BN))\nfor c in tb.range(3):\n    for d in tb.range(2):\n        acc += X[i, j] * d\n"
    func = kernel(tmp_path, f"d = 2\n{body}Y[i, j] = acc")
    assert [len(loop.outs) for loop in loops(func)] == [1, 1]


def test_an_unrolled_loop_is_python(tmp_path: Path) -> None:
    """Names keep their last values, the variable too."""
    func = kernel(tmp_path, "a = 1\nfor c in tb.unroll(4):\n    a = a * 2\nY[i, j] = X[i, j] * (a + c)")
    assert 'value = "19.0"' in str(func)
    assert loops(func) == []


def test_a_condition_known_while_building(tmp_path: Path) -> None:
    body = "if BM == 4 and not BN < 8:\n    a = 3\nelif unknown:\n    a = 4\nelse:\n    pass\n"
    assert 'value = "3.0"' in str(kernel(tmp_path, f"{body}Y[i, j] = X[i, j] * (a if BM else 0)"))


def test_integers_that_must_be_exact_become_facts(tmp_path: Path) -> None:
    loop = "for c in tb.range(5):\n    for d in tb.range(tb.cdiv(N, 8)):\n        u = u * (d * c + M)\n"
    func = kernel(tmp_path, f"u = X[i, j] / N\n{loop}Y[i, j] = u")
    assert [f.data for f in func.requires] == ["N <= 16777216", "4*((N + 7) // 8) + M - 4 <= 16777216"]


def test_a_requirement_is_a_fact_for_proofs(tmp_path: Path) -> None:
    body = "tb.require(N <= 8, M % 4 == 0)\nY[i, 0] = X[i, 0]"
    write(
        tmp_path, in_kernel(body).replace("tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))", "tb.program(tb.cdiv(M, BM), 1)")
    )
    assert [d.code for d in findings(tmp_path)] == []
    (func,) = lowered(tmp_path)
    assert [f.data for f in func.requires] == ["N <= 8", "M % 4 == 0"]


def test_a_dimension_of_one_value_is_a_number(tmp_path: Path) -> None:
    write(tmp_path, in_kernel("tb.require(N == 8)\nY[i, j] = x.tiles(BM, N)[i, j]"))
    assert findings(tmp_path) == []


def test_the_grid_takes_its_names_from_the_assignment(tmp_path: Path) -> None:
    grid = "tb.program(tb.cdiv(M, BM), tb.cdiv(N, BN))"
    text = in_kernel("Y[i, j] = X[i, j]")
    for target, names, use in (
        ("i, j", "i,j", ""),
        ("p", "p,p_1", "    i, j = p\n"),
        ("M_1, x", "M_1,x", "    i, j = M_1, x\n"),
    ):
        write(
            tmp_path,
            text.replace(f"    i, j = {grid}\n", f"    {target} = {grid}\n{use}").replace("x.tiles", "z.tiles"),
        )
        (func,) = lowered(tmp_path)
        assert ",".join(name for name, _ in func.program.grid) == names
