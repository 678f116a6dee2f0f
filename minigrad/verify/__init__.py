"""Proofs of gradients: finite differences that can be trusted, and derivations checked line by line."""

from minigrad.verify.audit import AuditReport
from minigrad.verify.derivation import Derivation
from minigrad.verify.derivation_report import DerivationReport, LineReport
from minigrad.verify.gradient_report import GradientReport
from minigrad.verify.gradients import assert_gradients, check_gradients
from minigrad.verify.proof import ProofReport, prove_rule

__all__ = [
    "AuditReport",
    "Derivation",
    "DerivationReport",
    "GradientReport",
    "LineReport",
    "ProofReport",
    "assert_gradients",
    "check_gradients",
    "prove_rule",
]
