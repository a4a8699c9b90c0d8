"""`.mlir` files as kernel sources: functions of the tile dialect, and functions that call tile intrinsics.

A `tile.func` is one variant of the kernel that its `variant` names (its own name, where it names none); what Python
kernels get from the front end is checked here: names, strides, dimensions, the grid, exact indices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, IntegerAttr, StringAttr
from xdsl.ir import Operation

from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.frontend import mlir_text
from tilebuild.frontend.mlir_rules import problems
from tilebuild.frontend.mlir_text import Module, word
from tilebuild.frontend.signature import KernelDef, ParameterDef, VariantDef, require_values
from tilebuild.ir.base import TileOp
from tilebuild.ir.dialect import FuncOp
from tilebuild.ir.infer import dtype_of
from tilebuild.ir.spans import set_span
from tilebuild.ir.types import ViewType
from tilebuild.plan.expr import parse_predicates


@dataclass(frozen=True)
class MlirKernel(KernelDef):
    """A kernel whose variants are functions of the dialect already, in the order of `variants`."""

    functions: tuple[FuncOp, ...]

    def lower(self, variant: VariantDef, name: str) -> FuncOp:
        """L1 of one variant, called `name`."""
        func: FuncOp = self.functions[self.variants.index(variant)].clone()
        func.sym_name = StringAttr(name)
        return func


def read(module: str, file: str, path: Path) -> list[MlirKernel]:
    """The kernels of a `.mlir` file, in file order; `file` is its name in messages.

    Raises `TilebuildError` with what is wrong: E100 where it cannot be read, E130 where it is no MLIR, and everything
    that the operations and the kernels break.
    """
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise TilebuildError(Diagnostic("E100", f"is not UTF-8: {e.reason}", Span(file, 1))) from None
    parsed = mlir_text.parse(text, file)
    digest = hashlib.sha256(file.encode() + b"\0" + data + b"\0").hexdigest()
    found: list[Diagnostic] = []
    variants: dict[str, list[FuncOp]] = {}
    for op in _functions(parsed.top):
        try:
            func = _function(op, parsed)
        except TilebuildError as e:
            found += e.diagnostics
            continue
        if func is not None:
            variants.setdefault(func.variant.data, []).append(func)
    kernels: list[MlirKernel] = []
    for name, functions in variants.items():
        try:
            kernels.append(_kernel(module, name, functions, digest))
        except TilebuildError as e:
            found += e.diagnostics
    if not (found or kernels):
        fix = 'a kernel is a "tile.func", or an llvm.func with the attribute hacc.entry'
        found.append(Diagnostic("E133", "the file holds no kernel", Span(file, 1), fix=fix))
    if found:
        raise TilebuildError(list(dict.fromkeys(found)))
    return kernels


def _functions(top: Sequence[Operation]) -> Iterator[Operation]:
    """The operations of a file, those inside nested modules too."""
    for op in top:
        if op.name == "builtin.module":
            yield from _functions(list(op.regions[0].block.ops))
        else:
            yield op


def _function(op: Operation, parsed: Module) -> FuncOp | None:
    """The L1 function that a top-level operation is, or None for one that is no kernel; raises `TilebuildError`."""
    if isinstance(op, FuncOp):
        return _dialect_function(op, parsed)
    if op.name == "llvm.func":
        from tilebuild.frontend.intrinsics import read_entry

        return read_entry(op, parsed)
    message = f"{word(op)} is neither a kernel nor a function beside one"
    fix = 'a kernel is a "tile.func", or an llvm.func with the attribute hacc.entry'
    raise TilebuildError(Diagnostic("E132", message, parsed.span(op), fix=fix))


def _dialect_function(func: FuncOp, parsed: Module) -> FuncOp:
    func.properties["file"] = StringAttr(parsed.file)
    func.properties.setdefault("variant", StringAttr(_symbol(func)))
    for name in ("dims", "requires"):
        func.properties.setdefault(name, ArrayAttr([]))
    func.properties.setdefault("consts", DictionaryAttr({}))
    found = list(mlir_text.check(parsed, func))
    for op in func.walk():
        if op is func:
            set_span(func, parsed.span(op, '"tile.func"'))
        elif isinstance(op, TileOp):
            set_span(op, parsed.span(op))
        else:
            fix = "a tile.func holds operations of the tile dialect"
            found.append(Diagnostic("E132", f"{word(op)} has no meaning in a kernel", parsed.span(op), fix=fix))
    found = found or list(problems(func, parsed))
    if found:
        raise TilebuildError(found)
    if func.when:  # what a guard says is a fact inside
        facts = [str(p) for p in parse_predicates(func.when.data)]
        known = [f.data for f in func.requires]
        func.requires = ArrayAttr([*func.requires, *(StringAttr(f) for f in facts if f not in known)])
    return func


def _symbol(func: FuncOp) -> str:
    name = func.properties.get("sym_name")
    return name.data if isinstance(name, StringAttr) else "kernel"


def _kernel(module: str, name: str, functions: Sequence[FuncOp], digest: str) -> MlirKernel:
    first = functions[0]
    parameters = _parameters(first)
    span = _span(first)
    dims = tuple(d.data for d in first.dims)
    for other in functions[1:]:
        if [(p.name, p.mode, p.dtype, p.dims) for p in _parameters(other)] != [
            (p.name, p.mode, p.dtype, p.dims) for p in parameters
        ]:
            notes = ((span, "the first variant"),)
            message = f"two variants of {name} do not have the same parameters"
            raise TilebuildError(Diagnostic("E133", message, _span(other), notes, "give both the same"))
    require_values(parameters, dict.fromkeys(dims))
    variants = tuple(
        VariantDef(
            tuple(sorted((k, cast(IntegerAttr, v).value.data) for k, v in f.consts.data.items())),
            f.when.data if f.when else "",
            f.target.data if f.target else "",
            _span(f),
        )
        for f in functions
    )
    otherwise = next((f.otherwise.data for f in functions if f.otherwise), "")
    if variants[-1].when and not otherwise:
        raise TilebuildError(
            Diagnostic(
                "E107",
                f"the last variant of {name} is guarded by {variants[-1].when!r}: some shapes have no kernel",
                variants[-1].span,
                fix="leave the last one without `when`, or name a kernel in `otherwise`",
            )
        )
    return MlirKernel(
        module, name, first.file.data, span, parameters, dims, variants, otherwise, (), digest, tuple(functions)
    )


def _span(func: FuncOp) -> Span:
    from tilebuild.ir.spans import span_of

    found = span_of(func, func.file.data)
    assert found is not None
    return found


def _parameters(func: FuncOp) -> tuple[ParameterDef, ...]:
    return tuple(
        ParameterDef(name.data, arg.type.mode, arg.type.dtype, arg.type.dims, _span(func))
        if isinstance(arg.type, ViewType)
        else ParameterDef(name.data, "scalar", dtype_of(arg.type), (), _span(func))
        for name, arg in zip(func.params, func.body.block.args)
    )
