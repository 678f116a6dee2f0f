"""Optimizers against their published equations, written here a second time, one parameter at a time."""

import copy
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim

SHAPES = [(3, 2), (2,), (), (4, 1, 2)]
STEPS = 50


def starting_point(seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES]


def gradients_at(values, step):
    """A gradient that depends on the place and on the step."""
    return [np.sin(x + step) + 0.3 * x for x in values]


def parameters(dtype=float):
    return [mg.Tensor(x, requires_grad=True) for x in starting_point(dtype=dtype)]


def run(optimizer, params, steps=STEPS, first=0, skip=lambda step, k: False):
    for step in range(first, first + steps):
        optimizer.zero_grad()
        for k, (p, g) in enumerate(zip(params, gradients_at([p.data for p in params], step), strict=True)):
            if not skip(step, k):
                p.grad = mg.Tensor(g)
        optimizer.step()
    return [p.numpy().copy() for p in params]


def reference(rule, steps=STEPS, skip=lambda step, k: False):
    values, states = starting_point(), [{} for _ in SHAPES]
    for step in range(steps):
        for k, g in enumerate(gradients_at(values, step)):
            if not skip(step, k):
                states[k]["t"] = states[k].get("t", 0) + 1
                values[k] = rule(values[k], g, states[k])
    return values


def sgd(lr, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
    def rule(p, g, state):
        g = g + weight_decay * p
        if momentum:
            v = momentum * state["v"] + (1 - dampening) * g if "v" in state else g
            state["v"] = v
            g = g + momentum * v if nesterov else v
        return p - lr * g

    return rule


def adam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    b1, b2 = betas

    def rule(p, g, state):
        t = state["t"]
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        s = state["s"] = b2 * state.get("s", 0) + (1 - b2) * g * g
        if amsgrad:
            s = state["top"] = np.maximum(state.get("top", 0), s)
        return p - lr * (m / (1 - b1**t)) / (np.sqrt(s / (1 - b2**t)) + eps)

    return rule


def adagrad(lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    def rule(p, g, state):
        g = g + weight_decay * p
        total = state["sum"] = state.get("sum", initial_accumulator_value) + g**2
        return p - lr / (1 + (state["t"] - 1) * lr_decay) * g / (np.sqrt(total) + eps)

    return rule


def rmsprop(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    def rule(p, g, state):
        g = g + weight_decay * p
        second = state["second"] = alpha * state.get("second", 0) + (1 - alpha) * g**2
        if centered:
            first = state["first"] = alpha * state.get("first", 0) + (1 - alpha) * g
            second = second - first**2
        state["v"] = momentum * state.get("v", 0) + g / (np.sqrt(second) + eps)
        return p - lr * state["v"]

    return rule


def adadelta(lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    def rule(p, g, state):
        g = g + weight_decay * p
        second = state["second"] = rho * state.get("second", 0) + (1 - rho) * g**2
        change = np.sqrt(state.get("change", 0) + eps) / np.sqrt(second + eps) * g
        state["change"] = rho * state.get("change", 0) + (1 - rho) * change**2
        return p - lr * change

    return rule


def adamax(lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    def rule(p, g, state):
        g = g + weight_decay * p
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        u = state["u"] = np.maximum(betas[1] * state.get("u", 0), abs(g) + eps)
        return p - lr / (1 - betas[0] ** state["t"]) * m / u

    return rule


def nadam(lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False):
    def momentum(t):
        return betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def rule(p, g, state):
        t = state["t"]
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        s = state["s"] = betas[1] * state.get("s", 0) + (1 - betas[1]) * g**2
        products = np.cumprod([momentum(k) for k in range(1, t + 2)])
        ahead = momentum(t + 1) * m / (1 - products[-1]) + (1 - momentum(t)) * g / (1 - products[-2])
        return p - lr * ahead / (np.sqrt(s / (1 - betas[1] ** t)) + eps)

    return rule


def radam(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False):
    def rule(p, g, state):
        t, (b1, b2) = state["t"], betas
        if decoupled_weight_decay:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = state["m"] = b1 * state.get("m", 0) + (1 - b1) * g
        s = state["s"] = b2 * state.get("s", 0) + (1 - b2) * g**2
        far = 2 / (1 - b2) - 1
        rho = far - 2 * t * b2**t / (1 - b2**t)
        if rho <= 5:
            return p - lr * m / (1 - b1**t)
        r = math.sqrt((rho - 4) * (rho - 2) * far / ((far - 4) * (far - 2) * rho))
        return p - lr * m / (1 - b1**t) * r * math.sqrt(1 - b2**t) / (np.sqrt(s) + eps)

    return rule


def lion(lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    def rule(p, g, state):
        m = state.get("m", 0)
        state["m"] = betas[1] * m + (1 - betas[1]) * g
        return p - lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)

    return rule


CASES = {
    "sgd": (optim.SGD, sgd, {"lr": 0.05}),
    "momentum": (optim.SGD, sgd, {"lr": 0.05, "momentum": 0.9}),
    "dampening": (optim.SGD, sgd, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    "nesterov": (optim.SGD, sgd, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "sgd, decay": (optim.SGD, sgd, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    "nesterov, decay": (optim.SGD, sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adam": (optim.Adam, adam, {}),
    "adam, betas": (optim.Adam, adam, {"lr": 0.02, "betas": (0.7, 0.9), "eps": 1e-3}),
    "adam, no first moment": (optim.Adam, adam, {"lr": 0.02, "betas": (0.0, 0.9)}),
    "adam, decay": (optim.Adam, adam, {"lr": 0.02, "weight_decay": 0.1}),
    "amsgrad": (optim.Adam, adam, {"lr": 0.02, "betas": (0.7, 0.6), "amsgrad": True}),
    "adamw": (optim.AdamW, lambda **o: adam(decoupled=True, **({"weight_decay": 1e-2} | o)), {"lr": 0.02}),
    "adamw, decay": (optim.AdamW, lambda **o: adam(decoupled=True, **o), {"lr": 0.02, "weight_decay": 0.3}),
    "adagrad": (optim.Adagrad, adagrad, {}),
    "adagrad, all": (
        optim.Adagrad,
        adagrad,
        {"lr": 0.1, "lr_decay": 0.03, "weight_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3},
    ),
    "rmsprop": (optim.RMSprop, rmsprop, {}),
    "rmsprop, momentum": (optim.RMSprop, rmsprop, {"momentum": 0.8, "weight_decay": 0.1}),
    "rmsprop, centered": (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-2, "centered": True}),
    "rmsprop, both": (optim.RMSprop, rmsprop, {"alpha": 0.9, "eps": 1e-2, "centered": True, "momentum": 0.5}),
    "adadelta": (optim.Adadelta, adadelta, {}),
    "adadelta, all": (optim.Adadelta, adadelta, {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    "adamax": (optim.Adamax, adamax, {}),
    "adamax, all": (optim.Adamax, adamax, {"lr": 0.02, "betas": (0.7, 0.8), "eps": 1e-2, "weight_decay": 0.1}),
    "nadam": (optim.NAdam, nadam, {}),
    "nadam, all": (
        optim.NAdam,
        nadam,
        {"lr": 0.02, "betas": (0.7, 0.8), "eps": 1e-2, "weight_decay": 0.1, "momentum_decay": 0.5},
    ),
    "nadam, decoupled": (optim.NAdam, nadam, {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    "radam": (optim.RAdam, radam, {}),
    "radam, all": (optim.RAdam, radam, {"lr": 0.02, "betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    "radam, never rectified": (optim.RAdam, radam, {"betas": (0.7, 0.6)}),
    "radam, decoupled": (optim.RAdam, radam, {"weight_decay": 0.3, "decoupled_weight_decay": True}),
    "lion": (optim.Lion, lion, {}),
    "lion, decay": (optim.Lion, lion, {"lr": 0.003, "betas": (0.7, 0.8), "weight_decay": 0.3}),
}


@pytest.fixture(params=CASES)
def case(request):
    make, rule, options = CASES[request.param]
    return (lambda params: make(params, **options)), rule(**options)


def assert_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


def test_equations(case):
    make, rule = case
    params = parameters()
    assert_close(run(make(params), params), reference(rule))


def test_parameters_without_a_gradient_keep_their_state(case):
    """Parameter 1 never has one, 2 misses every third step, 3 begins late."""
    make, rule = case
    params = parameters()

    def skip(step, k):
        return k == 1 or (k == 2 and step % 3 == 0) or (k == 3 and step < 10)

    assert_close(run(make(params), params, skip=skip), reference(rule, skip=skip))


def test_resumes_bit_for_bit(case):
    make, _ = case
    params = parameters()
    optimizer = make(params)

    def skip(step, k):
        return k == 1 and step == 3

    run(optimizer, params, 20, skip=skip)
    state, values = copy.deepcopy(optimizer.state_dict()), [p.numpy().copy() for p in params]
    expected = run(optimizer, params, 20, first=20)
    again = [mg.Tensor(x, requires_grad=True) for x in values]
    resumed = make(again)
    resumed.load_state_dict(state)
    for a, b in zip(run(resumed, again, 20, first=20), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_single_precision_is_kept(case):
    make, rule = case
    params = parameters(np.float32)
    optimizer = make(params)
    found = run(optimizer, params)
    (flat,) = optimizer.param_groups[0].flats
    arrays = [flat.data, flat.gradient, flat.work, flat.lr, *flat.state.values(), *found]
    assert {x.dtype for x in arrays} == {np.dtype(np.float32)}
    for a, b in zip(found, reference(rule), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


class Counting(np.ndarray):
    """An array that counts the ufuncs that are called on it and on all that comes of it."""

    calls = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        Counting.calls += 1
        plain = [np.asarray(x) if isinstance(x, Counting) else x for x in inputs]
        targets = {} if out is None else {"out": tuple(np.asarray(x) for x in out)}
        result = getattr(ufunc, method)(*plain, **targets, **options)
        return out[0] if out is not None else np.asarray(result).view(Counting)


def test_a_step_costs_the_same_for_any_number_of_parameters(case):
    make, _ = case
    counts = []
    for number in (1, 40):
        params = [mg.Tensor(np.ones(3), requires_grad=True) for _ in range(number)]
        optimizer = make(params)
        (flat,) = optimizer.param_groups[0].flats
        flat.gradient = flat.gradient.view(Counting)
        flat.work = flat.work.view(Counting)
        flat.state = {name: x.view(Counting) for name, x in flat.state.items()}
        for p in params:
            p.grad = np.ones(3)
        Counting.calls = 0
        optimizer.step()
        counts.append(Counting.calls)
    assert counts[0] == counts[1] > 0


def test_first_adam_step_is_the_learning_rate():
    """m̂/√ŝ = g/|g| after one step, in single precision as well: 1 - 0.999 must not cancel."""
    p = mg.Tensor(np.zeros(3, np.float32), requires_grad=True)
    p.grad = np.array([3e-3, -20.0, 1.0], np.float32)
    optim.Adam([p], lr=0.5).step()
    np.testing.assert_allclose(p.numpy(), [-0.5, 0.5, -0.5], rtol=5e-6)


def test_groups_have_their_own_options():
    params = parameters()
    groups = [{"params": params[:2], "lr": 0.1}, {"params": params[2:], "momentum": 0.9}]
    found = run(optim.SGD(groups, lr=0.01), params)
    assert_close(found[:2], reference(sgd(0.1))[:2])
    assert_close(found[2:], reference(sgd(0.01, momentum=0.9))[2:])


def test_dtypes_of_one_group():
    values = starting_point()
    params = [mg.Tensor(x, requires_grad=True, dtype=np.float32 if k % 2 else float) for k, x in enumerate(values)]
    optimizer = optim.Adam(params, lr=0.02)
    found = run(optimizer, params)
    assert [x.dtype for x in found] == [np.float64, np.float32, np.float64, np.float32]
    expected = reference(adam(0.02))
    assert_close(found[::2], expected[::2])
    for a, b in zip(found[1::2], expected[1::2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


def test_learning_rate_may_change():
    params = parameters()
    optimizer = optim.SGD(params, lr=0.1)
    run(optimizer, params, 3)
    optimizer.param_groups[0]["lr"] = 0.02
    found = run(optimizer, params, 3, first=3)
    values = starting_point()
    for step in range(6):
        values = [p - (0.1 if step < 3 else 0.02) * g for p, g in zip(values, gradients_at(values, step), strict=True)]
    assert_close(found, values)


def test_parameters_are_views_of_one_array():
    params = parameters()
    (flat,) = optim.SGD(params, lr=0.1).param_groups[0].flats
    assert all(np.shares_memory(p.data, flat.data) for p in params)
    for p, x in zip(params, starting_point(), strict=True):
        np.testing.assert_array_equal(p.data, x)


def test_replaced_data_are_copied_into_the_flat_array():
    params = parameters()
    optimizer = optim.Adam(params, lr=0.02)
    run(optimizer, params, 10)
    params[0].data = params[0].data.copy()
    params[2].data = np.full((), 5.0)
    found = run(optimizer, params, 10, first=10)

    values, states = starting_point(), [{} for _ in SHAPES]
    for step in range(20):
        if step == 10:
            values[2] = np.full((), 5.0)
        for k, g in enumerate(gradients_at(values, step)):
            states[k]["t"] = step + 1
            values[k] = adam(0.02)(values[k], g, states[k])
    assert_close(found, values)


def test_backward_after_a_step_is_an_error():
    w = mg.Tensor(np.ones(3), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)
    early = (w * w).sum()
    (w * 2).sum().backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        early.backward()


def test_step_does_not_change_the_gradients():
    w = mg.Tensor(np.array([3.0, 4.0]), requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1, weight_decay=0.5, clipvalue=0.1)
    (w * w).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(w.grad.numpy(), [6.0, 8.0])
    optimizer.zero_grad()
    assert w.grad is None


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize(
    ("clipping", "expected"),
    [
        ({"clipvalue": 2.0}, ([2.0, -2.0], [1.0], [2.0, 2.0])),
        ({"clipnorm": 5.0}, ([3.0, -4.0], [1.0], [3.0, 4.0])),
        ({"global_clipnorm": 1.0}, None),
        ({"global_clipnorm": 100.0}, ([3.0, -4.0], [1.0], [6.0, 8.0])),
    ],
)
def test_clipping(clipping, expected, dtype):
    grads = [np.array([3.0, -4.0]), np.array([1.0]), np.array([6.0, 8.0])]
    if expected is None:
        expected = [g / math.sqrt(sum((x**2).sum() for x in grads)) for g in grads]
    params = [mg.Tensor(np.zeros(g.shape, dtype), requires_grad=True) for g in grads]
    optimizer = optim.SGD([{"params": params[:2]}, {"params": params[2:]}], lr=1.0, **clipping)
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    optimizer.step()
    for p, g in zip(params, expected, strict=True):
        assert p.dtype == dtype
        np.testing.assert_allclose(-p.numpy(), g, rtol=1e-6)


def test_clipnorm_with_a_parameter_without_a_gradient():
    params = [mg.Tensor(np.zeros(2), requires_grad=True) for _ in range(4)]
    optimizer = optim.SGD(params, lr=1.0, clipnorm=1.0)
    for k in (0, 2, 3):
        params[k].grad = np.array([3.0, 4.0]) * (k + 1)
    optimizer.step()
    for p, expected in zip(params, (1, 0, 1, 1), strict=True):
        np.testing.assert_allclose(-p.numpy(), [0.6 * expected, 0.8 * expected], rtol=1e-14)


def test_clipping_zero_gradients():
    p = mg.Tensor(np.ones(2), requires_grad=True)
    p.grad = np.zeros(2)
    optim.SGD([p], lr=1.0, global_clipnorm=1.0).step()
    np.testing.assert_array_equal(p.numpy(), [1, 1])


def test_empty_parameters_are_allowed():
    p, empty = mg.Tensor(np.ones(2), requires_grad=True), mg.Tensor(np.zeros((0, 3)), requires_grad=True)
    optimizer = optim.Adam([empty, p], lr=0.1, clipnorm=1.0)
    (p.sum() + empty.sum()).backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    np.testing.assert_allclose(p.numpy(), 0.9, rtol=1e-7)


def w():
    return mg.Tensor(np.ones(2), requires_grad=True)


BAD = {
    "no parameters": (lambda: optim.SGD([], lr=0.1), ValueError, "got no parameters"),
    "one tensor": (lambda: optim.SGD(w(), lr=0.1), TypeError, "single Tensor"),
    "an array": (lambda: optim.SGD([np.ones(2)], lr=0.1), TypeError, "leaf Tensors"),
    "a result": (lambda: optim.SGD([w() * 2], lr=0.1), TypeError, "result of an operation"),
    "integers": (lambda: optim.SGD([mg.Tensor([1, 2])], lr=0.1), TypeError, "int64"),
    "twice": (lambda: optim.SGD([p := w(), p], lr=0.1), ValueError, "listed twice"),
    "lr": (lambda: optim.SGD([w()], lr=-1.0), ValueError, r"SGD\(lr=-1.0\)"),
    "nan": (lambda: optim.SGD([w()], lr=math.nan), ValueError, "lr=nan"),
    "betas": (lambda: optim.Adam([w()], betas=(0.9, 1.0)), ValueError, "betas"),
    "alpha": (lambda: optim.RMSprop([w()], alpha=1.0), ValueError, r"alpha=1.0\): must lie"),
    "rho": (lambda: optim.Adadelta([w()], rho=-0.1), ValueError, "rho=-0.1"),
    "lr_decay": (lambda: optim.Adagrad([w()], lr_decay=-1.0), ValueError, "lr_decay=-1.0"),
    "accumulator": (lambda: optim.Adagrad([w()], initial_accumulator_value=-1.0), ValueError, "must not be negative"),
    "momentum_decay": (lambda: optim.NAdam([w()], momentum_decay=-1.0), ValueError, "momentum_decay"),
    "nesterov": (lambda: optim.SGD([w()], lr=0.1, nesterov=True), ValueError, "momentum > 0"),
    "clipping": (lambda: optim.SGD([w()], lr=0.1, clipnorm=1.0, clipvalue=1.0), ValueError, "clipvalue and clipnorm"),
    "negative clipping": (lambda: optim.SGD([w()], lr=0.1, clipnorm=-1.0), ValueError, "positive"),
    "no gradient": (lambda: optim.Adam([w()]).step(), ValueError, r"Adam.step: no parameter has a gradient"),
    "unknown option": (lambda: optim.SGD([{"params": [w()], "rate": 1.0}], lr=0.1), TypeError, "rate"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, says = BAD[name]
    with pytest.raises(error, match=says):
        call()


def test_state_that_does_not_fit():
    params = parameters()
    optimizer = optim.Adam(params, lr=0.1)
    before = run(optimizer, params, 3)
    with pytest.raises(ValueError, match=r"expected groups of \[4\] parameters, got \[1\]"):
        optimizer.load_state_dict(optim.Adam([w()], lr=0.1).state_dict())
    others = [mg.Tensor(np.ones((5, 5)), requires_grad=True) for _ in SHAPES]
    with pytest.raises(ValueError, match=r"parameter 0 of shape \(3, 2\)"):
        optimizer.load_state_dict(optim.Adam(others, lr=0.9).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1
    for p, x in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), x)


def test_repr():
    assert repr(optim.SGD([w()], lr=0.1)).startswith("SGD(2 numbers in 1 parameters, lr=0.1, momentum=0.0")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW, optim.NAdam, optim.RMSprop, optim.Adagrad, optim.Adadelta])
def test_an_overflow_of_the_second_moment_raises_under_errstate(make, compiled):
    p = mg.Tensor(np.ones(2, np.float32), requires_grad=True)
    optimizer = make([p], lr=0.1)

    def step(x):
        p.grad = None
        (p * x).sum().backward()
        optimizer.step()

    step = mg.compile(step) if compiled else step
    with np.errstate(over="raise"):
        for _ in range(3):
            step(np.ones(2, np.float32))
        with pytest.raises(FloatingPointError, match="overflow"):
            step(np.array([1e20, 1], np.float32))


@pytest.mark.parametrize("clipping", [{"clipvalue": 1.0}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}])
def test_clipping_prevents_an_overflow_of_the_second_moment(clipping):
    p = mg.Tensor(np.zeros(1, np.float32), requires_grad=True)
    optimizer = optim.Adam([p], lr=0.1, **clipping)
    for g in [1e20] + 10 * [1.0]:
        p.grad = np.array([g], np.float32)
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), -1.1, rtol=1e-5)
