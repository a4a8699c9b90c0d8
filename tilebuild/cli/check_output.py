"""What `tilebuild check` writes, in the format and to the place that its options name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tilebuild.cli.check_options import Options
from tilebuild.diagnostics import Diagnostic, TilebuildError

if TYPE_CHECKING:
    from tilebuild.oracle import Judged
    from tilebuild.plan.model import Plan


def write(judged: Sequence[Judged], unreadable: Mapping[str, str], texts: Mapping[str, str], options: Options) -> None:
    """Writes the verdicts to standard output or to the file of the options; what cannot be judged also to standard
    error, where the format is text. `texts` holds final code by its file's name. Raises `TilebuildError` (E613) where
    the file cannot be written."""
    from tilebuild.oracle import stale

    used = {found.waiver for one in judged for found in one.findings if found.waiver is not None}
    notes = [f"{waiver} {why}" for waiver, why in stale(options.policy, used)]
    _put(_FORMATS[options.format](_Said(judged, unreadable, notes, texts, options.quiet)), options)
    if options.format == "text":
        for place, reason in unreadable.items():
            print(f"{place}: cannot be judged: {reason}", file=sys.stderr)
        for note in notes:
            print(f"warning: {note}", file=sys.stderr)


def self_test(plans: Sequence[Plan], options: Options) -> int:
    """Writes the table of the oracle's self test over these plans, and each mutant that is proved; 1 where one of them
    does not do what it says or a plan is not proved as it is, else 0. Without NumPy, mutants are not run."""
    from tilebuild.oracle.mutate.self_test import WRONG, Execute, table
    from tilebuild.oracle.mutate.self_test import self_test as run

    execute: Execute | None = None
    if importlib.util.find_spec("numpy") is not None:
        from tilebuild.testing.plan_calls import compare

        execute = compare
    rows, unfit = run(plans, execute)
    lines = [*table(rows), "", *(line for row in rows for line in row.notable)]
    lines += [f"{name}: not proved as it is, and so not broken" for name in unfit]
    _put("".join(f"{line}\n" for line in lines), options)
    return int(bool(unfit) or any(row.fates[WRONG] for row in rows))


def _put(shown: str, options: Options) -> None:
    if options.output is None:
        print(shown, end="")
    else:
        try:
            options.output.write_text(shown, encoding="utf-8")
        except OSError as error:
            message = f"{options.output}: the verdicts cannot be written: {error.strerror or error}"
            raise TilebuildError(Diagnostic("E613", message, fix="name a file that can be written")) from None


@dataclass(frozen=True)
class _Said:
    """All that is to be written."""

    judged: Sequence[Judged]
    unreadable: Mapping[str, str]
    notes: Sequence[str]
    texts: Mapping[str, str]
    quiet: bool


def _text(said: _Said) -> str:
    from tilebuild.oracle import summary, text

    lines = {name: t.splitlines() for name, t in said.texts.items()}
    parts = [text(one, quiet=said.quiet, lines=lines.get(one.file, ())) for one in said.judged]
    parts.append("" if said.quiet and not any(parts) else summary(said.judged))
    return "".join(f"{part}\n" for part in parts if part)


def _json(said: _Said) -> str:
    from tilebuild.oracle import json_text

    return json_text(said.judged, said.unreadable, said.notes)


def _sarif(said: _Said) -> str:
    from tilebuild.oracle.sarif import sarif_text

    return sarif_text(said.judged, said.unreadable, said.notes)


def _html(said: _Said) -> str:
    from tilebuild.oracle.page import html_text

    return html_text(said.judged, said.unreadable, said.notes)


_FORMATS: Mapping[str, Callable[[_Said], str]] = {"text": _text, "json": _json, "sarif": _sarif, "html": _html}
