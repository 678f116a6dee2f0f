"""Learning-rate schedules against recursions and drawings of what they should be."""

import copy
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim

STEPS = 50
BASE = 0.3


def sgd(lr=BASE, **options):
    return optim.SGD([mg.Tensor(np.ones(2), requires_grad=True)], lr=lr, **options)


def rates(schedule, steps=STEPS):
    found = []
    for _ in range(steps):
        (lr,) = schedule.get_last_lr()
        found.append(lr)
        schedule.step()
    return found


def recursion(factor):
    """Each rate is the one before times factor(t)."""
    lr = [BASE]
    for t in range(1, STEPS):
        lr.append(lr[-1] * factor(t))
    return lr


def cosine(high, low, length):
    """One half wave, by the recursion of the cosine: c(t+1) = 2 cos(π/T) c(t) - c(t-1)."""
    c = [1.0, math.cos(math.pi / length)]
    while len(c) < STEPS + length:
        c.append(2 * c[1] * c[-1] - c[-2])
    return [low + (high - low) * (1 + x) / 2 for x in c]


CASES = {
    "lambda": (lambda o: optim.LambdaLR(o, lambda t: 1 / (1 + t)), [BASE / k for k in range(1, STEPS + 1)]),
    "step": (lambda o: optim.StepLR(o, 7, 0.5), recursion(lambda t: 1 if t % 7 else 0.5)),
    "multistep": (
        lambda o: optim.MultiStepLR(o, [9, 3, 3]),
        [BASE] * 3 + [BASE / 100] * 6 + [BASE / 1000] * (STEPS - 9),
    ),
    "exponential": (lambda o: optim.ExponentialLR(o, 0.9), recursion(lambda t: 0.9)),
    "linear": (
        lambda o: optim.LinearLR(o, 0.25, 1.0, 20),
        np.interp(range(STEPS), [0, 20], [BASE / 4, BASE]),
    ),
    "constant": (lambda o: optim.ConstantLR(o, 0.5, 4), [BASE / 2] * 4 + [BASE] * (STEPS - 4)),
    "polynomial": (
        lambda o: optim.PolynomialLR(o, 20, 2.0),
        recursion(lambda t: ((20 - t) / (20 - t + 1)) ** 2 if t < 20 else 0),
    ),
    "cosine": (lambda o: optim.CosineAnnealingLR(o, 15, 0.01), cosine(BASE, 0.01, 15)[:STEPS]),
    "restarts": (lambda o: optim.CosineAnnealingWarmRestarts(o, 8, eta_min=0.01), cosine(BASE, 0.01, 8)[:8] * 7),
    "longer and longer": (
        lambda o: optim.CosineAnnealingWarmRestarts(o, 3, 2),
        [x for n in (3, 6, 12, 24, 48) for x in cosine(BASE, 0, n)[:n]],
    ),
    "one cycle": (
        lambda o: optim.OneCycleLR(o, 1.0, 50, cycle_momentum=False),
        cosine(0.04, 1.0, 14)[:15] + cosine(1.0, 4e-6, 35)[1:36],
    ),
    "one cycle, linear": (
        lambda o: optim.OneCycleLR(
            o, 1.0, epochs=5, steps_per_epoch=10, anneal_strategy="linear", cycle_momentum=False
        ),
        np.interp(range(STEPS), [0, 14, 49], [0.04, 1.0, 4e-6]),
    ),
    "one cycle, three phases": (
        lambda o: optim.OneCycleLR(
            o,
            1.0,
            50,
            div_factor=10,
            final_div_factor=100,
            anneal_strategy="linear",
            cycle_momentum=False,
            three_phase=True,
        ),
        np.interp(range(STEPS), [0, 14, 28, 49], [0.1, 1.0, 0.1, 0.001]),
    ),
    "one cycle, no way up": (
        lambda o: optim.OneCycleLR(o, 1.0, 50, pct_start=0.02, anneal_strategy="linear", cycle_momentum=False),
        np.interp(range(STEPS), [0, 49], [1.0, 4e-6]),
    ),
    "chained": (
        lambda o: optim.ChainedScheduler([optim.LinearLR(o, 0.25, 1.0, 20), optim.ExponentialLR(o, 0.9)]),
        np.interp(range(STEPS), [0, 20], [0.25, 1]) * recursion(lambda t: 0.9),
    ),
    "sequential": (
        lambda o: optim.SequentialLR(o, [optim.LinearLR(o, 0.25, 1.0, 20), optim.CosineAnnealingLR(o, 30)], [20]),
        np.append(np.interp(range(20), [0, 20], [BASE / 4, BASE]), cosine(BASE, 0, 30)[:30]),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rates(name):
    make, expected = CASES[name]
    np.testing.assert_allclose(rates(make(sgd())), expected[:STEPS], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_resumes_bit_for_bit(name):
    make, _ = CASES[name]
    optimizer = sgd()
    schedule = make(optimizer)
    rates(schedule, 17)
    states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    expected = rates(schedule, 20)
    optimizer = sgd(lr=0.7)
    schedule = make(optimizer)
    optimizer.load_state_dict(states[0])
    schedule.load_state_dict(states[1])
    assert rates(schedule, 20) == expected


def test_every_group_keeps_its_own_rate():
    params = [mg.Tensor(np.ones(2), requires_grad=True) for _ in range(3)]
    optimizer = optim.Adam([{"params": params[:1], "lr": 0.5}, {"params": params[1:2]}], lr=0.1)
    schedule = optim.StepLR(optimizer, 1, 0.5)
    schedule.step()
    optimizer.add_param_group({"params": params[2:], "lr": 8.0})
    schedule.step()
    assert schedule.get_last_lr() == [0.125, 0.025, 2.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda o: optim.ExponentialLR(o, 1e200),
        lambda o: optim.StepLR(o, 1, 1e200),
        lambda o: optim.MultiStepLR(o, [1, 2], 1e200),
        lambda o: optim.ChainedScheduler([optim.ExponentialLR(o, 1e200)]),
    ],
)
def test_a_rate_that_overflows_is_refused(make):
    schedule = make(sgd(lr=0.5))
    schedule.step()
    with pytest.raises(ValueError, match="lr=inf"):
        schedule.step()
    assert schedule.get_last_lr() == [5e199]
    assert schedule.steps == 1


def test_the_optimizer_uses_the_rate():
    optimizer = sgd(lr=1.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    (p,) = optimizer.param_groups[0]["params"]
    for _ in range(4):
        p.grad = np.ones(2)
        optimizer.step()
        schedule.step()
    np.testing.assert_array_equal(p.numpy(), 1 - (1 + 0.5 + 0.25 + 0.125))


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.5), optim.Adam])
def test_one_cycle_varies_the_momentum_against_the_rate(make):
    optimizer = make([mg.Tensor(np.ones(2), requires_grad=True)])
    schedule = optim.OneCycleLR(optimizer, 1.0, 50, anneal_strategy="linear")
    found = []
    (group,) = optimizer.param_groups
    for _ in range(STEPS):
        found.append(group["betas"][0] if "betas" in group else group["momentum"])
        schedule.step()
    np.testing.assert_allclose(found, np.interp(range(STEPS), [0, 14, 49], [0.95, 0.85, 0.95]), rtol=1e-12)
    if "betas" in group:
        assert group["betas"][1] == 0.999


def test_one_cycle_inside_a_sequence_varies_the_momentum():
    optimizer = sgd(momentum=0.5)
    cycle = optim.OneCycleLR(optimizer, 1.0, 50)
    schedule = optim.SequentialLR(optimizer, [optim.ConstantLR(optimizer, 0.1, 5), cycle], [5])
    rates(schedule, 19)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1.0)
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.85)


def drops(metrics, **options):
    """The epochs after which the rate fell."""
    optimizer = sgd(lr=1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, **options)
    found, before = [], 1.0
    for epoch, metric in enumerate(metrics):
        schedule.step(metric)
        (lr,) = schedule.get_last_lr()
        if lr != before:
            found.append(epoch)
        before = lr
    return found


@pytest.mark.parametrize(
    ("metrics", "options", "expected"),
    [
        ([3, 2, 1, 1, 1, 1, 1], {"patience": 2}, [5]),
        ([1] * 8, {"patience": 1, "cooldown": 2}, [2, 6]),
        ([1] * 8, {"patience": 1}, [2, 4, 6]),
        ([1, 2, 3, 3, 3], {"mode": "max", "patience": 1}, [4]),
        ([100, 95, 90.5], {"threshold": 0.1, "patience": 1}, [2]),
        ([100, 95, 89.5], {"threshold": 0.1, "patience": 1}, []),
        ([100, 105, 109.5], {"mode": "max", "threshold": 0.1, "patience": 1}, [2]),
        ([100, 105, 110.5], {"mode": "max", "threshold": 0.1, "patience": 1}, []),
        ([5, 4.6, 4.1], {"threshold": 0.5, "threshold_mode": "abs", "patience": 1}, []),
        ([5, 4.6, 4.55], {"threshold": 0.5, "threshold_mode": "abs", "patience": 1}, [2]),
        ([1, math.nan, math.nan], {"patience": 1}, [2]),
        ([1] * 6, {"patience": 0, "factor": 0.1, "min_lr": 0.05}, [1, 2]),
        ([mg.Tensor(1.0), mg.Tensor(1.0)], {"patience": 0}, [1]),
    ],
)
def test_plateau(metrics, options, expected):
    assert drops(metrics, **options) == expected


def test_plateau_resumes():
    metrics = [3, 2, 2, 2, 2, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5]
    optimizer = sgd(lr=1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=1, cooldown=1, factor=0.5)
    for metric in metrics[:4]:
        schedule.step(metric)
    states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    again = sgd(lr=9.0)
    resumed = optim.ReduceLROnPlateau(again, patience=1, cooldown=1, factor=0.5)
    again.load_state_dict(states[0])
    resumed.load_state_dict(states[1])
    for metric in metrics[4:]:
        schedule.step(metric)
        resumed.step(metric)
        assert schedule.get_last_lr() == resumed.get_last_lr()
    assert schedule.get_last_lr()[0] < 0.5


BAD = {
    "no optimizer": (lambda: optim.ExponentialLR([0.1], 0.9), TypeError, "list is not an Optimizer"),
    "plateau of no optimizer": (lambda: optim.ReduceLROnPlateau(0.1), TypeError, "float is not an Optimizer"),
    "step_size": (lambda: optim.StepLR(sgd(), 0), ValueError, r"StepLR: step_size=0"),
    "start_factor": (lambda: optim.LinearLR(sgd(), 0.0), ValueError, "start_factor=0.0"),
    "end_factor": (lambda: optim.LinearLR(sgd(), end_factor=2.0), ValueError, "end_factor=2.0"),
    "total_iters": (lambda: optim.LinearLR(sgd(), total_iters=0), ValueError, "total_iters=0"),
    "polynomial": (lambda: optim.PolynomialLR(sgd(), 0), ValueError, "total_iters=0"),
    "constant": (lambda: optim.ConstantLR(sgd(), -1.0), ValueError, "factor=-1.0"),
    "T_max": (lambda: optim.CosineAnnealingLR(sgd(), 0), ValueError, "T_max=0"),
    "T_0": (lambda: optim.CosineAnnealingWarmRestarts(sgd(), 0), ValueError, "T_0=0"),
    "T_mult": (lambda: optim.CosineAnnealingWarmRestarts(sgd(), 3, 0), ValueError, "T_mult=0"),
    "no length": (lambda: optim.OneCycleLR(sgd(), 1.0, epochs=3), ValueError, "give total_steps, or epochs"),
    "two lengths": (
        lambda: optim.OneCycleLR(sgd(), 1.0, 6, epochs=3, steps_per_epoch=2),
        ValueError,
        "give total_steps, or epochs",
    ),
    "short": (lambda: optim.OneCycleLR(sgd(), 1.0, 1), ValueError, "cycle of 1 steps"),
    "pct_start": (lambda: optim.OneCycleLR(sgd(), 1.0, 9, pct_start=1.5), ValueError, "pct_start=1.5"),
    "strategy": (lambda: optim.OneCycleLR(sgd(), 1.0, 9, anneal_strategy="sin"), ValueError, "'cos' or 'linear'"),
    "momentum": (
        lambda: optim.OneCycleLR(optim.Adagrad([mg.Tensor(np.ones(1), requires_grad=True)]), 1.0, 9),
        ValueError,
        "Adagrad has no momentum",
    ),
    "too far": (lambda: rates(optim.OneCycleLR(sgd(), 1.0, 9), 10), ValueError, "step 10 of a cycle of 9 steps"),
    "nothing": (lambda: optim.ChainedScheduler([]), ValueError, "there are no schedules"),
    "two optimizers": (
        lambda: optim.ChainedScheduler([optim.StepLR(sgd(), 1), optim.StepLR(sgd(), 1)]),
        ValueError,
        "different optimizers",
    ),
    "chained plateau": (
        lambda: optim.ChainedScheduler([optim.ReduceLROnPlateau(sgd())]),
        TypeError,
        "must be a Schedule, not ReduceLROnPlateau",
    ),
    "milestones": (
        lambda: optim.SequentialLR(sgd(), [], [1]),
        ValueError,
        "expected one milestone less than schedules, got 0 schedules and 1",
    ),
    "factor": (lambda: optim.ReduceLROnPlateau(sgd(), factor=1.0), ValueError, "factor=1.0"),
    "mode": (lambda: optim.ReduceLROnPlateau(sgd(), mode="auto"), ValueError, "mode='auto'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, error, says = BAD[name]
    with pytest.raises(error, match=says):
        call()


def test_milestones_must_increase():
    optimizer = sgd()
    parts = [optim.StepLR(optimizer, 1) for _ in range(3)]
    with pytest.raises(ValueError, match=r"milestones=\[5, 5\] must increase"):
        optim.SequentialLR(optimizer, parts, [5, 5])
    with pytest.raises(ValueError, match="another optimizer"):
        optim.SequentialLR(sgd(), parts, [5, 6])


def test_repr_shows_rates_steps_and_options() -> None:
    optimizer = sgd(0.5)
    schedule = optim.StepLR(optimizer, 1, gamma=0.5)
    schedule.step()
    assert repr(schedule) == "StepLR(lr=[0.25] after 1 steps, step_size=1, gamma=0.5)"
