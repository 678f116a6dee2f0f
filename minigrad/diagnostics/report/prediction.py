"""The scale that theory predicts for the outputs of each layer at initialization, from the weights alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.diagnostics.observer.watched_layer import ELEMENTWISE, TRANSPARENT, WatchedLayer
from minigrad.engine.modes import no_grad
from minigrad.engine.primitive import value_of

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(101)


@dataclass(frozen=True)
class Prediction:
    """A linear or convolutional layer at the first step.

    Attributes:
        gain: n Var(w), the factor by which the layer multiplies the mean square of its inputs; n is fan_in.
        activation: the factor of the activation before it: E[f(z)²] / E[z²]; ½ for ReLU (He et al. 2015).
        predicted, measured: the standard deviation of the layer's output.
    """

    layer: str
    n: int
    gain: float
    activation: float | None
    predicted: float
    measured: float

    def row(self) -> tuple[str, ...]:
        """The cells of its row in a table."""
        activation = "" if self.activation is None else f"{self.activation:.2g}"
        return (
            self.layer,
            str(self.n),
            f"{self.gain:.3g}",
            activation,
            f"{self.predicted:.3g}",
            f"{self.measured:.3g}",
        )


def predictions(layers: list[WatchedLayer]) -> list[Prediction]:
    """A prediction for each linear or convolutional layer, from the mean square q of the inputs of the model.

        Var(y) = n Var(w) E[x²] + Var(b), and E[x²] = E[f(z)²] for z ~ N(0, Var(y)) of the layer before

    (He et al. 2015, equation 9, where E[f(z)²] is ½ Var(z); for any f: Poole et al. 2016, equation 3). After a layer
    that the theory does not cover, such as pooling, it starts again from the measured mean square.
    """
    result = []
    q: dict[WatchedLayer, float] = {}  # the predicted mean square of each layer's output
    factors: dict[WatchedLayer, float] = {}
    for layer in layers:
        first = layer.at_first
        if not first:
            continue
        known = q.get(layer.feeder) if layer.feeder is not None else None
        q_in = first["input_rms"] ** 2 if known is None else known
        weight = layer.weight
        if weight is not None:
            n = layer.fans()[0]
            biases = sum(p.first_mean_square for p in layer.parameters if not p.is_weight)
            q[layer] = n * weight.first_mean_square * q_in + biases
            factor = factors.get(layer.feeder) if layer.feeder is not None else None
            gain = n * weight.first_mean_square
            result.append(Prediction(layer.name, n, gain, factor, math.sqrt(q[layer]), first["rms"]))
        else:
            q |= _predict_output(layer, q_in)
            if layer in q and q_in and _is_activation(layer):
                factors[layer] = q[layer] / q_in
    return result


def _is_activation(layer: WatchedLayer) -> bool:
    return layer.function is not None or isinstance(layer.module, ELEMENTWISE)


def _predict_output(layer: WatchedLayer, q: float) -> dict[WatchedLayer, float]:
    """The mean square of the outputs of a layer without a kernel; empty if the theory does not cover it."""
    module: Any = layer.module
    if _is_activation(layer):
        function = module if layer.function is None else layer.function
        with no_grad(), np.errstate(all="ignore"):
            values = np.asarray(value_of(getattr(function, "forward", function)(math.sqrt(q) * NODES)))
        return {layer: float(np.sum(WEIGHTS * values**2) / math.sqrt(2 * math.pi))}
    if layer.is_normalization:
        scale, *shift = [p.first_mean_square for p in layer.parameters] or [1.0]
        return {layer: scale + sum(shift)}
    if isinstance(module, nn.Dropout) and module.training and module.p < 1:
        return {layer: q / (1 - module.p)}
    return {layer: q} if isinstance(module, (*TRANSPARENT, nn.Dropout)) else {}
