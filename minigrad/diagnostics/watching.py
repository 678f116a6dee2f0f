"""watch: a model's layers under observation, by hooks on modules, on gradients, and on the engine."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.diagnostics.layers import FUNCTIONS, Layer, Parameter
from minigrad.diagnostics.observing import Ear, base, is_float, output_hook, parameter_hook
from minigrad.diagnostics.recurrence import observe_sequence
from minigrad.diagnostics.source import Place
from minigrad.engine.gradient_hooks import add_hook
from minigrad.engine.node import Node
from minigrad.engine.primitive import Primitive, value_of
from minigrad.nn.containers import Container
from minigrad.nn.module import Module
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten

if TYPE_CHECKING:
    from minigrad.diagnostics.report import Report

Array = Any


def watch(model: Module) -> Watch:
    """Watch a model while it runs: `with mg.diagnostics.watch(model) as w:`, then `print(w.report())`.

    Inside, every layer's output, gradient and parameters are measured in each step, with streaming statistics: memory
    does not grow with the batches, and nothing that flows is kept. A step ends when the parameters have changed, or a
    backward pass has run, and the model is called again. Layers may be called several times in a step. Activations that
    a model calls as functions (`mg.relu(self.linear(x))`) are watched too. At the end of the block, also after an
    exception, all hooks are gone; the report stays.

    Args:
        model: an nn.Module.

    Returns:
        A Watch: `.report()` says what is wrong, `.history` has the curves, `.plot()` draws the histograms.

    Raises:
        TypeError: this is not a Module.

    Example:
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> net = nn.Sequential(nn.Linear(100, 100, init="normal", rng=0), nn.Sigmoid(), nn.Linear(100, 1, rng=1))
        >>> with mg.diagnostics.watch(net) as w:
        ...     net(np.random.default_rng(0).normal(size=(200, 100))).sum().backward()
        >>> w.report().findings[0].cause
        'saturated'
    """
    if not isinstance(model, Module):
        given = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise TypeError(
            f"diagnostics.watch({given}): it watches an nn.Module, whose layers have names and parameters. Put "
            "functions into a Module's forward; for a function alone mg.detect_anomaly() finds NaN"
        )
    return Watch(model)


class Watch:
    """What `watch` returns: the observation of one model. It may be entered again, and then goes on."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.layers: dict[Any, Layer] = {}  # in the order of their first calls
        self.step = 0
        self.updates = 0  # steps in which parameters changed
        self.passes = 0  # calls of the model from outside
        self.backwards = 0
        self.anomalies = Ear(self)
        self.parameters: list[Parameter] = []
        self._names = {module: name for name, module in model.named_modules()}
        self._stack: list[Module] = []
        self._sources: dict[int, tuple[Array, Layer]] = {}  # whose output an array is, in the call that runs
        self._inputs: set[int] = set()  # what the model was called with
        self._hooks: list[Any] = []
        self._line_hooks: list[Any] = []
        self._fresh = False  # whether the step has a backward pass

    # The block

    def __enter__(self) -> Watch:
        if self._hooks:
            raise RuntimeError("this watch is open already; a second one is made by another diagnostics.watch(model)")
        self._names = {module: name for name, module in self.model.named_modules()}
        known = {id(p.tensor) for p in self.parameters}
        for name, tensor in self.model.named_parameters():
            if id(tensor) not in known:
                self.parameters.append(Parameter(name, tensor))
        for p in self.parameters:
            if p.tensor.requires_grad:
                self._hooks.append(p.tensor.register_hook(parameter_hook(self, p)))
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
        self._close_step()
        self._stack, self._sources = [], {}

    @property
    def is_open(self) -> bool:
        """Whether the block is running."""
        return bool(self._hooks)

    # What hooks do

    def _enter_module(self, module: Module, inputs: tuple[Any, ...]) -> None:
        if module in self._stack:  # an earlier call of it raised
            self._stack = self._stack[: self._stack.index(module)]
        if module is self.model or not self._stack:
            if self._fresh or any(p.changed() for p in self.parameters):
                self._close_step()
            self.passes += 1
            self._stack, self._sources = [], {}
            self._inputs = {id(base(value_of(x))) for x in flatten(inputs)[0] if hasattr(x, "dtype")}
        self._stack.append(module)
        if self._is_layer(module):
            self._note_input(self._layer(module, self._name(module), type(module).__name__, module), inputs)

    def _leave_module(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        while self._stack and self._stack.pop() is not module:
            pass  # modules whose forward raised
        tensor = next((t for t in flatten(output)[0] if is_float(t)), None)
        if tensor is not None and self._is_layer(module):
            layer, value = self.layers[module], np.asarray(value_of(tensor))
            layer.observe(value)
            if layer.is_recurrent:
                observe_sequence(layer, value)
            self._sources[id(base(value))] = (value, layer)
            if isinstance(tensor, Tensor) and tensor.node is not None:
                self._line_hooks.append(tensor.register_hook(output_hook(self, layer)))
        if not self._stack:
            last = self._source(value_of(tensor)) if tensor is not None else None
            if last is not None:
                last.is_last = True
            self._sources = {}

    def called(self, p: Primitive, values: tuple[Array, ...], out: Array, here: Place | None) -> Layer | None:
        """An activation that the model calls as a function: the layer that stands for this line of its code."""
        if not self._stack or p.name not in FUNCTIONS or not is_float(out):
            return None
        module = self._stack[-1]
        if self._is_layer(module) and type(module).__module__.startswith("minigrad."):
            return None
        feeder = self._source(values[0])
        key = (module, p.name, here, feeder)
        if key not in self.layers:
            path = self._names[module]
            own = f"{feeder.name} → {p.name}" if feeder is not None else f"{path}.{p.name}" if path else p.name
            taken = {layer.name for layer in self.layers.values()}
            names = (f"{own} {k}" if k > 1 else own for k in itertools.count(1))
            self._layer(key, next(name for name in names if name not in taken), p.name, None, p.function)
        layer = self.layers[key]
        self._note_input(layer, values)
        layer.observe(np.asarray(out))
        self._sources[id(base(out))] = (out, layer)
        return layer

    def hook(self, line: Node, layer: Layer) -> None:
        """Note the gradient of a line that belongs to a layer."""
        self._line_hooks.append(add_hook(line, output_hook(self, layer)))

    def _is_layer(self, module: Module) -> bool:
        return bool(module._parameters) or not any(True for _ in module.children())

    def _name(self, module: Module) -> str:
        return self._names[module] or type(module).__name__

    def _layer(self, key: Any, name: str, kind: str, module: Module | None, function: Any = None) -> Layer:
        if key not in self.layers:
            layer = self.layers[key] = Layer(name, kind, module, function)
            if module is not None:
                own = {id(getattr(module, n)) for n in module._parameters}
                layer.parameters = [p for p in self.parameters if id(p.tensor) in own]
        return self.layers[key]

    def _source(self, value: Array) -> Layer | None:
        kept = self._sources.get(id(base(value)))
        return None if kept is None else kept[1]

    def _note_input(self, layer: Layer, inputs: tuple[Any, ...]) -> None:
        given = (value_of(x) for x in inputs)
        value = next((x for x in given if isinstance(x, np.ndarray) and x.dtype.kind in "fiub"), None)
        if value is None:
            return
        layer.feeder = self._source(value) or layer.feeder
        if not layer.outputs.rms_of_calls and not layer.steps and id(base(value)) in self._inputs:
            layer.is_first = True
            rows = value.reshape(-1, value.shape[-1]) if value.ndim else value.reshape(1, 1)
            with np.errstate(all="ignore"):
                layer.features = (rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64))
        layer.inputs.add(value)

    def note_backward(self) -> None:
        """A gradient has arrived."""
        if not self._fresh:
            self._fresh = True
            self.backwards += 1

    def _close_step(self) -> None:
        moved = any(p.changed() for p in self.parameters)
        owned = {id(p) for layer in self.layers.values() for p in layer.parameters}
        seen = any(layer.outputs.rms_of_calls for layer in self.layers.values())
        for remove in self._line_hooks:
            remove()
        self._line_hooks = []
        if not (moved or seen or self._fresh):
            return
        for p in self.parameters:
            if id(p) not in owned:
                p.close()
        for layer in self.layers.values():
            layer.close(self.step)
        self.step += 1
        self.updates += moved
        self._fresh = False

    # What came of it

    @property
    def history(self) -> dict[str, dict[str, list[float]]]:
        """For each layer the curves over the steps: "step", "mean", "std", "zero", "gradient", "update", ...

        Of very long observations every other step is dropped, as often as needed to keep at most 1024.
        """
        return {layer.name: layer.history.curves() for layer in self.layers.values()}

    def report(self) -> Report:
        """What is wrong, worst first, with the numbers of each layer. Print it."""
        from minigrad.diagnostics.report import Report

        if self.is_open:
            self._close_step()
        return Report.of(self)

    def plot(self, path: Any = None) -> Any:
        """The histograms of activations and gradients, layer by layer: of the first step and of the last.

        Args:
            path: a file to write, if given: its suffix says the format.

        Returns:
            The matplotlib figure.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            ValueError: nothing was observed.
        """
        from minigrad.diagnostics.plots import histograms

        return histograms(self, path)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<watch of {type(self.model).__name__}, {state}: {self.step} steps, {len(self.layers)} layers>"
