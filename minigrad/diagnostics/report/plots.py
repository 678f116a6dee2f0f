"""Histograms of the values and gradients of layers, with matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.diagnostics.observer.observer import ModelObserver
from minigrad.diagnostics.observer.statistics import Histogram
from minigrad.diagnostics.observer.watched_layer import WatchedLayer
from minigrad.diagnostics.report.watch_report import WatchReport
from minigrad.util.text import percent

SHOWN = 8  # layers
FIRST, LAST, TROUBLE = "#9aa5b1", "#0a6ebd", "#b03a00"


def histograms(watch: ModelObserver, report: WatchReport, path: Any = None) -> Any:
    """The values of each layer, and below them the sizes of its gradients, at the first step and at the last."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Watch.plot() draws with matplotlib, which is not installed: pip install 'minigrad[plot]'. The numbers are "
            "in .history and .report()"
        ) from error
    layers = [layer for layer in watch.layers.values() if layer.histogram.last is not None]
    if not layers:
        raise ValueError("Watch.plot(): nothing was observed; call the model inside `with diagnostics.watch(model)`")
    shown = _select(layers)
    troubled = {finding.layer: finding.cause for finding in reversed(report.findings)}
    columns = len(shown)
    figure = Figure(figsize=(max(2.0 * columns, 5.0), 4.2), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False)
    verdict = ", ".join(report.causes) or "nothing wrong found"
    figure.suptitle(f"{report.model}: {verdict}", fontsize=11, color=TROUBLE if report.causes else "black")
    for k, layer in enumerate(shown):
        cause = troubled.get(layer.name)
        title = layer.name if layer.name.endswith(layer.kind) else f"{layer.name} {layer.kind}"
        axes[0, k].set_title(title + (f"\n{cause}" if cause else "\n"), fontsize=9, color=TROUBLE if cause else "black")
        _draw(axes[0, k], layer.histogram)
        _draw(axes[1, k], layer.gradient_histogram)
    axes[0, 0].set_ylabel("values", fontsize=9)
    axes[1, 0].set_ylabel("log₁₀ |gradient|", fontsize=9)
    _share_gradient_axis(axes[1], shown)
    labels = ["first step", f"last of {watch.step} steps"] if watch.step > 1 else ["the only step"]
    handles = axes[0, 0].patches[-len(labels) :] if len(labels) == 1 else axes[0, 0].patches[:2]
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def _select(layers: list[WatchedLayer]) -> list[WatchedLayer]:
    """At most `SHOWN` layers, evenly spread: the activations, or all layers if these are few."""
    activations = [x for x in layers if x.function is not None or x.bounds is not None or x.is_rectifier]
    candidates = layers if len(layers) <= 6 or len(activations) < 2 else activations
    indices = np.unique(np.linspace(0, len(candidates) - 1, min(SHOWN, len(candidates))).astype(int))
    return [candidates[k] for k in indices]


def _draw(axes: Any, histogram: Histogram) -> None:
    """The first step as a gray area, the last as a line."""
    axes.set_yticks([])
    axes.tick_params(labelsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if histogram.last is None:
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, fontsize=8, color=FIRST)
        return
    is_single = histogram.first is histogram.last
    fractions = [counts / counts.sum() for counts in (histogram.first, histogram.last)]
    if not is_single:
        axes.stairs(fractions[0], histogram.edges, fill=True, color=FIRST, alpha=0.55)
    axes.stairs(fractions[1], histogram.edges, fill=is_single, color=LAST, linewidth=1.3)
    peak = int(np.argmax(fractions[1]))
    others = max(float(np.delete(fraction, peak).max()) for fraction in fractions)
    if 0 < 4 * others < fractions[1][peak]:  # one bin, such as a rectifier's zeros, would hide the others
        axes.set_ylim(0, 1.6 * others)
        axes.annotate(
            f" {percent(fractions[1][peak])}",
            (histogram.edges[peak + 1], 1.5 * others),
            fontsize=8,
            color=LAST,
            va="top",
        )


def _share_gradient_axis(axes: Any, shown: list[WatchedLayer]) -> None:
    """One range for the gradients of all layers, so that they can be compared."""
    histograms = [layer.gradient_histogram for layer in shown]
    counts = [h for histogram in histograms for h in (histogram.first, histogram.last) if h is not None]
    if not counts:
        return
    edges = histograms[0].edges
    filled = np.flatnonzero(np.sum(counts, axis=0))
    for one in axes:
        one.set_xlim(edges[filled[0]] - 0.5, edges[filled[-1] + 1] + 0.5)
