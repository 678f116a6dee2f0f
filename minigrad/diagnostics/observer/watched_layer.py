"""Layers and parameters under observation: their kind, values and gradients, and how parameters change."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.diagnostics.observer.statistics import LOG_RANGE, DeadUnits, Histogram, ThinnedHistory, Values
from minigrad.engine.primitive import value_of
from minigrad.nn.init import compute_fans
from minigrad.nn.recurrent import _Recurrent as Recurrent
from minigrad.nn.recurrent_cells import _Cell as Cell
from minigrad.tensor.tensor import Tensor

Array = Any

NORMALIZATION = (nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm)
RECTIFIERS = (nn.ReLU, nn.ReLU6)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPARENT = (nn.Flatten, nn.Identity)  # these do not change values
ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Mish, nn.Softsign, nn.LogSigmoid, nn.ReLU6, nn.Hardsigmoid,
    nn.Hardswish, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.SiLU, nn.GELU,
)  # fmt: skip
# Primitives that count as activations if a model calls them as functions.
FUNCTIONS = ("relu", "sigmoid", "tanh", "softplus")
SEQUENCES = 8  # that are followed through a recurrent layer


def bounds_of(module: Any, function: str = "") -> tuple[float, float] | None:
    """The bounds of an activation's values; None if it has none."""
    if isinstance(module, nn.Sigmoid | nn.Hardsigmoid) or function == "sigmoid":
        return 0.0, 1.0
    if isinstance(module, nn.Tanh) or function == "tanh":
        return -1.0, 1.0
    if isinstance(module, nn.RNN | nn.RNNCell) and module.nonlinearity == "tanh":
        return -1.0, 1.0
    if isinstance(module, nn.Hardtanh):
        return module.min_val, module.max_val
    return None


class WatchedParameter:
    """A parameter of a layer: its value before and after each step, and its gradient."""

    def __init__(self, name: str, tensor: Tensor) -> None:
        self.name, self.tensor = name, tensor
        self._before = np.copy(tensor.data)
        self.shape = tensor.shape
        self.first_mean_square = float(np.mean(np.square(tensor.data, dtype=np.float64)))
        self.first_std = float(np.std(tensor.data, dtype=np.float64))
        self.gradients: list[float] = []  # root mean square in each backward pass of this step
        self.updates = 0  # steps in which it changed
        self.ratios: list[float] = []  # update-to-weight ratios of the last 64 steps
        self.first_ratio = math.nan
        self.largest_ratio = 0.0
        self.had_gradient = False
        self.gradient = math.nan  # root mean square in the last step that had one
        self.largest_gradient = math.nan

    @property
    def is_weight(self) -> bool:
        """Whether it is a matrix or a kernel. Biases and scales start at 0 or 1, so their ratios mean nothing."""
        return self.tensor.ndim >= 2

    def changed(self) -> bool:
        """Whether it differs from its value at the end of the last step."""
        now = self.tensor.data
        if not isinstance(now, np.ndarray):  # a tracer array, while a step is compiled
            return False
        return now.shape != self._before.shape or not np.array_equal(now, self._before, equal_nan=True)

    def end_step(self) -> float | None:
        """Store the numbers of a step; return the update-to-weight ratio ‖Δw‖/‖w‖ if the parameter changed."""
        if self.gradients:
            self.had_gradient = True
            self.gradient = float(np.mean(self.gradients))
            self.largest_gradient = max(self.gradient, np.nan_to_num(self.largest_gradient))
            self.gradients = []
        if not self.changed():
            return None
        self.updates += 1
        before, self._before = self._before, np.copy(self.tensor.data)
        size = norm(before)
        if not size or before.shape != self._before.shape:
            return None
        ratio = norm(self._before - before) / size
        if math.isfinite(ratio):
            self.first_ratio = ratio if math.isnan(self.first_ratio) else self.first_ratio
            self.ratios = [*self.ratios[-63:], ratio]
            self.largest_ratio = max(self.largest_ratio, ratio)
        return ratio


def norm(x: Array) -> float:
    """The Euclidean norm, computed in double precision."""
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))


class WatchedLayer:
    """One row of the report: a module, or an activation that a model calls as a function."""

    def __init__(self, name: str, kind: str, module: Any = None, function: Callable[..., Any] | None = None) -> None:
        self.name, self.kind, self.module, self.function = name, kind, module, function
        self.parameters: list[WatchedParameter] = []
        self.bounds = bounds_of(module, kind if function else "")
        self.is_rectifier = isinstance(module, RECTIFIERS) or (function is not None and kind == "relu")
        self.is_normalization = isinstance(module, NORMALIZATION)
        self.is_recurrent = isinstance(module, Recurrent | Cell)
        self.feeder: WatchedLayer | None = None  # the layer whose output is its input
        self.is_first = False  # whether its input is that of the model
        self.is_last = False  # whether the model returns its output
        self.inputs, self.outputs, self.gradients = Values(), Values(), Values()
        self.at_first: dict[str, float] = {}  # the numbers of the first step
        self.now: dict[str, float] = {}  # the numbers of the last step
        self.dead = DeadUnits()
        self.histogram = Histogram(self.bounds)
        self.gradient_histogram = Histogram(LOG_RANGE)
        self.history = ThinnedHistory()
        self.steps = 0
        self.equal_units = True  # whether all units had the same values in all steps
        self.equal_gradients = True  # whether all units had the same gradients in all steps
        self.spectral_radius = spectral_radius(module) if isinstance(module, nn.RNN | nn.RNNCell) else None
        self.features: tuple[Array, Array] | None = None  # mean and std of each feature of the first input
        self.growth: tuple[int, float] | None = None  # of a recurrent gradient: the number of steps and the factor
        self.growth_at_first = math.nan
        self.first_not_finite: int | None = None

    @property
    def weight(self) -> WatchedParameter | None:
        """The kernel of a linear or convolutional layer."""
        if isinstance(self.module, (nn.Linear, *CONVOLUTIONS)):
            return next((p for p in self.parameters if p.is_weight), None)
        return None

    def fans(self) -> tuple[int, int]:
        """fan_in and fan_out of the kernel."""
        weight = self.weight
        assert weight is not None
        return compute_fans(weight.shape, groups=getattr(self.module, "groups", 1))

    def standard(self) -> dict[str, float]:
        """The standard deviations of the weights with Glorot's, He's and LeCun's initializers."""
        fan_in, fan_out = self.fans()
        return {
            "Glorot": math.sqrt(2 / (fan_in + fan_out)), "He": math.sqrt(2 / fan_in), "LeCun": math.sqrt(1 / fan_in)
        }  # fmt: skip

    def observe(self, output: Array) -> None:
        """Measure the result of a call."""
        self.outputs.add(output, self.bounds)
        self.histogram.add(output)
        if self.is_rectifier:
            self.dead.add(output)
        if self.is_recurrent and (growth := sequence_growth(self.module, output)) is not None:
            self.note_growth(*growth)

    def observe_gradient(self, v: Any) -> None:
        """Measure the gradient of a result."""
        v = value_of(v)
        self.gradients.add(v)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.gradient_histogram.add(np.log10(np.abs(v[v != 0])))

    def note_growth(self, steps: int, factor: float) -> None:
        """Note the factor by which a gradient grew on its way back through the steps of a sequence."""
        self.growth_at_first = factor if self.growth is None else self.growth_at_first
        if self.growth is None or factor > self.growth[1]:
            self.growth = (steps, factor)

    def end_step(self, step: int) -> None:
        """Store the numbers of a step, and start new ones."""
        out, back = self.outputs, self.gradients
        row: dict[str, float] = {}
        if out.rms_of_calls:
            row |= {"mean": out.mean, "std": out.std, "rms": out.rms, "zero": out.fraction(out.zeros)}
            row["input_rms"], row["input_mean"], row["input_std"] = self.inputs.rms, self.inputs.mean, self.inputs.std
            if self.bounds is not None:
                row["saturated"] = out.fraction(out.saturated)
            row["not_finite"] = out.not_finite / max(out.count + out.not_finite, 1)
            row["calls"] = len(out.rms_of_calls)
            self.equal_units &= out.equal_units
            self.dead.end_step()
            if self.dead.fraction is not None:
                row["dead"] = self.dead.fraction
        if back.rms_of_calls:
            row |= {"gradient": back.rms, "gradient_zero": back.fraction(back.zeros)}
            self.equal_gradients &= back.equal_units
            calls = back.rms_of_calls  # the last call of the forward pass comes first
            if len(calls) >= 5 and len(calls) == len(out.rms_of_calls) and calls[0] > 0:
                self.note_growth(len(calls), calls[-1] / calls[0])
        weights = [p for p in self.parameters if p.is_weight]
        ratios = [ratio for p in self.parameters if (ratio := p.end_step()) is not None and p.is_weight]
        if ratios:
            row["update"] = float(np.mean(ratios))
        if weights and row:
            row["weight_gradient"] = float(np.mean([p.gradient for p in weights]))
            row["weight_std"] = float(np.std(weights[0].tensor.data, dtype=np.float64))
        if out.not_finite + back.not_finite and self.first_not_finite is None:
            self.first_not_finite = step
        self.histogram.end_step()
        self.gradient_histogram.end_step()
        if row:
            self.now |= {name: x for name, x in row.items() if math.isfinite(x)}
            self.history.add(step, row)
        if out.rms_of_calls:
            self.steps += 1
            self.at_first = self.at_first or row
        self.inputs, self.outputs, self.gradients = Values(), Values(), Values()


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
