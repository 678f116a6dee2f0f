"""Kernels against plain NumPy: random programs, and what numbers do at the ends of their ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import interpreted
import numpy as np
import pytest
from random_programs import Drawing, evaluate

import minigrad as mg
from minigrad import functional
from minigrad.compiler.ir.kernel import Kernel, Schedule
from minigrad.compiler.ir.program import ArgSlot, Buffer, Op, Program, Value
from minigrad.compiler.ir.typing import check, make
from minigrad.compiler.kernels import kernel_source, lowering, numba_backend, threads
from minigrad.compiler.kernels.expressions import Expressions
from minigrad.compiler.kernels.fusion import Fusion
from minigrad.compiler.kernels.numba_backend import NumbaSource
from minigrad.compiler.refusal import CheckFailed

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

SAMPLE = range(150)


@pytest.fixture
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)


def mismatch(found: Any, expected: Any) -> str:
    """How two arrays differ, or an empty text."""
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"{found.shape} {found.dtype} instead of {expected.shape} {expected.dtype}"
    if expected.dtype.kind != "f":
        return "" if np.array_equal(found, expected) else f"{found} instead of {expected}"
    tolerance = 1e-3 if expected.dtype == np.float32 else 1e-9
    scale = np.max(np.abs(expected), where=np.isfinite(expected), initial=1.0)
    close = np.isclose(found, expected, rtol=tolerance, atol=tolerance * min(scale, 1e6), equal_nan=True)
    return "" if close.all() else f"{found} instead of {expected}"


def difference(program: Program, calls: int = 2) -> str:
    """Run a program with kernels several times. Returns where its results differ from NumPy's, or an empty text."""
    arguments = {b: np.random.default_rng(0).integers(-3, 4, b.shape).astype(b.dtype) for b in arguments_of(program)}
    run = NumbaSource(program).compiled()
    for _ in range(calls):
        before = arguments | {b: b.array.copy() for b in program.buffers if b.kind == "state"}
        outputs, stores = evaluate(program, before)
        with np.errstate(all="ignore"):  # as version.py runs what may warn
            found = run(*arguments.values())
        pairs = [(f"output {k}", *pair) for k, pair in enumerate(zip(found, outputs, strict=True))]
        ends = {b: stores.get(b, x) for b, x in before.items() if b.kind == "state"}
        pairs += [(b.name, b.array, x) for b, x in ends.items()]
        for where, x, y in pairs:
            if message := mismatch(x, y):
                return f"{where}: {message}\n{program}\n{NumbaSource(program).text}"
    return ""


def arguments_of(program: Program) -> list[Buffer]:
    """The arguments, in order."""
    return sorted((b for b in program.buffers if b.kind == "argument"), key=lambda b: b.place or 0)


@pytest.mark.usefixtures("_by_python")
def test_random_programs() -> None:
    for seed in SAMPLE:
        assert not (message := difference(Drawing(seed).program())), f"seed {seed}, {message}"


@pytest.mark.usefixtures("_by_python")
def test_random_programs_that_merge_axes() -> None:
    for seed in SAMPLE:
        assert not (message := difference(Drawing(seed, 20, merges=True).program())), f"seed {seed}, {message}"


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("workers", [0, 2])
def test_random_programs_in_parallel_chunks(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """Kernels cut along their first axis, also where there are fewer rows than parts."""
    monkeypatch.setattr(numba_backend, "is_worth_threads", lambda kernel: bool(kernel.sizes))
    monkeypatch.setattr(threads, "_shared", threads.Pool(workers))
    for seed in range(500, 560):
        assert not (message := difference(Drawing(seed).program())), f"seed {seed}, {message}"


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize(
    ("where", "limit"), [(lowering, "FEWEST_ROWS"), (kernel_source, "FEWEST_NARROW_ROWS")], ids=["at once", "short"]
)
def test_random_programs_with_several_rows_at_once(monkeypatch: pytest.MonkeyPatch, where: Any, limit: str) -> None:
    """Several rows at once, and short rows whose columns are written out, where there are few rows as well."""
    plain = [NumbaSource(Drawing(seed).program()).text for seed in SAMPLE]
    monkeypatch.setattr(where, limit, 1)
    for seed in SAMPLE:
        assert not (message := difference(Drawing(seed).program(), calls=1)), f"seed {seed}, {message}"
    changed = sum(NumbaSource(Drawing(seed).program()).text != text for seed, text in zip(SAMPLE, plain, strict=True))
    assert changed > 20


@pytest.mark.parametrize("rows", [33])
@pytest.mark.parametrize("columns", [2, 8, 10])
def test_several_rows_at_once_by_numba(rows: int, columns: int) -> None:
    """Softmax, its sums along both axes, and a batch norm, of few columns and of more."""
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype("f4")

    def function(x: Any) -> Any:
        p = np.exp(x - x.max(axis=1, keepdims=True))
        p = p / p.sum(axis=1, keepdims=True)
        y = (x - x.mean(axis=0)) * (x * x).mean(axis=0)
        return p, p.sum(axis=0), (p * x).sum(axis=1), y, (p * x).sum()

    step = mg.compile(function, backend="numba")
    step(x)
    for found, expected in zip(step(x), function(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def run_once(ops: list[Op], out: Value, *arrays: Any) -> Any:
    """The value of ops by kernels."""
    buffers = [op.params["buffer"] for op in ops if op.name == "input"]
    program = check(Program(ops, buffers, {}, [out], []))
    return NumbaSource(program).compiled()(*arrays)[0]


def argument(array: Any, number: int = 0) -> Op:
    """The op of an argument."""
    return make("input", buffer=Buffer(f"x{number}", "argument", array, number))


ENDS = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, -1.0]


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", ["max", "min", "sum"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
def test_reductions_of_infinities_and_nan(name: str, axes: tuple[int, ...], dtype: str) -> None:
    for columns in ([np.inf, -np.inf], [-np.inf, -np.inf], [np.nan, 1.0], [np.inf, np.nan], [-1.0, -2.0]):
        array = np.array([columns, columns[::-1]], dtype)
        x = argument(array)
        op = make(name, x.out, axes=axes)
        function = {"max": np.max, "min": np.min, "sum": np.sum}[name]
        with np.errstate(all="ignore"):
            expected = function(array, axis=axes, keepdims=True)
        np.testing.assert_array_equal(run_once([x, op], op.out, array), expected)


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("name", ["add", "multiply", "divide", "maximum", "greater", "where"])
def test_ends_of_floating_point_numbers(name: str) -> None:
    array = np.array(ENDS, "f4")
    x, y = argument(array.reshape(-1, 1)), argument(array, 1)
    positive = make("greater", x.out, 0.0)
    op = make(name, positive.out, x.out, y.out) if name == "where" else make(name, x.out, y.out)
    with np.errstate(all="ignore"):
        column = array.reshape(-1, 1)
        expected = np.where(column > 0, column, array) if name == "where" else getattr(np, name)(column, array)
    np.testing.assert_array_equal(run_once([x, y, positive, op], op.out, column, array), expected)


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("dtype", ["i1", "i4", "u1", "i8"])
@pytest.mark.parametrize("name", ["add", "multiply", "subtract", "negative"])
def test_integers_wrap_around(name: str, dtype: str) -> None:
    limits = np.iinfo(dtype)
    array = np.array([limits.min, limits.max, limits.max - 1, 2], dtype)
    x = argument(array)
    op = make(name, x.out) if name == "negative" else make(name, x.out, x.out)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*([array] * len(op.ins)))
    found = run_once([x, op], op.out, array)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
def test_empty_arrays_and_single_numbers(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, "f4")
    x = argument(array)
    y = make("multiply", x.out, 3.0)
    ops, out = [x, y], y
    if shape:
        out = make("sum", y.out, axes=tuple(range(len(shape))))
        ops.append(out)
    expected = np.sum(array * 3, keepdims=True) if shape else array * 3
    np.testing.assert_array_equal(run_once(ops, out.out, array), expected)


@pytest.mark.usefixtures("_by_python")
def test_one_element_of_each_row_by_label() -> None:
    """x[0 ... n-1, labels] inside a kernel; without a check labels that are no column's number give NaN."""
    array, labels = np.arange(12.0).reshape(4, 3), np.array([2, 0, 1, 2])
    x, at = argument(array), argument(labels, 1)
    rows = make("input", buffer=Buffer("rows", "state", np.arange(4), is_constant=True))
    op = make("gather", x.out, rows.out, at.out, index=(ArgSlot(0), ArgSlot(1)))
    np.testing.assert_array_equal(run_once([x, at, rows, op], op.out, array, labels), array[np.arange(4), labels])
    found = run_once([x, at, rows, op], op.out, array, np.array([3, -1, 0, -4]))
    np.testing.assert_array_equal(found, [np.nan, 5.0, 6.0, np.nan])
    check = Op("check", (at.out,), {"low": -3, "high": 2}, ())
    negative = np.array([-3, -1, 2, 1])
    found = run_once([x, at, rows, check, op], op.out, array, negative)
    np.testing.assert_array_equal(found, array[np.arange(4), negative])
    with pytest.raises(CheckFailed):
        run_once([x, at, rows, check, op], op.out, array, np.array([3, 0, 0, 0]))


@pytest.mark.usefixtures("_by_python")
def test_a_reshape_does_not_split_a_kernel() -> None:
    """The output of a layer, the residual added to it in its own shape, and a norm of the sum: one walk over memory."""
    rng = np.random.default_rng(0)
    h, residual, gamma = rng.normal(size=(6, 5)), rng.normal(size=(2, 3, 5)), rng.normal(size=5)
    ops = [x, y, c] = [argument(h), argument(residual, 1), argument(gamma, 2)]
    ops.append(make("exp", x.out))
    ops.append(make("reshape", ops[-1].out, shape=(2, 3, 5)))
    ops.append(make("add", ops[-1].out, y.out))
    ops.append(total := make("multiply", ops[-1].out, c.out))
    ops.append(make("reshape", total.out, shape=(6, 5)))
    ops.append(make("sum", ops[-1].out, axes=(1,)))
    ops.append(make("divide", ops[-2].out, ops[-1].out))
    program = Program(ops, [op.params["buffer"] for op in ops[:3]], {}, [total.out, ops[-1].out], [])
    source = NumbaSource(check(program))
    assert len(source.kernels) == 1
    first, second = source.compiled()(h, residual, gamma)
    expected = (np.exp(h).reshape(2, 3, 5) + residual) * gamma
    np.testing.assert_allclose(first, expected)
    np.testing.assert_allclose(second, expected.reshape(6, 5) / expected.reshape(6, 5).sum(1, keepdims=True))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "an operand that is read later is overwritten": lambda m: m.setattr(Kernel, "may_share", lambda self, x, out: True),
    "a maximum begins with 0": lambda m: m.setattr(Expressions, "start", _from_zero),
    "a pass comes too early": lambda m: m.setattr(Schedule, "_first_pass", lambda self, operands, number, how: 0),
    "kernels do not wait": lambda m: m.setattr(Fusion, "_last_home", lambda self, op: None),
}


def _from_zero(self: Expressions, op: Op, dtype: Any = None) -> str:
    return f"{self.dtype(op.out.dtype)}(0)" if op.name == "max" else "0"


@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    for seed in SAMPLE:
        try:
            if difference(Drawing(seed).program(), calls=1):
                return
        except (KeyError, NameError, AssertionError):
            return
    pytest.fail("no random program noticed")


def test_some_programs_by_numba() -> None:
    """Machine code, where Python and numba might mean different things by the same text."""
    for seed in range(700, 706):
        assert not (message := difference(Drawing(seed).program(), calls=1)), f"seed {seed}, {message}"


def test_gelu_by_numba() -> None:
    """The distribution function is one operation, in float32 throughout."""
    step = mg.compile(lambda x: functional.gelu(x), backend="numba")
    x = np.linspace(-5, 5, 1001, dtype="f4")
    first, second = step(x), step(x)
    assert second.dtype == np.float32
    np.testing.assert_allclose(second, first, rtol=2e-6, atol=1e-6)
    assert "normal_cdf_32(" in step.source
    assert step.source.count("@njit") == 1


def test_large_results_in_use_are_not_overwritten() -> None:
    """Memory is handed out again only when neither the array nor a view of it is held."""
    step = mg.compile(lambda x: x * 2, backend="numpy")
    x = np.ones((300, 300))
    step(x)
    held, view = step(x), step(x)[3:]
    for k in range(3):
        other = step(x * k)
        assert other[0, 0] == 2 * k
    assert (held == 2).all()
    assert (view == 2).all()
    del other
    places = {step(x).__array_interface__["data"] for _ in range(10)}
    assert len(places) <= 2


def test_a_returned_large_gradient_is_not_copied() -> None:
    """x.grad and the result are one array, as in eager mode, and another one in the next call."""
    x = mg.Tensor(np.ones((300, 300)), requires_grad=True)

    @mg.compile(backend="numpy")
    def step(scale: Any) -> Any:
        x.grad = None
        (x * scale).sum().backward()
        return x.grad

    first = step(np.array([[1.0]]))
    for k in (2.0, 3.0, 4.0):
        returned = step(np.array([[k]]))
        assert (returned.numpy() == k).all()
        assert x.grad is not None
        assert np.shares_memory(x.grad.numpy(), returned.numpy())
    assert (first.numpy() == 1).all()


@pytest.mark.usefixtures("_by_python")
def test_rows_with_shared_columns_and_separate_sums() -> None:
    """A sum over the first of three axes: four rows at a time read the same bounds, and each adds to its own."""
    x, y = np.random.default_rng(0).normal(size=(3, 9, 12)), np.arange(12.0)
    step = mg.compile(lambda x, y: np.maximum(x, y).sum(axis=0), backend="numba")
    for _ in range(2):
        np.testing.assert_allclose(step(x, y), np.maximum(x, y).sum(axis=0), rtol=1e-14)


@pytest.mark.usefixtures("_by_python")
def test_a_sum_of_bools_is_a_bool() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3))

    def both(x: Any) -> Any:
        return (np.logical_not(x > 0) + np.logical_not(x > 1)) * (1.0 + x)

    step = mg.compile(both, backend="numba")
    for _ in range(2):
        np.testing.assert_array_equal(step(x), both(x))


@pytest.mark.slow
@pytest.mark.usefixtures("_by_python")
@pytest.mark.parametrize("hundred", range(100))
def test_many_random_programs(hundred: int) -> None:
    for seed in range(1000 + 100 * hundred, 1100 + 100 * hundred):
        program = Drawing(seed, ops=8 + seed % 25).program()
        assert not (message := difference(program)), f"seed {seed}, {message}"
