"""One function as the threads of a block run it: worked out once, and only as far as a check asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

from tilebuild.diagnostics import Span
from tilebuild.oracle.readers.ptx_bounds import SharedAccesses
from tilebuild.oracle.readers.ptx_flow import Flow, FlowProblem
from tilebuild.oracle.readers.ptx_run import TooSlowError
from tilebuild.oracle.readers.ptx_text import Function, Instruction
from tilebuild.oracle.readers.ptx_threads import Threads, Trace
from tilebuild.oracle.readers.ptx_together import Together


class Kernel(Protocol):
    """What is known of a kernel."""

    @property
    def entry(self) -> Function: ...

    @property
    def block(self) -> tuple[int, ...] | None: ...

    @property
    def deadline(self) -> float: ...

    @property
    def values(self) -> Mapping[str, int]:
        """What scalar parameters are."""

    def span(self, i: Instruction) -> Span | None:
        """The source line of an instruction."""


class BlockThreads:
    """A function with its accesses to shared memory and the order of its threads."""

    def __init__(self, kernel: Kernel, shared: SharedAccesses) -> None:
        self.kernel, self.shared = kernel, shared

    def tick(self) -> None:
        """Raise `TooSlowError` when the time is over."""
        if time.thread_time() > self.kernel.deadline:
            raise TooSlowError

    @cached_property
    def problem(self) -> str:
        """Why the function's control flow cannot be followed; empty where it can."""
        if self.shared.flow is None:
            try:
                self.shared.flow = Flow(self.shared.function)
            except FlowProblem as problem:
                return str(problem)
        return ""

    @cached_property
    def together(self) -> Together:
        """The order of the threads; only where there is no `problem`."""
        assert self.shared.flow is not None
        return Together(self.shared, self.shared.flow, self.kernel.block)

    @cached_property
    def traces(self) -> list[Trace]:
        """What is certain of each thread; of none where the block is not known."""
        if self.together.lanes is None:
            return []
        return Threads(self.together, self.shared, self.kernel.values, self.tick).run()
