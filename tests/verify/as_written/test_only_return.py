"""A backward function that returns one expression without a name: the gradient of the input that it fits."""

import numpy as np

import minigrad as mg


def logistic_forward(x, w):
    z = x @ w
    p = 1 / (1 + np.exp(-z))
    return p, (x, p)


def logistic_backward(dp, cache):
    x, p = cache
    dz = dp * p * (1 - p)
    return x.T @ dz


def logistic_backward_wrong(dp, cache):
    x, p = cache
    dz = dp * (1 - p)
    return x.T @ dz


def _check(backward, *shapes):
    rng = np.random.default_rng(0)
    return mg.verify.check_backward(logistic_forward, backward, *[rng.normal(size=s) for s in shapes])


def test_the_gradient_of_the_second_input_by_its_shape():
    report = _check(logistic_backward, (6, 3), (3,))
    assert report.ok, str(report)
    assert report.whole["w"] is True


def test_the_gradient_of_the_second_input_where_both_have_one_shape():
    report = _check(logistic_backward, (4, 4), (4, 4))
    assert report.ok, str(report)
    assert report.whole["w"] is True


def test_a_mistake_is_blamed_on_its_line_only():
    report = _check(logistic_backward_wrong, (6, 3), (3,))
    assert [line.path for line in report.wrong] == ["dz"]
