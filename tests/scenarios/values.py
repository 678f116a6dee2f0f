"""Python that looks at values of arrays, at types, or at the world: branches, prints, logs, isinstance."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import scenario


def watch(C: Any, see: Any, function: Any, calls: int = 7) -> None:
    """Look at what a step returns and prints."""
    step = C(function)
    for k in range(calls):
        with see.printed():
            see.attempt(step, numbers(k, 3))


@scenario
def branch_on_a_value(C: Any, see: Any) -> None:
    watch(C, see, lambda x: x * 2 if x.sum() > 0 else -x, 10)


@scenario
def branch_on_the_loss(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if loss > 1.4:
            optimizer.step()
        return loss

    for k in range(10):
        see(step(*batch(k)), model)


@scenario
def branch_that_matters_late(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        return x * 2 if np.isfinite(x).all() else x * 0

    for k in range(10):
        see(step(np.full(3, np.inf if k == 7 else 1.0)))


@scenario
def item_in_the_step(C: Any, see: Any) -> None:
    history: list[float] = []

    def step(x: Any) -> Any:
        loss = mg.asarray(x).sum()
        history.append(loss.item())
        return loss * 2

    watch(C, see, step)
    see(history)


@scenario
def float_returned(C: Any, see: Any) -> None:
    watch(C, see, lambda x: float((x * x).sum()))


@scenario
def numpy_of_a_tensor(C: Any, see: Any) -> None:
    w = weight(3)
    watch(C, see, lambda x: (w * x).detach().numpy() + 1)


@scenario
def while_loop_to_convergence(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        y = x
        while np.abs(y).max() > 0.1:
            y = y / 2
        return y

    watch(C, see, step)


@scenario
def loop_over_elements(C: Any, see: Any) -> None:
    watch(C, see, lambda x: [v * 2 for v in x])


@scenario
def loop_over_values(C: Any, see: Any) -> None:
    watch(C, see, lambda x: sum(max(0.0, v) for v in x))


@scenario(eager=True)
def boolean_mask(C: Any, see: Any) -> None:
    watch(C, see, lambda x: x[x > 0] * 2)


@scenario(eager=True)
def nonzero_and_unique(C: Any, see: Any) -> None:
    watch(C, see, lambda x: (np.nonzero(x > 0)[0], np.unique(np.round(x)), np.argsort(x)))


@scenario(eager=True)
def value_as_an_index(C: Any, see: Any) -> None:
    table = [1.0, 2.0, 3.0]
    watch(C, see, lambda x: x * table[int(np.argmax(x))])


@scenario
def assignment_by_a_mask(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        y = x.copy()
        y[y < 0] = 0.0
        return y

    watch(C, see, step)


@scenario(eager=True)
def print_a_shape(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        print("shape", x.shape)
        return x * 2

    watch(C, see, step)


@scenario(eager=True)
def print_a_value(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        print(f"loss {x.sum():.3f}")
        return x * 2

    watch(C, see, step)


@scenario(eager=True)
def print_a_tensor(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        print(mg.asarray(np.round(x)))
        return x * 2

    watch(C, see, step)


@scenario(eager=True)
def print_every_third_call(C: Any, see: Any) -> None:
    s = SimpleNamespace(k=0)

    def step(x: Any) -> Any:
        s.k += 1
        if s.k % 3 == 0:
            print("call", s.k)
        return x * 2

    watch(C, see, step, 10)


@scenario(eager=True)
def logged(C: Any, see: Any) -> None:
    records: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: Any) -> None:
            records.append(record.getMessage())

    logger = logging.getLogger("minigrad.tests.scenarios")
    logger.handlers, logger.propagate = [Keep()], False
    logger.setLevel(logging.INFO)

    def step(x: Any) -> Any:
        logger.info("step of %d", len(x))
        return x * 2

    compiled = C(step)
    for k in range(6):
        see(compiled(numbers(k, 3)), records)


@scenario
def isinstance_of_an_array(C: Any, see: Any) -> None:
    watch(C, see, lambda x: x * 2 if isinstance(x, np.ndarray) else x * 3)


@scenario
def type_of_an_array(C: Any, see: Any) -> None:
    watch(C, see, lambda x: x * 2 if type(x) is np.ndarray else x * 3)


@scenario
def type_of_a_result(C: Any, see: Any) -> None:
    watch(C, see, lambda x: (x.sum() * 2 if isinstance(x.sum(), np.floating) else x, isinstance(x.sum(), float)))


@scenario
def duck_typing(C: Any, see: Any) -> None:
    watch(C, see, lambda x: (x * 2 if hasattr(x, "tobytes") else x, hasattr(x, "backward"), callable(x)))


@scenario
def dispatch_by_type(C: Any, see: Any) -> None:
    table = {np.ndarray: lambda x: x * 2, mg.Tensor: lambda x: x * 3}
    step = C(lambda x: table[type(x)](x))
    for k in range(8):
        x = numbers(k, 3)
        see.attempt(step, mg.asarray(x) if k % 3 == 2 else x)


@scenario
def match_statement(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        match x:
            case np.ndarray(shape=(3,)):
                return x * 2
            case _:
                return x * 3

    watch(C, see, step)


@scenario(eager=True)
def attributes_of_an_array(C: Any, see: Any) -> None:
    watch(C, see, lambda x: (x.flags.c_contiguous, x.strides, x.nbytes, x.base is None, x * x.ndim))


@scenario(eager=True)
def converted_to_an_array(C: Any, see: Any) -> None:
    watch(C, see, lambda x: np.asarray(x) * np.array(x) + np.asarray([x, x]).sum(axis=0))


@scenario(eager=True)
def function_of_scipy_style(C: Any, see: Any) -> None:
    def special(values: Any) -> Any:
        return np.array([v**2 for v in np.asarray(values).tolist()])

    watch(C, see, lambda x: special(x) * 2)


@scenario
def written_to_a_list_of_floats(C: Any, see: Any) -> None:
    watch(C, see, lambda x: [float(v) for v in x] + [len(x)])


@scenario
def early_stopping_inside(C: Any, see: Any) -> None:
    s = SimpleNamespace(best=np.inf, bad=0)

    @C
    def step(x: Any) -> bool:
        loss = float((x * x).sum())
        s.bad = 0 if loss < s.best else s.bad + 1
        s.best = min(s.best, loss)
        return s.bad > 2

    for k in range(9):
        see(step(numbers(k, 3)), s)


@scenario
def environment_variable(C: Any, see: Any) -> None:
    import os

    step = C(lambda x: x * float(os.environ.get("MINIGRAD_SCENARIO", "1")))
    try:
        for k in range(8):
            os.environ["MINIGRAD_SCENARIO"] = str(k // 3)
            see(step(numbers(k, 3)))
    finally:
        del os.environ["MINIGRAD_SCENARIO"]


@scenario
def gradient_is_skipped_if_not_finite(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if all(np.isfinite(p.grad.numpy()).all() for p in model.parameters()):
            optimizer.step()
        return loss

    for k in range(8):
        x, y = batch(k)
        see(step(x * (np.nan if k == 5 else 1.0), y), model)


@scenario
def accuracy_outside(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step, predict = C(trainer(model, optimizer)), C(lambda x: mg.argmax(model(x), axis=1))
    for k in range(8):
        x, y = batch(k)
        loss = step(x, y)
        if loss > 1.4:
            optimizer.param_groups[0]["lr"] *= 0.9
        see(float(loss), float((predict(x).numpy() == y).mean()), optimizer)
