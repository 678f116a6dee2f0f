"""The report of a watch: a table with the worst layers first, a sentence for each finding, and a hint."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from typing import Any

from minigrad.diagnostics.observer.observer import ModelObserver
from minigrad.diagnostics.observer.watched_layer import WatchedLayer
from minigrad.diagnostics.report import layer_checks, update_checks
from minigrad.diagnostics.report.findings import EXPLAINED_BY, Finding
from minigrad.diagnostics.report.prediction import Prediction, predictions
from minigrad.util.report import Report, counted, table
from minigrad.util.text import percent, power_of_ten, two_digits

# In the order in which causes are reported. Causes that explain others come before them.
CHECKS = (
    layer_checks.not_finite, layer_checks.inputs, layer_checks.symmetric, layer_checks.recurrent, layer_checks.scale,
    layer_checks.saturated, update_checks.learning_rate, layer_checks.dead, layer_checks.drift, layer_checks.gradients,
    update_checks.frozen,
)  # fmt: skip
COLUMNS = {  # of the table: the number of a layer, and its format
    "mean": two_digits,
    "std": two_digits,
    "zero": percent,
    "saturated": percent,
    "dead": percent,
    "gradient": power_of_ten,
    "update": power_of_ten,
}
HEADS = {"gradient": "gradient rms", "update": "update/weight"}
SHOWN = 14  # layers in the table, findings below it
WIDTH = 118
PREDICTED = "at the first step: n·Var(w), times what the activation before it keeps (½ for ReLU: He et al. 2015)"


@dataclass
class WatchReport(Report):
    """The result of `Watch.report`. Print it; in a notebook it is a table.

    Attributes:
        model: the name of the model's class.
        findings: what is wrong, worst first; consequences of other findings come last.
        layers: the layers, with their numbers at the first step and at the last.
        predictions: the scale of each linear or convolutional layer at initialization, in theory and as measured.
        notes: what could not be judged, for example if there was no backward pass.
        steps: the number of steps.
    """

    model: str
    findings: list[Finding]
    layers: list[WatchedLayer]
    predictions: list[Prediction]
    notes: list[str]
    steps: int

    @classmethod
    def of(cls, watch: ModelObserver) -> WatchReport:
        """The report on everything that was measured so far."""
        layers = [layer for layer in watch.layers.values() if layer.steps]
        findings = _explain([finding for check in CHECKS for finding in check(watch)])
        notes = _notes(watch, layers)
        return cls(type(watch.model).__name__, findings, layers, predictions(layers), notes, watch.step)

    @property
    def ok(self) -> bool:
        """Whether nothing wrong was found."""
        return not self.findings

    @property
    def causes(self) -> list[str]:
        """The causes that no other cause explains, each once, worst first."""
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
        extent = f"{counted(len(self.layers), 'layer')} in {counted(self.steps, 'step')}"
        if not self.layers:
            return f"{self.model}: nothing was observed"
        if self.ok:
            return f"{self.model}: nothing wrong found, {extent}"
        return f"{self.model}: {', '.join(self.causes)}; {extent}"

    def _sorted(self) -> list[WatchedLayer]:
        """The layers, those with findings first and in the order of these."""
        names = [f.layer for f in self.findings]
        return sorted(self.layers, key=lambda x: names.index(x.name) if x.name in names else len(names))

    def _cells(self) -> list[list[str]]:
        """The table of the last step of each layer, without empty columns."""
        columns = [c for c in COLUMNS if any(c in layer.now for layer in self.layers)]
        with_findings = {f.layer for f in self.findings}
        rows = [["", "layer", "kind", *(HEADS.get(c, c) for c in columns)]]
        for layer in self._sorted()[:SHOWN]:
            cells = [_cell(layer.now.get(c, math.nan), COLUMNS[c]) for c in columns]
            rows.append(["✗" if layer.name in with_findings else "", layer.name, layer.kind, *cells])
        return rows

    def _table(self) -> list[str]:
        if not self.layers:
            return []
        return [*table(self._cells()), *_more(self.layers, "layer")]

    def _sentences(self) -> list[str]:
        """Each finding, with one hint after those that share it; then, in short, their consequences."""
        lines = []
        for sentence, remedy in self._root_findings():
            lines += _wrapped(f"✗ {sentence}", "    ")
            lines += _wrapped(f"  → {remedy}", "    ") if remedy else []
        lines += _more([f for f in self.findings if not f.follows_from], "finding")
        return lines + [line for text in self._consequences() for line in _wrapped(f"  {text}", "    ")]

    def _root_findings(self) -> list[tuple[str, str]]:
        """The sentence and the remedy of each finding that no other explains; "" if the next one shares the remedy."""
        roots = [f for f in self.findings if not f.follows_from][:SHOWN]
        is_shared = [f.remedy == after.remedy for f, after in pairwise(roots)] + [False]
        return [(_sentence(f), "" if shared else f.remedy) for f, shared in zip(roots, is_shared, strict=False)]

    def _consequences(self) -> list[str]:
        """A line for each cause that another one explains."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for f in self.findings:
            if f.follows_from:
                grouped.setdefault((f.cause, f.follows_from), []).append(f.layer)
        lines = []
        for (cause, origin), names in grouped.items():
            layers = [name for name in names if name]
            where = f" (layer{'s' if len(layers) > 1 else ''} {', '.join(layers)})" if layers else ""
            lines.append(f"{cause}{where}: follows from {origin}")
        return lines

    def _predicted(self) -> list[tuple[str, ...]]:
        head = ("layer", "n", "n·Var(w)", "activation keeps", "rms predicted", "measured")
        return [head, *(p.row() for p in self.predictions[:SHOWN])]

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
        for sentence, remedy in self._root_findings():
            hint = f'<br><span style="opacity:.75">→ {escape(remedy)}</span>' if remedy else ""
            parts.append(f'<p style="margin:.4em 0"><span style="color:#a33b00">✗</span> {escape(sentence)}{hint}</p>')
        parts += [f'<p style="margin:.4em 0;opacity:.75">{escape(text)}</p>' for text in self._consequences()]
        if self.predictions:
            parts.append(f"<p>{escape(PREDICTED)}</p>")
            parts.append(_html_table(self._predicted()))
        parts += [f"<p>note: {escape(note)}</p>" for note in self.notes]
        return f"<div>{''.join(parts)}</div>"


def _sentence(finding: Finding) -> str:
    where = f"layer {finding.layer}: " if finding.layer else ""
    return f"{where}{finding.sentence}"


def _explain(findings: list[Finding]) -> list[Finding]:
    """The findings with the causes that explain them; those that nothing explains come first."""
    causes = {finding.cause for finding in findings}
    result = []
    for finding in findings:
        explanation = next((c for c in EXPLAINED_BY.get(finding.cause, ()) if c in causes), "")
        result.append(replace(finding, follows_from=explanation or finding.follows_from))
    return sorted(result, key=lambda finding: bool(finding.follows_from))


def _notes(watch: ModelObserver, layers: list[WatchedLayer]) -> list[str]:
    """What could not be judged, and what to do about it."""
    if not watch.passes:
        return ["the model was not called inside the block; call it there: `with watch(model) as w: model(x)`"]
    if not layers:
        return ["no layer was called with arrays. Make layers attributes of the Module, so that it knows them"]
    notes = []
    if not watch.parameters:
        notes.append(
            "the model has no parameters; if it should, make its layers attributes, or put them in nn.ModuleList"
        )
    if not watch.backwards:
        notes.append("there was no backward pass: gradients and updates are not judged")
    elif not watch.updates and watch.parameters:
        notes.append("no parameter changed: updates are not judged")
    not_called = [
        name for name, module in watch.model.named_modules() if module._parameters and module not in watch.layers
    ]
    if not_called and not watch.updates:
        notes.append(f"not called: {', '.join(not_called[:5])}{' and others' if len(not_called) > 5 else ''}")
    return notes


def _more(rows: Sequence[Any], noun: str) -> list[str]:
    """A line with the number of rows that are not shown, if there are any."""
    return [f"  and {counted(len(rows) - SHOWN, f'more {noun}')}"] if len(rows) > SHOWN else []


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False)


def _cell(value: float, format: Any) -> str:
    return "" if math.isnan(value) else format(value)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """The values without NaN and infinities, which JSON does not have: None and text instead."""
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
