"""Random functions with state, called in random orders with changes in between: checkpoint is what it is without it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn

WIDTH = 3


class State:
    """What the steps of a random function read and write."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.dropout, self.norm = nn.Dropout(0.4, rng=1), nn.BatchNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH, rng=2)
        self.n, self.seen, self.table, self.kinds = 1, [1.0], {"k": 2.0}, {1}
        self.array, self.mean = np.ones(2), np.ones(WIDTH)
        self.h: Any = mg.Tensor(np.full((2, WIDTH), 0.1))
        self.active = True

    def shown(self) -> list[Any]:
        numbers = [self.n, *self.seen, *self.table.values(), *sorted(self.kinds), self.active, self.dropout.training]
        arrays = [self.array, self.mean, self.h.numpy(), self.norm.running_mean, self.norm.running_var]
        grads = [np.zeros(1) if p.grad is None else p.grad.numpy() for p in self.linear.parameters()]
        streams = [str(r.bit_generator.state) for r in (self.rng, self.dropout.rng)]
        return [np.array(numbers, float), *map(np.copy, arrays), *grads, *streams]


def count(s: State, x: Any) -> Any:
    s.n += 1
    return x * (0.1 * s.n)


def append(s: State, x: Any) -> Any:
    s.seen.append(float(len(s.seen)))
    return x * (s.seen[-1] - 0.5 * s.seen[0])


def pop(s: State, x: Any) -> Any:
    return x * (1.0 + (s.seen.pop() if len(s.seen) > 1 else 0.0))


def table(s: State, x: Any) -> Any:
    s.table[f"k{len(s.table)}"] = 0.5 * s.table["k"]
    s.table["k"] += 0.25
    return x * s.table["k"] / len(s.table)


def kinds(s: State, x: Any) -> Any:
    s.kinds.add(len(s.kinds) + 1)
    return x / len(s.kinds)


def in_place(s: State, x: Any) -> Any:
    s.array += 1.0
    return x * float(s.array.sum())


def rebound(s: State, x: Any) -> Any:
    s.mean = 0.9 * s.mean + 0.1 * x.numpy().mean(axis=0)
    return x - s.mean


def recurrent(s: State, x: Any) -> Any:
    s.h = mg.tanh(x + 0.5 * s.h)
    return s.h * 1.5


def switched(s: State, x: Any) -> Any:
    return mg.sin(x) if s.active else mg.cos(x)


STEPS: dict[str, Any] = {
    **{f.__name__: f for f in (count, append, pop, table, kinds, in_place, rebound, recurrent, switched)},
    "draw": lambda s, x: x * s.rng.normal(size=x.shape),
    "dropout": lambda s, x: s.dropout(x),
    "norm": lambda s, x: s.norm(x),
    "linear": lambda s, x: s.linear(x),
    "squash": lambda s, x: x / (1.0 + x * x),
}


def toggled(s: State) -> None:
    s.dropout.training = s.norm.training = not s.dropout.training


def set_number(s: State) -> None:
    s.n = 7


def set_list(s: State) -> None:
    s.seen = [3.0, 4.0]


CHANGES: dict[str, Any] = {
    "toggle": toggled,
    "number": set_number,
    "list": set_list,
    "append": lambda s: s.seen.append(2.5),
    "draw": lambda s: s.rng.normal(size=3),
    "active": lambda s: setattr(s, "active", not s.active),
    "array": lambda s: setattr(s, "array", s.array * 2),
    "hidden": lambda s: setattr(s, "h", mg.Tensor(np.full((2, WIDTH), 0.3))),
}

PROGRAMS = st.lists(st.sampled_from([*STEPS]), min_size=1, max_size=6)
ACTIONS = st.lists(st.one_of(st.just("call"), st.just("backward"), st.sampled_from([*CHANGES])), min_size=1, max_size=9)


def run(wrap: Any, outer: list[str], inner: list[str], actions: list[str], order: int) -> list[Any]:
    """Everything that a program of calls shows: outer steps around inner ones, checkpointed as well."""
    s = State()

    def inside(x: Any) -> Any:
        for name in inner:
            x = STEPS[name](s, x)
        return x

    nested = wrap(inside)

    def function(x: Any) -> Any:
        for name in outer:
            x = STEPS[name](s, x)
        return nested(x) + x

    f, shown, pending = wrap(function), [], []
    xs = []
    for k, action in enumerate([*actions, "call"]):
        if action == "call":
            xs.append(mg.Tensor(np.linspace(-1.0, 1.0, 2 * WIDTH).reshape(2, WIDTH) + 0.1 * k, requires_grad=True))
            pending.append(f(xs[-1]))
            shown.append(pending[-1].numpy().copy())
        elif action == "backward":
            if pending:
                pending.pop(0).sum().backward(retain_graph=True)
        else:
            CHANGES[action](s)
    for y in pending[::-1]:
        if order == 1:
            y.sum().backward(retain_graph=True)
        else:
            y.sum().backward(create_graph=True)
            for x in xs:
                g, x.grad = x.grad, None
                if g is not None and g.requires_grad:
                    (g * g).sum().backward(retain_graph=True)
    shown += [np.zeros(1) if x.grad is None else x.grad.numpy().copy() for x in xs]
    return shown + s.shown()


@settings(max_examples=60, deadline=None)
@given(PROGRAMS, PROGRAMS, ACTIONS, st.sampled_from([1, 2]))
def test_values_gradients_and_state(outer: list[str], inner: list[str], actions: list[str], order: int) -> None:
    expected = run(lambda f: f, outer, inner, actions, order)
    found = run(mg.checkpoint, outer, inner, actions, order)
    assert len(found) == len(expected)
    for k, (f, e) in enumerate(zip(found, expected, strict=True)):
        if isinstance(e, str):
            assert f == e, k
        else:
            np.testing.assert_allclose(f, e, rtol=1e-9, atol=1e-11, err_msg=str(k))
