"""The dialect's types: `!tile.tile<4x1024xf32, "min(4, M - 4*i)", "N">` and
`!tile.view<f32, "in", ["M", "N"], ["x__s0", "1"], "0">` (dtype, mode, extents, strides, offset; in elements)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    BFloat16Type,
    Float16Type,
    Float32Type,
    IntAttr,
    IntegerType,
    Signedness,
    StringAttr,
    i1,
    i8,
    i32,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from tilebuild.plan.expr import Expr, ExprError, ExprLike, parse

DTYPES: dict[str, Attribute] = {
    "bool": i1,
    "i8": i8,
    "u8": IntegerType(8, Signedness.UNSIGNED),
    "i32": i32,
    "u32": IntegerType(32, Signedness.UNSIGNED),
    "f16": Float16Type(),
    "bf16": BFloat16Type(),
    "f32": Float32Type(),
}
_NAMES = {v: k for k, v in DTYPES.items()}
MODES = ("in", "out", "inout")


def dtype_name(element: Attribute) -> str:
    """The language's name of an element type; raises KeyError for a type the language lacks."""
    return _NAMES[element]


parse_expr = functools.lru_cache(maxsize=65536)(parse)


def _expr(attribute: StringAttr) -> Expr:
    return parse_expr(attribute.data)


def _check_expr(attribute: StringAttr) -> None:
    try:
        _expr(attribute)
    except ExprError as e:
        raise VerifyException(str(e)) from None


@irdl_attr_definition
class TileType(ParametrizedAttribute, TypeAttribute):
    """A two-dimensional value: static extents and the valid rectangle anchored at (0, 0)."""

    name = "tile.tile"

    row_attr: IntAttr
    col_attr: IntAttr
    element: Attribute
    valid_row_attr: StringAttr
    valid_col_attr: StringAttr

    @staticmethod
    def of(shape: tuple[int, int], dtype: str, valid: tuple[ExprLike, ExprLike] | None = None) -> TileType:
        """A tile type; fully valid where `valid` is not given."""
        vr, vc = valid if valid is not None else shape
        return TileType(
            IntAttr(shape[0]),
            IntAttr(shape[1]),
            DTYPES[dtype],
            StringAttr(str(Expr.of(vr))),
            StringAttr(str(Expr.of(vc))),
        )

    @property
    def shape(self) -> tuple[int, int]:
        return self.row_attr.data, self.col_attr.data

    @property
    def dtype(self) -> str:
        return dtype_name(self.element)

    @property
    def valid(self) -> tuple[Expr, Expr]:
        return _expr(self.valid_row_attr), _expr(self.valid_col_attr)

    @property
    def full(self) -> bool:
        return self.valid == tuple(Expr.of(n) for n in self.shape)

    def verify(self) -> None:
        if self.row_attr.data < 1 or self.col_attr.data < 1:
            raise VerifyException(f"[E203] tile extents must be at least 1, found {self.shape}")
        if self.element not in _NAMES:
            raise VerifyException(f"[E202] {self.element} is not a dtype of the language")
        _check_expr(self.valid_row_attr)
        _check_expr(self.valid_col_attr)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        with parser.in_angle_brackets():
            rows = parser.parse_shape_dimension(allow_dynamic=False)
            parser.parse_shape_delimiter()
            cols = parser.parse_shape_dimension(allow_dynamic=False)
            parser.parse_shape_delimiter()
            element = parser.parse_type()
            parser.parse_punctuation(",")
            vr = parser.parse_str_literal()
            parser.parse_punctuation(",")
            vc = parser.parse_str_literal()
        return [IntAttr(rows), IntAttr(cols), element, StringAttr(vr), StringAttr(vc)]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(f"{self.row_attr.data}x{self.col_attr.data}x")
            printer.print_attribute(self.element)
            for e in (self.valid_row_attr, self.valid_col_attr):
                printer.print_string(", ")
                printer.print_string_literal(e.data)


def _strings(values: Sequence[ExprLike]) -> ArrayAttr[StringAttr]:
    return ArrayAttr(StringAttr(str(Expr.of(v))) for v in values)


@irdl_attr_definition
class ViewType(ParametrizedAttribute, TypeAttribute):
    """An array in global memory, or a part of one: extents, strides and offset in elements."""

    name = "tile.view"

    element: Attribute
    mode_attr: StringAttr
    dim_attrs: ArrayAttr[StringAttr]
    stride_attrs: ArrayAttr[StringAttr]
    offset_attr: StringAttr

    @staticmethod
    def of(
        dtype: str, mode: str, dims: Sequence[ExprLike], strides: Sequence[ExprLike], offset: ExprLike = 0
    ) -> ViewType:
        return ViewType(
            DTYPES[dtype], StringAttr(mode), _strings(dims), _strings(strides), StringAttr(str(Expr.of(offset)))
        )

    @property
    def dtype(self) -> str:
        return dtype_name(self.element)

    @property
    def mode(self) -> str:
        return self.mode_attr.data

    @property
    def dims(self) -> tuple[Expr, ...]:
        return tuple(_expr(d) for d in self.dim_attrs)

    @property
    def strides(self) -> tuple[Expr, ...]:
        return tuple(_expr(s) for s in self.stride_attrs)

    @property
    def offset(self) -> Expr:
        return _expr(self.offset_attr)

    def with_(self, dims: Sequence[ExprLike], strides: Sequence[ExprLike], offset: ExprLike | None = None) -> ViewType:
        """The same array seen with other extents and strides."""
        return ViewType.of(self.dtype, self.mode, dims, strides, self.offset if offset is None else offset)

    def verify(self) -> None:
        if self.mode not in MODES:
            raise VerifyException(f"view mode {self.mode!r} is not one of {', '.join(MODES)}")
        if len(self.dim_attrs) != len(self.stride_attrs):
            raise VerifyException("a view has one stride a dimension")
        if self.element not in _NAMES:
            raise VerifyException(f"[E202] {self.element} is not a dtype of the language")
        for e in (*self.dim_attrs, *self.stride_attrs, self.offset_attr):
            _check_expr(e)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        def strings() -> ArrayAttr[StringAttr]:
            parser.parse_punctuation(",")
            items = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_str_literal)
            return ArrayAttr(StringAttr(s) for s in items)

        with parser.in_angle_brackets():
            element = parser.parse_type()
            parser.parse_punctuation(",")
            mode = parser.parse_str_literal()
            dims, strides = strings(), strings()
            parser.parse_punctuation(",")
            offset = parser.parse_str_literal()
        return [element, StringAttr(mode), dims, strides, StringAttr(offset)]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_attribute(self.element)
            printer.print_string(f', "{self.mode}"')
            for group in (self.dim_attrs, self.stride_attrs):
                printer.print_string(", [")
                printer.print_list(group, lambda s: printer.print_string_literal(s.data))
                printer.print_string("]")
            printer.print_string(", ")
            printer.print_string_literal(self.offset_attr.data)
