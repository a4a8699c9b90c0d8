"""NVRTC as a command: `python -m tilebuild.targets.gpu.nvrtc LIBRARY [OPTION...] SOURCE OUTPUT` writes PTX.

`LIBRARY --version` prints the library's version and the architectures that it knows. The library needs no driver and no
GPU. What it prints becomes the way compilers write: `file:line:column: error: ...`. Exit code 1 where it fails.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path

_PLACE = re.compile(
    r"^(?P<file>[^\s(][^(\n]*)\((?P<line>\d+)\): (?P<kind>(?:catastrophic )?error|warning)", re.MULTILINE
)


class Nvrtc:
    """The library at a path; raises OSError where the system's loader refuses it."""

    def __init__(self, path: str) -> None:
        self._library = ctypes.CDLL(path)

    def version(self) -> str:
        """major.minor"""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return f"{major.value}.{minor.value}"

    def architectures(self) -> list[int]:
        """The compute capabilities that it compiles for, such as 80."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(found))
        return list(found)

    def compile(self, source: bytes, name: str, options: Sequence[str]) -> tuple[bytes, str]:
        """The PTX, empty where it fails, and what the compiler says; `name` is how it calls the source."""
        program = ctypes.c_void_p()
        made = self._library.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None)
        self._check(made)
        words = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = self._library.nvrtcCompileProgram(program, len(options), words)
        log = _PLACE.sub(r"\g<file>:\g<line>:1: \g<kind>", self._text(program, "ProgramLog").decode(errors="replace"))
        ptx = b"" if failed else self._text(program, "PTX")
        self._library.nvrtcDestroyProgram(ctypes.byref(program))
        return ptx, log if log or not failed else f"error {failed}: {self._name(failed)}"

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f"nvrtcGet{what}")(program, text))
        return text.value

    def _name(self, code: int) -> str:
        self._library.nvrtcGetErrorString.restype = ctypes.c_char_p
        name: bytes = self._library.nvrtcGetErrorString(code)
        return name.decode()

    def _check(self, code: int) -> None:
        if code:
            raise OSError(f"NVRTC: {self._name(code)}")


def main(arguments: Sequence[str]) -> int:
    """The command; `arguments` as described above."""
    path, *rest = arguments
    try:
        nvrtc = Nvrtc(path)
        if rest == ["--version"]:
            print(f"NVRTC {nvrtc.version()}, for {', '.join(f'sm_{a}' for a in nvrtc.architectures())}")
            return 0
        *options, source, output = rest
        ptx, log = nvrtc.compile(Path(source).read_bytes(), source, options)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if log.strip("\0\n "):
        print(log.strip("\0\n "), file=sys.stderr)
    if not ptx:
        return 1
    Path(output).write_bytes(ptx)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
