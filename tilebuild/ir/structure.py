"""Operations of the tile dialect that hold others: a kernel, its grid, its loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, StringAttr, SymbolNameConstraint
from xdsl.ir import Block, Region, SSAValue
from xdsl.irdl import (
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.traits import IsolatedFromAbove, IsTerminator, NoTerminator

from tilebuild.ir import infer
from tilebuild.ir.base import TileOp, integer, text
from tilebuild.ir.infer import RuleError
from tilebuild.ir.types import TileType, ViewType, parse_expr
from tilebuild.plan.expr import Expr, Predicate, parse_predicates


@irdl_op_definition
class FuncOp(TileOp):
    """One kernel variant: arguments are views and scalars in the order of `params`, each with its place in the
    source in `param_spans` where there is one.

    `when`, `target` and `otherwise` say, where they are there, which calls and targets the variant is for, and which
    kernel takes the rest.
    """

    name = "tile.func"
    sym_name = prop_def(SymbolNameConstraint())
    params = prop_def(ArrayAttr[StringAttr])
    param_spans = opt_prop_def(ArrayAttr[StringAttr])
    dims = prop_def(ArrayAttr[StringAttr])
    consts = prop_def(DictionaryAttr)
    requires = prop_def(ArrayAttr[StringAttr])
    file = prop_def(StringAttr)
    variant = prop_def(StringAttr)
    when = opt_prop_def(StringAttr)
    target = opt_prop_def(StringAttr)
    otherwise = opt_prop_def(StringAttr)
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove(), NoTerminator())

    def __init__(
        self,
        name: str,
        variant: str,
        block: Block,
        *,
        params: Sequence[str],
        dims: Sequence[str],
        consts: Mapping[str, int],
        requires: Sequence[str],
        file: str,
        when: str = "",
        target: str = "",
        otherwise: str = "",
    ) -> None:
        chosen = {"when": when, "target": target, "otherwise": otherwise}
        super().__init__(
            properties={
                "sym_name": StringAttr(name),
                "variant": StringAttr(variant),
                "params": ArrayAttr(StringAttr(p) for p in params),
                "dims": ArrayAttr(StringAttr(d) for d in dims),
                "consts": DictionaryAttr({k: integer(v) for k, v in sorted(consts.items())}),
                "requires": ArrayAttr(StringAttr(r) for r in requires),
                "file": StringAttr(file),
                **{k: StringAttr(v) for k, v in chosen.items() if v},
            },
            regions=[Region(block)],
        )

    def check(self) -> None:
        types = [a.type for a in self.body.block.args]
        if len(self.params) != len(types):
            raise RuleError("E209", f"{len(self.params)} names for {len(types)} parameters")
        if self.param_spans is not None and len(self.param_spans) != len(types):
            raise RuleError("E209", f"{len(self.param_spans)} spans for {len(types)} parameters")
        for t in types:
            if isinstance(t, TileType):
                raise RuleError("E209", f"a parameter is an array or a scalar, found {infer.describe(t)}")
            infer.dtype_of(t)
        for fact in self.requires:
            parse_predicates(fact.data)
        if sum(isinstance(op, ProgramOp) for op in self.body.walk()) != 1:
            raise RuleError("E111", "a kernel has one tile.program, at its top")
        if not any(isinstance(op, ProgramOp) for op in self.body.block.ops):
            raise RuleError("E111", "tile.program stands inside a loop")

    @property
    def program(self) -> ProgramOp:
        """The grid declaration; raises ValueError where the verifier would."""
        for op in self.body.block.ops:
            if isinstance(op, ProgramOp):
                return op
        raise ValueError(f"{self.sym_name.data} declares no program")


@irdl_op_definition
class ProgramOp(TileOp):
    """The logical grid: program id `ids[a]` runs over `[0, extents[a])`."""

    name = "tile.program"
    ids = prop_def(ArrayAttr[StringAttr])
    extents = prop_def(ArrayAttr[StringAttr])
    order = prop_def(StringAttr)

    def __init__(self, ids: Sequence[str], extents: Sequence[Expr], order: str = "row") -> None:
        super().__init__(
            properties={
                "ids": ArrayAttr(StringAttr(i) for i in ids),
                "extents": ArrayAttr(text(e) for e in extents),
                "order": StringAttr(order),
            }
        )

    def check(self) -> None:
        if len(self.ids) != len(self.extents) or not self.grid:
            raise RuleError("E209", f"{len(self.ids)} program ids for {len(self.extents)} extents")

    @property
    def grid(self) -> list[tuple[str, Expr]]:
        return [(i.data, parse_expr(e.data)) for i, e in zip(self.ids, self.extents)]


@irdl_op_definition
class AssumeOp(TileOp):
    """Facts on program ids and dimensions, which conditions in the kernel's `requires` imply for every program. They
    stand before everything that computes."""

    name = "tile.assume"
    facts = prop_def(ArrayAttr[StringAttr])

    def __init__(self, facts: Sequence[str]) -> None:
        super().__init__(properties={"facts": ArrayAttr(StringAttr(f) for f in facts)})

    @property
    def predicates(self) -> list[Predicate]:
        return [p for f in self.facts for p in parse_predicates(f.data)]

    def check(self) -> None:
        self.predicates  # noqa: B018


@irdl_op_definition
class YieldOp(TileOp):
    name = "tile.yield"
    values = var_operand_def()
    traits = traits_def(IsTerminator())

    def __init__(self, values: Sequence[SSAValue]) -> None:
        super().__init__(operands=[list(values)])

    def check(self) -> None:
        if not isinstance(self.parent_op(), ForOp):
            raise RuleError("E209", "tile.yield ends the body of a tile.for")


@irdl_op_definition
class ForOp(TileOp):
    """`id` runs over `[lower, upper)`; the block's arguments carry values from one iteration to the next.
    `stages` > 1 asks for that many buffers of what the body loads."""

    name = "tile.for"
    id = prop_def(StringAttr)
    lower = prop_def(StringAttr)
    upper = prop_def(StringAttr)
    stages = prop_def(IntegerAttr)
    inits = var_operand_def()
    outs = var_result_def()
    body = region_def("single_block")

    def __init__(
        self, id: str, lower: Expr, upper: Expr, inits: Sequence[SSAValue], body: Block, *, stages: int = 1
    ) -> None:
        super().__init__(
            operands=[list(inits)],
            result_types=[[v.type for v in inits]],
            properties={"id": StringAttr(id), "lower": text(lower), "upper": text(upper), "stages": integer(stages)},
            regions=[Region(body)],
        )

    @property
    def bounds(self) -> tuple[Expr, Expr]:
        return parse_expr(self.lower.data), parse_expr(self.upper.data)

    @property
    def yielded(self) -> YieldOp:
        return cast(YieldOp, self.body.block.last_op)

    def check(self) -> None:
        self.bounds  # noqa: B018
        if self.stages.value.data < 1:
            raise RuleError("E209", "a loop has at least one stage")
        groups = (self.inits, self.body.block.args, self.yielded.values, self.outs)
        types = [[v.type for v in g] for g in groups]
        if any(t != types[0] for t in types[1:]):
            raise RuleError("E304", "loop-carried values must have one type on entry, in the body and on exit")
        for t in types[0]:
            if isinstance(t, ViewType):
                raise RuleError("E304", f"a loop carries tiles and scalars, not an {infer.describe(t)}")
            infer.dtype_of(t)
