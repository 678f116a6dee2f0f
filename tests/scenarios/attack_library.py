"""Calls of NumPy and SciPy whose C code does more to an array than to compute with it."""

from __future__ import annotations

from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from scenarios.attack_state import drive
from scenarios.parts import numbers
from scenarios.scenario import scenario

# Shuffled and drawn in place


@scenario(eager=True)
def rows_shuffled_in_place(C: Any, see: Any) -> None:
    np.random.seed(0)  # noqa: NPY002
    data, held = np.arange(12.0).reshape(6, 2), np.random.default_rng(1).shuffle

    def step(x: Any) -> Any:
        np.random.shuffle(data)  # noqa: NPY002
        held(data)
        np.random.default_rng(2).shuffle(data)
        copied = data * 2
        np.random.RandomState(3).shuffle(copied.T)
        return copied, x * 2

    drive(C, see, step)
    see(data)


@scenario(eager=True)
def columns_shuffled_by_a_generator_of_the_step(C: Any, see: Any) -> None:
    data = np.arange(12.0).reshape(6, 2)

    def step(x: Any) -> Any:
        np.random.default_rng(0).shuffle(data, axis=1)
        return data[0] * 2

    drive(C, see, step)


@scenario(eager=True)
def drawn_into_an_array(C: Any, see: Any) -> None:
    buffer = np.zeros(3)

    def step(x: Any) -> Any:
        np.random.default_rng(0).standard_normal(out=buffer)
        return buffer + x

    drive(C, see, step)
    see(buffer)


# SciPy


@scenario(eager=True)
def determinants_by_scipy(C: Any, see: Any) -> None:
    linalg = __import__("scipy.linalg").linalg
    x = np.array([[4.0, 1.0], [2.0, 3.0]])
    drive(C, see, lambda y: (linalg.det(x), linalg.lu(x)[1], x.sum() + y))
    see(x)


@scenario
def special_functions_of_scipy(C: Any, see: Any) -> None:
    special = __import__("scipy.special").special

    def step(x: Any) -> Any:
        size = np.abs(x) + 0.5
        return special.expit(x) * 2, special.gammaln(size), special.xlogy(size, size), special.erf(x.astype("float32"))

    drive(C, see, step)


# Limits, and arrays that are returned as they are


@scenario
def clipped_without_limits(C: Any, see: Any) -> None:
    kept = np.ones(3)

    def step(x: Any) -> Any:
        y = np.clip(kept, None, None)
        y *= 0.5
        z = x.clip(None, None)
        z += y
        return y, z, x.clip(0.1), x.clip(max=0.2), np.clip(x, min=-0.1, max=0.1), np.clip(x, a_min=0, a_max=None)

    drive(C, see, step)
    see(kept)


@scenario
def clipped_into_an_array(C: Any, see: Any) -> None:
    kept = np.arange(3.0) - 1

    def step(x: Any) -> Any:
        np.clip(x, -0.1, 0.1, kept)
        kept.clip(0, 1, kept)
        return kept * 2

    drive(C, see, step)
    see(kept)


@scenario
def clipped_with_one_limit_by_place(C: Any, see: Any) -> None:
    compiled = C(lambda x: np.clip(x, 0))
    for k in range(4):
        see.attempt(compiled, numbers(k, 3))


@scenario
def conjugates_of_real_numbers(C: Any, see: Any) -> None:
    kept = np.arange(3.0)

    def step(x: Any) -> Any:
        y = kept.conj()
        y *= 2
        return y.conjugate() is y, y

    drive(C, see, step)
    see(kept)


@scenario(eager=True)
def windows_that_can_be_written(C: Any, see: Any) -> None:
    kept = np.zeros(4)

    def step(x: Any) -> Any:
        np.lib.stride_tricks.sliding_window_view(kept, 2, writeable=True)[0, 0] = 3
        return kept + x.sum()

    drive(C, see, step)


# Half precision, and parts of Tensors


@scenario
def gelu_in_half_precision(C: Any, see: Any) -> None:
    def step(x: Any) -> Any:
        half = x.astype("float16")
        return F.gelu(mg.Tensor(half)), mg.erf(half), F.gelu(half, approximate="tanh")

    drive(C, see, step)


@scenario
def parts_of_tensors(C: Any, see: Any) -> None:
    whole = mg.Tensor(np.ones((3, 4)))
    held = {"part": whole[0]}

    def step(x: Any) -> Any:
        held["part"] *= 0.5
        h = mg.Tensor(x) * 2
        for row in whole:
            h = h + row.sum()
        return h, h[-1], whole.sum()

    compiled = C(step)
    for k in range(6):
        found = see.attempt(compiled, numbers(k, 3))
        see(held)
        del found
        see.attempt(lambda: whole[0].__setitem__(1, 2.0))
