"""docs/proofs.md: which rules are proven, and how. `PYTHONPATH=tests python -m proofs` writes the page.

tests/verify/test_proofs.py holds each row of it.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from cases import CASES
from cases.case import Case, Draw, signed

from minigrad import functional as F
from minigrad import fused
from minigrad.engine.primitive import REGISTRY
from minigrad.ops.activation import normal_cdf
from minigrad.verify import prove_rule
from minigrad.verify.rules import ProofReport
from minigrad.verify.rules.exact_proof import ExactProof, Problem, prove

PAGE = Path(__file__).parent.parent / "docs" / "proofs.md"
HEAD = """# What is proven

Every case of every primitive in the tests' table (`tests/cases/`), and whether its rules are *proven* to be the
derivative of the primitive's function, without a tolerance. `PYTHONPATH=tests python -m proofs` writes this page, and
the tests hold it. How to prove rules of your own: [verify.md](verify.md#prove_rule).

- *values*: along random lines the function is rational. Its values at points in a finite field determine its
  derivative, without any rule; reverse and forward mode give the same.
- *symbols*: an elementwise rule is the derivative by sympy, for all x, whatever the shape.
- *definition*: values and gradients equal those of a composition of other primitives, in exact arithmetic.
- *gradients*: as definition, but the values are compared as floats, as an identity of log is between them.

Rules that are not proven are compared with differences, to second order, as all others are too. A kink is a point
without a derivative, whose conventions are in [conventions.md](conventions.md).

"""
KINK = "kinks"
SLOW = ("mish",)  # sympy needs a minute; tests/verify/test_prove_rule.py proves it
REASONS = {
    "rational": "roots or exponentials, and no definition",
    "kink": KINK,
    "identities": "an identity of log",
    "square modulo": "roots, and no definition",
    "exact meaning": "no exact arithmetic for it",
    "does not run": "no exact arithmetic for it",
}


DEFINITIONS: dict[str, Callable[..., Any]] = {  # where the reference is the function itself
    "std": lambda x, **options: np.sqrt(np.var(x, **options)),
}


def draw(case: Case) -> Any:
    return lambda rng: case.operands(int(rng.integers(1 << 30)))


def proof_of(case: Case) -> ExactProof:
    """The proof for one case."""
    name = case.primitive
    definition = case.reference
    if name in DEFINITIONS and isinstance(case.function, partial):
        definition = partial(DEFINITIONS[name], **case.function.keywords)
    proof = prove(Problem(case.function, draw(case), case.wrt, definition, name))
    if proof.verdict == "undecided" and REGISTRY[name].kind == "elementwise" and "kink" not in proof.reason:
        report = by_symbols(name)
        if report is not None:
            return ExactProof("proven" if report.ok else report.verdict, "symbols")
    return proof


@cache
def by_symbols(name: str) -> Any:
    """The proof of an elementwise primitive for all x; None if it has no rule."""
    if name in SLOW:
        return ProofReport(name, [], [])
    return prove_rule(name) if any(REGISTRY[name].rules) else None


def proofs_of(primitive: str) -> dict[str, ExactProof]:
    """The proofs of all cases of a primitive, by their labels."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return {case.label: proof_of(case) for case in CASES if case.primitive == primitive}


def row_of(primitive: str, proofs: dict[str, ExactProof]) -> str:
    """The row of the page for a primitive."""
    ways = Counter(p.way for p in proofs.values() if p.verdict == "proven")
    reasons = Counter(short(p.reason) for p in proofs.values() if p.verdict != "proven")
    how = ", ".join(f"{way} {n}" for way, n in sorted(ways.items()))
    rest = ", ".join(f"{n}: {reason}" for reason, n in sorted(reasons.items()))
    return f"| {primitive} | {len(proofs)} | {sum(ways.values())} | {how or '–'} | {rest} |"


def short(reason: str) -> str:
    """A reason in a few words."""
    return next((text for key, text in REASONS.items() if key in reason), reason)


def probabilities(x: Any) -> Any:
    e = np.exp(x)
    return e / np.sum(e, axis=-1, keepdims=True)


def cross_entropy(x: Any, labels: Any) -> Any:
    return -np.mean(np.log(probabilities(x)[np.arange(len(labels)), labels]))


def gelu(x: Any) -> Any:
    return x * normal_cdf(x)


FUSED: dict[str, tuple[Callable[..., Any], Callable[..., Any], Sequence[Draw | Any], int]] = {
    "batch_norm": (
        lambda *a: fused.batch_norm(*a, eps=0.1)[0], partial(F.batch_norm, eps=0.1),
        (signed(5, 3), signed(3), signed(3)), 3,
    ),
    "layer_norm": (
        lambda *a: fused.layer_norm(*a, eps=0.1)[0], partial(F.layer_norm, eps=0.1),
        (signed(5, 3), signed(3), signed(3)), 3,
    ),
    "softmax": (fused.softmax, probabilities, (signed(5, 3),), 1),
    "softmax_cross_entropy": (
        fused.softmax_cross_entropy, cross_entropy, (signed(5, 3), np.array([0, 2, 1, 1, 2])), 1,
    ),
    "linear": (fused.linear, F.linear, (signed(5, 3), signed(3, 2), signed(2)), 3),
    "gelu, tanh": (
        partial(fused.gelu, approximate="tanh"), partial(F.gelu, approximate="tanh"), (signed(5, 3),), 1,
    ),
    "gelu": (fused.gelu, gelu, (signed(5, 3),), 1),
}  # fmt: skip


def proof_of_fused(name: str) -> ExactProof:
    """The proof that a fused function is the composed one, with the same gradients."""
    function, composed, draws, count = FUSED[name]

    def operands(rng: np.random.Generator) -> list[Any]:
        return [d(rng) if callable(d) else d for d in draws]

    problem = Problem(function, operands, range(count), composed, name.partition(",")[0])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return prove(problem, ways=["definition"])


def fused_row(name: str, proof: ExactProof) -> str:
    """The row of the page for a fused function."""
    return f"| {name} | {proof.verdict} | {proof.way} |"


def main() -> None:
    names = dict.fromkeys(case.primitive for case in CASES)
    proofs = {name: proofs_of(name) for name in names}
    every = [proof for of_name in proofs.values() for proof in of_name.values()]
    count = sum(proof.verdict == "proven" for proof in every)
    lines = [f"{count} of {len(every)} cases are proven.\n", "| primitive | cases | proven | way | not proven |"]
    lines += ["|---|---|---|---|---|", *(row_of(name, of_name) for name, of_name in proofs.items())]
    lines += ["\n## Fused functions are the composed ones\n", "| fused | verdict | way |", "|---|---|---|"]
    lines += [fused_row(name, proof_of_fused(name)) for name in FUSED]
    PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
