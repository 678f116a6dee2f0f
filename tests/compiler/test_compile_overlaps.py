"""Memory that overlaps in ways that a program cannot describe, and writes that it does not see."""

from __future__ import annotations

import mmap
from typing import Any

import interpreted
import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import CompileError, CompileWarning
from minigrad.compiler.ir.program import ArgSlot, Buffer, Op, Program
from minigrad.compiler.ir.typing import check, make
from minigrad.compiler.numpy.program_source import ProgramSource

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

windows = np.lib.stride_tricks.sliding_window_view
BACKENDS = ["numpy", "numba"]


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)


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
    real_part_written,
)


@pytest.mark.parametrize("made", REFUSED, ids=lambda f: f.__name__)
def test_overlaps_are_refused_without_changes(made: Any) -> None:
    step, array = made()
    before = array.copy()
    with pytest.raises(CompileError, match=r"memory|write"):
        mg.compile(step, backend="numpy", fallback="raise")(np.ones(array.shape[-1:]))
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("made", REFUSED, ids=lambda f: f.__name__)
def test_steps_that_cannot_be_recorded_run_eagerly(made: Any) -> None:
    (step, array), (eager, expected) = made(), made()
    compiled, x = mg.compile(step, backend="numpy"), np.ones(array.shape[-1:])
    with pytest.warns(CompileWarning, match=r"memory|write") as caught:
        got = [np.copy(compiled(x)) for _ in range(3)]
    assert len(caught) == 1
    for y in got:
        np.testing.assert_array_equal(y, eager(x))
    np.testing.assert_array_equal(array, expected)


def written_by_maximum_at() -> Any:
    a = np.array([-1.0, 0.0, 3.0])
    return lambda x: np.maximum.at(a, [0, 2, 0], x[:1] * 2), a


WRITTEN = (written_by_nan_to_num, written_by_put, written_by_fill_diagonal, written_by_maximum_at)


@pytest.mark.parametrize("made", WRITTEN, ids=lambda f: f.__name__)
def test_functions_that_write_into_their_first_argument(made: Any) -> None:
    (step, array), (eager, expected) = made(), made()
    compiled, x = mg.compile(step, backend="numpy", fallback="raise", audit=False), np.ones(array.shape[-1:])
    for k in range(4):
        np.testing.assert_equal(compiled(x), eager(x))
        np.testing.assert_array_equal(array, expected)
        for a in (array, expected):
            a[...] = [*a[1:], a[0] * k]
    assert compiled.latest is not None
    assert compiled.latest.calls == 2


def test_one_array_as_two_arguments() -> None:
    def step(x: Any, y: Any) -> Any:
        x[:] = 7
        return y * 2

    a = np.ones(4)
    with pytest.raises(CompileError, match="share memory"):
        mg.compile(step, backend="numpy", fallback="raise")(a[:3], a[1:])
    np.testing.assert_array_equal(a, np.ones(4))

    writes = mg.compile(step, backend="numpy", fallback="raise", audit=False)
    for call in range(4):
        a, b, c = np.ones(3), np.ones(3), np.ones(4)
        np.testing.assert_array_equal(writes(a, a), np.full(3, 14.0))
        np.testing.assert_array_equal(writes(a, b), np.full(3, 2.0))
        for x, expected in ((a, np.full(3, 7.0)), (b, np.ones(3))):
            np.testing.assert_array_equal(x, expected)
        if call > 1:  # the program for two arrays leaves this to the step itself
            np.testing.assert_array_equal(writes(c[:3], c[1:]), [14, 14, 2])
            np.testing.assert_array_equal(c, [7, 7, 7, 1])
    assert [version.calls > 1 for version in writes.versions] == [True, True]

    a = np.ones(3)

    def reads(x: Any, y: Any) -> Any:
        return x - y

    compiled = mg.compile(reads, backend="numpy", fallback="raise", audit=False)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(a, a), np.zeros(3))
        np.testing.assert_array_equal(compiled(a, a * 3), np.full(3, -2.0))
    assert [version.calls for version in compiled.versions] == [1, 1]


def test_harmless_overlaps() -> None:
    raw = bytearray(np.arange(4.0).tobytes())
    a, b, out = np.frombuffer(raw), np.frombuffer(raw, np.int64), np.zeros(4)

    def step(x: Any) -> Any:
        out[:] = a + x
        return b + 1

    compiled = mg.compile(step, backend="numpy", fallback="raise", audit=False)
    for k in range(4):
        a[0] = k
        np.testing.assert_array_equal(compiled(np.ones(4)), a.view(np.int64) + 1)
        np.testing.assert_array_equal(out, a + 1)
    assert compiled.latest is not None
    assert compiled.latest.calls == 2


# Stores


def test_a_call_may_return_a_view_of_a_stored_buffer() -> None:
    a, b = (Buffer(name, "state", np.arange(3.0) + k) for k, name in enumerate("ab"))
    first, second = make("input", buffer=a), make("input", buffer=b)
    params = {"function": np.flip, "args": (ArgSlot(0),), "kwargs": {}}
    turned = Op("call", [first.out], params, [((3,), float)])
    program = check(Program([first, second, turned], [a, b], {a: second.out, b: turned.out}, [], []))
    run = ProgramSource(program).compiled()
    run()
    np.testing.assert_array_equal(a.array, [1, 2, 3])
    np.testing.assert_array_equal(b.array, [2, 1, 0])
