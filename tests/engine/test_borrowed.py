"""Plain arrays that are written to between the forward and the backward pass: the right gradient, or an error."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import fused
from minigrad.engine.borrowed import SMALL, sample

FEW, MANY = 3, 40_000  # elements: of an array that is copied, and of one that is watched
Make = Callable[[int], Any]


def written(y: Any, x: Any, index: Any) -> Any:
    y = y * 1
    y[index] = x
    return y


# The array for a number of elements, what is written into it, the operation.
OPERANDS: dict[str, tuple[Make, Any, Callable[[Any, Any], Any]]] = {
    "a factor": (np.ones, 7.0, lambda w, a: w * a),
    "a factor on the left": (np.ones, 7.0, lambda w, a: a * w),
    "np.multiply": (np.ones, 7.0, lambda w, a: np.multiply(a, w)),
    "a Tensor that contributions it": (np.ones, 7.0, lambda w, a: w * mg.asarray(a)),
    "a divisor": (np.ones, 7.0, lambda w, a: w / a),
    "a dividend": (np.ones, 7.0, lambda w, a: a / w),
    "an exponent": (lambda n: np.full(n, 2.0), 7.0, lambda w, a: w**a),
    "a base": (lambda n: np.full(n, 2.0), 7.0, lambda w, a: a**w),
    "a bound": (lambda n: np.full(n, 0.5), 7.0, lambda w, a: mg.maximum(w, a)),
    "a bound of clip": (lambda n: np.full(n, 0.5), 7.0, lambda w, a: mg.clip(w, a, None)),
    "a mask of where": (lambda n: np.ones(n, bool), False, lambda w, a: mg.where(a, w, 0.0)),
    "a batch": (lambda n: np.ones((2, n)), 5.0, lambda w, a: a @ w),
    "a view of a batch": (lambda n: np.ones((n, 2)), 5.0, lambda w, a: a.T @ w),
    "strided": (lambda n: np.ones(2 * n), 5.0, lambda w, a: w * a[::2]),
    "fused": (lambda n: np.ones((2, n)), 5.0, lambda w, a: fused.linear(a, w[:, None], np.zeros(1))),
    "einsum": (np.ones, 5.0, lambda w, a: mg.einsum("i,i->", w, a)),
    "hypot": (np.ones, 5.0, lambda w, a: mg.hypot(w, a)),
    "a target": (np.zeros, 5.0, lambda w, a: F.mse_loss(w, a)),
    "another dtype": (lambda n: np.ones(n, "float32"), 7.0, lambda w, a: w * a),
    "integers": (lambda n: np.ones(n, int), 7, lambda w, a: w * a),
    "of a memory map": (lambda n: mapped(np.ones(n)), 7.0, lambda w, a: w * a),
    "a product with a memory map": (lambda n: mapped(np.ones((n, n // n))), 7.0, lambda w, a: w @ a),
    "a mask of a memory map": (lambda n: mapped(np.arange(n) % 2 == 0), True, lambda w, a: mg.where(a, w, 0.0)),
    "a row of a memory map": (lambda n: mapped(np.ones((2, n)))[1], 7.0, lambda w, a: w * a),
    "of a record array": (lambda n: np.ones(n).view(np.recarray), 7.0, lambda w, a: w * a),
    "a custom operand": (np.ones, 7.0, mg.custom(lambda w, a: w * a, lambda v, a: v * a, None)),
}
# These are right for any size.
INDICES: dict[str, tuple[Make, Any, Callable[[Any, Any], Any]]] = {
    "an index": (np.arange, 1, lambda w, a: w[a]),
    "an index of a memory map": (lambda n: mapped(np.arange(n)), 1, lambda w, a: w[a]),
    "taken by a memory map": (lambda n: mapped(np.arange(n)), 1, lambda w, a: mg.take(w, a)),
    "a mask as an index": (lambda n: np.arange(n) % 2 == 0, True, lambda w, a: w[a]),
    "part of an index": (np.arange, 1, lambda w, a: w[None][0, a]),
    "a Tensor as an index": (np.arange, 1, lambda w, a: w[mg.asarray(a)]),
    "a list": (lambda n: list(range(n)), 1, lambda w, a: w[a]),
    "take": (np.arange, 1, lambda w, a: mg.take(w, a)),
    "np.take": (np.arange, 1, lambda w, a: np.take(w, a)),
    "gather": (np.arange, 1, lambda w, a: mg.gather(w, a, axis=0)),
    "take_along_axis": (np.arange, 1, lambda w, a: np.take_along_axis(w, a, 0)),
    "what is written to": (lambda n: np.array([0, 1]), 2, lambda w, a: written(w, 0.0, a)),
    "where it is written": (lambda n: np.array([0, 1]), 2, lambda w, a: written(np.ones(3) * w[0], w[:2], a)),
    "labels": (lambda n: np.array([0, 1, 0]), 2, lambda w, a: F.cross_entropy(w[:3] * np.ones((3, 1)), a)),
    "one_hot labels": (lambda n: np.array([0, 1, 0]), 2, lambda w, a: F.nll_loss(w[:3] * np.ones((3, 1)), a)),
    "a parameter": (np.ones, 7.0, lambda w, a: mg.custom(lambda x, k=None: x * k, lambda v, k: v * k)(w, k=a)),
}


def mapped(array: Any) -> Any:
    """The array in a file that is mapped into memory."""
    with tempfile.TemporaryFile() as file:
        made = np.memmap(file, array.dtype, "w+", shape=array.shape)
    made[...] = array
    return made


def gradient(make: Make, op: Callable[[Any, Any], Any], n: int, write: Callable[[Any], None]) -> Any:
    """The gradient of w after something was written into the array."""
    w = mg.Tensor(np.linspace(1.0, 2.0, n), requires_grad=True)
    array = make(n)
    loss = op(w, array).sum()
    write(array)
    loss.backward()
    return w.grad.numpy()


def assert_right_or_refused(make: Make, op: Callable[[Any, Any], Any], write: Callable[[Any], None]) -> None:
    """Where no rule needs the array, the gradient is right; else the error says what was changed."""
    right = gradient(make, op, MANY, lambda array: None)
    told = ""
    try:
        found = gradient(make, op, MANY, write)
    except RuntimeError as error:
        found, told = right, str(error)
    assert np.array_equal(found, right)
    assert not told or ("kept an array of shape" in told and "np.copy(array)" in told)


def first(value: Any) -> Callable[[Any], None]:
    def write(array: Any) -> None:
        array[(0,) * getattr(array, "ndim", 1) if not isinstance(array, list) else 0] = value

    return write


def every(value: Any) -> Callable[[Any], None]:
    def write(array: Any) -> None:
        array[:] = [value] * len(array) if isinstance(array, list) else value

    return write


@pytest.mark.parametrize("write", [first, every])
@pytest.mark.parametrize("what", OPERANDS | INDICES)
def test_small_arrays_are_copied(what: str, write: Any) -> None:
    make, value, op = (OPERANDS | INDICES)[what]
    right = gradient(make, op, FEW, lambda array: None)
    assert np.array_equal(gradient(make, op, FEW, write(value)), right)


@pytest.mark.parametrize("what", OPERANDS)
def test_large_arrays_are_watched(what: str) -> None:
    make, value, op = OPERANDS[what]
    for write in (first, every):
        assert_right_or_refused(make, op, write(value))


@pytest.mark.parametrize("what", INDICES)
def test_indices_are_copied_whatever_their_size(what: str) -> None:
    make, value, op = INDICES[what]
    assert_right_or_refused(make, op, every(value))


def test_a_new_batch_of_sparse_pictures_is_noticed() -> None:
    """Most elements are 0 in both, as in pictures of digits."""
    rng = np.random.default_rng(0)
    batches = [rng.random((64, 784)) * (rng.random((64, 784)) < 0.2) for _ in range(2)]
    w, buffer = mg.Tensor(np.ones((784, 1)), requires_grad=True), batches[0].copy()
    loss = (buffer @ w).sum()
    buffer[...] = batches[1]
    with pytest.raises(RuntimeError, match=r"matmul \(node \d+\) kept an array of shape \(64, 784\) and dtype float64"):
        loss.backward()


@pytest.mark.parametrize("n", [FEW, MANY])
def test_forward_mode_and_higher_derivatives_notice_changes(n: int) -> None:
    w, array = mg.Tensor(np.ones(n), requires_grad=True), np.ones(n)
    loss = (w * w * array).sum()
    array[:] = 5.0
    if n == FEW:
        loss.backward(create_graph=True)
        assert np.array_equal(w.grad.numpy(), np.full(n, 2.0))
    else:
        with pytest.raises(RuntimeError, match="kept an array"):
            loss.backward(create_graph=True)


@pytest.mark.parametrize("n", [FEW, MANY])
def test_vjp_copies_its_arguments(n: int) -> None:
    array, shared = np.ones(n), np.ones(n)
    _, pullback = mg.vjp(lambda x, t: (x * x * t["a"]).sum(), array, {"a": mg.Tensor(shared)})
    array[:] = 5.0
    assert np.array_equal(pullback(1.0)[0], np.full(n, 2.0))


@pytest.mark.parametrize("n", [FEW, MANY])
def test_a_leaf_has_memory_of_its_own(n: int) -> None:
    for make in (lambda a: mg.asarray(a, requires_grad=True), later):
        array = np.ones(n)
        x = make(array)
        loss = (x * x).sum()
        array[:] = 5.0
        loss.backward()
        assert np.array_equal(x.grad.numpy(), np.full(n, 2.0))
    array = np.ones(n)
    assert np.shares_memory(mg.asarray(array).data, array)
    with pytest.raises(ValueError, match="needs a copy"):
        mg.asarray(array, requires_grad=True, copy=False)


def later(array: Any) -> mg.Tensor:
    x = mg.asarray(array)
    x.requires_grad = True
    return x


def test_a_tape_is_printed_although_an_array_has_changed() -> None:
    w, array = mg.Tensor(np.ones(MANY), requires_grad=True), np.ones(MANY)
    loss = (w * array).sum()
    array[:] = 5.0
    assert "multiply" in str(mg.Tape(loss))
    assert "multiply" in mg.draw(loss).source
    with pytest.raises(RuntimeError, match="kept an array"):
        loss.backward()


def test_writing_equal_elements_is_no_change() -> None:
    w, array = mg.Tensor(np.ones(MANY), requires_grad=True), np.full(MANY, np.nan)
    loss = mg.where(np.isnan(array), w, 0.0).sum() + (w * array).sum() * 0.0
    array[:] = np.nan
    loss.backward()
    assert w.grad.size == MANY


def test_a_sample_covers_the_whole_array() -> None:
    for shape in ((SMALL,), (200, 300), (7, 11, 1300)):
        for array in (np.zeros(shape), np.zeros(shape[::-1]).T, np.zeros((*shape, 2))[..., 0]):
            before = sample(array)
            array[...] = 1.0
            assert sample(array) != before
            array[...] = 0.0
            assert sample(array) == before
            array[(-1,) * array.ndim] = 1.0
            assert sample(array) != before


@pytest.mark.parametrize("n", [FEW, MANY])
@pytest.mark.parametrize("given", ["argument", "Tensor", "closure"])
def test_compiled_functions_notice_in_every_call(given: str, n: int) -> None:
    """In the calls that are recorded, in that which is audited, and in those of the program."""
    w, array = mg.Tensor(np.ones(n), requires_grad=True), np.ones(n)
    if given == "closure":
        step = mg.compile(lambda w: (mg.sin(w) * array).sum(), backend="numpy")
    else:
        step = mg.compile(lambda w, a: (mg.sin(w) * a).sum(), backend="numpy")
    for call in range(6):
        array[:] = 1.0
        w.grad = None
        arguments = {"argument": (w, array), "Tensor": (w, mg.asarray(array)), "closure": (w,)}[given]
        loss = step(*arguments)
        told = ""
        if call % 2:
            array[:] = 5.0
        try:
            loss.backward()
        except RuntimeError as error:
            told = str(error)
        if told:
            assert call % 2
            assert "changed since" in told
        else:
            np.testing.assert_allclose(w.grad.numpy(), np.cos(np.ones(n)), rtol=1e-14)
