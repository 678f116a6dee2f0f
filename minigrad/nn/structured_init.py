"""Initializers with a structure: orthogonal, identity, dirac and sparse kernels. `nn.init` lists them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.tensor.convert import get_default_dtype
from minigrad.util.rng import generator

Shape = tuple[int, ...]
Array = Any


def orthogonal(shape: Shape, *, gain: float = 1.0, rng: Any = None, dtype: Any = None, layout: str = "keras") -> Array:
    """A random orthogonal matrix times the gain (Saxe, McClelland & Ganguli 2014): all singular values are the gain.

    The kernel is reshaped to a matrix (receptive field · in, out). Its rows are orthonormal if there are fewer rows
    than columns, else its columns. It is uniformly distributed: Q of a normal matrix, with signs that make the diagonal
    of R positive (Mezzadri 2007, section 5).

    Args:
        shape: of the kernel, at least two axes.
        gain: the singular values.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.
        layout: "keras" for (*receptive field, in, out), "torch" for (out, in, *receptive field).

    Raises:
        ValueError: fewer than two axes, or an unknown layout.

    Example:
        >>> w = orthogonal((4, 3), rng=0)
        >>> (w.T @ w).round(12) + 0.0
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]])
    """
    _check(shape, layout, "orthogonal")
    columns = shape[0] if layout == "torch" else shape[-1]
    rows = math.prod(shape) // columns if columns else 0
    q, r = np.linalg.qr(generator(rng).standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.where(np.diagonal(r) < 0, -gain, gain)
    if (rows < columns) != (layout == "torch"):
        q = q.T
    return q.reshape(shape).astype(dtype or get_default_dtype())


def identity(shape: Shape, *, gain: float = 1.0, rng: Any = None, dtype: Any = None) -> Array:
    """The identity matrix (in, out) times the gain; surplus inputs or outputs get 0. In PyTorch `eye_`.

    Raises:
        ValueError: the shape does not have two axes; for kernels there is `dirac`.

    Example:
        >>> identity((2, 3), gain=0.5)
        array([[0.5, 0. , 0. ],
               [0. , 0.5, 0. ]])
    """
    if len(shape) != 2:
        raise ValueError(f"identity({shape}): must be a matrix (in, out); for the kernel of a convolution use dirac")
    return gain * np.eye(*shape, dtype=dtype or get_default_dtype())


def dirac(shape: Shape, *, rng: Any = None, dtype: Any = None, layout: str = "keras") -> Array:
    """The kernel of a convolution that returns its input: 1 from channel k to channel k at the center, 0 elsewhere.

    Of an even number of taps, the later of the two middle ones is the center. Surplus channels get 0.

    Args:
        shape: of the kernel, at least two axes.
        rng: not used.
        dtype: the default dtype if not given.
        layout: "keras" for (*receptive field, in, out), "torch" for (out, in, *receptive field).

    Raises:
        ValueError: fewer than two axes, or an unknown layout.

    Example:
        >>> dirac((3, 1, 1)).ravel()
        array([0., 1., 0.])
    """
    _check(shape, layout, "dirac")
    out = np.zeros(shape, dtype=dtype or get_default_dtype())
    field = shape[2:] if layout == "torch" else shape[:-2]
    channels = np.arange(min(shape[:2] if layout == "torch" else shape[-2:]))
    center = tuple(size // 2 for size in field)
    index: Any = (channels, channels, *center) if layout == "torch" else (*center, channels, channels)
    out[index] = 1
    return out


def sparse(
    shape: Shape,
    *,
    sparsity: float = 0.1,
    stddev: float = 0.01,
    rng: Any = None,
    dtype: Any = None,
    layout: str = "keras",
) -> Array:
    """Normal numbers with the same number of incoming weights of each unit set to 0 (Martens 2010, section 5).

    PyTorch's `sparse_` sets weights to 0 in each column of (out, in), which are the outgoing weights of an input.

    Args:
        shape: (in, out), or (out, in) with layout "torch".
        sparsity: the fraction of the `in` weights of a unit that are 0, rounded up; in [0, 1].
        stddev: of the other weights.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.
        layout: "keras" or "torch".

    Raises:
        ValueError: not two axes, a sparsity outside [0, 1], or an unknown layout.

    Example:
        >>> np.count_nonzero(sparse((10, 3), sparsity=0.75, rng=0), axis=0)
        array([2, 2, 2])
    """
    _check(shape, layout, "sparse")
    if len(shape) != 2:
        raise ValueError(f"sparse({shape}): must be a matrix (in, out)")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse({shape}, sparsity={sparsity}): the fraction of zeros must be in [0, 1]")
    rng = generator(rng)
    size, units = shape[::-1] if layout == "torch" else shape
    values = stddev * rng.standard_normal((size, units))
    # The ranks of random numbers are a random order for each column.
    order = rng.random((size, units)).argsort(axis=0)
    values[order < math.ceil(sparsity * size)] = 0
    return (values.T if layout == "torch" else values).astype(dtype or get_default_dtype())


def _check(shape: Shape, layout: str, name: str) -> None:
    if layout not in ("keras", "torch"):
        raise ValueError(f"{name}(layout={layout!r}): must be 'keras' (..., in, out) or 'torch' (out, in, ...)")
    if len(shape) < 2:
        raise ValueError(f"{name}({shape}): needs at least two axes, (in, out)")
