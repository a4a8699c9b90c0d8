"""L1 to the plan of a block of threads: what is kept, what is staged, where the barriers are, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import gpu_kernels as gpu
import pytest

from tilebuild import oracle
from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import KernelDef
from tilebuild.plan import serialize
from tilebuild.plan.model import Distributed, Global, Instr, Placed, Plan
from tilebuild.targets.simt import registers
from tilebuild.targets.simt.mapping import Limits, mapping_of
from tilebuild.targets.simt.place import edges

GPU = Limits("gpu", "sm_80", 512, 32, 163 * 1024, 192, 65536, 4, (16, 16))
NO_SHUFFLES = dataclasses.replace(GPU, warp=0, vector=1)


def plan(name: str, number: int = 0, machine: Limits = GPU) -> Plan:
    kernel = gpu.fastnorm()[name]
    return gpu.plan(kernel, gpu.variants(kernel)[number], f"{name}_{number}", machine)


def ops(p: Plan) -> list[str]:
    return [i.op for i in p.instructions]


def loads(p: Plan) -> list[Instr]:
    return [i for i in p.instructions if i.op in ("load", "stage")]


def test_a_row_in_a_warp_needs_no_memory() -> None:
    p = plan("softmax")
    assert p.launch.block == (32, 4)
    assert [i.attr("width") for i in p.instructions if i.op == "combine"] == [32, 32]
    assert "barrier" not in ops(p)
    assert p.launch.shared_static == 0
    assert p.edges == ()


def test_global_memory_is_touched_once() -> None:
    for number in (0, 1):
        p = plan("softmax", number)
        (load,) = loads(p)
        buffers = {b.id: b for b in p.buffers}
        assert isinstance(buffers[load.writes[0].buffer].storage, Distributed)
        assert load.attr("map") == str(mapping_of(p))
        assert ops(p).count("store") == 1


def test_a_row_in_a_block_is_reduced_through_shared_memory() -> None:
    p = plan("softmax", 1)
    assert p.launch.block == (256, 1)
    assert [o for o in ops(p) if o in ("combine", "put", "get", "barrier")] == [
        "combine", "put", "barrier", "get", "combine", "barrier", "put", "barrier", "get",
    ]  # fmt: skip
    assert p.launch.shared_static == p.scratch()["shared"] == 8 * 4  # both reductions use the same bytes


def test_without_shuffles_every_thread_puts_its_part() -> None:
    p = plan("softmax", machine=NO_SHUFFLES)
    assert "combine" not in ops(p)
    parts = [i.attr("parts") for i in p.instructions if i.op == "put"]
    assert parts == [mapping_of(p).threads] * 2


def test_a_product_is_staged() -> None:
    p = plan("matmul")
    inside = [o for o in ops(p) if o in ("stage", "dot", "barrier")]
    assert inside == ["stage", "stage", "barrier", "dot", "barrier"]
    staged = [b for b in p.buffers if isinstance(b.storage, Placed)]
    assert [b.layout.pad for b in staged] == ["zero", "zero"]
    a, b = staged
    assert a.cols.value == 32 + 4  # neighbouring rows begin in different banks
    assert b.cols.value == 128
    assert p.launch.registers * 2 * 256 == GPU.registers  # two blocks side by side


@pytest.mark.parametrize("machine", [GPU, NO_SHUFFLES], ids=["shuffles", "none"])
@pytest.mark.parametrize("name", sorted(gpu.fastnorm()))
def test_the_oracle_proves_every_plan(name: str, machine: Limits) -> None:
    for number in range(len(gpu.variants(gpu.fastnorm()[name]))):
        p = plan(name, number, machine)
        report = oracle.judge(p)
        assert [f.message for f in report.findings] == []
        assert set(oracle.verdict_entry(report)["checks"].values()) == {"proved"}
        assert serialize.loads(serialize.dumps(p)) == p


# -- edges -------------------------------------------------------------------------------------------------------------


def test_edges_name_the_barrier_between() -> None:
    p = plan("softmax", 1)
    by_id = {i.id: i for i in p.instructions}
    found = {(by_id[e.source].op, by_id[e.target].op, e.kind) for e in p.edges}
    assert found == {("put", "get", "raw"), ("get", "put", "war"), ("put", "put", "waw")}
    for e in p.edges:
        barrier = by_id[int(e.carrier.removeprefix("barrier "))]
        assert barrier.op == "barrier"
        assert e.source < barrier.id < e.target
        assert e.distance == 0


def test_edges_around_a_loop() -> None:
    p = plan("matmul")
    by_id = {i.id: i for i in p.instructions}
    around = [e for e in p.edges if e.distance == 1]
    assert {(by_id[e.source].op, by_id[e.target].op, e.kind) for e in around} == {("dot", "stage", "war")}
    last = max(i.id for i in p.instructions if i.op == "barrier")
    assert {e.carrier for e in around} == {f"barrier {last}"}


@pytest.mark.parametrize(("name", "number"), [("softmax", 1), ("softmax_online", 0), ("matmul", 0), ("layernorm", 0)])
def test_no_barrier_is_one_too_many(name: str, number: int) -> None:
    """Without any one of them there are two touches of a byte that nothing orders."""
    p = plan(name, number)
    for barrier in (i for i in p.instructions if i.op == "barrier"):
        less = dataclasses.replace(p, instructions=tuple(_moved(i) if i is barrier else i for i in p.instructions))
        with pytest.raises(AssertionError, match="no barrier between"):
            list(edges(less))


def _moved(barrier: Instr) -> Instr:
    """Something that is no barrier, in its place: instructions are numbered by their position."""
    return dataclasses.replace(barrier, op="nothing")


# -- what is refused ---------------------------------------------------------------------------------------------------

_KERNELS = """
M, N, K = tb.dims("M N K")

@tb.kernel
def turned(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, N, M]):
    i, j = tb.program(tb.cdiv(M, 8), tb.cdiv(N, 8))
    y.tiles(8, 8)[j, i] = x.tiles(8, 8)[i, j].T

@tb.kernel
def columns(a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, K, N], y: tb.Out[tb.f32, M, N]):
    i, j = tb.program(tb.cdiv(M, 16), tb.cdiv(N, 16))
    acc = tb.zeros((16, 16))
    for k in tb.range(tb.cdiv(K, 16)):
        acc = tb.dot(a.tiles(16, 16)[i, k], b.tiles(16, 16)[k, j], acc)
    y.tiles(16, 16)[i, j] = acc - acc.max(0)

@tb.kernel
def big(x: tb.In[tb.f32, M, N], y: tb.Out[tb.f32, M, N]):
    tb.require(N <= 131072)
    i = tb.program(M)
    t = x.tiles(1, 131072)[i, 0]
    y.tiles(1, 131072)[i, 0] = t / t.max(1)

@tb.kernel
def wide(a: tb.In[tb.f32, M, K], b: tb.In[tb.f32, K, N], y: tb.Out[tb.f32, M, N]):
    i, j = tb.program(tb.cdiv(M, 64), tb.cdiv(N, 64))
    acc = tb.zeros((64, 64))
    for k in tb.range(tb.cdiv(K, 1024)):
        acc = tb.dot(a.tiles(64, 1024)[i, k], b.tiles(1024, 64)[k, j], acc)
    y.tiles(64, 64)[i, j] = acc
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, KernelDef]:
    return gpu.write(tmp_path_factory.mktemp("refused"), "refusedkernels", _KERNELS)


@pytest.mark.parametrize(
    ("name", "code", "words", "line"),
    [
        ("turned", "E402", "transpose of a tile", 8),
        ("columns", "E402", "reduction over rows (axis 0) beside a matrix product", 16),
        ("big", "E421", "keeps 258 values in each of the 512 threads", 22),
        ("wide", "E401", "bytes of shared", 30),
    ],
)
def test_refusals_say_what_and_where(
    kernels: Mapping[str, KernelDef], name: str, code: str, words: str, line: int
) -> None:
    kernel = kernels[name]
    with pytest.raises(TilebuildError) as caught:
        gpu.plan(kernel, kernel.variants[0], name, GPU)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert words in diagnostic.message
    assert diagnostic.fix
    assert diagnostic.span is not None
    assert diagnostic.span.line == line


def test_the_error_for_too_many_values_lists_the_tiles(kernels: Mapping[str, KernelDef]) -> None:
    with pytest.raises(TilebuildError) as caught:
        gpu.plan(kernels["big"], kernels["big"].variants[0], "big", GPU)
    (diagnostic,) = caught.value.diagnostics
    assert "96 fit" in diagnostic.message
    assert diagnostic.notes[0][1] == "[1, 131072] of f32: 256 values a thread"


def test_the_peak_counts_what_lives_at_one_time() -> None:
    p = plan("softmax")
    most, held = registers.peak(p)
    assert most == 32 + 32 + 1 + 1  # the row, its exponentials, the maximum, and this thread's part of the sum
    assert {registers.values(b) for b in held} == {32, 1}
    assert all(registers.values(b) == 0 for b in p.buffers if isinstance(b.storage, Global))
