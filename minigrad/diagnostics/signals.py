"""Causes that show in what flows through the layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from minigrad import nn
from minigrad.diagnostics.findings import Finding, percent, short
from minigrad.diagnostics.layers import Layer
from minigrad.diagnostics.statistics import units_alike

if TYPE_CHECKING:
    from minigrad.diagnostics.watching import Watch

SATURATED = 0.3  # shares of units
SATURATED_BY_WEIGHTS = 0.1  # where the initial weights were far too large
DEAD = 0.6
FAR = 3.0  # how many times as large or small as usual initial weights may be
DRIFT = 20.0  # by which factor std may change over a deep network
DEEP = 8
GRADIENT = 1e-4  # by which factor a gradient may fall, or 1 / it grow, over the layers
RECURRENT_GROWTH = 100.0


def not_finite(w: Watch) -> Iterator[Finding]:
    """NaN and infinity: where they arose."""
    anomaly = w.anomalies.remaining()
    touched = [layer for layer in w.layers.values() if layer.first_not_finite is not None]
    if anomaly is not None:
        step = w.anomalies.step_found
        when = "" if step is None else f" in step {step}"
        cause = "overflow" if anomaly.cause == "exploding gradient" else anomaly.cause
        code = f": {anomaly.place.expression}" if anomaly.place is not None and anomaly.place.expression else ""
        sentence = f"{anomaly.headline()}{when}{code}; {anomaly.reason.sentence}"
        evidence = {"step": step, **anomaly.to_dict()}
        yield Finding(anomaly.scope.replace("/", "."), cause, sentence, anomaly.remedy, evidence)
    elif touched:
        layer = min(touched, key=lambda layer: layer.first_not_finite or 0)
        step = layer.first_not_finite
        sentence = f"NaN or infinity from step {step} on, first seen in what this layer gives"
        remedy = "mg.detect_anomaly() around one step names the operation and the line"
        yield Finding(layer.name, "not finite", sentence, remedy, {"step": step})


def inputs(w: Watch) -> Iterator[Finding]:
    """Data that come in as they were measured."""
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
            sentence = f"feature {k} of the inputs has std {short(spreads[k])}, a typical one {short(typical)}"
            yield Finding(layer.name, "inputs not scaled", sentence, remedy, {**evidence, "feature": k})
        elif rms > 5 or 0 < rms < 0.005:
            sentence = f"the inputs have mean {short(mean)} and std {short(std)}; about 0 and 1 are expected"
            yield Finding(layer.name, "inputs not scaled", sentence, remedy, evidence)


def symmetric(w: Watch) -> Iterator[Finding]:
    """Units that are equal and remain so, because their gradients are equal too."""
    for layer in w.layers.values():
        weight = layer.weight
        if weight is None or layer.is_last or not layer.alike or not layer.gradients_alike or not layer.steps:
            continue
        if units_alike(weight.tensor.data):
            n = weight.shape[-1]
            began = "their weights began at 0" if not weight.first_mean_square else "so are their weights"
            sentence = f"all {n} units are equal, {began}, and their gradients are equal: they stay one unit for ever"
            remedy = 'draw the weights at random, init="glorot_uniform" or "he_normal"; only biases may start at 0'
            yield Finding(layer.name, "symmetric", sentence, remedy, {"units": n})


def recurrent(w: Watch) -> Iterator[Finding]:
    """Gradients that grow from step to step of a sequence."""
    for layer in w.layers.values():
        if layer.growth is None:
            continue
        steps, growth = layer.growth
        if not growth > max(RECURRENT_GROWTH, 3 * steps):  # losses at all steps add up to a factor of the steps
            continue
        each = growth ** (1 / (steps - 1))
        radius = layer.spectral_radius
        weights = "" if radius is None else f"; the spectral radius of weight_hh is {short(radius)}"
        sentence = (
            f"exploding recurrent network: a gradient grows {short(each)}-fold per step of the sequence, "
            f"{growth:.1e}-fold over {steps}{weights}"
        )
        remedy = (
            "clip the gradients (global_clipnorm=1.0 in the optimizer), start with an orthogonal weight_hh "
            "(nn.init.orthogonal), or take an LSTM or GRU"
        )
        evidence = {"growth": growth, "steps": steps, "at_first": layer.growth_at_first, "spectral_radius": radius}
        yield Finding(layer.name, "exploding recurrent", sentence, remedy, evidence)


def saturated(w: Watch) -> Iterator[Finding]:
    """Activations at their bounds, where the slope is 0."""
    for layer in w.layers.values():
        if layer.bounds is None or "saturated" not in layer.now:
            continue
        at_first, now = layer.at_first["saturated"], layer.now["saturated"]
        share = at_first if layer.is_last else max(at_first, now)  # at the end, certainty is a success
        if not share > (SATURATED_BY_WEIGHTS if _is_fed_by_large_weights(layer) else SATURATED):
            continue
        low, high = (f"{bound:g}" for bound in layer.bounds)
        sentence = f"saturated {layer.kind.lower()}, {percent(share)} of units within 0.01 of {low} or {high}"
        evidence = {"saturated": share, "at_first": at_first}
        remedy = 'draw the weights with init="glorot_normal", or normalize before the activation (BatchNorm, LayerNorm)'
        feeder = layer.feeder
        if feeder is not None and feeder.weight is not None:
            std, glorot = feeder.weight.first_std, feeder.standard()["Glorot"]
            evidence |= {"weight_std": std, "glorot_std": glorot}
            if std > 2 * glorot:
                sentence += f"; std of the weights is {short(std)}, Glorot would be {short(glorot)}"
            else:
                rms = feeder.at_first["input_rms"] if at_first > SATURATED else feeder.now["input_rms"]
                sentence += f"; its weights began as usual (std {short(std)}), its inputs have rms {short(rms)}"
        if at_first <= SATURATED:
            sentence += f"; at the first step it was {percent(at_first)}"
            remedy = "lower the learning rate, or normalize before the activation (BatchNorm, LayerNorm)"
        yield Finding(layer.name, "saturated", sentence, remedy, evidence)


def _is_fed_by_large_weights(layer: Layer) -> bool:
    feeder = layer.feeder
    if feeder is None or feeder.weight is None:
        return False
    return feeder.weight.first_std > FAR * max(feeder.standard().values())


def _is_normalized(w: Watch, layer: Layer) -> bool:
    """Whether a normalization comes right behind: then the scale of the weights does not matter."""
    return any(other.is_normalization and other.feeder is layer for other in w.layers.values())


def _hidden(w: Watch) -> list[Layer]:
    """Linear and convolutional layers that ran, without the last one."""
    found = [layer for layer in w.layers.values() if layer.weight is not None and layer.at_first]
    return [layer for layer in found if not layer.is_last][: max(len(found) - 1, 0)]


def scale(w: Watch) -> Iterator[Finding]:
    """Initial weights far from what the width asks for."""
    for layer in _hidden(w):
        weight, usual, first = layer.weight, layer.standard(), layer.at_first
        if weight is None or not weight.first_std or _is_normalized(w, layer) or not first["input_rms"]:
            continue
        std, gain = weight.first_std, first["rms"] / first["input_rms"]
        evidence = {"weight_std": std, **{f"{name.lower()}_std": value for name, value in usual.items()}, "gain": gain}
        told = f"std of the weights is {short(std)}, Glorot would be {short(usual['Glorot'])}, He {short(usual['He'])}"
        way = 'draw the weights with init="glorot_normal" (tanh, sigmoid) or "he_normal" (ReLU), or normalize behind'
        if std < min(usual.values()) / FAR and gain < 1 / FAR:
            sentence = f"weights too small: {told}; the layer shrinks what comes in {short(1 / gain)}-fold"
            yield Finding(layer.name, "weights too small", sentence, way, evidence)
        elif std > max(usual.values()) * FAR and gain > FAR and not _feeds_bounded(w, layer):
            sentence = f"weights too large: {told}; the layer enlarges what comes in {short(gain)}-fold"
            yield Finding(layer.name, "weights too large", sentence, way, evidence)


def _feeds_bounded(w: Watch, layer: Layer) -> bool:
    return any(other.bounds is not None and other.feeder is layer for other in w.layers.values())


def dead(w: Watch) -> Iterator[Finding]:
    """Rectifiers whose units are 0 for every row."""
    for layer in w.layers.values():
        share = layer.now.get("dead", math.nan)
        if layer.is_rectifier and share > DEAD:
            at_first = layer.at_first.get("dead", math.nan)
            sentence = f"dead ReLU: {percent(share)} of its units are 0 for every row, and no gradient passes them"
            feeder = layer.feeder
            bias = next((p for p in feeder.parameters if not p.is_weight), None) if feeder is not None else None
            if bias is not None and bias.tensor.size:
                mean = float(np.mean(bias.tensor.data, dtype=np.float64))
                sentence += f"; the bias before it has mean {short(mean)}" if mean < -0.5 else ""
            if at_first <= DEAD:
                sentence += f"; at first it was {percent(at_first)}"
            starved = feeder is not None and feeder.now.get("input_rms") == 0
            sentence += "; nothing but 0 comes in" if starved else ""
            remedy = 'lower the learning rate, start with biases of 0 and init="he_normal", or take LeakyReLU or GELU'
            evidence = {"dead": share, "at_first": at_first}
            yield Finding(layer.name, "dead ReLU", sentence, remedy, evidence, "dead ReLU" if starved else "")


def drift(w: Watch) -> Iterator[Finding]:
    """A deep network without normalization, in which usual factors near 1 add up."""
    hidden = _hidden(w)
    if len(hidden) < DEEP or any(layer.is_normalization for layer in w.layers.values()):
        return
    first, last = hidden[0].at_first["rms"], hidden[-1].at_first["rms"]
    if not first or not last or not (last / first > DRIFT or last / first < 1 / DRIFT):
        return
    each = (last / first) ** (1 / (len(hidden) - 1))
    what, factor = ("grows", each) if each > 1 else ("shrinks", 1 / each)
    sentence = (
        f"no normalization in {len(hidden)} layers, and the scale of the signal {what} {factor:.2f}-fold per layer, "
        f"from {short(first)} to {short(last)}"
    )
    remedy = "put BatchNorm or LayerNorm behind the linear layers; or he_normal with ReLU, glorot_normal with tanh"
    evidence = {"layers": len(hidden), "first": first, "last": last, "per_layer": each}
    yield Finding(hidden[-1].name, "missing normalization", sentence, remedy, evidence)


def gradients(w: Watch) -> Iterator[Finding]:
    """Gradients that vanish or explode on their way back through the layers."""
    hidden = [layer for layer in _hidden(w) if layer.at_first.get("gradient", 0) > 0]
    if len(hidden) < 4:
        return
    first, last = hidden[0].at_first["gradient"], hidden[-1].at_first["gradient"]
    evidence = {"first": first, "last": last}
    told = f"from {last:.1e} in layer {hidden[-1].name} to {first:.1e} here"
    if first / last < GRADIENT:
        remedy = "ReLU with he_normal in place of sigmoids, BatchNorm or LayerNorm, or residual connections"
        yield Finding(hidden[0].name, "vanishing gradient", f"the gradient vanishes: {told}", remedy, evidence)
    elif first / last > 1 / GRADIENT:
        remedy = "clip the gradients (global_clipnorm=1.0), smaller initial weights, or BatchNorm or LayerNorm"
        yield Finding(hidden[0].name, "exploding gradient", f"the gradient explodes: {told}", remedy, evidence)
