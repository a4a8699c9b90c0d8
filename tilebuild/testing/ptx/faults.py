"""What goes wrong in an emulated kernel, on its way from the instruction that met it to the caller's message."""

from __future__ import annotations

from typing import NoReturn

UNKNOWN = "report the instruction with the PTX, or leave it out of the kernel under test"


class Fault(Exception):
    """Raised inside the emulator; `emulate` turns it into a `TilebuildError`. `line` counts from 1 in the PTX text,
    0 where no line is to blame."""

    def __init__(self, code: str, message: str, line: int = 0, fix: str = "") -> None:
        self.code, self.message, self.line, self.fix = code, message, line, fix
        super().__init__(message)


def unsupported(what: str, line: int) -> NoReturn:
    """Refuse an instruction, a directive or an operand that the emulator does not know."""
    raise Fault("EMU-02", f"{what} is not known to the emulator", line, UNKNOWN)
