"""mg.compile: what it refuses, when it compiles again, what it says, and derivatives."""

from __future__ import annotations

import collections
import functools
import gc
import inspect
import math
import re
import warnings
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.compiler import CompileError, CompileWarning, decorator
from minigrad.compiler.ir import typing as rules
from minigrad.compiler.kernels.numba_backend import NumbaSource
from minigrad.compiler.passes import pipeline as passes
from minigrad.compiler.trace.tracer import TracerArray

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

X = np.array([[1.0, 2.0], [3.0, 5.0]])


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker runs after every pass."""
    for name, change in passes.PASSES.items():
        monkeypatch.setitem(passes.PASSES, name, lambda program, change=change: rules.check(change(program)))


def count(compiled: Any) -> int:
    return len(compiled.versions)


# What is refused


class Hidden:
    """What only a cache holds, which no walk finds."""

    def __init__(self) -> None:
        self.array = np.zeros(2)
        self.rng = np.random.default_rng(0)
        self.weight = mg.Tensor([1.0, 2.0], requires_grad=True)
        self.optimizer = optim.Adam([self.weight], lr=0.1)


@functools.cache
def hidden() -> Hidden:
    return Hidden()


RNG = np.random.default_rng(0)


class Counter:
    calls = 0
    table: Any = None

    def __init__(self) -> None:
        self.n = 0
        self.array = np.zeros(2)


def masked(x: Any) -> Any:
    y = x * x
    y = y[y > 1]
    return y * 2


def writing_unseen(x: Any) -> Any:
    return np.add(x[0], 1, out=hidden().array)


def assigning_unseen(x: Any) -> Any:
    hidden().array[...] = x[0]


def stepping_unseen(x: Any) -> Any:
    hidden().optimizer.zero_grad()
    (hidden().weight * x).sum().backward()
    hidden().optimizer.step()
    return hidden().weight


def np_random(x: Any) -> Any:
    return x + np.random.normal(size=2)  # noqa: NPY002


REFUSED: dict[str, tuple[Any, str]] = {
    "lines": (masked, "depends on the values"),
    "sqrt": (lambda x: x * math.sqrt((x * x).sum()), "read in Python"),
    "tolist": (lambda x: mg.asarray(x).tolist(), "read in Python"),
    "range": (lambda x: [x for _ in range(abs(int(x[0, 0].astype(int))))], "read in Python"),
    "key": (lambda x: {x.sum().item(): 1}, "read in Python"),
    "print": (lambda x: str(mg.asarray(x)), "read in Python"),
    "format": (lambda x: f"{x.sum():.3f}", "read in Python"),
    "asarray": (lambda x: np.asarray(list(x[0])) + 1, "read in Python"),
    "index": (lambda x: [1, 2, 3][x[0, 0].astype(int)], "read in Python"),
    "equality": (lambda x: np.array_equal(x, x), "read in Python"),
    "mask": (lambda x: x[x > 2], "depends on the values"),
    "nonzero": (lambda x: np.nonzero(x), "depends on values"),
    "where": (lambda x: np.where(x > 2), "depends on values"),
    "unique": (lambda x: np.unique(x), "depends on values"),
    "bincount": (lambda x: np.bincount(x.astype(int).reshape(-1)), "depends on values"),
    "repeat": (lambda x: np.repeat(x, x[0].astype(int), axis=0), "depends on values"),
    "out": (writing_unseen, "was not shown"),
    "assignment": (assigning_unseen, "was not shown"),
    "copyto": (lambda x: np.copyto(hidden().array, x[0]), "was not shown"),
    "add.at": (lambda x: np.add.at(hidden().array, [0, 1], x[0]), r"np\.add\.at .* was not shown"),
    "an optimizer": (stepping_unseen, "was not shown"),
    "np.random": (np_random, r"draws from np\.random"),
    "shuffle": (lambda x, rng=RNG: rng.shuffle([1, 2, 3]), "writes into a list"),
    "flags": (lambda x: x.flags.owndata, r"array\.flags"),
}


LOST: set[int] = (
    set()
)  # tracers of other files: NumPy leaks the operand of a reduction that raises, as x.max() of nothing


def tracers() -> list[Any]:
    """The tracer arrays of this file that are alive anywhere."""
    gc.collect()
    return [x for x in gc.get_objects() if type(x) is TracerArray and id(x) not in LOST]


@pytest.fixture(autouse=True, scope="module")
def _lost() -> None:
    LOST.update(map(id, tracers()))


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_steps_raise_with_the_users_line(name: str) -> None:
    function, says = REFUSED[name]
    hidden.cache_clear()
    with pytest.raises(CompileError, match=says) as caught:
        mg.compile(function, fallback="raise")(X.copy())
    assert "Hint: " in str(caught.value)
    if name != "np.random":  # this shows only when the step is over
        assert re.search(r"test_compile\.py:\d+\n    \S", str(caught.value))


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_steps_run_eagerly_by_default(name: str) -> None:
    """Every call returns and leaves what the function does, there is one warning, and no tracer array is left."""
    function, says = REFUSED[name]

    def outcomes(function: Any) -> list[Any]:
        hidden.cache_clear()
        np.random.seed(3)  # noqa: NPY002
        RNG.bit_generator.state = np.random.default_rng(3).bit_generator.state
        found = []
        for _ in range(4):
            x = X.copy()
            result = function(x)
            state = hidden().array.copy(), hidden().weight.numpy().copy()
            found.append((result if isinstance(result, str) else flat(result), x, *state))
        return found

    step = mg.compile(function)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = outcomes(step)
    (warning,) = caught
    assert warning.category is CompileWarning
    assert warning.filename == __file__
    assert re.search(says, str(warning.message))
    assert not step.versions
    assert not tracers()
    for one, other in zip(got, outcomes(function), strict=True):
        for a, b in zip(one, other, strict=True):
            assert type(a) is type(b)
            np.testing.assert_equal(a, b)


def flat(result: Any) -> list[Any]:
    """The arrays in a result."""
    parts = result if isinstance(result, (tuple, list)) else [] if result is None else [result]
    return [(type(part), np.array(part.numpy() if type(part) is mg.Tensor else part)) for part in parts]


def test_lbfgs_runs_eagerly_and_its_closure_is_compiled() -> None:
    """It looks at the loss to decide where to go. What it calls can be compiled."""

    def problem() -> tuple[Any, Any, Any]:
        w = mg.Tensor([-1.5, 2.0], requires_grad=True)
        optimizer = optim.LBFGS([w], max_iter=8, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
            loss.backward()
            return loss

        return w, optimizer, closure

    w, optimizer, closure = problem()
    with pytest.raises(CompileError, match=r"test_compile\.py:\d+\n    mg\.compile\(optimizer\.step") as caught:
        mg.compile(optimizer.step, fallback="raise")(closure)
    assert "Hint: L-BFGS looks at the loss" in str(caught.value)
    assert "optimizer.step(mg.compile(closure))" in str(caught.value)
    del caught  # its traceback has frames with tracer arrays
    assert not tracers()
    assert optimizer.evaluations == 0
    assert w.numpy().tolist() == [-1.5, 2.0]
    (v, ours, mine), (u, theirs, yours) = problem(), problem()
    step = mg.compile(ours.step)
    with pytest.warns(CompileWarning, match="L-BFGS looks at the loss"):
        losses = [step(mine).item()]
    losses += [step(mine).item() for _ in range(2)]
    assert losses == [theirs.step(yours).item() for _ in range(3)]
    assert v.numpy().tolist() == u.numpy().tolist()
    assert not tracers()
    compiled, (eager, other, same) = mg.compile(closure), problem()
    for _ in range(3):
        np.testing.assert_allclose(optimizer.step(compiled).item(), other.step(same).item(), rtol=1e-9)
    np.testing.assert_allclose(w.numpy(), eager.numpy(), rtol=1e-9)
    assert count(compiled) == 1


@pytest.mark.parametrize("given", [False, True])
def test_a_generator_that_the_walk_cannot_find_is_reported(given: bool) -> None:
    """Only a cache holds it: found where it is named as state, drawn from eagerly with a warning where not."""
    hidden.cache_clear()

    def step(x: Any) -> Any:
        return x + hidden().rng.normal(size=2)

    compiled = mg.compile(step, state=[hidden()] if given else [])
    if given:
        found = [compiled(X) for _ in range(4)]
        assert count(compiled) == 1
    else:
        with pytest.warns(CompileWarning, match=r"two calls in a row did different things"):
            found = [compiled(X) for _ in range(4)]
    hidden.cache_clear()
    np.testing.assert_array_equal(found, [step(X) for _ in range(4)])


def test_a_mask_that_the_step_can_reach_is_part_of_its_program() -> None:
    """x[mask] has a shape that depends on the mask: another program is made when its elements change."""
    mask = np.array([[True, False], [True, True]])

    @mg.compile(fallback="raise")
    def step(x: Any, values: Any) -> Any:
        t = mg.Tensor(x, requires_grad=True)
        y = t[mask] ** 2
        y.sum().backward()
        out = np.copy(x)
        out[mask] = values
        return y.detach(), t.grad, out

    for k in range(1, 9):
        if k == 5:
            mask[...] = [[False, True], [False, False]]
        values = np.arange(1.0, 1 + mask.sum())
        y, grad, out = step(X * k, values)
        np.testing.assert_array_equal(y.numpy(), (X * k)[mask] ** 2)
        np.testing.assert_array_equal(grad.numpy(), 2 * k * X * mask)
        expected = X * k
        expected[mask] = values
        np.testing.assert_array_equal(out, expected)
    assert count(step) == 2


def test_the_error_shows_the_users_line() -> None:
    with pytest.raises(CompileError, match=r"test_compile\.py:\d+\n    y = y\[y > 1\]"):
        mg.compile(masked, fallback="raise")(X)
    with pytest.warns(CompileWarning, match=r"test_compile\.py:\d+\n    y = y\[y > 1\]"):
        mg.compile(masked)(X)


def test_an_unsupported_strict_step_changes_nothing() -> None:
    p, rng = np.ones(2), np.random.default_rng(0)
    counter, seen, table = Counter(), [1], {"a": 1}
    w = mg.Tensor([1.0, 2.0], requires_grad=True)

    @mg.compile(fallback="raise")
    def step(x: Any) -> Any:
        p.__iadd__(x[0])
        counter.array += rng.normal(size=2)
        counter.n += 1
        counter.extra = x
        seen.append(p * 2)
        table["b"] = table.pop("a")
        (w * x).sum().backward()
        return p[p > 0]

    with pytest.raises(CompileError, match="depends on the values"):
        step(X)
    assert (counter.n, seen, table, w.grad) == (0, [1], {"a": 1}, None)
    assert not hasattr(counter, "extra")
    assert not tracers()
    assert p.tolist() == [1, 1]
    assert type(counter.array) is np.ndarray
    assert counter.array.tolist() == [0, 0]
    assert rng.normal() == np.random.default_rng(0).normal()


def test_float64_computed_from_float32_gives_a_warning() -> None:
    scale = np.float64(0.5)
    with pytest.warns(UserWarning, match=r"multiply of float32 and float64 gives float64.*test_compile\.py"):
        mg.compile(lambda x: x * scale)(X.astype("f4"))


def test_arrays_that_share_memory_with_a_written_argument() -> None:
    def step(x: Any, y: Any) -> Any:
        x += 1
        return x + y

    compiled = mg.compile(step)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(X.copy(), X.copy()), 2 * X + 1)
    for _ in range(4):
        given = X.copy()
        np.testing.assert_array_equal(compiled(given, given), 2 * X + 2)
        np.testing.assert_array_equal(given, X + 1)

    def overlapping() -> None:
        for _ in range(3):
            whole, same = np.append(X, 0.0), np.append(X, 0.0)
            expected = step(same[:4], same[1:])
            np.testing.assert_array_equal(compiled(whole[:4], whole[1:]), expected)
            np.testing.assert_array_equal(whole, same)

    with pytest.warns(CompileWarning, match=r"x \(\(4,\), float64\) and y \(\(4,\), float64\) share memory"):
        overlapping()


# When another program is made


def test_signatures() -> None:
    step = mg.compile(lambda x, k=2: x * k)
    for x, k in [(X, 2), (X + 1, 2), (X.astype("f4"), 2), (X[0], 2), (X, 3), (X, 3.0)]:
        for _ in range(4):
            got = step(x, k)
            assert got.dtype == (x * k).dtype
            np.testing.assert_array_equal(got, x * k)
    assert count(step) == 5  # one of any whole number, since 2 became 3
    recordings = step.recordings
    for k in (5, 7, -1):
        np.testing.assert_array_equal(step(X, k), X * k)
    assert step.recordings == recordings


def test_arguments_by_name_in_another_order() -> None:
    step = mg.compile(lambda x, y: x - y)
    np.testing.assert_array_equal(step(X, X * 2), -X)
    np.testing.assert_array_equal(step(y=X, x=X * 2), X)
    np.testing.assert_array_equal(step(x=X, y=X * 2), -X)
    assert count(step) == 3


def test_training_and_evaluation() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3), nn.Dropout(0.5, rng=0))
    step = mg.compile(lambda x: model(x))
    step(X)
    model.eval()
    np.testing.assert_allclose(step(X).numpy(), model(X).numpy(), rtol=1e-12)
    model.train()
    step(X)
    assert count(step) == 2


GLOBAL = 2.0


def test_changed_python_values_outside_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = 3.0
    step = mg.compile(lambda x: x * GLOBAL + inside)
    np.testing.assert_array_equal(step(X), X * 2 + 3)
    monkeypatch.setitem(globals(), "GLOBAL", 4.0)
    np.testing.assert_array_equal(step(X), X * 4 + 3)
    inside = 5.0
    np.testing.assert_array_equal(step(X), X * 4 + 5)
    assert count(step) == 3


def test_replaced_parameters_and_arrays_are_noticed() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    holder = Counter()
    step = mg.compile(lambda x: model(x) + holder.array)

    def check() -> None:
        for _ in range(2):
            np.testing.assert_allclose(step(X).numpy(), model(X).numpy() + holder.array, rtol=1e-13)

    check()
    holder.array = np.array([5.0, 6.0])
    check()
    model[0].weight = mg.Tensor(np.eye(2), requires_grad=True)
    check()
    model[0].bias.data = np.array([1.0, 2.0])
    check()
    setattr(model, "1", nn.ReLU())
    check()
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    check()
    assert count(step) == 5


def test_a_scalar_parameter_is_not_frozen_into_the_program() -> None:
    """Also where it is not looked for."""
    hidden, x = ModuleType("hidden"), mg.asarray(X)
    hidden.scale = mg.Tensor(2.0, requires_grad=True)  # type: ignore[attr-defined]
    step = mg.compile(lambda x: (x * hidden.scale).sum(), backend="numpy")
    for expected in (22.0, 33.0, 44.0):
        assert step(x).item() == expected
        with mg.no_grad():
            hidden.scale += 1.0


def test_frozen_parameters_are_noticed() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @mg.compile
    def step(x: Any) -> None:
        optimizer.zero_grad()
        (model(x) ** 2).sum().backward()
        optimizer.step()

    step(X)
    model[0].requires_grad_(False)
    first, second = (p.numpy().copy() for p in (model[0].weight, model[1].weight))
    for _ in range(2):
        step(X)
    np.testing.assert_array_equal(model[0].weight.numpy(), first)
    assert not np.allclose(model[1].weight.numpy(), second)


def test_the_number_of_programs_is_limited() -> None:
    """So many programs are kept. A step that is recorded again and again because of one thing runs eagerly."""
    step = mg.compile(lambda x: x + 1, limit=2)
    for size in (1, 2, 3):
        for _ in range(3):
            assert step(np.ones(size)).tolist() == [2] * size
    assert count(step) == 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for size in range(2, 14):
            assert step(np.ones(size)).tolist() == [2] * size
    (warning,) = caught
    assert warning.category is CompileWarning
    says = r"recorded 8 times in a row because of argument 0, .*from \(10,\) float64 to \(11,\)"
    assert re.search(says, str(warning.message))
    strict = mg.compile(lambda x: x + 1, fallback="raise")
    for size in range(1, 9):
        strict(np.ones(size))
    with pytest.raises(CompileError, match=r"recorded 8 times in a row because of argument 0"):
        strict(np.ones(9))


def test_shared_memory_of_arguments_is_handled() -> None:
    """An argument that is a view of the state is seen as such."""
    p = np.arange(4.0)

    def step(x: Any) -> Any:
        p[...] = p * 2
        return x + p[:2]

    compiled = mg.compile(step)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(np.ones(2)), 1 + p[:2])
        got = compiled(p[:2])
        np.testing.assert_array_equal(got, 2 * p[:2])


def test_arguments_in_any_order() -> None:
    step = mg.compile(lambda x, y: x @ y.T + x[::-1])
    for x, y in [(X, X), (X.T, X), (X[::-1], X[:, ::-1])]:
        np.testing.assert_allclose(step(x, y), x @ y.T + x[::-1])


# Structures, state and randomness


def test_nested_arguments_and_results() -> None:
    @mg.compile
    def step(batch: Any, *, scale: float) -> Any:
        return {"sum": batch["x"] + batch["y"][0], "scale": scale, "none": None, "pair": (mg.asarray(batch["x"]), 1)}

    for _ in range(2):
        got = step({"x": X, "y": [X * 2]}, scale=2.0)
        np.testing.assert_array_equal(got["sum"], X * 3)
        assert (got["scale"], got["none"], got["pair"][1]) == (2.0, None, 1)
        assert isinstance(got["pair"][0], mg.Tensor)


def test_methods() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = np.ones(2)

        @mg.compile
        def step(self, x: Any) -> Any:
            self.w = self.w + x[0]
            return self.w * 1

    one, two = Model(), Model()
    for k in range(1, 4):
        assert one.step(X).tolist() == [1 + k, 1 + 2 * k]
    assert two.step(X).tolist() == [2, 3]
    assert one.w.tolist() == [4, 7]


def test_state_that_appears_in_the_first_call() -> None:
    holder = Counter()

    @mg.compile
    def step(x: Any) -> Any:
        previous = x if holder.table is None else holder.table
        holder.table = previous * 0.5 + x
        return holder.table

    table = X
    for _ in range(4):
        table = table * 0.5 + X
        np.testing.assert_allclose(step(X), table)
        np.testing.assert_allclose(holder.table, table)


@pytest.mark.parametrize("holder", ["object", "dictionary"])
def test_named_state(holder: str) -> None:
    hidden.cache_clear()
    state = hidden() if holder == "object" else vars(hidden())
    step = mg.compile(lambda x: np.add(hidden().array, x[0], out=hidden().array), state=[state])
    for _ in range(5):
        assert step(X) is hidden().array
    assert hidden().array.tolist() == [5, 10]
    assert count(step) == 1


def test_partial_functions() -> None:
    def step(p: Any, rng: Any, x: Any, *, q: Any) -> Any:
        p += x[0]
        return p * q + rng.normal(size=2)

    ours, theirs = (functools.partial(step, np.zeros(2), np.random.default_rng(1), q=np.ones(2)) for _ in range(2))
    compiled = mg.compile(ours)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X), theirs(X))
    assert ours.args[0].tolist() == [3, 6]


def test_random_numbers_are_new_in_each_call() -> None:
    def build() -> Any:
        rng = np.random.default_rng(5)
        drop = nn.Dropout(0.5, rng=7)

        def step(x: Any) -> Any:
            noise = rng.normal(size=x.shape) + rng.integers(0, 5, x.shape)
            return drop(x) + noise, rng.permutation(4)

        return step

    eager, compiled = build(), mg.compile(build())
    for _ in range(3):
        for a, b in zip(compiled(X), eager(X), strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_the_global_generator() -> None:
    step = mg.compile(lambda x: F.dropout(x, p=0.5))
    mg.manual_seed(3)
    got = [step(X) for _ in range(3)]
    mg.manual_seed(3)
    for a in got:
        np.testing.assert_array_equal(a, F.dropout(X, p=0.5))


def test_learning_rate_schedules() -> None:
    def build() -> Any:
        w = mg.Tensor([1.0, 2.0], requires_grad=True)
        optimizer = optim.SGD([w], lr=0.1)
        schedule = optim.ExponentialLR(optimizer, 0.5)

        def step(x: Any) -> None:
            optimizer.zero_grad()
            ((w * x) ** 2).sum().backward()
            optimizer.step()

        return w, step, schedule

    (w, step, ours), (v, eager, theirs) = build(), build()
    compiled = mg.compile(step)
    for _ in range(9):
        compiled(X)
        eager(X)
        ours.step()
        theirs.step()
        np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-13)
    assert count(compiled) == 2  # for the first rate, and for any
    assert compiled.recordings == 3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("make", [optim.Adam, optim.NAdam, optim.RAdam, optim.Adamax, optim.Lion, optim.AdamW])
def test_betas_that_change_at_each_step_are_inputs(make: Any, dtype: str) -> None:
    """As one-cycle schedules change them."""

    def build() -> Any:
        w = mg.Tensor(np.array([1.0, 2.0], dtype), requires_grad=True)
        optimizer = make([w], lr=0.1)

        def step(x: Any) -> None:
            optimizer.zero_grad()
            ((w * x) ** 2).sum().backward()
            optimizer.step()

        return w, step, optimizer

    (w, step, ours), (v, eager, theirs) = build(), build()
    compiled = mg.compile(step, audit=False, fallback="raise")
    for k in range(12):
        compiled(X.astype(dtype))
        eager(X.astype(dtype))
        for optimizer in (ours, theirs):
            optimizer.param_groups[0]["betas"] = (0.9 - 0.01 * k, 0.999 - 0.0001 * k)
        np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-12 if dtype == "f8" else 1e-5)
    assert w.dtype == dtype
    assert compiled.recordings <= 5


def test_gradients_accumulate_if_they_are_not_reset() -> None:
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    step = mg.compile(lambda x: ((w * x) ** 2).sum().backward())
    kept = []
    for _ in range(7):
        step(X)
        kept.append(w.grad)
    w.grad = None
    for _ in range(3):
        step(X)
        kept.append(w.grad)
    for k, grad in zip([*range(1, 8), *range(1, 4)], kept, strict=True):
        np.testing.assert_allclose(grad.numpy(), k * 2 * w.numpy() * (X**2).sum(axis=0))
    assert count(step) == 2  # with a gradient before it, and without


def test_side_effects_happen_at_every_call_and_leave_arrays() -> None:
    seen: list[Any] = []

    @mg.compile
    def step(x: Any) -> Any:
        y = mg.asarray(x) * 2
        seen.append(y)
        seen.append(y.data)
        return y

    for k in range(1, 6):
        returned = step(X * k)
        assert len(seen) == 2 * k
        assert returned is seen[-2]
        assert returned.data is seen[-1]
    assert count(step) == 1
    for k in range(1, 6):
        tensor, array = seen[2 * k - 2 : 2 * k]
        np.testing.assert_array_equal(tensor.numpy(), X * 2 * k)
        np.testing.assert_array_equal((tensor + 1).numpy(), X * 2 * k + 1)
        np.testing.assert_array_equal(np.tanh(array.T)[0], np.tanh(2 * k * X.T)[0])
        assert float(array[0, 0].sum()) == 2.0 * k
    assert not tracers()


def test_python_objects_that_a_step_leaves_match_eager() -> None:
    """Counters, keys, attributes, windows of recent results and NumPy scalars: as in eager, call by call."""

    class Meter:
        def __init__(self) -> None:
            self.n, self.total, self.best = 0, 0.0, -np.inf
            self.recent: Any = collections.deque(maxlen=3)
            self.table: dict[str, Any] = {}

        def step(self, x: Any) -> Any:
            self.n += 1
            self.total += 0.5 * self.n
            self.last = x * self.n
            self.recent.append(self.last.sum())
            self.table["mean"] = x.mean()
            self.table[f"call {self.n % 2}"] = self.n
            return self.last, self.n, self.total

    ours, theirs = Meter(), Meter()
    step = mg.compile(ours.step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(1, 9):
            got, expected = step(X * k), theirs.step(X * k)
            assert got[1:] == expected[1:]
            assert [type(x) for x in got] == [type(x) for x in expected]
            np.testing.assert_array_equal(got[0], expected[0])
            assert got[0] is ours.last
            mine, other = vars(ours), vars(theirs)
            assert mine.keys() == other.keys()
            assert ours.table == theirs.table
            assert list(ours.table) == list(theirs.table)
            assert list(ours.recent) == list(theirs.recent)
            assert {type(x) for x in ours.recent} == {np.float64}
            assert type(ours.table["mean"]) is np.float64


def test_sets_that_change_once() -> None:
    """A parameter without a gradient is noted by its optimizer: that is no reason to run eagerly for ever."""
    seen: set[str] = set()

    @mg.compile(fallback="raise")
    def step(x: Any) -> Any:
        seen.add("first")
        return x * len(seen)

    for k in range(1, 6):
        np.testing.assert_array_equal(step(X * k), X * k)
        assert seen == {"first"}
        if k == 4:
            seen.clear()


def test_gradients_of_new_tensors_leave_with_them() -> None:
    def step(x: Any) -> Any:
        t = mg.Tensor(x, requires_grad=True)
        y = t * t
        y.retain_grad()
        y.sum().backward()
        return t, y, y.grad, t.grad

    compiled = mg.compile(step, audit=False)
    for k in range(1, 6):
        t, y, of_y, of_t = compiled(X * k)
        assert y.grad is of_y
        assert t.grad is of_t
        np.testing.assert_array_equal(of_y.numpy(), np.ones((2, 2)))
        np.testing.assert_array_equal(of_t.numpy(), 2 * k * X)
    assert count(compiled) == 1


def test_a_gradient_that_another_place_also_holds() -> None:
    w, holder = mg.Tensor([1.0, 2.0], requires_grad=True), Counter()

    def step(x: Any) -> Any:
        w.grad = None
        (w * x).sum().backward()
        before, holder.table = holder.table, w.grad
        return x.sum() if before is None else before.sum()

    compiled = mg.compile(step, audit=False)
    for k in range(1, 9):
        assert float(compiled(X * k)) == (11.0 * (k - 1) if k > 1 else 11.0)
        assert holder.table is w.grad
    assert compiled.why is None


def test_gradients_that_are_sometimes_none() -> None:
    """Read before they are set, but always absent at the beginning: one program."""
    w = mg.Tensor([1.0, 2.0], requires_grad=True)

    @mg.compile
    def step(x: Any) -> None:
        for row in x:
            ((w * row) ** 2).sum().backward()
        with mg.no_grad():
            w.__isub__(0.01 * w.grad)
        w.grad = None

    expected = np.array([1.0, 2.0])
    for _ in range(3):
        step(X)
        expected -= 0.01 * 2 * expected * (X**2).sum(axis=0)
        np.testing.assert_allclose(w.numpy(), expected)
    assert count(step) == 1


def test_gradients_of_arguments() -> None:
    step = mg.compile(lambda x: (x**3).sum().backward())
    for k in range(1, 6):
        x = mg.Tensor(X * k, requires_grad=True)
        step(x)
        np.testing.assert_allclose(x.grad.numpy(), 3 * (X * k) ** 2)  # type: ignore[union-attr]
        for calls in (2, 3, 4):
            step(x)
            np.testing.assert_allclose(x.grad.numpy(), calls * 3 * (X * k) ** 2)  # type: ignore[union-attr]


def test_batches_of_two_sizes() -> None:
    """Two programs that share parameters, state and gradients."""

    def build() -> Any:
        mg.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3), nn.ReLU(), nn.Linear(3, 1))
        optimizer = optim.Adam(model.parameters(), lr=0.05)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    (ours, step), (theirs, eager) = build(), build()
    compiled = mg.compile(step)
    r = np.random.default_rng(0)
    for k in range(12):
        x = r.normal(size=(4 + 3 * (k % 3 == 2), 2))
        np.testing.assert_allclose(compiled(x).numpy(), eager(x).numpy(), rtol=1e-11)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            if name != "0.bias":  # its gradient is rounding noise in eager mode, and 0 here
                np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-9, err_msg=name)
                np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-7, atol=1e-12, err_msg=name)
    assert count(compiled) == 2


def test_clipping() -> None:
    def build() -> Any:
        mg.manual_seed(0)
        model = nn.Linear(2, 2)
        optimizer = optim.Adam(model.parameters())

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            norm = optim.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            return norm

        return model, step

    (ours, step), (theirs, eager) = build(), build()
    compiled = mg.compile(step)
    for _ in range(5):
        np.testing.assert_allclose(compiled(X), eager(X), rtol=1e-12)
    np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.numpy(), rtol=1e-12)


# Derivatives


def f(x: Any, y: Any) -> Any:
    return (mg.sin(x) * y**2).sum()


def test_a_compiled_gradient() -> None:
    compiled, eager = mg.compile(mg.grad(f, argnums=(0, 1))), mg.grad(f, argnums=(0, 1))
    for k in (1, 2, 3):
        for a, b in zip(compiled(X * k, X), eager(X * k, X), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)


@pytest.mark.parametrize(
    "transform", [mg.grad, mg.jacobian, mg.hessian, lambda g: mg.grad(lambda x, y: mg.grad(g)(x, y).sum())]
)
def test_derivatives_of_a_compiled_function(transform: Any) -> None:
    compiled, eager = transform(mg.compile(f)), transform(f)
    for k in (1, 2):
        np.testing.assert_allclose(compiled(X * k, X), eager(X * k, X), rtol=1e-12, atol=1e-13)


def test_forward_mode() -> None:
    given = ((X, X), (X + 1, X - 1))
    for a, b in zip(mg.jvp(mg.compile(f), *given), mg.jvp(f, *given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_backward_through_a_compiled_model() -> None:
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    compiled = mg.compile(lambda x: model(x))
    for k in range(3):
        found = []
        for function in (compiled, model):
            x = mg.Tensor(X + k, requires_grad=True)
            model.zero_grad()
            (function(x) ** 2).mean().backward()
            found.append([x.grad.numpy(), *(p.grad.numpy().copy() for p in model.parameters())])  # type: ignore[union-attr]
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_compiled_function_inside_another() -> None:
    inner = mg.compile(lambda x: x * 2)
    outer = mg.compile(lambda x: inner(x) + 1)
    for _ in range(2):
        np.testing.assert_array_equal(outer(X), X * 2 + 1)
    assert count(inner) == 0


# What it says


def test_source_runs_on_its_own() -> None:
    mg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm(4), nn.ReLU(), nn.Dropout(0.5, rng=3), nn.Linear(4, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    y = np.array([0, 1])

    @mg.compile(audit=False)  # the eager call of an audit rounds in another way
    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    step(X, y)
    step(X, y)
    copies = {
        name: a.copy() if isinstance(a, np.ndarray) else np.random.Generator(type(a.bit_generator)(0))
        for name, a in step.arrays.items()
    }
    (rng,) = (name for name, a in copies.items() if not isinstance(a, np.ndarray))
    copies[rng].bit_generator.state = step.arrays[rng].bit_generator.state
    namespace: dict[str, Any] = {}
    exec(step.source, namespace)
    run = namespace["bind"](**copies)
    for _ in range(3):
        (loss,) = run(X, y)
        np.testing.assert_array_equal(loss, step(X, y).numpy())
    for name, a in step.arrays.items():
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, copies[name])
    assert "minigrad" not in step.source.split('"""', 2)[2]


def test_source_has_the_users_names_and_lines() -> None:
    gamma, beta = mg.Tensor(np.ones(2), requires_grad=True), mg.Tensor(np.zeros(2), requires_grad=True)

    @mg.compile
    def batch_norm(x: Any, d: Any) -> Any:
        y = F.batch_norm(x, gamma, beta)
        y.backward(d)
        return y

    batch_norm(X, X + 1)
    source = batch_norm.source
    for text in ("def step(x, d):", "out=mu)", "out=var)", "# gradient of", "gamma"):
        assert text in source, text


def test_explain() -> None:
    step = mg.compile(lambda x: (x * 1 + 0).sum())
    assert "was not called yet" in step.explain()
    with pytest.raises(CompileError, match="was not called yet"):
        _ = step.source
    step(X)
    text = step.explain()
    assert "(2, 2) float64" in text
    assert "algebra" in text
    assert "NumPy calls" in text


# What the passes find


def program_of(compiled: Any) -> Any:
    """The program of the latest recording."""
    compiled.latest.prepare("numpy")
    return compiled.latest.program


def sums(function: Any, *args: Any) -> list[Any]:
    compiled = mg.compile(function)
    compiled(*args)
    return [line for line in program_of(compiled).ops if line.name == "sum"]


def derivative_of(batch_norm: Any) -> Any:
    def step(x: Any, gamma: Any, beta: Any, d: Any) -> Any:
        given = [mg.Tensor(t, requires_grad=True) for t in (x, gamma, beta)]
        y = batch_norm(*given)
        (y[0] if isinstance(y, tuple) else y).backward(d)
        return [t.grad for t in given]

    return step


def test_the_passes_find_the_hand_derived_batch_norm() -> None:
    """Composed of primitives, its gradient takes no more sums over the batch than the one that was made by hand."""
    r = np.random.default_rng(0)
    given = (r.normal(size=(8, 3)), r.normal(size=3), r.normal(size=3), r.normal(size=(8, 3)))
    composed, by_hand = (derivative_of(function) for function in (F.batch_norm, mg.fused.batch_norm))
    found = sums(composed, *given)
    assert len(found) == len(sums(by_hand, *given)) == 4
    compiled = mg.compile(composed)
    compiled(*given)
    whole = [line for line in program_of(compiled).ops if line.outs[0].shape == (8, 3) and line.name != "input"]
    assert len(whole) <= 8
    for _ in range(2):
        for a, b in zip(compiled(*given), composed(*given), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-13)


def test_common_subexpressions_and_constants() -> None:
    step = mg.compile(lambda x: mg.exp(x * 2 * 3) + mg.exp(x * 6) * (1 + 1))
    step(X)
    assert sum(line.name == "exp" for line in program_of(step).ops) == 1
    np.testing.assert_allclose(step(X), 3 * np.exp(6 * X), rtol=1e-13)


# The page


def test_the_page_shows_the_source() -> None:
    page = (Path(__file__).parents[2] / "docs" / "compile.md").read_text(encoding="utf-8")
    shown, kernel = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        if not block.startswith(">>>"):
            exec(block, namespace)
    assert indent(shown, "    ") in namespace["batch_norm"].source
    written = iter(NumbaSource(program_of(namespace["batch_norm"])).text.splitlines())
    for line in kernel.splitlines():
        text = line.split("  #")[0].rstrip()
        assert any(text == other for other in written), line


def test_repr_of_a_compiled_function() -> None:
    class Trainer:
        @mg.compile
        def step(self, x: Any) -> Any:
            return x * 2

    trainer = Trainer()
    with np.errstate(all="ignore"):
        trainer.step(np.ones(2))
    assert repr(trainer.step).endswith("step: 1 program>")
    assert "ask that of an object: x.step.explain()" in Trainer.step.explain()  # type: ignore[attr-defined]
    with pytest.raises(CompileError, match="3 cannot be called"):
        mg.compile(3)  # type: ignore[call-overload]


def test_type_checkers_know_every_option() -> None:
    parameters = inspect.signature(mg.compile).parameters.values()
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(decorator.Options.__annotations__)
