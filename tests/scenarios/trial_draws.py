"""Generators of every kind inside a step: in place, with bounds, shared, set back, jumped, legacy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from scenarios.parts import numbers
from scenarios.scenario import scenario

DRAWS: dict[str, Callable[[Any, Any], Any]] = {
    "shuffled": lambda rng, x: (lambda a: (rng.shuffle(a), a)[1])(x.copy()),  # noqa: PLC3002
    "shuffled_along": lambda rng, x: (lambda a: (rng.shuffle(a, axis=1), a)[1])(x.copy()),  # noqa: PLC3002
    "permuted": lambda rng, x: (rng.permuted(x, axis=1), rng.permutation(x), rng.permutation(5)),
    "permuted_into": lambda rng, x: rng.permuted(x, out=np.empty_like(x)),
    "bytes": lambda rng, x: (rng.bytes(5), x * 2),
    "integers": lambda rng, x: (
        rng.integers(5),
        rng.integers(0, [3, 9, 100]),
        rng.integers(0, 9, (2, 2), dtype=np.uint8),
    ),
    "integers_included": lambda rng, x: rng.integers(1, 6, size=4, endpoint=True) * x[0, 0],
    "numbers": lambda rng, x: (rng.random(), rng.normal(), rng.uniform(2, 3), rng.exponential(), x * rng.random()),
    "types_of_numbers": lambda rng, x: (type(rng.random()).__name__, type(rng.integers(3)).__name__, rng.normal() * 2),
    "choice": lambda rng, x: (rng.choice(5), rng.choice(9, 3, replace=False), rng.choice([1.5, 2.5], 2, p=[0.2, 0.8])),
    "choice_of_rows": lambda rng, x: rng.choice(x, 2, axis=0),
    "multivariate": lambda rng, x: (
        rng.multivariate_normal([0, 1], np.eye(2), 3),
        rng.dirichlet([1, 2, 3]),
        rng.multinomial(9, [0.2, 0.8]),
    ),
    "single": lambda rng, x: (
        rng.random(3, dtype=np.float32),
        rng.standard_normal((2, 2), dtype="f4"),
        rng.standard_exponential(2),
    ),
    "counts": lambda rng, x: (
        rng.poisson(3.0, 4),
        rng.binomial(9, 0.3, 4),
        rng.geometric(0.5),
        rng.hypergeometric(3, 4, 5),
    ),
    "others": lambda rng, x: (
        rng.gamma(2.0, size=2),
        rng.beta(1, 2),
        rng.laplace(size=3),
        rng.standard_t(3),
        rng.vonmises(0, 1),
        rng.triangular(0, 1, 2),
    ),
    "with_array_parameters": lambda rng, x: rng.normal(x, np.abs(x)),
    "success_of_the_data": lambda rng, x: rng.binomial(1, 1 / (1 + np.exp(-x))) + rng.poisson(x * x),
    "chosen_from_the_data": lambda rng, x: (rng.choice(x[0], 2), rng.permutation(x), rng.permuted(x, axis=0)),
    "chosen_by_the_data": lambda rng, x: rng.choice(3, 2, p=np.abs(x[0]) / np.abs(x[0]).sum()) * x[0, :2],
    "refused_by_the_data": lambda rng, x: (rng.random(2), rng.normal(0, x + 2)),
    "shuffled_view": lambda rng, x: (lambda a: (rng.shuffle(a[::-1]), rng.shuffle(a[0]), a * 2))(x.copy()),  # noqa: PLC3002
    "shuffled_list": lambda rng, x: (lambda a: (rng.shuffle(a), x * a[0]))([1, 2, 3]),  # noqa: PLC3002
    "with_constant_parameters": lambda rng, x: rng.normal([1.0, 2.0, 3.0], 0.1, size=(4, 3)) + x,
    "into_an_array": lambda rng, x: rng.random(out=np.empty(3)),
    "with_sizes_of_the_data": lambda rng, x: (
        rng.random(x.shape) + rng.normal(size=len(x))[:, None] + rng.random(x.size).sum()
    ),
    "branch": lambda rng, x: x * 2 if rng.random() < 0.5 else x * 3,
    "masked": lambda rng, x: x * (rng.random(x.shape) < 0.5) / 0.5,
    "in_a_loop": lambda rng, x: sum(rng.normal(size=3) * t for t in range(3)) + x,
    "rows_by_index": lambda rng, x: x[rng.permutation(len(x))[:2]] + x[rng.integers(0, 4, 2)],
    "swapped": lambda rng, x: (lambda i: (x[i], np.argsort(i)))(rng.permutation(4)),  # noqa: PLC3002
    "state_read": lambda rng, x: (rng.bit_generator.state["state"]["state"] % 7, x * rng.random()),
    "raw": lambda rng, x: (rng.bit_generator.random_raw(2), x),
}


def draw(C: Any, see: Any, f: Callable[[Any, Any], Any], kind: str) -> None:
    rng: Any = np.random.default_rng(3)
    s = SimpleNamespace(rng=rng)
    step = C(lambda x: f(rng, x)) if kind == "closure" else C(lambda x: f(s.rng, x))
    for k in range(9):
        see.attempt(step, numbers(k, 4, 3))
        see(rng)
        if k == 4:
            rng.random()
        if k == 6:
            rng.bit_generator.state = np.random.default_rng(k).bit_generator.state
        if k == 7:
            s.rng = np.random.default_rng(9)


for _name, _f in DRAWS.items():
    _body = functools.partial(draw, f=_f, kind="closure" if len(_name) % 2 else "attribute")
    _body.__module__, _body.__name__ = __name__, _name  # type: ignore[attr-defined]
    scenario(eager=_name in ("bytes", "branch", "state_read", "raw"))(_body)


@scenario
def two_generators_on_one_bit_generator(C: Any, see: Any) -> None:
    bits = np.random.PCG64(0)
    a, b = np.random.Generator(bits), np.random.Generator(bits)
    step = C(lambda x: (a.random(2) + x, b.normal(size=2), a.random(2)))
    for k in range(8):
        see(step(numbers(k, 2)), a, b)


@scenario
def other_bit_generators(C: Any, see: Any) -> None:
    gens = [
        np.random.Generator(kind(5))
        for kind in (np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM)
    ]
    step = C(lambda x: [g.normal(size=2) + x for g in gens])
    for k in range(7):
        see(step(numbers(k, 2)))


@scenario
def jumped_in_between(C: Any, see: Any) -> None:
    s = SimpleNamespace(rng=np.random.Generator(np.random.PCG64(1)))
    step = C(lambda x: s.rng.normal(size=2) + x)
    for k in range(9):
        if k == 5:
            s.rng = np.random.Generator(s.rng.bit_generator.jumped())
        if k == 7:
            s.rng.bit_generator.advance(3)
        see(step(numbers(k, 2)))


@scenario(eager=True)
def legacy_state(C: Any, see: Any) -> None:
    state = np.random.RandomState(0)
    step = C(lambda x: (state.randn(2) + x, state.randint(5), state.permutation(3)))
    for k in range(6):
        see(step(numbers(k, 2)), state)


@scenario
def seed_of_the_library_in_between(C: Any, see: Any) -> None:
    from minigrad import nn

    layer = nn.Dropout(0.5)
    step = C(lambda x: layer(mg.Tensor(x)) * 2)
    for k in range(10):
        if k in (4, 8):
            mg.manual_seed(k)
        see(step(numbers(k, 3, 3)))


@scenario
def generator_made_of_the_call_number(C: Any, see: Any) -> None:
    step = C(lambda x, seed: x + np.random.default_rng(seed).normal(size=3))
    for k in range(8):
        see(step(numbers(k, 3), k % 3))


@scenario
def generators_as_arguments(C: Any, see: Any) -> None:
    step = C(lambda x, a, b: (x + a.normal(size=3), b.random(2), a.random()))
    one, two = np.random.default_rng(0), np.random.default_rng(1)
    for k in range(9):
        see(step(numbers(k, 3), *[(one, two), (two, one), (one, one)][k % 3 if k > 3 else 0]), one, two)


@scenario
def generator_in_a_list_and_popped(C: Any, see: Any) -> None:
    gens = [np.random.default_rng(k) for k in range(3)]
    step = C(lambda x: x + gens[0].normal(size=2))
    for k in range(9):
        if k in (4, 6):
            gens.append(gens.pop(0))
        see(step(numbers(k, 2)), gens)


@scenario
def noise_of_an_array_that_is_kept(C: Any, see: Any) -> None:
    rng, s = np.random.default_rng(0), SimpleNamespace(noise=np.zeros(3))

    @C
    def step(x: Any) -> Any:
        s.noise = 0.9 * s.noise + 0.1 * rng.normal(size=3)
        return x + s.noise

    for k in range(8):
        see(step(numbers(k, 3)), s, rng)


@scenario
def width_of_a_schedule(C: Any, see: Any) -> None:
    rng, s = np.random.default_rng(0), SimpleNamespace(width=1.0)
    step = C(lambda x: (x + rng.normal(0, s.width, 3), rng.normal(x, s.width)))
    for k in range(14):
        see(step(numbers(k, 3)), rng.random())
        s.width *= 0.9 if k > 2 else 1.0


@scenario
def permutation_that_is_state(C: Any, see: Any) -> None:
    rng, order = np.random.default_rng(0), np.arange(12).reshape(6, 2)

    def step(x: Any) -> Any:
        rng.shuffle(order[1:])
        rng.shuffle(order, axis=1)
        return x[order[:, 0] % 3]

    compiled = C(step)
    for k in range(8):
        see(compiled(numbers(k, 3)), order, rng.random())
