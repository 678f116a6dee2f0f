"""NumPy's own functions on Tensors: each that is answered at all is answered as NumPy answers for arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.ops.random import normal_like, uniform_like
from minigrad.tensor import numpy_protocol

# x (3, 4) and y (4,) of both signs, s (3, 3) symmetric and positive definite, k integers, b booleans
CALLS = """
np.sum(x); np.sum(x, 0); np.sum(x, axis=(0, 1), keepdims=True); np.sum(x, axis=1, dtype="float32"); np.prod(x, 1)
np.mean(x); np.mean(x, axis=-1, keepdims=True); np.max(x, 0); np.amax(x); np.min(x, axis=1); np.amin(x, 0)
np.var(x); np.var(x, 0, ddof=1); np.var(x, axis=1, correction=1); np.std(x, axis=1, keepdims=True); np.std(x, ddof=1)
np.all(b, axis=0); np.any(b); np.argmax(x); np.argmax(x, axis=1); np.argmin(x, 0, keepdims=True)
np.count_nonzero(k); np.count_nonzero(x, axis=0); np.cumsum(x); np.cumsum(x, axis=0); np.cumsum(x, 1, "float32"); np.cumprod(x, axis=1); np.cumprod(x)
np.cumulative_sum(x, axis=0); np.cumulative_sum(y, include_initial=True); np.cumulative_prod(x, axis=1)
np.reshape(x, (2, 6)); np.reshape(x, -1); np.ravel(x); np.transpose(x); np.transpose(x, (1, 0)); np.permute_dims(x, (1, 0))
np.matrix_transpose(x); np.swapaxes(x, 0, 1); np.moveaxis(x, 0, -1); np.expand_dims(x, 1); np.squeeze(x[None])
np.broadcast_to(y, (2, 4)); np.broadcast_arrays(x, y); np.tile(x, 2); np.flip(x); np.flip(x, 1); np.roll(x, 1); np.roll(x, -1, axis=0)
np.concatenate([x, x]); np.concatenate((x, x), axis=1); np.concatenate([x, y], axis=None); np.concat([x, x], axis=1)
np.stack([y, y]); np.stack([y, y], axis=1); np.unstack(x); np.unstack(x, axis=1); np.split(x, 2, axis=1); np.split(y, [1, 3])
np.array_split(x, 2, axis=1); np.array_split(y, 3); np.array_split(x, 2); np.repeat(x, 2); np.repeat(x, [1, 0, 2], axis=0)
np.pad(x, 1); np.pad(x, ((0, 1), (2, 0)), "edge"); np.pad(x, 1, constant_values=2.0); np.diff(x); np.diff(x, 2, axis=1); np.diff(y, prepend=0.0)
np.pad(array=x, pad_width=1); np.tril(x); np.triu(x, 1); np.copy(x); np.astype(x, "float32"); np.astype(x, int); np.clip(x, -0.5, 0.5); np.clip(x, None, 0.5)
np.clip(x, min=-0.5, max=0.5); np.where(b, x, 0.0); np.where(b, x, y); np.where(b); np.nonzero(b); np.sort(x); np.sort(x, axis=0); np.sort(x, axis=None); np.sort(x, kind="stable")
np.argsort(x); np.argsort(x, axis=0, stable=True); np.argsort(x, axis=None); np.searchsorted(np.sort(y), x); np.searchsorted(np.sort(y), 0.5, side="right")
np.take(x, k); np.take(x, k, axis=1); np.take_along_axis(x, np.argsort(x, axis=1), axis=1); np.diff(x, axis=0, append=1.0); np.unique_counts(k)
np.unique_inverse(k); np.unique_all(k); np.dot(x, y); np.dot(y, 2.0); np.dot(s, x); np.tensordot(s, x, 1); np.tensordot(x, x, ((0, 1), (0, 1)))
np.einsum("ij,j->i", x, y); np.einsum("ij->ji", x); np.outer(y, y); np.diagonal(x); np.diagonal(x, 1); np.trace(x); np.trace(x, -1)
np.cross(x[:, :3], x[:, 1:]); np.meshgrid(y, k); np.round(x, 1); np.around(x); np.isin(k, [1, 2]); np.shape(x); np.ndim(x); np.size(x); np.size(x, 1)
np.result_type(x, "float32"); np.can_cast(x, "float32"); np.can_cast(k, "float64"); np.isclose(x, x + 1e-12); np.allclose(x, x); np.array_equal(x, x)
np.array_equal(x, y); np.isneginf(x); np.isposinf(x); np.zeros_like(x); np.ones_like(x, dtype=int); np.full_like(x, 3.0); np.zeros_like(x, shape=(2,))
np.lib.stride_tricks.sliding_window_view(y, 2); np.lib.stride_tricks.sliding_window_view(x, 2, axis=1)
np.linalg.cholesky(s); np.linalg.cross(x[:, :3], x[:, 1:]); np.linalg.det(s); np.linalg.diagonal(x); np.linalg.eigh(s); np.linalg.eigvalsh(s)
np.linalg.inv(s); np.linalg.matmul(s, x); np.linalg.matrix_norm(x); np.linalg.matrix_norm(x, ord=1); np.linalg.matrix_power(s, 3)
np.linalg.matrix_rank(s); np.linalg.matrix_transpose(x); np.linalg.multi_dot([s, x, y]); np.linalg.norm(x); np.linalg.norm(x, axis=0)
np.linalg.norm(y, 1); np.linalg.norm(x, "fro"); np.linalg.norm(x, axis=1, keepdims=True); np.linalg.outer(y, y); np.linalg.pinv(x); np.linalg.qr(s)
np.linalg.slogdet(s); np.linalg.solve(s, x); np.linalg.svd(s); np.linalg.svd(x, full_matrices=False); np.linalg.svdvals(x)
np.linalg.tensordot(s, x, axes=1); np.linalg.trace(s); np.linalg.vecdot(x, y); np.linalg.vector_norm(x); np.linalg.vector_norm(x, axis=1, ord=1)
np.add.reduce(x); np.add.reduce(x, axis=None); np.multiply.reduce(x, 1); np.maximum.reduce(x, axis=1, keepdims=True); np.minimum.reduce(x)
np.logical_and.reduce(b, axis=1); np.logical_or.reduce(b); np.add.accumulate(x); np.multiply.accumulate(x, axis=1); np.add.outer(y, y)
np.multiply.outer(x, y); np.vecdot(x, y); np.matmul(x, y); np.logaddexp2(x, y); np.float_power(s, 2.0); np.fabs(x); np.deg2rad(x); np.rad2deg(x)
np.left_shift(k, 1); np.bitwise_or(k, 1); np.invert(b); np.logical_xor(b, True); np.signbit(x); np.nextafter(x, 1.0); np.copysign(x, y)
np.floor_divide(x, y); np.remainder(x, y); np.fmod(x, y); np.rint(x); np.isfinite(x); np.greater(x, y); np.not_equal(x, 0.0)
"""  # noqa: E501
LIST = [text.strip() for text in CALLS.replace("\n", ";").split(";") if text.strip()]
# Not NumPy's values: uninitialized, in another order, random
OTHERS = {np.empty_like, np.unique_values, uniform_like, normal_like}

rng = np.random.default_rng(0)
VALUES = {
    "x": rng.choice([-1.0, 1.0], (3, 4)) * rng.uniform(0.3, 1.5, (3, 4)),
    "y": np.array([-0.7, 0.4, 1.2, -1.1]),
    "s": np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]]),
    "k": np.array([1, 0, 3, 1]),
    "b": np.array([[True, False, True, True], [False, False, True, True], [True, True, True, False]]),
}


def evaluate(text: str, **values: Any) -> Any:
    return eval(text, {"np": np, **values})


def asked(text: str) -> Any:
    """The NumPy function that a call asks for."""
    return eval(text.partition("(")[0], {"np": np})


def same(ours: Any, theirs: Any) -> None:
    """Equal values, shapes and dtypes, in tuples and lists too."""
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for x, y in zip(ours, theirs, strict=True):
            same(x, y)
    elif isinstance(theirs, np.ndarray | np.generic):
        value = ours.data if isinstance(ours, Tensor) else ours
        assert np.shape(value) == theirs.shape
        assert np.asarray(value).dtype == theirs.dtype
        np.testing.assert_allclose(value, theirs, rtol=1e-12, atol=1e-13)
    else:
        assert ours == theirs
        assert type(ours) is type(theirs)


@pytest.mark.parametrize("text", LIST)
def test_functions_agree_with_numpy(text: str) -> None:
    tensors = {name: Tensor(x, requires_grad=x.dtype.kind == "f") for name, x in VALUES.items()}
    same(evaluate(text, **tensors), evaluate(text, **VALUES))


def test_every_function_of_the_table_is_tested() -> None:
    missing = set(numpy_protocol.FUNCTIONS) - {asked(text) for text in LIST} - OTHERS
    assert not {numpy_protocol._name(f) for f in missing}


def test_every_ufunc_of_one_operand_works() -> None:
    """Those of floats, in the middle of all their domains."""
    for ufunc in numpy_protocol._UFUNCS:
        if ufunc.nin == 1 and "d->" in "".join(ufunc.types):
            a = np.array([0.25, 0.5]) + (ufunc is np.arccosh)
            same(ufunc(Tensor(a)), ufunc(a))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float16, np.float32, np.float64])
def test_float_power_is_double(dtype: Any) -> None:
    x = np.array([10, 2, 3], dtype)
    for y in (30, -1, 2.5, x, [1, 2, 3]):
        same(np.float_power(Tensor(x), y), np.float_power(x, y))
        same(np.float_power(y, Tensor(x)), np.float_power(y, x))
    if dtype is np.float32:
        leaf = Tensor(np.array([1e20], dtype), requires_grad=True)
        np.float_power(leaf, 1.5).backward()
        assert leaf.grad.dtype == dtype
        np.testing.assert_allclose(leaf.grad.numpy(), [1.5e10], rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int64, np.float32, np.float64])
def test_ufuncs_with_float_results_only(dtype: Any) -> None:
    x = np.array([np.iinfo(dtype).min if np.dtype(dtype).kind == "i" else 0, 1, 7], dtype)
    same(np.fabs(Tensor(x)), np.fabs(x))
    if np.dtype(dtype).kind == "f":
        same(np.logaddexp2(Tensor(x), Tensor(x)), np.logaddexp2(x, x))


def test_unique_values_are_sorted() -> None:
    assert np.unique_values(Tensor(VALUES["k"])).tolist() == [0, 1, 3]


def test_empty_like() -> None:
    made = np.empty_like(Tensor(VALUES["x"], requires_grad=True))
    assert isinstance(made, Tensor)
    assert made.shape == (3, 4)
    assert not made.requires_grad


@pytest.mark.parametrize("draw", [uniform_like, normal_like])
def test_random_numbers_like_a_tensor(draw: Any) -> None:
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    drawn = draw(x, np.random.default_rng(0))
    assert isinstance(drawn, Tensor)
    assert (drawn.shape, drawn.dtype, drawn.requires_grad) == ((2, 3), np.float32, False)
    assert drawn.tolist() == draw(x.data, np.random.default_rng(0)).tolist()


@pytest.mark.parametrize("make", [np.zeros_like, np.ones_like, np.array_equal, np.shape, np.ndim, np.size])
def test_functions_that_return_no_values_are_not_recorded(make: Any) -> None:
    x = Tensor(VALUES["x"], requires_grad=True)
    answer = make(x, x) if make is np.array_equal else make(x)
    assert getattr(answer, "node", None) is None


def test_numpy_defers_to_tensors() -> None:
    """With an array or a number on the left too, also for operators that NumPy could do itself."""
    x, a = Tensor(VALUES["x"], requires_grad=True), VALUES["x"]
    for result in (a + x, a @ x.T, a > x, 2.0 * x, np.float64(2.0) - x, np.float32(2.0) / x, a * x):
        assert isinstance(result, Tensor)
    (a * x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, a)


def test_methods_agree_with_the_functions() -> None:
    x = Tensor(VALUES["x"], requires_grad=True)
    for name in ("sum", "mean", "prod", "var", "std", "max", "min", "argmax", "argmin", "squeeze"):
        same(getattr(x, name)(), getattr(np, name)(VALUES["x"]))
    same(x.reshape(4, 3), VALUES["x"].reshape(4, 3))
    same(x.reshape((4, -1)), VALUES["x"].reshape(4, 3))
    same(x.transpose(), VALUES["x"].T)
    same(x.transpose(1, 0), VALUES["x"].T)
    same(x.flatten(), VALUES["x"].ravel())
    same(x.clip(-0.5, 0.5), VALUES["x"].clip(-0.5, 0.5))
    same(mg.exp(x), np.exp(VALUES["x"]))


@pytest.mark.parametrize(("call", "option"), [("take(x, k, mode='clip')", "mode"), ("sum(x, where=x > 0)", "where")])
def test_unsupported_arguments_are_refused_with_the_call(call: str, option: str) -> None:
    """An argument that would change the result is never dropped; the error repeats the call and says what is taken."""
    with pytest.raises(TypeError, match=rf"^np\.\w+\(.*: got an .*'{option}'\. On Tensors it takes \w, .*axis"):
        evaluate(f"np.{call}", x=Tensor(VALUES["x"]), k=VALUES["k"])


def test_divmod() -> None:
    x, y = np.array([7.5, -7.5, 3.0]), np.array([2.0, 2.0, -4.0])
    for a, b in ((Tensor(x), y), (x, Tensor(y)), (Tensor(x), Tensor(y))):
        for found in (divmod(a, b), np.divmod(a, b)):
            assert all(isinstance(part, Tensor) for part in found)
            for part, expected in zip(found, np.divmod(x, y), strict=True):
                np.testing.assert_array_equal(part.numpy(), expected)
    assert [part.tolist() for part in divmod(Tensor(x), 2)] == [[3.0, -4.0, 1.0], [1.5, 0.5, 1.0]]
    assert [part.tolist() for part in divmod(7, Tensor([2.0]))] == [[3.0], [1.0]]
    t = Tensor(x, requires_grad=True)
    divmod(t, y)[1].sum().backward()
    assert t.grad is not None
    assert t.grad.tolist() == [1, 1, 1]


def test_round_and_trunc_of_a_single_number() -> None:
    t = Tensor([2.567])
    assert (round(t), round(t, 1), math.trunc(t), math.trunc(-t), round(Tensor(3))) == (3, 2.6, 2, -2, 3)
    assert type(round(t)) is type(math.trunc(Tensor(3))) is int
    with mg.no_grad():
        assert round(Tensor([1.5], requires_grad=True)) == 2
