"""Activations as modules; the functions are in `minigrad.functional`."""

from __future__ import annotations

from typing import Any

from minigrad import functional
from minigrad.nn.module import Module


class ReLU(Module):
    """max(x, 0), with derivative 0 at 0."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.relu(x)


class LeakyReLU(Module):
    """x where it is positive, negative_slope · x elsewhere."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.leaky_relu(x, negative_slope=self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where it is positive, α (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.elu(x, alpha=self.alpha)

    def extra_repr(self) -> str:
        """The factor."""
        return f"alpha={self.alpha}"


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.tanh(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.softplus(x)


class SiLU(Module):
    """x · sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.silu(x)


class GELU(Module):
    """x Φ(x), exact, or with approximate="tanh" by the tanh formula."""

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU(approximate={approximate!r}): must be 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return functional.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Which formula."""
        return f"approximate={self.approximate!r}"


class Softmax(Module):
    """exp(x) / Σ exp(x) along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Any:
        """Probabilities along the axis."""
        return functional.softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
