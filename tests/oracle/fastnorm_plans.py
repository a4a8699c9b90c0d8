"""The plans of the example package, lowered here for every target, and what its kernels compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tilebuild.diagnostics import TilebuildError
from tilebuild.frontend.discover import discover
from tilebuild.frontend.library import library
from tilebuild.frontend.python import lower_kernel
from tilebuild.plan import planner
from tilebuild.plan.model import Plan
from tilebuild.targets.cpu.lower import lower as lower_cpu
from tilebuild.targets.gpu.limits import limits
from tilebuild.targets.pto.lower import lower as lower_pto
from tilebuild.targets.pto.place import place as place_pto
from tilebuild.targets.simt.lower import lower as lower_simt
from tilebuild.targets.simt.mapping import Limits
from tilebuild.targets.simt.place import place as place_simt

FASTNORM = Path(__file__).parents[2] / "examples" / "fastnorm"
VULKAN = Limits("spirv", "vulkan1.2", 128, 0, 16384, 128, 0, 1, (8, 16))
TARGETS: Mapping[str, Callable[[Any], Plan]] = {
    "cpu": lambda f: planner.place(lower_cpu(f, "x86-64")),
    "gpu": lambda f: place_simt(lower_simt(f, limits("sm_80"))),
    "spirv": lambda f: place_simt(lower_simt(f, VULKAN)),
    "pto": lambda f: place_pto(lower_pto(f, "a2a3")),
}


@cache
def fastnorm() -> dict[str, Plan]:
    """By "kernel variant target"; a variant that does not fit a target is left out."""
    found = {}
    for kernel in discover(FASTNORM, ["src/fastnorm/kernels"]):
        for target, make in TARGETS.items():
            for n, variant in enumerate(v for v in kernel.variants if v.target in ("", target)):
                try:
                    plan = make(lower_kernel(kernel, variant, f"{kernel.name}_{n}", library()))
                except TilebuildError:
                    continue
                found[f"{kernel.name} {n} {target}"] = plan
    return found


def expected(kernel: str, arrays: Mapping[str, Any], scalars: Mapping[str, float]) -> Any:
    """What a kernel gives for these arrays and scalars, in float64."""
    a = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
    x = a.get("x", np.zeros((1, 1)))
    shifted = x + a["b"] if kernel == "bias_gelu_residual" else x
    results: dict[str, Callable[[], Any]] = {
        "add": lambda: x + a["y"],
        "scale": lambda: scalars["s"] * x,
        "gelu": lambda: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
        "bias_gelu_residual": lambda: (
            0.5 * shifted * (1 + np.tanh(math.sqrt(2 / math.pi) * (shifted + 0.044715 * shifted**3))) + a["r"]
        ),
        "matmul": lambda: a["a"] @ a["b"],
        "softmax": lambda: (
            np.exp(x - x.max(1, keepdims=True)) / np.exp(x - x.max(1, keepdims=True)).sum(1, keepdims=True)
        ),
        "layernorm": lambda: (
            (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + scalars["eps"]) * a["w"] + a["b"]
        ),
        "rmsnorm": lambda: x / np.sqrt((x * x).mean(1, keepdims=True) + scalars["eps"]) * a["w"],
    }
    return results[kernel.removesuffix("_online")]()
