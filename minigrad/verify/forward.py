"""The forward function of a derivation: its inputs and how they are drawn, and its runs with named values.

While it runs, `mg.name` is a probe: the named value becomes a node of its own on the tape, at which the gradient is
read, and for finite differences it is moved by a shift. The Tensor itself is rebound, so that code which goes on with
the reference it had before naming sees the probe too.
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

Array = Any
# Sizes that are drawn for named axes. Pairwise coprime, so that a factor tells which size it comes from.
SIZES = (7, 5, 4, 3, 11, 13)
OTHER_SIZES = {7: 9, 5: 7, 4: 5, 3: 2, 11: 13, 13: 11}  # of a second draw: two numbers rarely coincide in both
EPSILON = 0.3  # in place of a tiny default such as 1e-5, at which a forgotten ε could not be told from rounding


@dataclass
class Run:
    """One run of the forward function: values by name, and the Tensors that hold them."""

    values: dict[str, Any]  # inputs, constants, named values, outputs
    tensors: dict[str, Tensor]  # inputs that vary, named values, outputs: those that have a gradient
    inputs: list[str]  # that vary
    named: list[str]  # in the order in which they were computed
    outputs: list[str]
    labels: dict[str, str] = field(default_factory=dict)


class Forward:
    """A function with named inputs, its constants, and the shapes from which inputs are drawn.

    Shapes are given as text, "N D" for two axes (the sizes are chosen here, pairwise coprime), as tuples of ints, or
    not at all if arrays are given in every check. A function of a Generator draws an input in its own way.
    """

    def __init__(self, function: Callable[..., Any], shapes: Mapping[str, Any]) -> None:
        self.function = function
        self.is_unit = False  # whether dL/dL = 1 is taken for the gradient of the result, which is one number
        self.name = getattr(function, "__name__", "forward")
        self.inputs: list[str] = []
        self.positional: list[str] = []  # parameters that cannot be given by name
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
        unknown = [name for name in shapes if name not in self.inputs and name not in self.constants]
        if unknown:
            raise TypeError(
                f"Derivation({self.name}): {unknown[0]!r} is not a parameter; {self.name} has "
                f"{', '.join([*self.inputs, *self.constants])}"
            )
        self.shapes = dict(shapes)
        texts = [shape for shape in self.shapes.values() if isinstance(shape, str)]
        axes = dict.fromkeys(axis for text in texts for axis in text.split() if not axis.isdigit())
        if len(axes) > len(SIZES):
            raise ValueError(f"Derivation({self.name}): {len(axes)} named axes; at most {len(SIZES)} can be told apart")
        self.axes = dict(zip(axes, SIZES, strict=False))

    def arguments(
        self, given: Mapping[str, Any], rng: np.random.Generator, axes: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """All inputs and constants: as given, else drawn from their shapes, with sizes of named axes from `axes`."""
        unknown = [name for name in given if name not in self.inputs and name not in self.constants]
        if unknown:
            raise TypeError(
                f"{self.name} has no parameter {unknown[0]!r}; it has {', '.join([*self.inputs, *self.constants])}"
            )
        found = {}
        for name in self.inputs:
            what = given.get(name, self.shapes.get(name))
            if what is None:
                raise TypeError(
                    f"{self.name}: input {name!r} has neither a value nor a shape; give one: check({name}=array) or "
                    f'Derivation({self.name}, {name}="N D")'
                )
            found[name] = self._drawn(what, rng, axes or self.axes)
        for name, default in self.constants.items():
            if name in given:
                found[name] = given[name]
            elif name in self.shapes:
                found[name] = self.shapes[name]
            else:
                tiny = isinstance(default, float) and name in ("eps", "epsilon") and 0 < default < 0.1
                found[name] = EPSILON if tiny else default
        return found

    def _drawn(self, what: Any, rng: np.random.Generator, axes: Mapping[str, int]) -> Any:
        if callable(what):
            return np.asarray(what(rng))
        if isinstance(what, str):
            what = tuple(int(axis) if axis.isdigit() else axes[axis] for axis in what.split())
        if isinstance(what, tuple) and all(isinstance(n, int) for n in what):
            return away(rng, what)
        value = what.data if isinstance(what, Tensor) else np.asarray(what)
        return value.astype(np.float64) if value.dtype.kind == "f" else value

    def fixed(self, given: Mapping[str, Any]) -> list[str]:
        """The inputs whose values are given, here or in the constructor, and not drawn."""
        every = {**self.shapes, **given}
        return [
            k for k in self.inputs if k in every and not isinstance(every[k], (str, tuple)) and not callable(every[k])
        ]

    def sizes(self, run: Run, axes: Mapping[str, int] | None = None) -> dict[str, float]:
        """The sizes of axes by the names that explain them: "N", or "x.shape[0]" where the shape has no names."""
        named = {axis: float(n) for axis, n in (axes or self.axes).items()}
        for k in run.inputs:
            if not isinstance(self.shapes.get(k), str):
                for axis, n in enumerate(run.values[k].shape):
                    if n not in named.values():
                        named[f"{k}.shape[{axis}]"] = float(n)
        return {name: n for name, n in named.items() if n > 1}

    def tape(self) -> Tape:
        """The tape of one run with drawn inputs, as it is printed and drawn."""
        arguments = self.arguments({}, np.random.default_rng(0))
        with enable_grad():
            for k, value in arguments.items():
                if getattr(getattr(value, "dtype", None), "kind", "") == "f":
                    arguments[k] = variable(value).named(k)
            out, _ = flatten(self.function(**arguments))
        return Tape(*out)

    def run(self, arguments: Mapping[str, Any], shifts: Mapping[str, Array] | None = None, record: bool = True) -> Run:
        """Call the function, with named values moved by their shifts. Recorded, unless only values are wanted."""
        shifts = shifts or {}
        moving = [k for k in self.inputs if getattr(arguments[k], "dtype", None) is not None
                  and arguments[k].dtype.kind == "f"]  # fmt: skip
        run = Run(dict(arguments), {}, moving, [], [])
        token = probe.set(self._probe(run, shifts, record))
        try:
            with enable_grad() if record else no_grad():
                tensors = {}
                for k in moving:
                    value = arguments[k] + shifts[k] if k in shifts else arguments[k]
                    tensors[k] = variable(value) if record else Tensor(value)
                    if record:
                        tensors[k].named(k)
                run.tensors.update(tensors)
                every = {**arguments, **tensors}
                first = [every.pop(k) for k in self.positional]
                out, _ = flatten(self.function(*first, **every))
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
        """What mg.name does in a run: a named value becomes a variable, moved by its shift, and is entered."""

        def enter(name: str, value: Any, label: str | None) -> Tensor:
            full = "_".join([*current_scope().split("/"), name]).lstrip("_")
            if full in run.values:
                raise ValueError(
                    f"{self.name}: the name {full!r} is used twice. One name, one value: choose another, or put the "
                    f'repetitions into scopes (with mg.scope("layer1"): ...), which become part of the name'
                )
            tensor = value if isinstance(value, Tensor) else Tensor(value)
            fresh = variable(tensor) if record else tensor
            if full in shifts:
                fresh = fresh + shifts[full]
            tensor.data, tensor.node = fresh.data, fresh.node
            run.named.append(full)
            run.values[full], run.tensors[full] = tensor.data, tensor.detach()
            run.tensors[full].node = tensor.node
            if label:
                run.labels[full] = label
            return tensor

        return enter


def away(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Numbers of both signs, away from 0 and from 1, at which wrong terms vanish: size 0.3 to 0.8 or 1.2 to 1.7."""
    size = rng.uniform(0.3, 0.8, shape) + 0.9 * rng.integers(0, 2, shape)
    return size * rng.choice([-1.0, 1.0], shape)
