"""A recording that is refused leaves nothing behind, whichever way the step has written before."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.capture import session
from minigrad.compiler.capture.changes import Undo
from minigrad.compiler.capture.leaving import new_arrays
from minigrad.compiler.capture.settle import contents_of
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.traced_number import TracedNumber

pytestmark = pytest.mark.floating(all="warn")  # where errors raise, compiled functions run eagerly
State = dict[str, Any]


def state() -> State:
    base = np.arange(12.0)
    parameter = mg.Tensor(np.arange(3.0), requires_grad=True)
    parameter.grad = mg.Tensor(np.ones(3))
    return {
        "a": np.arange(6.0),
        "matrix": np.arange(6.0).reshape(2, 3),
        "base": base,
        "view": base[2:8],
        "bytes": base.view(np.uint8),
        "p": parameter,
        "texts": np.array(["x", "y"]),
        "rng": np.random.default_rng(0),
        "counts": [0],
    }


def added_at(s: State, x: Any) -> None:
    np.add.at(s["a"], [0, 0, 1], x[:3])


def shuffled(s: State, x: Any) -> None:
    s["rng"].shuffle(s["a"])


def by_rows(s: State, x: Any) -> None:
    for k in range(2):
        s["matrix"][k] += x[:3]
    s["matrix"] += 1
    s["matrix"][:, 1] = 0


def owner_then_view(s: State, x: Any) -> None:
    s["base"] += 1
    s["view"][:3] = x[:3]


def view_then_owner(s: State, x: Any) -> None:
    s["view"][:3] = x[:3]
    s["base"] += 1


def other_dtype(s: State, x: Any) -> None:
    s["view"][:3] = x[:3]
    s["bytes"][16:40] = 7


def gradient(s: State, x: Any) -> None:
    s["p"].grad.data *= 2


def parameter(s: State, x: Any) -> None:
    s["p"].data[...] = x[:3]


def behind_the_back(s: State, x: Any) -> None:
    np.asarray(s["a"])[0] = 100.0


def texts(s: State, x: Any) -> None:
    s["texts"][0] = "z"


def several(s: State, x: Any) -> None:
    s["a"][s["a"] > 2] = 0
    s["a"].sort()
    s["new"] = s["a"] + 1
    s["counts"].append(1)
    s["a"] = s["a"] * 2


WRITES: list[Callable[[State, Any], None]] = [
    *(added_at, shuffled, by_rows, owner_then_view, view_then_owner, other_dtype, gradient, parameter),
    *(behind_the_back, texts, several),
    lambda s, x: np.multiply(s["a"], 2, out=s["a"]),
    lambda s, x: np.add(s["a"], x, out=s["a"], where=x > 1),
    lambda s, x: np.copyto(s["a"], x),
    lambda s, x: np.cumsum(x, out=s["a"]),
    lambda s, x: s["a"].fill(3),
    lambda s, x: s["matrix"].T.__setitem__(0, x[:2]),
    lambda s, x: np.put(s["a"], [1, 2], [5.0, 6.0]),
    lambda s, x: x.__iadd__(1),
]


def held(s: State) -> dict[str, Any]:
    """What a state holds, to be compared."""
    found = {key: np.array(value) for key, value in s.items() if isinstance(value, np.ndarray)}
    found |= {"p": np.array(s["p"].data), "gradient": np.array(s["p"].grad.data), "counts": list(s["counts"])}
    return found | {"rng": str(s["rng"].bit_generator.state), "keys": list(s)}


def assert_same(now: dict[str, Any], before: dict[str, Any]) -> None:
    for key, value in before.items():
        assert np.array_equal(now[key], value), key


@pytest.mark.parametrize("write", WRITES)
def test_a_strict_recording_that_fails_changes_nothing(write: Callable[[State, Any], None]) -> None:
    s = state()
    x = np.arange(6.0) / 2

    def step(x: Any) -> Any:
        write(s, x)
        return (x * s["a"]).sum().tolist()  # differs from call to call, and is asked for

    before, given = held(s), x.copy()
    arrays = {key: value for key, value in s.items() if isinstance(value, np.ndarray)}
    compiled = mg.compile(step, fallback="raise", state=[s])
    with pytest.raises(CompileError):
        compiled(x)
    assert_same(held(s), before)
    assert np.array_equal(x, given)
    assert all(s[key] is array for key, array in arrays.items())


@pytest.mark.parametrize("write", WRITES)
def test_a_call_that_fails_late_because_of_a_tracer_has_its_effects_once(write: Callable[[State, Any], None]) -> None:
    """The trace stops, real arrays are written unseen, and then C code wants no tracer: all of that is undone."""

    def make(s: State) -> Callable[[Any], Any]:
        def step(x: Any) -> Any:
            total = (x * s["a"]).sum().tolist()
            write(s, x)
            return total + memoryview(x).nbytes

        return step

    s, t = state(), state()
    x, y = np.arange(6.0) / 2, np.arange(6.0) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = mg.compile(make(s), state=[s])(x)
    assert got == make(t)(y)
    assert_same(held(s), held(t))
    assert np.array_equal(x, y)


def test_arrays_that_are_only_read_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Undo] = []

    class Watched(Undo):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(session, "Undo", Watched)
    data, total = np.ones((1000, 100)), np.zeros(100)

    def step(k: int) -> Any:
        np.add(total, data[k], out=total)
        return total.sum()

    compiled = mg.compile(step)
    for _ in range(3):
        compiled(1)
    assert [[copy.size for _, copy in undo.arrays] for undo in made] == [[100], [100]]
    assert total[0] == 3


def test_a_traced_number_does_not_leave_with_its_trace() -> None:
    """A number in a list leads to the trace, and through it to everything that the step can reach."""
    trace = SimpleNamespace(numbers=[], arrays=[mg.Tensor([1.0])])
    number = TracedNumber(trace, 1.0, None, lambda: None)
    assert list(new_arrays([[number]], lambda x: False)) == []


def test_an_object_whose_getattr_accepts_any_name_has_no_contents() -> None:
    class Library:
        __slots__ = ()

        def __getattr__(self, name: str) -> Any:
            return Library()

    assert contents_of(Library()) == []
