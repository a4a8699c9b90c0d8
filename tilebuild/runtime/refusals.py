"""What is said when a call does not meet its contract: one function an error, each with both facts and the fix.

None of this runs on the path of a call that is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tilebuild.diagnostics import did_you_mean
from tilebuild.manifest import KernelEntry
from tilebuild.runtime.arrays import COPIED, CPU, DEVICE_NAMES, ExportError, View, framework
from tilebuild.runtime.dtypes import DTYPES, describe
from tilebuild.runtime.errors import LaunchError

if TYPE_CHECKING:
    from tilebuild.runtime.parameters import ArraySpec


def arguments(kernel: KernelEntry, fact: str, signature: str) -> LaunchError:
    return LaunchError(
        "E810",
        f"{fact}, and the call is {kernel['name']}({signature})",
        kernel=kernel,
        fix="give every parameter once; only those in [] may be left out",
    )


def unknown_keyword(kernel: KernelEntry, name: str, known: Sequence[str], signature: str) -> LaunchError:
    return arguments(kernel, f"{kernel['name']} has no parameter {name}{did_you_mean(name, known)}", signature)


def export(kernel: KernelEntry, p: ArraySpec, error: ExportError) -> LaunchError:
    fix = error.fix or _make(p)
    return LaunchError(
        error.code, f"{p.name} {error}; {kernel['name']} takes {p.dtype.name} arrays there", kernel=kernel, fix=fix
    )


def dtype(kernel: KernelEntry, p: ArraySpec, value: Any, view: View) -> LaunchError:
    given = describe(view.dtype)
    fix = _make(p)
    if not p.written and p.dtype.numpy:
        fix = {
            "numpy": f'pass {p.name}.astype("{p.dtype.numpy}")',
            "torch": f"pass {p.name}.to(torch.{p.dtype.torch})",
        }.get(framework(value), f"convert {p.name} to {p.dtype.numpy}")
    elif not p.written:
        fix = f"pass {p.name}.to(torch.{p.dtype.torch}); NumPy has no such dtype"
    supported = "" if given in DTYPES else f" ({given} is not one of tilebuild's dtypes)"
    return LaunchError(
        "E812", f"{p.name} is {given}{supported}, and {kernel['name']} takes {p.dtype.name}", kernel=kernel, fix=fix
    )


def rank(kernel: KernelEntry, p: ArraySpec, view: View) -> LaunchError:
    return LaunchError(
        "E813",
        f"{p.name} has {len(view.shape)} dimensions, shape {view.shape}, and {kernel['name']} takes "
        f"{len(p.dims)}: [{', '.join(p.dims)}]",
        kernel=kernel,
        fix=f"reshape {p.name} to [{', '.join(p.dims)}]",
    )


def device(kernel: KernelEntry, p: ArraySpec, view: View, memory: Mapping[str, frozenset[int]]) -> LaunchError:
    """`memory`: what each target that could be taken reads."""
    readable = "; ".join(f"{t} reads {', '.join(map(_device, sorted(kinds)))}" for t, kinds in memory.items())
    host = any(CPU in kinds for kinds in memory.values())
    return LaunchError(
        "E814",
        f"{p.name} is in {_device(view.device)} memory, which no target of {kernel['name']} that can run here reads",
        kernel=kernel,
        notes=(readable,),
        fix=f"pass {p.name}.cpu()" if host and not p.written else f"pass {p.name} in memory that is read",
    )


def not_writable(kernel: KernelEntry, p: ArraySpec, value: Any, view: View) -> LaunchError:
    state = "gives only a copy of its memory" if view.flags & COPIED else "is read-only"
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return LaunchError(
        "E815", f"{p.name} ({kind}) {state}, and {kernel['name']} writes it", kernel=kernel,
        fix=f"pass a writable array, e.g. {p.name}.copy(), or leave the output out" if p.mode == "out"
        else f"pass a writable array, e.g. {p.name}.copy()",
    )  # fmt: skip


def dimension(kernel: KernelEntry, arrays: Sequence[ArraySpec], views: Sequence[Any], name: str) -> LaunchError:
    facts = [
        (view.shape[axis], f"{p.name} of shape {view.shape} has {name} = {view.shape[axis]} on axis {axis}")
        for p, view in zip(arrays, views)
        if view is not None
        for axis, text in enumerate(p.dims)
        if text == name
    ]
    values = dict.fromkeys(value for value, _ in facts)
    return LaunchError(
        "E816",
        f"the dimension {name} of {kernel['name']} is {' and '.join(map(str, values))} in one call",
        kernel=kernel,
        notes=tuple(fact for _, fact in facts),
        fix=f"give all of them the same {name}",
    )


def extent(
    kernel: KernelEntry, p: ArraySpec, axis: int, view: View, *, expected: int, dims: Mapping[str, int]
) -> LaunchError:
    shape = tuple(expected if i == axis else e for i, e in enumerate(view.shape))
    return LaunchError(
        "E817",
        f"axis {axis} of {p.name}, shape {view.shape}, is {view.shape[axis]}, and {kernel['name']} takes "
        f"{p.dims[axis]} = {expected} there",
        kernel=kernel,
        notes=_dims(dims),
        fix=f"pass {p.name} of shape {shape}",
    )


def no_extent(kernel: KernelEntry, p: ArraySpec, axis: int, dims: Mapping[str, int]) -> LaunchError:
    return LaunchError(
        "E817",
        f"axis {axis} of {p.name} is {p.dims[axis]} in {kernel['name']}, which is no extent for these dimensions",
        kernel=kernel,
        notes=_dims(dims),
        fix=f"pass arrays for which {p.dims[axis]} is at least 1",
    )


def unknown_extent(kernel: KernelEntry, p: ArraySpec, names: Sequence[str]) -> LaunchError:
    return LaunchError(
        "E824",
        f"the output {p.name} of {kernel['name']} was left out, and no input tells its dimension {', '.join(names)}",
        kernel=kernel,
        fix=_make(p),
    )


def stride(kernel: KernelEntry, p: ArraySpec, value: Any, view: View) -> LaunchError:
    fix = {"numpy": f"pass numpy.ascontiguousarray({p.name})", "torch": f"pass {p.name}.contiguous()"}
    return LaunchError(
        "E818",
        f"the innermost stride of {p.name} is {view.strides[-1]} elements (shape {view.shape}, strides "
        f"{view.strides}), and {kernel['name']} takes 1",
        kernel=kernel,
        fix=_make(p) if p.written else fix.get(framework(value), f"pass a contiguous copy of {p.name}"),
    )


def alignment(kernel: KernelEntry, p: ArraySpec, view: View) -> LaunchError:
    return LaunchError(
        "E826",
        f"the first element of {p.name} is at address {view.pointer:#x}, and {p.dtype.name} is aligned to "
        f"{p.dtype.bytes} bytes",
        kernel=kernel,
        fix=f"pass a copy of {p.name}",
    )


def overlap(kernel: KernelEntry, written: tuple[ArraySpec, int, int], other: tuple[ArraySpec, int, int]) -> LaunchError:
    """Each array with its first address and the one past its last."""
    p = written[0]
    return LaunchError(
        "E819",
        f"{p.name}, which {kernel['name']} writes, overlaps {other[0].name} in memory",
        kernel=kernel,
        notes=tuple(f"{q.name} is at {lo:#x}..{hi:#x}" for q, lo, hi in (written, other)),
        fix=f"pass another array for {p.name}" + (", or leave it out" if p.mode == "out" else ""),
    )


def overlaps_itself(kernel: KernelEntry, p: ArraySpec, view: View) -> LaunchError:
    return LaunchError(
        "E819",
        f"{p.name}, which {kernel['name']} writes, may have two elements at one address: shape {view.shape}, strides "
        f"{view.strides} elements",
        kernel=kernel,
        fix=_make(p),
    )


def empty(kernel: KernelEntry, arrays: Sequence[ArraySpec], views: Sequence[View]) -> LaunchError:
    shapes = tuple(f"{p.name} has shape {v.shape}" for p, v in zip(arrays, views))
    unwritten = next(p.name for p, v in zip(arrays, views) if p.written and 0 not in v.shape)
    return LaunchError(
        "E822",
        f"an array of {kernel['name']} is empty, and {unwritten} is not: nothing would write it",
        kernel=kernel,
        notes=shapes,
        fix="do not call the kernel with empty inputs",
    )


def requirement(kernel: KernelEntry, text: str, dims: Mapping[str, int]) -> LaunchError:
    return LaunchError(
        "E820",
        f"{kernel['name']} requires {text}, which does not hold",
        kernel=kernel,
        notes=_dims(dims),
        fix=f"pass arrays for which {text}",
    )


def scalar(kernel: KernelEntry, name: str, dtype_: str, error: Exception, signature: str) -> LaunchError:
    return LaunchError(
        "E821",
        f"{name} of {kernel['name']}, {dtype_}: {error}",
        kernel=kernel,
        notes=(f"the call is {kernel['name']}({signature})",),
        fix=f"pass {name} as a Python {'bool' if dtype_ == 'bool' else 'number'} that {dtype_} can hold",
    )


def no_variant(kernel: KernelEntry, target: str, guards: Sequence[str], dims: Mapping[str, int]) -> LaunchError:
    return LaunchError(
        "E823",
        f"no variant of {kernel['name']} takes these sizes on {target}",
        kernel=kernel,
        notes=(*_dims(dims), f"the guards are {'; '.join(guards) or 'none, and no variant is built'}"),
        fix=f"add an unguarded variant, or otherwise=, to {kernel['name']} and build again",
    )


def static(kernel: KernelEntry, name: str, value: object, built: Sequence[int]) -> LaunchError:
    return LaunchError(
        "E827",
        f"{kernel['name']} is not built for {name}={value!r}: it is built for {', '.join(map(repr, built))}",
        kernel=kernel,
        fix=f"pass one of these, or add the value to {name}: tb.Static and build again",
    )


def _dims(dims: Mapping[str, int]) -> tuple[str, ...]:
    return (", ".join(f"{name} = {value}" for name, value in dims.items()),) if dims else ()


def _device(kind: int) -> str:
    return DEVICE_NAMES.get(kind, f"DLPack device {kind}")


def _make(p: ArraySpec) -> str:
    text = f"pass {p.name} as a contiguous {p.dtype.numpy or p.dtype.torch} array of shape [{', '.join(p.dims)}]"
    return text + (", or leave it out" if p.mode == "out" else "")
