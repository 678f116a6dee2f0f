"""The forward function of a derivation: how its inputs are drawn, and its runs with named values.

While it runs, `mg.name` makes the named value a node of its own on the tape, at which the gradient is read. For finite
differences the value is shifted. The Tensor object itself is changed, so code that continues with the Tensor from
before the call of `mg.name` uses the same node.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.modes import current_scope, enable_grad, no_grad
from minigrad.engine.tape import Tape
from minigrad.tensor.linearize import variable
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten
from minigrad.verify.derivation.structure import away_from_0_and_1
from minigrad.verify.pairs.pair import is_float_array

Array = Any
# Sizes of named axes. They are pairwise coprime, so that a factor shows which size it comes from.
SIZES = (7, 5, 4, 3, 11, 13)
OTHER_SIZES = {7: 9, 5: 7, 4: 5, 3: 2, 11: 13, 13: 11}  # of a second sample: two numbers are rarely equal in both
EPSILON = 0.3  # instead of a tiny default such as 1e-5, with which a forgotten ε would look like rounding


@dataclass
class Run:
    """One run of the forward function: its values by name, and their Tensors."""

    values: dict[str, Any]  # inputs, constants, named values, outputs
    tensors: dict[str, Tensor]  # differentiable inputs, named values, outputs
    inputs: list[str]  # those that are differentiable
    named: list[str]  # in the order of computation
    outputs: list[str]
    labels: dict[str, str] = field(default_factory=dict)


class Forward:
    """A function with named inputs, its constants, and the shapes from which inputs are drawn.

    Args:
        function: with parameters for inputs, and parameters with a default for constants.
        shapes: by input: text, "N D" for two axes whose sizes are chosen here; a tuple of ints; an array; or a function
            of a Generator, which returns the input. None is needed if arrays are given in every check.
        kept: the inputs that no gradient is asked for, and that keep their values.
    """

    def __init__(self, function: Callable[..., Any], shapes: Mapping[str, Any], kept: Sequence[str] = ()) -> None:
        self.function = function
        self.kept = (kept,) if isinstance(kept, str) else tuple(kept)
        self.is_unit = False  # whether the result is a loss, whose own gradient dL/dL is 1
        self.name = getattr(function, "__name__", "forward")
        self.inputs: list[str] = []
        self.positional: list[str] = []  # parameters that cannot be passed by name
        self.constants: dict[str, Any] = {}
        for p in inspect.signature(function).parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(f"Derivation({self.name}): {p} has no fixed names; give each input a name of its own")
            if p.kind is p.POSITIONAL_ONLY:
                self.positional.append(p.name)
            if p.default is p.empty:
                self.inputs.append(p.name)
            else:
                self.constants[p.name] = p.default
        unknown = [name for name in [*shapes, *self.kept] if name not in self.inputs and name not in self.constants]
        if unknown:
            raise TypeError(
                f"Derivation({self.name}): {unknown[0]!r} is not a parameter; {self.name} has "
                f"{', '.join([*self.inputs, *self.constants])}"
            )
        self.shapes = dict(shapes)
        texts = [shape for shape in self.shapes.values() if isinstance(shape, str)]
        axes = dict.fromkeys(axis for text in texts for axis in text.split() if not axis.isdigit())
        if len(axes) > len(SIZES):
            raise ValueError(
                f"Derivation({self.name}): {len(axes)} named axes; at most {len(SIZES)} can be distinguished"
            )
        self.axes = dict(zip(axes, SIZES, strict=False))

    def arguments(
        self, given: Mapping[str, Any], rng: np.random.Generator, axes: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """All inputs and constants: given values, or values drawn from shapes, with sizes of named axes in `axes`."""
        unknown = [name for name in given if name not in self.inputs and name not in self.constants]
        if unknown:
            raise TypeError(
                f"{self.name} has no parameter {unknown[0]!r}; it has {', '.join([*self.inputs, *self.constants])}"
            )
        arguments = {}
        for name in self.inputs:
            spec = given.get(name, self.shapes.get(name))
            if spec is None:
                raise TypeError(
                    f"{self.name}: input {name!r} has neither a value nor a shape; give one: check({name}=array) or "
                    f'Derivation({self.name}, {name}="N D")'
                )
            arguments[name] = self._input(spec, rng, axes or self.axes)
        for name, default in self.constants.items():
            if name in given:
                arguments[name] = given[name]
            elif name in self.shapes:
                arguments[name] = self.shapes[name]
            else:
                is_tiny = isinstance(default, float) and name in ("eps", "epsilon") and 0 < default < 0.1
                arguments[name] = EPSILON if is_tiny else default
        return arguments

    def _input(self, spec: Any, rng: np.random.Generator, axes: Mapping[str, int]) -> Any:
        """The value of an input that is given as a value, a shape, or a function of a Generator."""
        if callable(spec):
            return np.asarray(spec(rng))
        if isinstance(spec, str):
            spec = tuple(int(axis) if axis.isdigit() else axes[axis] for axis in spec.split())
        if isinstance(spec, tuple) and all(isinstance(n, int) for n in spec):
            return away_from_0_and_1(rng, spec)
        value = spec.data if isinstance(spec, Tensor) else np.asarray(spec)
        return value.astype(np.float64) if value.dtype.kind == "f" else value

    def fixed(self, given: Mapping[str, Any]) -> list[str]:
        """The inputs with given values, here or in the constructor, which are not drawn."""
        specs = {**self.shapes, **given}
        return [
            k for k in self.inputs if k in specs and not isinstance(specs[k], (str, tuple)) and not callable(specs[k])
        ]

    def sizes(self, run: Run, axes: Mapping[str, int] | None = None) -> dict[str, float]:
        """The sizes of axes by name: "N", or "x.shape[0]" where the shape does not name its axes."""
        named = {axis: float(n) for axis, n in (axes or self.axes).items()}
        for k in run.inputs:
            if not isinstance(self.shapes.get(k), str):
                for axis, n in enumerate(run.values[k].shape):
                    if n not in named.values():
                        named[f"{k}.shape[{axis}]"] = float(n)
        return {name: n for name, n in named.items() if n > 1}

    def tape(self) -> Tape:
        """The tape of one run with random inputs, to be printed and drawn."""
        arguments = self.arguments({}, np.random.default_rng(0))
        with enable_grad():
            for k, value in arguments.items():
                if is_float_array(value):
                    arguments[k] = variable(value).named(k)
            out, _ = flatten(self.function(**arguments))
        return Tape(*out)

    def run(self, arguments: Mapping[str, Any], shifts: Mapping[str, Array] | None = None, record: bool = True) -> Run:
        """Call the function, with shifts added to inputs and named values. `record` says whether on the tape."""
        shifts = shifts or {}
        inputs = [k for k in self.inputs if is_float_array(arguments[k])]
        run = Run(dict(arguments), {}, inputs, [], [])
        token = probe.set(self._probe(run, shifts, record))
        try:
            with enable_grad() if record else no_grad():
                tensors = {}
                for k in inputs:
                    value = arguments[k] + shifts[k] if k in shifts else arguments[k]
                    tensors[k] = variable(value) if record else Tensor(value)
                    if record:
                        tensors[k].named(k)
                run.tensors.update(tensors)
                by_name = {**arguments, **tensors}
                positional = [by_name.pop(k) for k in self.positional]
                out, _ = flatten(self.function(*positional, **by_name))
        finally:
            probe.reset(token)
        if not out or not all(isinstance(t, Tensor) for t in out):
            raise TypeError(
                f"{self.name} must return a Tensor, or several; it returned "
                f"{type(out[0]).__name__ if out else 'nothing'}"
            )
        run.outputs = ["out"] if len(out) == 1 else [f"out{k}" for k in range(len(out))]
        for k, t in zip(run.outputs, out, strict=True):
            run.values.setdefault(k, t.data)
            run.tensors.setdefault(k, t)
        return run

    def _probe(self, run: Run, shifts: Mapping[str, Array], record: bool) -> Callable[[str, Any, str | None], Tensor]:
        """The function that mg.name calls in a run: it makes the named value a variable, shifts it, and stores it."""

        def store(name: str, value: Any, label: str | None) -> Tensor:
            full = "_".join([*current_scope().split("/"), name]).lstrip("_")
            if full in run.values:
                raise ValueError(
                    f"{self.name}: the name {full!r} is used twice. One name, one value: choose another, or put the "
                    f'repetitions into scopes (with mg.scope("layer1"): ...), which become part of the name'
                )
            tensor = value if isinstance(value, Tensor) else Tensor(value)
            new = variable(tensor) if record else tensor
            if full in shifts:
                new = new + shifts[full]
            tensor.data, tensor.node = new.data, new.node
            run.named.append(full)
            run.values[full], run.tensors[full] = tensor.data, tensor.detach()
            run.tensors[full].node = tensor.node
            if label:
                run.labels[full] = label
            return tensor

        return store
