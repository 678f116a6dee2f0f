"""Reports of `minigrad check` as a single HTML page, which needs neither network nor scripts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from minigrad.util.report import counted
from minigrad.verify.as_written.written_report import WrittenLine, WrittenReport
from minigrad.verify.derivation.derivation_page import color_class, document, prose, section
from minigrad.verify.derivation.derivation_report import DerivationReport


def page(reports: Sequence[DerivationReport | WrittenReport]) -> str:
    """The page for some reports."""
    wrong = sum(not report.ok for report in reports)
    title = f"{counted(len(reports), 'derivation')}: " + (f"{wrong} wrong" if wrong else "all right")
    parts = [_written(report) if isinstance(report, WrittenReport) else section(report) for report in reports]
    return document(title, not wrong, "".join(parts))


def _written(report: WrittenReport) -> str:
    """The part for a pair of functions."""
    first, *_ = str(report).partition("\n")
    rows = "".join(_row(line) for line in report.lines)
    whole = ", ".join(_verdict(f"d{name}", ok) for name, ok in report.whole.items())
    remarks = [f"line {number}, {path}: {reason}" for number, path, reason in report.unnamed] + report.assumptions
    return (
        f'<h2>{escape(report.name)}</h2><p class="verdict {color_class(report.ok)}">{escape(first)}</p>'
        f"<p>the whole: {whole}</p>"
        '<table class="lines"><tr><th class="of">gradient of</th><th>line</th><th class="why">verdict</th></tr>'
        f"{rows}</table>" + "".join(f'<div class="note">{prose(remark)}</div>' for remark in remarks)
    )


def _row(line: WrittenLine) -> str:
    explanation = "".join(
        f'<div class="note">{prose(text.strip())}</div>' for text in [*line.explanation(), line.report.exactness]
    )
    return (
        f"<tr><td><b>{escape(line.target)}</b></td><td><pre>{line.line}  {escape(line.text)}</pre></td>"
        f'<td><span class="verdict {color_class(line.ok)}">{escape(line.verdict)}</span>{explanation}</td></tr>'
    )


def _verdict(name: str, ok: bool | None) -> str:
    word = "missing" if ok is None else "right" if ok else "wrong"
    return f'{escape(name)} <span class="{color_class(ok is not False)}">{word}</span>'
