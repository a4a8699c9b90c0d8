"""The name of the machine that code is made for: machine-system[-libc], such as `x86_64-linux-gnu`."""

from __future__ import annotations

import os
import platform
import re
import sys
from functools import cache
from pathlib import Path

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SYSTEMS = {"darwin": "macos", "win32": "windows"}


@cache
def host() -> str:
    """The machine that this process runs on."""
    machine = platform.machine().lower()
    name = f"{_MACHINES.get(machine, machine)}-{_SYSTEMS.get(sys.platform, sys.platform)}"
    return f"{name}-{'gnu' if glibc() else 'musl'}" if sys.platform == "linux" else name


def with_processor(processor: str) -> str:
    """The machine with another processor and this one's system; this one where `processor` is empty."""
    return f"{processor}-{host().partition('-')[2]}" if processor else host()


def glibc() -> str:
    """The version of the GNU C library that this process runs with, such as "2.36"; empty with any other."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""
    return text.removeprefix("glibc").strip()


# what an x86-64 level adds to the one below, in the words of /proc/cpuinfo (psABI, section 3.1.1)
_LEVELS = {
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "x86-64-v4": "avx512bw avx512cd avx512dq avx512f avx512vl",
}


def levels(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, bool]:
    """Which x86-64 levels the processor has, least first; empty where that is not known or means nothing."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    match = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    if match is None:
        return {}
    missing = [set(wanted.split()) - set(match[1].split()) for wanted in _LEVELS.values()]
    return {name: not any(missing[: i + 1]) for i, name in enumerate(_LEVELS)}
