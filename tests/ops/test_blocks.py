"""Functions by blocks give the same results as in one pass; Tensors and tracer arrays are not divided."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import fused
from minigrad.ops import blocks
from minigrad.ops.blocks import elementwise_blocks, row_blocks
from minigrad.ops.special import erf_values

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

rng = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 64)


class Counted:
    """A function that records the sizes of its operands."""

    def __init__(self, function: Any) -> None:
        self.function, self.sizes = function, list[int]()

    def __call__(self, *operands: Any) -> Any:
        self.sizes.append(operands[0].shape[0])
        return self.function(*operands)


@pytest.mark.parametrize("shape", [(17,), (3, 7), (1, 40), (5, 1, 6), (16, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elements(shape: tuple[int, ...], dtype: Any) -> None:
    x, y = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    counted = Counted(lambda x, y: x * y + 1)
    result = elementwise_blocks(counted)(x, y)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, x * y + 1)
    if x.nbytes > 2 * blocks.BLOCK:
        assert counted.sizes[0] == 64 // x.itemsize
        assert sum(counted.sizes) == x.size


@pytest.mark.parametrize("x", [rng.standard_normal((6, 8)).T, rng.standard_normal((20, 4))[::-2]], ids=["T", "sliced"])
def test_arrays_that_are_not_contiguous(x: Any) -> None:
    np.testing.assert_array_equal(elementwise_blocks(np.square)(x), np.square(x))


def test_operands_of_different_shapes_are_not_split() -> None:
    counted = Counted(np.add)
    np.testing.assert_array_equal(
        elementwise_blocks(counted)(np.ones((20, 3)), np.arange(3)), np.arange(3) + np.ones((20, 3))
    )
    assert counted.sizes == [20]


@pytest.mark.parametrize("length", [7, 8, 9, 33])
def test_rows(length: int) -> None:
    """Results by rows, results that are sums, operands and results that are None, and shared operands."""

    @row_blocks(3, added=2)
    def function(x: Any, y: Any, missing: Any, whole: Any) -> tuple[Any, ...]:
        assert missing is None
        return x * whole, x.sum(axis=1) + y, x.sum(axis=0), None

    x, y, whole = rng.standard_normal((length, 5)), rng.standard_normal(length), rng.standard_normal(5)
    scaled, sums, total, nothing = function(x, y, None, whole)
    np.testing.assert_array_equal(scaled, x * whole)
    np.testing.assert_allclose(sums, x.sum(axis=1) + y, rtol=1e-12)
    np.testing.assert_allclose(total, x.sum(axis=0), rtol=1e-12, atol=1e-14)
    assert nothing is None


def test_tensor_operands_record_the_function_once() -> None:
    x = mg.Tensor(rng.standard_normal((40, 3)), requires_grad=True)
    y = elementwise_blocks(lambda x: np.exp(x) * 2)(x)
    assert [node.primitive.name for node in mg.Tape(y) if node.primitive] == ["exp", "multiply"]


def test_tracer_array_is_passed_to_the_function_once() -> None:
    step = mg.compile(lambda x: fused.gelu(x, approximate="tanh"), backend="numpy")
    x = rng.standard_normal((40, 3))
    np.testing.assert_allclose(step(x), fused.gelu(x, approximate="tanh"), rtol=1e-12)
    assert step.source.count(" exp(") == 1


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 4.0), (np.float64, 3.0)])
@pytest.mark.floating(under="ignore")
def test_erf_to_the_last_digits(dtype: Any, error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors that ops/special.py names, in units of the machine epsilon; ±1 from where erf is."""
    monkeypatch.undo()
    x = np.concatenate([np.linspace(-7, 7, 40001), np.geomspace(1e-30, 1, 10000), [0.0]]).astype(dtype)
    exact = np.array([math.erf(a) for a in x.tolist()])
    result = erf_values(x)
    assert result.dtype == dtype
    assert np.max(np.abs(result.astype(float) - exact)) <= np.abs(exact).max() * error * np.finfo(dtype).eps
    near = exact != 0
    assert np.max(np.abs(result[near].astype(float) / exact[near] - 1)) <= error * np.finfo(dtype).eps
    ends = np.array([-np.inf, -1e30, -6.5, 6.5, 1e30, np.inf, np.nan, -0.0], dtype)
    with np.errstate(all="ignore"):
        at_ends = erf_values(ends)
    np.testing.assert_array_equal(at_ends, np.array([-1, -1, -1, 1, 1, 1, np.nan, -0.0], dtype))
    assert np.signbit(at_ends[-1])


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_large_numbers(approximate: str) -> None:
    x = mg.Tensor(np.array([-1e4, -50.0, 50.0, 1e4], np.float32), requires_grad=True)
    with np.errstate(under="ignore"):
        y = fused.gelu(x, approximate=approximate)
        y.sum().backward()
    np.testing.assert_array_equal(y.numpy(), [0, 0, 50, 1e4])
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 1, 1])
