"""Scenarios: short programs as users write them, run eagerly and compiled, and everything that they observe compared.

    @scenario
    def gradients_accumulate(C, see):
        w = mg.Tensor(np.ones(2), requires_grad=True)
        step = C(lambda x: (w * x).sum().backward())
        for k in range(6):
            see(step(np.full(2, k)), w)

`C` is mg.compile, or the identity when the scenario runs eagerly. `see(...)` notes what its arguments are at this time:
types, elements, gradients, attributes, states of generators, and which arrays are the same objects as before. It also
keeps its arguments, to look at them once more at the end: what a user kept must not change later, unless it does so in
eager mode too. `see.attempt(f, ...)` notes the result or the exception.
"""

from __future__ import annotations

import contextlib
import io
import random
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import compiler
from minigrad.engine.node import mode
from minigrad.util import rng
from scenarios.snapshot import Identities, difference, snapshot, tracers

SCENARIOS: dict[str, Scenario] = {}
PLACE = re.compile(r"\.py:\d+|\.py\", line \d+|[\w.]+\[|[a-z_]\w*\.\w+")  # of a line, or of a place such as config.lr


@dataclass
class Scenario:
    """A program with holes for the compiler and for what is observed."""

    name: str
    group: str
    run: Callable[[Any, Any], None]
    functions: int | None = None  # how many compiled functions there are, if not one for each call of C
    eager: bool = False  # whether it can hardly run otherwise: it looks at values, at clocks, at the random module


@dataclass
class Outcome:
    """What one run of a scenario has shown."""

    observations: list[tuple[str, Any]] = field(default_factory=list)
    error: str = ""  # of the scenario itself
    warnings: list[str] = field(default_factory=list)  # about compiling
    leftovers: list[str] = field(default_factory=list)  # tracer arrays
    functions: int = 0  # that were compiled
    recordings: int = 0  # programs that were made


def scenario(function: Any = None, **options: Any) -> Any:
    """Register a function (C, see) as a scenario, in the group that its file is named after."""
    if function is None:
        return lambda f: scenario(f, **options)
    group = function.__module__.rpartition(".")[2]
    name = f"{group}-{function.__name__}"
    assert name not in SCENARIOS, name
    SCENARIOS[name] = Scenario(name, group, function, **options)
    return function


class See:
    """Notes what a scenario observes."""

    def __init__(self, outcome: Outcome, hold: bool, eager: bool) -> None:
        self.eager, self.latest = eager, dict[str, Any]()
        self.outcome, self.hold, self._ids = outcome, hold, Identities()
        self.kept: list[tuple[str, Any]] = []

    @property
    def ids(self) -> Identities:
        """Without holding objects, identity says something within one look only."""
        return self._ids if self.hold else Identities()

    def __call__(self, *things: Any) -> None:
        """Note what these objects are now."""
        frame = sys._getframe(1)
        self.note(f"line {frame.f_lineno}, look {len(self.outcome.observations)}", things, frame.f_locals)

    def note(self, label: str, things: tuple[Any, ...], local: dict[str, Any]) -> None:
        self.outcome.observations.append((label, observe(things, self.ids)))
        self.latest = {name: x for name, x in local.items() if name not in ("C", "see")} | {"result": things}
        if len(self.outcome.observations) < 4:  # recordings are made in the first calls
            self.look_for_tracers(label)
        if self.hold:
            self.kept.append((label, things))

    def look_for_tracers(self, label: str) -> None:
        """Note tracer arrays that can be reached from the variables of the scenario."""
        if not self.eager:
            self.outcome.leftovers += [f"{label}: {path}" for path in tracers(self.latest)]

    def attempt(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Call a function and note what it returns, or the exception with the start of its message."""
        self._attempt(sys._getframe(1), True, function, args, options)

    def kind_of(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        """The same without the message, for errors that name nodes of the tape."""
        self._attempt(sys._getframe(1), False, function, args, options)

    def _attempt(self, frame: Any, message: bool, function: Any, args: Any, options: Any) -> None:
        label = f"line {frame.f_lineno}, look {len(self.outcome.observations)}"
        try:
            result = function(*args, **options)
        except (Exception, KeyboardInterrupt) as error:
            cause = type(error.__cause__).__name__
            self.outcome.observations.append(
                (label, ["raised", type(error).__name__, str(error)[: 40 * message], cause])
            )
        else:
            self.note(label, (result,), frame.f_locals)

    @contextlib.contextmanager
    def printed(self) -> Iterator[None]:
        """Note what is printed meanwhile."""
        label = f"line {sys._getframe(2).f_lineno}, output"
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            yield
        self.outcome.observations.append((label, [text.getvalue()]))

    def finish(self) -> None:
        """Look once more at all that was kept, and at what is global."""
        self.look_for_tracers("at the end")
        for label, things in self.kept:
            self.outcome.observations.append((f"at the end, {label}", observe(things, self.ids)))
        numbers = repr(np.random.get_state()[2:]), np.random.get_state()[1]  # noqa: NPY002
        generators = [rng._global().bit_generator.state, random.getstate()[1][-1], numbers[0]]
        self.outcome.observations.append(("global generators", [repr(generators), np.array(numbers[1])]))
        self.outcome.observations.append(("modes", [repr(mode.get()), repr(mg.get_default_dtype())]))


def observe(things: Any, ids: Identities) -> list[Any]:
    return [snapshot(x, ids) for x in things]


def execute(one: Scenario, backend: str | None, hold: bool = True, audit: bool = True) -> Outcome:
    """Run a scenario, eagerly if there is no backend. Without audits nothing mends what the guards miss."""
    outcome, functions = Outcome(), list[Any]()
    see = See(outcome, hold, backend is None)

    def C(function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda f: C(f, **options)
        if backend is None:
            return function
        made = mg.compile(function, backend=backend, **{"audit": audit} | options)
        functions.append(made)
        return made

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    mg.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"), clean_modes():
        warnings.simplefilter("always")
        try:
            one.run(C, see)
        except Exception as error:
            outcome.error = f"{type(error).__name__}: {error}"
        see.finish()
    outcome.functions = len(functions)
    outcome.recordings = sum(getattr(f, "recordings", 0) for f in functions)
    outcome.warnings = [str(w.message) for w in caught if is_about_compiling(w)]
    return outcome


@contextlib.contextmanager
def clean_modes() -> Iterator[None]:
    """Put the default dtype and the recording mode back."""
    dtype, now = mg.get_default_dtype(), mode.get()
    try:
        yield
    finally:
        mg.set_default_dtype(dtype)
        mode.set(now)


def is_about_compiling(warning: Any) -> bool:
    """Whether the warning says that a step runs eagerly."""
    kind = getattr(compiler, "CompileWarning", None)
    return kind is not None and issubclass(warning.category, kind)


def compare(one: Scenario, ours: Outcome, eager: Outcome) -> str:
    """How a compiled run differs from the eager one in what it computes and leaves behind; empty if it does not."""
    if eager.error:
        return f"the scenario is wrong, it fails in eager mode: {eager.error}"
    if ours.error:
        return f"crashed: {ours.error}"
    if ours.leftovers:
        return f"a tracer array is left in {ours.leftovers[0]}"
    if text := compare_observations(ours, eager, identity=False):
        return text
    allowed = one.functions or max(1, ours.functions)
    if len(ours.warnings) > allowed:
        return f"{len(ours.warnings)} warnings for {allowed} compiled functions: {ours.warnings}"
    for text in ours.warnings:
        if not PLACE.search(text):
            return f"a warning names no place: {text}"
    return ""


def compare_observations(ours: Outcome, eager: Outcome, identity: bool) -> str:
    """The first observation that differs. With identity, also which arrays are the same objects as before."""
    for (label, found), (where, expected) in zip(ours.observations, eager.observations, strict=False):
        if label != where:
            return f"{label} comes in place of {where}"
        if label.endswith("output") and ours.warnings:
            continue  # what is printed may appear in the calls only that run eagerly, if that is said
        if text := difference(found, expected, identity=identity):
            return f"{label}: {text}"
    if len(ours.observations) != len(eager.observations):
        return f"{len(ours.observations)} observations instead of {len(eager.observations)}"
    return ""
