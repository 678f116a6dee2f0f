"""Every gradient of batch norm: derived by hand, fused, by finite differences, and by the tape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from minigrad import functional, fused
from minigrad.app.demo.demo_output import Report
from minigrad.engine.tape import Tape, pull
from minigrad.tensor.tensor import Tensor
from minigrad.verify import Derivation, DerivationReport

Array = Any

LABELS = {"xhat": "x̂", "var": "σ²", "mu": "μ", "x": "x", "gamma": "γ", "beta": "β"}
TOLERANCE = 1e-7  # of the largest element; differences of float64 by central differences stay far below
EPS = 1e-5


def check_batch_norm(
    seed: int, shape: tuple[int, int] = (8, 5)
) -> tuple[DerivationReport, dict[str, dict[str, float]]]:
    """The derivation by hand checked line by line, and how far every way to compute the gradients is from the tape.

    Returns:
        The report on the derivation; and for xhat, var, mu, x, gamma and beta the largest difference of "hand", "fused"
        and "differences" from the tape of `functional.batch_norm`, relative to the gradient's largest element. The
        fused one is a single line: it has no x̂, σ² and μ inside.
    """
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(1.0, 2.0, shape), rng.normal(size=shape)
    values = {"x": x, "gamma": rng.uniform(0.5, 2.0, shape[1]), "beta": rng.normal(size=shape[1])}
    report = by_hand().check(cotangent=dy, eps=EPS, x=x, gamma=values["gamma"], beta=values["beta"])
    truth = on_the_tape(values, dy)
    ways = {"fused": by_the_fused(values, dy), "differences": by_differences(values, dy, truth)}
    rows = {name: {"hand": report.lines[name].difference} for name in truth}
    for way, found in ways.items():
        for name, v in found.items():
            rows[name][way] = _difference(v, truth[name])
    return report, rows


def by_hand() -> Derivation:
    """The chain rule by hand, a line for each term (Ioffe & Szegedy 2015, section 3)."""
    d = Derivation(functional.batch_norm, x="N D", gamma="D", beta="D")

    @d.line
    def dxhat(dout: Array, gamma: Array) -> Array:
        return dout * gamma

    @d.line
    def dvar(dxhat: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
        return (dxhat * (x - mu)).sum(axis=0) * -0.5 * (var + eps) ** -1.5

    @d.line
    def dmu(dxhat: Array, var: Array, eps: float) -> Array:
        return (dxhat * (-1 / np.sqrt(var + eps))).sum(axis=0)

    @d.line
    def dx(dxhat: Array, dvar: Array, dmu: Array, x: Array, mu: Array, var: Array, eps: float) -> Array:
        return dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / len(x) + dmu / len(x)

    @d.line
    def dgamma(dout: Array, xhat: Array) -> Array:
        return (dout * xhat).sum(axis=0)

    @d.line
    def dbeta(dout: Array) -> Array:
        return dout.sum(axis=0)

    return d


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
    y, *_ = fused.batch_norm(tensors["x"], tensors["gamma"], tensors["beta"], eps=EPS)
    y.backward(dy)
    return {name: t.grad.numpy() for name, t in tensors.items() if t.grad is not None}


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
    """The table of differences, what the derivation's check notes, and the verdict."""
    report.heading("Check every gradient of batch norm")
    derivation, found = check_batch_norm(seed)
    report.say("  largest difference from the gradient on the tape of functional.batch_norm, relative to its size")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("", "derived by hand", "fused.batch_norm", "finite differences", ""):
        table.add_column(title, justify="right" if title else "left")
    right = {n: derivation.lines[n].ok and max(row.values()) <= TOLERANCE for n, row in found.items()}
    for name, row in found.items():
        cells = [f"{row[way]:.1e}" if way in row else "·" for way in ("hand", "fused", "differences")]
        table.add_row(f"[bold]dl/d{LABELS[name]}[/]", *cells, "[green]✓[/]" if right[name] else "[bold red]✗[/]")
    report.say(table)
    report.say("  [dim]·  inside of the fused one, a single line of the tape, there is no x̂, σ² or μ[/]")
    for name, line in derivation.lines.items():
        for sentence in line.sentences():
            report.say(f"  [dim]dl/d{LABELS[name]}: {sentence.removeprefix('note: ')}[/]")
    worst = max(max(row.values()) for row in found.values())
    if all(right.values()):
        return report.verdict(True, f"all {len(found)} gradients agree in every way, to within {worst:.1e}")
    wrong = ", ".join(f"dl/d{LABELS[name]}" for name, good in right.items() if not good)
    return report.verdict(False, f"{wrong}: a difference of {worst:.1e}, and {TOLERANCE:.0e} is allowed")
