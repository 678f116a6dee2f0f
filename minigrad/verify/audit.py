"""The audit of a check: which errors would it accept?

A check has inputs, a cotangent and a tolerance, and looks at the inputs' gradients. Every line is spoiled in turn (its
sign, its size, a factor or term left out of it) and every contribution of a consumer is dropped; what the check then
still accepts, it cannot see. An error that no check could see, because the spoiled derivation is the same
function, is told apart by a check with random inputs and a random signed cotangent.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.tape import pull
from minigrad.util.report import Report, table
from minigrad.verify.repair import Source
from minigrad.verify.samples import Draw, draw, redraw
from minigrad.verify.truth import inner_nodes, nodes_of

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation

Array = Any
Spoiled = Callable[["Derivation", "Draw"], "dict[str, Array] | None"]  # the inputs' gradients that come out


@dataclass(frozen=True)
class Error:
    """A spoiled line or contribution."""

    where: str  # "dxhat", or "σ² ← x̂"
    what: str  # "`dout` for `dout * gamma`", "dropped"
    gradients: Spoiled


@dataclass
class AuditReport(Report):
    """What a check sees, what it cannot see and why, and what is no error at all."""

    name: str
    seen: list[Error]
    blind: list[tuple[Error, str]]  # with the reason: "gamma = 1"
    same: list[Error]  # spoiled in words only

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
            lines += table(rows[:16])
            if len(rows) > 16:
                lines.append(f"and {len(rows) - 16} more rows: .blind lists all")
        if self.same:
            shown = ", ".join(f"{error.what} in {error.where}" for error in self.same[:4])
            more = f" and {len(self.same) - 4} more" if len(self.same) > 4 else ""
            lines.append(f"no error at all, because identically the same: {shown}{more}")
        return "\n".join(lines)

    def _grouped(self) -> list[tuple[str, str, str]]:
        """What is not seen, by line and reason."""
        groups: dict[tuple[str, str], list[str]] = {}
        for error, why in self.blind:
            groups.setdefault((error.where, why), []).append(error.what)
        errors = Counter(error.where for error in [*self.seen, *(error for error, _ in self.blind)])
        rows = []
        for (where, why), whats in groups.items():
            short = sorted(whats, key=len)
            all_of_it = len(whats) == errors[where] > 1
            told = f"any of {len(whats)} errors" if all_of_it else ", ".join(short[:3])
            more = f" and {len(short) - 3} more" if len(short) > 3 and not all_of_it else ""
            rows.append((where, told + more, why))
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
    derivation: Derivation, given: Mapping[str, Any], cotangent: Any, rtol: float, atol: float, seed: int
) -> AuditReport:
    """Which errors a check of these inputs with this cotangent and these tolerances would accept."""
    forward = derivation.forward
    own = draw(forward, given, np.random.default_rng([seed, 0, 77]), _cotangent(cotangent))
    fixed = [k for k in forward.fixed(given) if k in own.truth.run.inputs]
    robust = [redraw(forward, own, fixed, np.random.default_rng([seed, k, 78])) for k in (1, 2)]
    seen, blind, same = [], [], []
    for error in [*_line_errors(derivation, own), *_share_errors(own)]:
        if not _accepted(error, derivation, own, rtol, atol):
            seen.append(error)
        elif all(_accepted(error, derivation, other, 1e-7, 0.0) for other in robust):
            same.append(error)
        else:
            blind.append((error, _why(error, derivation, own, robust[0], fixed, cotangent, rtol, atol)))
    return AuditReport(derivation.name, seen, blind, same)


def _cotangent(cotangent: Any) -> Any:
    if not isinstance(cotangent, str):
        return cotangent
    if cotangent not in ("ones", "random"):
        raise ValueError(f"audit(cotangent={cotangent!r}): must be 'random', 'ones', or an array of the result's shape")
    return 1.0 if cotangent == "ones" else None


def _accepted(error: Error, derivation: Derivation, made: Draw, rtol: float, atol: float) -> bool:
    """Whether the inputs' gradients that come out pass for the true ones."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = error.gradients(derivation, made)
    if found is None:
        return False
    for k, g in found.items():
        expected = made.truth.gradients[k]
        floor = atol + 1e-11 * made.truth.scale
        if g.shape != expected.shape or not np.all(np.abs(g - expected) <= floor + rtol * np.abs(expected)):
            return False
    return True


def _why(
    error: Error, derivation: Derivation, own: Draw, robust: Draw, fixed: Sequence[str], cotangent: Any, rtol: float,
    atol: float,
) -> str:  # fmt: skip
    """What about the check hides the error: the value of one input, the cotangent, or the tolerance."""
    if _accepted(error, derivation, robust, rtol, atol):
        return f"it is smaller than the tolerance (rtol {rtol:g}, atol {atol:g})"
    for k in fixed:
        changed = redraw(derivation.forward, own, [k], np.random.default_rng(13), tuple(own.truth.cotangents.values()))
        if not _accepted(error, derivation, changed, rtol, atol):
            value = own.arguments[k]
            label = own.truth.run.labels.get(k, k)
            same = value.size and np.all(value == value.flat[0])
            return f"{label} = {value.flat[0]:g}" if same else f"of the values of {label}"
    if not isinstance(cotangent, str) or cotangent == "ones":
        return "the upstream gradient is constant" if isinstance(cotangent, str) else "of this upstream gradient"
    return "of these inputs"


# Spoiled lines


def _line_errors(derivation: Derivation, own: Draw) -> Iterator[Error]:
    names = list(own.names())
    for t, line in derivation.lines.items():
        for what, c in (("the sign", -1.0), ("a factor 2", 2.0), ("a factor 0", 0.0), ("a factor 1.001", 1.001)):
            yield Error(f"d{t}", what, _scaled(t, c))
        try:
            source = Source(line.function, names)
        except (OSError, TypeError, SyntaxError):
            continue
        for old, new in _left_out(source.body):
            with source.edited(old, new) as function:
                if function is not None:
                    what = f"`{ast.unparse(new)}` for `{ast.unparse(old)}`"
                    yield Error(f"d{t}", what, _replaced(t, function, names))


def _left_out(body: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each product, quotient, sum and difference, with one side left out."""
    for node in list(ast.walk(body)):
        if isinstance(node, ast.BinOp) and not isinstance(node.op, (ast.Pow, ast.MatMult)):
            yield node, node.left
            if isinstance(node.op, (ast.Mult, ast.Add)):
                yield node, node.right


def _scaled(target: str, c: float) -> Spoiled:
    def gradients(derivation: Derivation, made: Draw) -> dict[str, Array] | None:
        return _chained(derivation, made, {target: lambda result, _: c * result})

    return gradients


def _replaced(target: str, function: Callable[..., Any], names: list[str]) -> Spoiled:
    def gradients(derivation: Derivation, made: Draw) -> dict[str, Array] | None:
        return _chained(
            derivation, made, {target: lambda _, known: np.asarray(function(*(known[k] for k in names)), dtype=float)}
        )

    return gradients


def _chained(
    derivation: Derivation, made: Draw, spoil: Mapping[str, Callable[[Array, Mapping[str, Any]], Array]]
) -> dict[str, Array] | None:
    """The inputs' gradients from the lines one after the other, some of them spoiled; None if that does not run."""
    known = made.names()
    for t in derivation.order():
        try:
            result = derivation.evaluate(derivation.lines[t], known)
            result = spoil[t](result, known) if t in spoil else result
        except Exception:  # a spoiled line may do anything at all
            return None
        known[f"d{t}"] = result
    return {t: known[f"d{t}"] for t in derivation.lines if t in made.truth.run.inputs}


# Spoiled contributions


def _share_errors(own: Draw) -> Iterator[Error]:
    run = own.truth.run
    for value, handed in own.truth.contributions.items():
        if len(handed) < 2:
            continue  # the only contribution is the whole gradient, and that is spoiled line by line
        for consumer in handed:
            where = f"dl/d{run.labels.get(value, value)}"
            yield Error(where, f"the path through {run.labels.get(consumer, consumer)}", _without(value, consumer))


def _without(value: str, consumer: str) -> Spoiled:
    """The inputs' gradients if one contribution is dropped. They are linear in it, so only it is pulled."""

    def gradients(derivation: Derivation, made: Draw) -> dict[str, Array] | None:
        run, contribution = made.truth.run, made.truth.contributions[value].get(consumer)
        if contribution is None:
            return {}
        nodes = nodes_of(run)
        if value in run.inputs:
            lost = {value: contribution}
        else:
            inputs = {k: nodes[k] for k in run.inputs}
            found = pull(inner_nodes(run, [nodes[value]]), {nodes[value]: contribution}, stop=inputs.values())
            lost = {k: found[node] for k, node in inputs.items() if node in found}
        return {k: made.truth.gradients[k] - lost.get(k, 0.0) for k in run.inputs}

    return gradients
