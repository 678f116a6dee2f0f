"""Einsum, as pairwise contractions, each of which is one matrix product.

`einsum` resolves the ellipsis, the implicit output and repeated subscripts first, so that a contraction has a plain
spec such as "ij,jk->ik": no operand repeats a letter, and every letter of one operand is in the other or in the result.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.primitive import Function, linear, tensor_function
from minigrad.ops.reduction import sum_over
from minigrad.ops.shape import reshape_to, transpose


@lru_cache(maxsize=4096)
def _letters_of(spec: str) -> tuple[str, ...]:
    inputs, _, out = spec.partition("->")
    return (*inputs.split(","), out)


def _contract(x: Any, y: Any, /, *, spec: str) -> Any:
    """One matrix product: batch axes are shared by all three, contracted ones by x and y only."""
    x_axes, y_axes, out = _letters_of(spec)
    sizes = dict(zip(x_axes, x.shape, strict=True)) | dict(zip(y_axes, y.shape, strict=True))
    batch = [k for k in x_axes if k in y_axes and k in out]
    inner = [k for k in x_axes if k in y_axes and k not in out]
    rows = [k for k in x_axes if k not in y_axes]
    columns = [k for k in y_axes if k not in x_axes]

    def matrices(a: Any, axes: str, *groups: list[str]) -> Any:
        order = [axes.index(k) for group in groups for k in group]
        lead = tuple(sizes[k] for k in groups[0])
        return np.reshape(np.transpose(a, order), (*lead, *(_product(sizes, group) for group in groups[1:])))

    product = np.matmul(matrices(x, x_axes, batch, rows, inner), matrices(y, y_axes, batch, inner, columns))
    order = batch + rows + columns
    return np.transpose(np.reshape(product, tuple(sizes[k] for k in order)), [order.index(k) for k in out])


def _product(sizes: dict[Any, int], labels: Iterable[Any]) -> int:
    return math.prod(sizes[k] for k in labels)


def _reordered(spec: str, x: int, y: int, out: int) -> str:
    parts = _letters_of(spec)
    return f"{parts[x]},{parts[y]}->{parts[out]}"


def _contraction_cost(node: Node) -> int:
    """The multiply-adds: the product of the sizes of all axes that occur."""
    *inputs, out = _letters_of(node.params[0])
    sizes: dict[str, int] = dict(zip(out, node.shape, strict=True))
    for axes, parent in zip(inputs, node.parents, strict=True):
        sizes |= dict(zip(axes, parent.shape if parent is not None else (), strict=False))
    return math.prod(sizes.values())


contract: Function = linear(
    _contract,
    lambda v, y, spec: contract(v, y, spec=_reordered(spec, 2, 1, 0)),
    lambda v, x, spec: contract(v, x, spec=_reordered(spec, 2, 0, 1)),
    multiply_adds=_contraction_cost,
)


def _diagonal(x: Any, /, *, spec: str) -> Any:
    """x with the axes of a repeated letter replaced by their diagonal: "iji->ij"."""
    return np.einsum(spec, x)


def _on_diagonal(v: Any, spec: str, shape: tuple[int, ...]) -> Any:
    """The transpose: v on the diagonal, zeros off it."""
    axes, out = _letters_of(spec)
    first = [axes.index(k) for k in out]
    order = sorted(range(len(out)), key=first.__getitem__)
    v = np.reshape(np.transpose(v, order), tuple(n if k in first else 1 for k, n in enumerate(shape)))
    for k, letter in enumerate(axes):
        if k not in first:
            start = axes.index(letter)
            eye = np.eye(shape[k], dtype=v.dtype)
            v = v * np.reshape(eye, tuple(shape[k] if j in (k, start) else 1 for j in range(len(shape))))
    return v


diagonal_of = linear(_diagonal, lambda v, spec, x_shape: _on_diagonal(v, spec, x_shape), name="einsum_diagonal")


@tensor_function
def einsum(*operands: Any, optimize: Any = True) -> Any:
    """Einstein summation, in every form that NumPy accepts.

    Three or more operands are contracted pairwise, in an order that keeps the products small.

    Args:
        *operands: subscripts and arrays, einsum("ij,jk->ik", x, y), or arrays each followed by a list of numbers,
            einsum(x, [0, 1], y, [1, 2], [0, 2]). "..." stands for the axes that have no letter; without "->" the
            result has the letters that occur once, in alphabetical order.
        optimize: ignored; accepted as NumPy does.

    Raises:
        ValueError: the subscripts do not fit the operands.

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> mg.einsum("...i,i", np.eye(2), np.array([3.0, 4.0]))
        array([3., 4.])
    """
    terms, out, arrays = _parse(operands)
    first = arrays[0]
    arrays = [
        x if len(set(term)) == len(term) else diagonal_of(x, spec=f"{term}->{_distinct(term)}")
        for x, term in zip(arrays, terms, strict=True)
    ]
    terms = [_distinct(term) for term in terms]
    _drop_broadcast_axes(operands, terms, arrays)
    while len(arrays) > 1:
        i, j = (0, 1) if len(arrays) == 2 else _cheapest(terms, arrays, out)
        remaining = [term for n, term in enumerate(terms) if n not in (i, j)]
        result, term = _pair(arrays[i], terms[i], arrays[j], terms[j], out.join(remaining) + out)
        arrays = [x for n, x in enumerate(arrays) if n not in (i, j)] + [result]
        terms = [*remaining, term]
    x, term = _summed(arrays[0], terms[0], out)
    return x if term == out and x is not first else transpose(x, axes=tuple(term.index(k) for k in out))


def _distinct(term: str) -> str:
    return "".join(dict.fromkeys(term))


def _parse(operands: tuple[Any, ...]) -> tuple[list[str], str, list[Any]]:
    """The letters of each operand and of the result, with unused letters for an ellipsis; and the operands."""
    output: str | None
    if isinstance(operands[0], str):
        inputs, arrow, output = operands[0].replace(" ", "").partition("->")
        terms, arrays = inputs.split(","), list(operands[1:])
        output = output if arrow else None
    else:
        arrays = list(operands[: len(operands) // 2 * 2 : 2])
        terms = [_from_numbers(numbers) for numbers in operands[1::2]]
        output = _from_numbers(operands[-1]) if len(operands) % 2 else None
    wrong = {c for term in (*terms, output or "") for c in term.replace("...", "", 1)} - set(string.ascii_letters)
    if wrong:
        raise ValueError(f"einsum: {min(wrong)!r} is not a subscript; use letters, commas, -> and ...")
    if len(terms) != len(arrays):
        raise ValueError(f"einsum: {len(terms)} terms in the subscripts for {len(arrays)} operands")
    ranks = [_rank(term, np.shape(x)) for term, x in zip(terms, arrays, strict=True)]
    unused = [c for c in reversed(string.ascii_letters) if not any(c in term for term in terms)]
    dots = "".join(unused[: max(ranks, default=0)])
    terms = [term.replace("...", dots[len(dots) - rank :]) for term, rank in zip(terms, ranks, strict=True)]
    if output is None:
        letters = "".join(terms)
        output = dots + "".join(sorted(k for k in set(letters) - set(dots) if letters.count(k) == 1))
    out = output.replace("...", dots)
    if len(set(out)) < len(out) or not set(out) <= set("".join(terms)):
        raise ValueError(f"einsum: every output subscript must appear once, and in some operand ({operands[0]!r})")
    return terms, out, arrays


def _from_numbers(numbers: Any) -> str:
    return "".join("..." if k is Ellipsis else string.ascii_letters[k] for k in numbers)


def _rank(term: str, shape: tuple[int, ...]) -> int:
    """How many axes the ellipsis of a term stands for."""
    count = len(term.replace("...", "", 1))
    if count > len(shape) or (count < len(shape) and "..." not in term):
        raise ValueError(
            f"einsum: {count} subscripts for an operand of shape {shape}; give one for each axis, or ... for the rest"
        )
    return len(shape) - count


def _drop_broadcast_axes(operands: tuple[Any, ...], terms: list[str], arrays: list[Any]) -> None:
    """Check that equal subscripts have equal sizes, and drop axes of size 1 that broadcast."""
    sizes: dict[str, int] = {}
    for term, x in zip(terms, arrays, strict=True):
        for k, n in zip(term, np.shape(x), strict=True):
            if sizes.get(k, 1) == 1:
                sizes[k] = n
            elif n not in (1, sizes[k]):
                raise ValueError(
                    f"einsum: a subscript of {operands[0]!r} has size {sizes[k]} in one operand and {n} in another; "
                    f"shapes {', '.join(str(np.shape(a)) for a in arrays)}"
                )
    for i, (term, x) in enumerate(zip(terms, arrays, strict=True)):
        pairs = [(k, n) for k, n in zip(term, np.shape(x), strict=True) if n != 1 or sizes[k] == 1]
        if len(pairs) < len(term):
            terms[i] = "".join(k for k, _ in pairs)
            arrays[i] = reshape_to(x, shape=tuple(n for _, n in pairs))


def _cheapest(terms: list[str], arrays: list[Any], out: str) -> tuple[int, int]:
    """The pair whose contraction reduces the total size most (the greedy rule of opt_einsum, Smith & Gray 2018)."""
    sizes = {k: n for term, x in zip(terms, arrays, strict=True) for k, n in zip(term, np.shape(x), strict=True)}

    def growth(pair: tuple[int, int]) -> int:
        i, j = pair
        rest = out.join(term for n, term in enumerate(terms) if n not in pair) + out
        result = {k for k in terms[i] + terms[j] if k in rest}
        return _product(sizes, result) - _product(sizes, terms[i]) - _product(sizes, terms[j])

    return min(((i, j) for i in range(len(terms)) for j in range(i + 1, len(terms))), key=growth)


def _pair(x: Any, x_term: str, y: Any, y_term: str, needed: str) -> tuple[Any, str]:
    """Two operands contracted over the letters that nothing else needs, and the letters of the result."""
    x, x_term = _summed(x, x_term, needed + y_term)
    y, y_term = _summed(y, y_term, needed + x_term)
    out = "".join(k for k in _distinct(x_term + y_term) if k in needed)
    return contract(x, y, spec=f"{x_term},{y_term}->{out}"), out


def _summed(x: Any, term: str, needed: str) -> tuple[Any, str]:
    """x summed over the axes whose letters are not needed, and the letters that are left."""
    axes = tuple(n for n, k in enumerate(term) if k not in needed)
    return (sum_over(x, axis=axes), "".join(k for k in term if k in needed)) if axes else (x, term)
