"""Launch facts of kernels.cu, for scripts/make_foreign_ptx.py."""

from __future__ import annotations

from typing import Any


def _facts(arguments: str, threads: int, blocks: str, shared: int = 0) -> dict[str, Any]:
    return {
        "arguments": arguments.split(),
        "block": [threads, 1, 1],
        "grid": [blocks, "1", "1"],
        "shared_bytes": shared,
        "constants": {},
    }


FACTS: dict[str, dict[str, Any]] = {
    "rmsnorm": _facts("x y columns eps", 96, "rows"),
    "histogram": _facts("x bins n", 128, "3"),
    "by_table": _facts("which x n", 64, "ceil(n / 64)"),
    "sort_rows": _facts("x rows", 64, "ceil(rows / 64)"),
    "by_case": _facts("code x n", 64, "ceil(n / 64)"),
    "roots": _facts("x y n", 32, "ceil(n / 32)"),
    "any_space": _facts("x y", 64, "1"),
    "transpose": {
        **_facts("from to", 32, ""),
        "block": [32, 8, 1],
        "grid": ["ceil(columns / 32)", "ceil(rows / 32)", "1"],
    },
    "compact": _facts("x y kept n", 64, "ceil(n / 64)"),
    "two_stages": _facts("x y steps", 32, "blocks", 1024),
    "lock": _facts("mutex total last", 64, "2"),
}
