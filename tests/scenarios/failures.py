"""Exceptions: of the user, of checks of values, half way through a step, caught inside, and calls after them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from scenarios.parts import batch, mlp, numbers, trainer, weight
from scenarios.scenario import SCENARIOS, Scenario, scenario


class Refused(Exception):
    """An error of the user's."""


@scenario
def label_out_of_range(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = C(trainer(model, optimizer))
    for k in range(10):
        x, y = batch(k)
        y[1] = {4: -1, 6: 4}.get(k, y[1])
        see.attempt(step, x, y)
        see(model, optimizer)


@scenario
def index_out_of_range(C: Any, see: Any) -> None:
    table = nn.Embedding(5, 2, rng=0)
    step = C(lambda i: table(i) * 2)
    for i in ([0, 1], [4, 0], [1, 5], [-5, 2], [-6, 0], [0, 1]):
        see.attempt(step, np.array(i))


@scenario
def plain_index_out_of_range(C: Any, see: Any) -> None:
    s = np.zeros(4)

    @C
    def step(x: Any, i: Any) -> Any:
        s[0] += 1
        return x[i] + s[0]

    for i in ([0, 1], [3, 0], [1, 4], [-4, 2], [-5, 0], [0, 1]):
        see.attempt(step, numbers(0, 4), np.array(i))
        see(s)


@scenario
def raise_by_a_flag(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(fail=False, calls=np.zeros(()))

    @C
    def step(x: Any) -> Any:
        s.calls += 1
        (w * x).sum().backward()
        if s.fail:
            raise Refused(f"after {s.calls.shape}")
        return w.grad * 2

    for k in range(8):
        s.fail = k in (3, 4, 6)
        see.attempt(step, numbers(k, 3))
        see(w, s)


@scenario
def raise_at_the_first_call(C: Any, see: Any) -> None:
    s = SimpleNamespace(ready=False, n=np.zeros(3))

    @C
    def step(x: Any) -> Any:
        s.n += x
        if not s.ready:
            raise Refused("not ready")
        return s.n * 2

    for k in range(7):
        s.ready = k not in (0, 1, 4)
        see.attempt(step, numbers(k, 3))
        see(s)


def interrupted(calls: tuple[int, ...], error: type[BaseException]) -> Any:
    """A scenario in which something that the step calls raises at some calls, half way through."""

    def run(C: Any, see: Any) -> None:
        w, s = weight(3), SimpleNamespace(a=np.zeros(3), k=0, log={})
        optimizer = optim.SGD([w], lr=0.1, momentum=0.5)

        def probe() -> None:
            if s.k in calls:
                raise error("stopped")

        @C
        def step(x: Any) -> Any:
            optimizer.zero_grad()
            s.a += x
            loss = (w * s.a).sum()
            s.log["loss"] = loss.detach()
            loss.backward()
            probe()
            optimizer.step()
            s.a *= 0.5
            return loss

        for k in range(8):
            s.k = k
            see.attempt(step, numbers(k, 3))
            see(w, s, optimizer)

    return run


for _calls in ((0,), (1,), (4,), (0, 1, 2)):
    for _error in (KeyboardInterrupt, ValueError):
        _name = f"failures-{_error.__name__}_at_{'_'.join(map(str, _calls))}"
        SCENARIOS[_name] = Scenario(_name, "failures", interrupted(_calls, _error))


@scenario
def caught_inside(C: Any, see: Any) -> None:
    s = SimpleNamespace(options={"scale": 2.0})

    @C
    def step(x: Any) -> Any:
        try:
            scale = s.options["scale"]
        except KeyError:
            scale = 1.0
        return x * scale

    for k in range(8):
        if k in (3, 6):
            s.options = {} if k == 3 else {"scale": 5.0}
        see(step(numbers(k, 3)))


@scenario
def caught_error_of_a_check(C: Any, see: Any) -> None:
    @C
    def step(x: Any, y: Any) -> Any:
        try:
            return F.cross_entropy(mg.asarray(x), y)
        except (ValueError, IndexError):
            return x.sum()

    for k in range(8):
        x, y = numbers(k, 2, 3), np.array([0, 1 + (k % 3 == 2) * 5])
        see(step(x, y))


@scenario
def finally_clause(C: Any, see: Any) -> None:
    s = SimpleNamespace(depth=0, fail=False)

    @C
    def step(x: Any) -> Any:
        s.depth += 1
        try:
            if s.fail:
                raise Refused
            return x * s.depth
        finally:
            s.depth -= 1

    for k in range(8):
        s.fail = k in (2, 5)
        see.attempt(step, numbers(k, 3))
        see(s)


@scenario
def raised_from(C: Any, see: Any) -> None:
    table = {"a": 1.0}

    @C
    def step(x: Any, name: str) -> Any:
        try:
            return x * table[name]
        except KeyError as error:
            raise Refused(f"no {name}") from error

    for k, name in enumerate("aaabab"):
        see.attempt(step, numbers(k, 3), name)


@scenario
def assertion_on_shapes(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        assert x.shape[-1] == 3, f"{x.shape}"
        return x * 2

    for k, n in enumerate([3, 3, 4, 3, 2, 3]):
        see.attempt(step, numbers(k, n))


@scenario
def assertion_on_values(C: Any, see: Any) -> None:
    @C
    def step(x: Any) -> Any:
        assert np.isfinite(x).all(), "not finite"
        return x * 2

    for k in range(8):
        see.attempt(step, np.full(3, np.nan if k in (3, 5) else float(k)))


@scenario
def shape_error_in_a_layer(C: Any, see: Any) -> None:
    model = mlp()
    step = C(lambda x: model(x))
    for k, d in enumerate([3, 3, 4, 3, 5, 3]):
        see.attempt(step, numbers(k, 2, d))


@scenario
def backward_without_a_graph(C: Any, see: Any) -> None:
    w = weight(3)
    step = C(lambda x: (w * x).sum().backward())
    for k in range(8):
        w.requires_grad = k not in (3, 4)
        see.attempt(step, numbers(k, 3))
        see(w)


@scenario
def domain_of_probabilities(C: Any, see: Any) -> None:
    step = C(lambda p: F.binary_cross_entropy(mg.asarray(p), np.array([0.0, 1.0])))
    for p in ([0.2, 0.3], [0.5, 0.5], [1.5, 0.5], [0.1, 0.2], [-0.1, 0.2], [0.3, 0.3]):
        see.attempt(step, np.array(p))


@scenario
def targets_of_another_encoding(C: Any, see: Any) -> None:
    step = C(lambda x, y: F.cosine_embedding_loss(mg.asarray(x), x[::-1] * 2, y))
    for k in range(7):
        y = np.array([1.0, 0.0 if k in (3, 5) else -1.0])
        see.attempt(step, numbers(k, 2, 3), y)


@scenario
def singular_matrix(C: Any, see: Any) -> None:
    step = C(lambda a: np.linalg.inv(a) * 2)
    for k in range(8):
        see.attempt(step, np.eye(2) * (0.0 if k in (3, 5) else k + 1.0))


@scenario
def division_of_integers_by_zero(C: Any, see: Any) -> None:
    s = SimpleNamespace(parts=2)
    step = C(lambda x: x * (12 // s.parts))
    for k in range(8):
        s.parts = (2, 3, 0, 4)[k % 4]
        see.attempt(step, numbers(k, 3))


@scenario
def retried_after_a_failure(C: Any, see: Any) -> None:
    rng, w, s = np.random.default_rng(0), weight(3), {"fail": 0}

    @C
    def step(x: Any) -> Any:
        noise = rng.normal(size=3)
        if s["fail"]:
            raise Refused("again")
        w.data = w.data + 0.1 * noise * x
        return noise

    for k in range(8):
        s["fail"] = int(k in (1, 5))
        see.attempt(step, numbers(k, 3))
        if s["fail"]:
            s["fail"] = 0
            see.attempt(step, numbers(k, 3))
        see(w, rng)
