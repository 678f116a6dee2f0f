"""Measures a model's layers while it runs, by hooks on modules, on gradients and on the engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from minigrad.diagnostics.anomaly.anomaly import Anomaly, CodeLocation
from minigrad.diagnostics.anomaly.tracker import AnomalyTracker
from minigrad.diagnostics.observer.watched_layer import FUNCTIONS, WatchedLayer, WatchedParameter
from minigrad.engine.gradient_hooks import add_hook
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive, value_of
from minigrad.nn.containers import Container
from minigrad.nn.module import Module
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten

Array = Any


class ModelObserver:
    """Measures a model inside a `with` block. It can be entered again, and then continues.

    Attributes:
        model: an nn.Module.
        layers: the layers by their keys, in the order of their first calls.
        parameters: all parameters of the model.
        step: the number of steps that have ended.
        updates: the number of steps in which parameters changed.
        passes: the number of calls of the model.
        backwards: the number of steps with a backward pass.
        anomalies: the tracker of NaN and infinities.
    """

    def __init__(self, model: Module) -> None:
        self.model = model
        self.layers: dict[Any, WatchedLayer] = {}
        self.parameters: list[WatchedParameter] = []
        self.step = self.updates = self.passes = self.backwards = 0
        self.anomalies = _OperationObserver(self)
        self._names = {module: name for name, module in model.named_modules()}
        self._stack: list[Module] = []  # the modules that are running
        self._sources: dict[int, tuple[Array, WatchedLayer]] = {}  # the layer that computed each array of this call
        self._inputs: set[int] = set()  # ids of the arrays that the model was called with
        self._hooks: list[Any] = []
        self._gradient_hooks: list[Callable[[], None]] = []
        self._has_gradient = False  # whether the current step has a backward pass

    # The block

    def __enter__(self) -> Any:
        if self._hooks:
            raise RuntimeError("this watch is already open; create another one with diagnostics.watch(model)")
        self._names = {module: name for name, module in self.model.named_modules()}
        known = {id(p.tensor) for p in self.parameters}
        for name, tensor in self.model.named_parameters():
            if id(tensor) not in known:
                self.parameters.append(WatchedParameter(name, tensor))
        for p in self.parameters:
            if p.tensor.requires_grad:
                self._hooks.append(p.tensor.register_hook(self._parameter_hook(p)))
        for module in self._names:
            if not isinstance(module, Container):
                self._hooks.append(module.register_forward_pre_hook(self._enter_module))
                self._hooks.append(module.register_forward_hook(self._leave_module))
        self._stack, self._sources = [], {}
        self.anomalies.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.anomalies.__exit__(*exception)
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self.end_step()
        self._stack, self._sources = [], {}

    @property
    def is_open(self) -> bool:
        """Whether the block is running."""
        return bool(self._hooks)

    # Modules

    def _enter_module(self, module: Module, inputs: tuple[Any, ...]) -> None:
        if module in self._stack:  # an earlier call of it raised
            self._stack = self._stack[: self._stack.index(module)]
        if module is self.model or not self._stack:
            if self._has_gradient or any(p.changed() for p in self.parameters):
                self.end_step()
            self.passes += 1
            self._stack, self._sources = [], {}
            self._inputs = {id(_base(value_of(x))) for x in flatten(inputs)[0] if hasattr(x, "dtype")}
        self._stack.append(module)
        if self._is_layer(module):
            name = self._names[module] or type(module).__name__
            self._observe_inputs(self._layer(module, name, type(module).__name__, module), inputs)

    def _leave_module(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        while self._stack and self._stack.pop() is not module:
            pass  # modules whose forward raised
        tensor = next((t for t in flatten(output)[0] if _is_float(t)), None)
        if tensor is not None and self._is_layer(module):
            layer, value = self.layers[module], np.asarray(value_of(tensor))
            layer.observe(value)
            self._sources[id(_base(value))] = (value, layer)
            if isinstance(tensor, Tensor) and tensor.node is not None:
                self._gradient_hooks.append(tensor.register_hook(self._output_hook(layer)))
        if not self._stack:
            last = self._source(value_of(tensor)) if tensor is not None else None
            if last is not None:
                last.is_last = True
            self._sources = {}

    # Activations that the model calls as functions

    def observe_function(
        self, p: Primitive, values: tuple[Array, ...], out: Array, location: CodeLocation | None
    ) -> WatchedLayer | None:
        """The layer that stands for this operation, if it is an activation in the model's own code."""
        if not self._stack or p.name not in FUNCTIONS or not _is_float(out):
            return None
        module = self._stack[-1]
        if self._is_layer(module) and type(module).__module__.startswith("minigrad."):
            return None
        feeder = self._source(values[0])
        key = (module, p.name, location, feeder)
        if key not in self.layers:
            path = self._names[module]
            base = f"{feeder.name} → {p.name}" if feeder is not None else f"{path}.{p.name}" if path else p.name
            taken = {layer.name for layer in self.layers.values()}
            names = (f"{base} {k}" if k > 1 else base for k in itertools.count(1))
            self._layer(key, next(name for name in names if name not in taken), p.name, None, p.function)
        layer = self.layers[key]
        self._observe_inputs(layer, values)
        layer.observe(np.asarray(out))
        self._sources[id(_base(out))] = (out, layer)
        return layer

    def observe_gradient_of(self, node: Node, layer: WatchedLayer) -> None:
        """Measure the gradient of a node that belongs to a layer."""
        self._gradient_hooks.append(add_hook(node, self._output_hook(layer)))

    # Layers

    def _is_layer(self, module: Module) -> bool:
        return bool(module._parameters) or not any(True for _ in module.children())

    def _layer(self, key: Any, name: str, kind: str, module: Module | None, function: Any = None) -> WatchedLayer:
        if key not in self.layers:
            layer = self.layers[key] = WatchedLayer(name, kind, module, function)
            if module is not None:
                own = {id(getattr(module, n)) for n in module._parameters}
                layer.parameters = [p for p in self.parameters if id(p.tensor) in own]
        return self.layers[key]

    def _source(self, value: Array) -> WatchedLayer | None:
        entry = self._sources.get(id(_base(value)))
        return None if entry is None else entry[1]

    def _observe_inputs(self, layer: WatchedLayer, inputs: tuple[Any, ...]) -> None:
        arrays = (value_of(x) for x in inputs)
        value = next((x for x in arrays if isinstance(x, np.ndarray) and x.dtype.kind in "fiub"), None)
        if value is None:
            return
        layer.feeder = self._source(value) or layer.feeder
        if not layer.outputs.rms_of_calls and not layer.steps and id(_base(value)) in self._inputs:
            layer.is_first = True
            rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
            with np.errstate(all="ignore"):
                layer.features = (rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64))
        layer.inputs.add(value)

    # Gradients

    def _parameter_hook(self, p: WatchedParameter) -> Callable[[Tensor], None]:
        def measure(v: Tensor) -> None:
            if not _is_float(v):
                return
            self._count_backward()
            with np.errstate(all="ignore"):
                p.gradients.append(float(np.sqrt(np.mean(np.square(v.data, dtype=np.float64)))))

        return measure

    def _output_hook(self, layer: WatchedLayer) -> Callable[[Tensor], None]:
        def measure(v: Tensor) -> None:
            if self.is_open and _is_float(v):
                self._count_backward()
                layer.observe_gradient(v)

        return measure

    def _count_backward(self) -> None:
        if not self._has_gradient:
            self._has_gradient = True
            self.backwards += 1

    # Steps

    def end_step(self) -> None:
        """End the current step if anything happened in it."""
        is_update = any(p.changed() for p in self.parameters)
        was_called = any(layer.outputs.rms_of_calls for layer in self.layers.values())
        for remove in self._gradient_hooks:
            remove()
        self._gradient_hooks = []
        if not (is_update or was_called or self._has_gradient):
            return
        owned = {id(p) for layer in self.layers.values() for p in layer.parameters}
        for p in self.parameters:
            if id(p) not in owned:
                p.end_step()
        for layer in self.layers.values():
            layer.end_step(self.step)
        self.step += 1
        self.updates += is_update
        self._has_gradient = False


class _OperationObserver(AnomalyTracker):
    """Tracks what is not finite, and shows every operation to the observer of the model."""

    def __init__(self, observer: ModelObserver) -> None:
        super().__init__(raising=False)
        self.observer = observer
        self.step_of_first: int | None = None
        self._layer: WatchedLayer | None = None

    def computed(self, p: Primitive, values: tuple[Array, ...], out: Array, frame: FrameType) -> None:
        """Ask the observer whether this operation is one of its layers."""
        super().computed(p, values, out, frame)
        self._layer = self.observer.observe_function(p, values, out, self.location)

    def recorded(self, node: Node) -> None:
        """Let the observer measure the gradient of a layer's node."""
        super().recorded(node)
        if self._layer is not None and self.inside is None:
            self.observer.observe_gradient_of(node, self._layer)

    def _report(self, anomaly: Anomaly) -> None:
        super()._report(anomaly)
        self.step_of_first = self.observer.step


def _is_float(x: Any) -> bool:
    """Whether this is an array or Tensor of floating-point numbers; a tracer array is not."""
    value = value_of(x)
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"


def _base(x: Array) -> Array:
    """The array that owns the memory of a view, so that a reshaped value is recognized as the same value."""
    while isinstance(getattr(x, "base", None), np.ndarray):
        x = x.base
    return x
