"""Products: matmul, and einsum as pairwise contractions.

Each is linear in each operand, and the rule of one operand is again a product of v with the other. Operands with
one axis get a second one at the door, so that the rules see matrices; einsum's ellipsis, implicit output and
repeated indices are resolved there too, and three or more operands are contracted in pairs.
"""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from minigrad.errors import call
from minigrad.ops.reduction import sum_over
from minigrad.ops.shape import axes_of, axis_of, expand_dims, moveaxis, reshape_to, transpose
from minigrad.primitive import Function, linear, tensor_function

Labels = tuple[int, ...]


def matrix_product(x: Any, y: Any, /) -> Any:
    """x @ y for operands of at least two axes."""
    if y.ndim == 2 and x.ndim > 2:  # one large product instead of a stack of small ones
        return np.reshape(_rows(x) @ y, (*x.shape[:-1], y.shape[-1]))
    return np.matmul(x, y)


def _rows(x: Any) -> Any:
    """A stack of matrices as one matrix. The number of rows is said, because -1 is ambiguous where an axis is empty."""
    return np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def right_share(v: Any, x: Any, y_shape: tuple[int, ...]) -> Any:
    """The share of y in x @ y."""
    if len(y_shape) == 2 and x.ndim > 2:
        return _rows(x).mT @ _rows(v)
    return x.mT @ v


matmul_matrices = linear(
    matrix_product,
    lambda v, y: v @ y.mT,
    lambda v, x, y_shape: right_share(v, x, y_shape),
    name="matmul",
)


@tensor_function
def matmul(x: Any, y: Any, /) -> Any:
    """The matrix product; leading axes are stacks of matrices and broadcast.

    One-dimensional x is a row, one-dimensional y a column, and their axis is absent in the result.
    """
    x_ndim, y_ndim = len(np.shape(x)), len(np.shape(y))
    if x_ndim > 1 and y_ndim > 1:
        return matmul_matrices(x, y)
    if not x_ndim or not y_ndim:
        raise ValueError(f"{call('matmul', (x, y), {})}: operands need at least one axis; for numbers use x * y")
    left = expand_dims(x, 0) if x_ndim == 1 else x
    right = expand_dims(y, 1) if y_ndim == 1 else y
    if np.shape(left)[-1] != np.shape(right)[-2]:
        raise ValueError(
            f"{call('matmul', (x, y), {})}: the last axis of x has {np.shape(x)[-1]} elements, "
            f"the {'only' if y_ndim == 1 else 'next to last'} axis of y {np.shape(right)[-2]}; they must agree"
        )
    out = matmul_matrices(left, right)
    drop = ((x_ndim == 1) * (out.ndim - 2,)) + ((y_ndim == 1) * (out.ndim - 1,))
    return reshape_to(out, shape=tuple(n for k, n in enumerate(out.shape) if k not in drop))


# Einsum. Indices are numbers here; a spec says which ones each operand and the result carry.


def _contract(x: Any, y: Any, /, *, spec: tuple[Labels, Labels, Labels]) -> Any:
    """One matrix product: batch axes are shared by all three, contracted ones by x and y only."""
    x_labels, y_labels, out = spec
    sizes = dict(zip(x_labels, x.shape, strict=True)) | dict(zip(y_labels, y.shape, strict=True))
    batch = [k for k in x_labels if k in y_labels and k in out]
    inner = [k for k in x_labels if k in y_labels and k not in out]
    rows = [k for k in x_labels if k not in y_labels]
    columns = [k for k in y_labels if k not in x_labels]

    def matrices(a: Any, labels: Labels, *groups: list[int]) -> Any:
        order = [labels.index(k) for group in groups for k in group]
        lead = tuple(sizes[k] for k in groups[0])
        return np.reshape(np.transpose(a, order), (*lead, *(_product(sizes, group) for group in groups[1:])))

    product = np.matmul(matrices(x, x_labels, batch, rows, inner), matrices(y, y_labels, batch, inner, columns))
    order = batch + rows + columns
    return np.transpose(np.reshape(product, tuple(sizes[k] for k in order)), [order.index(k) for k in out])


def _product(sizes: dict[int, int], labels: list[int]) -> int:
    total = 1
    for k in labels:
        total *= sizes[k]
    return total


contract: Function = linear(
    _contract,
    lambda v, y, spec: contract(v, y, spec=(spec[2], spec[1], spec[0])),
    lambda v, x, spec: contract(v, x, spec=(spec[2], spec[0], spec[1])),
)


def _diagonal(x: Any, /, *, labels: Labels, kept: Labels) -> Any:
    """x with the axes of a repeated label replaced by their diagonal."""
    return np.einsum(x, list(labels), list(kept))


def _on_diagonal(v: Any, labels: Labels, kept: Labels, shape: tuple[int, ...]) -> Any:
    """The transpose: v on the diagonal, zeros off it."""
    first = [labels.index(k) for k in kept]
    order = sorted(range(len(kept)), key=first.__getitem__)
    v = np.reshape(np.transpose(v, order), tuple(n if k in first else 1 for k, n in enumerate(shape)))
    for k, label in enumerate(labels):
        if k not in first:
            start = labels.index(label)
            eye = np.eye(shape[k], dtype=v.dtype)
            v = v * np.reshape(eye, tuple(shape[k] if j in (k, start) else 1 for j in range(len(shape))))
    return v


diagonal_of = linear(
    _diagonal, lambda v, labels, kept, x_shape: _on_diagonal(v, labels, kept, x_shape), name="einsum_diagonal"
)


def einsum(*operands: Any, optimize: Any = True) -> Any:
    """Einstein's summation, in every form that NumPy takes.

    einsum("ij,jk->ik", x, y), einsum("...i,i", x, y), einsum("ii", x), einsum(x, [0, 1], y, [1, 2], [0, 2]).
    Three or more operands are contracted in pairs, in an order that keeps the products small.
    """
    labels, out, arrays = _parse(operands)
    arrays = [_plain(x, k) for x, k in zip(arrays, labels, strict=True)]
    labels = [tuple(dict.fromkeys(k)) for k in labels]
    _check_sizes(operands, labels, arrays)
    while len(arrays) > 1:
        i, j = (0, 1) if len(arrays) == 2 else _cheapest(labels, arrays, out)
        others = [k for n, k in enumerate(labels) if n not in (i, j)]
        result, spec = _pair(arrays[i], labels[i], arrays[j], labels[j], {*out}.union(*others))
        arrays = [x for n, x in enumerate(arrays) if n not in (i, j)] + [result]
        labels = [*others, spec]
    return _ordered(_summed(arrays[0], labels[0], {*out}), tuple(k for k in labels[0] if k in out), out)


def _parse(operands: tuple[Any, ...]) -> tuple[list[Labels], Labels, list[Any]]:
    """The labels of each operand and of the result, an ellipsis spelled out."""
    if isinstance(operands[0], str):
        inputs, arrow, output = operands[0].replace(" ", "").partition("->")
        terms: list[Any] = [_letters(term) for term in inputs.split(",")]
        given: Any = _letters(output) if arrow else None
        arrays = list(operands[1:])
    else:
        arrays, terms = list(operands[: len(operands) // 2 * 2 : 2]), [list(k) for k in operands[1::2]]
        given = list(operands[-1]) if len(operands) % 2 else None
    if len(terms) != len(arrays):
        raise ValueError(f"einsum: {len(terms)} terms in the subscripts for {len(arrays)} operands")
    ranks = []
    for term, x in zip(terms, arrays, strict=True):
        rank = len(np.shape(x)) - len(term) + (Ellipsis in term)
        if rank < 0 or (rank > 0 and Ellipsis not in term):
            raise ValueError(
                f"einsum: {len(term) - (Ellipsis in term)} subscripts for an operand of shape {np.shape(x)}; "
                "give one for each axis, or ... for the rest"
            )
        ranks.append(rank if Ellipsis in term else 0)
    widest = max(ranks, default=0)
    dots = [-1 - k for k in range(widest)][::-1]  # labels of the ellipsis, counted from the right
    labels = [_spelled(term, dots[widest - rank :]) for term, rank in zip(terms, ranks, strict=True)]
    if given is None:
        once = sorted(k for k in {k for term in labels for k in term} if k >= 0 and _times(labels, k) == 1)
        given = [*dots, *once]
    out = _spelled(given, dots)
    for k in out:
        if out.count(k) > 1 or not any(k in term for term in labels):
            raise ValueError(f"einsum: every output subscript must appear once, and in some operand ({operands[0]!r})")
    return labels, out, arrays


def _letters(term: str) -> list[Any]:
    parts: list[Any] = []
    while term:
        if term.startswith("..."):
            parts.append(Ellipsis)
            term = term[3:]
        elif term[0] in string.ascii_letters:
            parts.append(string.ascii_letters.index(term[0]))
            term = term[1:]
        else:
            raise ValueError(f"einsum: {term[0]!r} is not a subscript; use letters, commas, -> and ...")
    return parts


def _spelled(term: Any, dots: list[int]) -> Labels:
    return tuple(k for part in term for k in (dots if part is Ellipsis else [part]))


def _times(labels: list[Labels], k: int) -> int:
    return sum(term.count(k) for term in labels)


def _plain(x: Any, labels: Labels) -> Any:
    kept = tuple(dict.fromkeys(labels))
    if kept == labels:
        return x
    numbers = {k: n for n, k in enumerate(kept)}
    return diagonal_of(x, labels=tuple(numbers[k] for k in labels), kept=tuple(range(len(kept))))


def _check_sizes(operands: tuple[Any, ...], labels: list[Labels], arrays: list[Any]) -> None:
    """Equal sizes for equal subscripts. A size of 1 broadcasts: such an axis is dropped."""
    sizes: dict[int, int] = {}
    for term, x in zip(labels, arrays, strict=True):
        for k, n in zip(term, np.shape(x), strict=True):
            if sizes.get(k, 1) == 1:
                sizes[k] = n
            elif n not in (1, sizes[k]):
                raise ValueError(
                    f"einsum: a subscript of {operands[0]!r} has size {sizes[k]} in one operand and {n} in another; "
                    f"shapes {', '.join(str(np.shape(a)) for a in arrays)}"
                )
    for i, (term, x) in enumerate(zip(labels, arrays, strict=True)):
        shape = np.shape(x)
        stretched = [k for k, n in zip(term, shape, strict=True) if n == 1 and sizes[k] != 1]
        if stretched:
            labels[i] = tuple(k for k in term if k not in stretched)
            kept = tuple(n for k, n in zip(term, shape, strict=True) if k not in stretched)
            arrays[i] = reshape_to(x, shape=kept)


def _cheapest(labels: list[Labels], arrays: list[Any], out: Labels) -> tuple[int, int]:
    """The pair whose contraction shrinks the total most (the greedy rule of Smith & Gray 2018, opt_einsum)."""
    sizes = {k: n for term, x in zip(labels, arrays, strict=True) for k, n in zip(term, np.shape(x), strict=True)}

    def growth(pair: tuple[int, int]) -> int:
        i, j = pair
        rest = {*out}.union(*(k for n, k in enumerate(labels) if n not in pair))
        result = [k for k in {*labels[i], *labels[j]} if k in rest]
        return (
            _product(sizes, result) - _product(sizes, list(labels[i])) - _product(sizes, list(labels[j]))
        )

    return min(((i, j) for i in range(len(labels)) for j in range(i + 1, len(labels))), key=growth)


def _pair(x: Any, x_labels: Labels, y: Any, y_labels: Labels, needed: set[int]) -> tuple[Any, Labels]:
    """The contraction of two operands over what nothing else needs."""
    x, y = _summed(x, x_labels, needed | {*y_labels}), _summed(y, y_labels, needed | {*x_labels})
    x_labels, y_labels = (
        tuple(k for k in x_labels if k in needed or k in y_labels),
        tuple(k for k in y_labels if k in needed or k in x_labels),
    )
    spec = tuple(k for k in dict.fromkeys(x_labels + y_labels) if k in needed)
    return contract(x, y, spec=(x_labels, y_labels, spec)), spec


def _summed(x: Any, labels: Labels, needed: set[int]) -> Any:
    axes = tuple(n for n, k in enumerate(labels) if k not in needed)
    return sum_over(x, axis=axes, keepdims=False) if axes else x


def _ordered(x: Any, labels: Labels, out: Labels) -> Any:
    return x if labels == out else transpose(x, axes=tuple(labels.index(k) for k in out))


@tensor_function
def tensordot(x: Any, y: Any, /, *, axes: Any = 2) -> Any:
    """The sum of products over the last `axes` axes of x and the first of y, or over two given tuples of axes."""
    x_ndim, y_ndim = len(np.shape(x)), len(np.shape(y))
    if isinstance(axes, int):
        first, second = tuple(range(x_ndim - axes, x_ndim)), tuple(range(axes))
    else:
        first, second = axes_of(axes[0], x_ndim), axes_of(axes[1], y_ndim)
    if [np.shape(x)[k] for k in first] != [np.shape(y)[k] for k in second]:
        raise ValueError(f"{call('tensordot', (x, y), {'axes': axes})}: the sizes of the paired axes differ")
    labels = list(range(x_ndim, x_ndim + y_ndim))
    for a, b in zip(first, second, strict=True):
        labels[b] = a
    out = tuple(k for k in range(x_ndim) if k not in first) + tuple(k for k in labels if k >= x_ndim)
    return contract(x, y, spec=(tuple(range(x_ndim)), tuple(labels), out))


@tensor_function
def vecdot(x: Any, y: Any, /, *, axis: int = -1) -> Any:
    """The inner product of vectors along an axis of the broadcast operands."""
    x, y = moveaxis(x, axis, -1), moveaxis(y, axis, -1)
    return einsum("...i,...i->...", x, y)


@tensor_function
def outer(x: Any, y: Any, /) -> Any:
    """The outer product of two vectors."""
    if len(np.shape(x)) != 1 or len(np.shape(y)) != 1:
        raise ValueError(f"{call('outer', (x, y), {})}: both operands must have one axis; use einsum or x[..., None] * y")
    return expand_dims(x, 1) * y


@tensor_function
def diagonal(x: Any, /, *, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    """The diagonals of matrices, as the last axis."""
    shape = np.shape(x)
    a, b = axis_of(axis1, len(shape)), axis_of(axis2, len(shape))
    x = moveaxis(x, (a, b), (-2, -1))
    rows, columns = shape[a], shape[b]
    k = np.arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    return x[..., k + max(-offset, 0), k + max(offset, 0)]


@tensor_function
def trace(x: Any, /, *, offset: int = 0) -> Any:
    """The sums of the diagonals of matrices."""
    return sum_over(diagonal(x, offset=offset), axis=-1)

