"""Initial values of parameters: a general initializer, variance_scaling, and named special cases.

Each function takes a shape and returns an array. Kernels have the layout (*receptive field, in, out), or with
`layout="torch"` (out, in, *receptive field). PyTorch's names are aliases of Keras's.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.nn.structured_init import dirac, identity, orthogonal, sparse
from minigrad.tensor.convert import get_default_dtype
from minigrad.util.hints import INIT, missing
from minigrad.util.rng import generator

__all__ = [
    "compute_fans",
    "constant",
    "dirac",
    "gain",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "sparse",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

Shape = tuple[int, ...]
Array = Any

# The standard deviation of the standard normal restricted to [-2, 2].
TRUNCATED_STD = 0.87962566103423978


def compute_fans(shape: Shape, layout: str = "keras", groups: int = 1) -> tuple[int, int]:
    """The number of inputs of a unit and the number of units that an input reaches: (fan_in, fan_out).

    In a grouped convolution only connections that exist count: an input reaches the units of its own group.

    Args:
        shape: of the kernel.
        layout: "keras" for (*receptive field, in, out), "torch" for (out, in, *receptive field).
        groups: of the convolution; `in` is then the number of inputs of one group, `out` that of all units. Depthwise
            kernels (*field, 1, channels) have as many groups as inputs.

    Raises:
        ValueError: the layout is neither, or groups do not divide the number of units.

    Example:
        >>> compute_fans((4, 20)), compute_fans((5, 5, 3, 6)), compute_fans((6, 3, 5, 5), layout="torch")
        ((4, 20), (75, 150), (75, 150))
        >>> compute_fans((3, 3, 1, 8), groups=8)
        (9, 9)
    """
    if layout not in ("keras", "torch"):
        raise ValueError(f"compute_fans(layout={layout!r}): must be 'keras' (..., in, out) or 'torch' (out, in, ...)")
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    if layout == "torch":
        fan_out, fan_in, *field = shape
    else:
        *field, fan_in, fan_out = shape
    if groups < 1 or fan_out % groups:
        raise ValueError(f"compute_fans({shape}, groups={groups}): groups must divide the number of units, {fan_out}")
    return math.prod(field) * fan_in, math.prod(field) * (fan_out // groups)


def gain(nonlinearity: str, negative_slope: float = 0.01) -> float:
    """The factor for the standard deviation of a layer that compensates the effect of a nonlinearity on the variance.

    linear, conv1d ... conv_transpose3d, sigmoid: 1; tanh: 5/3; relu: √2 (He et al. 2015); leaky_relu of slope a:
    √(2 / (1 + a²)) (ibid., equation 15); selu: 3/4. The values for tanh and selu are empirical, those of PyTorch.

    Raises:
        ValueError: no gain is known for this name; the message suggests the nearest one.

    Example:
        >>> round(gain("relu"), 4), gain("tanh"), gain("leaky_relu", negative_slope=1.0)
        (1.4142, 1.6666666666666667, 1.0)
    """
    known = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
    known |= {f"{kind}{n}d": 1.0 for kind in ("conv", "conv_transpose") for n in (1, 2, 3)}
    known["leaky_relu"] = math.sqrt(2 / (1 + negative_slope**2))
    if nonlinearity not in known:
        near = difflib.get_close_matches(str(nonlinearity), known, n=1, cutoff=0.0)[0]
        raise ValueError(f"gain({nonlinearity!r}): no gain is known; did you mean {near!r}?")
    return known[nonlinearity]


def variance_scaling(
    shape: Shape,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    rng: Any = None,
    dtype: Any = None,
    layout: str = "keras",
    groups: int = 1,
) -> Array:
    """Random numbers with mean 0 and variance scale / n, where n is the number of connections of a unit.

    Args:
        shape: of the kernel.
        scale: the numerator of the variance.
        mode: n is "fan_in", "fan_out" or "fan_avg", their mean.
        distribution: "uniform", "normal", or "truncated_normal" (normal, redrawn if beyond two standard deviations,
            and scaled so that the variance is exact, as in Keras).
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.
        layout, groups: as in compute_fans.

    Raises:
        ValueError: a negative scale; an unknown mode, distribution or layout; groups that do not fit.
    """
    fan_in, fan_out = compute_fans(shape, layout, groups)
    counts = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
    if mode not in counts:
        raise ValueError(f"variance_scaling(mode={mode!r}): must be one of {', '.join(counts)}")
    if not scale >= 0:
        raise ValueError(f"variance_scaling(scale={scale}): must not be negative")
    std = math.sqrt(scale / max(1, counts[mode]))
    if distribution == "uniform":
        return random_uniform(shape, minval=-math.sqrt(3) * std, maxval=math.sqrt(3) * std, rng=rng, dtype=dtype)
    if distribution == "normal":
        return random_normal(shape, stddev=std, rng=rng, dtype=dtype)
    if distribution == "truncated_normal":
        return truncated_normal(shape, stddev=std / TRUNCATED_STD, rng=rng, dtype=dtype)
    raise ValueError(
        f"variance_scaling(distribution={distribution!r}): must be 'uniform', 'normal' or 'truncated_normal'"
    )


# Constants


def zeros(shape: Shape, *, rng: Any = None, dtype: Any = None) -> Array:
    """All 0."""
    return np.zeros(shape, dtype=dtype or get_default_dtype())


def ones(shape: Shape, *, rng: Any = None, dtype: Any = None) -> Array:
    """All 1."""
    return np.ones(shape, dtype=dtype or get_default_dtype())


def constant(shape: Shape, *, value: float = 0.0, rng: Any = None, dtype: Any = None) -> Array:
    """All the same value."""
    return np.full(shape, value, dtype=dtype or get_default_dtype())


# Plain distributions


def random_normal(
    shape: Shape, *, mean: float = 0.0, stddev: float = 0.05, rng: Any = None, dtype: Any = None
) -> Array:
    """Normal numbers. The default stddev is Keras's; PyTorch's `normal_` has 1."""
    return _scaled(generator(rng).standard_normal, shape, stddev, mean, dtype)


def random_uniform(
    shape: Shape, *, minval: float = -0.05, maxval: float = 0.05, rng: Any = None, dtype: Any = None
) -> Array:
    """Uniform numbers in [minval, maxval). The default range is Keras's; PyTorch's `uniform_` has [0, 1)."""
    return _scaled(generator(rng).random, shape, maxval - minval, minval, dtype)


def truncated_normal(
    shape: Shape, *, mean: float = 0.0, stddev: float = 0.05, rng: Any = None, dtype: Any = None
) -> Array:
    """Normal numbers, redrawn if beyond two stddev. Their standard deviation is 0.8796 stddev; it is not corrected."""
    draw = generator(rng).standard_normal

    def truncated(shape: Shape, dtype: Any) -> Array:
        values = draw(shape, dtype=dtype)
        while (outside := np.absolute(values) > 2).any():
            values[outside] = draw(np.count_nonzero(outside), dtype=dtype)
        return values

    return _scaled(truncated, shape, stddev, mean, dtype)


def _scaled(draw: Callable[..., Array], shape: Shape, factor: float, shift: float, dtype: Any) -> Array:
    """factor · draw + shift, drawn in single precision for float32, else in double precision."""
    dtype = np.dtype(dtype or get_default_dtype())
    values = draw(shape, dtype=np.float32 if dtype == np.float32 else np.float64)
    return (factor * values + shift).astype(dtype, copy=False)


# Special cases of variance_scaling


def glorot_uniform(
    shape: Shape, *, gain: float = 1.0, rng: Any = None, dtype: Any = None, layout: str = "keras"
) -> Array:
    """U(±gain √(6 / (fan_in + fan_out))) (Glorot & Bengio 2010, equation 16, "normalized")."""
    return variance_scaling(shape, gain * gain, "fan_avg", "uniform", rng, dtype, layout)


def glorot_normal(
    shape: Shape,
    *,
    gain: float = 1.0,
    truncated: bool = False,
    rng: Any = None,
    dtype: Any = None,
    layout: str = "keras",
) -> Array:
    """N(0, gain² 2 / (fan_in + fan_out)) (Glorot & Bengio 2010). Keras's is truncated, PyTorch's is not."""
    return variance_scaling(shape, gain * gain, "fan_avg", _normal(truncated), rng, dtype, layout)


def lecun_uniform(shape: Shape, *, rng: Any = None, dtype: Any = None, layout: str = "keras") -> Array:
    """U(±√(3 / fan_in)) (LeCun, Bottou, Orr & Müller 1998, section 4.6)."""
    return variance_scaling(shape, 1.0, "fan_in", "uniform", rng, dtype, layout)


def lecun_normal(
    shape: Shape, *, truncated: bool = False, rng: Any = None, dtype: Any = None, layout: str = "keras"
) -> Array:
    """N(0, 1 / fan_in) (LeCun, Bottou, Orr & Müller 1998, section 4.6)."""
    return variance_scaling(shape, 1.0, "fan_in", _normal(truncated), rng, dtype, layout)


def he_uniform(
    shape: Shape,
    *,
    negative_slope: float = 0.0,
    mode: str = "fan_in",
    rng: Any = None,
    dtype: Any = None,
    layout: str = "keras",
) -> Array:
    """U(±√(6 / ((1 + a²) n))) for layers before a (leaky) ReLU of slope a (He et al. 2015, equations 10 and 15)."""
    return variance_scaling(shape, 2 / (1 + negative_slope**2), mode, "uniform", rng, dtype, layout)


def he_normal(
    shape: Shape,
    *,
    negative_slope: float = 0.0,
    mode: str = "fan_in",
    truncated: bool = False,
    rng: Any = None,
    dtype: Any = None,
    layout: str = "keras",
) -> Array:
    """N(0, 2 / ((1 + a²) n)) for layers before a (leaky) ReLU of slope a (He et al. 2015, equations 10 and 15)."""
    return variance_scaling(shape, 2 / (1 + negative_slope**2), mode, _normal(truncated), rng, dtype, layout)


def _normal(truncated: bool) -> str:
    return "truncated_normal" if truncated else "normal"


xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal
normal = partial(random_normal, stddev=1.0)
uniform = partial(random_uniform, minval=0.0, maxval=1.0)

_BY_NAME: dict[str, Callable[..., Array]] = {
    f.__name__: f
    for f in (
        zeros, ones, constant, random_normal, random_uniform, truncated_normal, variance_scaling, glorot_uniform,
        glorot_normal, lecun_uniform, lecun_normal, he_uniform, he_normal, orthogonal, identity, dirac, sparse,
    )
} | {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "normal": normal,
    "uniform": uniform,
    "eye": identity,
}  # fmt: skip


def get(initializer: str | Callable[..., Array]) -> Callable[..., Array]:
    """The initializer of this name; a function (shape, *, rng, dtype) is returned unchanged.

    Raises:
        ValueError: no initializer has this name; the message suggests the nearest one.
        TypeError: neither a name nor a function.

    Example:
        >>> get("glorot_unifrom")
        Traceback (most recent call last):
        ...
        ValueError: no initializer is called 'glorot_unifrom'; did you mean 'glorot_uniform'?
    """
    if callable(initializer):
        return initializer
    if not isinstance(initializer, str):
        raise TypeError(
            f"init={initializer!r}: give a name, or a function (shape, *, rng, dtype) that returns an array"
        )
    # PyTorch ends its names with an underscore because its functions write in place.
    name = initializer.removesuffix("_").lower()
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)[0]
    raise ValueError(f"no initializer is called {initializer!r}; did you mean {near!r}?")


if not TYPE_CHECKING:  # so that type checkers report missing names

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name, INIT)
