"""What the compilers made, by digest: an output that is no longer what was made is made again.

Ninja compares times and command lines, not contents. The record is there only between builds: one that is killed
leaves none, and then Ninja's own log tells which outputs are finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tilebuild.build import sealed

RECORD = "made.json"
_KEY = "1"
_OF_NINJA = (".ninja_log", ".ninja_deps")


def discard_damaged(folder: Path, outputs: Sequence[str]) -> None:
    """Delete the outputs whose bytes are not the recorded ones (all of them where the record is damaged), and the
    record itself."""
    record = folder / RECORD
    if not record.is_file():
        return
    digests = sealed.read(record, _KEY)
    for output in outputs:
        path = folder / output
        if path.is_file() and (digests is None or digests.get(output, "") not in ("", _digest(path))):
            path.unlink()
    record.unlink()


def record(folder: Path, outputs: Sequence[str]) -> None:
    """Remember the outputs that are there as they are."""
    present = [output for output in outputs if (folder / output).is_file()]
    sealed.write(folder / RECORD, _KEY, {output: _digest(folder / output) for output in present})


def outputs(folder: Path) -> list[str]:
    """What the last finished build's compilers made, relative to `folder`, without the lists of what they read; nothing
    where there is no sound record."""
    return [name for name in sealed.read(folder / RECORD, _KEY) or {} if not name.endswith((".d", *_OF_NINJA))]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
