"""A CMake toolchain file and a Meson cross file out of a toolchain file: what builds the kernels builds the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tilebuild.diagnostics import Diagnostic, TilebuildError
from tilebuild.toolchain.tool import Tool

_CMAKE_SYSTEMS = {"linux": "Linux", "macos": "Darwin", "windows": "Windows"}
_MESON_SYSTEMS = {"linux": "linux", "macos": "darwin", "windows": "windows"}


def cmake(tool: Tool) -> str:
    """The text of a CMake toolchain file that makes code for `tool.machine` (cmake-toolchains(7)); raises
    `TilebuildError` (E504) for a tool that is not described for that."""
    processor, system = _names(tool)
    program, compile_, cpp, ar = _commands(tool)
    lines = [
        f"# made by tilebuild for {tool.machine}: {tool.identity}",
        f"set(CMAKE_SYSTEM_NAME {_CMAKE_SYSTEMS[system]})",
        f"set(CMAKE_SYSTEM_PROCESSOR {processor})",
    ]
    for language, arguments in (("C", compile_), ("CXX", cpp)):
        flags = " ".join(tool.platform_flags)
        # a list: the program and the arguments that it always gets
        lines.append(f"set(CMAKE_{language}_COMPILER {' '.join(map(_cmake, (program, *arguments)))})")
        lines.append(f"set(CMAKE_{language}_FLAGS_INIT {_cmake(flags)})")
        archiver = " ".join(f'"{word}"' for word in (program, *ar))
        # CMAKE_AR holds one program and no arguments, so that the rules themselves name the archiver
        for step, options in (("CREATE", "qcs"), ("APPEND", "qs")):
            rule = f"{archiver} {options} <TARGET> <LINK_FLAGS> <OBJECTS>"
            lines.append(f"set(CMAKE_{language}_ARCHIVE_{step} {_cmake(rule)})")
        lines.append(f'set(CMAKE_{language}_ARCHIVE_FINISH "")')
    lines.append("set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)")
    return "\n".join(lines) + "\n"


def meson(tool: Tool) -> str:
    """The text of a Meson cross file that makes code for `tool.machine`; raises as `cmake` does."""
    processor, system = _names(tool)
    program, compile_, cpp, ar = _commands(tool)
    entries = {
        "c": (program, *compile_, *tool.platform_flags),
        "cpp": (program, *cpp, *tool.platform_flags),
        "ar": (program, *ar),
    }
    lines = [f"# made by tilebuild for {tool.machine}: {tool.identity}", "[binaries]"]
    lines += [f"{name} = [{', '.join(_meson(words))}]" for name, words in entries.items()]
    lines += [
        "",
        "[host_machine]",
        f"system = '{_MESON_SYSTEMS[system]}'",
        f"cpu_family = '{processor}'",
        f"cpu = '{processor}'",
        "endian = 'little'",
    ]
    return "\n".join(lines) + "\n"


def _names(tool: Tool) -> tuple[str, str]:
    processor, system, *_ = (*tool.machine.split("-"), "")
    if system not in _CMAKE_SYSTEMS:
        known = ", ".join(_CMAKE_SYSTEMS)
        raise TilebuildError(Diagnostic("E504", f'{tool.machine}: the system "{system}" is none of {known}'))
    return processor, system


def _commands(tool: Tool) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The program, and its arguments for C, C++ and archives."""
    cross = tool.description.cross
    if cross is None:
        fix = "take a compiler whose toolchain file has `cross`, such as zig"
        raise TilebuildError(Diagnostic("E504", f"{tool.name} is not described as a cross compiler", fix=fix))
    own = tool.description.arguments
    program, *before = tool.command[: len(tool.command) - len(own)]
    return program, (*before, *own), (*before, *cross.cpp), (*before, *cross.ar)


def _cmake(text: str) -> str:
    """A quoted argument (cmake-language(7))."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _meson(words: Sequence[str]) -> Iterator[str]:
    """Strings with escapes."""
    for word in words:
        escaped = word.replace("\\", "\\\\").replace("'", "\\'")
        yield f"'{escaped}'"
