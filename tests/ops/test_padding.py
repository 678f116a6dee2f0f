"""np.pad in every mode, against NumPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((mode, {}) for mode in ("constant", "edge", "reflect", "symmetric", "wrap")),
    *((mode, {}) for mode in ("maximum", "mean", "median", "minimum", "linear_ramp")),
    ("constant", {"constant_values": 3}),
    ("constant", {"constant_values": (1, 2)}),
    ("maximum", {"stat_length": 2}),
    ("mean", {"stat_length": (1, 3)}),
    ("median", {"stat_length": 2}),
    ("linear_ramp", {"end_values": (1, 5)}),
    ("reflect", {"reflect_type": "even"}),
]
IDS = [f"{mode} {options}" for mode, options in OPTIONS]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8"])
@pytest.mark.parametrize(("mode", "options"), OPTIONS, ids=IDS)
def test_values(mode: str, options: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    for shape in ((5,), (3, 4), (2, 3, 4)):
        x = (rng.normal(size=shape) * 5).astype(dtype) if dtype != "uint8" else rng.integers(0, 9, shape).astype(dtype)
        for widths in (0, 1, (1, 0), (0, 2), [(1, 2)] * len(shape)):
            if mode == "reflect" and np.max(widths) >= min(shape):
                continue
            expected = np.pad(x, widths, mode, **options)
            for actual in (np.pad(Tensor(x), widths, mode, **options), mg.pad(x, widths, mode, **options)):
                actual = np.asarray(actual)
                assert actual.dtype == expected.dtype
                np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("mode", "options"), OPTIONS, ids=IDS)
def test_gradients(mode: str, options: dict[str, Any]) -> None:
    x = np.random.default_rng(1).normal(size=(3, 4))
    assert mg.verify.check_gradients(lambda t: np.sin(mg.pad(t, [(1, 2), (2, 0)], mode, **options)), x).ok


def test_widths_as_a_dictionary_of_axes_and_mode_empty() -> None:
    x = np.ones((2, 3))
    assert np.pad(Tensor(x), {-1: (1, 2)}).shape == (2, 6)
    assert mg.pad(x, 1, "empty")[1:-1, 1:-1].tolist() == x.tolist()


ERRORS: dict[str, tuple[Any, str]] = {
    "a mode that does not exist": (lambda x: mg.pad(x, 1, "nonsense"), "mode must be one of constant, edge"),
    "a function": (lambda x: np.pad(x, 1, lambda *a: None), "mode must be one of constant, edge"),
    "a negative width": (lambda x: mg.pad(x, -1), "widths must not be negative"),
    "an option of another mode": (lambda x: mg.pad(x, 1, "edge", stat_length=2), "mode 'edge' takes no options"),
    "odd reflections": (lambda x: np.pad(x, 1, "reflect", reflect_type="odd"), "takes no options"),
    "three widths": (lambda x: mg.pad(x, (1, 2, 3)), "nor a pair for each of 2 axes"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors(what: str) -> None:
    call, message = ERRORS[what]
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        call(Tensor(np.ones((2, 3))))


# NumPy's own names of parameters

X = np.array([[1.0, 2.0], [3.0, 5.0]])
NAMED: dict[str, tuple[Any, Any]] = {
    "clip(a_min, a_max)": (lambda t: np.clip(t, a_min=2, a_max=4), np.clip(X, 2, 4)),
    "clip(a, a_max)": (lambda t: np.clip(a=t, a_max=4), np.minimum(X, 4)),
    "tile(A, reps)": (lambda t: np.tile(A=t, reps=2), np.tile(X, 2)),
    "sum(a, axis)": (lambda t: np.sum(a=t, axis=0), X.sum(0)),
    "mean(a)": (lambda t: np.mean(a=t), X.mean()),
    "std(dtype)": (lambda t: np.std(t, dtype=np.float32), X.std(dtype=np.float32)),
    "var by position": (lambda t: np.var(t, 0, None, None, 1), X.var(0, ddof=1)),
    "outer(a, b)": (lambda t: np.outer(a=t[0], b=t[1]), np.outer(X[0], X[1])),
    "linalg.inv(a)": (lambda t: np.linalg.inv(a=t), np.linalg.inv(X)),
    "broadcast_to(array)": (lambda t: np.broadcast_to(array=t, shape=(3, 2, 2)), np.broadcast_to(X, (3, 2, 2))),
    "transpose(one axis)": (lambda t: np.transpose(t[0], 0), X[0]),
    "diff(n=0)": (lambda t: np.diff(t, n=0, prepend=0.0), np.diff(X, n=0, prepend=0.0)),
    "diff(prepend)": (lambda t: mg.diff(t, prepend=0.0), np.diff(X, prepend=0.0)),
}


@pytest.mark.parametrize("what", NAMED)
def test_parameter_names_of_numpy(what: str) -> None:
    call, expected = NAMED[what]
    actual = call(Tensor(X))
    assert isinstance(actual, Tensor)
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)


def test_errors_have_reasons() -> None:
    t = Tensor(X)
    with pytest.raises(ValueError, match=r"axes \(0,\) are not a permutation"):
        np.transpose(t, 0)
    with pytest.raises(TypeError, match=r"np.sum\(\(2, 2\) float64, initial=3\): got an unexpected keyword"):
        np.sum(t, initial=3)
    with pytest.raises(ValueError, match="n must not be negative"):
        np.diff(t, n=-1)
    with pytest.raises(ValueError, match="vectors of 3 and 1 elements have no inner product"):
        mg.vecdot(np.ones(3), np.ones(1))
    with pytest.raises(ValueError, match="vectors of 3 and 1 elements have no angle"):
        mg.functional.cosine_similarity(np.ones((2, 3)), np.ones((2, 1)))


def test_prelu_of_a_single_number() -> None:
    for alpha in (np.array([0.25]), np.array(0.25)):
        y = mg.functional.prelu(Tensor(-2.0), alpha)
        assert (y.shape, float(y)) == ((), -0.5)
