"""What the operations of the tile dialect share."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, StringAttr
from xdsl.ir import Attribute
from xdsl.irdl import IRDLOperation, opt_prop_def
from xdsl.utils.exceptions import VerifyException

from tilebuild.ir.infer import RuleError
from tilebuild.plan.expr import Expr, ExprError, ExprLike


def text(e: ExprLike) -> StringAttr:
    """An expression as an attribute."""
    return StringAttr(str(Expr.of(e)))


def integer(value: int) -> IntegerAttr:
    return IntegerAttr(value, 64)


class TileOp(IRDLOperation):
    """An optional source span, and rules reported as verifier errors."""

    span = opt_prop_def(StringAttr)

    def check(self) -> None:
        """Rules beyond the result's type; raises `RuleError`, or `ExprError` where an attribute is no expression."""

    def expected(self) -> Attribute | None:
        """The result type that the type rules give, or None where there is nothing to compare."""
        return None

    def verify_(self) -> None:
        try:
            self.check()
            expected = self.expected()
        except RuleError as e:
            raise VerifyException(str(e)) from None
        except ExprError as e:
            raise VerifyException(f"[E210] {e}") from None
        if expected is not None and self.results[0].type != expected:
            raise VerifyException(f"[E208] {self.name} has type {self.results[0].type}, the rules give {expected}")

    @property
    def operand_types(self) -> list[Attribute]:
        return [o.type for o in self.operands]
