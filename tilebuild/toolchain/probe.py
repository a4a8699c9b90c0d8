"""Asks an executable for its version, and remembers the answer for as long as the executable stays the same.

A build in which nothing changed must start no compiler, so answers are kept on disk too, keyed by the executable's
resolved path, size and time of modification.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 10.0
_SCHEMA = 1
_LONGEST = 4000  # characters of an answer that are kept
Stamp = tuple[str, int, int]
"""Resolved path, size in bytes, time of modification in ns."""
_memory: dict[str, Answer] = {}


@dataclass(frozen=True)
class Answer:
    """What a probe printed, stdout before stderr; `problem` says why there is no answer, else it is empty."""

    text: str
    problem: str = ""


def stamp(command: Sequence[str], environ: Mapping[str, str]) -> list[Stamp]:
    """The stamp of every executable that a command names (`ccache gcc`: both); none where any word of it is something
    else (`python -m ziglang`), for then there is no telling when the program changes."""
    stamps: list[Stamp] = []
    for word in command:
        path = shutil.which(word, path=environ.get("PATH", os.defpath))
        if path is None:
            return []
        resolved = os.path.realpath(path)
        status = os.stat(resolved)
        stamps.append((resolved, status.st_size, status.st_mtime_ns))
    return stamps


def file_stamp(path: str) -> list[Stamp]:
    """The stamp of a file that a program loads."""
    resolved = os.path.realpath(path)
    status = os.stat(resolved)
    return [(resolved, status.st_size, status.st_mtime_ns)]


def ask(command: Sequence[str], stamps: Sequence[Stamp], environ: Mapping[str, str], cache: Path | None) -> Answer:
    """What `command` prints. `stamps` identify the executables, and without any the answer is not remembered; `cache`
    is the file of answers on disk."""
    if not stamps:
        return _run(command, environ)[0]
    key = json.dumps([list(command), stamps])
    if key not in _memory:
        stored = _load(cache)
        if key in stored:
            _memory[key] = Answer(*stored[key])
        else:
            answer, lasting = _run(command, environ)
            if not lasting:  # a machine under load can time out: that says nothing about the next time
                return answer
            _memory[key] = answer
    if cache is not None:
        _store(cache, key, _memory[key])
    return _memory[key]


def _run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[Answer, bool]:
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environ, "LC_ALL": "C"},  # messages in English: a pattern has to match them
            start_new_session=True,
        )
    except OSError as error:
        return Answer("", f"cannot be started: {error.strerror}"), False
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        # the whole group: a child that holds the pipes open would keep us waiting
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer("", f"gave no answer in {TIMEOUT_S:.0f} s to: {' '.join(command)}"), False
    text = (out + err).decode(errors="replace")[:_LONGEST]
    if process.returncode:
        first = next(iter(text.strip().splitlines()), "and nothing else")
        return Answer(text, f"exit status {process.returncode} of `{' '.join(command)}`: {first}"), True
    return Answer(text), True


def _load(cache: Path | None) -> dict[str, Any]:
    """The answers on disk; a file that cannot be read holds none."""
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        answers = content["answers"] if content["schema"] == _SCHEMA else {}
        return {key: value for key, value in answers.items() if [type(part) for part in value] == [str, str]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _store(cache: Path, key: str, answer: Answer) -> None:
    """Adds an answer to the file, and drops those of executables that are gone (isolated build environments)."""
    answers = _load(cache)
    if key in answers:
        return
    answers = {k: v for k, v in answers.items() if all(os.path.exists(s[0]) for s in json.loads(k)[1])}
    answers[key] = [answer.text, answer.problem]
    # no cache is no error: the next build asks again
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=cache.parent, delete=False, encoding="utf-8") as file:
            json.dump({"schema": _SCHEMA, "answers": answers}, file)
        os.replace(file.name, cache)
