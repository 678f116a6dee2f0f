"""Every gradient of batch norm, computed in four ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from minigrad import functional, fused
from minigrad.demo.report import Report
from minigrad.tape import Tape, pull
from minigrad.tensor import Tensor

Array = Any

LABELS = {"xhat": "x̂", "var": "σ²", "mu": "μ", "x": "x", "gamma": "γ", "beta": "β"}
TOLERANCE = 1e-7  # of the largest element; differences of float64 by central differences stay far below
EPS = 1e-5


def check_batch_norm(seed: int, shape: tuple[int, int] = (8, 5)) -> dict[str, dict[str, float]]:
    """How far each way to compute the gradients of l = Σ dl/dy · y is from the tape of `functional.batch_norm`.

    Returns:
        For xhat, var, mu, x, gamma and beta the largest difference of "equations", "fused" and "differences",
        relative to the gradient's largest element. The fused one is a single line: it has no x̂, σ² and μ inside.
    """
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(1.0, 2.0, shape), rng.normal(size=shape)
    values = {"x": x, "gamma": rng.uniform(0.5, 2.0, shape[1]), "beta": rng.normal(size=shape[1])}
    truth = on_the_tape(values, dy)
    ways = {
        "equations": by_the_equations(values, dy),
        "fused": by_the_fused(values, dy),
        "differences": by_differences(values, dy, truth),
    }
    return {
        name: {way: _difference(found[name], v) for way, found in ways.items() if name in found}
        for name, v in truth.items()
    }


def _difference(found: Array, truth: Array) -> float:
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def on_the_tape(values: Mapping[str, Array], dy: Array) -> dict[str, Array]:
    """Reverse mode through the composed batch norm, with the gradients of its named lines."""
    tensors = {name: Tensor(value, requires_grad=True).named(name) for name, value in values.items()}
    y = functional.batch_norm(tensors["x"], tensors["gamma"], tensors["beta"], eps=EPS)
    lines = {getattr(line, "name", None): line for line in Tape(y)}
    named = {name: lines[name] for name in LABELS}
    found = pull(Tape(y), {y.node: dy}, keep=named.values())
    return {name: found[line] for name, line in named.items()}


def by_the_fused(values: Mapping[str, Array], dy: Array) -> dict[str, Array]:
    """The hand-derived pull of `fused.batch_norm`."""
    tensors = {name: Tensor(value, requires_grad=True) for name, value in values.items()}
    y, _, _ = fused.batch_norm(tensors["x"], tensors["gamma"], tensors["beta"], eps=EPS)
    y.backward(dy)
    return {name: t.grad.numpy() for name, t in tensors.items() if t.grad is not None}


def by_the_equations(values: Mapping[str, Array], dy: Array) -> dict[str, Array]:
    """The chain rule by hand (Ioffe & Szegedy 2015, section 3), in NumPy."""
    x, gamma = values["x"], values["gamma"]
    n, mu = len(x), x.mean(axis=0)
    var = ((x - mu) ** 2).mean(axis=0)
    std = np.sqrt(var + EPS)
    dxhat = dy * gamma
    dvar = (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + EPS) ** -1.5
    dmu = (dxhat * (-1 / std)).sum(axis=0) + dvar * (-2 * (x - mu)).mean(axis=0)
    dx = dxhat / std + dvar * 2 * (x - mu) / n + dmu / n
    dgamma, dbeta = (dy * (x - mu) / std).sum(axis=0), dy.sum(axis=0)
    return {"xhat": dxhat, "var": dvar, "mu": dmu, "x": dx, "gamma": dgamma, "beta": dbeta}


def by_differences(values: Mapping[str, Array], dy: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """Central differences of l: the forward pass is run again with a small shift added to one element of one value."""
    found = {}
    for name, v in like.items():
        found[name] = np.zeros_like(v)
        for index in np.ndindex(v.shape):
            shift = np.zeros_like(v)
            shift[index] = h = float(np.finfo(v.dtype).eps ** (1 / 3))
            above, below = _forward(values, {name: shift}), _forward(values, {name: -shift})
            found[name][index] = (dy * (above - below)).sum() / (2 * h)
    return found


def _forward(values: Mapping[str, Array], shift: Mapping[str, Array]) -> Array:
    """Batch norm in NumPy, with a shift added where a value is computed."""
    x, gamma, beta = (values[name] + shift.get(name, 0) for name in ("x", "gamma", "beta"))
    mu = x.mean(axis=0) + shift.get("mu", 0)
    var = ((x - mu) ** 2).mean(axis=0) + shift.get("var", 0)
    xhat = (x - mu) / np.sqrt(var + EPS) + shift.get("xhat", 0)
    return gamma * xhat + beta


def show(report: Report, seed: int) -> bool:
    """The table of differences, and the verdict."""
    report.heading("Check every gradient of batch norm")
    found = check_batch_norm(seed)
    report.say("  largest difference from the gradient on the tape of functional.batch_norm, relative to its size")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("", "equations by hand", "fused.batch_norm", "finite differences", ""):
        table.add_column(title, justify="right" if title else "left")
    right = {name: max(row.values()) <= TOLERANCE for name, row in found.items()}
    for name, row in found.items():
        cells = [f"{row[way]:.1e}" if way in row else "·" for way in ("equations", "fused", "differences")]
        table.add_row(f"[bold]dl/d{LABELS[name]}[/]", *cells, "[green]✓[/]" if right[name] else "[bold red]✗[/]")
    report.say(table)
    report.say("  [dim]·  inside of the fused one, a single line of the tape, there is no x̂, σ² or μ[/]")
    worst = max(max(row.values()) for row in found.values())
    if all(right.values()):
        return report.verdict(True, f"all {len(found)} gradients agree in every way, to within {worst:.1e}")
    wrong = ", ".join(f"dl/d{LABELS[name]}" for name, good in right.items() if not good)
    return report.verdict(False, f"{wrong}: a difference of {worst:.1e}, and {TOLERANCE:.0e} is allowed")
