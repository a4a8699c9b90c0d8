"""The spirv target: one SPIR-V module a kernel variant, written from Python, for Vulkan compute; no compiler is needed.

`grammar`, `module`, `text` and `check` know SPIR-V and nothing of plans; the others turn the plan of a block of threads
(`targets.simt`) into modules. `assemble` and `pack` are commands of the build graph.
"""

from tilebuild.targets.spirv.target import TARGET

__all__ = ["TARGET"]
