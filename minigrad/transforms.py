"""Functions of functions: derivatives of f, of any order and in both modes.

A transform calls f with fresh variables, walks the part of the tape that lies behind them, and forgets it. What f
takes from outside (a closure's Tensors) is older than the variables, so the walk does not reach it; if there is any,
the walk itself is recorded, and an enclosing transform or backward() differentiates through it. Nothing else is
needed to nest them. The smallest program that would break otherwise (Siskind & Pearlmutter 2005):

    grad(lambda x: x * grad(lambda y: x * y)(3.0))(3.0)   is d(x·x)/dx = 6, not 3

Arguments and results are nested tuples, lists and dicts of Tensors, arrays or numbers. Where arrays are given, arrays
come back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.modes import enable_grad
from minigrad.node import Node, leaf, mode
from minigrad.primitive import linear
from minigrad.specialize import attach
from minigrad.tape import ancestors, pull, push
from minigrad.tensor import Tensor
from minigrad.trees import flatten, tree_map
from minigrad.values import get_default_dtype

Tree = Any

_input = linear(lambda x, /: x, lambda v: v, name="input")


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a function whose value is a single number.

    Args:
        f: a function of Tensors. Its value must be a Tensor with one element.
        argnums: which positional arguments to differentiate with respect to; a tuple gives a tuple of gradients.
        has_aux: f returns (value, other results); the result is then (gradient, other results).

    Returns:
        A function of the same arguments. Its result has the structure of the chosen arguments.

    Raises:
        TypeError: the value is not a single number, or an argument is not made of real floating-point numbers.

    Example:
        >>> import minigrad as mg
        >>> float(mg.grad(lambda x: x**3)(2.0))
        12.0
        >>> mg.grad(lambda p: (p["w"] * p["b"]).sum())({"w": np.ones(2), "b": np.array([3.0, 4.0])})
        {'w': array([3., 4.]), 'b': array([1., 1.])}
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **options: Any) -> Any:
        value, gradients = both(*args, **options)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """As `grad`, but the result is (value, gradient); with has_aux it is ((value, other results), gradient).

    Example:
        >>> import minigrad as mg
        >>> mg.value_and_grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))
        (np.float64(5.0), array([2., 4.]))
    """

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **options: Any) -> Any:
        run = _Run(f, args, options, argnums, has_aux)
        out = run.single("grad")
        if out.size != 1:
            raise TypeError(
                f"grad: the function's value has shape {out.shape}, and a gradient needs a single number; reduce it "
                "(.sum(), .mean()), or use mg.jacobian, or mg.vjp with a cotangent"
            )
        gradients = run.pull([np.ones_like(out.data)], retain=False)
        value = run.result(out)
        return ((value, run.aux) if has_aux else value), gradients

    return value_and_gradient


def vjp(f: Callable[..., Any], *primals: Tree, has_aux: bool = False) -> Any:
    """The value of f, and the function that takes a cotangent of it to the cotangents of the primals (reverse mode).

    Returns:
        (value, pullback), with has_aux (value, pullback, other results). The pullback takes a cotangent of the value's
        structure and shapes and returns a tuple, one for each primal; it may be called any number of times.

    Example:
        >>> import minigrad as mg
        >>> value, pullback = mg.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
        >>> pullback(np.array([1.0, 10.0]))
        (array([ 3., 40.]), array([ 1., 20.]))
    """
    run = _Run(f, primals, {}, tuple(range(len(primals))), has_aux)

    def pullback(cotangent: Tree) -> Any:
        given = run.cotangents(cotangent)
        return run.pull(given, retain=True)

    value = tree_map(run.result, run.value)
    return (value, pullback, run.aux) if has_aux else (value, pullback)


def jvp(f: Callable[..., Any], primals: Sequence[Tree], tangents: Sequence[Tree], has_aux: bool = False) -> Any:
    """The value of f and its directional derivative along the tangents (forward mode, pushed along the tape).

    Args:
        f: a function of Tensors.
        primals: its arguments.
        tangents: a direction for each argument, of its structure and shapes.

    Returns:
        (value, tangent of the value), with has_aux (value, tangent, other results).

    Example:
        >>> import minigrad as mg
        >>> mg.jvp(lambda x: mg.sin(x), (np.array([0.0, np.pi]),), (np.array([1.0, 2.0]),))[1]
        array([ 1., -2.])
    """
    if len(primals) != len(tangents):
        raise TypeError(f"jvp: {len(primals)} primals and {len(tangents)} tangents; give one tangent for each primal")
    run = _Run(f, tuple(primals), {}, tuple(range(len(primals))), has_aux)
    value, tangent = tree_map(run.result, run.value), run.push(tuple(tangents))
    return (value, tangent, run.aux) if has_aux else (value, tangent)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str | None = None) -> Callable[..., Any]:
    """All partial derivatives of all elements of f's value.

    Args:
        f: a function of Tensors.
        argnums: which positional arguments to differentiate with respect to.
        mode: "forward" (a push for each input element), "reverse" (a pull for each output element), or None for
            whichever needs fewer.

    Returns:
        A function of the same arguments. For a single array each it gives an array of shape
        (*value shape, *argument shape); otherwise the structure of the value with, in the place of each of its
        arrays, the structure of the arguments.

    Example:
        >>> import minigrad as mg
        >>> mg.jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
        array([[2., 0.],
               [0., 4.]])
    """
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"jacobian(mode={mode!r}): must be 'forward', 'reverse' or None")

    @functools.wraps(f)
    def full(*args: Any, **options: Any) -> Any:
        run = _Run(f, args, options, argnums, False)
        n_in, n_out = (sum(t.size for t in tensors) for tensors in (run.variables, run.outputs))
        forward = mode == "forward" or (mode is None and n_in < n_out)
        return run.by_columns() if forward else run.by_rows()

    return full


def hessian(f: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """All second derivatives of a function whose value is a single number: forward mode over reverse mode.

    Example:
        >>> import minigrad as mg
        >>> mg.hessian(lambda x: (x**3).sum())(np.array([1.0, 2.0]))
        array([[ 6.,  0.],
               [ 0., 12.]])
    """
    return jacobian(grad(f, argnums), argnums, mode="forward")


def hvp(f: Callable[..., Any], primals: Sequence[Tree], tangents: Sequence[Tree]) -> Any:
    """The Hessian of f times a direction, without the Hessian (Pearlmutter 1994): a push along the gradient's tape.

    Returns:
        A tuple, one for each primal.

    Example:
        >>> import minigrad as mg
        >>> mg.hvp(lambda x: (x**3).sum(), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),))
        (array([ 6., 12.]),)
    """
    gradient = grad(f, argnums=tuple(range(len(primals))))
    return jvp(gradient, primals, tangents)[1]


class _Run:
    """One call of f on fresh variables, and the tape that lies between them and its value."""

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], options: Any, argnums: int | Sequence[int], has_aux: bool
    ) -> None:
        self.outer = mode.get() is not None
        chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for k in chosen:
            if not -len(args) <= k < len(args):
                raise TypeError(f"argnums={argnums}: the function was called with {len(args)} positional arguments")
        wanted = [args[k] for k in chosen]
        given, rebuild = flatten(wanted[0] if isinstance(argnums, int) else tuple(wanted))
        self.given, self.rebuild = given, rebuild
        with enable_grad():
            self.variables = [variable(x) for x in given]
            replaced = rebuild(self.variables)
            arguments = list(args)
            for k, x in zip(chosen, (replaced,) if isinstance(argnums, int) else replaced, strict=True):
                arguments[k] = x
            returned = f(*arguments, **options)
        self.value: Any = returned[0] if has_aux else returned
        self.aux: Any = returned[1] if has_aux else None
        outputs, self.rebuild_value = flatten(self.value)
        self.outputs = [t if isinstance(t, Tensor) else attach(np.asarray(t), None) for t in outputs]
        self.nodes = [t.node for t in self.variables if t.node is not None]  # one for each variable
        self.since = self.nodes[0].serial if self.nodes else 0
        nodes = [t.node for t in self.outputs if t.node is not None]
        self.lines, self.older = ancestors(nodes, self.since)
        if has_aux:
            self.aux = tree_map(self.result, self.aux)

    def single(self, what: str) -> Tensor:
        if len(self.outputs) != 1 or not isinstance(self.value, Tensor):
            raise TypeError(f"{what}: the function must return one Tensor, not {type(self.value).__name__}")
        return self.value

    def records(self, *values: Any) -> bool:
        """Whether the walk must be recorded: something older than the variables takes part in it."""
        return self.outer and (self.older or any(getattr(x, "node", None) is not None for x in values))

    def result(self, t: Any) -> Any:
        """A result as the caller wants it: with its history if an enclosing transform needs it."""
        if not isinstance(t, Tensor):
            return t
        if self.outer and self.older:
            return t
        return t.detach() if any(isinstance(x, Tensor) for x in self.given) else t.data

    def _like_input(self, k: int, v: Any) -> Any:
        if isinstance(v, Tensor):
            return v
        return attach(v, None) if isinstance(self.given[k], Tensor) else v

    def cotangents(self, tree: Tree) -> list[Any]:
        given, _ = flatten(tree)
        if len(given) != len(self.outputs):
            raise TypeError(f"vjp: a cotangent of {len(given)} arrays for a value of {len(self.outputs)}")
        for v, t in zip(given, self.outputs, strict=True):
            if np.shape(v) != t.shape:
                raise ValueError(f"vjp: cotangent of shape {np.shape(v)} for a value of shape {t.shape}")
        return given

    def pull(self, cotangents: Sequence[Any], retain: bool) -> Tree:
        """The cotangents of the variables, in the structure of the chosen arguments."""
        record = self.records(*cotangents)
        due: dict[Node, Any] = {}
        for t, v in zip(self.outputs, cotangents, strict=True):
            if t.node is not None and t.node.serial >= self.since:
                v = _as(v, t.dtype, record)  # noqa: PLW2901
                due[t.node] = due[t.node] + v if t.node in due else v
        with _recording(record):
            found = pull(self.lines, due, stop=self.nodes, record=record, retain=retain or record) if due else {}
        shares = []
        for k, (t, node) in enumerate(zip(self.variables, self.nodes, strict=True)):
            v = found.get(node)
            v = np.zeros_like(t.data) if v is None else v if v.dtype == t.dtype else v.astype(t.dtype)
            shares.append(self._like_input(k, v))
        return self.rebuild(shares)

    def push(self, tangents: tuple[Tree, ...]) -> Tree:
        """The tangents of the value, in its structure."""
        given, _ = flatten(tangents)
        if len(given) != len(self.variables):
            raise TypeError(f"jvp: tangents of {len(given)} arrays for primals of {len(self.variables)}")
        for v, t in zip(given, self.variables, strict=True):
            if np.shape(v) != t.shape:
                raise ValueError(f"jvp: tangent of shape {np.shape(v)} for a primal of shape {t.shape}")
        record = self.records(*given)
        start = {node: _as(v, node.dtype, record) for node, v in zip(self.nodes, given, strict=True)}
        with _recording(record):
            known = push(self.lines, start, record=record)
        moved = []
        for t in self.outputs:
            v = known.get(t.node) if t.node is not None else None
            moved.append(self._like_input(0, np.zeros_like(t.data) if v is None else v))
        return self.rebuild_value(moved)

    def by_rows(self) -> Tree:
        """The Jacobian by a pull for each element of the value."""
        rows = []
        for k, t in enumerate(self.outputs):
            pulled = []
            for basis in _basis(t):
                cotangents = [basis if j == k else np.zeros_like(u.data) for j, u in enumerate(self.outputs)]
                pulled.append(flatten(self.pull(cotangents, retain=True))[0])
            parts = zip(*pulled, strict=True) if pulled else ((),) * len(self.variables)
            columns = [
                np.reshape(np.stack(part), t.shape + x.shape) if part else self._nothing(t.shape + x.shape, x.dtype)
                for part, x in zip(parts, self.variables, strict=True)
            ]
            rows.append(self.rebuild(columns))
        return self.rebuild_value(rows)

    def _nothing(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A block of the Jacobian without an element."""
        return self._like_input(0, np.zeros(shape, dtype))

    def by_columns(self) -> Tree:
        """The Jacobian by a push for each element of the variables."""
        columns: list[list[Any]] = [[] for _ in self.outputs]
        for k, x in enumerate(self.variables):
            pushed = []
            for basis in _basis(x):
                tangents = [basis if j == k else np.zeros_like(u.data) for j, u in enumerate(self.variables)]
                pushed.append(flatten(self.push((self.rebuild(tangents),)))[0])
            for j, t in enumerate(self.outputs):
                parts = [row[j] for row in pushed]
                shape = t.shape + x.shape
                columns[j].append(
                    np.reshape(np.stack(parts, axis=-1), shape) if parts else self._nothing(shape, t.dtype)
                )
        return self.rebuild_value([self.rebuild(column) for column in columns])


def variable(x: Any) -> Tensor:
    """A fresh Tensor with the value of x; if x has a history, a line that continues it."""
    if isinstance(x, Tensor):
        if x.node is not None:
            return _input(x)
        value = x.data
    elif hasattr(x, "__array_function__"):
        value = x if hasattr(x, "ndim") else np.asarray(x)
    elif isinstance(x, (int, float)) and not isinstance(x, bool):
        value = np.asarray(x, dtype=get_default_dtype())
    else:
        raise TypeError(
            f"cannot differentiate with respect to {x!r} ({type(x).__name__}); give a number, array or Tensor"
        )
    if value.dtype.kind != "f":
        raise TypeError(
            f"cannot differentiate with respect to {value.dtype} values (shape {value.shape}); convert them to "
            "floating point, x.astype(float), or leave the argument out of argnums"
        )
    return attach(value, leaf(value))  # type: ignore[no-any-return]


def _as(v: Any, dtype: Any, record: bool) -> Any:
    """A given cotangent or tangent: an array, or a Tensor if the walk is recorded."""
    if isinstance(v, Tensor):
        v = v if record else v.data
    elif not hasattr(v, "dtype"):
        v = np.asarray(v)
    v = v if v.dtype == dtype else v.astype(dtype)
    return attach(v, None) if record and not isinstance(v, Tensor) else v


def _basis(t: Any) -> Any:
    for k in range(t.size):
        unit = np.zeros(t.size, dtype=t.dtype)
        unit[k] = 1
        yield unit.reshape(t.shape)


class _recording(enable_grad):
    """enable_grad if asked for, otherwise nothing changes."""

    def __init__(self, wanted: bool) -> None:
        super().__init__()
        self.wanted = wanted

    def _new(self) -> str | None:  # type: ignore[override]
        return super()._new() if self.wanted else mode.get()
