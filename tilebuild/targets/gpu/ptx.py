"""PTX as text: the version that a file needs, several files as one module, and what ptxas reports of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_VERSION = re.compile(r"^\.version\s+\S+", re.MULTILINE)
_HEADER = re.compile(r"^\.(?:version|target|address_size)\b.*\n", re.MULTILINE)
_ENTRY = re.compile(r"Compiling entry function '(?P<name>[^']+)'")
_NUMBERS: Mapping[str, re.Pattern[str]] = {
    "stack_bytes": re.compile(r"(\d+) bytes stack frame"),
    "spill_bytes": re.compile(r"(\d+) bytes spill stores"),
    "registers": re.compile(r"Used (\d+) registers"),
    "barriers": re.compile(r"used (\d+) barriers"),
    "shared_bytes": re.compile(r"(\d+) bytes smem"),
}


def lowered(text: str, version: str) -> str:
    """The text with the least version that its target allows: an older driver takes it, and the assembler, which
    checks it against the instructions, refuses it where they need a newer one."""
    return _VERSION.sub(f".version {version}", text, count=1)


def joined(texts: Iterable[str]) -> str:
    """Several files for one target as one module: the first one's header, and every file's functions."""
    first, *others = texts
    return "\n".join([first, *(_HEADER.sub("", text) for text in others)])


def resources(log: str) -> dict[str, dict[str, int]]:
    """What `ptxas -v` says of each entry: registers of a thread, bytes of shared memory (static), stack and spills."""
    found: dict[str, dict[str, int]] = {}
    pieces = _ENTRY.split(log)
    for name, text in zip(pieces[1::2], pieces[2::2]):
        values = {key: pattern.search(text) for key, pattern in _NUMBERS.items()}
        found[name] = {key: int(match[1]) if match else 0 for key, match in values.items()}
    return found
