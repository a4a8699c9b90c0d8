"""The structural check of a module, which every module passes before it is packed. One file a group of rules; the rules
are those of the SPIR-V specification and its Vulkan environment, for the instructions in `grammar`.

It reads the module alone, never how it was made: what it accepts, it has seen to be well formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tilebuild.targets.spirv.check import flow, interface, layout, types
from tilebuild.targets.spirv.check.facts import Facts, Finding, Limits
from tilebuild.targets.spirv.module import Module

__all__ = ["Finding", "Limits", "check"]


def check(module: Module, limits: Limits) -> list[Finding]:
    """Everything that is wrong, in program order. A group of rules is asked where all groups before it hold, and may
    rely on them."""
    facts = Facts(module)
    groups: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: layout.check(module),
        lambda: flow.check(facts),
        lambda: types.check(facts),
        lambda: interface.check(facts, limits),
    )
    for group in groups:
        found = sorted(group())
        if found:
            return found
    return []
