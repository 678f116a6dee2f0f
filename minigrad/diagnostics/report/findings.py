"""Findings of a watch: the layer, what is wrong with it, the evidence, and a hint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# For each cause, those that explain it: if both are found, the first is reported as a consequence of the second.
EXPLAINED_BY: dict[str, tuple[str, ...]] = {
    "learning rate too large": (
        "symmetric", "inputs not scaled", "exploding recurrent", "weights too large", "weights too small",
        "missing normalization", "log of zero", "discarded by where",
    ),
    "exploding recurrent": ("inputs not scaled",),
    "saturated": ("symmetric", "inputs not scaled", "exploding recurrent", "learning rate too large"),
    "weights too large": ("symmetric",),
    "weights too small": ("symmetric",),
    "dead ReLU": (
        "symmetric", "inputs not scaled", "learning rate too large", "weights too large", "weights too small",
    ),
    "missing normalization": ("symmetric", "weights too small", "weights too large", "inputs not scaled"),
    "vanishing gradient": (
        "symmetric", "saturated", "weights too small", "dead ReLU", "missing normalization", "inputs not scaled",
        "learning rate too large",
    ),
    "exploding gradient": (
        "exploding recurrent", "weights too large", "missing normalization", "inputs not scaled",
        "learning rate too large",
    ),
    "no gradient": ("symmetric", "dead ReLU", "saturated", "weights too small"),
    "learning rate too small": ("symmetric", "saturated", "weights too small", "dead ReLU", "vanishing gradient"),
    "overflow": (
        "inputs not scaled", "exploding recurrent", "weights too large", "missing normalization",
        "learning rate too large",
    ),
}  # fmt: skip
for _cause in ("exp overflows", "NaN from outside", "not finite"):
    EXPLAINED_BY[_cause] = EXPLAINED_BY["overflow"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a layer or with the model.

    Attributes:
        layer: its dotted name; "" for the model as a whole.
        cause: a few words, one of those in docs/diagnostics.md: "saturated", "dead ReLU", "log of zero", ...
        sentence: what was measured, and what would be usual.
        remedy: the hint.
        evidence: the numbers in the sentence, by name.
        follows_from: another cause that was found and that explains this one, or "".
    """

    layer: str
    cause: str
    sentence: str
    remedy: str
    evidence: dict[str, Any] = field(default_factory=dict)
    follows_from: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values."""
        return dict(vars(self))
