"""`tilebuild check`: the oracle's verdict on plans, from wheels, builds and packages, or from anywhere.

What the options mean is in `check_options`, what is written in `check_output`.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from tilebuild.cli import check_options, check_output
from tilebuild.cli.check_options import Options
from tilebuild.diagnostics import TilebuildError

if TYPE_CHECKING:
    from tilebuild.oracle import Judged
    from tilebuild.package.read import Built
    from tilebuild.plan.model import Plan

DESCRIPTION = """
Judges every plan and every file of final code that it is given, whether tilebuild made it or not: overlapping live
buffers, full memories, reads of what nothing wrote, writes that nothing reads, operands that do not fit, threads that
nothing puts in order, accesses outside of a shared array. A FILE is a plan (.json, .json.gz), PTX (.ptx), PTO text with
addresses (.pto), a wheel (.whl), or a directory or an importable package with _kernels/manifest.json, whose files must
have the digests that the manifest states. Nothing is imported or installed. Exit code: 0 everything is proved, 1
something is violated or not proved, 2 something cannot be read. What is not proved of a .ptx or .pto file is a warning
only, unless --strict is given. With --self-test the oracle itself is judged: every fault that it knows is planted at
every place of the plans, one at a time.
"""
TAKES = ".json, .json.gz, .ptx, .pto, .whl, a directory or the name of an installed package"
FINAL = (".ptx", ".pto")
LARGEST = 1 << 28  # bytes of one text; a small compressed file can claim to hold far more


class _UnreadableError(Exception):
    """Why a file cannot be judged."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this command to the command line."""
    parser = subparsers.add_parser("check", description=DESCRIPTION)
    parser.add_argument("files", metavar="FILE", nargs="+", help=f"what to judge: {TAKES}")
    check_options.add(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Writes the verdicts; 0, 1 or 2 as the description says."""
    options = check_options.read(args)
    if options.self_test:
        return _self_test(args.files, options)
    found: list[Judged] = []
    unreadable: dict[str, str] = {}
    texts: dict[str, str] = {}
    for name in args.files:
        try:
            if name.endswith(FINAL) and Path(name).is_file():
                texts[name] = _final_text(name)
                found += _final_code(name, texts[name], options)
                continue
        except _UnreadableError as error:
            unreadable[name] = str(error)
            continue
        for place, load in _plans(name):
            try:
                found.append(_judged(place, load(), options))
            except _UnreadableError as error:
                unreadable[place] = str(error)
    check_output.write(found, unreadable, texts, options)
    if unreadable:
        return 2
    return int(any(one.fails for one in found))


def _self_test(names: Sequence[str], options: Options) -> int:
    """Breaks the plans of the files in every way, and prints what the oracle says; 1 where it is wrong."""
    plans: list[Plan] = []
    for name in names:
        for place, load in _plans(name):
            try:
                plans.append(load())
            except _UnreadableError as error:
                print(f"{place}: cannot be judged: {error}", file=sys.stderr)
                return 2
    return check_output.self_test(plans, options)


def _judged(place: str, plan: Plan, options: Options) -> Judged:
    from tilebuild.oracle import CHECKS, judge, judged

    report = judge(plan, options.policy.of(CHECKS, plan.kernel))
    return judged(place, report, options.policy, plan)


def _final_text(name: str) -> str:
    try:
        return _inflated(_bytes(Path(name))).decode()
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"not {Path(name).suffix[1:].upper()}: {error}") from None


def _final_code(name: str, text: str, options: Options) -> list[Judged]:
    """The verdicts on the kernels of a file of final code. Nobody promised that everything in it can be proved: what
    is not is a warning, unless the options are strict. Severities of single kernels do not turn checks off here: they
    weigh what is found."""
    from tilebuild.oracle import CHECKS, judge, judge_ptx, judged
    from tilebuild.oracle.readers import pto

    policy = options.policy
    plans: tuple[Plan, ...] = ()
    try:
        if name.endswith(".ptx"):
            severities = policy.of(CHECKS, "")
            reports = judge_ptx(text, name, arch=options.arch, facts=options.facts, severities=severities)
        else:
            plans = tuple(pto.read(text, name))
            reports = [replace(judge(plan, policy.of(CHECKS, plan.kernel)), scope="text") for plan in plans]
    except (ValueError, RecursionError, MemoryError) as error:  # the readers' syntax problems are ValueErrors
        raise _UnreadableError(f"not {Path(name).suffix[1:].upper()}: {error}") from None
    if not reports:
        raise _UnreadableError("there is no kernel in it")
    lenient = not options.strict
    return [
        judged(name, report, policy, plan, lenient=lenient)
        for report, plan in zip_longest(reports, plans)
        if report is not None
    ]


def _plans(name: str) -> Iterator[tuple[str, Callable[[], Plan]]]:
    """The places of all plans that a name stands for, each with a function that reads it (or says why it cannot)."""
    path = Path(name)
    if path.is_file() and name.endswith((".json", ".json.gz")) and path.name != "manifest.json":
        yield name, lambda: _plan(_bytes(path))
        return
    try:
        built = _open(name, path)
        entries = list(_entries(built))
    except _UnreadableError as error:
        yield name, partial(_fail, str(error))
        return
    for place, load in entries:
        yield f"{name}: {place}", load
    for place, reason in _altered_libraries(built):
        yield f"{name}: {place}", partial(_fail, reason)


def _fail(reason: str) -> Plan:
    raise _UnreadableError(reason)


def _open(name: str, path: Path) -> Built:
    from tilebuild.package.read import open_built

    if path.is_file() and not name.endswith((".whl", "manifest.json")):
        raise _UnreadableError(f"a file of an unknown kind: this command takes {TAKES}")
    try:
        return open_built(str(path.parent) if path.name == "manifest.json" else name)
    except TilebuildError as error:
        raise _UnreadableError("; ".join(d.message for d in error.diagnostics)) from None
    except _BROKEN as error:
        raise _UnreadableError(f"{type(error).__name__}: {error}") from None


# What a damaged archive, file system or document may raise out of the standard library's readers
_BROKEN = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, NotImplementedError,
    ImportError, zlib.error, MemoryError,
)  # fmt: skip


def _entries(built: Built) -> Iterator[tuple[str, Callable[[], Plan]]]:
    from tilebuild.package.read import builds

    try:
        for _, _, build in builds(built.manifest):
            file, digest = _text(build, "plan"), _text(build, "plan_sha256")
            yield file, partial(_stated_plan, built, file, digest)
    except _BROKEN as error:
        raise _UnreadableError(f"not a manifest: {type(error).__name__}: {error}") from None


def _text(entry: object, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str):
        raise _UnreadableError(f'the manifest has an entry without the text "{key}"')
    return value


def _altered_libraries(built: Built) -> Iterator[tuple[str, str]]:
    libraries = built.manifest.get("libraries")
    for name, library in libraries.items() if isinstance(libraries, dict) else ():
        place = f"library {name}"
        try:
            place, digest = _text(library, "file"), _text(library, "sha256")
            if hashlib.sha256(_member(built, place)).hexdigest() != digest:
                yield place, "its sha256 is not the one that the manifest states: the library was altered"
        except _UnreadableError as error:
            yield place, str(error)


def _stated_plan(built: Built, file: str, digest: str) -> Plan:
    text = _inflated(_member(built, file))
    if hashlib.sha256(text).hexdigest() != digest:
        raise _UnreadableError("its sha256 is not the one that the manifest states: the plan was altered")
    return _plan(text)


def _member(built: Built, file: str) -> bytes:
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise _UnreadableError(f"the manifest names {file!r}, which lies outside of its directory")
    try:
        return built.read(file)
    except TilebuildError as error:
        raise _UnreadableError("; ".join(d.message for d in error.diagnostics)) from None
    except _BROKEN as error:
        raise _UnreadableError(f"{type(error).__name__}: {error}") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _UnreadableError(error.strerror or str(error)) from None


def _inflated(data: bytes) -> bytes:
    """The data, decompressed where it is compressed."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            text = stream.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _UnreadableError(f"not gzip: {error}") from None
    if len(text) > LARGEST:
        raise _UnreadableError(f"its text is longer than {LARGEST} bytes")
    return text


def _plan(data: bytes) -> Plan:
    from tilebuild.plan.serialize import PlanReadError, loads

    try:
        return loads(_inflated(data).decode())
    except (PlanReadError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        raise _UnreadableError(f"not a plan: {error}") from None
