"""The layers that are watched: what kind they are, what flowed through them, and how their parameters moved."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.diagnostics.statistics import LOG_RANGE, Dead, Histogram, Thinned, Values
from minigrad.engine.primitive import value_of
from minigrad.nn.init import compute_fans
from minigrad.nn.recurrent import _Recurrent as Recurrent
from minigrad.nn.recurrent_cells import _Cell as Cell
from minigrad.tensor.tensor import Tensor

Array = Any

NORMALIZATION = (nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm)
RECTIFIERS = (nn.ReLU, nn.ReLU6)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPARENT = (nn.Flatten, nn.Identity)  # these change no value
ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Mish, nn.Softsign, nn.LogSigmoid, nn.ReLU6, nn.Hardsigmoid,
    nn.Hardswish, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.SiLU, nn.GELU,
)  # fmt: skip
# Primitives that count as activations where a model calls them as functions.
FUNCTIONS = ("relu", "sigmoid", "tanh", "softplus")


def bounds_of(module: Any, function: str = "") -> tuple[float, float] | None:
    """The values between which an activation stays, if there are such."""
    if isinstance(module, nn.Sigmoid | nn.Hardsigmoid) or function == "sigmoid":
        return 0.0, 1.0
    if isinstance(module, nn.Tanh) or function == "tanh":
        return -1.0, 1.0
    if isinstance(module, nn.RNN | nn.RNNCell) and module.nonlinearity == "tanh":
        return -1.0, 1.0
    if isinstance(module, nn.Hardtanh):
        return module.min_val, module.max_val
    return None


class Parameter:
    """A parameter of a layer: its value before and after each step, and its gradient."""

    def __init__(self, name: str, tensor: Tensor) -> None:
        self.name, self.tensor = name, tensor
        self._before = np.copy(tensor.data)
        self.shape = tensor.shape
        self.first_mean_square = float(np.mean(np.square(tensor.data, dtype=np.float64)))
        self.first_std = float(np.std(tensor.data, dtype=np.float64))
        self.gradients: list[float] = []  # root mean squares, of the backward passes of this step
        self.updates = 0  # steps in which it changed
        self.ratios: list[float] = []  # update-to-weight, of the last steps
        self.first_ratio = math.nan
        self.largest_ratio = 0.0
        self.had_gradient = False
        self.gradient = math.nan  # root mean square in the last step that had one
        self.largest_gradient = math.nan

    @property
    def is_weight(self) -> bool:
        """Whether it is a matrix or a kernel: biases and scales start at 0 or 1, and their ratios say nothing."""
        return self.tensor.ndim >= 2

    def changed(self) -> bool:
        """Whether it is another than at the end of the last step."""
        now = self.tensor.data
        if not isinstance(now, np.ndarray):  # an array that listens, while a step is compiled
            return False
        return now.shape != self._before.shape or not np.array_equal(now, self._before, equal_nan=True)

    def close(self) -> float | None:
        """The end of a step: the update-to-weight ratio ‖Δw‖/‖w‖ if it changed."""
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


def spectral_radius(module: nn.RNN | nn.RNNCell) -> float | None:
    """The largest absolute eigenvalue of the state's weights; None if they are many."""
    name = next(n for n in module._parameters if n.startswith("weight_hh"))
    weight = np.asarray(getattr(module, name).data, dtype=np.float64)
    if len(weight) > 512 or not np.isfinite(weight).all():
        return None
    return float(np.abs(np.linalg.eigvals(weight)).max())


def norm(x: Array) -> float:
    """The Euclidean norm, in double precision."""
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))


class Layer:
    """One row of the report: a module, or an activation that a model calls as a function."""

    def __init__(self, name: str, kind: str, module: Any = None, function: Callable[..., Any] | None = None) -> None:
        self.name, self.kind, self.module, self.function = name, kind, module, function
        self.parameters: list[Parameter] = []
        self.bounds = bounds_of(module, kind if function else "")
        self.is_rectifier = isinstance(module, RECTIFIERS) or (function is not None and kind == "relu")
        self.is_normalization = isinstance(module, NORMALIZATION)
        self.is_recurrent = isinstance(module, Recurrent | Cell)
        self.feeder: Layer | None = None  # the layer whose output comes in
        self.is_first = False  # whether the model's own input comes in
        self.is_last = False  # whether the model returns its output
        self.inputs, self.outputs, self.gradients = Values(), Values(), Values()
        self.at_first: dict[str, float] = {}  # the numbers of the first step
        self.now: dict[str, float] = {}  # and of the last
        self.dead = Dead()
        self.histogram = Histogram(self.bounds)
        self.gradient_histogram = Histogram(LOG_RANGE)
        self.history = Thinned()
        self.steps = 0
        self.alike = True  # units gave the same in all steps
        self.gradients_alike = True
        self.spectral_radius = spectral_radius(module) if isinstance(module, nn.RNN | nn.RNNCell) else None
        self.features: tuple[Array, Array] | None = None  # mean and std of each feature that came in first
        self.growth: tuple[int, float] | None = None  # of a recurrent gradient: over how many steps, by which factor
        self.growth_at_first = math.nan
        self.first_not_finite: int | None = None

    @property
    def weight(self) -> Parameter | None:
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
        """The standard deviations that Glorot's, He's and LeCun's initializers would give the weights."""
        fan_in, fan_out = self.fans()
        return {
            "Glorot": math.sqrt(2 / (fan_in + fan_out)), "He": math.sqrt(2 / fan_in), "LeCun": math.sqrt(1 / fan_in)
        }  # fmt: skip

    def observe(self, output: Array) -> None:
        """The result of a call."""
        self.outputs.add(output, self.bounds)
        self.histogram.add(output)
        if self.is_rectifier:
            self.dead.add(output)

    def observe_gradient(self, v: Any) -> None:
        """The gradient of a result."""
        v = value_of(v)
        self.gradients.add(v)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.gradient_histogram.add(np.log10(np.abs(v[v != 0])))

    def note_growth(self, steps: int, factor: float) -> None:
        """By how much a gradient grew on its way back through the steps of a sequence."""
        self.growth_at_first = factor if self.growth is None else self.growth_at_first
        if self.growth is None or factor > self.growth[1]:
            self.growth = (steps, factor)

    def close(self, step: int) -> None:
        """The end of a step."""
        out, back = self.outputs, self.gradients
        row: dict[str, float] = {}
        if out.rms_of_calls:
            row |= {"mean": out.mean, "std": out.std, "rms": out.rms, "zero": out.share(out.zeros)}
            row["input_rms"], row["input_mean"], row["input_std"] = self.inputs.rms, self.inputs.mean, self.inputs.std
            if self.bounds is not None:
                row["saturated"] = out.share(out.saturated)
            row["not_finite"] = out.not_finite / max(out.count + out.not_finite, 1)
            row["calls"] = len(out.rms_of_calls)
            self.alike &= out.alike
            self.dead.close()
            if self.dead.share is not None:
                row["dead"] = self.dead.share
        if back.rms_of_calls:
            row |= {"gradient": back.rms, "gradient_zero": back.share(back.zeros)}
            self.gradients_alike &= back.alike
            calls = back.rms_of_calls  # the last call of the forward pass comes first
            if len(calls) >= 5 and len(calls) == len(out.rms_of_calls) and calls[0] > 0:
                self.note_growth(len(calls), calls[-1] / calls[0])
        weights = [p for p in self.parameters if p.is_weight]
        ratios = [ratio for p in self.parameters if (ratio := p.close()) is not None and p.is_weight]
        if ratios:
            row["update"] = float(np.mean(ratios))
        if weights and row:
            row["weight_gradient"] = float(np.mean([p.gradient for p in weights]))
            row["weight_std"] = float(np.std(weights[0].tensor.data, dtype=np.float64))
        if out.not_finite + back.not_finite and self.first_not_finite is None:
            self.first_not_finite = step
        self.histogram.close()
        self.gradient_histogram.close()
        if row:
            self.now |= {name: x for name, x in row.items() if math.isfinite(x)}
            self.history.add(step, row)
        if out.rms_of_calls:
            self.steps += 1
            self.at_first = self.at_first or row
        self.inputs, self.outputs, self.gradients = Values(), Values(), Values()
