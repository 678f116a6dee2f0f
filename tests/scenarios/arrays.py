"""Arrays of the state: written in place, through views, rebound, swapped, replaced from outside."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from scenarios.parts import numbers, weight
from scenarios.scenario import scenario


def watch(C: Any, see: Any, state: Any, function: Any, calls: int = 7, size: int = 3) -> None:
    """Look at the state after every call."""
    step = C(function)
    for k in range(calls):
        see(step(numbers(k, size)), state)


@scenario
def in_place(C: Any, see: Any) -> None:
    s = {"a": np.zeros(3)}

    def step(x: Any) -> Any:
        s["a"] += x
        return s["a"] * 2

    watch(C, see, s, step)


@scenario
def rebound(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=np.zeros(3))

    def step(x: Any) -> Any:
        s.a = s.a + x
        return s.a * 2

    watch(C, see, s, step)


@scenario
def rebound_and_kept(C: Any, see: Any) -> None:
    s, kept = {"a": np.zeros(3)}, []
    step = C(lambda x: s.update(a=0.9 * s["a"] + x))
    for k in range(7):
        step(numbers(k, 3))
        kept.append(s["a"])
        see(kept)


@scenario
def view_and_owner(C: Any, see: Any) -> None:
    a = np.arange(6.0)
    even, middle = a[::2], a[1:5]

    def step(x: Any) -> Any:
        even[:] += x
        middle[:] *= 0.5
        return a[::-1] * 1

    watch(C, see, (a, even, middle), step)


@scenario
def view_read_after_the_owner_was_written(C: Any, see: Any) -> None:
    a = np.arange(4.0)
    part = a[1:]

    def step(x: Any) -> Any:
        a[:3] = x
        return part * 2, a[0] + part[0]

    watch(C, see, (a, part), step)


@scenario
def reshaped_and_transposed(C: Any, see: Any) -> None:
    a = np.arange(9.0).reshape(3, 3)
    flat, turned = a.reshape(-1), a.T

    def step(x: Any) -> Any:
        turned[0] += x
        flat[3:6] -= x
        return a.sum(axis=0)

    watch(C, see, (a, flat, turned), step)


@scenario
def swap_in_a_dict(C: Any, see: Any) -> None:
    s = {"a": np.zeros(3), "b": np.ones(3)}

    def step(x: Any) -> None:
        s["a"], s["b"] = s["b"], s["a"]
        s["a"] += x

    watch(C, see, s, step)


@scenario
def swap_of_variables(C: Any, see: Any) -> None:
    a, b = np.zeros(3), np.ones(3)

    @C
    def step(x: Any) -> None:
        nonlocal a, b
        a, b = b, a + x

    for k in range(7):
        step(numbers(k, 3))
        see(a, b)


@scenario
def swap_of_contents(C: Any, see: Any) -> None:
    a, b = np.zeros(3), np.ones(3)

    def step(x: Any) -> None:
        t = a.copy()
        a[:] = b
        b[:] = t + x

    watch(C, see, (a, b), step)


@scenario
def double_buffer(C: Any, see: Any) -> None:
    s = SimpleNamespace(front=np.zeros(3), back=np.zeros(3))

    def step(x: Any) -> Any:
        np.add(s.front, x, out=s.back)
        s.front, s.back = s.back, s.front
        return s.front.sum()

    watch(C, see, s, step)


@scenario
def ring_buffer(C: Any, see: Any) -> None:
    s = SimpleNamespace(ring=np.zeros((4, 3)), at=0)

    def step(x: Any) -> Any:
        s.ring[s.at] = x
        s.at = (s.at + 1) % 4
        return s.ring.mean(axis=0)

    watch(C, see, s, step, 10)


@scenario
def ring_buffer_with_an_array(C: Any, see: Any) -> None:
    s = SimpleNamespace(ring=np.zeros((4, 3)), at=np.zeros((), np.int64))

    def step(x: Any) -> Any:
        s.ring[s.at] = x
        s.at[...] = (s.at + 1) % 4
        return s.ring.mean(axis=0)

    watch(C, see, s, step, 10)


@scenario
def queue_by_roll(C: Any, see: Any) -> None:
    s = {"q": np.zeros((4, 3))}

    def step(x: Any) -> Any:
        s["q"] = np.concatenate([s["q"][1:], x[None]])
        return s["q"].sum()

    watch(C, see, s, step)


@scenario
def replaced_from_outside(C: Any, see: Any) -> None:
    s = {"a": np.zeros(3)}

    def step(x: Any) -> Any:
        s["a"] += x
        return s["a"] * 2

    compiled = C(step)
    for k in range(9):
        if k in (3, 4, 7):
            s["a"] = np.full(3, float(k)) if k != 7 else np.zeros((2, 3))
        see(compiled(numbers(k, 3)), s)


@scenario
def dtype_replaced_from_outside(C: Any, see: Any) -> None:
    s = {"a": np.ones(3)}
    step = C(lambda x: x * s["a"])
    for k in range(8):
        if k in (3, 6):
            s["a"] = s["a"].astype(np.float32 if k == 3 else np.int64)
        see(step(numbers(k, 3).astype(np.float32)))


@scenario
def state_and_argument_are_one(C: Any, see: Any) -> None:
    a, b = np.ones(3), np.full(3, 2.0)

    @C
    def step(x: Any) -> Any:
        a[:] = a * 2
        return x + a

    for k in range(8):
        see(step([b, b, a, a[::-1], a, b, a[:3], b][k]), a)


@scenario
def argument_kept_as_state(C: Any, see: Any) -> None:
    s = {"last": np.zeros(3)}

    @C
    def step(x: Any) -> Any:
        d = x - s["last"]
        s["last"] = x
        return d

    for k in range(7):
        x = numbers(k, 3)
        see(step(x), s["last"] is x)
        x[:] = 50.0


@scenario
def mask_changed_in_place_outside(C: Any, see: Any) -> None:
    mask, w = np.ones(3, bool), weight(3)
    step = C(lambda x: mg.where(mask, w * x, 0.0).sum().backward())
    for k in range(9):
        mask[k % 3] = k % 2 == 0
        step(numbers(k, 3))
        see(w)


@scenario
def index_array_changed_in_place_outside(C: Any, see: Any) -> None:
    order = np.array([0, 1, 2])
    step = C(lambda x: x[order] * np.arange(3))
    for k in range(8):
        order[:] = np.roll(order, 1) if k > 2 else order
        see(step(numbers(k, 3)))


@scenario
def integers_and_booleans(C: Any, see: Any) -> None:
    s = {"hits": np.zeros(3, np.int64), "seen": np.zeros(3, bool)}

    def step(x: Any) -> Any:
        s["hits"] += x > 0
        s["seen"] |= x > 1
        return s["hits"] * s["seen"]

    watch(C, see, s, step)


@scenario
def histogram(C: Any, see: Any) -> None:
    counts = np.zeros(4, np.int64)

    def step(x: Any) -> Any:
        np.add.at(counts, (np.abs(x) * 2).astype(np.int64) % 4, 1)
        return counts / counts.sum()

    watch(C, see, counts, step, size=6)


@scenario
def arrays_of_objects_in_a_tuple(C: Any, see: Any) -> None:
    members = tuple(SimpleNamespace(v=np.full(3, float(k))) for k in range(3))

    def step(x: Any) -> Any:
        for k, m in enumerate(members):
            m.v = m.v * 0.5 + x * k
        return sum(m.v for m in members)

    watch(C, see, members, step)


@scenario
def running_maximum(C: Any, see: Any) -> None:
    s = SimpleNamespace(best=-np.inf, mean=0.0)

    def step(x: Any) -> Any:
        s.best = np.maximum(s.best, x.max())
        s.mean = 0.9 * s.mean + 0.1 * x.mean()
        return s.best - s.mean

    watch(C, see, s, step)


@scenario
def shapes_of_state_grow(C: Any, see: Any) -> None:
    s = {"all": np.zeros((0, 3))}

    def step(x: Any) -> Any:
        s["all"] = np.concatenate([s["all"], x[None]])
        return s["all"].mean(axis=0)

    watch(C, see, s, step)


@scenario
def the_same_array_at_two_places(C: Any, see: Any) -> None:
    a = np.zeros(3)
    s = {"one": a, "two": a}

    @C
    def step(x: Any) -> Any:
        s["one"] += x
        return s["two"] * 2

    for k in range(8):
        if k == 4:
            s["two"] = s["two"].copy()
        see(step(numbers(k, 3)), s)


@scenario
def fibonacci(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=np.array([1.0]), b=np.array([1.0]))

    def step(x: Any) -> Any:
        s.a, s.b = s.b, s.a + s.b

    watch(C, see, s, step, 10)


@scenario
def tensor_in_place(C: Any, see: Any) -> None:
    t = mg.Tensor(np.zeros(3))

    def step(x: Any) -> Any:
        t[1:] = x[1:]
        t[0] += 1.0
        return t * 2

    watch(C, see, t, step)


@scenario
def tensor_rebinds(C: Any, see: Any) -> None:
    s = SimpleNamespace(h=mg.Tensor(np.zeros(3)))

    def step(x: Any) -> Any:
        s.h = mg.tanh(s.h * 0.5 + x)
        return s.h

    watch(C, see, s, step)


@scenario
def hidden_state_with_a_tape(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(h=mg.Tensor(np.zeros(3)))
    step = C(lambda x: setattr(s, "h", mg.tanh(w * s.h + x)))
    for k in range(8):
        step(numbers(k, 3))
        if k % 4 == 3:
            s.h.sum().backward()
            s.h = s.h.detach()
        see(w, s)


@scenario
def write_into_data_of_a_parameter(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (w * x).sum())
    for k in range(8):
        if k == 3:
            w.data[1] = 7.0
        if k == 5:
            w.data = np.ones(3)
        if k == 6:
            w.data = np.ones((2, 3))
        see(step(numbers(k, 3)))


@scenario
def parameter_changes_its_dtype(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: w * x)
    for k in range(8):
        if k in (3, 6):
            w.data = w.data.astype(np.float32 if k == 3 else np.float64)
        see(step(numbers(k, 3).astype(np.float32)))
