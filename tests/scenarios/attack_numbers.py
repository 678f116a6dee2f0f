"""Numbers of all types that change between calls, early and late, in periods, and in type."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from scenarios.attack_state import drive
from scenarios.parts import numbers, weight
from scenarios.scenario import scenario


def sequence(C: Any, see: Any, values: list[Any], function: Any, *, argument: bool = False) -> None:
    """Call a step with a value in an attribute, in a dict, or as an argument."""
    s = SimpleNamespace(v=values[0])
    step = C((lambda x, v: function(x, v)) if argument else (lambda x: function(x, s.v)))
    for k, v in enumerate(values):
        s.v = v
        see.attempt(step, numbers(k, 3), *([v] if argument else []))


def product(x: Any, v: Any) -> Any:
    return x * v


@scenario
def late_change(C: Any, see: Any) -> None:
    sequence(C, see, [1.0] * 20 + [2.0] * 2 + [1.0] * 2, product)


@scenario
def period_of_two(C: Any, see: Any) -> None:
    sequence(C, see, [1.0, 2.0] * 6, product)


@scenario
def period_of_three_in_types(C: Any, see: Any) -> None:
    sequence(C, see, [1, 1.0, True] * 5, lambda x, v: (x * v, v, type(v).__name__))


@scenario
def zero_and_minus_zero_late(C: Any, see: Any) -> None:
    sequence(C, see, [0.0] * 6 + [-0.0] * 3 + [0.0] * 2, lambda x, v: (x * v, v, math.copysign(1.0, v)))


@scenario
def none_number_array(C: Any, see: Any) -> None:
    values = [None, None, None, 2.0, 3.0, np.ones(3), np.ones(3) * 2, None, 4.0, np.float64(2.0)]
    sequence(C, see, values, lambda x, v: x if v is None else x * v)


@scenario
def numpy_scalars_change(C: Any, see: Any) -> None:
    sequence(C, see, [np.float64(1.0 + k) for k in range(12)], product)


@scenario
def numpy_scalars_of_single_precision(C: Any, see: Any) -> None:
    sequence(C, see, [np.float32(1.0 + k / 3) for k in range(12)], lambda x, v: (x.astype(np.float32) * v, v * 2))


@scenario
def numpy_integers_change(C: Any, see: Any) -> None:
    sequence(C, see, [np.int64(1 + k) for k in range(6)], lambda x, v: (x * v, v + 1))


@scenario
def numpy_integers_as_arguments(C: Any, see: Any) -> None:
    sequence(C, see, [np.int64(1 + k) for k in range(6)], lambda x, v: (x * v, v + 1), argument=True)


@scenario
def numpy_scalars_as_arguments(C: Any, see: Any) -> None:
    sequence(C, see, [np.float32(1 + k) for k in range(9)], lambda x, v: (x * v, v + 1, -v), argument=True)


@scenario
def arrays_without_axes(C: Any, see: Any) -> None:
    sequence(C, see, [np.array(1.0 + k) for k in range(9)], lambda x, v: (x * v, v + 1))


@scenario
def complex_numbers(C: Any, see: Any) -> None:
    sequence(C, see, [1 + 1j * k for k in range(5)], lambda x, v: (x * v).real)


@scenario
def fractions_change(C: Any, see: Any) -> None:
    sequence(C, see, [Fraction(1, 1 + k // 3) for k in range(9)], lambda x, v: x * float(v))


@scenario
def decimals_change(C: Any, see: Any) -> None:
    sequence(
        C,
        see,
        [Decimal("1.0"), Decimal("1.00"), Decimal("1.0"), Decimal("2.5")] * 2,
        lambda x, v: (x * float(v), str(v)),
    )


@scenario
def number_equal_to_a_flag(C: Any, see: Any) -> None:
    sequence(C, see, [1, 1, 1, True, True, 1, 1.0, 1.0], lambda x, v: x * 5 if v is True else x * v)


@scenario
def flags_change(C: Any, see: Any) -> None:
    sequence(C, see, [True, True, True, False, True, False, np.True_, np.False_], lambda x, v: x * 2 if v else x)


@scenario
def integers_and_floats_alternate(C: Any, see: Any) -> None:
    sequence(C, see, [2, 3.0, 4, 5.0, 6, 7.0, 8, 9.0], lambda x, v: (x * v, v / 2, v // 2), argument=True)


@scenario
def arithmetic_of_counters(C: Any, see: Any) -> None:
    def f(x: Any, n: Any) -> Any:
        return x * (n % 3) + n // 2 - (n << 1) + (n & 1) + (n | 4) + (n ^ 1) + ~n + divmod(n, 4)[1] + n**2 + -n + abs(n)

    sequence(C, see, list(range(12)), f)


@scenario
def functions_of_rates(C: Any, see: Any) -> None:
    def f(x: Any, v: Any) -> Any:
        return x * v, round(v, 1), math.floor(v), math.ceil(v), int(v), f"{v:.2f}", max(v, 0.55), min(v, 0.3)

    sequence(C, see, [0.1 * k for k in range(9)], f)


@scenario
def schedules_by_math(C: Any, see: Any) -> None:
    def f(x: Any, n: Any) -> Any:
        return x * 0.5 * (1 + math.cos(math.pi * n / 10)), n / 10, 0.9**n, n**-0.5 if n else 0.0

    sequence(C, see, list(range(7)), f)


@scenario
def cosine_by_numpy(C: Any, see: Any) -> None:
    sequence(C, see, list(range(12)), lambda x, n: x * (0.5 * (1 + np.cos(np.pi * n / 10))))


@scenario
def large_integers(C: Any, see: Any) -> None:
    s = SimpleNamespace(state=12345)

    def step(x: Any) -> Any:
        s.state = (s.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return x * (s.state / 2**64)

    drive(C, see, step, None, s)


@scenario
def integers_near_the_limit(C: Any, see: Any) -> None:
    sequence(C, see, [2**61 + k for k in range(6)], lambda x, n: x * ((n * 8) % 1000))


@scenario
def integers_beyond_the_limit(C: Any, see: Any) -> None:
    sequence(C, see, [2**70 + k for k in range(6)], lambda x, n: (x * float(n % 7), n))


@scenario
def integers_and_integer_arrays(C: Any, see: Any) -> None:
    a = np.arange(3, dtype=np.int32)
    sequence(C, see, [1, 2, 3, 4, 5, 200, 7], lambda x, n: (a * n, a + n, a // max(n, 1), a / n, (a * n).dtype.name))


@scenario
def integers_and_small_arrays(C: Any, see: Any) -> None:
    a = np.arange(3, dtype=np.uint8)
    sequence(C, see, [1, 2, 3, 4, 300, -1, 5], lambda x, n: a + n)


@scenario
def floats_and_single_precision(C: Any, see: Any) -> None:
    a = np.arange(3, dtype=np.float32)
    sequence(C, see, [0.1, 0.2, 0.3, 0.4, 1e39, 0.5], lambda x, v: (a * v, a + v, np.maximum(a, v), v * 2 + a))


@scenario
def overflow_in_python(C: Any, see: Any) -> None:
    sequence(C, see, [1.0, 2.0, 3.0, 10.0, 1000.0, 4.0], lambda x, v: x * 10.0**v if v < 100 else x * math.exp(v))


@scenario
def power_that_overflows(C: Any, see: Any) -> None:
    sequence(C, see, [2.0, 3.0, 4.0, 5.0, 1e200, 4.0], lambda x, v: x * (v**3))


@scenario
def division_by_a_counter(C: Any, see: Any) -> None:
    sequence(C, see, [3, 2, 1, 4, 0, 5], lambda x, n: x / n + 1 / n)


@scenario
def counter_as_a_key(C: Any, see: Any) -> None:
    table = {k: float(k * k) for k in range(20)}
    sequence(C, see, list(range(7)), lambda x, n: x * table[n])


@scenario
def counter_as_an_index_of_an_array(C: Any, see: Any) -> None:
    a = np.arange(20.0)
    sequence(C, see, list(range(7)), lambda x, n: (x * a[n], a[n : n + 2], a[-n - 1]))


@scenario
def membership_and_ranges(C: Any, see: Any) -> None:
    sequence(C, see, list(range(9)), lambda x, n: x * 2 if n in (3, 5) else x * 3 if n in range(6, 8) else x)


@scenario
def chained_comparisons(C: Any, see: Any) -> None:
    sequence(C, see, [0.1 * k for k in range(12)], lambda x, v: x * 2 if 0.25 < v <= 0.65 else -x * v)


@scenario
def warmup(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(n=0)

    def step(x: Any) -> Any:
        s.n += 1
        lr = 0.1 * min(1.0, s.n / 5) if s.n < 8 else 0.1 * 0.9 ** (s.n - 8)
        w.grad = None
        ((w * x) ** 2).sum().backward()
        w.data -= lr * w.grad.data
        return lr

    drive(C, see, step, None, w, s, calls=14)


@scenario
def every_fifth_step(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=0, total=np.zeros(3))

    def step(x: Any) -> Any:
        s.n += 1
        if s.n % 5 == 0:
            s.total = s.total * 0
        s.total = s.total + x
        return s.total

    drive(C, see, step, None, s, calls=16)


@scenario
def best_so_far(C: Any, see: Any) -> None:
    s = SimpleNamespace(best=float("inf"), patience=0)

    def step(x: Any, loss: float) -> Any:
        if loss < s.best:
            s.best, s.patience = loss, 0
        else:
            s.patience += 1
        return x * s.best

    step = C(step)
    for k, loss in enumerate([3.0, 2.0, 2.5, 1.0, 1.0, 4.0, 0.5, float("nan"), 0.1]):
        see(step(numbers(k, 3), loss), s)


@scenario
def numbers_left_and_returned(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=1, b=1.5, c=[1, 2.0], d={"k": 3})

    def step(x: Any) -> Any:
        s.a, s.b = s.a + 1, s.b * 1.5
        s.c[0], s.c[1] = s.c[0] * 2, s.a / 2
        s.d["k"] -= 1
        return s.a, s.b, s.a / s.d["k"] if s.d["k"] else None, x * s.b

    drive(C, see, step, None, s)


@scenario
def numbers_in_tuples(C: Any, see: Any) -> None:
    s = SimpleNamespace(t=(0.9, 1, "a", (2.0, 3)))

    def change(k: int) -> None:
        s.t = (0.9 + k / 100, 1 + k // 4, "a" if k < 8 else "b", (2.0 + k, 3))

    drive(C, see, lambda x: x * s.t[0] + s.t[1] * s.t[3][0] + len(s.t[2]), change, calls=12)


@scenario
def numbers_swap(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=1.0, b=2.0)

    def step(x: Any) -> Any:
        s.a, s.b = s.b, s.a + s.b
        return x * s.a

    drive(C, see, step, None, s)


@scenario
def number_becomes_a_tensor(C: Any, see: Any) -> None:
    s = SimpleNamespace(running=0.0)

    def step(x: Any) -> Any:
        s.running = 0.9 * s.running + 0.1 * mg.asarray(x).sum()
        return s.running

    drive(C, see, step, lambda k: setattr(s, "running", 0.0) if k == 6 else None, s)


@scenario
def number_becomes_an_array_scalar(C: Any, see: Any) -> None:
    s = SimpleNamespace(running=0.0, n=0)

    def step(x: Any) -> Any:
        s.n += 1
        s.running += (x.sum() - s.running) / s.n
        return s.running

    drive(C, see, step, lambda k: setattr(s, "running", 0) if k == 6 else None, s)


@scenario
def strings_made_at_run_time(C: Any, see: Any) -> None:
    s = SimpleNamespace(mode="", parts=["tr", "ain"])

    def change(k: int) -> None:
        s.mode = "".join(s.parts)
        s.parts = ["te", "st"] if k in (4, 5, 8) else ["tr", "ain"]

    drive(C, see, lambda x: (x * 2 if s.mode == "train" else -x, s.mode.upper()), change)


@scenario
def ranges_slices_and_bytes_change(C: Any, see: Any) -> None:
    s = SimpleNamespace(r=range(2), s=slice(0, 2), b=b"a")

    def change(k: int) -> None:
        s.r, s.s, s.b = range(2 + k // 4), slice(0, 2 + k // 6), bytes([97 + k // 8])

    drive(C, see, lambda x: (x[s.s] * len(s.r), s.b + b"x", s.r, list(s.r)), change)


@scenario
def integer_arguments_in_arithmetic_and_shapes(C: Any, see: Any) -> None:
    step = C(lambda x, n: (x * n, np.zeros(n)))
    for k in range(8):
        see(step(numbers(k, 3), k % 3 + 1))


@scenario
def default_argument_given_or_not(C: Any, see: Any) -> None:
    @C
    def step(x: Any, scale: float = 2.0, *more: Any, flag: bool = False, **rest: Any) -> Any:
        return x * scale + sum(more) + (1 if flag else 0) + rest.get("b", 0.0)

    calls = [
        ((), {}),
        ((), {}),
        ((3.0,), {}),
        ((2.0,), {}),
        ((), {"scale": 2.0}),
        ((2.0, 1.0), {}),
        ((), {"flag": True}),
    ]
    calls += [((), {"b": 1.0}), ((), {"b": 2.0}), ((), {}), ((4.0, 5.0, 6.0), {"flag": True, "b": 3.0})]
    for k, (args, options) in enumerate(calls):
        see(step(numbers(k, 3), *args, **options))


@scenario
def numpy_scalars_are_not_written(C: Any, see: Any) -> None:
    s = SimpleNamespace(total=np.float64(0.0))

    def step(x: Any, v: Any) -> Any:
        old, given = s.total, v
        y = kept = x.sum()
        s.total += y
        y *= 2
        v -= 1
        return old, y, kept, v, given

    step = C(step)
    for k in range(9):
        see(step(numbers(k, 3), np.float64(k)), s)


@scenario
def running_mean_of_scalars(C: Any, see: Any) -> None:
    s = SimpleNamespace(mean=0.0, best=np.float64(9.0), all=[])

    def step(x: Any) -> Any:
        loss = (x * x).sum()
        s.mean = 0.9 * s.mean + 0.1 * loss
        s.best = np.minimum(s.best, loss)
        s.all.append(s.mean)
        return s.mean, s.best, loss

    drive(C, see, step, lambda k: setattr(s, "best", np.float64(5.0)) if k == 9 else None, s, calls=14)
