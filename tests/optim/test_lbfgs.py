"""L-BFGS and its line search: against a dense matrix, on Rosenbrock's function and on a logistic regression."""

import copy
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim
from minigrad.optim.line_search import Point, strong_wolfe


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def bowl(x):
    """Convex, not quadratic, different curvatures in all directions."""
    scale = np.arange(1.0, x.shape[0] + 1)
    return np.sum(scale * x * x) / 2 + np.sum(np.cosh(x - scale / 5)) + np.sum(x) ** 2


def closure_of(optimizer, params, f):
    def closure():
        optimizer.zero_grad()
        loss = f(*params)
        loss.backward()
        return loss

    return closure


def minimize(f, x, calls=1, **options):
    w = mg.Tensor(x, requires_grad=True)
    optimizer = optim.LBFGS([w], **options)
    for _ in range(calls):
        optimizer.step(closure_of(optimizer, [w], f))
    return w.numpy().copy(), optimizer


def dense(f, x, steps, lr, history_size):
    """The same steps with the matrix H written out (Nocedal & Wright 2006, equation 7.16)."""
    x, pairs, old = x.copy(), [], None
    for step in range(steps):
        g = mg.grad(f)(x)
        if old is not None:
            s, y = x - old[0], g - old[1]
            pairs = [*pairs, (s, y)][-history_size:]
        H = np.eye(x.size) * (pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1]) if pairs else 1)
        for s, y in pairs:
            V = np.eye(x.size) - np.outer(y, s) / (s @ y)
            H = V.T @ H @ V + np.outer(s, s) / (s @ y)
        old = x, g
        x = x - (lr if step else lr * min(1, 1 / abs(g).sum())) * H @ g
    return x


@pytest.mark.parametrize("history_size", [1, 3, 100])
def test_equations(history_size):
    start = np.random.default_rng(0).standard_normal(6)
    options = {"lr": 0.1, "history_size": history_size, "tolerance_grad": 0.0, "tolerance_change": 0.0}
    found, optimizer = minimize(bowl, start, calls=5, max_iter=10, **options)
    assert optimizer.iterations == 50
    np.testing.assert_allclose(found, dense(bowl, start, 50, 0.1, history_size), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("n", [2, 10])
def test_rosenbrock(n):
    start = np.where(np.arange(n) % 2, 1.0, -1.2)
    found, optimizer = minimize(rosenbrock, start, calls=10, tolerance_change=1e-15, line_search_fn="strong_wolfe")
    np.testing.assert_allclose(found, np.ones(n), rtol=0, atol=1e-6)
    assert optimizer.evaluations < 200


def test_logistic_regression():
    """The minimum is known from Newton's method."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4))
    y = np.where(x @ [1.0, -2.0, 0.5, 0.0] + rng.standard_normal(60) > 0.3, 1.0, -1.0)
    best = np.zeros(5)
    ones = np.hstack([x, np.ones((60, 1))])
    for _ in range(30):
        p = 1 / (1 + np.exp(y * (ones @ best)))
        slope = -ones.T @ (p * y) / 60 + 0.02 * best
        best -= np.linalg.solve(ones.T @ (ones * (p * (1 - p))[:, None]) / 60 + 0.02 * np.eye(5), slope)
    assert abs(slope).max() < 1e-14

    w, b = mg.Tensor(np.zeros((4, 1)), requires_grad=True), mg.Tensor(np.zeros(1), requires_grad=True)
    optimizer = optim.LBFGS([w, b], max_iter=100, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss(w, b):
        logits = (x @ w + b)[:, 0]
        return np.mean(np.logaddexp(0, -y * logits)) + 0.01 * (np.sum(w * w) + np.sum(b * b))

    first = optimizer.step(closure_of(optimizer, [w, b], loss))
    assert first.item() == pytest.approx(math.log(2), rel=1e-12)
    np.testing.assert_allclose(np.append(w.numpy(), b.numpy()), best, atol=1e-6)


LINES = {
    "quadratic": (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
    "far": (lambda t: (t / 100 - 3) ** 2, lambda t: 2 * (t / 100 - 3) / 100),
    "near": (lambda t: (100 * t - 3) ** 2, lambda t: 200 * (100 * t - 3)),
    "waves": (lambda t: math.cos(5 * t) - t + t * t / 9, lambda t: -5 * math.sin(5 * t) - 1 + 2 * t / 9),
    "wall": (
        lambda t: -4 * t - math.log(0.4 - t) if t < 0.4 else math.nan,
        lambda t: -4 + 1 / (0.4 - t) if t < 0.4 else math.nan,
    ),
    "fraction": (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),
}


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("c2", [0.9, 0.1])
@pytest.mark.parametrize("name", LINES)
def test_strong_wolfe(name, first, c2):
    f, slope = LINES[name]
    seen = []

    def at(t):
        seen.append(t)
        return Point(t, f(t), slope(t), None)

    found = strong_wolfe(at, Point(0.0, f(0), slope(0), None), first, c2=c2)
    assert found.t in seen
    assert len(seen) <= 25
    assert f(found.t) <= f(0) + 1e-4 * found.t * slope(0)
    assert abs(slope(found.t)) <= c2 * abs(slope(0))


def test_a_line_search_without_a_result_returns_the_start():
    """The slope promises a decrease that there is not."""
    found = strong_wolfe(lambda t: Point(t, 1 + t, -1.0, None), Point(0.0, 1.0, -1.0, None), 1.0, tolerance=1e-9)
    assert found.t == 0


def test_parameters_stay_if_the_loss_does_not_fall():
    w = mg.Tensor(np.ones(2), requires_grad=True)
    optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe")

    def closure():
        w.grad = -w.data
        return (w * w).sum()

    optimizer.step(closure)
    np.testing.assert_array_equal(w.numpy(), np.ones(2))


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_resumes_bit_for_bit(line_search_fn):
    options = {"lr": 0.2, "max_iter": 3, "history_size": 4, "line_search_fn": line_search_fn}
    start = np.random.default_rng(0).standard_normal(6)
    found, optimizer = minimize(bowl, start, calls=2, **options)
    state, before = copy.deepcopy(optimizer.state_dict()), found.copy()
    w = mg.Tensor(found, requires_grad=True)
    resumed = optim.LBFGS([w], lr=0.7)
    resumed.load_state_dict(state)
    (other,) = optimizer.param_groups[0]["params"]
    for _ in range(2):
        optimizer.step(closure_of(optimizer, [other], bowl))
        resumed.step(closure_of(resumed, [w], bowl))
        np.testing.assert_array_equal(w.numpy(), other.numpy())
    assert not np.allclose(w.numpy(), before, atol=1e-6)


def test_single_precision_is_kept():
    found, optimizer = minimize(rosenbrock, np.zeros(2, np.float32), calls=5, line_search_fn="strong_wolfe")
    assert found.dtype == np.float32
    assert {x.dtype for s, y, _ in optimizer.pairs for x in (s, y)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(found, [1, 1], atol=1e-2)


def test_parameters_without_a_gradient_are_unchanged():
    w, idle = (mg.Tensor(np.ones(2), requires_grad=True) for _ in range(2))
    optimizer = optim.LBFGS([w, idle], line_search_fn="strong_wolfe")
    optimizer.step(closure_of(optimizer, [w], lambda w: (w * w).sum()))
    np.testing.assert_allclose(w.numpy(), 0, atol=1e-6)
    np.testing.assert_array_equal(idle.numpy(), np.ones(2))


def test_other_optimizers_accept_a_closure():
    w = mg.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.5)
    with mg.no_grad():
        loss = optimizer.step(closure_of(optimizer, [w], lambda w: (w * w).sum()))
    assert loss.item() == 5
    np.testing.assert_array_equal(w.numpy(), np.zeros(2))


def w(dtype=float):
    return mg.Tensor(np.ones(2, dtype), requires_grad=True)


BAD = {
    "no closure": (lambda: optim.LBFGS([w()]).step(), TypeError, "needs a closure"),
    "groups": (lambda: optim.LBFGS([{"params": [w()]}, {"params": [w()]}]), ValueError, "one group only"),
    "dtypes": (lambda: optim.LBFGS([w(), w(np.float32)]), ValueError, "one dtype"),
    "no numbers": (lambda: optim.LBFGS([mg.Tensor(np.ones(0), requires_grad=True)]), ValueError, "none with elements"),
    "max_iter": (lambda: optim.LBFGS([w()], max_iter=0), ValueError, "max_iter=0"),
    "history_size": (lambda: optim.LBFGS([w()], history_size=0), ValueError, "history_size=0"),
    "tolerance": (lambda: optim.LBFGS([w()], tolerance_grad=-1.0), ValueError, "tolerance_grad=-1.0"),
    "line search": (lambda: optim.LBFGS([w()], line_search_fn="armijo"), ValueError, "'armijo'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, says = BAD[name]
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize(("power", "first"), [(0.5, [0.0, 1.0]), (8.0, [1e45, 1.0])])
def test_a_gradient_that_is_not_finite_warns(power, first):
    w = mg.Tensor(first, requires_grad=True)
    optimizer = optim.LBFGS([w])
    with (
        np.errstate(all="ignore"),
        pytest.warns(
            RuntimeWarning, match=r"LBFGS.step ended: 1 of 2 elements of the gradient.*The parameters are unchanged"
        ),
    ):
        optimizer.step(closure_of(optimizer, [w], lambda w: (w**power).sum()))
    assert w.tolist() == first


def test_a_gradient_that_is_not_finite_after_a_step_warns():
    w = mg.Tensor([1.0], requires_grad=True)
    optimizer = optim.LBFGS([w], lr=1.0)
    with (
        np.errstate(all="ignore"),
        pytest.warns(RuntimeWarning, match=r"1 of 1 elements of the gradient.*those after the last step"),
    ):
        optimizer.step(closure_of(optimizer, [w], lambda w: mg.sqrt(w).sum() * 4))
    assert w.item() <= 0


def test_state_that_does_not_fit():
    _, optimizer = minimize(bowl, np.ones(4))
    other = optim.LBFGS([w()])
    with pytest.raises(ValueError, match=r"expected a history of shape \(2,\), got \(4,\)"):
        other.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="there is no history"):
        other.load_state_dict(optim.SGD([w()], lr=0.1).state_dict())
    assert not other.pairs
