"""Builds small plans for a block of threads, as `plans` builds those for one thread."""

from __future__ import annotations

from dataclasses import replace

import plans

from tilebuild.plan.model import Distributed, Instr, Launch, Plan, Space

SHARED = Space("shared", 16384, 16)
MAP = "2x8x1"


class Block(plans.Build):
    """A block of 2 x 8 threads; register tiles are spread over them."""

    def __init__(self) -> None:
        super().__init__("gpu", "sm_80", (SHARED,))

    def registers(self, name: str, rows: int = 4, cols: int = 16, partial: bool = False) -> str:
        return self.tile(name, rows, cols, storage=Distributed(MAP + (" partial" if partial else "")))

    def scratch(self, name: str, rows: int = 4, cols: int = 16, offset: int = 0) -> str:
        return self.tile(name, rows, cols, offset, space="shared")

    def barrier(self) -> int:
        self.instructions.append(Instr(len(self.instructions), "barrier", (), (), self.open[-1]))
        return len(self.instructions) - 1

    def stage(self, tile: str) -> int:
        b = next(b for b in self.buffers if b.id == tile)
        return self.op("stage", [self.box("x", (0, b.rows), (0, b.cols))], tile)

    def get(self, tile: str, scratch: str, reduce: str = "max") -> int:
        return self.op("get", scratch, tile, axis=1, reduce=reduce)

    def plan(self) -> Plan:
        plan = super().plan()
        size = plan.scratch().get("shared", 0)
        return replace(plan, launch=Launch(plan.launch.grid, block=(8, 2), shared_static=size))


def reduction() -> Plan:
    """y = the maximum of each row of x, through shared memory."""
    b = Block()
    b.registers("t"), b.registers("p", 4, 1, True), b.registers("m", 4, 1), b.scratch("s", 4, 8)
    with b.nest():
        b.load("t")
        b.op("max", "t", "p", axis=1)
    b.op("put", "p", "s", parts=8)
    b.barrier()
    b.get("m", "s")
    with b.nest(4, 1):
        b.store("m")
    return b.plan()


def product(loops: str = "4") -> Plan:
    """A matrix product whose operands are staged in shared memory, over a loop."""
    b = Block()
    b.registers("acc", 4, 16), b.scratch("a", 4, 16), b.scratch("w", 16, 16, 256)
    with b.nest():
        b.op("full", "", "acc", value="0")
    with b.loop("k", loops):
        b.stage("a")
        b.stage("w")
        b.barrier()
        b.op("dot", "a w acc", "acc")
        b.barrier()
    with b.nest():
        b.store("acc")
    return b.plan()
