"""Primitives that are composed of several NumPy functions, as terms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine.intercept import Layer
from minigrad.engine.primitive import DECLARED, Primitive
from minigrad.util.duck_array import map_arrays
from minigrad.verify.derive.factors import CannotWrite, stripped_axes
from minigrad.verify.derive.symbolic import (
    Symbolic,
    axes_of,
    getitem,
    index_template,
    index_terms,
    is_reshape,
    reduction,
    term_of,
)  # fmt: skip
from minigrad.verify.derive.term import ONE, Term
from minigrad.verify.derive.term_algebra import Algebra
from minigrad.verify.derive.term_functions import ELEMENTWISE
from minigrad.verify.derive.term_operations import operation


class Primitives(Layer):
    """Answers for a primitive that is composed of several NumPy functions, if one of its operands is symbolic."""

    def __init__(self, algebra: Algebra) -> None:
        self.algebra = algebra

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """The value of the primitive with its term."""
        a = self.algebra
        arrays = operands[0] if p.sequence else operands
        if p not in DECLARED or not any(isinstance(x, Symbolic) for x in arrays):
            return call_next(*operands, **params)
        write = WRITTEN.get(p.name)
        if write is None and (p.name not in ELEMENTWISE and p.name not in ATOMS):
            try:
                return call_next(*operands, **params)
            except CannotWrite as error:
                raise CannotWrite(f"there is no expression of NumPy for {p.name}") from error
        plain_operands, plain_params = map_arrays(lambda s: s.value, Symbolic, (operands, params))
        with np.errstate(all="ignore"):
            value = p.function(*plain_operands, **plain_params)
        shape = np.shape(value)
        terms = tuple(term_of(a, x) for x in arrays)
        if write is not None:
            return Symbolic(a, value, write(a, terms, params, shape, arrays))
        return Symbolic(a, value, operation(a, p.name, terms, (), shape))


ATOMS = ("sigmoid", "exp", "tanh", "normal_cdf", "erf")  # the last two are no functions of NumPy


def _mean(a: Algebra, terms: Any, params: Any, shape: Any, arrays: Any) -> Term:
    axes = axes_of(params.get("axis"), len(terms[0].shape))
    count = a.number(math.prod(terms[0].shape[k] for k in axes))
    return a.times([(reduction(a, "sum", terms[0], axes, shape), 1), (count, -1)], ONE, shape)


def _variance(a: Algebra, terms: Any, params: Any, shape: Any, arrays: Any) -> Term:
    (x,) = terms
    axes = axes_of(params.get("axis"), len(x.shape))
    left = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    mean = _mean(a, terms, {"axis": axes}, left, arrays)
    total = reduction(a, "sum", a.times([(a.plus([(ONE, x), (-ONE, mean)]), 2)]), axes, shape)
    n = math.prod(x.shape[k] for k in axes)
    count = a.number(n)
    if params.get("correction"):
        count = a.plus([(ONE, count), (-ONE, a.number(params["correction"]))])
    return a.times([(total, 1), (count, -1)], ONE, shape)


def _scatter(a: Algebra, terms: Any, params: Any, shape: Any, arrays: Any) -> Term:
    index = params["index"] if isinstance(params["index"], tuple) else (params["index"],)
    return scattered(a, terms[0], index_terms(a, index), index_template(index), shape)


def scattered(a: Algebra, v: Term, index: list[Term], template: tuple[Any, ...], shape: tuple[int, ...]) -> Term:
    """v written to an index of zeros; at a class for each row, the rows of the unit matrix times v."""
    if not index and is_reshape(template, shape):
        return operation(a, "reshape", (v,), (shape,), shape)
    rows, classes = (stripped_axes(x) for x in index) if template == ("array", "array") else (v, v)
    if len(shape) == 2 and rows.op == "arange" and classes.shape == rows.shape and math.prod(v.shape) == shape[0]:
        one_hot = Term("one_hot", (classes, Term("size", (), (shape[1],))), (), shape)
        column = operation(a, "reshape", (v,), ((shape[0], 1),), (shape[0], 1))
        return a.times([(column, 1), (one_hot, 1)], ONE, shape)
    return operation(a, "scatter", (v, *index), (template,), shape)


def _einsum(a: Algebra, terms: Any, params: Any, shape: Any, arrays: Any) -> Term:
    return operation(a, "einsum", terms, (params["spec"],), shape)


def _shape_of(op: str) -> Any:
    return lambda a, terms, params, shape, arrays: operation(a, op, terms, (shape,), shape)


def _logsumexp(a: Algebra, terms: Any, params: Any, shape: Any, arrays: Any) -> Term:
    axes = axes_of(params.get("axis"), len(terms[0].shape))
    total = reduction(a, "sum", operation(a, "exp", terms, (), terms[0].shape), axes, shape)
    return operation(a, "log", (total,), (), shape)


WRITTEN: dict[str, Any] = {
    "mean": _mean,
    "var": _variance,
    "std": lambda a, *rest: a.times([(_variance(a, *rest), 0.5)]),
    "scatter_add": _scatter,
    "contract": _einsum,
    "broadcast_to": _shape_of("broadcast_to"),
    "reshape": _shape_of("reshape"),
    "getitem": lambda a, terms, params, shape, arrays: getitem(a, arrays[0], params["index"], shape),
    "logsumexp": _logsumexp,
    "normal_pdf": lambda a, terms, params, shape, arrays: a.times(
        [(operation(a, "gaussian", (a.times([(terms[0], 1), (a.number(2), -0.5)]),), (), shape), 1)],
        1 / math.sqrt(2 * math.pi),
        shape,
    ),
}
