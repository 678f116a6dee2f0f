"""Writes, views and shared memory inside compiled steps: each case against the same step run eagerly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

CASES: dict[str, Callable[[Any], Any]] = {}


def case(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """make(state) returns a step of one array that may change the arrays in state: p (12,), q (12,), m (3, 4)."""
    CASES[make.__name__] = make
    return make


@case
def overwrite(s: Any) -> Any:
    def step(x: Any) -> Any:
        y = s["p"] * 2
        s["p"][...] = x
        return y, s["p"] + 1

    return step


@case
def exchange(s: Any) -> Any:
    def step(x: Any) -> Any:
        t = s["p"] * 1
        s["p"][...] = s["q"]
        s["q"][...] = t
        return t + x

    return step


@case
def exchange_with_snapshot(s: Any) -> Any:
    def step(x: Any) -> Any:
        t = np.copy(s["p"])
        np.copyto(s["p"], s["q"] + x)
        np.copyto(s["q"], t)

    return step


@case
def view_by_an_opaque_call(s: Any) -> Any:
    """Windows are a view of what they are windows of, whose memory must not be used again while they are read."""

    def step(x: Any) -> Any:
        windows = np.lib.stride_tricks.sliding_window_view(x * 2, 3)
        first = np.sum(windows[:, 0] * 3)
        return first, windows[:, 1] * s["p"][2:], np.sum(windows, axis=1)

    return step


@case
def windows_made_before_the_write(s: Any) -> Any:
    """as_strided keeps the array that it was given behind an object of its own."""

    def step(x: Any) -> Any:
        windows = np.lib.stride_tricks.sliding_window_view(s["p"], 3)
        before = windows * 1
        s["p"] += x
        return before, windows[:, 1] * 2

    return step


@case
def view_made_before_the_write(s: Any) -> Any:
    def step(x: Any) -> Any:
        v = s["p"][2:5]
        w = s["p"].reshape(3, 4).T
        s["p"] += x
        return v * 1, w * 1

    return step


@case
def write_through_a_view(s: Any) -> Any:
    def step(x: Any) -> Any:
        before = s["m"] + 0
        s["m"][1:, ::2] = x[:2]
        s["m"].T[0] -= 1
        s["m"].reshape(-1)[3] = 7
        return before, s["m"] * 2

    return step


@case
def overlapping_parts(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["p"][1:] = s["p"][:-1] * 1
        s["p"][:-1] += s["p"][1:]
        return s["p"].sum()

    return step


@case
def running_mean(s: Any) -> Any:
    def step(x: Any) -> Any:
        np.copyto(s["p"], 0.9 * s["p"] + 0.1 * x)
        return s["p"] * 3

    return step


@case
def moments(s: Any) -> Any:
    def step(x: Any) -> Any:
        m, v = s["p"], s["q"]
        np.multiply(m, 0.9, out=m)
        m += 0.1 * x
        np.multiply(v, 0.99, out=v)
        np.add(v, 0.01 * x * x, out=v)
        return m / (np.sqrt(np.abs(v)) + 1)

    return step


@case
def fresh_memory_written_in_parts(s: Any) -> Any:
    def step(x: Any) -> Any:
        out = np.zeros_like(x, shape=(3, 4))
        out[0] = x[:4]
        out[1:] = 2
        row = out[1]
        row *= x[4:8]
        out.T[2] += 5
        return out, row

    return step


@case
def scatter_into_state(s: Any) -> Any:
    i = np.array([0, 3, 3, 5])

    def step(x: Any) -> Any:
        np.add.at(s["p"], i, x[:4])
        s["q"][i] = x[4:8]
        return s["p"][i], s["q"][::-1]

    return step


@case
def masked_write(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["p"][x > 0] = -1
        np.copyto(s["q"], x, where=s["p"] < 0)
        np.add(s["q"], 1, out=s["q"], where=x < 0)

    return step


@case
def cast_on_writing(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["i"][...] = 2
        s["i"] += 3
        return s["i"] * x

    return step


@case
def state_returned(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["p"] += x
        return s["p"], s["p"][2:4], x

    return step


@case
def argument_written(s: Any) -> Any:
    def step(x: Any) -> Any:
        y = x * 2
        x += s["p"]
        return y

    return step


@case
def chain_of_updates(s: Any) -> Any:
    def step(x: Any) -> Any:
        for _ in range(3):
            s["p"] *= 0.5
            s["p"] += x
            s["q"] -= s["p"]
        return s["q"] @ s["p"]

    return step


@case
def rebound_attribute(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["p"] = 0.5 * s["p"] + x
        s["p"], s["q"] = s["q"], s["p"]

    return step


@case
def operand_read_twice_in_place(s: Any) -> Any:
    def step(x: Any) -> Any:
        p = s["m"]
        p[...] = p + p[::-1]
        p -= p.mean(axis=0)
        return p.T @ p

    return step


@case
def broadcast_into_state(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["m"][...] = x[:4]
        s["m"] += s["m"][0]
        return s["m"][:, 1:2] * s["m"]

    return step


@case
def nan_and_infinity(s: Any) -> Any:
    def step(x: Any) -> Any:
        y = np.where(x > 0, np.nan, x) * 0
        s["p"] /= x - x
        return y, np.maximum(y, 1), np.inf * x

    return step


@case
def zero_dimensional(s: Any) -> Any:
    def step(x: Any) -> Any:
        s["n"] += 1
        scale = 1 / s["n"]
        s["p"] += scale * x
        return s["n"], scale, x[0] + s["p"][s["k"]]

    return step


def state() -> dict[str, Any]:
    r = np.random.default_rng(1)
    arrays = {"p": r.normal(size=12), "q": r.normal(size=12), "m": r.normal(size=(3, 4)), "n": np.zeros(())}
    return arrays | {"i": np.zeros(12, int), "k": 3}


@pytest.mark.parametrize("name", CASES)
def test_hazards_match_eager(name: str) -> None:
    ours, theirs = state(), state()
    compiled, eager = mg.compile(CASES[name](ours)), CASES[name](theirs)
    r = np.random.default_rng(2)
    for _ in range(4):
        x = r.normal(size=12)
        given, same = x.copy(), x.copy()
        with np.errstate(all="ignore"):
            got, expected = compiled(given), eager(same)
        for a, b in zip(flat(got), flat(expected), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(given, same, rtol=1e-13)
        for key in ours:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-12, atol=1e-13, err_msg=key)
    assert len(compiled.versions) == 1


def flat(tree: Any) -> list[Any]:
    return [np.asarray(x) for x in tree] if isinstance(tree, tuple) else [] if tree is None else [np.asarray(tree)]


def test_views_of_one_array_in_different_places() -> None:
    """An optimizer holds one flat array and the model views of it."""
    whole = np.arange(12.0)
    parts = [whole[:6].reshape(2, 3), whole[6:].reshape(3, 2).T]

    @mg.compile
    def step(x: Any) -> Any:
        y = x @ parts[0] + parts[1]
        whole[...] = whole - 0.1
        parts[1][...] *= 2
        return y, whole.sum()

    reference = np.arange(12.0)
    for _ in range(3):
        a, b = reference[:6].reshape(2, 3), reference[6:].reshape(3, 2).T
        expected = np.eye(2) @ a + b
        reference -= 0.1
        b *= 2
        y, total = step(np.eye(2))
        np.testing.assert_allclose(y, expected)
        np.testing.assert_allclose(total, reference.sum())
        np.testing.assert_array_equal(whole, reference)


def test_results_do_not_share_memory_with_anything() -> None:
    p = np.zeros(3)

    @mg.compile
    def step(x: Any) -> Any:
        p[...] = p + x
        return p, x * 2

    first = step(np.ones(3))
    second = step(np.ones(3))
    step(np.ones(3))
    assert first[0] is second[0] is p  # as in an eager step
    assert second[1].tolist() == [2, 2, 2]
