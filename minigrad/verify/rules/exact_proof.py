"""Proofs in exact arithmetic that the rules of a function are its derivative, for operands of any shape.

There are two ways. By its *values*: along a line a rational function is determined by its values at a few points, and
so is its derivative (see exact_derivative). By its *definition*: the function and a composition of others, whose rules
are proven, have the same values and the same gradients. Where an identity of an opaque function such as log is between
the values, these are compared as floats, and only the *gradients* exactly.

A proof is for the sizes of the operands, and for the region in which they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.modes import enable_grad
from minigrad.engine.primitive import value_of
from minigrad.engine.tape import ancestors
from minigrad.exact import Constants, Inexact, Redraw, Tie, constants, opaque_roots, same
from minigrad.exact.field import P
from minigrad.exact.unknowns import unknowns
from minigrad.tensor.linearize import variable
from minigrad.tensor.transforms import jvp, vjp
from minigrad.util.pytree import flatten
from minigrad.verify.derivation.exact_sample import nearest_rationals
from minigrad.verify.pairs.pair import is_float_array
from minigrad.verify.rules.exact_derivative import NotRational, derivative_along, pairing, random_like

KINK = "there is a kink at the operands"
CIRCULAR = "the definition uses"
DRAWS = 2
TRIES = 12  # draws, until all is decided
Draw = Callable[[np.random.Generator], Sequence[Any]]


class Circular(Exception):
    """A definition uses the function that it defines."""


@dataclass
class ExactProof:
    """The result of a proof.

    Attributes:
        verdict: "proven", "WRONG" or "undecided".
        way: how it was proven: "values", "definition" or "gradients".
        reason: why it is not proven.
    """

    verdict: str
    way: str = ""
    reason: str = ""


@dataclass
class Problem:
    """A function whose derivative is proven.

    Attributes:
        function: of all operands. It may return several arrays.
        draw: random operands, as floats.
        wrt: the operands with respect to which it is differentiated.
        definition: the same function, composed of others; or None.
        name: of the primitive, which the definition may not use.
    """

    function: Callable[..., Any]
    draw: Draw
    wrt: Sequence[int]
    definition: Callable[..., Any] | None = None
    name: str = ""
    operands: list[Any] = field(default_factory=list)
    is_equal_by_floats: bool = False  # to the definition, whose values differ because of an opaque function

    def drawn(self, rng: np.random.Generator) -> Problem:
        """The problem with exact operands."""
        operands = [nearest_rationals(x) if is_float_array(x) else x for x in self.draw(rng)]
        return Problem(self.function, self.draw, self.wrt, self.definition, self.name, operands)

    def inputs(self) -> list[Any]:
        """The operands with respect to which it is differentiated."""
        return [self.operands[k] for k in self.wrt]

    def of_inputs(self, function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        """The floating-point results of a function of all operands, as a function of the inputs."""

        def results(*inputs: Any) -> tuple[Any, ...]:
            operands = list(self.operands)
            for k, x in zip(self.wrt, inputs, strict=True):
                operands[k] = x
            leaves, _ = flatten(function(*operands))
            return tuple(x for x in leaves if value_of(x).dtype.kind == "f")

        return results


def prove(problem: Problem, seed: int = 0, ways: Sequence[str] = ("values", "definition")) -> ExactProof:
    """Prove the rules of a function, by its values if it is rational, otherwise by its definition."""
    reasons = []
    for way in ways:
        if way == "definition" and problem.definition is None:
            continue
        proof = _decided(problem, {"values": _by_values, "definition": _by_definition}[way], seed)
        if proof.verdict != "undecided" or proof.reason == KINK:
            proof.way = proof.way or way if proof.verdict == "proven" else ""
            return proof
        reasons.append(proof.reason)
    return ExactProof("undecided", reason=reasons[0] if CIRCULAR in reasons[-1] else reasons[-1])


def _decided(problem: Problem, compare: Callable[..., str], seed: int) -> ExactProof:
    """The verdict of one way on several draws."""
    rng = np.random.default_rng([seed, 5])
    decided, reason = 0, ""
    for _ in range(TRIES):
        try:
            with np.errstate(all="ignore"), constants(Constants(learns=True)), unknowns() as names:
                drawn = problem.drawn(rng)
                fault = compare(drawn, rng)
        except Redraw as error:
            reason = f"no operands were found where all is decided: {error}"
            if not isinstance(error, Tie) and compare is _by_values:
                break  # roots: it is not rational
            continue
        except Inexact as error:
            return ExactProof("undecided", reason=f"{error} has no exact meaning")
        except (NotRational, Circular) as error:
            return ExactProof("undecided", reason=str(error))
        except Exception as error:  # functions may fail on other arrays in any way
            return ExactProof("undecided", reason=f"it does not run on exact arrays ({type(error).__name__}: {error})")
        if fault and names and compare is _by_definition:
            reason = f"{fault}; {', '.join(sorted(names))} may be the reason, of which no identities are known"
            continue
        if fault:
            return ExactProof("undecided" if fault == KINK else "WRONG", reason=fault)
        decided += 1
        if decided == DRAWS:
            return ExactProof("proven", "gradients" if drawn.is_equal_by_floats else "")
    return ExactProof("undecided", reason=reason)


def _by_values(problem: Problem, rng: np.random.Generator) -> str:
    """The fault of reverse or forward mode, compared with the derivative along a line; or ""."""
    f, x = problem.of_inputs(problem.function), problem.inputs()
    out, pullback = vjp(f, *x)
    u, v = random_like(rng, [value_of(y) for y in out]), random_like(rng, x)

    def along(sign: int) -> int:
        return derivative_along(
            lambda t: pairing([value_of(y) for y in f(*(a + t * sign * d for a, d in zip(x, v, strict=True)))], u)
        )

    slope = along(1)
    _, tangents = jvp(f, tuple(x), tuple(v))
    for mode, value in (("reverse", pairing(pullback(tuple(u)), v)), ("forward", pairing(tangents, u))):
        if value != slope:
            is_kink = (slope + along(-1)) % P != 0
            return KINK if is_kink else f"{mode} mode does not give the derivative"
    return ""


def _by_definition(problem: Problem, rng: np.random.Generator) -> str:
    """The fault of the function's values or gradients, compared with those of its definition; or ""."""
    assert problem.definition is not None
    x = problem.inputs()
    if problem.name in primitives_of(problem.of_inputs(problem.definition), x):
        raise Circular(f"{CIRCULAR} {problem.name} itself")
    with opaque_roots():
        out, pullback = vjp(problem.of_inputs(problem.function), *x)
        expected, expected_pullback = vjp(problem.of_inputs(problem.definition), *x)
        for k, (y, z) in enumerate(zip(out, expected, strict=False)):
            if not same(value_of(y), value_of(z)):
                if not _are_close(value_of(y), value_of(z)):
                    return f"result {k} differs from that of the definition"
                problem.is_equal_by_floats = True
        count = min(len(out), len(expected))
        u = random_like(rng, [value_of(y) for y in out[:count]])
        zeros = [np.zeros(np.shape(y)) for y in out[count:]]
        zeros_expected = [np.zeros(np.shape(y)) for y in expected[count:]]
        pairs = zip(pullback((*u, *zeros)), expected_pullback((*u, *zeros_expected)), strict=True)
        for k, (g, h) in enumerate(pairs):
            if not same(g, h):
                return f"the gradient of operand {problem.wrt[k]} differs from that of the definition"
    return ""


def primitives_of(function: Callable[..., tuple[Any, ...]], inputs: Sequence[Any]) -> set[str]:
    """The names of the primitives that a function of some inputs uses."""
    with enable_grad(), opaque_roots():
        out = function(*map(variable, inputs))
    nodes, _ = ancestors([node for y in out if (node := getattr(y, "node", None)) is not None])
    return {node.primitive.name for node in nodes if node.primitive is not None}


def _are_close(x: Any, y: Any) -> bool:
    """Whether the floats of two arrays agree."""
    a, b = (np.asarray(getattr(z, "real", z)) for z in (x, y))
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-12, atol=1e-14))
