"""The gallery: one self-contained HTML page with all pictures, claims and measured numbers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from minigrad.app.notes.experiment import CHAPTERS, Claim, Outcome
from minigrad.util.report import counted
from minigrad.verify.derivation.derivation_page import document

STYLE = """
.picture { background: white; padding: .5rem; margin: 1rem 0 .3rem; } .picture img { width: 100%; height: auto; }
figcaption { opacity: .75; font-size: .9rem; } figure { margin: 0 0 1rem; } nav li { margin: .1rem 0; }
h3 { margin-top: 2.5rem; } td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""


def page(outcomes: Sequence[Outcome], pictures: Mapping[str, Path]) -> str:
    """The page of these outcomes, with the pictures in files, by the names of their experiments."""
    failed = sum(not claim.ok for outcome in outcomes for claim in outcome.claims)
    claims = counted(sum(len(outcome.claims) for outcome in outcomes), "claim")
    title = f"The course notes, reproduced: {claims}, " + (f"{failed} failed" if failed else "all hold")
    contents, body = "", ""
    for chapter, members in chapters(outcomes).items():
        links = "".join(f'<li><a href="#{o.experiment.name}">{escape(o.experiment.title)}</a></li>' for o in members)
        contents += f"<li>{escape(chapter)}<ul>{links}</ul></li>"
        sections = "".join(_section(outcome, pictures[outcome.experiment.name]) for outcome in members)
        body += f"<h2>{escape(chapter)}</h2>{sections}"
    return document(title, not failed, f"<nav><ul>{contents}</ul></nav>{body}", STYLE)


def chapters(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes by chapter of the notes; those without a chapter come last."""
    by_name = {outcome.experiment.name: outcome for outcome in outcomes}
    sorted_in = {title: [by_name.pop(name) for name in names if name in by_name] for title, names in CHAPTERS.items()}
    return {title: members for title, members in {**sorted_in, "Others": [*by_name.values()]}.items() if members}


def _section(outcome: Outcome, picture: Path) -> str:
    experiment = outcome.experiment
    statement = "".join(f"<p>{escape(part)}</p>" for part in experiment.statement)
    image = b64encode(picture.read_bytes()).decode()
    rows = "".join(map(_row, outcome.claims))
    return (
        f'<section id="{experiment.name}"><h3>{escape(experiment.title)}</h3>{statement}'
        f'<figure><div class="picture"><img alt="{escape(experiment.caption)}" src="data:image/svg+xml;base64,{image}">'
        f"</div><figcaption>{escape(experiment.caption)}</figcaption></figure>"
        "<table><tr><th></th><th>claim</th><th>bound</th><th>measured</th></tr>"
        f'{rows}</table><p class="note">{escape(outcome.headline)}</p></section>'
    )


def _row(claim: Claim) -> str:
    mark = '<span class="right">✓</span>' if claim.ok else '<span class="wrong verdict">✗ failed</span>'
    because = f'<div class="note">because {escape(claim.because)}</div>' if claim.because else ""
    return (
        f"<tr><td>{mark}</td><td>{escape(claim.text)}{because}</td>"
        f'<td class="number">{escape(claim.bound)}</td><td class="number">{escape(claim.spread)}</td></tr>'
    )
