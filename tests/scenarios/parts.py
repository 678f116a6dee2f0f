"""Data and models that scenarios share."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import nn


def numbers(k: int, *shape: int) -> Any:
    """Normal numbers, the same for the same k."""
    return np.random.default_rng([7, k]).normal(size=shape)


def batch(k: int, n: int = 5, d: int = 3, classes: int = 4) -> tuple[Any, Any]:
    """Inputs (n, d) and labels (n,)."""
    r = np.random.default_rng([8, k])
    return r.normal(size=(n, d)), r.integers(0, classes, n)


def mlp(rng: int = 0, d: int = 3, hidden: int = 6, classes: int = 4) -> nn.Sequential:
    """A network of two layers."""
    r = np.random.default_rng(rng)
    return nn.Sequential(nn.Linear(d, hidden, rng=r), nn.Tanh(), nn.Linear(hidden, classes, rng=r))


def weight(*shape: int, seed: int = 0) -> Any:
    """A parameter."""
    return mg.Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True)


def trainer(model: Any, optimizer: Any, loss: Any = F.cross_entropy) -> Any:
    """A step of training."""

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step


def in_json(x: Any) -> str:
    """x as JSON; C code raises a TypeError for what is no number to it, which is caught here."""
    try:
        return json.dumps(x)
    except TypeError:
        return "no number"
