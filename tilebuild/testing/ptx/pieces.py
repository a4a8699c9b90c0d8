"""Code as pieces: instructions that a group of threads executes without a decision, and what comes after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tilebuild.testing.ptx.binder import Op
from tilebuild.testing.ptx.threads import Chosen

End = Callable[[Chosen], None]


@dataclass
class Piece:
    """`ops` run one after the other; `end` gives each of the threads its next piece, or lets it wait. `line` is that of
    the last instruction, `text` its name."""

    count: int = 0
    """Instructions in it."""
    line: int = 0
    text: str = ""
    ops: list[Op] = field(default_factory=list)
    end: End | None = None
