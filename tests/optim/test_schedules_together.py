"""Several schedules of one optimizer: composed as PyTorch composes them, or refused; and options out of range."""

import copy
import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import optim

BASE = 0.8


def sgd(lr=BASE, **options):
    return optim.SGD([mg.Tensor(np.ones(2), requires_grad=True)], lr=lr, **options)


# The recursions of torch.optim.lr_scheduler: the rate after step t from the one before, and the first one.
def step_lr(size, gamma):
    return lambda lr, base, t: lr * gamma if t and t % size == 0 else lr


def multi_step(milestones, gamma):
    return lambda lr, base, t: lr * gamma ** milestones.count(t)


def exponential(gamma):
    return lambda lr, base, t: lr * gamma if t else lr


def linear(start, end, total):
    def following(lr, base, t):
        if t == 0:
            return lr * start
        if t > total:
            return lr
        return lr * (1 + (end - start) / (total * start + (t - 1) * (end - start)))

    return following


def constant(factor, total):
    return lambda lr, base, t: lr * factor if t == 0 else lr / factor if t == total else lr


def polynomial(total, power):
    def following(lr, base, t):
        if t == 0 or t > total:
            return lr
        return lr * ((1 - t / total) / (1 - (t - 1) / total)) ** power

    return following


def cosine(total, low):
    def following(lr, base, t):
        if t == 0:
            return lr
        if (t - 1 - total) % (2 * total) == 0:
            return lr + (base - low) * (1 - math.cos(math.pi / total)) / 2
        ratio = (1 + math.cos(math.pi * t / total)) / (1 + math.cos(math.pi * (t - 1) / total))
        return ratio * (lr - low) + low

    return following


CHAINABLE = {
    "step": (lambda o: optim.StepLR(o, 3, 0.5), step_lr(3, 0.5)),
    "multi": (lambda o: optim.MultiStepLR(o, [2, 5, 5], 0.3), multi_step([2, 5, 5], 0.3)),
    "exponential": (lambda o: optim.ExponentialLR(o, 0.9), exponential(0.9)),
    "linear": (lambda o: optim.LinearLR(o, 0.25, 1.0, 4), linear(0.25, 1.0, 4)),
    "to nothing": (lambda o: optim.LinearLR(o, 1.0, 0.0, 4), linear(1.0, 0.0, 4)),
    "constant": (lambda o: optim.ConstantLR(o, 0.5, 3), constant(0.5, 3)),
    "polynomial": (lambda o: optim.PolynomialLR(o, 6, 2.0), polynomial(6, 2.0)),
    "cosine": (lambda o: optim.CosineAnnealingLR(o, 7), cosine(7, 0.0)),
    "cosine with a floor": (lambda o: optim.CosineAnnealingLR(o, 5, 0.1), cosine(5, 0.1)),
}
CLOSED = {
    "lambda": lambda o: optim.LambdaLR(o, lambda t: 0.9**t),
    "one cycle": lambda o: optim.OneCycleLR(o, 1.0, 30, cycle_momentum=False),
    "restarts": lambda o: optim.CosineAnnealingWarmRestarts(o, 4),
    "sequence": lambda o: optim.SequentialLR(o, [optim.StepLR(o, 1), optim.ExponentialLR(o, 0.5)], [3]),
}
PAIRS = [(a, b) for a in CHAINABLE for b in CHAINABLE]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_schedules_compose_as_in_pytorch(first, second):
    optimizer = sgd()
    schedules = [CHAINABLE[name][0](optimizer) for name in (first, second)]
    recursions = [CHAINABLE[name][1] for name in (first, second)]
    lr = BASE
    for following in recursions:
        lr = following(lr, BASE, 0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(lr, rel=1e-12)
    for t in range(1, 11):
        for schedule, following in zip(schedules, recursions, strict=True):
            lr = following(lr, BASE, t)
            if lr < 0:  # PyTorch continues, uphill
                with pytest.raises(ValueError, match=r"negative rate[\s\S]*ChainedScheduler"):
                    schedule.step()
                return
            schedule.step()
            assert optimizer.param_groups[0]["lr"] == pytest.approx(lr, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", CHAINABLE)
def test_sequential_schedules(name):
    """A warm-up that is stepped for four epochs and then left alone, as one writes it by hand."""
    optimizer = sgd()
    warm, later = optim.LinearLR(optimizer, 0.5, 1.0, 4), CHAINABLE[name][0](optimizer)
    lr = CHAINABLE[name][1](BASE / 2, BASE, 0)
    for t in range(1, 5):
        warm.step()
        lr = linear(0.5, 1.0, 4)(lr, BASE, t)
    for t in range(1, 7):
        later.step()
        lr = CHAINABLE[name][1](lr, BASE, t)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("other", ["step", "cosine", *CLOSED])
def test_schedules_that_would_undo_each_other_are_refused(closed, other):
    optimizer = sgd()
    makers = {name: make for name, (make, _) in CHAINABLE.items()} | CLOSED
    one, two = makers[other](optimizer), makers[closed](optimizer)

    def train():
        for _ in range(3):
            one.step()
            two.step()

    with pytest.raises(ValueError, match=r"would undo what \w+ did[\s\S]*ChainedScheduler"):
        train()


@pytest.mark.parametrize("name", [*CHAINABLE, *CLOSED])
def test_schedules_that_are_never_stepped_have_no_effect(name):
    optimizer = sgd()
    makers = {name: make for name, (make, _) in CHAINABLE.items()} | CLOSED
    optim.StepLR(optimizer, 1, 0.5)
    schedule, alone = makers[name](optimizer), makers[name](sgd())
    for _ in range(8):
        schedule.step()
        alone.step()
        assert schedule.get_last_lr() == pytest.approx(alone.get_last_lr(), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("kind", ["chained", "sequence"])
def test_stepping_a_part_of_a_combined_schedule_is_an_error(kind):
    optimizer = sgd()
    parts = [optim.StepLR(optimizer, 1), optim.ExponentialLR(optimizer, 0.5)]
    whole = optim.ChainedScheduler(parts) if kind == "chained" else optim.SequentialLR(optimizer, parts, [3])
    whole.step()
    for part in parts:
        with pytest.raises(ValueError, match=f"is a part of a {type(whole).__name__}"):
            part.step()
    whole.step()
    assert whole.steps == 2


def test_a_plateau_and_a_schedule_compose():
    optimizer = sgd(1.0)
    schedule = optim.ExponentialLR(optimizer, 0.5)
    plateau = optim.ReduceLROnPlateau(optimizer, patience=0, factor=0.1)
    for metric, lr in ((1.0, 0.5), (1.0, 0.25 * 0.1), (0.5, 0.0125), (0.5, 0.00625 * 0.1)):
        schedule.step()
        plateau.step(metric)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)


@pytest.mark.parametrize(("first", "second"), [pair for pair in PAIRS if "cosine with a floor" not in pair][::4])
def test_two_schedules_resume_bit_for_bit(first, second):
    def made():
        optimizer = sgd()
        return optimizer, [CHAINABLE[name][0](optimizer) for name in (first, second)]

    optimizer, schedules = made()
    for _ in range(4):
        for s in schedules:
            s.step()
    states = copy.deepcopy((optimizer.state_dict(), [s.state_dict() for s in schedules]))
    resumed, others = made()
    resumed.load_state_dict(states[0])
    for s, state in zip(others, states[1], strict=True):
        s.load_state_dict(state)
    twin, *twins = copy.deepcopy((optimizer, *schedules))
    for _ in range(5):
        for s in (*schedules, *others, *twins):
            s.step()
        assert optimizer.param_groups[0]["lr"] == resumed.param_groups[0]["lr"] == twin.param_groups[0]["lr"]


# A plateau of negative losses


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_relative_threshold_for_metrics_of_any_sign(mode, sign):
    """What grows worse is never better, and what is better by less than a tenth of |best| does not count."""
    better = -1 if mode == "min" else 1
    optimizer = sgd(1.0)
    plateau = optim.ReduceLROnPlateau(optimizer, mode=mode, threshold=0.1, patience=0, factor=0.5)
    plateau.step(100.0 * sign)
    rates = []
    for metric in (100.0 * sign + better * 11, 100.0 * sign + better * 12, 100.0 * sign - better * 5):
        plateau.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 0.5, 0.25]


def test_a_relative_threshold_at_zero():
    optimizer = sgd(1.0)
    plateau = optim.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    for metric, lr in ((0.0, 1.0), (0.0, 0.5), (-1e-9, 0.5), (-2e-9, 0.5), (1.0, 0.25)):
        plateau.step(metric)
        assert optimizer.param_groups[0]["lr"] == lr


# Options out of range

NUMBERS = {
    "gamma": [
        lambda o, v: optim.StepLR(o, 1, v),
        lambda o, v: optim.MultiStepLR(o, [1], v),
        lambda o, v: optim.ExponentialLR(o, v),
    ],
    "start_factor": [lambda o, v: optim.LinearLR(o, v)],
    "end_factor": [lambda o, v: optim.LinearLR(o, end_factor=v)],
    "factor": [lambda o, v: optim.ConstantLR(o, v), lambda o, v: optim.ReduceLROnPlateau(o, factor=v)],
    "power": [lambda o, v: optim.PolynomialLR(o, 5, v)],
    "eta_min": [
        lambda o, v: optim.CosineAnnealingLR(o, 5, v),
        lambda o, v: optim.CosineAnnealingWarmRestarts(o, 5, 1, v),
    ],
    "max_lr": [lambda o, v: optim.OneCycleLR(o, v, 10, cycle_momentum=False)],
    "pct_start": [lambda o, v: optim.OneCycleLR(o, 1.0, 10, pct_start=v, cycle_momentum=False)],
    "div_factor": [lambda o, v: optim.OneCycleLR(o, 1.0, 10, div_factor=v, cycle_momentum=False)],
    "final_div_factor": [lambda o, v: optim.OneCycleLR(o, 1.0, 10, final_div_factor=v, cycle_momentum=False)],
    "base_momentum": [lambda o, v: optim.OneCycleLR(o, 1.0, 10, base_momentum=v)],
    "max_momentum": [lambda o, v: optim.OneCycleLR(o, 1.0, 10, max_momentum=v)],
    "threshold": [lambda o, v: optim.ReduceLROnPlateau(o, threshold=v)],
    "min_lr": [lambda o, v: optim.ReduceLROnPlateau(o, min_lr=v)],
    "eps": [lambda o, v: optim.ReduceLROnPlateau(o, eps=v)],
    "patience": [lambda o, v: optim.ReduceLROnPlateau(o, patience=v)],
    "cooldown": [lambda o, v: optim.ReduceLROnPlateau(o, cooldown=v)],
}
COUNTS = {
    "step_size": [lambda o, v: optim.StepLR(o, v)],
    "milestones": [lambda o, v: optim.MultiStepLR(o, [v])],
    "total_iters": [
        lambda o, v: optim.LinearLR(o, total_iters=v),
        lambda o, v: optim.ConstantLR(o, total_iters=v),
        lambda o, v: optim.PolynomialLR(o, v),
    ],
    "T_max": [lambda o, v: optim.CosineAnnealingLR(o, v)],
    "T_0": [lambda o, v: optim.CosineAnnealingWarmRestarts(o, v)],
    "T_mult": [lambda o, v: optim.CosineAnnealingWarmRestarts(o, 5, v)],
    "total_steps": [lambda o, v: optim.OneCycleLR(o, 1.0, v)],
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1.0, math.inf, -math.inf, math.nan, "0.1", None, True])
def test_numeric_options_are_checked(name, value):
    for make in NUMBERS[name]:
        optimizer = sgd(momentum=0.5)
        with pytest.raises(ValueError, match=f"{name}="):
            make(optimizer, value)
        assert optimizer.param_groups[0]["lr"] == BASE


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, 2.5, math.inf, math.nan, "3", True])
def test_integer_options_are_checked(name, value):
    for make in COUNTS[name]:
        optimizer = sgd(momentum=0.5)
        with pytest.raises(ValueError, match=f"{name}="):
            make(optimizer, value)
        assert optimizer.param_groups[0]["lr"] == BASE


def test_a_rate_out_of_range_is_refused_when_a_schedule_sets_it():
    optimizer = sgd()
    schedule = optim.LambdaLR(optimizer, lambda t: 1.0 if t < 2 else -1.0)
    schedule.step()
    with pytest.raises(ValueError, match=r"lr=-0\.8.*must not be negative"):
        schedule.step()
    assert schedule.steps == 1
    assert optimizer.param_groups[0]["lr"] == BASE
    decay = optim.ExponentialLR(sgd(), 0.5)
    decay.gamma = math.inf
    with pytest.raises(ValueError, match="lr="):
        decay.step()
    with pytest.raises(TypeError, match="not a function of the step"):
        optim.LambdaLR(sgd(), [0.5])
    for bad in (-1, 1.5, "2", None):
        with pytest.raises(ValueError, match="must be an integer"):
            schedule.load_state_dict({"steps": bad})


def test_a_schedule_can_switch_momentum_on():
    """Momentum was 0, so there is no velocity until the schedule sets it."""
    optimizer = sgd()
    (p,) = optimizer.param_groups[0]["params"]
    p.grad = np.ones(2)
    optimizer.step()
    optim.OneCycleLR(optimizer, 1.0, 10)
    optimizer.step()
    assert optimizer.state_dict()["state"][0]["v"].tolist() == [1.0, 1.0]
