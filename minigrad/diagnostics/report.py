"""What a watch found: one table sorted by trouble, a sentence for each, and a hint."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from minigrad.diagnostics import signals, updates
from minigrad.diagnostics.findings import EXPLAINED_BY, Finding, percent, short, small
from minigrad.diagnostics.layers import Layer
from minigrad.diagnostics.prediction import Prediction, predictions
from minigrad.util.report import Report as Base
from minigrad.util.report import counted, table

if TYPE_CHECKING:
    from minigrad.diagnostics.watching import Watch

# In the order in which causes are told. What explains others comes before them.
RULES = (
    signals.not_finite, signals.inputs, signals.symmetric, signals.recurrent, signals.scale, signals.saturated,
    updates.learning_rate, signals.dead, signals.drift, signals.gradients, updates.frozen,
)  # fmt: skip
COLUMNS = {  # of the table: the number of a layer, and how it is written
    "mean": short,
    "std": short,
    "zero": percent,
    "saturated": percent,
    "dead": percent,
    "gradient": small,
    "update": small,
}
HEADS = {"gradient": "gradient rms", "update": "update/weight"}
SHOWN = 14  # layers in the table, findings below it
WIDTH = 118
PREDICTED = "at the first step: n·Var(w), times what the activation before keeps (½ of it behind ReLU: He et al. 2015)"


@dataclass
class Report(Base):
    """What `Watch.report` returns. Print it; in a notebook it is a table.

    Attributes:
        model: the name of its class.
        findings: what is wrong, worst first; consequences of other findings come after those.
        layers: for each layer its numbers at the first step and at the last.
        predictions: the scale of each linear or convolutional layer at initialization, in theory and as measured.
        notes: what the watch did not see, for example that there was no backward pass.
        steps: how many there were.
    """

    model: str
    findings: list[Finding]
    layers: list[Layer]
    predictions: list[Prediction]
    notes: list[str]
    steps: int

    @classmethod
    def of(cls, watch: Watch) -> Report:
        """The report on what a watch has seen so far."""
        layers = [layer for layer in watch.layers.values() if layer.steps]
        found = _explained([finding for rule in RULES for finding in rule(watch)])
        shown = predictions(layers)
        return cls(type(watch.model).__name__, found, layers, shown, _notes(watch, layers), watch.step)

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.findings

    @property
    def causes(self) -> list[str]:
        """The different causes, without those that others explain, worst first."""
        return list(dict.fromkeys(f.cause for f in self.findings if not f.follows_from))

    # Text

    def __str__(self) -> str:
        lines = [self._verdict(), *self._table(), *self._sentences()]
        if self.predictions:
            more = len(self.predictions) - SHOWN
            lines += [
                PREDICTED,
                *table(self._predicted()),
                *([f"  and {counted(more, 'more layer')}"] if more > 0 else []),
            ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _verdict(self) -> str:
        seen = f"{counted(len(self.layers), 'layer')} in {counted(self.steps, 'step')}"
        if not self.layers:
            return f"{self.model}: nothing was seen"
        if self.ok:
            return f"{self.model}: nothing wrong found, {seen}"
        return f"{self.model}: {', '.join(self.causes)}; {seen}"

    def _sorted(self) -> list[Layer]:
        """Layers with findings first, in the order of these."""
        places = [f.layer for f in self.findings]
        return sorted(self.layers, key=lambda x: places.index(x.name) if x.name in places else len(places))

    def _cells(self) -> list[list[str]]:
        """The table: the last step of each layer, without columns that are empty."""
        columns = [c for c in COLUMNS if any(c in layer.now for layer in self.layers)]
        troubled = {f.layer for f in self.findings}
        rows = [["", "layer", "kind", *(HEADS.get(c, c) for c in columns)]]
        for layer in self._sorted()[:SHOWN]:
            cells = [_cell(layer.now.get(c, math.nan), COLUMNS[c]) for c in columns]
            rows.append(["✗" if layer.name in troubled else "", layer.name, layer.kind, *cells])
        return rows

    def _table(self) -> list[str]:
        if not self.layers:
            return []
        return [*table(self._cells()), *_more(self.layers, "layer")]

    def _sentences(self) -> list[str]:
        """Each finding, and after those with the same remedy what to do; then, in short, what follows from them."""
        lines = []
        for told, remedy in self._own():
            lines += _wrapped(f"✗ {told}", "    ")
            lines += _wrapped(f"  → {remedy}", "    ") if remedy else []
        lines += _more([f for f in self.findings if not f.follows_from], "finding")
        return lines + [line for text in self._consequences() for line in _wrapped(f"  {text}", "    ")]

    def _own(self) -> list[tuple[str, str]]:
        """What is told of each finding that no other explains, and the remedy of the last of those that share it."""
        own = [f for f in self.findings if not f.follows_from][:SHOWN]
        shared = [f.remedy == after.remedy for f, after in pairwise(own)] + [False]
        return [(_told(f), "" if is_shared else f.remedy) for f, is_shared in zip(own, shared, strict=False)]

    def _consequences(self) -> list[str]:
        """A line for each cause that another explains."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for f in self.findings:
            if f.follows_from:
                grouped.setdefault((f.cause, f.follows_from), []).append(f.layer)
        lines = []
        for (cause, origin), names in grouped.items():
            known = [name for name in names if name]
            where = f" (layer{'s' if len(known) > 1 else ''} {', '.join(known)})" if known else ""
            lines.append(f"{cause}{where}: follows from {origin}")
        return lines

    def _predicted(self) -> list[tuple[str, ...]]:
        head = ("layer", "n", "n·Var(w)", "activation keeps", "rms predicted", "measured")
        shown = self.predictions[:SHOWN]
        return [head, *(p.row() for p in shown)]

    # Other forms

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return {
            "model": self.model,
            "ok": self.ok,
            "steps": self.steps,
            "causes": self.causes,
            "findings": [_plain(f.to_dict()) for f in self.findings],
            "layers": [
                {"layer": x.name, "kind": x.kind, "first": _plain(x.at_first), "last": _plain(x.now)}
                for x in self.layers
            ],
            "predictions": [_plain(dict(vars(p))) for p in self.predictions],
            "notes": self.notes,
        }

    def _repr_html_(self) -> str:
        color = "#00664f" if self.ok else "#a33b00"
        parts = [f'<b style="color:{color}">{escape(self._verdict())}</b>']
        if self.layers:
            parts.append(_html_table(self._cells()))
        for told, remedy in self._own():
            hint = f'<br><span style="opacity:.75">→ {escape(remedy)}</span>' if remedy else ""
            parts.append(f'<p style="margin:.4em 0"><span style="color:#a33b00">✗</span> {escape(told)}{hint}</p>')
        parts += [f'<p style="margin:.4em 0;opacity:.75">{escape(text)}</p>' for text in self._consequences()]
        if self.predictions:
            parts.append(f"<p>{escape(PREDICTED)}</p>")
            parts.append(_html_table(self._predicted()))
        parts += [f"<p>note: {escape(note)}</p>" for note in self.notes]
        return f"<div>{''.join(parts)}</div>"


def _told(finding: Finding) -> str:
    where = f"layer {finding.layer}: " if finding.layer else ""
    return f"{where}{finding.sentence}"


def _explained(found: list[Finding]) -> list[Finding]:
    """Findings with the causes that explain them; those that nothing explains first."""
    causes = {finding.cause for finding in found}
    marked = []
    for finding in found:
        explaining = next((c for c in EXPLAINED_BY.get(finding.cause, ()) if c in causes), "")
        marked.append(replace(finding, follows_from=explaining or finding.follows_from))
    return sorted(marked, key=lambda finding: bool(finding.follows_from))


def _notes(watch: Watch, layers: list[Layer]) -> list[str]:
    """What could not be seen, and what to do about it."""
    if not watch.passes:
        return ["the model was not called inside the block; call it there: `with watch(model) as w: model(x)`"]
    if not layers:
        return ["no layer was seen to work on arrays. Make layers attributes of the Module, so that it knows them"]
    notes = []
    if not watch.parameters:
        notes.append(
            "the model has no parameters; if it should, make its layers attributes, or put them in nn.ModuleList"
        )
    if not watch.backwards:
        notes.append("there was no backward pass: gradients and updates are not judged")
    elif not watch.updates and watch.parameters:
        notes.append("no parameter changed: updates are not judged")
    idle = [name for name, module in watch.model.named_modules() if module._parameters and module not in watch.layers]
    if idle and not watch.updates:
        notes.append(f"not called: {', '.join(idle[:5])}{' and others' if len(idle) > 5 else ''}")
    return notes


def _more(rows: Sequence[Any], noun: str) -> list[str]:
    """A line that says how many are not shown."""
    return [f"  and {counted(len(rows) - SHOWN, f'more {noun}')}"] if len(rows) > SHOWN else []


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _cell(value: float, written: Any) -> str:
    return "" if math.isnan(value) else written(value)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: these become None and text."""
    plain: dict[str, Any] = {}
    for name, x in values.items():
        if isinstance(x, dict):
            plain[name] = _plain(x)
        elif isinstance(x, float) and not math.isfinite(x):
            plain[name] = None if math.isnan(x) else str(x)
        else:
            plain[name] = x
    return plain


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    style = "text-align:left;padding:.1em .7em"
    head = "".join(f'<th style="{style}">{escape(cell)}</th>' for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f'<td style="{style}">{escape(cell)}</td>' for cell in row) + "</tr>" for row in rows[1:]
    )
    return f"<table><tr>{head}</tr>{body}</table>"
