"""The audit of a check: which errors would it accept?

A check has inputs, a cotangent and a tolerance, and compares the inputs' gradients. Every line is spoiled in turn (its
sign, its size, a factor or term left out), and every contribution of a consumer is dropped. The check cannot see the
errors that it then accepts. An error that no check can see, because the spoiled derivation is the same function, is
recognized by a check with random inputs and a random signed cotangent.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.tape import pull
from minigrad.util.report import Report, table
from minigrad.verify.derivation.backward_pass import BackwardPass
from minigrad.verify.derivation.line_source import LineSource
from minigrad.verify.derivation.reference import ROUNDING, inner_nodes, nodes_of
from minigrad.verify.derivation.sample import Sample, draw_sample, redraw

Array = Any
Spoiled = Callable[[BackwardPass, Sample], "dict[str, Array] | None"]  # returns the inputs' gradients
SHOWN = 16  # rows


@dataclass(frozen=True)
class Error:
    """A spoiled line or contribution."""

    where: str  # "dxhat", or "σ² ← x̂"
    what: str  # "`dout` for `dout * gamma`", "dropped"
    gradients: Spoiled


@dataclass
class AuditReport(Report):
    """The errors that a check sees, those that it cannot see and why, and those that are not errors at all."""

    name: str
    seen: list[Error]
    blind: list[tuple[Error, str]]  # with the reason: "gamma = 1"
    same: list[Error]  # the spoiled derivation is the same function

    @property
    def ok(self) -> bool:
        """Whether the check sees every error."""
        return not self.blind

    def __str__(self) -> str:
        count = len(self.seen) + len(self.blind)
        lines = [
            f"{self.name}: this check sees all {count} errors"
            if self.ok
            else f"{self.name}: this check is blind to {len(self.blind)} of {count} errors"
        ]
        if self.blind:
            rows = [("in", "it cannot see", "because"), *self._grouped()]
            lines += table(rows[:SHOWN])
            if len(rows) > SHOWN:
                lines.append(f"and {len(rows) - SHOWN} more rows: .blind lists all")
        if self.same:
            shown = ", ".join(f"{error.what} in {error.where}" for error in self.same[:4])
            more = f" and {len(self.same) - 4} more" if len(self.same) > 4 else ""
            lines.append(f"no error at all, because identically the same: {shown}{more}")
        return "\n".join(lines)

    def _grouped(self) -> list[tuple[str, str, str]]:
        """The rows for errors that are not seen, by line and reason."""
        groups: dict[tuple[str, str], list[str]] = {}
        for error, why in self.blind:
            groups.setdefault((error.where, why), []).append(error.what)
        errors = Counter(error.where for error in [*self.seen, *(error for error, _ in self.blind)])
        rows = []
        for (where, why), descriptions in groups.items():
            shortest = sorted(descriptions, key=len)
            if len(descriptions) == errors[where] > 1:
                text = f"any of {len(descriptions)} errors"
            else:
                text = ", ".join(shortest[:3]) + (f" and {len(shortest) - 3} more" if len(shortest) > 3 else "")
            rows.append((where, text, why))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return {
            "derivation": self.name,
            "ok": self.ok,
            "seen": [{"where": e.where, "what": e.what} for e in self.seen],
            "blind": [{"where": e.where, "what": e.what, "because": why} for e, why in self.blind],
            "same": [{"where": e.where, "what": e.what} for e in self.same],
        }


def audit(
    derivation: BackwardPass, given: Mapping[str, Any], cotangent: Any, rtol: float, atol: float, seed: int
) -> AuditReport:
    """The report on a check of these inputs with this cotangent and these tolerances."""
    forward = derivation.forward
    sample = draw_sample(forward, given, np.random.default_rng([seed, 0, 77]), _cotangent(cotangent))
    fixed = [k for k in forward.fixed(given) if k in sample.reference.run.inputs]
    random = [redraw(forward, sample, fixed, np.random.default_rng([seed, k, 78])) for k in (1, 2)]
    seen, blind, same = [], [], []
    for error in [*_line_errors(derivation, sample), *_contribution_errors(sample)]:
        if not _is_accepted(error, derivation, sample, rtol, atol):
            seen.append(error)
        elif all(_is_accepted(error, derivation, other, 1e-7, 0.0) for other in random):
            same.append(error)
        else:
            blind.append((error, _why(error, derivation, sample, random[0], fixed, cotangent, rtol, atol)))
    return AuditReport(derivation.name, seen, blind, same)


def _cotangent(cotangent: Any) -> Any:
    if not isinstance(cotangent, str):
        return cotangent
    if cotangent not in ("ones", "random"):
        raise ValueError(f"audit(cotangent={cotangent!r}): must be 'random', 'ones', or an array of the result's shape")
    return 1.0 if cotangent == "ones" else None


def _is_accepted(error: Error, derivation: BackwardPass, sample: Sample, rtol: float, atol: float) -> bool:
    """Whether the inputs' gradients with the error are close to the true ones."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        gradients = error.gradients(derivation, sample)
    if gradients is None:
        return False
    for k, g in gradients.items():
        expected = sample.reference.gradients[k]
        floor = atol + ROUNDING * sample.reference.scale
        if g.shape != expected.shape or not np.all(np.abs(g - expected) <= floor + rtol * np.abs(expected)):
            return False
    return True


def _why(
    error: Error, derivation: BackwardPass, sample: Sample, random: Sample, fixed: Sequence[str], cotangent: Any,
    rtol: float, atol: float,
) -> str:  # fmt: skip
    """The part of the check that hides the error: the value of one input, the cotangent, or the tolerance."""
    if _is_accepted(error, derivation, random, rtol, atol):
        return f"it is smaller than the tolerance (rtol {rtol:g}, atol {atol:g})"
    cotangents = tuple(sample.reference.cotangents.values())
    for k in fixed:
        other = redraw(derivation.forward, sample, [k], np.random.default_rng(13), cotangents)
        if not _is_accepted(error, derivation, other, rtol, atol):
            value, label = sample.arguments[k], sample.reference.label(k)
            is_constant = value.size and np.all(value == value.flat[0])
            return f"{label} = {value.flat[0]:g}" if is_constant else f"of the values of {label}"
    if not isinstance(cotangent, str) or cotangent == "ones":
        return "the upstream gradient is constant" if isinstance(cotangent, str) else "of this upstream gradient"
    return "of these inputs"


# Spoiled lines


def _line_errors(derivation: BackwardPass, sample: Sample) -> Iterator[Error]:
    names = list(sample.names())
    for t, line in derivation.lines.items():
        for what, c in (("the sign", -1.0), ("a factor 2", 2.0), ("a factor 0", 0.0), ("a factor 1.001", 1.001)):
            yield Error(f"d{t}", what, _scaled(t, c))
        try:
            source = LineSource.of(line.function, names)
        except (OSError, TypeError, SyntaxError):
            continue
        for old, new in _parts_left_out(source.body):
            with source.edited(new, old) as function:
                if function is not None:
                    what = f"`{ast.unparse(new)}` for `{ast.unparse(old)}`"
                    yield Error(f"d{t}", what, _replaced(t, function, names))


def _parts_left_out(body: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each product, quotient, sum and difference, with one side left out."""
    for node in list(ast.walk(body)):
        if isinstance(node, ast.BinOp) and not isinstance(node.op, (ast.Pow, ast.MatMult)):
            yield node, node.left
            if isinstance(node.op, (ast.Mult, ast.Add)):
                yield node, node.right


def _scaled(target: str, c: float) -> Spoiled:
    def gradients(derivation: BackwardPass, sample: Sample) -> dict[str, Array] | None:
        return _chained(derivation, sample, target, lambda result, _: c * result)

    return gradients


def _replaced(target: str, function: Callable[..., Any], names: list[str]) -> Spoiled:
    def edited(_: Array, values: Mapping[str, Any]) -> Array:
        return np.asarray(function(*(values[k] for k in names)), dtype=float)

    def gradients(derivation: BackwardPass, sample: Sample) -> dict[str, Array] | None:
        return _chained(derivation, sample, target, edited)

    return gradients


def _chained(
    derivation: BackwardPass, sample: Sample, target: str, spoil: Callable[[Array, Mapping[str, Any]], Array]
) -> dict[str, Array] | None:
    """The inputs' gradients by the chain of lines, with one line spoiled; None if a line raises an error."""
    values = sample.names()
    for t in derivation.order():
        try:
            result = derivation.evaluate(derivation.lines[t], values)
            values[f"d{t}"] = spoil(result, values) if t == target else result
        except Exception:  # a spoiled line may raise anything
            return None
    return {t: values[f"d{t}"] for t in derivation.lines if t in sample.reference.run.inputs}


# Spoiled contributions


def _contribution_errors(sample: Sample) -> Iterator[Error]:
    label = sample.reference.label
    for value, terms in sample.reference.contributions.items():
        if len(terms) < 2:
            continue  # the only contribution is the gradient itself, which the errors of lines spoil
        for consumer in terms:
            yield Error(f"dl/d{label(value)}", f"the path through {label(consumer)}", _without(value, consumer))


def _without(value: str, consumer: str) -> Spoiled:
    """The inputs' gradients without one contribution. They are linear in it, so only its own effect is computed."""

    def gradients(derivation: BackwardPass, sample: Sample) -> dict[str, Array] | None:
        reference, run = sample.reference, sample.reference.run
        contribution = reference.contributions[value].get(consumer)
        if contribution is None:
            return {}
        nodes = nodes_of(run)
        if value in run.inputs:
            lost = {value: contribution}
        else:
            inputs = {k: nodes[k] for k in run.inputs}
            pulled = pull(inner_nodes(run, [nodes[value]]), {nodes[value]: contribution}, stop=inputs.values())
            lost = {k: pulled[node] for k, node in inputs.items() if node in pulled}
        return {k: reference.gradients[k] - lost.get(k, 0.0) for k in run.inputs}

    return gradients
