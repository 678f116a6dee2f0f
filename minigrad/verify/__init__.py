"""Proofs of gradients: finite differences that can be trusted, and reports that say where and why."""

from minigrad.verify.gradients import GradientReport, check_gradients

__all__ = ["GradientReport", "check_gradients"]
