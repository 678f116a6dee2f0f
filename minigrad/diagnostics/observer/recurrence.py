"""How gradients grow on their way back through the steps of a recurrent network."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn
from minigrad.engine.primitive import value_of

Array = Any
SEQUENCES = 8  # sequences that are followed


def sequence_growth(module: Any, outputs: Array) -> tuple[int, float] | None:
    """The number of steps of a sequence, and the factor by which a gradient grows over them; None if it is unknown.

    From h' = f(x Wⁱ + h Wʰ), dh'/dh = diag(f') Wʰ: random vectors are multiplied backwards through all steps (Pascanu,
    Mikolov & Bengio 2013, equation 5). Only plain recurrent layers are followed; layers with gates, and cells, are
    judged by the gradients of their calls.

    Args:
        module: the layer.
        outputs: the states that it went through, (batch, steps, features).
    """
    if not isinstance(module, nn.RNN) or outputs.ndim != 3 or outputs.shape[1] < 5 or module.bidirectional:
        return None
    weight = np.asarray(value_of(getattr(module, f"weight_hh_l{module.num_layers - 1}")), dtype=np.float64)
    states = np.asarray(outputs[:SEQUENCES], dtype=np.float64)
    slopes = 1 - states * states if module.nonlinearity == "tanh" else (states > 0).astype(np.float64)
    v = np.random.default_rng(0).normal(size=(len(states), weight.shape[0]))
    start, log = np.sqrt(np.mean(v * v)), 0.0
    with np.errstate(all="ignore"):
        for t in range(states.shape[1] - 1, 0, -1):
            v = (v * slopes[:, t]) @ weight.T
            size = np.sqrt(np.mean(v * v))
            if not np.isfinite(size) or size == 0:
                return None
            log, v = log + np.log(size / start), v / size * start
    return states.shape[1], float(np.exp(min(log, 600.0)))


def spectral_radius(module: nn.RNN | nn.RNNCell) -> float | None:
    """The largest absolute eigenvalue of the recurrent weights; None if the matrix is large or not finite."""
    name = next(n for n in module._parameters if n.startswith("weight_hh"))
    weight = np.asarray(getattr(module, name).data, dtype=np.float64)
    if len(weight) > 512 or not np.isfinite(weight).all():
        return None
    return float(np.abs(np.linalg.eigvals(weight)).max())
