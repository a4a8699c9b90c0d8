"""Random plans: any data at all for the JSON codec, and well formed programs for the planner."""

from __future__ import annotations

from dataclasses import replace

from expr_trees import build_tree, trees
from hypothesis import strategies as st

from tilebuild.diagnostics import Span
from tilebuild.plan.expr import Expr, ExprError, Predicate, const
from tilebuild.plan.model import (
    Access,
    Buffer,
    Contract,
    Distributed,
    Edge,
    Fused,
    Global,
    Instr,
    Launch,
    Layout,
    Parameter,
    Placed,
    Plan,
    Region,
    Slice,
    Space,
    Symbol,
    Unplaced,
)


def _expr(tree: object) -> Expr:
    try:
        return build_tree(tree)
    except ExprError:  # a constant division by zero
        return const(1)


TEXT = st.text(max_size=6)
SMALL = st.integers(-(2**70), 2**70)
EXPRS = trees(leaves=4).map(_expr)
SPANS = st.none() | st.builds(Span, TEXT, SMALL, SMALL, SMALL, SMALL)
PREDICATES = st.builds(Predicate, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), EXPRS, EXPRS)
STORAGES = st.one_of(
    st.builds(Placed, TEXT, SMALL, SMALL),
    st.builds(Distributed, TEXT),
    st.just(Fused()),
    st.builds(Global, TEXT, EXPRS, st.tuples(EXPRS, EXPRS)),
)


def few(items: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=2).map(tuple)


SLICES = st.builds(Slice, EXPRS, EXPRS, SMALL)
ACCESSES = st.builds(Access, TEXT, SLICES, SLICES, st.tuples(EXPRS, EXPRS))
ATTRS = st.dictionaries(TEXT, SMALL | TEXT, max_size=2).map(lambda d: tuple(sorted(d.items())))
PLANS = st.builds(
    Plan,
    target=TEXT,
    arch=TEXT,
    kernel=TEXT,
    variant=TEXT,
    source=TEXT,
    contract=st.builds(Contract, few(st.builds(Parameter, TEXT, TEXT, TEXT, few(EXPRS))), few(PREDICATES)),
    symbols=few(st.builds(Symbol, TEXT, TEXT, st.none() | EXPRS, st.none() | EXPRS)),
    spaces=few(st.builds(Space, TEXT, SMALL, SMALL)),
    buffers=few(
        st.builds(
            Buffer, TEXT, STORAGES, TEXT, EXPRS, EXPRS, st.builds(Layout, TEXT, TEXT, SMALL, TEXT), SMALL, SMALL, TEXT,
            SPANS,
        )
    ),
    regions=few(
        st.builds(
            Region, SMALL, SMALL, TEXT, TEXT, st.none() | EXPRS, st.none() | EXPRS, SMALL,
            st.none() | st.tuples(EXPRS, EXPRS), few(PREDICATES), SPANS,
        )
    ),
    instructions=few(st.builds(Instr, SMALL, TEXT, few(ACCESSES), few(ACCESSES), SMALL, TEXT, ATTRS, SPANS)),
    launch=st.builds(Launch, few(EXPRS), TEXT, few(SMALL), SMALL, SMALL, SMALL, SMALL, SMALL, SMALL, EXPRS),
    edges=few(st.builds(Edge, SMALL, SMALL, TEXT, TEXT, SMALL)),
)  # fmt: skip

ONE = const(1)
_WHOLE = Slice(const(0), ONE)


def access(buffer: str) -> Access:
    return Access(buffer, _WHOLE, _WHOLE, (ONE, ONE))


def program(regions: list[Region], instructions: list[Instr], sizes: dict[str, int], capacity: int = 1 << 30) -> Plan:
    """A plan whose buffers are not placed yet, in one space `arena` with an alignment of 16 bytes."""
    return Plan(
        "cpu", "test", "k", "k_0", "k.py", Contract(()), (), (Space("arena", capacity, 16),),
        tuple(Buffer(name, Unplaced("arena", size), "f32", ONE, ONE) for name, size in sizes.items()),
        tuple(regions), tuple(instructions), Launch((ONE,)),
    )  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> Plan:
    """A region tree of loops, nests and branches, four levels deep, with instructions that read and write tiles."""
    names = [f"t{i}" for i in range(draw(st.integers(2, 6)))]
    sizes = {n: draw(st.integers(1, 100)) for n in names}
    regions = [Region(0, 0, "program")]
    instructions: list[Instr] = []
    tiles = st.lists(st.sampled_from(names), max_size=2)

    def fill(region: int, depth: int) -> None:
        for _ in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(["instr", "instr", "loop", "nest", "branch"])) if depth < 3 else "instr"
            if kind == "instr" or regions[region].kind == "nest":
                reads, writes = (tuple(map(access, draw(tiles))) for _ in range(2))
                instructions.append(Instr(len(instructions), "op", reads, writes[:1], region))
            else:
                regions.append(Region(len(regions), region, kind, lower=const(0), upper=const(3)))
                fill(len(regions) - 1, depth + 1)

    fill(0, 0)
    plan = program(regions, instructions, sizes)
    return replace(plan, regions=tuple(regions))
