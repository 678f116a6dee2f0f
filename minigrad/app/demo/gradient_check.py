"""Every gradient of batch norm, computed in four ways: by hand, fused, by finite differences, and by the tape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Table

from minigrad import functional, fused
from minigrad.app.demo.demo_output import DemoOutput
from minigrad.engine.tape import Tape, pull
from minigrad.tensor.tensor import Tensor
from minigrad.verify import Derivation, DerivationReport

Array = Any

LABELS = {"xhat": "x̂", "var": "σ²", "mu": "μ", "x": "x", "gamma": "γ", "beta": "β"}
TOLERANCE = 1e-7  # relative to the largest element; errors of central differences in float64 are far below
EPS = 1e-5


def check_batch_norm(
    seed: int, shape: tuple[int, int] = (8, 5)
) -> tuple[DerivationReport, dict[str, dict[str, float]]]:
    """Check the derivation by hand line by line, and compare every way to compute the gradients with the tape.

    Returns:
        The report on the derivation; and for xhat, var, mu, x, gamma and beta the largest difference of "hand", "fused"
        and "differences" from the tape of `functional.batch_norm`, relative to the gradient's largest element. The
        fused function is a single node, so it has no x̂, σ² and μ.
    """
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(1.0, 2.0, shape), rng.normal(size=shape)
    values = {"x": x, "gamma": rng.uniform(0.5, 2.0, shape[1]), "beta": rng.normal(size=shape[1])}
    report = by_hand().check(cotangent=dy, eps=EPS, x=x, gamma=values["gamma"], beta=values["beta"])
    reference = on_the_tape(values, dy)
    methods = {"fused": by_the_fused(values, dy), "differences": by_differences(values, dy, reference)}
    rows = {name: {"hand": report.lines[name].difference} for name in reference}
    for method, gradients in methods.items():
        for name, v in gradients.items():
            rows[name][method] = _difference(v, reference[name])
    return report, rows


def by_hand() -> Derivation:
    """The chain rule by hand, one line for each gradient (Ioffe & Szegedy 2015, section 3)."""
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


def _difference(v: Array, reference: Array) -> float:
    return float(np.abs(v - reference).max() / np.abs(reference).max())


def on_the_tape(values: Mapping[str, Array], dy: Array) -> dict[str, Array]:
    """Reverse mode through the composed batch norm, with the gradients of its named nodes."""
    tensors = {name: Tensor(value, requires_grad=True).named(name) for name, value in values.items()}
    y = functional.batch_norm(tensors["x"], tensors["gamma"], tensors["beta"], eps=EPS)
    nodes = {getattr(node, "name", None): node for node in Tape(y)}
    named = {name: nodes[name] for name in LABELS}
    tape = Tape(y)
    gradients = pull(tape, {tape.outputs[0]: dy}, keep=named.values())
    return {name: gradients[node] for name, node in named.items()}


def by_the_fused(values: Mapping[str, Array], dy: Array) -> dict[str, Array]:
    """The hand-derived pull of `fused.batch_norm`."""
    tensors = {name: Tensor(value, requires_grad=True) for name, value in values.items()}
    y, *_ = fused.batch_norm(tensors["x"], tensors["gamma"], tensors["beta"], eps=EPS)
    y.backward(dy)
    return {name: t.grad.numpy() for name, t in tensors.items() if t.grad is not None}


def by_differences(values: Mapping[str, Array], dy: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """Central differences of l: the forward pass runs with a small shift added to one element of one value."""
    gradients = {}
    for name, v in like.items():
        gradients[name] = np.zeros_like(v)
        for index in np.ndindex(v.shape):
            shift = np.zeros_like(v)
            shift[index] = h = float(np.finfo(v.dtype).eps ** (1 / 3))
            above, below = _forward(values, {name: shift}), _forward(values, {name: -shift})
            gradients[name][index] = (dy * (above - below)).sum() / (2 * h)
    return gradients


def _forward(values: Mapping[str, Array], shift: Mapping[str, Array]) -> Array:
    """Batch norm in NumPy, with shifts added to the values of these names."""
    x, gamma, beta = (values[name] + shift.get(name, 0) for name in ("x", "gamma", "beta"))
    mu = x.mean(axis=0) + shift.get("mu", 0)
    var = ((x - mu) ** 2).mean(axis=0) + shift.get("var", 0)
    xhat = (x - mu) / np.sqrt(var + EPS) + shift.get("xhat", 0)
    return gamma * xhat + beta


def show(output: DemoOutput, seed: int) -> bool:
    """Print the table of differences, the notes on the derivation, and the verdict, and return it."""
    output.heading("Check every gradient of batch norm")
    derivation, rows = check_batch_norm(seed)
    output.print("  largest difference from the gradient on the tape of functional.batch_norm, relative to its size")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for title in ("", "derived by hand", "fused.batch_norm", "finite differences", ""):
        table.add_column(title, justify="right" if title else "left")
    right = {n: derivation.lines[n].ok and max(row.values()) <= TOLERANCE for n, row in rows.items()}
    for name, row in rows.items():
        cells = [f"{row[method]:.1e}" if method in row else "·" for method in ("hand", "fused", "differences")]
        table.add_row(f"[bold]dl/d{LABELS[name]}[/]", *cells, "[green]✓[/]" if right[name] else "[bold red]✗[/]")
    output.print(table)
    output.print("  [dim]·  the fused function is a single node of the tape, without x̂, σ² and μ[/]")
    for name, line in derivation.lines.items():
        for sentence in line.sentences():
            output.print(f"  [dim]dl/d{LABELS[name]}: {sentence.removeprefix('note: ')}[/]")
    worst = max(max(row.values()) for row in rows.values())
    if all(right.values()):
        return output.verdict(True, f"all {len(rows)} gradients agree in every way, to within {worst:.1e}")
    wrong = ", ".join(f"dl/d{LABELS[name]}" for name, good in right.items() if not good)
    return output.verdict(False, f"{wrong}: a difference of {worst:.1e}; {TOLERANCE:.0e} is allowed")
