"""Puts the functions of several PTO files into one module: `python -m tilebuild.targets.pto.merge OUT IN...`.

Only for files that this target emitted: type aliases first, then one module. The same inputs give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def merge(texts: Sequence[str]) -> str:
    """One module with all functions, in order. Raises ValueError where the modules are not for one architecture."""
    comments: list[str] = []
    aliases: set[str] = set()
    heads: list[str] = []
    bodies: list[str] = []
    for text in texts:
        lines = text.rstrip("\n").split("\n")
        start = next(i for i, line in enumerate(lines) if line.startswith("module "))
        comments += [line for line in lines[:start] if line.startswith("//")]
        aliases.update(line for line in lines[:start] if line.startswith("!"))
        heads.append(lines[start])
        bodies += lines[start + 1 : -1]
    if len(set(heads)) != 1:
        raise ValueError(f"modules for different architectures: {', '.join(sorted(set(heads)))}")
    return "\n".join([*dict.fromkeys(comments), *sorted(aliases), heads[0], *bodies, "}"]) + "\n"


if __name__ == "__main__":
    output, *inputs = sys.argv[1:]
    Path(output).write_text(merge([Path(i).read_text(encoding="utf-8") for i in inputs]), encoding="utf-8")
