"""prove_rule: is the rule of an elementwise primitive the derivative of its function, for all x and not at samples?

The function and the rule are run on symbols, sympy differentiates the function, and the difference to the rule must
simplify to 0. The space of operands is divided into regions by the order of the operands and 0 (for one operand by −1,
0 and 1). In a region every comparison is decided, and the function is smooth. At the borders of regions, where a
derivative may not exist, the rule's value is compared with the limits from both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from minigrad.engine.primitive import REGISTRY, Primitive, as_function, value_of
from minigrad.symbols import Call, Name, Symbol, formula, intercepting
from minigrad.symbols.formulas import rule_on_symbols
from minigrad.util.report import Report, number, table
from minigrad.verify.derivation.structure import redrawn
from minigrad.verify.rules.exact_proof import Problem, prove
from minigrad.verify.rules.regions import Region, V, X, all_borders, domain, is_inside, regions
from minigrad.verify.rules.to_sympy import (
    DEFINED_BY_NAME,
    STEPS,
    Translation,
    UndecidedError,
    step,
    sympy,
    with_own_steps,
)

DIGITS = 40
SMALL = 1e-25  # a smaller relative difference, evaluated in DIGITS digits, is not a disproof
LARGE = 1e9  # a derivative larger than this next to a border is infinite
SAMPLES = (("1/3", "7/5", "5/7", "11/13"), ("9/4", "2/7", "13/8", "3/11"), ("1/50", "1/31", "1/23", "1/17"))
KINKS_SHOWN = 3


@dataclass
class Proof:
    """The result for one operand."""

    operand: str
    rule: str
    verdict: str = "proven"
    where: str = ""
    reason: str = ""
    kinks: list[str] = field(default_factory=list)


@dataclass
class ProofReport(Report):
    """The report of prove_rule: for each operand with a rule whether the rule is the derivative."""

    name: str
    proofs: list[Proof]
    notes: list[str]

    @property
    def ok(self) -> bool:
        """Whether every rule is proven; an undecided rule is not."""
        return all(proof.verdict == "proven" for proof in self.proofs)

    @property
    def verdict(self) -> str:
        """The worst of the verdicts: "WRONG", "undecided" or "proven"."""
        verdicts = {proof.verdict for proof in self.proofs}
        return next(verdict for verdict in ("WRONG", "undecided", "proven") if verdict in verdicts)

    def __str__(self) -> str:
        is_plural = len(self.proofs) > 1
        lines = [f"{self.name}: rule{'s' * is_plural} {self.verdict}"]
        rows = [("operand", "rule", "", "for")]
        lines += table([*rows, *((p.operand, p.rule, p.verdict, p.where) for p in self.proofs)])
        for proof in self.proofs:
            if proof.reason:
                lines.append(f"{proof.operand}: {proof.reason}")
            lines += [f"{proof.operand}: {kink}" for kink in proof.kinks[:KINKS_SHOWN]]
            if len(proof.kinks) > KINKS_SHOWN:
                lines.append(f"{proof.operand}: and {len(proof.kinks) - KINKS_SHOWN} more such points")
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """The verdicts, rules and kinks in plain Python values."""
        return {
            "ok": self.ok,
            "primitive": self.name,
            "verdict": self.verdict,
            "operands": [vars(proof) for proof in self.proofs],
            "notes": self.notes,
        }


def prove_rule(
    primitive: Any, *operands: Any, definition: Callable[..., Any] | None = None, **params: Any
) -> ProofReport:
    """Prove that the rules of a primitive are the derivatives of its function.

    Those of an elementwise primitive are proven for all x. This needs sympy (`pip install 'minigrad[symbols]'`). Points
    without a derivative are reported with the value of the rule there.

    With operands, of any shape, the rules of any primitive are proven in exact arithmetic, for operands of these sizes
    and of their kind (signs, order, 0 and 1). A rational function is compared with its derivative along random lines,
    any other with its definition.

    What cannot be decided is reported as undecided, never as right.

    Args:
        primitive: a primitive, the function that records it, or its name.
        *operands: of the primitive. Their values are drawn again.
        definition: the same function of the operands, composed of others whose rules are right.
        **params: of the primitive.

    Raises:
        TypeError: the primitive is not elementwise and no operands are given, or it has no rule.
        ImportError: sympy is not installed, and no operands are given.

    Example:
        >>> import minigrad as mg
        >>> print(prove_rule("abs"))
        abs: rule proven
          operand  rule                 for
          x        v · sign(x)  proven  all x
        x: at x = 0: −1 for x < 0, 1 for x > 0, the rule gives 0
        >>> print(prove_rule("matmul", np.ones((2, 3)), np.ones((3, 4))))
        matmul: rules proven
          operand  rule            for
          x        v @ yᵀ  proven  (2, 3), (3, 4), by its values
          y        xᵀ @ v  proven  (2, 3), (3, 4), by its values
    """
    if operands:
        return prove_exactly(primitive, operands, definition, params)
    p = REGISTRY[primitive] if isinstance(primitive, str) else getattr(primitive, "primitive", primitive)
    if not isinstance(p, Primitive) or p.kind != "elementwise" or not p.rules:
        kind = f"{p.name} is {p.kind}" if isinstance(p, Primitive) else f"{p!r} is not a primitive"
        raise TypeError(
            f"prove_rule: {kind}; only rules of elementwise primitives can be proven for all operands. Give operands "
            "to prove others for their sizes: prove_rule(primitive, x, y); or compare with differences: "
            "verify.check_gradients(f, *inputs)"
        )
    sympy()
    inside = [region for region in regions(p) if is_inside(p, region)]
    proofs = [_proof(p, k, inside) for k, rule in enumerate(p.rules) if rule is not None]
    notes = [f"{p.name} is taken to be {DEFINED_BY_NAME[p.name]}"] if is_defined_by_name(p) else []
    return ProofReport(p.name, proofs, notes)


def prove_exactly(
    primitive: Any, operands: Sequence[Any], definition: Callable[..., Any] | None, params: Mapping[str, Any]
) -> ProofReport:
    """See prove_rule, with operands."""
    p = REGISTRY[primitive] if isinstance(primitive, str) else getattr(primitive, "primitive", primitive)
    function = as_function(p) if isinstance(p, Primitive) else primitive
    values = [np.asarray(value_of(x)) for x in operands]
    names = p.operands if isinstance(p, Primitive) else [f"operand {k}" for k in range(len(values))]
    shapes = ", ".join(str(x.shape) for x in values)
    proofs = []
    for k, x in enumerate(values):
        if x.dtype.kind != "f" or (isinstance(p, Primitive) and not p.joint and p.rules[k] is None):
            continue
        problem = Problem(
            partial(function, **params), lambda rng: [redrawn(x, rng) if x.dtype.kind == "f" else x for x in values],
            [k], definition, getattr(p, "name", ""),
        )  # fmt: skip
        result = prove(problem)
        rule = formula(p, k) if isinstance(p, Primitive) else ""
        where = f"{shapes}, by its {result.way}" if result.way else ""
        proofs.append(Proof(names[min(k, len(names) - 1)], rule, result.verdict, where, result.reason))
    if not proofs:
        raise TypeError(f"prove_rule: no operand has floating-point numbers and a rule; the operands are {shapes}")
    return ProofReport(getattr(p, "name", getattr(primitive, "__name__", "function")), proofs, [])


def _proof(p: Primitive, k: int, inside: list[Region]) -> Proof:
    proof = Proof(p.operands[k], formula(p, k))
    try:
        if not inside:
            raise UndecidedError("the function is finite at no point that was tried")
        formulas = [(region, *rule_and_derivative(p, k, region)) for region in inside]
        fault = next((text for part in formulas if (text := disproof(*part[:3]))), "")
        if not fault:
            for region, contribution, slope, _ in formulas:
                if not is_zero(contribution - slope * V(), region):
                    raise UndecidedError(f"sympy finds neither a difference nor a proof that there is none ({region})")
            has_jumps = any(out.has(*map(step, STEPS)) for *_, out in formulas)
            proof.where = domain(p, inside) + ", between jumps" * has_jumps
            fault, proof.kinks = check_borders(p, k, [(region, slope) for region, _, slope, _ in formulas])
    except UndecidedError as error:
        proof.verdict, proof.reason = "undecided", str(error)
        return proof
    if fault:
        proof.verdict, proof.reason = "WRONG", fault
    return proof


def rule_and_derivative(p: Primitive, k: int, region: Region) -> tuple[Any, Any, Any]:
    """Formulas for a region: the rule applied to v, the derivative of the function, and the function."""
    operands = {name: X(name) for name in p.operands}
    symbols = {name: Symbol(Name(name)) for name in p.operands}
    geometry = {f"{name}_shape": () for name in p.operands} | {f"{name}_dtype": np.float64 for name in p.operands}
    expression: Any = Call(p.name, tuple(map(Name, p.operands)))
    if not is_defined_by_name(p):
        with intercepting():
            expression = p.function(*symbols.values()).expression
    out = Translation(operands, region.values)(expression)
    contribution = rule_on_symbols(p, k, symbols | geometry | {"out": Symbol(Name("out"))}, Symbol(Name("v")))
    if contribution is None:
        raise UndecidedError("the rule does not run on symbols")
    rule = Translation({**operands, "out": out, "v": V()}, region.values)(contribution.expression)
    return rule, sympy().diff(out, operands[p.operands[k]]), sympy().sympify(out)


def is_defined_by_name(p: Primitive) -> bool:
    """Whether sympy has the function by its name, of which the primitive computes an approximation."""
    return p.name in DEFINED_BY_NAME and p.function is REGISTRY[p.name].function


def disproof(region: Region, contribution: Any, slope: Any) -> str:
    """A sentence on a point of the region at which the rule is not the derivative; empty if none is found."""
    for v, sample in product(("1", "-3/7"), SAMPLES):
        there = region.at([sympy().Rational(gap) for gap in sample])
        rule, derivative = evaluated(contribution, there, v), evaluated(slope * V(), there, v)
        if rule is None or derivative is None:
            raise UndecidedError(f"the rule or the derivative is not a real number for {region}")
        if abs(rule - derivative) > SMALL * (1 + abs(derivative)):
            values = there if v == "1" else {**there, V(): sympy().Rational(v)}
            point = ", ".join(f"{x} = {number(float(value))}" for x, value in values.items())
            text = f"at {point} the rule gives {number(float(rule))}, not {number(float(derivative))}"
            return text.replace("-", "−")
    return ""


def evaluated(e: Any, there: dict[Any, Any], v: str = "1") -> Any:
    """The value of a formula in many digits; None if it is not a real number."""
    value = with_own_steps(e.subs({**there, V(): sympy().Rational(v)}, simultaneous=True)).evalf(DIGITS)
    return value if value.is_real and value.is_finite else None


def is_zero(e: Any, region: Region) -> bool:
    """Whether sympy simplifies a formula to 0 everywhere in a region."""
    s = sympy()
    e = e.subs(region.values, simultaneous=True)
    forms = (s.expand, s.together, exponentials, s.simplify, lambda t: s.simplify(t.rewrite(s.exp)))
    return any(form(e) == 0 for form in forms)


def exponentials(e: Any) -> Any:
    """A formula as a quotient of polynomials in exponentials, canceled."""
    s = sympy()
    e = s.expand_power_exp(s.expand(e.rewrite(s.exp), power_exp=False, mul=True))
    return s.cancel(s.together(e))


def check_borders(p: Primitive, k: int, slopes: list[tuple[Region, Any]]) -> tuple[str, list[str]]:
    """The fault of the rule at a border of regions, or "", and the kinks: points where the two sides differ.

    Args:
        p: the primitive.
        k: the index of the operand.
        slopes: the derivative in each region.
    """
    derivatives = dict(slopes)
    function: Any = p.rules[k]  # it has one, which gave the slopes
    kinks: dict[str, dict[str, str]] = {}
    for border in all_borders(p, [*derivatives]):
        point = {name: float(value) for name, value in border.point.items()}
        with np.errstate(all="ignore"):
            out = p.function(*map(np.float64, point.values()))
            if not np.isfinite(out):
                continue
            names = point | {"out": out}
            rule = float(function(np.float64(1), *(np.float64(names[name]) for name in p.names[k])))
        limits = [limit(derivatives[region], there) for region, there in border.sides]
        if all(same(rule, side) for side in limits):
            continue
        sides = sorted(zip(limits, border.conditions, strict=True))
        text = ", ".join(f"{number(side)} for {condition}" for side, condition in sides)
        text = f"{text}, the rule gives {number(rule)}".replace("-", "−")
        if len(limits) < 2 or (min(limits) <= rule <= max(limits) and not same(*limits)):
            kinks.setdefault(border.text, {}).setdefault(text, border.order)
        else:
            return f"at {border.order}: {text}", []
    return "", [
        f"at {border_text if len(cases) == 1 else order}: {text}".replace("-", "−")
        for border_text, cases in kinks.items()
        for text, order in cases.items()
    ]


def limit(slope: Any, there: dict[Any, Any]) -> float:
    """The derivative next to a border; infinite if it is very large."""
    value = evaluated(slope, there)
    if value is None:
        return float("nan")
    return float(value) if abs(value) < LARGE else float("inf") * float(sympy().sign(value))


def same(x: float, y: float) -> bool:
    """Whether two derivatives agree, infinite ones of the same sign too."""
    return x == y or abs(x - y) <= 1e-9 * max(1, abs(x))
