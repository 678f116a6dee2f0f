"""Every operation that kernels have, of every dtype, at the ends of its range: NumPy's values and NumPy's dtypes."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import interpreted
import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, Buffer, Op, Program, Value
from minigrad.compiler.ir.typing import check, make
from minigrad.compiler.kernels import expressions as kernel_expressions
from minigrad.compiler.kernels.expressions import can_write
from minigrad.compiler.kernels.numba_backend import NumbaSource

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
LITERALS = [True, 0, 2, 3, -1, 300, 2**40, 2**70, 0.0, -0.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 1e300]
IN_KERNELS = [d for d in DTYPES if d != "f2"]
TOLERANCES = {"f4": 4e-6, "f8": 4e-15}  # the C library's functions and NumPy's own, in some epsilons
CHUNK = 30  # operations in one kernel


def ends(dtype: Any) -> Any:
    """Numbers where something may happen: zeros, signs, both ends of the range, halves, the width as a shift."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        limits: Any = np.iinfo(dtype)
        numbers = {0, 1, 2, 3, 7, limits.bits - 1, limits.bits, limits.max // 2, limits.max - 1, limits.max, limits.min}
        return np.array(sorted(numbers | ({-1, -2, -3, -7, limits.min + 1} if dtype.kind == "i" else set())), dtype)
    limits = np.finfo(dtype)
    floats = [
        0.0,
        1.0,
        0.5,
        1.5,
        2.5,
        3.0,
        7.0,
        np.inf,
        limits.max,
        limits.tiny,
        limits.smallest_subnormal,
        100.0,
        1e-4,
    ]
    return np.array([sign * x for x in floats for sign in (1, -1)] + [np.nan], dtype)


def few(dtype: Any) -> Any:
    """Some of them, for pairs of dtypes."""
    numbers = ends(dtype)
    if np.dtype(dtype).kind == "f":
        return numbers[[0, 1, 2, 3, 9, 14, 15, -1]]
    return numbers[sorted({0, 1, 2, len(numbers) // 2, len(numbers) - 1} & set(range(len(numbers))))]


class Case(NamedTuple):
    """An operation in a program, and what NumPy makes of it."""

    name: str
    op: Op
    expected: Any
    operands: list[Any]


def argument(array: Any, number: int) -> Op:
    return make("input", buffer=Buffer(f"x{number}", "argument", array, number))


def case(kind: str, ins: list[Any], arrays: list[Any], function: Callable[..., Any], **params: Any) -> Case | None:
    """The case, unless NumPy refuses it, or kernels leave it to NumPy."""
    try:
        with np.errstate(all="ignore"):
            expected = function(*arrays)
        op = make(kind, *ins, **params)
    except (TypeError, ValueError, OverflowError):
        return None
    texts = [x.dtype.name if isinstance(x, Value) else repr(x) for x in ins]
    name = f"{kind}({', '.join(texts)}{''.join(f', {k}={v}' for k, v in params.items())})"
    assert (op.out.shape, op.out.dtype) == (expected.shape, expected.dtype), name
    return Case(name, op, expected, arrays) if can_write(op) else None


def of_pairs(x: Op, y: Op, arrays: list[Any]) -> Iterator[Case | None]:
    """Ufuncs of the two, and choices between them."""
    for name, ufunc in UFUNCS.items():
        if ufunc.nin == 2:
            yield case(name, [x.out, y.out], arrays, ufunc)
    condition = make("less", x.out, y.out)
    yield case("where", [condition.out, x.out, y.out], arrays, lambda a, b: np.where(a < b, a, b))


def of_one_array(x: Op, array: Any, literals: list[Any]) -> Iterator[Case | None]:
    """Ufuncs of it, and of it and Python numbers; casts; choices."""
    for name, ufunc in UFUNCS.items():
        if ufunc.nin == 1:
            yield case(name, [x.out], [array], ufunc)
        for z in literals if ufunc.nin == 2 else []:
            yield case(name, [x.out, z], [array], lambda a, z=z, f=ufunc: f(a, z))
            yield case(name, [z, x.out], [array], lambda a, z=z, f=ufunc: f(z, a))
    for dtype in DTYPES:
        yield case("cast", [x.out], [array], lambda a, dtype=dtype: a.astype(dtype), dtype=np.dtype(dtype))
    for z in literals:
        condition = make("logical_not", x.out)
        yield case("where", [condition.out, x.out, z], [array], lambda a, z=z: np.where(np.logical_not(a), a, z))


def reductions(x: Op, array: Any) -> Iterator[Case | None]:
    """Along each axis, and along both."""
    for (name, ufunc), axes in itertools.product(REDUCTIONS.items(), [(0,), (1,), (0, 1)]):
        yield case(name, [x.out], [array], lambda a, f=ufunc, k=axes: f.reduce(a, axis=k, keepdims=True), axes=axes)


def difference(found: Any, case: Case) -> str:
    """How they differ, with an example."""
    expected = case.expected
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"{case.name}: {found.shape} {found.dtype} instead of {expected.shape} {expected.dtype}"
    wrong = found != expected
    if expected.dtype.kind == "f":
        with np.errstate(all="ignore"):
            tolerance = TOLERANCES[expected.dtype.str[1:]]
            wrong = ~np.isclose(found, expected, rtol=tolerance, atol=0, equal_nan=True)
            if case.op.name not in ("maximum", "minimum", "max", "min", "sum", "prod"):  # NumPy's depends on the place
                wrong |= (np.signbit(found) != np.signbit(expected)) & ~np.isnan(expected)
    if not wrong.any():
        return ""
    k = int(np.flatnonzero(wrong)[0])
    given = [a.ravel()[k].item() for a in case.operands if a.size == wrong.size]
    return f"{case.name} of {given}: {found.ravel()[k]!r} instead of {expected.ravel()[k]!r}"


def differences(cases: list[Case], inputs: list[Op], arrays: list[Any]) -> list[str]:
    """Those of all cases, computed by kernels."""
    found = []
    for k in range(0, len(cases), CHUNK):
        chunk = cases[k : k + CHUNK]
        conditions = [x.op for c in chunk for x in c.op.operands if x.op.name != "input"]
        ops = [*inputs, *conditions, *(c.op for c in chunk)]
        buffers = [op.params["buffer"] for op in inputs]
        program = check(Program(ops, buffers, {}, [c.op.out for c in chunk], []))
        source = NumbaSource(program)
        assert source.kernels
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            made = source.compiled()(*arrays)
        found += [d for array, c in zip(made, chunk, strict=True) if (d := difference(array, c))]
    return found


def wrong_of_pairs(dtype: str, other: str) -> list[str]:
    """What differs of operations of two dtypes."""
    choose = ends if dtype == other else few
    x, y = (np.ascontiguousarray(a) for a in np.meshgrid(choose(dtype), choose(other), indexing="ij"))
    inputs = [argument(x, 0), argument(y, 1)]
    return differences([c for c in of_pairs(inputs[0], inputs[1], [x, y]) if c], inputs, [x, y])


def wrong_of_one(dtype: str, literals: list[Any] = LITERALS) -> list[str]:
    """What differs of operations of one."""
    array = ends(dtype)
    x = argument(array, 0)
    return differences([c for c in of_one_array(x, array, literals) if c], [x], [array])


def wrong_of_reductions(dtype: str) -> list[str]:
    """What differs of reductions."""
    array = np.stack([np.roll(ends(dtype), k) for k in range(3)])
    if np.dtype(dtype).kind == "f":  # a sum of both infinities, and rounding, are not what this is about
        array = np.array([[1.0, 2.0, np.inf, -0.0], [0.5, -4.0, 1.0, -0.0], [0.25, np.nan, 3.0, -0.0]], dtype)
    x = argument(array, 0)
    return differences([c for c in reductions(x, array) if c], [x], [array])


@pytest.fixture
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("dtype", IN_KERNELS)
def test_every_pair_of_dtypes(dtype: str) -> None:
    assert not [d for other in IN_KERNELS for d in wrong_of_pairs(dtype, other)]


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("dtype", IN_KERNELS)
def test_every_operation_of_one_array(dtype: str) -> None:
    assert not wrong_of_one(dtype)
    assert not wrong_of_reductions(dtype)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i8", "u8", "f4", "f8"])
def test_some_by_numba(dtype: str) -> None:
    """What numba's types make of it: its integers have 64 bits, and some of its functions know floats only."""
    pytest.importorskip("numba")
    other = {"i1": "u1", "u1": "f4", "u8": "i8", "f4": "f8"}.get(dtype, dtype)
    literals = [3, -0.0, -2.5] if np.dtype(dtype).kind == "f" else [3, 300, 2**70]
    assert not wrong_of_one(dtype, literals)
    assert not wrong_of_pairs(dtype, dtype)
    assert not wrong_of_pairs(dtype, other)
    assert not wrong_of_reductions(dtype)


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize(
    ("name", "text"),
    [("sign", "1 if {0} > 0 else -1"), ("add", "{} - {}"), ("greater", "{} >= {}"), ("absolute", "{}"), ("rint", "{}")],
    ids=str,
)
def test_a_planted_fault_is_found(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kernel_expressions.EXPRESSIONS, name, text)
    found = [*wrong_of_one("f4"), *wrong_of_pairs("f4", "f4")]
    assert found
    assert all(d.startswith(f"{name}(") for d in found)


def test_float16_is_left_to_numpy() -> None:
    """numba has no arithmetic of it that rounds as NumPy's."""
    x = argument(ends("f2"), 0)
    assert not any(c for c in of_pairs(x, x, [ends("f2")] * 2))
    assert not any(c for c in of_one_array(x, ends("f2"), LITERALS))
    assert not any(c for c in of_one_array(argument(ends("i1"), 0), ends("i1"), []) if c and c.expected.dtype == "f2")


@pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_steps_of_integers(backend: str) -> None:
    """As a user writes them; what depends on values stays NumPy's, errors too."""
    if backend == "numba":
        pytest.importorskip("numba")
    x = np.array([-3, -1, 0, 1, 2, 127, -128], "i1")
    floats = np.array([-1.5, 2.5, 300.0, -0.0, 0.0, 70000.0, 1e10], "f4")

    @np.errstate(all="ignore")
    def function(x: Any, y: Any) -> Any:
        return (
            *(x // 2, x % 3, -x, abs(x), x << 1, x & 3, x * x - x, np.sign(x).astype("u1"), np.sign(y), x > 300),
            *(y.astype("i8"), (y * 2).astype("i4") + 1, np.where(y > 0, x, -x), np.sum(abs(x) + 1), np.prod(x)),
        )

    step = mg.compile(function, backend=backend, fallback="raise", audit=False)
    for k in range(4):
        expected = function(np.roll(x, k), floats)
        for found, e in zip(step(np.roll(x, k), floats), expected, strict=True):
            assert found.dtype == e.dtype
            np.testing.assert_array_equal(found, e)
            assert (np.signbit(found) == np.signbit(e)).all() if e.dtype.kind == "f" else True
    assert step.latest is not None
    assert step.latest.calls == 2


@pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_negative_power_of_an_integer_is_refused_whenever_it_comes(backend: str) -> None:
    if backend == "numba":
        pytest.importorskip("numba")
    step = mg.compile(lambda x, y: np.power(x, y) + x, backend=backend, fallback="raise", audit=False)
    x = np.arange(1, 4)
    for _ in range(4):
        np.testing.assert_array_equal(step(x, x), x**x + x)
    assert step.latest is not None
    assert step.latest.calls == 2
    with pytest.raises(ValueError, match="negative integer powers"):
        step(x, -x)
