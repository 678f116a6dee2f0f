"""The time of compiling grows with the length of a program, not with its square. Instructions are counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.kernels.fusion import MAX_ARRAYS
from minigrad.compiler.kernels.numba_backend import NumbaSource

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

SIZES = (60, 240)


def counted(function: Callable[[], Any]) -> int:
    """The number of Python instructions that a call runs."""
    count = 0

    def watch(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def neurons(size: int) -> Callable[[], Any]:
    """A sum over neurons of single numbers, with the gradients of all weights."""
    weights = [mg.Tensor(0.1 + k / size, requires_grad=True) for k in range(size)]

    def step() -> Any:
        for w in weights:
            w.grad = None
        x, loss = 0.5, 0.0
        for w, u in zip(weights[::2], weights[1::2], strict=True):
            loss = loss + (w * x + u).relu() * w
        loss.backward()
        return loss, [w.grad for w in weights]

    return step


def layers(size: int) -> Callable[[], Any]:
    """A deep network, with a momentum step for each of its matrices."""
    rng = np.random.default_rng(0)
    weights = [mg.Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(size // 4)]
    optimizer = [np.zeros((3, 3)) for _ in weights]
    x = rng.normal(size=(5, 3))

    def step() -> Any:
        h: Any = x
        for w in weights:
            w.grad = None
            h = mg.tanh(h @ w)
        loss = (h * h).mean()
        loss.backward()
        with mg.no_grad():
            for w, momentum in zip(weights, optimizer, strict=True):
                momentum *= 0.9
                momentum += w.grad.data
                w -= 0.1 * momentum
        return loss

    return step


def is_linear(works: dict[int, Callable[[], Any]]) -> bool:
    """Whether the number of instructions grows as the sizes do."""
    short, long = works
    return counted(works[long]) < 1.15 * long / short * counted(works[short])


@pytest.mark.parametrize("problem", [neurons, layers])
def test_the_first_call_grows_with_the_length(problem: Callable[[int], Callable[[], Any]]) -> None:
    assert is_linear({size: mg.compile(problem(size), backend="numpy") for size in SIZES})


@pytest.mark.parametrize("problem", [neurons, layers])
def test_the_second_call_grows_with_the_length(problem: Callable[[int], Callable[[], Any]]) -> None:
    """The second recording, the comparison of both, the passes, and then the call of an audit and of the program."""
    steps = {size: mg.compile(problem(size), backend="numpy") for size in SIZES}
    for step in steps.values():
        step()
    for _ in range(3):
        assert is_linear(dict(steps))


@pytest.mark.parametrize("problem", [neurons, layers])
def test_kernels_grow_with_the_length(problem: Callable[[int], Callable[[], Any]]) -> None:
    steps = {size: mg.compile(problem(size), backend="numpy") for size in SIZES}
    for step in steps.values():
        step()
        step.latest.prepare("numpy")
    assert is_linear({size: partial(NumbaSource, step.latest.program) for size, step in steps.items()})


def test_kernels_of_long_programs_stay_small() -> None:
    """numba takes long for a function with many arguments. Single numbers are not worth a kernel."""
    step = mg.compile(layers(240), backend="numpy")
    step()
    step.latest.prepare("numpy")
    arguments = [len(arrays) for _, arrays in NumbaSource(step.latest.program).kernels.values()]
    assert 10 < max(arguments) < 1.2 * MAX_ARRAYS
    step = mg.compile(neurons(240), backend="numpy")
    step()
    step.latest.prepare("numpy")
    assert not NumbaSource(step.latest.program).kernels


def test_a_step_of_many_names_runs() -> None:
    """Its source binds them as parameters, and runs by itself."""
    weights = [np.full((2,), float(k)) for k in range(600)]

    def step(x: Any) -> Any:
        for w in weights:
            x = np.tanh(x * w)
        return x

    compiled = mg.compile(step, backend="numpy")
    expected = compiled(np.full(2, 0.5))
    for _ in range(4):
        np.testing.assert_array_equal(compiled(np.full(2, 0.5)), expected)
    assert "tanh_9=tanh_9" in compiled.source.split("def step(x, ")[1]
    scope: dict[str, Any] = {}
    exec(compiled.source, scope)
    np.testing.assert_array_equal(scope["bind"](**compiled.arrays)(np.full(2, 0.5))[0], expected)
