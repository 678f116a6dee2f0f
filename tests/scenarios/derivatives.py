"""Derivatives of compiled functions, compiled derivatives, backward through results, recomputation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import SCENARIOS, Scenario, scenario


def wavy(x: Any) -> Any:
    return (mg.sin(x) * x * x[::-1]).sum()


def of_compiled(name: str, look: Any) -> None:
    """A scenario that differentiates a compiled function whose scale changes half way."""

    def run(C: Any, see: Any) -> None:
        s = SimpleNamespace(scale=1.0)
        f = C(lambda x: wavy(x) * s.scale)
        for k in range(5):
            s.scale = 1.0 + k // 2
            see(look(f, numbers(k, 3 if k != 3 else 4)))
            see(f(numbers(k, 3)))

    def compiled(C: Any, see: Any) -> None:
        s = SimpleNamespace(scale=1.0)
        f = C(lambda x: look(lambda x: wavy(x) * s.scale, x))
        for k in range(7):
            s.scale = 1.0 + k // 3
            see(f(numbers(k, 3 if k != 5 else 4)))

    for prefix, function in (("compiled_then", run), ("compiled", compiled)):
        full = f"derivatives-{prefix}_{name}"
        SCENARIOS[full] = Scenario(full, "derivatives", function, 8 if function is run else None)


of_compiled("grad", lambda f, x: mg.grad(f)(x))
of_compiled("value_and_grad", lambda f, x: mg.value_and_grad(f)(x))
of_compiled("jvp", lambda f, x: mg.jvp(f, (x,), (np.cos(x),)))
of_compiled("hessian", lambda f, x: mg.hessian(f)(x))
of_compiled("hvp", lambda f, x: mg.hvp(f, (x,), (np.cos(x),)))
of_compiled("grad_of_grad", lambda f, x: mg.grad(lambda x: (mg.grad(f)(x) ** 2).sum())(x))


@scenario
def pullback_called_later(C: Any, see: Any) -> None:
    f = C(lambda x: mg.sin(x) * x)
    for k in range(6):
        value, pullback = mg.vjp(f, numbers(k, 3))
        f(numbers(k + 10, 3))
        see(value, pullback(np.ones(3)), pullback(np.arange(3.0)))


@scenario(functions=2)
def backward_through_a_model(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    predict = C(lambda x: model(x))
    for k in range(8):
        x, y = batch(k, n=5 if k != 5 else 3)
        optimizer.zero_grad()
        loss = F.cross_entropy(predict(x), y)
        loss.backward()
        optimizer.step()
        see(loss, model)


@scenario(functions=2)
def backward_through_dropout(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 6, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(6, 2, rng=2))
    predict = C(model)
    for k in range(8):
        model.zero_grad()
        predict(numbers(k, 4, 3)).sum().backward()
        see(model)


@scenario(functions=2)
def backward_through_global_dropout(C: Any, see: Any) -> None:
    w = weight(6)
    predict = C(lambda x: F.dropout(w * x, p=0.5))
    for k in range(8):
        w.grad = None
        y = predict(numbers(k, 6))
        y.sum().backward()
        see(y, w)


@scenario(functions=2)
def backward_through_batch_norm(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.Tanh())
    predict = C(model)
    for k in range(8):
        if k == 5:
            model.eval()
        model.zero_grad()
        (predict(numbers(k, 4, 3)) ** 2).sum().backward()
        see(model)


@scenario(functions=2)
def two_forwards_before_one_backward(C: Any, see: Any) -> None:
    model, rng = nn.Linear(3, 2, rng=0), np.random.default_rng(0)
    predict = C(lambda x: model(x) * rng.normal(size=2))
    for k in range(7):
        model.zero_grad()
        a, b = predict(numbers(k, 4, 3)), predict(numbers(k + 1, 4, 3))
        (a * b).sum().backward()
        see(a, b, model)


@scenario(functions=2)
def backward_in_the_other_order(C: Any, see: Any) -> None:
    w, rng = weight(3), np.random.default_rng(0)
    predict = C(lambda x: (w * x * rng.normal(size=3)).sum())
    for k in range(7):
        outputs = [predict(numbers(k + j, 3)) for j in range(3)]
        w.grad = None
        for y in reversed(outputs):
            y.backward()
            see(w)


@scenario(functions=2)
def parameter_changed_between_forward_and_backward(C: Any, see: Any) -> None:
    w = weight(3)
    predict = C(lambda x: (mg.sin(w) * w * x).sum())
    for k in range(6):
        w.grad = None
        y = predict(numbers(k, 3))
        if k in (2, 4):
            with mg.no_grad():
                w[...] = w * 2
        see.kind_of(y.backward)
        see(w)


@scenario(functions=2)
def input_changed_between_forward_and_backward(C: Any, see: Any) -> None:
    w = weight(3)
    predict = C(lambda x: (mg.sin(w) * x).sum())
    for k in range(6):
        x = mg.Tensor(numbers(k, 3))
        w.grad = None
        y = predict(x)
        if k in (2, 4):
            x[...] = 100.0
        see.kind_of(y.backward)
        see(w)


@scenario(functions=2)
def config_changed_between_forward_and_backward(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(scale=1.0)
    predict = C(lambda x: (mg.sin(w) * x * s.scale).sum())
    for k in range(7):
        w.grad = None
        s.scale = 1.0 + k // 2
        y = predict(numbers(k, 3))
        s.scale = 50.0
        y.backward()
        see(w)


@scenario(functions=2)
def backward_twice(C: Any, see: Any) -> None:
    w = weight(3)
    predict = C(lambda x: (w * w * x).sum())
    for k in range(6):
        y = predict(numbers(k, 3))
        y.backward(retain_graph=k % 2 == 0)
        see.kind_of(y.backward)
        see(w)


@scenario(functions=3)
def double_backward(C: Any, see: Any) -> None:
    w = weight(3)
    predict = C(lambda x: (mg.sin(w) * x).sum())
    for k in range(6):
        w.grad = None
        predict(numbers(k, 3)).backward(create_graph=True)
        first, w.grad = w.grad, None
        (first**2).sum().backward()
        see(first, w)


@scenario
def double_backward_inside(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any) -> Any:
        w.grad = None
        (mg.sin(w) * x * w).sum().backward(create_graph=True)
        first, w.grad = w.grad, None
        (first**2).sum().backward()
        return first

    for k in range(6):
        see(step(numbers(k, 3)), w)


@scenario
def meta_learning(C: Any, see: Any) -> None:
    w = weight(3)
    inner = lambda w, x: ((w * x - 1) ** 2).sum()

    @C
    def step(x: Any, lr: float) -> Any:
        outer = lambda w: inner(w - lr * mg.grad(inner)(w, x), x * 2)
        value, g = mg.value_and_grad(outer)(w)
        w.data = w.data - 0.01 * g.data
        return value

    for k in range(8):
        see(step(numbers(k, 3), 0.01 * (1 + k // 3)), w)


@scenario(functions=2)
def compiled_part_of_an_eager_step(C: Any, see: Any) -> None:
    part, head = C(lambda x, w: mg.tanh(x @ w)), weight(3, 2, seed=1)
    w = weight(3, 3)
    for k in range(7):
        w.grad = head.grad = None
        (part(mg.asarray(numbers(k, 4, 3)), w) @ head).sum().backward()
        w.data -= 0.1 * w.grad.data
        see(w, head)


@scenario
def under_no_grad_and_not(C: Any, see: Any) -> None:
    w = weight(3)
    predict = C(lambda x: w * x)
    for k in range(8):
        if k % 3 == 1:
            with mg.no_grad():
                y = predict(numbers(k, 3))
        else:
            y = predict(numbers(k, 3))
        see(y, y.requires_grad)


def checkpointed(name: str, build: Any) -> None:
    """A scenario of a training step over a block that is computed again in the backward pass."""

    def run(C: Any, see: Any) -> None:
        block, change = build()
        head = nn.Linear(4, 2, rng=5)
        optimizer = optim.SGD([*block.parameters(), *head.parameters()], lr=0.1)
        again = mg.checkpoint(block)

        @C
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            loss = (head(again(x)) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        for k in range(7):
            change(block, k)
            see(step(mg.Tensor(numbers(k, 4, 3), requires_grad=True)), block, head)

    SCENARIOS[f"derivatives-checkpoint_{name}"] = Scenario(f"derivatives-checkpoint_{name}", "derivatives", run)


checkpointed(
    "of_a_layer", lambda: (nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh()), lambda block, k: None)
)  # fmt: skip
checkpointed(
    "of_global_dropout",
    lambda: (nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5)), lambda block, k: block.train(k != 4)),
)
checkpointed(
    "of_batch_norm_in_evaluation",
    lambda: (nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4)).eval(), lambda block, k: None),
)


@scenario
def hook_on_a_gradient(C: Any, see: Any) -> None:
    w = weight(3)
    remove = w.register_hook(lambda g: g * 2)
    step = C(lambda x: (w * x).sum().backward())
    for k in range(8):
        if k == 4:
            remove()
        step(numbers(k, 3))
        see(w)


@scenario
def gradient_with_respect_to_a_dict(C: Any, see: Any) -> None:
    loss = lambda p, x: ((x @ p["w"] + p["b"]) ** 2).sum()
    step = C(mg.grad(loss))
    p = {"w": numbers(0, 3, 2), "b": np.zeros(2)}
    for k in range(7):
        g = step(p, numbers(k, 4, 3))
        p = {name: p[name] - 0.01 * g[name] for name in p}
        see(g, p)
