"""Checks of the values and gradients of layers; each yields findings."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from minigrad import nn
from minigrad.diagnostics.observer.observer import ModelObserver
from minigrad.diagnostics.observer.statistics import are_units_equal
from minigrad.diagnostics.observer.watched_layer import WatchedLayer
from minigrad.diagnostics.report.findings import Finding
from minigrad.util.text import percent, two_digits

SATURATED = 0.3  # fraction of units
SATURATED_BY_WEIGHTS = 0.1  # the same, if the initial weights were far too large
DEAD = 0.6  # fraction of units
FAR = 3.0  # initial weights may be this many times larger or smaller than usual
DRIFT = 20.0  # rms may change by this factor over a deep network
DEEP = 8  # layers
GRADIENT = 1e-4  # a gradient may shrink by this factor over the layers, or grow by its inverse
RECURRENT_GROWTH = 100.0


def not_finite(w: ModelObserver) -> Iterator[Finding]:
    """NaN and infinities: where they arose."""
    anomaly = w.anomalies.remaining()
    touched = [layer for layer in w.layers.values() if layer.first_not_finite is not None]
    if anomaly is not None:
        step = w.anomalies.step_of_first
        when = "" if step is None else f" in step {step}"
        cause = "overflow" if anomaly.cause == "exploding gradient" else anomaly.cause
        code = f": {anomaly.place.expression}" if anomaly.place is not None and anomaly.place.expression else ""
        sentence = f"{anomaly.headline()}{when}{code}; {anomaly.reason.sentence}"
        evidence = {"step": step, **anomaly.to_dict()}
        yield Finding(anomaly.scope.replace("/", "."), cause, sentence, anomaly.remedy, evidence)
    elif touched:
        layer = min(touched, key=lambda layer: layer.first_not_finite or 0)
        step = layer.first_not_finite
        sentence = f"NaN or infinity from step {step} on, first seen in the output of this layer"
        remedy = "run one step inside mg.detect_anomaly(), which names the operation and the line"
        yield Finding(layer.name, "not finite", sentence, remedy, {"step": step})


def inputs(w: ModelObserver) -> Iterator[Finding]:
    """Input data that were not standardized."""
    remedy = "standardize the inputs: preprocessing.Standardize().fit(x_train), mean 0 and std 1 for each feature"
    for layer in w.layers.values():
        if not layer.is_first or layer.is_normalization or isinstance(layer.module, nn.Embedding) or not layer.at_first:
            continue
        rms, mean, std = (layer.at_first[f"input_{what}"] for what in ("rms", "mean", "std"))
        evidence = {"rms": rms, "mean": mean, "std": std}
        spreads = layer.features[1] if layer.features is not None else np.zeros(0)
        typical = float(np.median(spreads[spreads > 0])) if spreads.any() else math.nan
        if spreads.size > 1 and spreads.max() > 30 * typical:
            k = int(np.argmax(spreads))
            sentence = (
                f"feature {k} of the inputs has std {two_digits(spreads[k])}, a typical one {two_digits(typical)}"
            )
            yield Finding(layer.name, "inputs not scaled", sentence, remedy, {**evidence, "feature": k})
        elif rms > 5 or 0 < rms < 0.005:
            sentence = (
                f"the inputs have mean {two_digits(mean)} and std {two_digits(std)}; they should be about 0 and 1"
            )
            yield Finding(layer.name, "inputs not scaled", sentence, remedy, evidence)


def symmetric(w: ModelObserver) -> Iterator[Finding]:
    """Units that are equal and stay equal, because their gradients are equal too."""
    for layer in w.layers.values():
        weight = layer.weight
        if weight is None or layer.is_last or not layer.equal_units or not layer.equal_gradients or not layer.steps:
            continue
        if are_units_equal(weight.tensor.data):
            n = weight.shape[-1]
            weights = "their weights started at 0" if not weight.first_mean_square else "so are their weights"
            sentence = (
                f"all {n} units are equal, {weights}, and so are their gradients: they will always act as one unit"
            )
            remedy = 'draw the weights at random, init="glorot_uniform" or "he_normal"; only biases may start at 0'
            yield Finding(layer.name, "symmetric", sentence, remedy, {"units": n})


def recurrent(w: ModelObserver) -> Iterator[Finding]:
    """Gradients that grow from step to step of a sequence."""
    for layer in w.layers.values():
        if layer.growth is None:
            continue
        steps, growth = layer.growth
        if not growth > max(RECURRENT_GROWTH, 3 * steps):  # losses at all steps alone give a factor of `steps`
            continue
        per_step = growth ** (1 / (steps - 1))
        radius = layer.spectral_radius
        weights = "" if radius is None else f"; the spectral radius of weight_hh is {two_digits(radius)}"
        sentence = (
            f"exploding recurrent network: the gradient grows by a factor of {two_digits(per_step)} per step of the "
            f"sequence, {growth:.1e} over {steps} steps{weights}"
        )
        remedy = (
            "clip the gradients (global_clipnorm=1.0 in the optimizer), start with an orthogonal weight_hh "
            "(nn.init.orthogonal), or use an LSTM or GRU"
        )
        evidence = {"growth": growth, "steps": steps, "at_first": layer.growth_at_first, "spectral_radius": radius}
        yield Finding(layer.name, "exploding recurrent", sentence, remedy, evidence)


def saturated(w: ModelObserver) -> Iterator[Finding]:
    """Activations at their bounds, where the slope is 0."""
    for layer in w.layers.values():
        if layer.bounds is None or "saturated" not in layer.now:
            continue
        at_first, now = layer.at_first["saturated"], layer.now["saturated"]
        fraction = at_first if layer.is_last else max(at_first, now)  # the last layer may become certain
        if not fraction > (SATURATED_BY_WEIGHTS if _is_fed_by_large_weights(layer) else SATURATED):
            continue
        low, high = (f"{bound:g}" for bound in layer.bounds)
        sentence = f"saturated {layer.kind.lower()}, {percent(fraction)} of units within 0.01 of {low} or {high}"
        evidence = {"saturated": fraction, "at_first": at_first}
        remedy = 'draw the weights with init="glorot_normal", or normalize before the activation (BatchNorm, LayerNorm)'
        feeder = layer.feeder
        if feeder is not None and feeder.weight is not None:
            std, glorot = feeder.weight.first_std, feeder.standard()["Glorot"]
            evidence |= {"weight_std": std, "glorot_std": glorot}
            if std > 2 * glorot:
                sentence += f"; std of the weights is {two_digits(std)}, Glorot would be {two_digits(glorot)}"
            else:
                rms = feeder.at_first["input_rms"] if at_first > SATURATED else feeder.now["input_rms"]
                sentence += (
                    f"; its weights started as usual (std {two_digits(std)}), its inputs have rms {two_digits(rms)}"
                )
        if at_first <= SATURATED:
            sentence += f"; at the first step it was {percent(at_first)}"
            remedy = "lower the learning rate, or normalize before the activation (BatchNorm, LayerNorm)"
        yield Finding(layer.name, "saturated", sentence, remedy, evidence)


def _is_fed_by_large_weights(layer: WatchedLayer) -> bool:
    feeder = layer.feeder
    if feeder is None or feeder.weight is None:
        return False
    return feeder.weight.first_std > FAR * max(feeder.standard().values())


def _is_normalized(w: ModelObserver, layer: WatchedLayer) -> bool:
    """Whether a normalization follows directly: then the scale of the weights does not matter."""
    return any(other.is_normalization and other.feeder is layer for other in w.layers.values())


def _hidden(w: ModelObserver) -> list[WatchedLayer]:
    """Linear and convolutional layers that ran, without the last one."""
    layers = [layer for layer in w.layers.values() if layer.weight is not None and layer.at_first]
    return [layer for layer in layers if not layer.is_last][: max(len(layers) - 1, 0)]


def scale(w: ModelObserver) -> Iterator[Finding]:
    """Initial weights much smaller or larger than usual for the layer's width."""
    for layer in _hidden(w):
        weight, usual, first = layer.weight, layer.standard(), layer.at_first
        if weight is None or not weight.first_std or _is_normalized(w, layer) or not first["input_rms"]:
            continue
        std, gain = weight.first_std, first["rms"] / first["input_rms"]
        evidence = {"weight_std": std, **{f"{name.lower()}_std": value for name, value in usual.items()}, "gain": gain}
        glorot, he = two_digits(usual["Glorot"]), two_digits(usual["He"])
        weights = f"their std is {two_digits(std)}, Glorot would be {glorot}, He {he}"
        remedy = 'draw the weights with init="glorot_normal" (tanh, sigmoid) or "he_normal" (ReLU), or normalize after'
        if std < min(usual.values()) / FAR and gain < 1 / FAR:
            sentence = (
                f"weights too small: {weights}; the layer shrinks its input by a factor of {two_digits(1 / gain)}"
            )
            yield Finding(layer.name, "weights too small", sentence, remedy, evidence)
        elif std > max(usual.values()) * FAR and gain > FAR and not _feeds_bounded(w, layer):
            sentence = f"weights too large: {weights}; the layer enlarges its input by a factor of {two_digits(gain)}"
            yield Finding(layer.name, "weights too large", sentence, remedy, evidence)


def _feeds_bounded(w: ModelObserver, layer: WatchedLayer) -> bool:
    return any(other.bounds is not None and other.feeder is layer for other in w.layers.values())


def dead(w: ModelObserver) -> Iterator[Finding]:
    """Rectifiers with many units that are 0 for every row."""
    for layer in w.layers.values():
        fraction = layer.now.get("dead", math.nan)
        if layer.is_rectifier and fraction > DEAD:
            at_first = layer.at_first.get("dead", math.nan)
            sentence = f"dead ReLU: {percent(fraction)} of its units are 0 for every row, and no gradient passes them"
            feeder = layer.feeder
            bias = next((p for p in feeder.parameters if not p.is_weight), None) if feeder is not None else None
            if bias is not None and bias.tensor.size:
                mean = float(np.mean(bias.tensor.data, dtype=np.float64))
                sentence += f"; the bias before it has mean {two_digits(mean)}" if mean < -0.5 else ""
            if at_first <= DEAD:
                sentence += f"; at the first step it was {percent(at_first)}"
            starved = feeder is not None and feeder.now.get("input_rms") == 0
            sentence += "; all its inputs are 0" if starved else ""
            remedy = 'lower the learning rate, start with biases of 0 and init="he_normal", or use LeakyReLU or GELU'
            evidence = {"dead": fraction, "at_first": at_first}
            yield Finding(layer.name, "dead ReLU", sentence, remedy, evidence, "dead ReLU" if starved else "")


def drift(w: ModelObserver) -> Iterator[Finding]:
    """A deep network without normalization, in which factors near 1 multiply up."""
    hidden = _hidden(w)
    if len(hidden) < DEEP or any(layer.is_normalization for layer in w.layers.values()):
        return
    first, last = hidden[0].at_first["rms"], hidden[-1].at_first["rms"]
    if not first or not last or not (last / first > DRIFT or last / first < 1 / DRIFT):
        return
    per_layer = (last / first) ** (1 / (len(hidden) - 1))
    verb, factor = ("grows", per_layer) if per_layer > 1 else ("shrinks", 1 / per_layer)
    sentence = (
        f"no normalization in {len(hidden)} layers, and the signal {verb} by a factor of {factor:.2f} per layer, "
        f"from {two_digits(first)} to {two_digits(last)}"
    )
    remedy = "put BatchNorm or LayerNorm after the linear layers; or use he_normal with ReLU, glorot_normal with tanh"
    evidence = {"layers": len(hidden), "first": first, "last": last, "per_layer": per_layer}
    yield Finding(hidden[-1].name, "missing normalization", sentence, remedy, evidence)


def gradients(w: ModelObserver) -> Iterator[Finding]:
    """Gradients that vanish or explode on their way back through the layers."""
    hidden = [layer for layer in _hidden(w) if layer.at_first.get("gradient", 0) > 0]
    if len(hidden) < 4:
        return
    first, last = hidden[0].at_first["gradient"], hidden[-1].at_first["gradient"]
    evidence = {"first": first, "last": last}
    change = f"from {last:.1e} in layer {hidden[-1].name} to {first:.1e} here"
    if first / last < GRADIENT:
        remedy = "use ReLU with he_normal instead of sigmoids, BatchNorm or LayerNorm, or residual connections"
        yield Finding(hidden[0].name, "vanishing gradient", f"the gradient vanishes: {change}", remedy, evidence)
    elif first / last > 1 / GRADIENT:
        remedy = "clip the gradients (global_clipnorm=1.0), or use smaller initial weights, BatchNorm or LayerNorm"
        yield Finding(hidden[0].name, "exploding gradient", f"the gradient explodes: {change}", remedy, evidence)
