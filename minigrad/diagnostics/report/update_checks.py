"""Checks of how the parameters change; each yields findings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import numpy as np

from minigrad.diagnostics.observer.observer import ModelObserver
from minigrad.diagnostics.observer.watched_layer import WatchedParameter, norm
from minigrad.diagnostics.report.findings import Finding
from minigrad.nn.module import Module
from minigrad.util.report import counted
from minigrad.util.text import two_digits

USUAL = 1e-3  # an update is about a thousandth of the weights (Karpathy, CS231n notes, "Neural Networks Part 3")
LARGE, SMALL = 0.2, 1e-5  # update-to-weight ratios of most steps
HUGE = 2.0  # that of a single step
RULE = "the rule of thumb is 1e-3 (CS231n)"


def learning_rate(w: ModelObserver) -> Iterator[Finding]:
    """Updates much too large or too small for the weights that they change."""
    changed = [p for p in w.parameters if p.is_weight and p.ratios]
    if not changed:
        return
    typical = statistics.median(statistics.median(p.ratios) for p in changed)
    peak = statistics.median(p.largest_ratio for p in changed)
    if typical > LARGE or peak > HUGE:
        first = statistics.median(p.first_ratio for p in changed)
        times = 10 ** round(np.log10(max(first, LARGE) / USUAL))
        times_size = (
            f"{two_digits(max(typical, 0.01))} of" if LARGE < typical < 1 else f"up to {two_digits(peak)} times"
        )
        change = f"by {times_size} their size" if peak < 1e4 else "by far more than their size"
        sentence = f"learning rate too large: a step changes the weights {change}; {RULE}"
        remedy = f"divide the learning rate by about {times:g}, or warm it up"
        evidence = {"update_to_weight": typical, "largest": peak, "at_first": first}
        yield Finding("", "learning rate too large", sentence, remedy, evidence)
        return
    largest = max(p.largest_ratio for p in changed)
    slopes = [p.largest_gradient / size for p in changed if (size := _rms(p))]
    if largest < SMALL and slopes and statistics.median(slopes) > 1e-4:
        times = 10 ** round(np.log10(USUAL / max(largest, 1e-12)))
        sentence = (
            f"learning rate too small: a step changes the weights by at most {largest:.0e} of their size; {RULE}, and "
            "the gradients are not small"
        )
        remedy = f"multiply the learning rate by about {times:g}"
        yield Finding("", "learning rate too small", sentence, remedy, {"update_to_weight": largest})


def _rms(p: WatchedParameter) -> float:
    return norm(p.tensor.data) / math.sqrt(max(p.tensor.size, 1))


def frozen(w: ModelObserver) -> Iterator[Finding]:
    """Layers that do not change while others do."""
    if not w.updates:
        return
    called = {layer.module for layer in w.layers.values() if layer.module is not None}
    for module in w.model.modules():
        own = {id(getattr(module, name)) for name in module._parameters}
        parameters = [p for p in w.parameters if id(p.tensor) in own]
        if not parameters or any(p.updates for p in parameters):
            continue
        name = parameters[0].name.rpartition(".")[0]
        cause, why, remedy = _why_frozen(parameters, module in called, module)
        sentence = f"{cause}: its parameters did not change in {counted(w.updates, 'update')}; {why}"
        yield Finding(name, cause, sentence, remedy, {"parameters": len(parameters), "why": why})


def _why_frozen(parameters: list[WatchedParameter], was_called: bool, module: Module) -> tuple[str, str, str]:
    """The cause, its explanation, and a hint."""
    if not any(p.tensor.requires_grad for p in parameters):
        remedy = "if this is not intended: layer.requires_grad_(True), and a new optimizer"
        return "frozen", "requires_grad is False", remedy
    if not was_called:
        return "frozen", f"this {type(module).__name__} was never called", "call it in forward, or remove it"
    if not any(p.had_gradient for p in parameters):
        remedy = "look for detach(), .data, .numpy() or no_grad() on the way to the loss, or for an unused output"
        return "frozen", "no gradient reaches it", remedy
    if not any(p.largest_gradient > 0 for p in parameters):
        remedy = "check the layers after it: dead units, saturation, or weights of 0"
        return "no gradient", "their gradient is exactly 0", remedy
    why = "it has a gradient, so the optimizer does not know its parameters"
    return "frozen", why, "give model.parameters() to the optimizer"
