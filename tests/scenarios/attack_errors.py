"""Steps that fail, what they have done until then, and numbers that do not fit where they are put."""

from __future__ import annotations

import array
import collections
import contextlib
import io
import itertools
import statistics
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import nn
from scenarios.attack_reach import after
from scenarios.attack_state import drive
from scenarios.parts import numbers
from scenarios.scenario import scenario

# A step that fails does what it does once

FAILING: dict[str, Any] = {
    "no such attribute": lambda x: x.cuda(),
    "no such method of a Tensor": lambda x: mg.Tensor(x).summ(),
    "a number of several": float,
    "a root of several": lambda x: x.item(),
    "an unknown option": lambda x: np.mean(x, foo=1),
    "no length": lambda x: len(x.sum()),
    "no iteration": lambda x: list(x.sum()),
    "no index of a scalar": lambda x: x.sum()[0],
    "no integer": lambda x: range(x.sum()),
    "shapes": lambda x: x @ np.ones(7),
    "a text": lambda x: "loss " + x.sum(),
    "a key": lambda x: {x: 1},
    "too many arguments": lambda x: mg.relu(x, x, x),
    "a mean by Python": statistics.mean,
}


def _failing(name: str) -> Any:
    def one(C: Any, see: Any) -> None:
        log: list[int] = []
        counter, rows = itertools.count(), iter(range(100))
        order = collections.OrderedDict(a=1, b=2)
        sums = array.array("d", [0.0])
        rngs = np.random.default_rng(0), np.random.default_rng(1)

        def step(x: Any, rng: Any = rngs[1]) -> Any:
            log.append(next(counter) + next(rows))
            order.move_to_end(next(iter(order)))
            sums.append(1.0)
            print("shape", x.shape, rngs[0].random() + rng.normal())
            return FAILING[name](x)

        compiled = C(step)
        for k in range(4):
            text = io.StringIO()
            with contextlib.redirect_stdout(text):
                see.attempt(compiled, numbers(k, 3))
            see(
                text.getvalue(),
                log,
                list(order),
                sums.tolist(),
                rngs[0].random(),
                rngs[1].random(),
                next(counter),
                next(rows),
            )

    one.__name__ = f"fails_with_{name.replace(' ', '_')}"
    one.__module__ = __name__
    return one


for _name in FAILING:
    scenario(eager=True)(_failing(_name))


# NumPy scalars as text


@scenario(eager=True)
def metrics_as_text(C: Any, see: Any) -> None:
    history: list[str] = []
    Pair = collections.namedtuple("Pair", "a b")

    def step(x: Any) -> Any:
        found = {"acc": (x > 0).mean(), "low": x.astype("float32").min(), "n": len(x)}
        print(found, Pair(x.sum(), 1), f"{x.max()!r} {x.min()=}")
        history.append(str(found))
        return x * 2

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        drive(C, see, step)
    see(history, text.getvalue())


# Numbers that integers cannot hold


def _counting(dtype: str, write: Any, *given: Any) -> Any:
    def one(C: Any, see: Any) -> None:
        kept = np.zeros(4, dtype)

        def step(x: Any, v: Any) -> Any:
            write(kept, v)
            return x * 2

        compiled = C(step)
        for k, v in enumerate(given):
            see.attempt(compiled, numbers(k, 4), v)
            see(kept)

    return one


def _put(x: Any, v: Any) -> None:
    np.put(x, [1, 2], v)


def _diagonal(x: Any, v: Any) -> None:
    np.fill_diagonal(x.reshape(2, 2), v)


def _item(x: Any, v: Any) -> None:
    x[1:3] = v


def _masked(x: Any, v: Any) -> None:
    x[np.array([True, False, True, False])] = v


def _listed(x: Any, v: Any) -> None:
    x[[0, 3]] = v


def _filled(x: Any, v: Any) -> None:
    x.fill(v)


for _write in (_item, _masked, _listed, _filled, _put, _diagonal):
    for _dtype, _given in {
        "uint8": (50, 100, 150, 200, 256, 300, -1, 7),
        "int64": (1.5, 2.5, 3.5, 4.5, float("nan"), float("inf"), 1e30, -2.5),
    }.items():
        _one = _counting(_dtype, _write, *_given)
        _one.__name__ = f"{_dtype}{_write.__name__}"
        _one.__module__ = __name__
        scenario(_one)


@scenario
def a_number_out_of_an_array_in_small_integers(C: Any, see: Any) -> None:
    kept = np.zeros(2, np.uint8)

    def step(x: Any) -> Any:
        kept[0] = int(x.sum())
        return x + 1

    compiled = C(step)
    for k in (10.0, 20.0, 30.0, 40.0, 300.0, -5.0, 50.0):
        see.attempt(compiled, np.full(1, k))
        see(kept)


COMPARED = {
    "less": lambda x, v: x < v,
    "equal": lambda x, v: (x == v).sum(),
    "divided": lambda x, v: x / v,
    "added": lambda x, v: x + v,
    "chosen": lambda x, v: np.where(x > 2, x, v),
    "clipped": lambda x, v: np.clip(x, 0, v),
}


def _compared(function: Any, dtype: str) -> Any:
    def one(C: Any, see: Any) -> None:
        x, compiled = np.arange(5).astype(dtype), C(function)
        for v in (100, 101, 120, 255, 256, -1, 3, 70_000):
            see.attempt(compiled, x, v)

    return one


for _name, _function in COMPARED.items():
    for _dtype in ("uint8", "int16"):
        _one = _compared(_function, _dtype)
        _one.__name__ = f"{_name}_{_dtype}"
        _one.__module__ = __name__
        scenario(_one)


# Numbers beside narrower arrays


@scenario
def searched_in_single_precision(C: Any, see: Any) -> None:
    x = np.array([0.1, 0.2, 0.3], "float32")
    compiled = C(lambda x, v: (np.searchsorted(x, v, side="right"), np.digitize(v, x)))
    for v in (0.5, 0.4, 0.55, 0.6, 0.1, 0.2, 0.3):
        see.attempt(compiled, x, v)


@scenario
def broadcast_beside_single_precision(C: Any, see: Any) -> None:
    x, compiled = np.array([0.1, 0.2, 0.3], "float32"), C(lambda x, v: np.broadcast_to(v, (3,)) * x)
    for v in (1, 2, 2, 2.5, 2.5, 2.5):
        see.attempt(compiled, x, v)


@scenario
def scalars_put_into_integers(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        y, z = x.astype(int), x.astype(int)
        np.place(y, y > 1, np.float64(3.5))
        np.putmask(z, z > 1, x.mean())
        return y, z, (x > 0).all() ** 2

    drive(C, see, step)


@scenario
def an_object_as_an_index(C: Any, see: Any) -> None:
    class Place:
        n = 0

        def __index__(self) -> int:
            return self.n

    at = Place()
    drive(C, see, lambda x: x[at] * 2, lambda k: setattr(at, "n", k % 3))


# What can be written, and of which dtype it is


@scenario
def a_parameter_that_is_frozen_by_its_flags(C: Any, see: Any) -> None:
    p = mg.Tensor(np.ones(3), requires_grad=True)
    norm = nn.BatchNorm(3)
    buffer = dict(norm.named_buffers())["running_mean"]

    def step(x: Any) -> Any:
        p.data *= 0.5
        return norm(mg.Tensor(x)[None].repeat(2, axis=0))

    compiled = C(step)
    for k in range(10):
        target = (p.data, buffer.data if isinstance(buffer, mg.Tensor) else buffer)[k // 7]
        target.flags.writeable = k not in (4, 5, 8)
        see.attempt(compiled, numbers(k, 3))
        see(p.data)


@scenario
def a_parameter_of_another_dtype(C: Any, see: Any) -> None:
    w = mg.Tensor(np.ones(3), requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        ((x @ w) ** 2).mean().backward()
        return w.grad.dtype.name

    drive(C, see, step, after(3, lambda: setattr(w, "data", w.data.astype("float32"))))
