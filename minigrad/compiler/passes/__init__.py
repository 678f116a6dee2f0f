"""Passes: programs that compute the same with less, and the proofs that they do.

pipeline: the passes in their order; their rules: algebra, sums_and_views; proof: proofs in exact arithmetic that a pass
keeps what a program computes.
"""

from contextvars import ContextVar
from typing import Any

watching: ContextVar[Any] = ContextVar(
    "watching", default=None
)  # the present `proof.proven()` block, which has imported proof
