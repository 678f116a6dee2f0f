"""How a gradient grows on its way back through the steps of a recurrent network."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad import nn
from minigrad.engine.primitive import value_of

Array = Any
ROWS = 8  # sequences that are followed


def observe_sequence(layer: Any, outputs: Array) -> None:
    """The growth of a gradient through a plain recurrent layer, from the states that it went through.

    From h' = f(x Wⁱ + h Wʰ), dh'/dh = diag(f') Wʰ: random vectors are taken back through all steps (Pascanu, Mikolov &
    Bengio 2013, equation 5). Layers with gates and cells are judged by the gradients of their calls.
    """
    module = layer.module
    if not isinstance(module, nn.RNN) or outputs.ndim != 3 or outputs.shape[1] < 5 or module.bidirectional:
        return
    weight = np.asarray(value_of(getattr(module, f"weight_hh_l{module.num_layers - 1}")), dtype=np.float64)
    states = np.asarray(outputs[:ROWS], dtype=np.float64)
    slopes = 1 - states * states if module.nonlinearity == "tanh" else (states > 0).astype(np.float64)
    v = np.random.default_rng(0).normal(size=(len(states), weight.shape[0]))
    start, log = np.sqrt(np.mean(v * v)), 0.0
    with np.errstate(all="ignore"):
        for t in range(states.shape[1] - 1, 0, -1):
            v = (v * slopes[:, t]) @ weight.T
            size = np.sqrt(np.mean(v * v))
            if not np.isfinite(size) or size == 0:
                return
            log, v = log + np.log(size / start), v / size * start
    growth = float(np.exp(min(log, 600.0)))
    layer.note_growth(states.shape[1], growth)
