"""The memory that threads see: global, shared of each block, local of each thread, generic addresses of all three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tilebuild.testing.ptx.faults import Fault
from tilebuild.testing.ptx.global_memory import BASE, READ, WRITE, GlobalMemory
from tilebuild.testing.ptx.threads import Chosen, Threads

Array = NDArray[Any]
POISON = 0xFF
"""What every byte of shared and local memory holds before anything is written: NaN in every floating-point type."""
WINDOW = {"shared": 1 << 44, "local": 1 << 45}
"""The generic address of the first byte of a thread's shared and local memory; windows are WINDOW_SIZE bytes apart from
everything else. Global memory, and constants and parameters of an entry in it, have their own addresses."""
WINDOW_SIZE = 1 << 32


@dataclass(frozen=True)
class Access:
    """An instruction's access of `count` numbers of `size` bytes; `what` is its name."""

    line: int
    what: str
    space: str
    size: int
    count: int = 1
    write: bool = False


class Sizes(Protocol):
    """What a layout says: bytes of a block's shared and a thread's local memory; ranges of the former that nobody may
    touch."""

    shared: int
    local: int
    holes: list[tuple[int, int]]


class Memory:
    """`strict`: reading shared bytes that nothing wrote is an error."""

    def __init__(self, threads: Threads, everything: GlobalMemory, sizes: Sizes, strict: bool) -> None:
        self.threads = threads
        self.strict = strict
        self.everything = everything
        shared, local, holes = sizes.shared, sizes.local, sizes.holes
        self.size = {"shared": shared, "local": local}
        self._stride = {"shared": -(-shared // 16) * 16, "local": -(-local // 16) * 16}
        self._data = {
            "global": everything.data,
            "shared": np.empty(threads.blocks * self._stride["shared"], np.uint8),
            "local": np.empty(threads.count * self._stride["local"], np.uint8),
        }
        self._base = {
            "shared": threads.block_of * self._stride["shared"],
            "local": threads.index * self._stride["local"],
        }
        self._written = np.zeros(self._data["shared"].size if strict else 0, np.uint8)
        self._hole = np.zeros(shared, bool)
        for first, last in holes:
            self._hole[first:last] = True
        self._has_holes = bool(holes)
        self._views: dict[tuple[int, int], Array] = {}
        self.poison()

    def poison(self) -> None:
        """Forget what blocks and threads have written."""
        self._data["shared"][:] = POISON
        self._data["local"][:] = POISON
        self._written[:] = 0

    def local_rows(self) -> Array:
        """Local memory as [thread, byte]."""
        return self._data["local"].reshape(self.threads.count, self._stride["local"])

    def load(self, access: Access, address: Array, chosen: Chosen) -> list[Array]:
        """The bits read by each of the chosen threads, as `count` arrays [n] of unsigned integers."""
        if access.space != "generic":
            return self._load(access, access.space, address, chosen)
        parts = self._parts(access, address, chosen)
        if len(parts) == 1:
            return self._load(access, *parts[0][:3])
        results = [np.empty(address.size, f"u{access.size}") for _ in range(access.count)]
        for space, where, who, keep in parts:
            for result, part in zip(results, self._load(access, space, where, who)):
                result[keep] = part
        return results

    def store(self, access: Access, address: Array, values: Sequence[Array], chosen: Chosen) -> None:
        """Write `count` arrays [n], or single values, of unsigned integers."""
        if access.space != "generic":
            self._store(access, access.space, address, values, chosen)
            return
        parts = self._parts(access, address, chosen)
        for space, where, who, keep in parts:
            own = values if len(parts) == 1 else [v[keep] if v.ndim else v for v in values]
            self._store(access, space, where, own, who)

    def _parts(self, access: Access, address: Array, chosen: Chosen) -> list[tuple[str, Array, Chosen, Array | slice]]:
        """Generic addresses by space: (space, addresses in it, threads, which of the chosen those are)."""
        window = address >> 44
        parts: list[tuple[str, Array, Chosen, Array | slice]] = []
        for space, number in (("global", 0), ("shared", 1), ("local", 2)):
            keep = window == number
            own = address - WINDOW.get(space, 0)
            if keep.all():
                return [(space, own, chosen, slice(None))]
            if keep.any():
                parts.append((space, own[keep], self.threads.narrow(chosen, keep), keep))
        if sum(len(p[1]) for p in parts) != address.size:
            bad = int(np.flatnonzero((window < 0) | (window > 2))[0])
            self._outside(access, "generic", int(address[bad]), int(self.threads.indices(chosen)[bad]))
        return parts

    def _load(self, access: Access, space: str, address: Array, chosen: Chosen) -> list[Array]:
        offset = self._offset(access, space, address, chosen)
        where = offset // access.size if access.size > 1 else offset
        view = self._view(self._data[space], access.size)
        results = [view[where + n] if n else view[where] for n in range(access.count)]
        if space == "global":
            self._permitted(access, where, address, chosen, READ)
        elif self.strict and space == "shared":
            self._initialised(access, where, address, chosen)
        return results

    def _store(self, access: Access, space: str, address: Array, values: Sequence[Array], chosen: Chosen) -> None:
        offset = self._offset(access, space, address, chosen)
        where = offset // access.size if access.size > 1 else offset
        if space == "global":
            self._permitted(access, where, address, chosen, WRITE)
        view = self._view(self._data[space], access.size)
        for n, value in enumerate(values):
            view[where + n] = value
        if self.strict and space == "shared":
            self.mark(offset, access.size * access.count, True)

    def mark(self, offset: Array, size: int, written: bool) -> None:
        """Say whether shared bytes hold something; offsets as `shared_offset` gives them."""
        if self.strict:
            self._written[offset[:, None] + np.arange(size)] = written

    def shared_offset(self, access: Access, address: Array, chosen: Chosen) -> Array:
        """Where in the memory of all blocks a shared address lies, once checked."""
        return self._offset(access, "shared", address, chosen)

    def forget(self, access: Access, address: Array, chosen: Chosen) -> None:
        """Poison shared bytes that an asynchronous copy will write."""
        offset = self._offset(access, "shared", address, chosen)
        self._data["shared"][offset[:, None] + np.arange(access.size * access.count)] = POISON
        self.mark(offset, access.size * access.count, False)

    def _view(self, data: Array, size: int) -> Array:
        key = (id(data), size)
        if key not in self._views:
            self._views[key] = data.view(f"u{size}")
        return self._views[key]

    def _offset(self, access: Access, space: str, address: Array, chosen: Chosen) -> Array:
        total = access.size * access.count
        if total > 1:
            wrong = address & (total - 1) if total & (total - 1) == 0 else address % access.size
            if wrong.any():
                n = int(np.flatnonzero(wrong)[0])
                thread = self.threads.name(int(self.threads.indices(chosen)[n]))
                message = (
                    f"{access.what} at {space} address {int(address[n]):#x} in {thread} is not aligned to {total} bytes"
                )
                raise Fault("EMU-05", message, access.line, f"make the address a multiple of {total}")
        if space == "global":
            offset = address - BASE
            limit = self._data["global"].size
        else:
            offset = address
            limit = self.size[space]
        outside = (offset < 0) | (offset > limit - total)
        if space == "shared" and self._has_holes and not outside.any():
            outside = self._hole[offset] | self._hole[offset + (total - 1)]
        if outside.any():
            n = int(np.flatnonzero(outside)[0])
            self._outside(access, space, int(address[n]), int(self.threads.indices(chosen)[n]))
        return offset if space == "global" else offset + self._base[space][chosen]

    def _outside(self, access: Access, space: str, address: int, thread: int) -> None:
        total = access.size * access.count
        kind = "writes" if access.write else "reads"
        if space in self.size:
            between = space == "shared" and 0 <= address <= self.size[space] - total
            place = ", between two variables" if between else f"; the {space} memory has {self.size[space]} bytes"
        else:
            place = f", {self.everything.describe(address)}" if space == "global" else ", which is in no space"
        message = (
            f"{access.what} {kind} {total} bytes at {space} address {address:#x}{place}, in {self.threads.name(thread)}"
        )
        raise Fault("EMU-04", message, access.line, "guard the access, or give the launch larger arrays")

    def _permitted(self, access: Access, where: Array, address: Array, chosen: Chosen, flag: int) -> None:
        view = self._view(self.everything.flags, access.size)
        wanted = view.dtype.type(int.from_bytes(bytes([flag]) * access.size, "little"))
        for n in range(access.count):
            wrong = (view[where + n] & wanted) != wanted
            if not wrong.any():
                continue
            k = int(np.flatnonzero(wrong)[0])
            thread, place = int(self.threads.indices(chosen)[k]), int(address[k]) + n * access.size
            readable = self.everything.flags[place - BASE : place - BASE + access.size] & READ
            if flag == WRITE and readable.all():
                what = f"{access.what} writes to {self.everything.describe(place)}, which is read-only"
                message = f"{what}, in {self.threads.name(thread)}"
                raise Fault("EMU-06", message, access.line, "pass a writeable array, if the kernel may write to it")
            self._outside(access, "global", place, thread)

    def _initialised(self, access: Access, where: Array, address: Array, chosen: Chosen) -> None:
        view = self._view(self._written, access.size)
        wanted = view.dtype.type(int.from_bytes(b"\1" * access.size, "little"))
        for n in range(access.count):
            wrong = view[where + n] != wanted
            if wrong.any():
                k = int(np.flatnonzero(wrong)[0])
                thread = self.threads.name(int(self.threads.indices(chosen)[k]))
                place = int(address[k]) + n * access.size
                what = f"{access.what} reads {access.size} bytes at shared address {place:#x} that nothing wrote"
                message = f"{what}, in {thread}"
                raise Fault("EMU-07", message, access.line, "write them first, with a barrier or a wait between")
