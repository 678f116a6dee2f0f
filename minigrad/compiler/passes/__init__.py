"""Passes: programs that compute the same with less, and the proofs that they do.

pipeline: the passes in their order; their rules: algebra, sums_and_views; proof: proofs in exact arithmetic that a pass
keeps what a program computes.
"""

from contextvars import ContextVar
from typing import Any

# The present block of `proof.proven()`. It stands here because proof.py takes a while to import.
watching: ContextVar[Any] = ContextVar("watching", default=None)
