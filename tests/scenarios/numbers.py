"""The only element of an array as a Python number: returned, kept, added up, and what happens if it is looked at."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import optim
from scenarios.parts import mlp, numbers, weight
from scenarios.scenario import scenario


def _calls(C: Any, see: Any, function: Any, *shape: int, dtype: Any = float) -> None:
    step = C(function)
    for k in range(6):
        see(step(numbers(k, *(shape or (3,))).astype(dtype)))


@scenario
def item_returned(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: x.sum().item())


@scenario
def float_returned(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: float(x.sum()))


@scenario
def float_of_single_precision(C: Any, see: Any) -> None:
    step = C(lambda x: (float(x.mean()), x.max().item(), float(x[0])))
    for k in range(6):
        found = step(numbers(k, 3).astype(np.float32))
        see(*map(type, found), *map(np.float32, found))


@scenario
def float_of_a_tensor(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: float(mg.sum(mg.exp(mg.Tensor(x)))))


@scenario
def float_of_one_element(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: (x * 2).item() + (x[0] * 3).item(), 1)
    _calls(C, see, lambda x: (x * 2).item() + (x[0, 0] * 3).item(), 1, 1)


@scenario
def int_of_integers(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: (int(np.argmax(x)), np.argmin(x).item(), int((x > 0).sum())))


@scenario
def float_of_integers_and_bools(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: (float(np.argmax(x)), float(x[0] > 0), float((x > 0).sum())))


@scenario
def int_of_a_float(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: int(x.sum() * 10))


@scenario
def arithmetic_with_floats(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        a, b = float(x.sum()), x.mean().item()
        return a * 2 + b - 1, x * a, -b, abs(b)

    _calls(C, see, step)


@scenario
def division_by_a_float(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        return 1.0 / float(x.sum()), x / x.sum().item()

    _calls(C, see, step)


@scenario(eager=True)
def loss_of_a_training_step(C: Any, see: Any) -> None:
    model = mlp()
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    step = C(step)
    for k in range(8):
        see(step(numbers(k, 5, 3), np.arange(5) % 4))
    see(*model.parameters())


@scenario
def losses_in_a_history(C: Any, see: Any) -> None:
    w, history = weight(3), []

    def step(x: Any) -> None:
        loss = ((w * x) ** 2).sum()
        loss.backward()
        history.append(loss.item())

    step = C(step)
    for k in range(12):
        step(numbers(k, 3))
        see(history, w.grad)
        w.grad = None


@scenario
def losses_added_up(C: Any, see: Any) -> None:
    s = SimpleNamespace(total=0.0, count=0, last=None)

    def step(x: Any) -> None:
        loss = (x**2).sum()
        s.total += float(loss)
        s.count += len(x)
        s.last = loss.item()

    step = C(step)
    for k in range(8):
        step(numbers(k, 3))
        see(s.total, s.count, s.last)


@scenario
def correct_predictions_counted(C: Any, see: Any) -> None:
    s = SimpleNamespace(correct=0)

    def step(x: Any, y: Any) -> None:
        s.correct += int((x.argmax(axis=1) == y).sum())

    step = C(step)
    for k in range(8):
        step(numbers(k, 5, 3), np.arange(5) % 3)
        see(s.correct)


@scenario
def division_by_zero(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        return 1.0 / x.sum().item(), 7 // x.astype(int)[0].item(), x / x[1].item()

    step = C(step)
    for k in range(9):
        see.attempt(step, np.array([3.0 - (k == 5) * 3, 2.0 - (k == 7) * 2]))


@scenario(eager=True)
def integers_that_grow(C: Any, see: Any) -> None:
    s = SimpleNamespace(n=1, m=0)

    def step(x: Any) -> Any:
        s.n = s.n * int(x.sum())
        s.m += x[0].item() * 2
        return s.n - 1, -s.m, abs(s.m), s.m % 7

    step = C(step)
    for k in range(24):
        see(step(np.array([k, 5, 3]) % 9 + 1))


@scenario(eager=True)
def float_in_a_text(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: f"loss {float(x.sum()):.3f}")


@scenario(eager=True)
def float_that_is_rounded(C: Any, see: Any) -> None:
    _calls(C, see, lambda x: round(float(x.sum()), 3))


@scenario
def a_value_before_it_is_overwritten(C: Any, see: Any) -> None:
    s = SimpleNamespace(x=np.zeros(1))

    def step(x: Any) -> Any:
        before = s.x.item()
        s.x += x[:1]
        after = s.x.item()
        s.x[0] = 7.0
        return before, after, s.x.item()

    _calls(C, see, step)


@scenario
def gradient_norm_returned(C: Any, see: Any) -> None:
    w = weight(3)

    def step(x: Any) -> Any:
        ((w * x) ** 2).sum().backward()
        norm = float(np.sqrt((w.grad**2).sum()))
        w.grad = None
        return {"norm": norm, "half": 0.5 * norm}

    _calls(C, see, step)


def _of(C: Any, see: Any, step: Any, values: Any) -> None:
    step = C(step)
    for k, v in enumerate(values):
        see.attempt(step, numbers(k, 3), np.array(v, float))


UPS = [1, 2, -1, 3, -2, 1, -1, 2, -3, 4, 1, 1, -1]


@scenario
def branch_on_an_array(C: Any, see: Any) -> None:
    _of(C, see, lambda x, v: x * 2 if v > 0 else x - v, UPS)


@scenario
def branch_on_a_tensor(C: Any, see: Any) -> None:
    w = weight(3)

    def step(x: Any, v: Any) -> Any:
        loss = ((w * x) ** 2).sum() * v
        if loss > 0:
            loss.backward()
        return loss

    _of(C, see, step, UPS)
    see(w)


@scenario
def branch_that_is_taken_late(C: Any, see: Any) -> None:
    s = SimpleNamespace(skipped=0, w=np.ones(3))

    def step(x: Any, v: Any) -> Any:
        if not np.isfinite(v):
            s.skipped += 1
            return None
        s.w = s.w * 0.9 + x * v
        return s.w.sum()

    _of(C, see, step, [1, 2, 3, 4, 5, 6, 7, np.nan, 8, 9, np.inf, 1, np.nan, 2])
    see(s.w, s.skipped)


@scenario
def best_loss_is_kept(C: Any, see: Any) -> None:
    s = SimpleNamespace(best=np.inf, at=0, k=0)

    def step(x: Any, v: Any) -> Any:
        loss = float(v * v)
        s.k += 1
        if loss < s.best:
            s.best, s.at = loss, s.k
        return s.best

    _of(C, see, step, [5, 4, 6, 3, 7, 2, 8, 1, 9, 0.5, 3])
    see(s.best, s.at)


@scenario
def gradients_are_clipped_if_large(C: Any, see: Any) -> None:
    w = weight(3)
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: Any, v: Any) -> Any:
        optimizer.zero_grad()
        ((w * x * v) ** 2).sum().backward()
        norm = np.sqrt((w.grad**2).sum())
        if norm > 1.0:
            w.grad = w.grad / norm
        optimizer.step()
        return norm

    _of(C, see, step, [1, 0.1, 2, 0.2, 3, 0.1, 1, 1, 0.01, 5])
    see(w)


@scenario
def assertions(C: Any, see: Any) -> None:
    def step(x: Any, v: Any) -> Any:
        assert v < 3, "too large"
        if v < 0:
            raise ValueError("negative")
        return x * v

    _of(C, see, step, [1, 2, 1, 4, 2, -1, 1, 2, 5, -2, 1])


@scenario
def several_branches(C: Any, see: Any) -> None:
    def step(x: Any, v: Any) -> Any:
        y = x
        if v > 0:
            y = y * 2
        if v > 1:
            y = y + v
        if (y > 2).any():
            y = -y
        return y

    _of(C, see, step, [0, 2, 0.5, -1, 3, 2, 2, 0.1, 5, -1, 1])


@scenario
def loop_until_it_is_small(C: Any, see: Any) -> None:
    def step(x: Any, v: Any) -> Any:
        n = 0
        while v > 1:
            v, n = v / 2, n + 1
        return v, n

    _of(C, see, step, [5, 3, 9, 1, 5, 5, 3, 9, 17])


@scenario(eager=True)
def loop_with_many_lengths(C: Any, see: Any) -> None:
    def step(x: Any, v: Any) -> Any:
        while v > 1:
            v = v - 1
        return v

    _of(C, see, step, range(20))


@scenario
def drawn_numbers_decide(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)

    def step(x: Any, v: Any) -> Any:
        noise = rng.normal(size=3)
        return x + noise if rng.random() < 0.5 else x * noise

    _of(C, see, step, range(14))
    see(rng)


@scenario
def decided_after_a_write(C: Any, see: Any) -> None:
    s = SimpleNamespace(w=np.ones(3), history=[])

    def step(x: Any, v: Any) -> Any:
        s.w += x
        s.history.append(v)
        if s.w.sum() * v > 0:
            s.w *= 0.5
            return "halved"
        s.w[0] = v
        return "kept"

    _of(C, see, step, UPS)
    see(s.w, s.history)


@scenario
def differentiated_through_a_branch(C: Any, see: Any) -> None:
    w = weight(3)
    f = C(lambda x: (w * x).sum() if x[0] > 0 else (w**2 * x).sum())
    for k in range(10):
        x = numbers(k, 3)
        f(x).backward()
        see(w.grad)


@scenario
def printing_in_a_rare_branch(C: Any, see: Any) -> None:
    def step(x: Any, v: Any) -> Any:
        if v > 3:
            print("large", end="")
        return x * v

    _of(C, see, step, [1, 2, 1, 2, 4, 1, 2, 5, 1])


@scenario
def the_smaller_of_two(C: Any, see: Any) -> None:
    s = SimpleNamespace(best=1e9)

    def step(x: Any, v: Any) -> Any:
        s.best = min(s.best, v.item())
        return max(x[0], x[1]), s.best

    _of(C, see, step, [5, 4, 6, 3, 7, 2, 8, 1, 9, 0.5, 3])


@scenario
def integers_are_compared(C: Any, see: Any) -> None:
    def step(x: Any, v: Any) -> Any:
        n = int(np.argmax(x))
        return x * 2 if n == 1 else (x if n < 1.5 else -x)

    _of(C, see, step, range(12))


@scenario
def results_of_ways_differ_in_structure(C: Any, see: Any) -> None:
    w = weight(3)

    def step(x: Any, v: Any) -> Any:
        y = (w * x).sum()
        if v > 0:
            return y, (w * w).sum()
        return x.sum(), y * 2

    step = C(step)
    for k, v in enumerate(UPS):
        one, two = step(numbers(k, 3), np.array(float(v)))
        (two + (one if v > 0 else 0)).backward()
        see(one, two, w.grad)


@scenario
def the_way_changes_before_the_backward_pass(C: Any, see: Any) -> None:
    w, s = weight(3), SimpleNamespace(k=0)

    def step(x: Any) -> Any:
        s.k = s.k + 1
        return (w * x).sum() if x[0] > 0 else (w * w * x).sum() * s.k

    step = C(step)
    for k in range(8):
        one, two = step(np.array([1.0, k, 2.0])), step(np.array([-1.0, k, 2.0]))
        (one * 2).backward()
        two.backward()
        see(w.grad, s.k)


@scenario
def decided_otherwise_first(C: Any, see: Any) -> None:
    """In a kernel the decision has an axis."""
    step = C(lambda x: "many" if (x > 0).sum() > 2 else "few")
    for k in range(20):
        see(step(numbers(k, 3)), step(numbers(k, 3)[:1] + 1))


@scenario
def decided_by_the_last_digit(C: Any, see: Any) -> None:
    """Where rounding decides, the step itself does."""
    step = C(lambda x, s: "hit" if (x / s).max() >= 1.0 else "miss")
    other = C(lambda x: "above" if (x - x.mean()).sum() > 0 else "below")
    for k in range(20):
        s = float(k % 50 + 3)
        see(step(np.full(4, s), np.array(s)), other(numbers(k, 7)))


@scenario
def scalars_stay_scalars(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        best = x.sum()
        kept = [best.copy(), best.astype(np.float32), best.T, best.squeeze(), best.view(), np.squeeze(best), best.imag]
        best += 1
        return [*kept, *map(type, kept), best]

    _calls(C, see, step)


@scenario(eager=True)
def drawn_numbers_as_keys(C: Any, see: Any) -> None:
    rng, found = np.random.default_rng(0), {}

    def step(x: Any) -> Any:
        k = int(rng.integers(3))
        found[k] = found.get(k, 0) + 1
        found["pair", k] = x
        return x

    _calls(C, see, step)
    see(sorted(map(str, found)), [type(k) for k in found])


@scenario(eager=True)
def drawn_numbers_for_other_code(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)

    def step(x: Any) -> Any:
        return json.dumps([rng.random()]), pow(int(rng.integers(5)), 2, 3), rng.random() * 1j

    _calls(C, see, step)


@scenario(eager=True)
def drawn_numbers_beside_large_integers(C: Any, see: Any) -> None:
    rng = np.random.default_rng(0)
    for step in (
        lambda x: x if rng.random() < 2**60 else -x,
        lambda x: x * 2 if rng.random() > -(10**20) else x,
        lambda x: x if int(rng.integers(5)) + 2**63 > 3 else -x,
    ):
        _calls(C, see, step)
