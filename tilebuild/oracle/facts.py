"""What is known of a kernel's launch beyond its text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tilebuild.plan.model import Launch

_SIZE = re.compile(r"(\d+)([xX,](\d+))?([xX,](\d+))?")


@dataclass(frozen=True)
class Facts:
    """Facts that whoever launches a kernel promises; what is not given may be anything.

    `block` and `grid`: threads of a block and blocks, along x, y, z (missing ones are 1). `shared_dynamic`: bytes of
    dynamic shared memory. `values`: what scalar parameters are. `extents`: the bytes of the array that a pointer
    parameter points to. Parameters go by the name that the PTX gives them, or by their position, as "0".
    """

    block: tuple[int, ...] = ()
    grid: tuple[int, ...] = ()
    shared_dynamic: int | None = None
    values: Mapping[str, int] = field(default_factory=dict)
    extents: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(launch: Launch | None) -> Facts:
        """What a plan's launch says; its grid may depend on dimensions, and is left open."""
        if launch is None:
            return Facts()
        return Facts(tuple(launch.block), (), launch.shared_dynamic)

    @staticmethod
    def parse(launch: str = "", values: Iterable[str] = (), extents: Iterable[str] = ()) -> Facts:
        """Facts as a command line gives them: `launch` such as "block=32x8,grid=64,shared=4096", each of `values` such
        as "n=1000", each of `extents` such as "x=4096" (bytes). Raises ValueError with what is wrong."""
        found: dict[str, tuple[int, ...]] = {}
        for part in re.split(r",(?=\s*[a-z])", launch) if launch else ():
            name, _, size = part.strip().partition("=")
            match = _SIZE.fullmatch(size.strip())
            if name not in ("block", "grid", "shared") or match is None:
                raise ValueError(f"{part!r} is no fact of a launch: write block=32x8, grid=64 or shared=4096")
            found[name] = tuple(int(n) for n in match.group(1, 3, 5) if n is not None)
            if min(found[name]) < (name != "shared") or (name == "shared" and len(found[name]) > 1):
                raise ValueError(f"{part!r}: a block or a grid has one to three sizes of at least 1, shared one size")
        shared = found.get("shared")
        return Facts(
            found.get("block", ()), found.get("grid", ()), shared[0] if shared else None,
            dict(map(_pair, values)), dict(map(_pair, extents)),
        )  # fmt: skip


def _pair(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), int(value, 0)
    except ValueError:
        raise ValueError(f"{text!r} is no NAME=NUMBER") from None
