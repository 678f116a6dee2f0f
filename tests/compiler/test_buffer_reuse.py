"""Memory of large results that is handed out again."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import interpreted
import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.numpy.buffer_reuse import SMALLEST, ReusedBuffer
from minigrad.engine.specialize import attach

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

windows = np.lib.stride_tricks.sliding_window_view
BACKENDS = ["numpy", "numba"]


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)


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
def test_referenced_memory_is_not_reused(way: str) -> None:
    made = ReusedBuffer((4, 5), "float64")
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


def test_unreferenced_memory_is_reused() -> None:
    made = ReusedBuffer((4, 5), "float64")
    places = {made().ctypes.data for _ in range(10)}
    assert len(places) == 1  # otherwise the tests above show nothing


def test_changes_of_an_array_do_not_reappear() -> None:
    made = ReusedBuffer((4, 5), "float64")
    first = made()
    gone = weakref.ref(first)
    first.flags.writeable = False
    first.shape = (20,)
    del first
    assert gone() is None
    second = made()
    assert second.shape == (4, 5)
    assert second.flags.writeable


def test_without_reliable_reference_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter(range(2, 1000))
    monkeypatch.setattr("sys.getrefcount", lambda array: next(counts))
    made = ReusedBuffer((4, 5), "float64")
    monkeypatch.setattr("sys.getrefcount", lambda array: 2)
    made.references = lambda array: 2
    held = [made() for _ in range(3)]
    assert len({array.ctypes.data for array in held}) == 3


@pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly
def test_results_referenced_by_threads() -> None:
    n = SMALLEST // 8
    step = mg.compile(lambda x: x * 2, backend="numpy", fallback="raise", audit=False)
    for _ in range(2):
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
    assert step.latest is not None
    assert step.latest.calls == 160
