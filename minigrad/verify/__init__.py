"""Proofs of gradients: finite differences that can be trusted, and derivations checked line by line."""

from minigrad.verify.derivation import Derivation
from minigrad.verify.derivation_report import DerivationReport, LineReport
from minigrad.verify.gradients import GradientReport, check_gradients

__all__ = ["Derivation", "DerivationReport", "GradientReport", "LineReport", "check_gradients"]
