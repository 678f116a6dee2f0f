"""Checks of gradients.

- gradients: check_gradients compares a gradient with finite differences and other methods
- derivation: a backward pass written by hand is checked line by line
- pairs, as_written: so is a plain pair of functions, with nothing changed in it
- derive: the backward pass of a function is written and proven (mg.derive)
- rules: the rule of a primitive is proven with sympy
"""

from minigrad.verify.as_written import WrittenReport, check_backward
from minigrad.verify.derivation import AuditReport, Derivation, DerivationReport, LineReport
from minigrad.verify.gradients import GradientReport, assert_gradients, check_gradients
from minigrad.verify.rules import ProofReport, prove_rule

__all__ = [
    "AuditReport",
    "Derivation",
    "DerivationReport",
    "GradientReport",
    "LineReport",
    "ProofReport",
    "WrittenReport",
    "assert_gradients",
    "check_backward",
    "check_gradients",
    "prove_rule",
]
