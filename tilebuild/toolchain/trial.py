"""Lets a C compiler make a small library, which shows what its version cannot: headers or a linker that are missing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tilebuild.toolchain.tool import Tool

TIMEOUT_S = 300.0  # zig's first link compiles its support library
_SOURCE = """\
#include <stdint.h>
#include <string.h>
typedef float lanes __attribute__((vector_size(16)));
__attribute__((visibility("default"))) void add(float *y, const float *x, int64_t n)
{
    lanes a, b;
    for (int64_t i = 0; i + 4 <= n; i += 4) {
        memcpy(&a, y + i, sizeof a);
        memcpy(&b, x + i, sizeof b);
        a += b;
        memcpy(y + i, &a, sizeof a);
    }
}
"""


def trial(tool: Tool, directory: Path) -> str:
    """Compiles for every instruction set of the machine and links, in an empty directory; what went wrong, in the
    compiler's own words, or an empty string."""
    source = directory / "trial.c"
    source.write_text(_SOURCE, encoding="utf-8")
    environ = {**os.environ, **tool.environment(directory / "cache")}
    for arch in tool.architectures:
        for command in (
            tool.compile_command(str(source), str(directory / "trial.o"), arch=arch),
            tool.link_command([str(directory / "trial.o")], str(directory / "trial.so")),
        ):
            try:
                done = subprocess.run(command, env=environ, capture_output=True, timeout=TIMEOUT_S, check=False)
            except subprocess.TimeoutExpired:
                return f"gave no answer in {TIMEOUT_S:.0f} s to: {' '.join(command)}"
            if done.returncode:
                words = (done.stderr or done.stdout).decode(errors="replace").strip()
                return words or f"exit status {done.returncode} of: {' '.join(command)}"
    return ""
