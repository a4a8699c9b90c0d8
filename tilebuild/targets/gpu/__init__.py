"""The gpu target: header-free CUDA C++, compiled for each architecture by NVRTC or nvcc, one fatbin for all kernels.

The commands of a build's edges run modules of this package, so that importing it imports nothing else.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "TARGET":
        from tilebuild.targets.gpu.target import TARGET

        return TARGET
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
