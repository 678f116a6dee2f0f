"""The report on a derivation as a part of an HTML page: lines, formulas, verdicts, and the graph with the verdicts."""

from __future__ import annotations

import inspect
import re
import textwrap
from html import escape
from typing import Any

from minigrad.verify.derivation.derivation_report import DerivationReport, LineReport

STYLE = """
:root { color-scheme: light dark; --right: #00664f; --wrong: #b03a00; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem; vertical-align: top; }
tr { border-bottom: 1px solid var(--line); } th { font-weight: 600; }
pre, code { font: 14px/1.45 ui-monospace, monospace; } pre { margin: 0; overflow-x: auto; }
.right { color: var(--right); } .wrong { color: var(--wrong); } .verdict { font-weight: 700; }
.lines { table-layout: fixed; } .of { width: 6rem; } .why { width: 18rem; } .lines pre { white-space: pre-wrap; }
code { background: var(--soft); padding: 0 .3em; border-radius: 3px; }
.note { opacity: .75; font-size: .9rem; }
.graph { overflow-x: auto; background: white; padding: 1rem; margin-top: 1rem; }
.graph svg { max-width: 100%; height: auto; }
@media (prefers-color-scheme: dark) { :root { --right: #4fd1a8; --wrong: #ff9a62; } }
"""


def document(title: str, right: bool, body: str, style: str = "") -> str:
    """A page with a title, whose color says whether all is right, a body in HTML, and style rules after STYLE."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{STYLE}{style}</style></head>"
        f'<body><h1 class="{color_class(right)}">{escape(title)}</h1>{body}</body></html>\n'
    )


def section(report: DerivationReport) -> str:
    """The part of the page for one derivation."""
    forward = report.derivation.forward.function
    description = inspect.getdoc(forward) or ""
    rows = "".join(_row(report, line) for line in report.lines.values())
    return (
        f"<h2>{escape(report.derivation.name)}</h2><p>{prose(description)}</p>"
        f'<p class="verdict {color_class(report.ok)}">{escape(str(report).partition(chr(10))[0])}</p>'
        f"<details><summary>the forward function</summary><pre>{escape(source(forward))}</pre></details>"
        '<table class="lines"><tr><th class="of">gradient of</th><th>line</th><th class="why">verdict</th></tr>'
        f"{rows}</table>{_graph(report)}"
    )


def _row(report: DerivationReport, line: LineReport) -> str:
    label = report.labels.get(line.target, line.target)
    formula = inspect.getdoc(line.function)
    formula_html = f"<div>{escape(formula)}</div>" if formula else ""
    explanation = "".join(
        f'<div class="note">{prose(sentence)}</div>' for sentence in [*line.sentences(), line.exactness] if sentence
    )
    return (
        f"<tr><td><b>{escape(label)}</b></td><td>{formula_html}<pre>{escape(source(line.function))}</pre></td>"
        f'<td><span class="verdict {color_class(line.ok)}">{escape(line.verdict)}</span>{explanation}</td></tr>'
    )


def prose(text: str) -> str:
    """Sentences as HTML; text between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def color_class(ok: bool) -> str:
    """The class whose color says whether something is right."""
    return "right" if ok else "wrong"


def source(function: Any) -> str:
    """The source of a function without its decorators and docstring."""
    try:
        lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    except (OSError, TypeError):
        return f"{function.__name__}(...)"
    while lines and lines[0].lstrip().startswith("@"):
        lines.pop(0)
    text = "\n".join(lines)
    doc = function.__doc__
    if doc:
        for quotes in ('"""', "'''"):
            text = text.replace(f"{quotes}{doc}{quotes}", "", 1)
    return "\n".join(line for line in text.splitlines() if line.strip())


def _graph(report: DerivationReport) -> str:
    """The graph as SVG, with each named value colored by the verdict on its line; the error if it cannot be drawn."""
    from minigrad.drawing import EngineNotFound

    try:
        svg = report.draw().pipe("svg", "utf-8")
    except (EngineNotFound, ImportError) as error:
        return f'<p class="note">{escape(str(error))}</p>'
    return f'<div class="graph">{svg[svg.index("<svg") :]}</div>'
