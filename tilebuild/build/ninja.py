"""The Ninja graph of a build: written and run; where a compiler fails, its own words with the Python line they mean."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tilebuild.build import made
from tilebuild.build.bundle import write_if_changed
from tilebuild.diagnostics import Diagnostic, Span, TilebuildError
from tilebuild.targets.api import PYTHON, Edge

LineMap = Mapping[str, Sequence["Span | None"]]
_HEADER = """ninja_required_version = 1.10
builddir = {records}
rule with_depfile
  command = $cmd
  depfile = $depfile
  description = $title
rule plain
  command = $cmd
  description = $title
"""
_LOGS = (".ninja_log", ".ninja_deps")  # its own records, in `builddir`
_LOCATION = re.compile(r"^(?P<file>[^\s:][^:\n]*):(?P<line>\d+):\d+: (?:fatal )?error", re.MULTILINE)


def executable() -> str | None:
    """The ninja to use: on PATH, or beside this Python (an environment that is not activated)."""
    beside = Path(sys.executable).with_name("ninja.exe" if os.name == "nt" else "ninja")
    return shutil.which("ninja") or (str(beside) if beside.is_file() else None)


def run(
    project: Path,
    folder: Path,
    edges: Sequence[tuple[Edge, str]],
    spans: LineMap,
    *,
    environment: Mapping[str, str],
    programs: Mapping[str, str],
    log: Callable[[str], None],
) -> None:
    """Bring every edge's output up to date. `edges` come with one more file each that they depend on; `programs` maps
    words of their commands to the variables of the environment that stand for them: see `_command`.

    Raises `TilebuildError`: E720 a command failed, E721 there is no ninja.
    """
    program = executable()
    if program is None:
        raise TilebuildError(
            Diagnostic(
                "E721",
                "ninja is not here: it runs the compilers",
                fix="pip install ninja, or apt-get install ninja-build",
            )
        )
    records = _records(program)
    named = {PYTHON: "TILEBUILD_PYTHON", **programs}
    values = {variable: word for word, variable in named.items()} | {"TILEBUILD_PYTHON": sys.executable}
    write_if_changed(folder / "build.ninja", _graph(edges, _digests(folder, edges, named), named, records).encode())
    # Ninja's own store of what is in depfiles (`deps = gcc`) counts for one version only, so they stay as they are
    beside = [*(f"{records}/{name}" for name in _LOGS), *(edge.depfile for edge, _ in edges if edge.depfile)]
    kept = [*(edge.output for edge, _ in edges), *beside]
    made.discard_damaged(folder, kept)
    variables = {**os.environ, "NINJA_STATUS": "[%f/%t] ", **values, **environment}
    code, output = _start(program, folder, variables, log)
    if code and "FAILED: " not in output and any((folder / name).exists() for name in beside):
        # no command failed, so that it is Ninja that did: a log of a killed build may be damaged
        for name in beside:
            (folder / name).unlink(missing_ok=True)
        code, output = _start(program, folder, variables, log)
    if code:
        raise TilebuildError(list(_failures(edges, output, spans, values)), project)
    made.record(folder, kept)


def _records(program: str) -> str:
    """The folder of a Ninja's own records, one a version: a Ninja throws away what one with another format wrote, and
    then runs everything again. An isolated build may bring another than the system has."""
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"\d+\.\d+", answer)
    return f"ninja-{version[0] if version else 'unknown'}"


def _start(program: str, folder: Path, variables: Mapping[str, str], log: Callable[[str], None]) -> tuple[int, str]:
    """Ninja's exit code and all that it printed; its progress goes to `log`."""
    output: list[str] = []
    with subprocess.Popen(
        [program, "-C", str(folder), "-k", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        env=dict(variables),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if line.startswith("["):
                log(f"tilebuild: {line.rstrip()}")
    return process.returncode, "".join(output)


def _digests(folder: Path, edges: Sequence[tuple[Edge, str]], programs: Mapping[str, str]) -> dict[str, str]:
    """Of each output, over all that it is made from: commands and the text of the files that no edge makes.

    It stands in the command, and a command that changes is run again. Ninja alone compares times, and those lie: where
    the clock was set back, an edited file is older than what was built from it.
    """
    made_by = {edge.output: (edge, extra) for edge, extra in edges}
    found: dict[str, str] = {}

    def of(path: str) -> str:
        if path not in found:
            h = hashlib.sha256(path.encode())
            if path in made_by:
                edge, extra = made_by[path]
                h.update(_command(edge.command, programs).encode())
                beside = sorted(p for p in Path(folder, extra).parent.glob("*.h"))  # what sources may include
                h.update(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in beside))
                for part in (*edge.inputs, extra):
                    h.update(of(part).encode())
            else:
                h.update((folder / path).read_bytes())
            found[path] = h.hexdigest()
        return found[path]

    return {output: of(output)[:16] for output in made_by}


def _graph(
    edges: Sequence[tuple[Edge, str]], digests: Mapping[str, str], programs: Mapping[str, str], records: str
) -> str:
    parts = [_HEADER.format(records=records)]
    for edge, extra in edges:
        rule = "with_depfile" if edge.depfile else "plain"
        inputs = " ".join(map(_path, edge.inputs))
        parts.append(f"build {_path(edge.output)}: {rule} {inputs} | {_path(extra)}")
        parts.append(f"  cmd = {_command(edge.command, programs)}  # {digests[edge.output]}")
        parts.append(f"  title = {edge.title.replace('$', '$$')}")
        if edge.depfile:
            parts.append(f"  depfile = {edge.depfile.replace('$', '$$')}")
    return "\n".join(parts) + "\n"


def _command(words: Sequence[str], programs: Mapping[str, str]) -> str:
    """The shell command. The interpreter and compilers are named by variables of the environment: those of an isolated
    build have another path in every build, and a command line that changes is run again. What they are is in the file
    that every edge depends on."""
    return " ".join(f'"$${programs[w]}"' if w in programs else shlex.quote(w).replace("$", "$$") for w in words)


def _path(text: str) -> str:
    return text.replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _failures(
    edges: Sequence[tuple[Edge, str]], output: str, spans: LineMap, programs: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """One diagnostic a failed edge: what the compiler said, at the first Python line that it complains about."""
    by_output = {edge.output: edge for edge, _ in edges}
    failed = 0
    for chunk in re.split(r"^FAILED: ", output, flags=re.MULTILINE)[1:]:
        head, _, rest = chunk.partition("\n")
        edge = next((by_output[w] for w in head.split() if w in by_output), None)
        if edge is None:
            continue
        failed += 1
        command, _, words = rest.partition("\n")
        words = re.split(r"^(?:\[\d+/\d+\] |ninja: )", words, flags=re.MULTILINE)[0].strip()
        span = next(_python_lines(words, spans), None)
        notes: list[tuple[Span | None, str]] = [
            (None, f"the compiler said:\n{words or '(nothing)'}"),
            (None, f"command: {_readable(command, programs)}"),
        ]
        yield Diagnostic(
            "E720", f"`{edge.title}` failed", span, tuple(notes),
            "if the message is about generated code, this is a bug of tilebuild: please report it with the kernel",
        )  # fmt: skip
    if not failed:
        yield Diagnostic("E720", f"ninja failed:\n{output.strip()}")


def _readable(command: str, programs: Mapping[str, str]) -> str:
    """A command as a person can run it again in the build directory."""
    text = command.strip().rpartition("  # ")[0]
    for variable, value in programs.items():
        text = text.replace(f'"${variable}"', shlex.quote(value))
    return text


def _python_lines(words: str, spans: LineMap) -> Iterator[Span]:
    for match in _LOCATION.finditer(words):
        lines = spans.get(match["file"], ())
        number = int(match["line"])
        # a line of the generated code that stands for no Python line belongs to the nearest one before it
        for line in range(min(number, len(lines)), 0, -1):
            span = lines[line - 1]
            if span is not None:
                yield span
                break
