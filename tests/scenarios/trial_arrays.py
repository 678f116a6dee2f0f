"""Arrays as users hand them over: layouts, overlaps, read-only ones, replaced and changed from outside in place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from scenarios.parts import numbers, weight
from scenarios.scenario import scenario


def laid_out(k: int, x: Any) -> Any:
    """The same numbers in a layout that changes from call to call, after some in C order."""
    if k < 4:
        return x.copy()
    wide = np.zeros((2 * x.shape[0], 2 * x.shape[1]))
    wide[::2, ::2] = x
    return [np.asfortranarray(x), wide[::2, ::2], x[::-1].copy()[::-1], x.T.copy().T, x.copy()][k % 5]


def layouts(C: Any, see: Any, f: Any, calls: int = 14) -> None:
    step = C(f)
    for k in range(calls):
        x = laid_out(k, numbers(k, 3, 4))
        see.attempt(step, x)
        see(x)


@scenario
def raveled_argument_is_written(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        v = x.ravel()
        v += 1
        return v * 2

    layouts(C, see, step)


@scenario
def reshaped_argument_is_written(C: Any, see: Any) -> None:
    def step(x: Any) -> None:
        x.reshape(2, 6)[0] = 5

    layouts(C, see, step)


@scenario
def transposed_and_flattened_argument_is_written(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        v = x.T.reshape(-1)
        v *= 2
        return v

    layouts(C, see, step)


@scenario
def reshaped_argument_is_returned(C: Any, see: Any) -> None:
    step = C(lambda x: (x.reshape(-1), x.T, x[1:]))
    for k in range(12):
        x = laid_out(k, numbers(k, 3, 4))
        results = step(x)
        x += 1
        see(results)
        results[0][0] = 7
        see(x)


@scenario
def copies_in_their_order(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        a, b = x.copy(), np.copy(x)
        v, w = a.reshape(-1), b.reshape(-1)
        v += 1
        w += 1
        return a, b

    layouts(C, see, step)


@scenario
def empty_like_in_its_order(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        a = np.zeros_like(x)
        v = a.reshape(-1)
        v += 1
        b = x * 1
        w = b.ravel()
        w += 5
        return a, b

    layouts(C, see, step)


@scenario
def state_in_fortran_order(C: Any, see: Any) -> None:
    a = np.asfortranarray(numbers(0, 3, 4))

    @C
    def step(x: Any) -> Any:
        v = a.reshape(-1)
        v += x
        w = a.T.reshape(-1)
        w += x
        return v, w.sum()

    for k in range(8):
        see(step(numbers(k, 12)), a)


@scenario
def state_replaced_by_other_layouts(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=numbers(0, 3, 4))

    @C
    def step(x: Any) -> Any:
        v = s.a.reshape(-1)
        v += x
        return v * 2

    for k in range(12):
        if k > 3:
            s.a = laid_out(k, numbers(k, 3, 4))
        see(step(numbers(k, 12)), s)


@scenario
def fetched_state_in_other_layouts(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=numbers(0, 3, 4))

    @C
    def step(x: Any) -> Any:
        v = s.a.ravel()
        v += 1
        s.a = s.a * 0.5 + x
        return v

    for k in range(12):
        if k > 6:
            s.a = laid_out(k, numbers(k, 3, 4))
        see(step(numbers(k, 3, 4)), s)


@scenario
def shape_of_the_state_assigned_outside(C: Any, see: Any) -> None:
    a = numbers(0, 3, 4)

    @C
    def step(x: Any) -> Any:
        return a * x, a.sum(axis=0)

    for k in range(10):
        if k == 5:
            a.shape = (4, 3)
        see.attempt(step, numbers(k, 1))


@scenario
def dtype_of_the_state_assigned_outside(C: Any, see: Any) -> None:
    a = np.arange(6)

    @C
    def step(x: Any) -> Any:
        return a * 2 + x

    for k in range(10):
        if k == 5:
            a.dtype = np.float64  # type: ignore[misc]
        see.attempt(step, numbers(k, 1))


@scenario
def state_resized_outside(C: Any, see: Any) -> None:
    s = SimpleNamespace(a=np.arange(6.0))
    step = C(lambda x: s.a * 2 + x)
    for k in range(10):
        if k == 5:
            s.a.resize(8, refcheck=False)
        see.attempt(step, numbers(k, 1))


@scenario
def state_locked_outside(C: Any, see: Any) -> None:
    a = np.zeros(3)

    @C
    def step(x: Any) -> Any:
        a[...] += x
        return a * 2

    for k in range(12):
        a.flags.writeable = k not in (5, 6, 9)
        see.attempt(step, numbers(k, 3))
        see(a)


@scenario
def arguments_locked(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        x += 1
        return x * 2

    f = C(step)
    for k in range(12):
        x = numbers(k, 3)
        x.flags.writeable = k not in (0, 5, 6)
        see.attempt(f, x)
        see(x)


@scenario
def views_of_a_locked_argument(C: Any, see: Any) -> None:
    f = C(lambda x: (x[1:], x * 1, x.reshape(-1), x.T))
    for k in range(9):
        x = numbers(k, 3, 2)
        x.flags.writeable = k % 2 == 0
        see(f(x))


@scenario
def argument_is_a_view_of_the_state(C: Any, see: Any) -> None:
    a = np.zeros(8)

    @C
    def step(x: Any) -> Any:
        a[2:5] += 1
        return x * 2 + a.sum()

    for k in range(12):
        see(step([a[:4], a[4:], a[::2], numbers(k, 4), a[1:5], a[:4][::-1]][k % 6]), a)


@scenario
def argument_that_is_written_is_a_view_of_the_state(C: Any, see: Any) -> None:
    a = np.zeros(8)

    @C
    def step(x: Any, y: Any) -> Any:
        x[1:] += a[:3] + 1
        a[0] = y[0]
        return a.sum() + x.sum()

    for k in range(12):
        see(step([a[:4], a[4:], numbers(k, 4), numbers(k, 4)][k % 4], numbers(k, 2)), a)


@scenario
def arguments_overlap_in_turn(C: Any, see: Any) -> None:
    step = C(lambda x, y: (np.multiply(x, 2, out=x), y + 1, x + y))
    base = numbers(0, 10)
    for k in range(14):
        a = base.copy()
        x, y = [(a[:4], a[6:]), (a[:4], a[2:6]), (a[:4], numbers(k, 4)), (a[4:8], a[4:8])][k % 4 if k > 3 else 2]
        see(step(x, y), a)


@scenario
def pieces_of_one_buffer(C: Any, see: Any) -> None:
    step = C(lambda x, y: x @ y)
    data = numbers(0, 60)
    for k in range(9):
        see(step(data[k : k + 6].reshape(2, 3), data[k + 10 : k + 16].reshape(3, 2)))


@scenario
def big_endian_and_unaligned(C: Any, see: Any) -> None:
    step = C(lambda x: (x * 2, x.sum(), x.astype(np.float32)))
    raw = np.zeros(41, np.uint8)
    for k in range(9):
        x = numbers(k, 5)
        if k in (4, 7):
            x = x.astype(">f8")
        if k in (5, 8):
            moved = raw[1:41].view(np.float64)
            moved[...] = x
            x = moved
        see.attempt(step, x)


@scenario
def broadcast_arguments(C: Any, see: Any) -> None:
    step = C(lambda x, w: (x * w, x.sum(axis=0), x @ w.T))
    for k in range(9):
        x = np.broadcast_to(numbers(k, 3), (4, 3)) if k % 3 == 1 else numbers(k, 4, 3)
        see(step(x, numbers(k + 9, 4, 3)))


@scenario
def windows_of_the_state_are_returned(C: Any, see: Any) -> None:
    a = numbers(0, 6)

    @C
    def step(x: Any) -> Any:
        a[:] += x
        windows = np.lib.stride_tricks.sliding_window_view(a, 3)
        return windows, np.broadcast_to(a, (2, 6)), np.diagonal(a.reshape(2, 3)), a[::-1]

    for k in range(8):
        see(step(numbers(k, 6)))


@scenario
def view_of_the_state_is_returned_whole(C: Any, see: Any) -> None:
    a = numbers(0, 4)

    @C
    def step(x: Any) -> Any:
        a[:] *= 0.5
        return a[:], a[...], a.view(), a.reshape(4), a

    for k in range(7):
        results = step(numbers(k, 4))
        results[k % 4][0] = k
        see(results, a)


@scenario(eager=True)
def elements_written_by_nditer_and_asarray(C: Any, see: Any) -> None:
    a = np.zeros(3)

    @C
    def step(x: Any) -> Any:
        for v in np.nditer(a, op_flags=["readwrite"]):  # type: ignore[call-overload]
            v[...] = v + 1
        return x * 2

    for k in range(8):
        a[:] = 0
        see(step(numbers(k, 3)), a)


@scenario(eager=True)
def written_through_asarray(C: Any, see: Any) -> None:
    a = np.zeros(3)

    @C
    def step(x: Any) -> Any:
        b = np.asarray(a)
        b += 1
        return x * 2

    for k in range(8):
        a[:] = 0
        see(step(numbers(k, 3)), a)


@scenario(eager=True)
def members_of_an_array(C: Any, see: Any) -> None:
    step = C(lambda x: (x[0] in {0, 1, 2}, 3 in x, {int: 1}.get(type(x), 0), [0, 1, 2, 3].index(x[1])))
    for k in range(8):
        see.attempt(step, np.array([k % 4, (k + 1) % 4, 3 if k > 4 else 5]))


@scenario(eager=True)
def key_of_a_dict(C: Any, see: Any) -> None:
    names = {0: 1.5, 1: 2.5, 2: -1.0}
    step = C(lambda x, y: y * names[x[0]])
    for k in range(8):
        see.attempt(step, np.array([k % 3]), numbers(k, 2))


@scenario(eager=True)
def memory_of_an_argument(C: Any, see: Any) -> None:
    step = C(lambda x: (bytes(memoryview(x))[:3], np.frombuffer(x, np.uint8)[:2], x.data.nbytes, x * 2))
    for k in range(6):
        see(step(numbers(k, 3)))


@scenario
def counters_of_every_operation(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=0, x=0.5)

    @C
    def step(x: Any) -> Any:
        s.n += 1
        s.x *= 1.5
        scale = [round(s.x, 1), s.n & 1, s.n << 1, ~s.n, divmod(s.n, 3)[1], s.n ^ 5, int(s.x), s.n // 2, s.n**2]
        return x * sum(scale)

    for k in range(8):
        see(step(numbers(k, 2)), s)


@scenario
def shapes_alternate(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        loss = ((x * w).sum(axis=1) ** 2).mean()
        loss.backward()
        return loss

    for k in range(16):
        see(step(numbers(k, [4, 2, 7, 4, 1, 0][k % 6], 3)), w)


@scenario
def dtypes_alternate(C: Any, see: Any) -> None:
    step = C(lambda x: (x * 2, x / 2, x.sum(), x.mean(), x**2, mg.asarray(x) + 1))
    kinds = ["f8", "f4", "i8", "i4", "u1", "?", "f2"]
    for k in range(21):
        see(step((numbers(k, 4, 3) * 3).astype(kinds[k % 7])))


@scenario
def large_arrays(C: Any, see: Any) -> None:
    a = np.zeros(1 << 18)

    @C
    def step(x: Any) -> Any:
        a[:] = 0.9 * a + x
        y = np.tanh(a) * 2 + 1
        return y, y.sum(), (y[1:] - y[:-1]).max()

    kept = []
    for k in range(7):
        y, total, steepest = step(numbers(k, 1 << 18))
        kept.append(y[::20000])
        see(kept, total, steepest, a[::30000])


@scenario
def views_of_large_results_are_kept(C: Any, see: Any) -> None:
    step = C(lambda x: x * 2 + 1)
    kept: list[Any] = []
    for k in range(8):
        y = step(numbers(k, 300, 400))
        kept.append([y[3], y.T[2:4], memoryview(y[:1]), y.reshape(-1)[5:9], np.asarray(y.data)[0]][k % 5])
        del y
        see([np.array(x)[:4] for x in kept])
