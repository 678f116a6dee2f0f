"""Transforms of data against their definitions; every inverse gives the data back."""

import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad.preprocessing import MinMax, Standardize, Whiten
from minigrad.verify import assert_gradients

rng = np.random.default_rng(2)
MIX = rng.standard_normal((4, 4))
X = rng.standard_normal((50, 4)) @ MIX * np.array([1.0, 20.0, 0.1, 3.0]) + np.array([100.0, -3.0, 0.0, 1.0])
NEW = X[:7] * 1.3 + 0.5
TRANSFORMS = [Standardize, MinMax, lambda: MinMax(-2, 3), Whiten, lambda: Whiten("zca"), lambda: Whiten("zca", 0.1)]


def covariance(z):
    centered = z - z.sum(axis=0) / len(z)
    return np.array([[(centered[:, i] * centered[:, j]).sum() / len(z) for j in range(4)] for i in range(4)])


def test_standardize():
    z = Standardize().fit_transform(X)
    for column, found in zip(X.T, z.T, strict=True):
        mean = sum(column) / 50
        std = (sum((column - mean) ** 2) / 50) ** 0.5
        np.testing.assert_allclose(found, (column - mean) / std, rtol=1e-10, atol=1e-12)


def test_min_max():
    scaler = MinMax(-2, 3).fit(X)
    z = scaler.transform(X)
    np.testing.assert_allclose(z.min(axis=0), -2, rtol=1e-12)
    np.testing.assert_allclose(z.max(axis=0), 3, rtol=1e-12)
    low, high = X.min(axis=0), X.max(axis=0)
    np.testing.assert_allclose(scaler.transform(NEW), -2 + 5 * (NEW - low) / (high - low), rtol=1e-10)


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_whitened_features_are_uncorrelated(method):
    z = Whiten(method).fit_transform(X)
    np.testing.assert_allclose(covariance(z), np.eye(4), atol=1e-10)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-10)


def test_principal_components_by_eigenvectors():
    whiten = Whiten("pca").fit(X)
    values, vectors = np.linalg.eigh(covariance(X))
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(4)])
    np.testing.assert_allclose(whiten.variances, values, rtol=1e-9)
    np.testing.assert_allclose(whiten.transform(X), (X - X.mean(axis=0)) @ vectors / np.sqrt(values), atol=1e-9)


def test_zca_is_the_symmetric_root():
    """z = (x - μ) W with W symmetric and W (Σ + ε) W = 1."""
    for eps in (0.0, 0.3):
        whiten = Whiten("zca", eps).fit(X)
        w = whiten.transform(np.eye(4) + X.mean(axis=0))
        np.testing.assert_allclose(w, w.T, atol=1e-9)
        np.testing.assert_allclose(w @ (covariance(X) + eps * np.eye(4)) @ w, np.eye(4), atol=1e-9)


@pytest.mark.parametrize("make", TRANSFORMS)
def test_inverse(make):
    transform = make().fit(X)
    np.testing.assert_allclose(transform.inverse_transform(transform.transform(NEW)), NEW, rtol=1e-10, atol=1e-9)
    np.testing.assert_array_equal(transform.fit_transform(X), make().fit(X).transform(X))
    again = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(again.transform(NEW), transform.transform(NEW))


@pytest.mark.parametrize("make", TRANSFORMS)
def test_dtypes_axes_and_tensors(make):
    single = X.astype(np.float32)
    transform = make().fit(single)
    z = transform.transform(single)
    assert z.dtype == transform.inverse_transform(z).dtype == np.float32
    whole = make().fit(np.round(X * 10).astype(int))
    assert whole.transform(np.ones((2, 4), int)).dtype == np.float64
    transform = make().fit(X)
    stacked = make().fit(X.reshape(5, 10, 4))
    np.testing.assert_allclose(stacked.transform(X.reshape(5, 10, 4)).reshape(50, 4), transform.transform(X))
    assert isinstance(transform.transform(mg.Tensor(NEW)), mg.Tensor)
    assert_gradients(lambda x: transform.inverse_transform(np.sin(transform.transform(x))), X[:3])


def test_constant_features():
    x = X.copy()
    x[:, [1, 3]] = 0.1
    for make in (Standardize, MinMax):
        with pytest.raises(ValueError, match=r"\(\(50, 4\) float64\): columns 1, 3 are constant.*keep"):
            make().fit(x)
        kept = make(constant="keep").fit(x)
        assert not kept.transform(x)[:, [1, 3]].any()
        np.testing.assert_allclose(kept.inverse_transform(kept.transform(NEW)), NEW, rtol=1e-10)
    np.testing.assert_allclose(Standardize("keep").fit_transform(x)[:, 0], Standardize().fit_transform(X)[:, 0])


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_linearly_dependent_features(method):
    x = np.concatenate([X, X[:, :1] + X[:, 1:2]], axis=1)
    with pytest.raises(ValueError, match=r"only 4 of 5 directions vary.*eps=1e-3"):
        Whiten(method).fit(x)
    with pytest.raises(ValueError, match="only 2 of 4 directions"):
        Whiten(method).fit(X[:3])
    damped = Whiten(method, eps=1e-2).fit(X[:3])
    np.testing.assert_allclose(damped.inverse_transform(damped.transform(NEW)), NEW, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Standardize().transform(X), ValueError, "Standardize().transform((50, 4) float64): not fitted yet"),
        (lambda: Whiten().inverse_transform(X), ValueError, "Whiten('pca').inverse_transform("),
        (lambda: MinMax().fit(X).transform(X[:, :3]), ValueError, "fitted on 4 features"),
        (lambda: MinMax().fit(X).transform(1.0), ValueError, "fitted on 4 features"),
        (lambda: MinMax().fit(X[:, 0]), ValueError, "x[:, None]"),
        (lambda: MinMax().fit(X[:0]), ValueError, "N >= 1"),
        (lambda: Standardize().fit(np.where(X > 100, np.nan, X)), ValueError, "not finite everywhere"),
        (lambda: Standardize().fit(X.astype(str)), TypeError, "an array of numbers"),
        (lambda: MinMax(1, 1), ValueError, "low must be less than high"),
        (lambda: MinMax(constant="drop"), ValueError, "MinMax(constant='drop'): must be 'error' or 'keep'"),
        (lambda: Whiten("ica"), ValueError, "Whiten(method='ica'): must be 'pca' or 'zca'"),
        (lambda: Whiten(eps=-1), ValueError, "Whiten(eps=-1): must not be negative"),
    ],
)
def test_bad_input(call, error, says):
    with pytest.raises(error) as raised:
        call()
    assert says in str(raised.value)


def test_reached_from_the_package():
    assert mg.preprocessing.Standardize is Standardize


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("float16", 1), ("float16", 100), ("float32", 1e25), ("float32", 1e-25), ("float64", 1e200), ("float64", 1e-200)],
)
@pytest.mark.parametrize("make", TRANSFORMS[:5])
def test_over_the_whole_range_of_a_dtype(make, dtype, scale):
    """What is normalized does not depend on the unit, though squares leave the range of the dtype."""
    x = (X * scale).astype(dtype)
    expected = make().fit(x.astype(float) / scale)
    transform = make().fit(x)
    z = transform.transform(x)
    assert z.dtype == dtype
    rtol = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(z, expected.transform(x.astype(float) / scale), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(transform.inverse_transform(z).astype(float) / scale, X, rtol=rtol, atol=rtol * 20)
    assert transform.transform(mg.Tensor(x)).dtype == dtype


def test_a_mean_whose_sum_overflows():
    x = np.array([[1.0], [1.5], [1.7]])
    np.testing.assert_allclose(Standardize().fit(x * 1e308).transform(x * 1e308), Standardize().fit_transform(x))


@pytest.mark.parametrize("make", TRANSFORMS)
def test_features_wider_than_the_dtype_are_refused(make):
    with pytest.raises(ValueError, match="column 0 is wider than the range of float32"):
        make().fit(np.array([[-3e38, 1], [3e38, 2], [0, 5]], np.float32))
