"""Outputs that the caller left out, made in the caller's own kind of array."""

from __future__ import annotations

import sys
from typing import Any

from tilebuild.manifest import KernelEntry
from tilebuild.runtime.arrays import framework
from tilebuild.runtime.dtypes import Dtype
from tilebuild.runtime.errors import LaunchError


def allocate(kernel: KernelEntry, name: str, dtype: Dtype, shape: tuple[int, ...], like: Any) -> Any:
    """An uninitialised array of the library, and on the device, of `like`; raises `LaunchError`."""
    library = framework(like)
    if library == "torch":
        torch: Any = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype.torch), device=like.device)
    if library == "numpy" and dtype.numpy:
        return sys.modules["numpy"].empty(shape, dtype.numpy)
    facts = (
        "every array was left out"
        if like is None
        else f"NumPy has no {dtype.name}"
        if library
        else f"the first array is a {type(like).__module__}.{type(like).__qualname__}, and only NumPy and torch "
        "arrays can be allocated"
    )
    raise LaunchError(
        "E824",
        f"the output {name} of {kernel['name']} was left out and cannot be allocated: {facts}",
        kernel=kernel,
        fix=f"pass {name}, of shape {shape} and dtype {dtype.name}",
    )
