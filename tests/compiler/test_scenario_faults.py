"""Faults planted into a compiler that compiles nothing: the scenarios must notice each of them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scenarios.scenario import Outcome, Scenario, compare, compare_observations, execute

import minigrad as mg
from minigrad import compiler

FAULTS: dict[str, tuple[Any, str]] = {}


class OwnWarning(RuntimeWarning):
    """Stands for minigrad.compiler.CompileWarning."""


class State:
    """What the step of the scenario changes."""

    def __init__(self) -> None:
        self.a, self.w, self.log = np.zeros(3), mg.Tensor(np.ones(3), requires_grad=True), {}
        self.n, self.rng, self.scale = 0, np.random.default_rng(0), 1.0


def scenario(C: Any, see: Any) -> None:
    s = State()

    @C
    def step(x: Any) -> Any:
        if x[0] == 5:
            raise ValueError(f"five is refused {x.shape}")
        s.a += x
        s.n += 1
        s.log["last"] = (x * s.scale).sum()
        (s.w * s.a).sum().backward()
        return s.a * s.scale + s.rng.normal(size=3)

    step.state = s
    for k in range(8):
        s.scale = 1.0 + k // 4
        see.attempt(step, np.full(3, float(k)))
        see(s)


def planted(reason: str) -> Callable[[Any], Any]:
    """fault(function, s, k, args) makes call number k in place of function(*args)."""

    def add(fault: Any) -> Any:
        FAULTS[fault.__name__] = (fault, reason)
        return fault

    return add


@planted("")
def none_at_all(f: Any, s: State, k: int, args: Any) -> Any:
    return f(*args)


@planted("values")
def store_is_skipped(f: Any, s: State, k: int, args: Any) -> Any:
    before = s.a.copy()
    y = f(*args)
    if k == 3:
        s.a[:] = before
    return y


@planted("values")
def old_draw(f: Any, s: State, k: int, args: Any) -> Any:
    bits = s.rng.bit_generator
    if k == 3:
        bits.state = np.random.default_rng(0).bit_generator.state
    return f(*args)


@planted("values")
def draw_that_is_not_made(f: Any, s: State, k: int, args: Any) -> Any:
    before = s.rng.bit_generator.state
    y = f(*args)
    if k == 7:
        s.rng.bit_generator.state = before
    return y


@planted("values")
def stale_scale(f: Any, s: State, k: int, args: Any) -> Any:
    now, s.scale = s.scale, 1.0
    try:
        return f(*args)
    finally:
        s.scale = now


@planted("values")
def counter_stays(f: Any, s: State, k: int, args: Any) -> Any:
    y = f(*args)
    s.n = min(s.n, 2)
    return y


@planted("values")
def gradient_is_overwritten(f: Any, s: State, k: int, args: Any) -> Any:
    if k == 2:
        s.w.grad = None
    return f(*args)


@planted("objects")
def gradient_is_one_object(f: Any, s: State, k: int, args: Any) -> Any:
    before = s.w.grad
    y = f(*args)
    if before is not None:
        before.data, s.w.grad = s.w.grad.data.copy(), before
    return y


@planted("values")
def result_is_one_array(f: Any, s: State, k: int, args: Any) -> Any:
    y = f(*args)
    kept = vars(f).setdefault("kept", y)
    np.copyto(kept, y)
    return kept


@planted("values")
def stale_result(f: Any, s: State, k: int, args: Any) -> Any:
    y = f(*args)
    old = vars(f).setdefault("old", y)
    return old.copy() if k == 4 else y


@planted("values")
def scalar_becomes_an_array(f: Any, s: State, k: int, args: Any) -> Any:
    y = f(*args)
    s.log["last"] = np.asarray(s.log["last"])
    return y


@planted("values")
def dtype_of_the_result(f: Any, s: State, k: int, args: Any) -> Any:
    return f(*args).astype(np.float32) if k == 2 else f(*args)


@planted("values")
def tensor_instead_of_array(f: Any, s: State, k: int, args: Any) -> Any:
    return mg.asarray(f(*args)) if k == 2 else f(*args)


@planted("values")
def error_is_lost(f: Any, s: State, k: int, args: Any) -> Any:
    try:
        return f(*args)
    except ValueError:
        return np.zeros(3)


@planted("values")
def another_error(f: Any, s: State, k: int, args: Any) -> Any:
    try:
        return f(*args)
    except ValueError:
        raise ValueError("something else") from None


@planted("values")
def crash(f: Any, s: State, k: int, args: Any) -> Any:
    return f(*args, None) if k == 3 else f(*args)


@planted("values")
def new_key(f: Any, s: State, k: int, args: Any) -> Any:
    s.log["more"] = 1
    return f(*args)


@planted("values")
def small_error(f: Any, s: State, k: int, args: Any) -> Any:
    return f(*args) * (1 + 1e-7)


@planted("tracer")
def tracer_left(f: Any, s: State, k: int, args: Any) -> Any:
    y = f(*args)

    class Tracer:
        __module__ = "minigrad.compiler.trace.tracer"
        __array_ufunc__ = None

    s.w.node.residuals = (Tracer(),)
    return y


@planted("warnings for")
def too_many_warnings(f: Any, s: State, k: int, args: Any) -> Any:
    warnings.warn("runs eagerly, at step.py:3", OwnWarning, stacklevel=2)
    return f(*args)


@planted("names no place")
def warning_without_a_place(f: Any, s: State, k: int, args: Any) -> Any:
    if k == 0:
        warnings.warn("it cannot be compiled", OwnWarning, stacklevel=2)
    return f(*args)


@planted("")
def one_warning(f: Any, s: State, k: int, args: Any) -> Any:
    if k == 0:
        warnings.warn("runs eagerly, at step.py:3", OwnWarning, stacklevel=2)
    return f(*args)


class Faulty:
    """Instead of a compiled function."""

    state: Any

    def __init__(self, function: Any, fault: Any) -> None:
        self.function, self.fault, self.calls = function, fault, 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return self.fault(self.function, self.state, self.calls - 1, args)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_detected(name: str, monkeypatch: Any) -> None:
    fault, where = FAULTS[name]
    monkeypatch.setattr(compiler, "CompileWarning", OwnWarning, raising=False)
    monkeypatch.setattr(mg, "compile", lambda f, **options: Faulty(f, fault), raising=False)
    one = Scenario("faulty", "none", scenario)
    eager, ours = execute(one, None), execute(one, "numpy")
    values, objects = compare(one, ours, eager), compare_observations(ours, eager, identity=True)
    if where == "":
        assert values == objects == ""
    elif where == "objects":
        assert values == ""
        assert "another object" in objects
    elif where == "values":
        assert values != ""
    else:
        assert where in values


def test_a_scenario_that_fails_in_eager_mode_is_wrong() -> None:
    one = Scenario("wrong", "none", lambda C, see: see(1 / 0))
    assert "the scenario is wrong" in compare(one, Outcome(), execute(one, None))


def test_globals_are_compared() -> None:
    drawn = copy.copy(Scenario("drawn", "none", lambda C, see: np.random.rand()))  # noqa: NPY002
    silent = Scenario("silent", "none", lambda C, see: None)
    assert "global generators" in compare(drawn, execute(drawn, None), execute(silent, None))
