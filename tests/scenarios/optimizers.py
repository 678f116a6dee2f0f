"""Optimizers, schedules, and options that change between calls."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import SCENARIOS, Scenario, scenario

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05),
    "amsgrad": lambda p: optim.Adam(p, lr=0.05, amsgrad=True, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.05),
    "nadam": lambda p: optim.NAdam(p, lr=0.05),
    "radam": lambda p: optim.RAdam(p, lr=0.05),
    "adamax": lambda p: optim.Adamax(p, lr=0.05),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.05),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.05),
    "adadelta": lambda p: optim.Adadelta(p, lr=0.5),
    "lion": lambda p: optim.Lion(p, lr=0.01),
    "clipped": lambda p: optim.SGD(p, lr=0.5, global_clipnorm=0.3),
}
SCHEDULES = {
    "step": lambda o: optim.StepLR(o, 3),
    "cosine": lambda o: optim.CosineAnnealingLR(o, 8),
    "one_cycle": lambda o: optim.OneCycleLR(o, max_lr=0.2, total_steps=10),
    "lambda": lambda o: optim.LambdaLR(o, lambda k: 1 / (1 + k)),
    "exponential": lambda o: optim.ExponentialLR(o, 0.8),
    "warmup": lambda o: optim.SequentialLR(o, [optim.LinearLR(o), optim.ConstantLR(o)], milestones=[4]),
}


def with_optimizer(name: str) -> Any:
    def run(C: Any, see: Any) -> None:
        model = mlp()
        optimizer = OPTIMIZERS[name](model.parameters())
        step = C(trainer(model, optimizer))
        for k in range(8):
            if k == 5:
                optimizer.param_groups[0]["lr"] *= 0.5
            see(step(*batch(k, n=5 if k != 6 else 3)), model, optimizer)

    return run


def with_schedule(name: str, rule: str) -> Any:
    def run(C: Any, see: Any) -> None:
        model = mlp()
        optimizer = OPTIMIZERS[rule](model.parameters())
        schedule = SCHEDULES[name](optimizer)
        step = C(trainer(model, optimizer))
        for k in range(9):
            see(step(*batch(k)), model, optimizer)
            schedule.step()

    return run


def register(name: str, run: Any) -> None:
    SCENARIOS[f"optimizers-{name}"] = Scenario(f"optimizers-{name}", "optimizers", run)


for _name in OPTIMIZERS:
    register(_name, with_optimizer(_name))
for _name, _rule in zip(SCHEDULES, ["momentum", "adam", "adam", "rmsprop", "sgd", "adamw"], strict=True):
    register(f"{_name}_with_{_rule}", with_schedule(_name, _rule))
register("one_cycle_with_momentum", with_schedule("one_cycle", "momentum"))


def changing(make: Any, change: Any) -> Any:
    """A scenario in which change(optimizer, model, k) is called before call k."""

    def run(C: Any, see: Any) -> None:
        model = mlp()
        optimizer = make(model.parameters())
        step = C(trainer(model, optimizer))
        for k in range(10):
            change(optimizer, model, k)
            see(step(*batch(k)), model, optimizer)

    return run


def option(name: str, *values: Any) -> Any:
    def change(optimizer: Any, model: Any, k: int) -> None:
        if k in (3, 6):
            optimizer.param_groups[0][name] = values[k == 6]

    return change


register("betas_changed", changing(OPTIMIZERS["adam"], option("betas", (0.5, 0.9), (0.8, 0.95))))
register("eps_changed", changing(OPTIMIZERS["adam"], option("eps", 1e-2, 1.0)))
register("weight_decay_changed", changing(OPTIMIZERS["adamw"], option("weight_decay", 0.5, 0.0)))
register("momentum_changed", changing(OPTIMIZERS["momentum"], option("momentum", 0.5, 0.99)))
register("dampening_changed", changing(OPTIMIZERS["momentum"], option("dampening", 0.5, 0.0)))
register("nesterov_switched", changing(OPTIMIZERS["nesterov"], option("nesterov", False, True)))
register("amsgrad_switched_off", changing(OPTIMIZERS["amsgrad"], option("amsgrad", False, True)))
register("lr_becomes_0", changing(OPTIMIZERS["momentum"], option("lr", 0.0, 0.3)))
register("alpha_changed", changing(OPTIMIZERS["rmsprop"], option("alpha", 0.5, 0.9)))


def momentum_every_call(optimizer: Any, model: Any, k: int) -> None:
    optimizer.param_groups[0]["momentum"] = 0.5 + 0.04 * k


def clipping_changed(optimizer: Any, model: Any, k: int) -> None:
    if k == 4:
        optimizer.clipping["global_clipnorm"] = 0.05
    if k == 7:
        optimizer.clipping.clear()


def frozen_later(optimizer: Any, model: Any, k: int) -> None:
    if k in (3, 7):
        next(model.children()).requires_grad_(k == 7)


def state_loaded(optimizer: Any, model: Any, k: int) -> None:
    if k == 2:
        optimizer.saved, model.saved = optimizer.state_dict(), model.state_dict()
    if k == 6:
        optimizer.load_state_dict(optimizer.saved)
        model.load_state_dict(model.saved)


def group_added(optimizer: Any, model: Any, k: int) -> None:
    if k == 0:
        model.extra = nn.Linear(4, 4, rng=3)
    if k == 4:
        optimizer.add_param_group({"params": model.extra.parameters(), "lr": 0.01})


def weights_scaled(optimizer: Any, model: Any, k: int) -> None:
    if k == 4:
        for p in model.parameters():
            p.data *= 0.1


def weights_replaced(optimizer: Any, model: Any, k: int) -> None:
    if k == 4:
        for p in model.parameters():
            p.data = p.data * 0.5


register("momentum_every_call", changing(OPTIMIZERS["momentum"], momentum_every_call))
register("clipping_changed", changing(OPTIMIZERS["clipped"], clipping_changed))
register("frozen_later", changing(OPTIMIZERS["momentum"], frozen_later))
register("frozen_later_with_adam", changing(OPTIMIZERS["adam"], frozen_later))
register("state_loaded", changing(OPTIMIZERS["adam"], state_loaded))
register("group_added", changing(OPTIMIZERS["adam"], group_added))
register("weights_scaled", changing(OPTIMIZERS["adam"], weights_scaled))
register("weights_replaced", changing(OPTIMIZERS["sgd"], weights_replaced))


@scenario
def groups_with_their_own_options(C: Any, see: Any) -> None:
    model = mlp()
    first, _, last = model.children()
    groups = [{"params": first.parameters(), "lr": 0.1}, {"params": last.parameters(), "weight_decay": 0.1}]
    optimizer = optim.AdamW(groups, lr=0.01)
    step = C(trainer(model, optimizer))
    for k in range(8):
        optimizer.param_groups[k % 2]["lr"] *= 1.5
        if k == 4:
            optimizer.param_groups[1]["betas"] = (0.5, 0.5)
        see(step(*batch(k)), model, optimizer)


@scenario
def optimizer_swapped(C: Any, see: Any) -> None:
    model = mlp()
    optimizer: Any = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(9):
        if k == 3:
            optimizer = optim.Adam(model.parameters(), lr=0.1)
        if k == 6:
            optimizer = optim.SGD(model.parameters(), lr=0.1)
        see(step(*batch(k)), model, optimizer)


@scenario
def by_hand_with_a_number(C: Any, see: Any) -> None:
    w, lr = weight(3), 0.1

    @C
    def step(x: Any) -> Any:
        w.grad = None
        loss = mg.sum(mg.square(mg.sum(w * x, axis=-1) - 1))
        loss.backward()
        w.data -= lr * w.grad.data
        return loss

    for k in range(8):
        lr = 0.1 / (k + 1)
        see(step(numbers(k, 4, 3)), w)


@scenario
def by_hand_rebinding_data(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any, lr: float) -> None:
        w.grad = None
        mg.sum(mg.square(w * x)).backward()
        w.data = w.data - lr * w.grad.data

    for k in range(8):
        step(numbers(k, 4, 3), 0.01 * (k + 1))
        see(w)


@scenario
def by_hand_in_no_grad(C: Any, see: Any) -> None:
    model = nn.Linear(3, 2, rng=0)

    @C
    def step(x: Any, lr: Any) -> None:
        (model(x) ** 2).sum().backward()
        with mg.no_grad():
            for p in model.parameters():
                p -= lr * p.grad
                p.grad = None

    for k in range(8):
        step(numbers(k, 4, 3), np.float64(0.01 * k))
        see(model)


@scenario
def plateau(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0)
    step = C(trainer(model, optimizer))
    for k in range(10):
        loss = step(*batch(k))
        schedule.step(float(loss.item()))
        see(loss, model, optimizer, schedule)


@scenario
def schedule_stepped_inside(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.ExponentialLR(optimizer, 0.9)
    train = trainer(model, optimizer)

    @C
    def step(x: Any, y: Any) -> Any:
        loss = train(x, y)
        schedule.step()
        return loss

    for k in range(6):
        see(step(*batch(k)), model, optimizer)


@scenario
def step_with_a_compiled_closure(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.LBFGS(model.parameters(), lr=0.5, max_iter=3)
    data = [batch(0)]

    @C
    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data[0][0]), data[0][1])
        loss.backward()
        return loss

    for k in range(4):
        data[0] = batch(k)
        see(optimizer.step(closure), model)


@scenario(eager=True)
def lbfgs_inside(C: Any, see: Any) -> None:
    w = weight(3)
    optimizer = optim.LBFGS([w], lr=0.5, max_iter=2)

    @C
    def step(x: Any) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            loss = mg.sum(mg.square(w * x - 1))
            loss.backward()
            return loss

        return optimizer.step(closure)

    for k in range(5):
        see(step(numbers(k, 3)), w)


@scenario
def no_gradient_at_one_call(C: Any, see: Any) -> None:
    w = weight(3)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
    update = C(lambda: optimizer.step())
    for k in range(8):
        w.grad = None if k in (3, 5) else numbers(k, 3)
        see.attempt(update)
        see(w, optimizer)


@scenario
def model_copied(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step, copies = C(trainer(model, optimizer)), []
    for k in range(8):
        if k in (2, 5):
            copies.append(copy.deepcopy(model))
        see(step(*batch(k)), model, copies)


@scenario
def schedules_inside_the_step(C: Any, see: Any) -> None:
    for make in (
        lambda o: optim.CosineAnnealingLR(o, 20),
        lambda o: optim.OneCycleLR(o, max_lr=0.2, total_steps=20),
        lambda o: optim.ExponentialLR(o, 0.9),
    ):
        w = weight(3)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.5)
        schedule = make(optimizer)

        def step(x: Any, w: Any = w, optimizer: Any = optimizer, schedule: Any = schedule) -> None:
            optimizer.zero_grad()
            ((w * x) ** 2).sum().backward()
            optimizer.step()
            schedule.step()

        step = C(step)
        for k in range(12):
            step(numbers(k, 3))
            see(w, optimizer.param_groups[0]["lr"])


@scenario
def counters_beside_a_step_with_an_optimizer(C: Any, see: Any) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.w = weight(3)
            self.optimizer, self.epoch, self.best = optim.Adam([self.w], lr=0.1), 0, None

        def step(self, x: Any) -> Any:
            self.optimizer.zero_grad()
            loss = ((self.w * x) ** 2).sum()
            loss.backward()
            self.optimizer.step()
            return loss

    trainer = Trainer()
    step = C(trainer.step)
    for k in range(8):
        trainer.epoch = k
        trainer.best = step(numbers(k, 3))
        see(trainer.best, trainer.w)
    if hasattr(step, "recordings"):
        assert step.recordings == 2
