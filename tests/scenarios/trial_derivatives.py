"""Derivatives of compiled functions and in them: of every order, of several results, twice, changes in between."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, weight
from scenarios.scenario import scenario


def potential(x: Any) -> Any:
    return (mg.sin(x) * mg.exp(0.3 * x)).sum() + (x[0] * x[1] ** 2)


def several(x: Any) -> Any:
    return mg.stack([x[0] * x[1], mg.tanh(x).sum(), x[2] ** 3])


INSIDE: dict[str, Any] = {
    "grad": lambda x: mg.grad(potential)(x),
    "value_and_grad": lambda x: mg.value_and_grad(potential)(x),
    "grad_of_grad": lambda x: mg.grad(lambda v: (mg.grad(potential)(v) ** 2).sum())(x),
    "third": lambda x: mg.grad(lambda v: mg.grad(lambda u: mg.grad(potential)(u)[0])(v)[1])(x),
    "jacobian": lambda x: mg.jacobian(several)(x),
    "hessian": lambda x: mg.hessian(potential)(x),
    "hvp": lambda x: mg.hvp(potential, x, x * 2),
    "vjp": lambda x: (lambda y, pull: (y, pull(mg.Tensor([1.0, -1.0, 0.5]))))(*mg.vjp(several, x)),  # noqa: PLC3002
    "jvp": lambda x: mg.jvp(several, (x,), (x * 0.5,)),
    "newton": lambda x: x - np.linalg.solve(mg.hessian(potential)(x).data + 5 * np.eye(3), mg.grad(potential)(x).data),
}


def inside(C: Any, see: Any, f: Any) -> None:
    step = C(f)
    for k in range(7):
        see.attempt(step, mg.Tensor(numbers(k, 3)))


def outside(C: Any, see: Any, f: Any) -> None:
    """The transform of a compiled function."""
    compiled = C(several), C(potential)
    place = {"several": compiled[0], "potential": compiled[1]}
    g = eval(compile(f, "<transform>", "eval"), {"mg": mg, "np": np, **place})
    for k in range(6):
        see.attempt(g, mg.Tensor(numbers(k, 3)))


for _name, _f in INSIDE.items():
    _body = functools.partial(inside, f=_f)
    _body.__module__, _body.__name__ = __name__, f"inside_{_name}"  # type: ignore[attr-defined]
    scenario(_body)

for _name, _text in {
    "grad": "mg.grad(potential)",
    "hessian": "mg.hessian(potential)",
    "jacobian": "mg.jacobian(several)",
    "value_and_grad": "mg.value_and_grad(potential)",
    "grad_of_grad": "mg.grad(lambda v: (mg.grad(potential)(v) ** 2).sum())",
    "vjp": "lambda x: mg.vjp(several, x)[1](mg.Tensor([1.0, 2.0, 3.0]))",
    "jvp": "lambda x: mg.jvp(several, (x,), (x * 2,))",
    "hvp": "lambda x: mg.hvp(potential, x, x)",
}.items():
    _body = functools.partial(outside, f=_text)
    _body.__module__, _body.__name__ = __name__, f"outside_{_name}"  # type: ignore[attr-defined]
    scenario(_body)


@scenario
def some_results_are_differentiated(C: Any, see: Any) -> None:
    w = weight(3)
    f = C(lambda x: (x * w, (w**2).sum(), mg.tanh(x).sum(), {"a": w.sum() * x[0]}))
    for k in range(9):
        x = mg.Tensor(numbers(k, 3), requires_grad=True)
        a, b, c, d = f(x)
        w.grad = None
        [lambda: a.sum(), lambda: b + c, lambda: d["a"], lambda: a.sum() * b, lambda: c][k % 5]().backward()  # noqa: B023
        see(a, b, c, d, w, x)


@scenario
def retained_and_differentiated_again(C: Any, see: Any) -> None:
    w = weight(3)
    f = C(lambda x: mg.exp(x * w).sum())
    for k in range(7):
        y = f(numbers(k, 3))
        y.backward(retain_graph=True)
        y.backward()
        see.kind_of(y.backward)
        see(w)


@scenario
def results_of_two_calls_added(C: Any, see: Any) -> None:
    w = weight(3)
    f = C(lambda x: (x * w).sum() ** 2)
    for k in range(7):
        w.grad = None
        (f(numbers(k, 3)) + 2 * f(numbers(k + 9, 3))).backward()
        see(w)


@scenario
def compiled_feature_extractor(C: Any, see: Any) -> None:
    body = nn.Sequential(nn.Linear(3, 5, bias=False, rng=0), nn.BatchNorm(5), nn.ReLU(), nn.Dropout(0.3, rng=1))
    head = nn.Linear(5, 4, rng=2)
    features = C(lambda x: body(x))
    optimizer = optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
    for k in range(9):
        x, y = batch(k)
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features(x)), y)
        loss.backward()
        optimizer.step()
        see(loss, body, head)
        if k in (4, 6):
            body.eval()
            see(features(x))
            body.train()


@scenario
def extractor_frozen_and_thawed(C: Any, see: Any) -> None:
    body, head = mlp(), nn.Linear(4, 2, rng=3)
    features = C(lambda x: body(x))
    for k in range(10):
        for p in body.parameters():
            p.requires_grad = k not in (4, 5)
        body.zero_grad()
        head.zero_grad()
        (head(features(numbers(k, 2, 3))) ** 2).sum().backward()
        see(body, head)


@scenario
def evaluated_between_forward_and_backward(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5, rng=1), nn.BatchNorm(4))
    f = C(lambda x: (model(x) ** 2 * np.arange(4.0)).sum())
    for k in range(7):
        model.zero_grad()
        y = f(numbers(k, 5, 3))
        model.eval()
        f(numbers(k + 30, 5, 3))
        model.train()
        see.kind_of(y.backward)
        see(model)


@scenario
def hook_on_a_compiled_result(C: Any, see: Any) -> None:
    w, seen = weight(3), []
    f = C(lambda x: x * w)
    for k in range(6):
        w.grad = None
        y = f(numbers(k, 3))
        if hasattr(y, "register_hook"):
            y.register_hook(lambda g: seen.append(np.array(g.data if isinstance(g, mg.Tensor) else g)))
        (y**2).sum().backward()
        see(w, list(seen))


@scenario
def checkpointed_layers_in_a_step(C: Any, see: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.3, rng=1), nn.Tanh(), nn.Linear(4, 4, rng=2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @C
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        h = mg.checkpoint(lambda v: model[2](model[1](model[0](v))))(mg.Tensor(x))
        loss = F.cross_entropy(model[3](h), y)
        loss.backward()
        optimizer.step()
        return loss

    for k in range(7):
        see(step(*batch(k)), model)


@scenario
def compiled_function_checkpointed(C: Any, see: Any) -> None:
    w, rng = weight(3), np.random.default_rng(0)
    f = C(lambda x: mg.tanh(x * w) * rng.random(3))
    for k in range(6):
        w.grad = None
        mg.checkpoint(f)(mg.Tensor(numbers(k, 3), requires_grad=True)).sum().backward()
        see(w, rng)


@scenario
def gradient_of_a_gradient_step(C: Any, see: Any) -> None:
    target = numbers(5, 3)

    @C
    def outer(rate: Any, x: Any) -> Any:
        moved = x - rate * mg.grad(lambda v: (mg.sin(v) ** 2).sum())(x)
        return ((moved - target) ** 2).sum()

    for k in range(7):
        rate = mg.Tensor(0.1 * (k + 1), requires_grad=True)
        outer(rate, mg.Tensor(numbers(k, 3))).backward()
        see(rate)


@scenario
def seeds_of_a_backward_pass(C: Any, see: Any) -> None:
    w = weight(3)

    @C
    def step(x: Any, dy: Any) -> Any:
        w.grad = None
        y = mg.exp(x * w)
        y.backward(dy)
        return y

    for k in range(8):
        see(step(numbers(k, 3), numbers(k + 5, 3) if k % 3 else np.zeros(3)), w)


@scenario
def optimizer_of_inputs(C: Any, see: Any) -> None:
    model = mlp()

    @C
    def attack(x: Any, y: Any, size: float) -> Any:
        t = mg.Tensor(x, requires_grad=True)
        F.cross_entropy(model(t), y).backward()
        return x + size * np.sign(t.grad.data)

    for k in range(8):
        x, y = batch(k)
        see(attack(attack(x, y, 0.1), y, 0.05 * (k + 1)), model)


@scenario
def results_detached_and_reused(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(last=mg.zeros(3))

    @C
    def step(x: Any) -> Any:
        w.grad = None
        y = mg.tanh(x * w + s.last)
        (y**2).sum().backward()
        s.last = y.detach()
        return y

    for k in range(8):
        see(step(numbers(k, 3)), s, w)
