"""From a call of `Kernel.reference` to arrays, dimensions, scalars and constants, by the contract of a launch."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from tilebuild.diagnostics import did_you_mean
from tilebuild.lang.kernel import Kernel, V
from tilebuild.lang.reference import dtypes
from tilebuild.lang.reference.dtypes import NUMPY, STORED, Values
from tilebuild.lang.reference.errors import fail
from tilebuild.lang.types import Array, Const, Dim, DType, Static
from tilebuild.manifest import KernelEntry, ParameterEntry
from tilebuild.plan.expr import parse_predicates
from tilebuild.runtime.arrays import CPU, View
from tilebuild.runtime.contract import MISSING, Contract


@dataclass(frozen=True)
class Call:
    """What one launch on the reference path works on. `function` is the body of the kernel that was chosen, `arrays`
    share the caller's memory, `views` keeps it alive; `empty` says that there is nothing to do."""

    function: FunctionType
    parameters: tuple[ParameterEntry, ...]
    arrays: Mapping[str, Values]
    scalars: Mapping[str, Any]
    dims: Mapping[str, int]
    consts: Mapping[str, int]
    views: tuple[View, ...]
    results: Any
    empty: bool


def bind(kernel: Kernel, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Check the arguments as the runtime does, with its errors (E81x, E82x), and choose the constants."""
    parameters, _ = signature(kernel)
    kwargs = dict(kwargs)
    built = static_values(kernel)
    statics = {n: _static(kernel, n, kwargs.pop(n, values[0]), values) for n, values in built.items()}
    types = {p["name"]: p["dtype"] for p in parameters}
    contract = Contract(_entry(kernel, parameters))
    values = contract.bind(args, {k: v for k, v in kwargs.items() if k in types})
    left_out = [name for name, value in zip(types, values) if value is MISSING]
    _, views, slots, results = contract.check(values)
    memory = dict(zip((p["name"] for p in parameters if p["mode"] != "scalar"), views))
    for name, view in memory.items():
        if view.device != CPU:
            fail("E814", f"{name} is not in cpu memory, where the reference path works", f"pass {name}.cpu()")
    # the contract has checked that every array with a dimension agrees on it, and that an empty array comes with
    # empty outputs only
    dims = {
        d: n for p in parameters if p["dims"] for d, n in zip(p["dims"], memory[p["name"]].shape) if d.isidentifier()
    }
    _static_sizes(kernel, dims)
    empty = any(0 in view.shape for view in views)
    function, consts = _choose(kernel, parameters, dims, {k: v for k, v in kwargs.items() if k not in types})
    arrays = {} if empty else {name: _array(view, STORED[types[name]]) for name, view in memory.items()}
    for name in arrays.keys() & set(left_out):
        poison = np.array([dtypes.poison(types[name])], NUMPY[types[name]])
        arrays[name][...] = dtypes.store(poison, types[name])
    numbers = [p["name"] for p in parameters if p["mode"] == "scalar"]
    scalars = {name: dtypes.from_slot(slot, types[name]) for name, slot in zip(numbers, slots)}
    return Call(function, parameters, arrays, scalars, dims, {**consts, **statics}, tuple(views), results, empty)


def signature(kernel: Kernel) -> tuple[tuple[ParameterEntry, ...], dict[str, int | None]]:
    """The parameters, and the constants with their defaults; annotations may be values or text. Raises E105."""
    function = kernel.__wrapped__
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    parameters: list[ParameterEntry] = []
    constants: dict[str, int | None] = {}
    for name in names:
        annotation = _annotation(function, name)
        if annotation is Static:
            continue
        if annotation is Const:
            constants[name] = (function.__kwdefaults__ or {}).get(name)
        elif isinstance(annotation, Array):
            extents = [str(e) for e in annotation.dims]
            parameters.append({"name": name, "mode": annotation.mode, "dtype": annotation.dtype.name, "dims": extents})
        elif isinstance(annotation, DType):
            parameters.append({"name": name, "mode": "scalar", "dtype": annotation.name, "dims": []})
        else:
            fail(
                "E105",
                f"parameter {name} of {kernel.__name__}: {annotation!r} is not an annotation of the language",
                "tb.In[tb.f32, M, N], tb.Out[...], tb.InOut[...], a scalar's dtype such as tb.f32, or tb.Const",
            )
    return tuple(parameters), constants


def _annotation(function: FunctionType, name: str) -> Any:
    annotation = function.__annotations__.get(name)
    while isinstance(annotation, str):  # text of a text, where annotations are not evaluated anyway
        annotation = eval(annotation, function.__globals__)
    return annotation


def static_values(kernel: Kernel) -> dict[str, tuple[int, ...]]:
    """The `tb.Static` parameters with the values that each is built for."""
    function = kernel.__wrapped__
    defaults = function.__kwdefaults__ or {}
    return {name: tuple(v) for name, v in defaults.items() if _annotation(function, name) is Static}


def _static(kernel: Kernel, name: str, value: Any, built: tuple[int, ...]) -> int:
    if not isinstance(value, int) or value not in built:
        values = ", ".join(map(repr, built))
        fail("E827", f"{kernel.__name__} is not built for {name}={value!r}: it is built for {values}")
    return built[built.index(value)]


def _static_sizes(kernel: Kernel, dims: Mapping[str, int]) -> None:
    """A static dimension has one of its values (E823)."""
    function = kernel.__wrapped__
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    for array in (a for a in (_annotation(function, n) for n in names) if isinstance(a, Array)):
        for d in array.dims:
            if isinstance(d, Dim) and d.static and dims.get(d.text) not in d.static:
                built = ", ".join(map(str, d.static))
                fail("E823", f"{kernel.__name__} is not built for {d.text}={dims.get(d.text)}: it is built for {built}")


def _entry(kernel: Kernel, parameters: tuple[ParameterEntry, ...]) -> KernelEntry:
    """The kernel as a manifest describes it, as far as a call's contract goes; `tb.require` is checked by the body."""
    code = kernel.__wrapped__.__code__
    return {
        "module": kernel.__module__, "name": kernel.__name__, "file": code.co_filename, "line": code.co_firstlineno,
        "sources": [], "sha256": "", "dims": [], "parameters": list(parameters), "requires": [], "otherwise": "",
        "variants": [],
    }  # fmt: skip


def _array(view: View, dtype: np.dtype[Any]) -> Values:
    """A non-empty array over the memory of a view, whose strides count elements and may be negative."""
    reach = [(extent - 1) * stride for extent, stride in zip(view.shape, view.strides)]
    low = sum(r for r in reach if r < 0) * dtype.itemsize
    size = (sum(abs(r) for r in reach) + 1) * dtype.itemsize
    memory = memoryview((ctypes.c_char * size).from_address(view.pointer + low))
    array: Values = np.ndarray(view.shape, dtype, memory, -low, [s * dtype.itemsize for s in view.strides])
    return array


def _choose(
    kernel: Kernel, parameters: tuple[ParameterEntry, ...], dims: Mapping[str, int], overrides: Mapping[str, Any]
) -> tuple[FunctionType, dict[str, int]]:
    """The body to run, the kernel's own or one along `otherwise`, and its constants: those of the first variant whose
    guard holds, over the defaults, under the caller's. Raises E106, E107, E810 and E823."""
    sizes = ", ".join(f"{name}={value}" for name, value in dims.items())
    tried = [kernel.__name__]
    while (variant := _variant(kernel, dims)) is None:
        following = kernel.__wrapped__.__globals__.get(kernel.otherwise) if kernel.otherwise else None
        if following is None:
            fail("E823", f"no variant of {', '.join(tried)} takes {sizes}", "add one without when=, or otherwise=")
        if not isinstance(following, Kernel) or following.__name__ in tried:
            fail("E106", f"otherwise={kernel.otherwise!r} of {kernel.__name__} names no other kernel of its module")
        if signature(following)[0] != parameters:
            fail("E106", f"{kernel.__name__} and its otherwise={kernel.otherwise!r} do not have the same parameters")
        kernel = following
        tried.append(kernel.__name__)
    _, defaults = signature(kernel)
    for name, value in overrides.items():
        if name not in defaults:
            known = did_you_mean(name, [*(p["name"] for p in parameters), *defaults])
            fail("E810", f"{kernel.__name__}, for {sizes}, has no parameter or constant {name}{known}")
        if type(value) is not int or value < 1:
            fail("E810", f"{name} = {value!r}: a tb.Const is an integer of at least 1")
    consts: dict[str, int] = {}
    for name, value in {**defaults, **variant.consts, **overrides}.items():
        if value is None:
            fail("E107", f"{name} of {kernel.__name__} has no value", f"{name}: tb.Const = 4, or tb.V({name}=4)")
        consts[name] = value
    return kernel.__wrapped__, consts


def _variant(kernel: Kernel, dims: Mapping[str, int]) -> V | None:
    """The first variant whose guard holds; a kernel without variants has one, of its defaults."""
    for variant in kernel.variants or (V(),):
        if not variant.when or all(p.holds(dims) for p in parse_predicates(variant.when)):
            return variant
    return None
