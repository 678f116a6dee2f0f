"""Where views lie in memory, memory that overlaps in ways unknown, and memory that is handed out again."""

from __future__ import annotations

import gc
import mmap
import threading
import weakref
from collections.abc import Callable
from typing import Any

import interpreted
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.compiler import CompileError, kernel_files
from minigrad.compiler.layout import elements_in, where_in
from minigrad.compiler.memory import owner, viewed_through
from minigrad.compiler.numpy_source import Source
from minigrad.compiler.overlaps import overlaps_itself
from minigrad.compiler.program import Buffer, Line, Place, Program
from minigrad.compiler.recycling import FROM, Recycled
from minigrad.compiler.rules import check, make
from minigrad.specialize import attach
from minigrad.trees import flatten

windows = np.lib.stride_tricks.sliding_window_view
BACKENDS = ["numpy", "numba"]


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_files, "load", interpreted.load)


# Where a view lies


@given(st.randoms(use_true_random=False))
def test_views_are_found_by_their_strides(random: Any) -> None:
    shape = [random.randint(1, 4) for _ in range(random.randint(0, 3))]
    root: Any = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    if random.random() < 0.5:
        root = np.copy(root.transpose(random.sample(range(root.ndim), root.ndim)), order="K")
    view = root
    for _ in range(random.randint(1, 4)):
        kind = random.randrange(4)
        if kind == 0:
            view = view.transpose(random.sample(range(view.ndim), view.ndim))
        elif kind == 1 and view.size:
            view = view[tuple(slice(random.randrange(n), None, random.choice([1, 1, 2, -1, -2])) for n in view.shape)]
        elif kind == 2:
            view = view[..., None]
        elif view.size and view.flags.c_contiguous:
            rows = random.choice([n for n in range(1, view.size + 1) if view.size % n == 0])
            view = view.reshape(rows, -1)
    steps = where_in(view, root)
    if steps is not None:
        found = viewed_through(root, steps)
        np.testing.assert_array_equal(found, view)
        assert not view.size or np.shares_memory(found, root)
    flat, places = elements_in(view, root)  # type: ignore[misc]  # it is there for each view of the same dtype
    np.testing.assert_array_equal(viewed_through(root, flat)[places], view)


A = np.arange(24.0).reshape(2, 3, 4)
F = np.asfortranarray(A)


@pytest.mark.parametrize(
    ("view", "root"),
    [
        (A[0], A),
        (A[:, 0], A),
        (A[..., ::2], A),
        (A[::-1, :, ::-1], A),
        (A.transpose(2, 0, 1), A),
        (A.reshape(6, 4)[:, 1:3], A),
        (A.reshape(-1)[3:15].reshape(3, 4)[:, ::2], A),
        (A.reshape(-1)[::5], A),
        (A[:, :, None, 1], A),
        (A[1:1], A),
        (F[1:, ::2], F),
        (F.T[1], F),
        (F.ravel("F")[1:7], F),
        (A[0, :3, :3].T, A),
        (np.einsum("ii->i", A[0, :3, :3]), A),
        (A[:, 1:].transpose(1, 0, 2)[..., ::-2], A[:, ::-1]),
    ],
)
def test_usual_views_need_no_elements(view: Any, root: Any) -> None:
    steps = where_in(view, root)
    assert steps is not None
    found = viewed_through(root, steps)
    np.testing.assert_array_equal(found, view)
    wide = [k for k, n in enumerate(view.shape) if n > 1]
    assert [found.strides[k] for k in wide] == [view.strides[k] for k in wide] or not view.size
    assert not view.size or found.__array_interface__["data"] == view.__array_interface__["data"]


def test_views_that_are_none() -> None:
    assert where_in(A.view(np.int64), A) is None
    assert elements_in(A.view(np.int64), A) is None
    assert where_in(windows(A, 2, axis=-1), A) is None
    assert where_in(np.ones(3), A) is None
    assert elements_in(np.ones(3), A) is None
    assert elements_in(A[:, ::2], A[:, :, 1:]) is None  # the root has gaps


def test_owner_through_all_holders() -> None:
    a = np.arange(6.0)
    for view in (a[1:], windows(a, 2)[1:], np.asarray(memoryview(a))[1:], np.broadcast_to(a, (2, 6)), a.T.reshape(2, 3)):
        assert owner(view) is a
    assert owner(a) is a
    alone = np.frombuffer(bytearray(16))
    assert owner(alone) is alone


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (A, False),
        (A[:, ::-2], False),
        (np.broadcast_to(A, (2, 2, 3, 4)), True),
        (windows(A, 2, axis=-1), True),
        (np.ndarray((4, 3), "u1", A, strides=(2, 3)), True),  # no stride is 0, and 3 * 2 = 2 * 3
        (np.ndarray((2, 2), "u1", A, strides=(3, 2)), False),
        (np.ndarray((3,), "f8", A, strides=(4,)), True),  # halves of elements
        (np.zeros((0, 3)), False),
    ],
)
def test_overlaps_itself(array: Any, expected: bool) -> None:
    assert overlaps_itself(array) is expected


# What a step does with memory, against eager mode. Each makes a step and the arrays that it may change.

Made = tuple[Callable[[Any], Any], list[Any]]


def steps_with_views() -> dict[str, Callable[[], Made]]:
    """The small steps in which one array is read and written through several views."""

    def views(change: Any) -> Callable[[], Made]:
        def made() -> Made:
            a = np.arange(6.0)
            v, w = a[::2], a[1:5]
            return lambda x: change(x, a, v, w), [a]

        return made

    def both(x: Any, a: Any, v: Any, w: Any) -> Any:
        v[:] += x
        w[:] *= 2
        a[0] += w[0]
        return v * 1

    def only(x: Any, a: Any, v: Any, w: Any) -> Any:
        w[:] *= 2
        return v * 1

    def number(x: Any, a: Any, v: Any, w: Any) -> Any:
        a[0] += w[0]
        return v * 1

    def inner(x: Any, a: Any, v: Any, w: Any) -> Any:
        t = v[:]
        a[0] += 10
        return t * 1

    def nothing(x: Any, a: Any, v: Any, w: Any) -> None:
        v[:] += x
        w[:] *= 2
        a[0] += w[0]

    def neighbors(x: Any, a: Any, v: Any, w: Any) -> Any:
        np.add(a[1:], a[:-1], out=a[1:])
        np.copyto(v, w[:3], where=v > w[1:])
        return a[::-1] * 1

    def split(x: Any, a: Any, v: Any, w: Any) -> Any:
        p, q = np.split(a, 2)
        p += q
        q *= x
        return p - q

    def reduced(x: Any, a: Any, v: Any, w: Any) -> Any:
        np.add.reduce(a.reshape(2, 3), axis=0, out=a[1:4])
        np.add.at(a, [0, 0, -1], x)
        return a * 1

    return {f.__name__: views(f) for f in (both, only, number, inner, nothing, neighbors, split, reduced)}


def diagonal() -> Made:
    a = np.zeros((3, 3))
    d = np.einsum("ii->i", a)

    def step(x: Any) -> Any:
        d[:] += x
        inner = np.einsum("ij->ji", a)
        inner[0, 1] = 7
        return a * 1

    return step, [a]


def fortran() -> Made:
    a = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    rows, columns, flat = a[1:], a[:, ::2], a.ravel("F")[2:9]

    def step(x: Any) -> Any:
        rows[...] *= 2
        columns[...] += rows[:1, :2]
        flat[...] -= 1
        np.add.at(a, (..., [0, -1]), a.min())
        return a.sum(), a.reshape(-1) * 1, a.T[0] + x

    return step, [a]


def read_windows() -> Made:
    a = np.arange(6.0)
    w = windows(a, 3)

    def step(x: Any) -> Any:
        before = w.sum(1)
        a[1] += 1
        return before, w.max(1), windows(a, 2).sum(1)

    return step, [a]


def layouts() -> Made:
    """reshape is a view or a copy, as the layout of what NumPy made decides."""
    a = np.arange(6.0).reshape(2, 3)

    def step(x: Any) -> Any:
        results = []
        for y in (a.T.copy(), np.copy(a.T), a.T * 2, np.zeros_like(a.T), np.full_like(a.T, 2, order="C"), a.T.astype("f4")):
            flat = y.reshape(-1)
            flat += 1
            results.append(y)
        taken = np.take(a, [0, 1], axis=1)
        part = taken.reshape(-1)
        part += 1
        return [*results, taken]

    return step, [a]


def parts_of_complex_numbers() -> Made:
    z = np.arange(4) * (1 + 2j)
    real, imag = z.real, z.imag

    def step(x: Any) -> Any:
        real[:] += imag
        return real * 2

    return step, [z]


def fields() -> Made:
    table = np.zeros(3, [("a", "f8"), ("b", "f8")])
    a, b = table["a"], table["b"]

    def step(x: Any) -> Any:
        a[:] += x
        b[:] = a * 2 + 1

    return step, [a, b]


def bytes_as_floats() -> Made:
    raw = np.zeros(48, np.uint8)
    floats = raw.view(float)  # a closure is read by names: this one before its part, so that it stands for the memory
    part = floats[1:4]

    def step(x: Any) -> Any:
        floats[...] += 1
        part[...] *= 2
        return part + x

    return step, [floats]


def through_memoryview() -> Made:
    a = np.arange(4.0)
    b = np.asarray(memoryview(a))[1:]

    def step(x: Any) -> Any:
        a[...] += 1
        return b + x

    return step, [a]


STEPS = steps_with_views() | {
    f.__name__: f
    for f in (
        diagonal,
        fortran,
        read_windows,
        layouts,
        parts_of_complex_numbers,
        fields,
        bytes_as_floats,
        through_memoryview,
    )
}


def compare(make_step: Callable[[], Made], backend: str) -> None:
    (eager, arrays), (plain, others) = make_step(), make_step()
    compiled = mg.compile(plain, backend=backend)
    for k in range(4):
        expected, actual = eager(np.full(3, k)), compiled(np.full(3, k))
        for x, y in zip(flatten(expected)[0], flatten(actual)[0], strict=True):
            np.testing.assert_array_equal(y, x, strict=True)
        for x, y in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(y, x, err_msg=f"after call {k + 1}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", STEPS)
def test_one_memory_through_views(name: str, backend: str) -> None:
    compare(STEPS[name], backend)


@pytest.mark.parametrize("name", ["both", "fortran"])
def test_with_kernels_of_numba(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.undo()
    compare(STEPS[name], "numba")


# What is refused


def twice_from_bytes() -> Any:
    raw = bytearray(32)
    a, b = np.frombuffer(raw), np.frombuffer(raw)[::-1]

    def step(x: Any) -> Any:
        a[...] += 1
        return b * x

    return step, a


def from_mmap() -> Any:
    raw = mmap.mmap(-1, 32)
    a, b = np.frombuffer(raw), np.frombuffer(raw, np.int32)

    def step(x: Any) -> Any:
        a[...] += 1
        return b + 1

    return step, a


def real_part_of_what_is_read() -> Any:
    z = np.arange(3) * (1 + 1j)
    real = z.real

    def step(x: Any) -> Any:
        real[...] += 1
        return z * x

    return step, real


def as_integers() -> Any:
    a = np.arange(3.0)
    bits = a.view(np.int64)

    def step(x: Any) -> Any:
        a[...] += 1
        return bits + 1

    return step, a


def overlapping_bytes() -> Any:
    raw = np.zeros(32, np.uint8)
    a, b = raw[:24].view(float), raw[8:].view(float)

    def step(x: Any) -> Any:
        a[...] += 1
        return b + x

    return step, a


def written_windows() -> Any:
    a = np.arange(4.0)
    w = windows(a, 2, writeable=True)

    def step(x: Any) -> Any:
        w[...] += 1
        return a * 1

    return step, a


def own_windows() -> Any:
    raw = bytearray(32)
    w = np.ndarray((3, 2), float, raw, strides=(8, 8))

    def step(x: Any) -> Any:
        w[0] += 1
        return w * 1

    return step, w


def positional_out() -> Any:
    a = np.arange(4.0)
    return lambda x: np.cumsum(a, 0, None, a), a


def positional_out_of_dot() -> Any:
    a, out = np.ones((2, 2)), np.zeros((2, 2))
    return lambda x: np.dot(a, a, out), out


def written_by_nan_to_num() -> Any:
    a = np.array([np.nan, 1.0])
    return lambda x: np.nan_to_num(a, copy=False), a


def written_by_put() -> Any:
    a = np.arange(4.0)
    return lambda x: np.put(a, [0], 1), a


def written_by_fill_diagonal() -> Any:
    a = np.zeros((2, 2))
    return lambda x: np.fill_diagonal(a, 1), a


def real_part_written() -> Any:
    z = np.arange(3) * (1 + 1j)

    def step(x: Any) -> Any:
        part = np.real(z)
        part += 1
        return z * 1

    return step, z


REFUSED = (
    twice_from_bytes,
    from_mmap,
    real_part_of_what_is_read,
    as_integers,
    overlapping_bytes,
    written_windows,
    own_windows,
    positional_out,
    positional_out_of_dot,
    written_by_nan_to_num,
    written_by_put,
    written_by_fill_diagonal,
    real_part_written,
)


@pytest.mark.parametrize("made", REFUSED, ids=lambda f: f.__name__)
def test_refused_and_nothing_is_changed(made: Any) -> None:
    step, array = made()
    before = array.copy()
    with pytest.raises(CompileError, match="memory|write"):
        mg.compile(step, backend="numpy")(np.ones(array.shape[-1:]))
    np.testing.assert_array_equal(array, before)


def test_one_array_as_two_arguments() -> None:
    def step(x: Any, y: Any) -> Any:
        x[:] = 7
        return y * 2

    a = np.ones(3)
    with pytest.raises(CompileError, match="same memory"):
        mg.compile(step, backend="numpy")(a, a)
    np.testing.assert_array_equal(a, np.ones(3))

    def reads(x: Any, y: Any) -> Any:
        return x - y

    compiled = mg.compile(reads, backend="numpy")
    np.testing.assert_array_equal(compiled(a, a), np.zeros(3))
    np.testing.assert_array_equal(compiled(a, a * 3), np.full(3, -2.0))


def test_overlaps_that_do_no_harm() -> None:
    raw = bytearray(np.arange(4.0).tobytes())
    a, b, out = np.frombuffer(raw), np.frombuffer(raw, np.int64), np.zeros(4)

    def step(x: Any) -> Any:
        out[:] = a + x
        return b + 1

    compiled = mg.compile(step, backend="numpy")
    for k in range(3):
        a[0] = k
        np.testing.assert_array_equal(compiled(np.ones(4)), a.view(np.int64) + 1)
        np.testing.assert_array_equal(out, a + 1)


# Stores


def test_a_call_may_return_a_view_of_what_a_store_changes() -> None:
    a, b = (Buffer(name, "state", np.arange(3.0) + k) for k, name in enumerate("ab"))
    first, second = make("input", buffer=a), make("input", buffer=b)
    params = {"function": np.flip, "args": (Place(0),), "kwargs": {}}
    turned = Line("call", [first.out], params, [((3,), float)])
    program = check(Program([first, second, turned], [a, b], {a: second.out, b: turned.out}, [], []))
    run = Source(program).compiled()
    run()
    np.testing.assert_array_equal(a.array, [1, 2, 3])
    np.testing.assert_array_equal(b.array, [2, 1, 0])


# Large results


class Held:
    """Ways to hold an array, or a part of its memory, without the array's name."""

    view = staticmethod(lambda a: a[::2, 1:])
    transposed = staticmethod(lambda a: a.T)
    other_dtype = staticmethod(lambda a: a.view(np.int64))
    chain = staticmethod(lambda a: a[1:][::2].T[3:])
    memory_view = staticmethod(memoryview)
    part_of_memory_view = staticmethod(lambda a: memoryview(a)[1:2])
    array_of_memory_view = staticmethod(lambda a: np.asarray(memoryview(a)))
    bytes_of_array = staticmethod(lambda a: np.frombuffer(a, np.uint8))
    ctypes = staticmethod(lambda a: a.ctypes)
    pointer = staticmethod(lambda a: a.ctypes.data_as(np.ctypeslib.ctypes.POINTER(np.ctypeslib.ctypes.c_double)))
    as_ctypes = staticmethod(np.ctypeslib.as_ctypes)
    dlpack = staticmethod(lambda a: a.__dlpack__())
    from_dlpack = staticmethod(lambda a: np.from_dlpack(a))
    iterator = staticmethod(lambda a: iter(a))
    flat = staticmethod(lambda a: a.flat)
    base = staticmethod(lambda a: a.base)
    tensor = staticmethod(lambda a: attach(a, None))
    windowed = staticmethod(lambda a: windows(a, 2, axis=0))
    cycle = staticmethod(lambda a: Held.in_a_cycle(a))
    closure = staticmethod(lambda a: lambda: a)

    @staticmethod
    def in_a_cycle(a: Any) -> None:
        ring: list[Any] = [a]
        ring.append(ring)  # nobody holds it, and no collection has found it


WAYS = [name for name in vars(Held) if not name.startswith("_") and name != "in_a_cycle"]


@pytest.mark.parametrize("way", WAYS)
def test_memory_that_is_held_is_not_handed_out(way: str) -> None:
    made = Recycled((4, 5), "float64")
    first = made()
    first[...] = 1
    start = first.ctypes.data
    held = getattr(Held, way)(first)
    del first
    for _ in range(5):
        other = made()
        assert other.ctypes.data != start
        del other
    del held
    gc.collect()


def test_memory_is_handed_out_again() -> None:
    made = Recycled((4, 5), "float64")
    places = {made().ctypes.data for _ in range(10)}
    assert len(places) == 1  # otherwise the tests above show nothing


def test_nothing_that_was_done_to_an_array_comes_back() -> None:
    made = Recycled((4, 5), "float64")
    first = made()
    gone = weakref.ref(first)
    first.flags.writeable = False
    first.shape = (20,)
    del first
    assert gone() is None
    second = made()
    assert second.shape == (4, 5)
    assert second.flags.writeable


def test_without_counts_that_can_be_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter(range(2, 1000))
    monkeypatch.setattr("sys.getrefcount", lambda array: next(counts))
    made = Recycled((4, 5), "float64")
    monkeypatch.setattr("sys.getrefcount", lambda array: 2)
    made.references = lambda array: 2
    held = [made() for _ in range(3)]
    assert len({array.ctypes.data for array in held}) == 3


def test_results_that_threads_hold() -> None:
    n = FROM // 8
    step = mg.compile(lambda x: x * 2, backend="numpy")
    step(np.zeros(n))
    wrong: list[float] = []

    def work(start: int) -> None:
        kept: list[tuple[float, Any]] = []
        for k in range(start, start + 40):
            kept.append((2.0 * k, step(np.full(n, float(k)))[1:]))
            kept = kept[-3:]
            wrong.extend(value for value, y in kept if not (y == value).all())

    threads = [threading.Thread(target=work, args=(1000 * j,)) for j in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
