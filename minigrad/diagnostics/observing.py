"""What a watch observes besides the calls of modules: operations of the engine, and gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.diagnostics.anomaly import Anomaly
from minigrad.diagnostics.layers import Layer, Parameter
from minigrad.diagnostics.nonfinite import Anomalies
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive, value_of
from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.diagnostics.watching import Watch

Array = Any


class Ear(Anomalies):
    """Hears activations that are called as functions, and follows what is not finite."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(raising=False)
        self.watch = watch
        self.step_found: int | None = None
        self._layer: Layer | None = None

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """Tell the watch, which says whether this is one of its layers."""
        super().computed(p, values, out, frame)
        self._layer = self.watch.called(p, values, out, self.here)

    def recorded(self, node: Node) -> None:
        """Let the watch see the gradient of a layer's node."""
        super().recorded(node)
        if self._layer is not None and self.inside is None:
            self.watch.hook(node, self._layer)

    def _tell(self, anomaly: Anomaly) -> None:
        super()._tell(anomaly)
        self.step_found = self.watch.step


def parameter_hook(watch: Watch, p: Parameter) -> Callable[[Tensor], None]:
    """A hook that notes the size of a parameter's gradient."""

    def note(v: Tensor) -> None:
        if not is_float(v):
            return
        watch.note_backward()
        with np.errstate(all="ignore"):
            p.gradients.append(float(np.sqrt(np.mean(np.square(v.data, dtype=np.float64)))))

    return note


def output_hook(watch: Watch, layer: Layer) -> Callable[[Tensor], None]:
    """A hook that notes the gradient of what a layer gave."""

    def note(v: Tensor) -> None:
        if watch.is_open and is_float(v):
            watch.note_backward()
            layer.observe_gradient(v)

    return note


def is_float(x: Any) -> bool:
    """Whether this is an array or Tensor of floating-point numbers; arrays that only listen have none."""
    value = value_of(x)
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"


def base(x: Array) -> Array:
    """The array whose memory this one shows: a reshaped value is the same value."""
    while isinstance(getattr(x, "base", None), np.ndarray):
        x = x.base
    return x
