"""A backward pass written by hand: its lines, what they may name, and their evaluation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.verify.derivation.forward import Forward, Run
from minigrad.verify.derivation.reference import Reference
from minigrad.verify.derivation.sample import Sample, draw_sample

Array = Any


class CannotRun(Exception):
    """A line raised an error, in most cases because shapes do not fit."""


@dataclass(frozen=True)
class Line:
    """One line of a derivation: the gradient of `target` from values and gradients, by name."""

    target: str
    function: Callable[..., Any]
    parameters: tuple[str, ...]

    @property
    def gradients(self) -> tuple[str, ...]:
        """The parameters that begin with d, without it: names whose gradients the line uses, or the rest of delta."""
        return tuple(p[1:] for p in self.parameters if p.startswith("d"))

    def upstream(self, reference: Reference) -> list[str]:
        """The names whose gradients the line uses."""
        return [k for k in self.gradients if k in reference.gradients]


class BackwardPass:
    """A forward function, and lines for the gradients of its inputs and named values."""

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.name = forward.name
        self.lines: dict[str, Line] = {}
        self.targets: list[str] = []  # inputs and named values of the forward function, from its first run
        self._names: set[str] | None = None  # of values and gradients

    def add(self, function: Callable[..., Any], target: str | None = None) -> None:
        """Add a line.

        Args:
            function: computes the gradient from values and gradients, by their names.
            target: the value whose gradient it is; by default what follows the d in the function's name.

        Raises:
            TypeError: its name or its parameters do not fit the forward function.
        """
        name = function.__name__ if target is None else f"d{target}"
        if not name.startswith("d") or len(name) < 2:
            raise TypeError(f"{self.name}: a line is called d<name> after the value whose gradient it is, not {name!r}")
        target = name[1:]
        parameters = []
        for p in inspect.signature(function).parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.default is not p.empty:
                raise TypeError(
                    f"{self.name}: line {name} has the parameter {p}; a line takes values and gradients by name only, "
                    "without defaults"
                )
            parameters.append(p.name)
        if target in self.lines and not _is_defined_again(self.lines[target].function, function):
            raise TypeError(f"{self.name}: there is a line {name} already")
        line = Line(target, function, tuple(parameters))
        if self._names is None and all(k in self.forward.shapes for k in self.forward.inputs):
            self.learn_names(draw_sample(self.forward, {}, np.random.default_rng(0)).reference.run)
        if self._names is not None:
            self.check_names(line)
        self.lines[target] = line

    def learn_names(self, run: Run) -> None:
        """Take the names that lines may use from a run of the forward function.

        Raises:
            TypeError: no input is differentiable, or a value has the name of a gradient.
        """
        if not run.inputs:
            raise TypeError(
                f"{self.name}: none of the inputs {', '.join(self.forward.inputs)} holds floating-point numbers, so "
                "there is no gradient; convert one: x.astype(float)"
            )
        gradients = {f"d{k}" for k in [*run.inputs, *run.named, *run.outputs]}
        clash = gradients & set(run.values)
        if clash:
            raise TypeError(
                f"{self.name}: {sorted(clash)[0]!r} is a value of the forward function, and also the name of a "
                "gradient. Give the value another name"
            )
        self._names = set(run.values) | gradients
        self.targets = [*run.inputs, *run.named]

    def check_names(self, line: Line) -> None:
        """Raise TypeError if a line is for an unknown value, or has a parameter that names nothing."""
        assert self._names is not None
        name = f"d{line.target}"
        if line.target not in self.targets:
            raise TypeError(
                f"{self.name}: line {name} is for {line.target!r}, which is not an input or named value of the forward "
                f"function; there are {', '.join(self.targets)}. Name it there: mg.name({line.target!r}, ...)"
            )
        for p in line.parameters:
            if p not in self._names:
                gradients = {k for k in self._names if k.startswith("d") and k[1:] in self._names}
                raise TypeError(
                    f"{self.name}: line {name} has the parameter {p!r}, which is not the name of a value "
                    "or a gradient. Values are "
                    f"{', '.join(sorted(self._names - gradients))}; gradients {', '.join(sorted(gradients))}"
                )
        if name in line.parameters:
            raise TypeError(f"{self.name}: line {name} uses its own result as a parameter")

    def evaluate(self, line: Line, names: Mapping[str, Any]) -> Array:
        """The result of a line for values and gradients by name, which it cannot write to.

        Raises:
            CannotRun: the line raised an error.
            ValueError: it writes into one of its inputs.
            TypeError: it did not return numbers.
        """
        arguments = []
        for p in line.parameters:
            value = names[p]
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            arguments.append(value)
        try:
            with np.errstate(all="ignore"):  # values that are not finite are reported
                result = line.function(*arguments)
        except Exception as error:
            if "read-only" in str(error):
                raise ValueError(
                    f"{self.name}: line d{line.target} writes into one of its inputs; copy it first, or compute a new "
                    "value"
                ) from error
            raise CannotRun(f"{type(error).__name__}: {error}") from error
        result = np.asarray(value_of(result))
        if result.dtype.kind not in "fiub":
            raise TypeError(f"{self.name}: line d{line.target} returned {result.dtype}, not numbers")
        return result if result.dtype.kind == "f" else result.astype(float)

    def order(self) -> list[str]:
        """The targets of the lines, each after those whose results it uses. Raises ValueError if they form a circle."""
        ordered: list[str] = []
        pending = list(self.lines)
        while pending:
            ready = [t for t in pending if not (set(self.lines[t].gradients) & set(pending))]
            if not ready:
                raise ValueError(
                    f"{self.name}: the lines {', '.join('d' + t for t in pending)} depend on each other in a cycle"
                )
            ordered += ready
            pending = [t for t in pending if t not in ready]
        return ordered

    def lines_using(self, targets: Collection[str]) -> set[str]:
        """The targets, and those of the lines that use their gradients, directly or indirectly."""
        using = set(targets)
        for t in self.order():
            if using & set(self.lines[t].gradients):
                using.add(t)
        return using

    def chained(self, sample: Sample, replaced: Line | None = None, true: Collection[str] = ()) -> dict[str, Array]:
        """The results of the lines, each computed from those of the others; without lines that cannot run.

        Args:
            sample: the values.
            replaced: a line that takes the place of the one with its target.
            true: targets of lines instead of whose results the others get the true gradients.
        """
        names = sample.names()
        results: dict[str, Array] = {}
        for t in self.order():
            line = replaced if replaced is not None and replaced.target == t else self.lines[t]
            if t in true:
                results[t] = names[f"d{t}"]
                continue
            if any(k in self.lines and k not in results for k in line.gradients):
                continue
            with suppress(CannotRun):
                results[t] = names[f"d{t}"] = self.evaluate(line, names)
        return results


def _is_defined_again(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether a function is another state of one defined before: a cell was run again, a file reloaded."""
    if old is new or not (inspect.isfunction(old) and inspect.isfunction(new)) or old.__name__ != new.__name__:
        return False
    files = [f.__code__.co_filename for f in (old, new)]
    if files[0] == files[1]:
        return old.__code__.co_firstlineno == new.__code__.co_firstlineno
    return all(file.startswith("<") or "ipykernel" in file for file in files)  # cells: each run has a file of its own
