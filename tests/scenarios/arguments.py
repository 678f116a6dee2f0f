"""Arguments of every kind: aliased, views, numbers, containers, objects, dtypes."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import scenario


class Mode(enum.Enum):
    ADD = "add"
    MULTIPLY = "multiply"


def call(C: Any, see: Any, function: Any, *calls: Any) -> None:
    """Call a function with each tuple of arguments, or the result or the exception."""
    step = C(function)
    for args in calls:
        see.attempt(step, *args)


def a(k: int, *shape: int) -> Any:
    return numbers(k, *(shape or (3,)))


@scenario
def same_array_twice(C: Any, see: Any) -> None:
    x, y = a(0), a(1)
    call(C, see, lambda p, q: p * 2 + q, (x, x), (x, x), (x, y), (y, x), (y, y), (x, y))


@scenario
def different_arrays_first(C: Any, see: Any) -> None:
    x, y = a(0), a(1)

    def step(p: Any, q: Any) -> Any:
        p += 1
        return p * q

    call(C, see, step, (x, y), (x, y), (x, x), (y, y), (y, x))
    see(x, y)


@scenario
def same_array_written_first(C: Any, see: Any) -> None:
    x, y, z = a(0), a(1), a(2)

    def step(p: Any, q: Any) -> Any:
        p += 1
        return p * q

    call(C, see, step, (x, x), (x, x), (x, y), (z, y), (y, y))
    see(x, y, z)


@scenario
def same_tensor_twice(C: Any, see: Any) -> None:
    x, y = weight(3), weight(3, seed=1)
    call(C, see, lambda p, q: (p * q).sum().backward(), (x, x), (x, x), (x, y), (y, x), (y, y))
    see(x, y)


@scenario
def overlapping_arguments(C: Any, see: Any) -> None:
    x = a(0, 6)

    def step(p: Any, q: Any) -> Any:
        p[:] = q * 2
        return p + q

    call(C, see, step, (x[:4], a(1, 4)), (x[:4], x[2:]), (x[:4], x[2:]), (x[:4], x[:4]), (x[2:], x[:4]))
    see(x)


@scenario
def views_and_orders(C: Any, see: Any) -> None:
    x = a(0, 4, 4)
    parts = [x, x.T, x[::-1], x[:, ::-1].copy(), np.asfortranarray(x), np.broadcast_to(x[0], (4, 4)), x]
    call(C, see, lambda p: (p @ p) + p.reshape(-1)[:4], *[(p,) for p in parts])


@scenario
def writing_into_views(C: Any, see: Any) -> None:
    x = a(0, 4, 4)

    def step(p: Any) -> Any:
        p *= 2
        return p.sum()

    call(C, see, step, *[(p,) for p in (x[:2], x[2:], x[:, ::2].T, x[::2], x[:2])])
    see(x)


@scenario
def read_only_array(C: Any, see: Any) -> None:
    x, y = a(0), a(1)
    y.flags.writeable = False

    def step(p: Any) -> Any:
        p += 1
        return p * 2

    call(C, see, step, (x,), (x,), (y,), (x,), (y,))
    see(x, y)


@scenario
def float_changes_every_call(C: Any, see: Any) -> None:
    call(C, see, lambda x, lr: x * lr - lr, *[(a(k), 0.1 * k) for k in range(12)])


@scenario
def int_as_a_number(C: Any, see: Any) -> None:
    call(C, see, lambda x, k: x * k + k // 2, *[(a(k), k) for k in range(12)])


@scenario
def int_as_a_shape(C: Any, see: Any) -> None:
    call(C, see, lambda x, n: mg.ones((n, 3)) * x, *[(a(k), 1 + k // 3) for k in range(9)])


@scenario
def int_as_an_index(C: Any, see: Any) -> None:
    call(C, see, lambda x, i: x[i] * 2, *[(a(k, 4), i) for k, i in enumerate([0, 0, 1, -1, 3, 4, 2])])


@scenario
def int_as_a_loop_count(C: Any, see: Any) -> None:
    def step(x: Any, n: int) -> Any:
        for _ in range(n):
            x = mg.sin(x) + x
        return x

    call(C, see, step, *[(mg.asarray(a(k)), 1 + k % 3) for k in range(9)])


@scenario
def power_as_an_argument(C: Any, see: Any) -> None:
    call(C, see, lambda x, p: np.abs(x) ** p, *[(a(k), p) for k, p in enumerate([2, 2, 3, 2.0, 0.5, -1, 0])])


@scenario
def flags_strings_none_enums(C: Any, see: Any) -> None:
    def step(x: Any, flag: Any, name: Any, mode: Any) -> Any:
        y = x * 2 if flag else x
        y = y if name is None else getattr(np, name)(y)
        return y + 1 if mode is Mode.ADD else y * 3

    modes = [Mode.ADD, Mode.MULTIPLY]
    call(C, see, step, *[(a(k), k % 3 == 0, (None, "sin", "cos")[k % 3], modes[k % 2]) for k in range(9)])


@scenario
def sets_ranges_slices_bytes(C: Any, see: Any) -> None:
    def step(x: Any, rows: Any, part: Any, chosen: Any, text: Any) -> Any:
        return sum(x[r] for r in rows) + x[part].sum() * (1 in chosen) + len(text) * x

    calls = [(range(1 + k // 3), slice(0, 1 + k // 4), {k // 5}, b"x" * (k // 2)) for k in range(9)]
    call(C, see, step, *[(a(k, 4), *rest) for k, rest in enumerate(calls)])


@scenario
def nested_containers(C: Any, see: Any) -> None:
    def step(data: Any, options: Any = None) -> Any:
        total = data["x"][0] * (options or {}).get("scale", 1.0)
        return {"y": [total, *data["x"][1:]], "n": len(data["x"])}

    call(
        C, see, step,
        *[({"x": [a(k), a(k + 1)]},) for k in range(3)],
        *[({"x": [a(k)] * 2}, {"scale": k}) for k in range(3, 6)],
        ({"x": (a(6), 2.0)}, {"scale": 2.0}),
    )  # fmt: skip


@scenario
def keyword_arguments(C: Any, see: Any) -> None:
    step = C(lambda x, *, scale=1.0, **rest: x * scale + sum(rest.values()))
    for k in range(9):
        options = [{}, {"scale": k}, {"shift": 2.0}, {"b": 1, "a": 0.5}][k % 4]
        see(step(a(k), **options))


@scenario
def positional_or_by_name(C: Any, see: Any) -> None:
    step = C(lambda x, y=2.0: x * y)
    for k in range(4):
        see(step(a(k)), step(a(k), 2.0), step(a(k), y=3.0), step(y=a(k), x=a(k + 1)))
        see.attempt(step)
        see.attempt(step, a(k), z=1)


@scenario
def object_argument_whose_attribute_changes(C: Any, see: Any) -> None:
    c, d = SimpleNamespace(scale=1.0), SimpleNamespace(scale=5.0)
    step = C(lambda x, c: x * c.scale)
    for k in range(9):
        c.scale = 1.0 + k // 3
        see(step(a(k), d if k in (4, 7) else c))


@scenario
def many_short_lived_objects(C: Any, see: Any) -> None:
    step = C(lambda x, c: x * c.scale)
    for k in range(10):
        see(step(a(k), SimpleNamespace(scale=float(k))))


@scenario
def model_as_an_argument(C: Any, see: Any) -> None:
    models = [mlp(0), mlp(1)]
    step = C(lambda model, x: model(x))
    for k in range(8):
        if k == 5:
            next(models[0].parameters()).data *= 2
        see(step(models[k % 2], batch(k)[0]))


@scenario
def function_as_an_argument(C: Any, see: Any) -> None:
    step = C(lambda f, x: f(mg.asarray(x)) * 2)
    for k in range(9):
        see(step([mg.sin, mg.cos, lambda x: x * k][k % 3], a(k)))  # noqa: B023


@scenario
def generator_as_an_argument(C: Any, see: Any) -> None:
    step = C(lambda x, rng: x * rng.normal(size=3))
    one, two = np.random.default_rng(0), np.random.default_rng(1)
    for k in range(9):
        see(step(a(k), [one, one, two, np.random.default_rng(k)][k % 4]), one, two)


@scenario
def every_dtype(C: Any, see: Any) -> None:
    kinds = ["f8", "f8", "f4", "f4", "f2", "i8", "i4", "u1", "?", "f8", ">f8"]
    call(C, see, lambda x: (x * x + x, x.sum(), x.mean()), *[(np.arange(4).astype(kind),) for kind in kinds])


@scenario
def numbers_and_arrays_without_axes(C: Any, see: Any) -> None:
    given = [np.array(2.0), np.float64(2.0), 2.0, 2, np.float32(2.0), np.array(2.0), np.int64(3), True, np.bool_(True)]
    call(C, see, lambda x: (x * 2.5, x + x), *[(x,) for x in given])


@scenario
def scalars_of_numpy_stay_scalars(C: Any, see: Any) -> None:
    call(C, see, lambda x: (x.sum(), x.max(), np.sum(x) * 2, x[0], x.sum() > 0), *[(a(k),) for k in range(6)])


@scenario
def tensors_and_arrays(C: Any, see: Any) -> None:
    t = mg.Tensor(a(9), requires_grad=True)
    given = [a(0), mg.asarray(a(1)), t, mg.Tensor(a(2)), a(3), t, t.detach()]
    call(C, see, lambda x: x * 2 + 1, *[(x,) for x in given])


@scenario
def empty_arrays(C: Any, see: Any) -> None:
    call(C, see, lambda x: (x * 2, x.sum(axis=0)), *[(a(k, n, 2),) for k, n in enumerate([2, 0, 2, 0, 3, 0])])


@scenario
def empty_batch_has_no_maximum(C: Any, see: Any) -> None:
    call(C, see, lambda x: x.max(), *[(a(k, n),) for k, n in enumerate([2, 2, 0, 2, 0])])


@scenario
def ragged_last_batch(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (x @ w).mean().backward())
    for k in range(12):
        step(a(k, [5, 5, 5, 2][k % 4], 3))
        see(w)


@scenario
def every_batch_has_another_size(C: Any, see: Any) -> None:
    call(C, see, lambda x: (x * len(x)).sum(axis=0), *[(a(k, k + 1, 2),) for k in range(12)])


@scenario(eager=True)
def matrix(C: Any, see: Any) -> None:
    call(
        C, see, lambda x: x * x, *[(x,) for x in (a(0, 2, 2), np.matrix([[1.0, 2], [3, 4]]), a(1, 2, 2)) for _ in "ab"]
    )


@scenario(eager=True)
def masked_array(C: Any, see: Any) -> None:
    masked = [np.ma.masked_array(a(k), [True, False, False]) for k in range(3)]
    call(C, see, lambda x: x * 2, *[(x,) for x in (a(0), a(1), *masked, a(2))])


@scenario(eager=True)
def subclass_of_arrays(C: Any, see: Any) -> None:
    class Own(np.ndarray):
        pass

    call(C, see, lambda x: x + 1, *[(x,) for x in (a(0), a(1).view(Own), a(2), a(3).view(Own))])


@scenario(eager=True)
def structured_and_object_arrays(C: Any, see: Any) -> None:
    objects = np.array([1, 2.5, 3], object)
    fields = np.zeros(2, [("a", "f8"), ("b", "i8")])
    call(C, see, lambda x: x["a"] * 2 if x.dtype.names else x * 2, (a(0),), (objects,), (fields,), (a(1),), (fields,))


@scenario
def nan_and_infinities(C: Any, see: Any) -> None:
    values = [np.nan, np.nan, np.inf, -np.inf, 0.0, 1.0]
    call(C, see, lambda x, v: (np.maximum(x, v), mg.where(x > v, x, v)), *[(a(k), v) for k, v in enumerate(values)])


@scenario
def sign_of_zero(C: Any, see: Any) -> None:
    call(C, see, lambda x, v: np.copysign(x, v), *[(a(k), v) for k, v in enumerate([0.0, 0.0, -0.0, 0.0, -0.0, 0])])


@scenario
def lists_of_numbers(C: Any, see: Any) -> None:
    call(C, see, lambda x, w: mg.asarray(x) * mg.asarray(w), *[(a(k), [1.0, 2.0, float(k // 3)]) for k in range(9)])


@scenario
def container_argument_is_changed(C: Any, see: Any) -> None:
    step, out = C(lambda x, out: out.update(y=x * 2) or len(out)), {}
    for k in range(8):
        out = {"k": k} if k == 4 else out
        see(step(a(k), out), out)


@scenario
def wrong_shapes(C: Any, see: Any) -> None:
    call(C, see, lambda x, y: x @ y, *[(a(k, 2, 3), a(k, n, 2)) for k, n in enumerate([3, 3, 2, 3, 4])])
