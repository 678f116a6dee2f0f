"""Linear and bilinear maps, and the rows of tables: embeddings and one-hot labels. `minigrad.functional` lists them."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.pairwise import column_sums
from minigrad.engine.primitive import Array, primitive, value_of
from minigrad.functional.losses.loss_checks import check_labels
from minigrad.ops.checking import outside, require_range
from minigrad.ops.indexing import getitem, integers
from minigrad.ops.product import matmul, matrix_product, matrix_product_cost, right_contribution, rows_of
from minigrad.ops.shape import reshape
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor


def linear(x: Any, weight: Any, bias: Any = None, /) -> Tensor:
    """x @ weight + bias.

    Args:
        x: (..., in)
        weight: (in, out)
        bias: (out,), or None.

    Returns:
        (..., out)
    """
    out = matmul(x, weight)
    return out if bias is None else out + bias


def _linear(x: Any, weight: Any, bias: Any, /) -> Array:
    """x @ weight + bias as one primitive: x (..., in), weight (in, out), bias (out,).

    Example:
        >>> fused_linear(np.ones((1, 2)), np.ones((2, 3)), np.array([0.0, 1.0, 2.0]))
        array([[2., 3., 4.]])
    """
    if weight.ndim != 2 or x.ndim < 2 or bias.shape != weight.shape[1:]:
        raise ValueError("the operands must have the shapes x (N, ..., in), weight (in, out) and bias (out,)")
    out = rows_of(x) @ weight
    out = np.add(out, bias, out=out) if out.dtype == bias.dtype else out + bias
    return np.reshape(out, (*x.shape[:-1], weight.shape[1])) if x.ndim > 2 else out


fused_linear = primitive(
    _linear,
    lambda v, weight: matrix_product(v, weight.mT),
    lambda v, x, weight_shape: right_contribution(v, x, weight_shape),
    lambda v: column_sums(rows_of(v)),
    multiply_adds=matrix_product_cost,
    analytic=True,
)


def bilinear(x1: Any, x2: Any, weight: Any, bias: Any = None, /) -> Tensor:
    """x1ᵀ W x2 + bias: y_k = Σ_ij x1_i W_ijk x2_j + b_k.

    Args:
        x1: (..., in1)
        x2: (..., in2), with the same leading axes.
        weight: (in1, in2, out), where PyTorch's is (out, in1, in2).
        bias: (out,), or None.

    Returns:
        (..., out)

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> import numpy as np
        >>> bilinear(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.ones((2, 2, 1)))
        array([21.])
    """
    lead, in1, in2 = x1.shape[:-1], x1.shape[-1:], x2.shape[-1:]
    if weight.ndim != 3 or not in1 or x2.shape != (*lead, *in2) or weight.shape[:2] != (*in1, *in2):
        raise ValueError(
            f"{call('bilinear', (x1, x2, weight), {})}: x1 (..., in1) and x2 (..., in2) must have equal leading "
            "axes, and weight must be (in1, in2, out)"
        )
    inner, out = weight.shape[1:]
    along_x1 = reshape(matmul(x1, reshape(weight, (*in1, inner * out))), (*lead, inner, out))
    y = matmul(x2[..., None, :], along_x1)[..., 0, :]
    return y if bias is None else y + bias


def embedding(indices: Any, weight: Any, *, padding_idx: int | None = None) -> Tensor:
    """The rows of a table: weight[indices].

    Args:
        indices: (...) integers in 0 ... num - 1.
        weight: (num, dim)
        padding_idx: a row that receives no gradient, or None.

    Returns:
        (..., dim)

    Raises:
        TypeError: indices are not integers.
        ValueError: weight does not have two axes; an index or padding_idx is out of range.

    Example:
        >>> import numpy as np
        >>> embedding(np.array([2, 0]), np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
        array([[4., 5.],
               [0., 1.]])
    """
    if weight.ndim != 2:
        raise ValueError(f"{call('embedding', (indices, weight), {})}: weight must have the shape (num, dim)")
    rows = weight.shape[0]
    if padding_idx is not None and not 0 <= padding_idx < rows:
        raise ValueError(f"embedding(padding_idx={padding_idx}): the table has rows 0 ... {rows - 1}")

    def error(indices: Any) -> ValueError:
        wrong = outside(indices, 0, rows - 1)
        return ValueError(f"embedding: index {wrong} for a table of {rows} rows; indices are 0 ... {rows - 1}")

    indices = integers(indices, "embedding")
    require_range(indices, 0, rows - 1, error)
    vectors = getitem(weight, index=indices)
    if padding_idx is None:
        return vectors
    return np.where((indices != padding_idx)[..., None], vectors, value_of(weight)[padding_idx])


def one_hot(labels: Any, classes: int, /, *, dtype: Any = None) -> Any:
    """Rows of 0 with a 1 at each label: (...) integers to (..., classes).

    Args:
        labels: integers in 0 ... classes - 1.
        classes: the number of classes.
        dtype: of the result; by default that of new Tensors.

    Raises:
        TypeError: labels are not integers.
        ValueError: a label is negative or not less than `classes`.
    """
    labels = check_labels(labels, classes, "one_hot")
    return (labels[..., None] == np.arange(classes)).astype(np.dtype(dtype or get_default_dtype()))
