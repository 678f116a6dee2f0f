"""Transforms of functions: derivatives of f, of any order and in both modes.

A transform calls f with new variables, walks the part of the tape behind them, and drops it. What f takes from outside
(a closure's Tensors) is older than the variables, so the walk does not reach it; if there is any, the walk itself is
recorded, and an enclosing transform or backward() differentiates through it. Nothing else is needed to nest them. The
smallest program that would otherwise be wrong (Siskind & Pearlmutter 2005):

    grad(lambda x: x * grad(lambda y: x * y)(3.0))(3.0)   is d(x·x)/dx = 6, not 3

Arguments and results are nested tuples, lists and dicts of Tensors, arrays or numbers. For arrays the results are
arrays.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import numpy as np

from minigrad.engine.borrowed import owned
from minigrad.engine.errors import check_function, describe
from minigrad.tensor.linearize import Traced, Tree
from minigrad.util.pytree import tree_map

A = TypeVar("A")
R = TypeVar("R")
P = ParamSpec("P")
BACKWARD = "use loss.backward(), which adds the gradients to the leaves' .grad"


@overload
def grad(f: Callable[Concatenate[A, P], Any]) -> Callable[Concatenate[A, P], A]: ...
@overload
def grad(f: Callable[P, Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[P, Any]: ...
def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a function whose value is a single number.

    Args:
        f: a function of Tensors. Its value must be a Tensor with one element; a number that does not depend on the
            arguments has the gradient 0.
        argnums: which positional arguments to differentiate with respect to; a tuple gives a tuple of gradients.
        has_aux: f returns (value, other results); the result is then (gradient, other results).

    Returns:
        A function of the same arguments. Its result has the structure of the chosen arguments.

    Raises:
        TypeError: the value is not a single number, or an argument does not consist of real floating-point numbers.

    Example:
        >>> import minigrad as mg
        >>> float(mg.grad(lambda x: x**3)(2.0))
        12.0
        >>> mg.grad(lambda p: (p["w"] * p["b"]).sum())({"w": np.ones(2), "b": np.array([3.0, 4.0])})
        {'w': array([3., 4.]), 'b': array([1., 1.])}
    """
    check_function(f, "grad", BACKWARD)
    both = value_and_grad(f, _as_integers("grad", argnums), has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **options: Any) -> Any:
        value, gradients = both(*args, **options)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


@overload
def value_and_grad(f: Callable[Concatenate[A, P], R]) -> Callable[Concatenate[A, P], tuple[R, A]]: ...
@overload
def value_and_grad(
    f: Callable[P, R], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[P, tuple[R, Any]]: ...
def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As `grad`, but the result is (value, gradient); with has_aux it is ((value, other results), gradient).

    Example:
        >>> import minigrad as mg
        >>> mg.value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
        (np.float64(5.0), array([2., 4.]))
    """
    check_function(f, "value_and_grad", BACKWARD)
    argnums = _as_integers("value_and_grad", argnums)

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **options: Any) -> Any:
        run = Traced(f, args, options, argnums, has_aux)
        out = run.single("grad")
        if out.size != 1:
            raise TypeError(
                f"grad: the function's value has shape {out.shape}, and a gradient needs a single number; reduce it "
                "(.sum(), .mean()), or use mg.jacobian, or mg.vjp with a cotangent"
            )
        gradients = run.pull([np.ones_like(out.data)], retain=False)
        value = run.result(run.value)
        return ((value, run.aux) if has_aux else value), gradients

    return value_and_gradient


@overload
def vjp(f: Callable[..., R], *primals: Tree) -> tuple[R, Callable[[Tree], Any]]: ...
@overload
def vjp(f: Callable[..., Any], *primals: Tree, has_aux: bool) -> Any: ...
def vjp(f: Callable[..., Any], *primals: Tree, has_aux: bool = False) -> Any:
    """The value of f, and the function from a cotangent of the value to those of the primals (reverse mode).

    Returns:
        (value, pullback), with has_aux (value, pullback, other results). The pullback takes a cotangent of the value's
        structure and shapes and returns a tuple, one for each primal; it may be called any number of times.

    Example:
        >>> import minigrad as mg
        >>> value, pullback = mg.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
        >>> pullback(np.array([1.0, 10.0]))
        (array([ 3., 40.]), array([ 1., 20.]))
    """
    check_function(f, "vjp", "with a history use t.backward(cotangent)")
    # The caller may write to its arrays before it calls the pullback.
    run = Traced(f, tree_map(owned, primals), {}, tuple(range(len(primals))), has_aux)

    def pullback(cotangent: Tree) -> Any:
        return run.pull(run.cotangents(cotangent), retain=True)

    value = tree_map(lambda t: owned(run.result(t)), run.value)  # the pullback needs the arrays of the tape unchanged
    return (value, pullback, run.aux) if has_aux else (value, pullback)


@overload
def jvp(f: Callable[..., R], primals: Tree, tangents: Tree) -> tuple[R, R]: ...
@overload
def jvp(f: Callable[..., Any], primals: Tree, tangents: Tree, has_aux: bool) -> Any: ...
def jvp(f: Callable[..., Any], primals: Tree, tangents: Tree, has_aux: bool = False) -> Any:
    """The value of f and its directional derivative along the tangents (forward mode, pushed along the tape).

    Args:
        f: a function of Tensors.
        primals: a tuple or list of its arguments; anything else, such as an array or a dict, is its only argument.
        tangents: a direction for each argument, in the same structure.

    Returns:
        (value, tangent of the value), with has_aux (value, tangent, other results).

    Example:
        >>> import minigrad as mg
        >>> mg.jvp(lambda x: mg.sin(x), (np.array([0.0, np.pi]),), (np.array([1.0, 2.0]),))[1]
        array([ 1., -2.])
        >>> mg.jvp(mg.sin, np.array([0.0, np.pi]), np.array([1.0, 2.0]))[1]
        array([ 1., -2.])
    """
    check_function(f, "jvp", "write the computation as a function of its leaves")
    if type(primals) not in (tuple, list):
        primals, tangents = (primals,), (tangents,)
    _check_tangents("jvp", primals, tangents)
    if len(primals) != len(tangents):
        raise TypeError(f"jvp: {len(primals)} primals and {len(tangents)} tangents; give one tangent for each primal")
    run = Traced(f, tuple(primals), {}, tuple(range(len(primals))), has_aux)
    value, tangent = tree_map(run.result, run.value), run.push(tuple(tangents))
    return (value, tangent, run.aux) if has_aux else (value, tangent)


def jacobian(f: Callable[P, Any], argnums: int | Sequence[int] = 0, mode: str | None = None) -> Callable[P, Any]:
    """All partial derivatives of all elements of f's value.

    Args:
        f: a function of Tensors.
        argnums: which positional arguments to differentiate with respect to.
        mode: "forward" (a push for each input element), "reverse" (a pull for each output element), or None for
            whichever needs fewer.

    Returns:
        A function of the same arguments. For a single array each it gives an array of shape
        (*value shape, *argument shape); otherwise the structure of the value in which each array is replaced by
        the structure of the arguments.

    Example:
        >>> import minigrad as mg
        >>> mg.jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
        array([[2., 0.],
               [0., 4.]])
    """
    check_function(f, "jacobian", "write the computation as a function of its leaves")
    argnums = _as_integers("jacobian", argnums)
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"jacobian(mode={mode!r}): must be 'forward', 'reverse' or None")

    @functools.wraps(f)
    def full(*args: Any, **options: Any) -> Any:
        run = Traced(f, args, options, argnums, False)
        n_in, n_out = (sum(t.size for t in tensors) for tensors in (run.variables, run.outputs))
        forward = mode == "forward" or (mode is None and n_in < n_out)
        return run.by_columns() if forward else run.by_rows()

    return full


def hessian(f: Callable[P, Any], argnums: int = 0) -> Callable[P, Any]:
    """All second derivatives of a function whose value is a single number: forward mode over reverse mode.

    Example:
        >>> import minigrad as mg
        >>> mg.hessian(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
        array([[ 6.,  0.],
               [ 0., 12.]])
    """
    check_function(f, "hessian", "write the computation as a function of its leaves")
    argnums = _as_integers("hessian", argnums)
    return jacobian(grad(f, argnums), argnums, mode="forward")


def hvp(f: Callable[..., Any], primals: Tree, tangents: Tree) -> Any:
    """The Hessian of f times a direction, without the Hessian (Pearlmutter 1994): a push along the gradient's tape.

    Args:
        f: a function of Tensors. Its value must be a single number.
        primals: a tuple or list of its arguments; anything else, such as an array or a dict, is its only argument.
        tangents: a direction for each argument, in the same structure.

    Returns:
        The product of the Hessian and the tangents, in the structure of the primals.

    Example:
        >>> import minigrad as mg
        >>> mg.hvp(lambda x: (x**3).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),))
        (array([ 6., 12.]),)
        >>> mg.hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))
        array([ 6., 12.])
    """
    check_function(f, "hvp", "write the computation as a function of its leaves")
    if type(primals) not in (tuple, list):
        return hvp(f, (primals,), (tangents,))[0]
    _check_tangents("hvp", primals, tangents)
    gradient = grad(f, argnums=tuple(range(len(primals))))
    return type(primals)(jvp(gradient, primals, tangents)[1])


def _check_tangents(what: str, primals: Any, tangents: Any) -> None:
    if type(tangents) not in (tuple, list):
        raise TypeError(
            f"{what}: the primals are a {type(primals).__name__} of arguments, and the tangents are of type "
            f"{type(tangents).__name__}; give one tangent for each primal, in a tuple or list"
        )


def _as_integers(what: str, argnums: Any) -> Any:
    """The positions of arguments as integers: one, or a tuple."""
    try:
        if not isinstance(argnums, (Sequence, np.ndarray)):
            return operator.index(argnums)
        return tuple(map(operator.index, argnums))
    except (TypeError, ValueError):
        pass
    raise TypeError(
        f"{what}(f, {describe(argnums)}): argnums is the position of an argument of f, or a tuple of positions. The "
        f"result takes the arguments: mg.{what}(f)(x), not mg.{what}(f, x)"
    )
