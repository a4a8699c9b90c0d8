"""Reports as one HTML page, with a picture of each plan's memory. The page stands alone: no scripts, no other files."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files

from tilebuild.oracle.findings import VERSION
from tilebuild.oracle.picture import drawings
from tilebuild.oracle.report import printable, summary
from tilebuild.oracle.weighing import Judged, Weighed

PICTURES = 200  # kernels that are drawn; a page with more would be too large to look at


def html_text(judged: Sequence[Judged], unreadable: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """The page. Everything out of a plan or a file is escaped."""
    parts = [*_head(judged), *_overview(judged)]
    parts += [_told("error", "cannot be judged", f"{file}: {reason}") for file, reason in unreadable.items()]
    parts += [_told("warning", "waiver", note) for note in notes]
    for number, one in enumerate(judged):
        parts += _kernel(number, one)
    body = "\n".join(parts)
    title = "tilebuild check"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


@cache
def _style() -> str:
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _head(judged: Sequence[Judged]) -> Iterator[str]:
    yield "<h1>What the oracle says</h1>"
    said = summary(judged) or "; ".join(f"{j.report.title}: {j.report.outcome}" for j in judged)
    yield f'<p class="soft">{_escaped(said)} · oracle {VERSION}</p>'


def _overview(judged: Sequence[Judged]) -> Iterator[str]:
    """A row a kernel, a column a check."""
    checks = list(dict.fromkeys(check for j in judged for check in j.report.verdicts))
    yield '<div class="scroll"><table>'
    yield f"<tr>{''.join(f'<th>{_escaped(c)}</th>' for c in ('kernel', 'scope', 'outcome', *checks))}</tr>"
    for number, one in enumerate(judged):
        report = one.report
        cells = [f'<a href="#k{number}">{_escaped(report.title)}</a>', _escaped(report.scope), _verdict(report.outcome)]
        cells += [_verdict(report.verdicts[c]) if c in report.verdicts else "" for c in checks]
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div>"


def _verdict(outcome: str) -> str:
    return f'<span class="{outcome}">{outcome}</span>'


def _kernel(number: int, judged: Judged) -> Iterator[str]:
    report = judged.report
    yield f'<h2 id="k{number}">{_escaped(report.title)}: {_verdict(report.outcome)}</h2>'
    yield f'<p class="soft mono">{_escaped(judged.file)}</p>'
    for weighed in judged.findings:
        yield _finding(judged.file, weighed)
    for check, count in report.omitted.items():
        yield f"<p>{count} more findings of {_escaped(check)} are not shown.</p>"
    if judged.plan is None or number >= PICTURES:
        return
    for drawing in drawings(judged.plan):
        note = f" {drawing.note}." if drawing.note else ""
        caption = f"{_escaped(drawing.title)}.{note}"
        yield f'<figure><figcaption>{caption}</figcaption><div class="scroll">{drawing.svg}</div></figure>'


def _finding(file: str, weighed: Weighed) -> str:
    finding = weighed.finding
    places = [str(finding.span)] if finding.span else []
    places += [f"{file}:{finding.artifact_line}"] if finding.artifact_line else []
    lines = [f"<p>{_escaped(finding.message)}</p>"]
    if finding.fix:
        lines.append(f"<p><b>fix:</b> {_escaped(finding.fix)}</p>")
    if weighed.note:
        lines.append(f"<p><b>waiver:</b> {_escaped(weighed.note)}</p>")
    head = f'<span class="badge">{weighed.severity}</span> <code>{_escaped(finding.code)}</code> {finding.outcome}'
    where = f' <span class="soft mono">{_escaped(", ".join(places))}</span>' if places else ""
    return f'<div class="finding {weighed.severity}">{head}{where}{"".join(lines)}</div>'


def _told(style: str, title: str, text: str) -> str:
    return f'<div class="finding {style}"><span class="badge">{title}</span><p>{_escaped(text)}</p></div>'
