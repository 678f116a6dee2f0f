"""Traced: one call of a function on new variables, and the walks along the tape between the variables and its value.

All transforms use it. Values that the function takes from outside are older than the variables, so the walk does not
reach them. If there are any (`older`), the walk itself is recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from minigrad.engine.errors import complex_refused
from minigrad.engine.modes import enable_grad
from minigrad.engine.mutation import changed_since
from minigrad.engine.node import Node, leaf, mode, transformed
from minigrad.engine.primitive import linear
from minigrad.engine.specialize import attach
from minigrad.engine.tape import ancestors, pull, push
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten, leaves_like, tree_map

Tree = Any

ALONE = 3  # references to an array without other owners: two names of it here, and the argument of getrefcount
input_node = linear(lambda x, /: x, lambda v: v, name="input")


class Traced:
    """One call of f on new variables, and the tape between them and its value."""

    def __init__(
        self, f: Callable[..., Any], args: tuple[Any, ...], options: Any, argnums: int | Sequence[int], has_aux: bool
    ) -> None:
        self.outer = mode.get() is not None
        chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for k in chosen:
            if not -len(args) <= k < len(args):
                raise TypeError(f"argnums={argnums}: the function was called with {len(args)} positional arguments")
        if len({k % len(args) for k in chosen}) < len(chosen):
            raise ValueError(f"argnums={argnums}: an argument of {len(args)} is named twice; name each of them once")
        primals = [args[k] for k in chosen]
        self.primals, self.rebuild = flatten(primals[0] if isinstance(argnums, int) else tuple(primals))
        with enable_grad():
            self.variables = [variable(x) for x in self.primals]
            variables = self.rebuild(self.variables)
            self.inputs = (variables,) if isinstance(argnums, int) else variables
            arguments = list(args)
            for k, x in zip(chosen, self.inputs, strict=True):
                arguments[k] = x
            self.sources = [t.node for t in self.variables if t.node is not None]  # one for each variable
            self.since = self.sources[0].serial if self.sources else 0
            outermost = transformed.get()
            token = transformed.set(self.since if outermost is None else outermost)
            try:
                returned = f(*arguments, **options)
            finally:
                transformed.reset(token)
        if has_aux and not (isinstance(returned, (tuple, list)) and len(returned) == 2):
            raise TypeError(
                f"has_aux=True: the function must return a pair (value, other results), not a {type(returned).__name__}"
            )
        self._refuse_writes()
        self.value: Any = returned[0] if has_aux else returned
        self.aux: Any = returned[1] if has_aux else None
        outputs, self.rebuild_value = flatten(self.value)
        self.outputs = [t if isinstance(t, Tensor) else attach(np.asarray(t), None) for t in outputs]
        nodes = [t.node for t in self.outputs if t.node is not None]
        self.nodes, self.older = ancestors(nodes, self.since)
        if has_aux:
            self.aux = tree_map(self.result, self.aux)

    def _refuse_writes(self) -> None:
        """Refuse a function that has written into an argument, where no operations were recorded."""
        for t, node in zip(self.variables, self.sources, strict=True):
            if t.node is None or (t.node is node and changed_since(t.data, self.since)):
                raise RuntimeError(
                    f"the function writes into an argument of shape {t.shape} under no_grad, so its derivative is not "
                    "defined. Compute with a copy, t = mg.copy(t), or leave the argument out of argnums"
                )

    def single(self, what: str) -> Tensor:
        """The value, which must be one Tensor, or a number or array that does not depend on the arguments."""
        is_plain = isinstance(self.value, (int, float, np.generic)) or hasattr(self.value, "__array_function__")
        if not is_plain or (self.outputs[0].dtype.kind not in "fiu"):
            dtype = f" of dtype {self.outputs[0].dtype}" if is_plain else ""
            raise TypeError(
                f"{what}: the function must return one Tensor of real numbers, not {type(self.value).__name__}{dtype}"
            )
        return self.outputs[0]

    def records(self, *values: Any) -> bool:
        """Whether the walk must be recorded: something older than the variables takes part in it."""
        return self.outer and (self.older or any(getattr(x, "node", None) is not None for x in values))

    def result(self, t: Any) -> Any:
        """A result for the caller: with its history if an enclosing transform needs it."""
        if not isinstance(t, Tensor):
            return t
        if self.outer and self.older:
            return t
        data = t.data
        if type(data) is np.ndarray and any(_base(data) is _base(x.data) for x in self.variables):
            data = data.copy("K")  # the caller's own array, or a part of it
        return attach(data, None) if any(isinstance(x, Tensor) for x in self.primals) else data

    def _like_input(self, k: int, v: Any) -> Any:
        if isinstance(v, Tensor):
            return v
        return attach(v, None) if isinstance(self.primals[k], Tensor) else v

    def cotangents(self, tree: Tree) -> list[Any]:
        """A structure of cotangents as a list, checked against the value."""
        cotangents = leaves_like(tree, self.value, "vjp: the cotangent")
        for v, t in zip(cotangents, self.outputs, strict=True):
            if np.shape(v) != t.shape:
                raise ValueError(
                    f"vjp: cotangent of shape {np.shape(v)} for a value of shape {t.shape}; the shapes must be equal"
                )
        return cotangents

    def pull(self, cotangents: Sequence[Any], retain: bool) -> Tree:
        """The cotangents of the variables, in the structure of the chosen arguments."""
        record = self.records(*cotangents)
        pending: dict[Node, Any] = {}
        for t, v in zip(self.outputs, cotangents, strict=True):
            if t.node is not None and t.node.serial >= self.since:
                v = _as(v, t.dtype, record)  # noqa: PLW2901
                pending[t.node] = pending[t.node] + v if t.node in pending else v
        by_node: dict[Node, Any] = {}
        if pending:
            with _recording(record):
                by_node = pull(self.nodes, pending, stop=self.sources, record=record, retain=retain or record)
        gradients: list[Any] = []
        for k, (t, node) in enumerate(zip(self.variables, self.sources, strict=True)):
            v = by_node.pop(node, None)
            if v is not None and v.dtype.kind == "c":
                raise complex_refused(f"the gradient of an argument of shape {t.shape}{_first_complex(self.nodes)}")
            v = np.zeros_like(t.data) if v is None else v if v.dtype == t.dtype else v.astype(t.dtype)
            gradients.append(self._like_input(k, unshared(v, gradients)))
        return self.rebuild(gradients)

    def push(self, tangents: tuple[Tree, ...]) -> Tree:
        """The tangents of the value, in its structure."""
        return self.push_leaves(leaves_like(tangents, self.inputs, "jvp: the tangents"))

    def push_leaves(self, tangents: list[Any]) -> Tree:
        """The same for a list of tangents, one for each variable."""
        for v, t in zip(tangents, self.variables, strict=True):
            if np.shape(v) != t.shape:
                raise ValueError(
                    f"jvp: tangent of shape {np.shape(v)} for a primal of shape {t.shape}; the shapes must be equal"
                )
        if operation := _first_complex(self.nodes):
            raise complex_refused(f"forward mode{operation}")
        record = self.records(*tangents)
        start = {node: _as(v, node.dtype, record) for node, v in zip(self.sources, tangents, strict=True)}
        with _recording(record):
            by_node = push(self.nodes, start, record=record)
        results: list[Any] = []
        last = {t.node: k for k, t in enumerate(self.outputs)}  # one Tensor may be several outputs
        for k, t in enumerate(self.outputs):
            v = None if t.node is None else by_node.pop(t.node, None) if last[t.node] == k else by_node.get(t.node)
            v = np.zeros_like(t.data) if v is None else v
            results.append(self._like_input(0, unshared(v, results)))
        return self.rebuild_value(results)

    def by_rows(self) -> Tree:
        """The Jacobian, by a pull for each element of the value."""
        rows = []
        for k, t in enumerate(self.outputs):
            pulled = []
            for basis in _basis(t):
                cotangents = [basis if j == k else np.zeros_like(u.data) for j, u in enumerate(self.outputs)]
                pulled.append(flatten(self.pull(cotangents, retain=True))[0])
            parts = zip(*pulled, strict=True) if pulled else ((),) * len(self.variables)
            columns = [
                np.reshape(np.stack(part), t.shape + x.shape) if part else self._empty(t.shape + x.shape, x.dtype)
                for part, x in zip(parts, self.variables, strict=True)
            ]
            rows.append(self.rebuild(columns))
        return self.rebuild_value(rows)

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A block of the Jacobian without elements."""
        return self._like_input(0, np.zeros(shape, dtype))

    def by_columns(self) -> Tree:
        """The Jacobian, by a push for each element of the variables."""
        columns: list[list[Any]] = [[] for _ in self.outputs]
        for k, x in enumerate(self.variables):
            pushed = []
            for basis in _basis(x):
                tangents = [basis if j == k else np.zeros_like(u.data) for j, u in enumerate(self.variables)]
                pushed.append(flatten(self.push_leaves(tangents))[0])
            for j, t in enumerate(self.outputs):
                parts = [row[j] for row in pushed]
                shape = t.shape + x.shape
                columns[j].append(np.reshape(np.stack(parts, axis=-1), shape) if parts else self._empty(shape, t.dtype))
        return self.rebuild_value([self.rebuild(column) for column in columns])


def _base(array: Any) -> Any:
    return array if getattr(array, "base", None) is None else array.base


def unshared(v: Any, others: Sequence[Any]) -> Any:
    """A result in memory of its own, so that the caller can write to it without changing anything else.

    The cotangent of x + y is the cotangent of x and of y; that of x is the caller's array if the function returns x.
    """
    if type(v) is np.ndarray:
        is_alone = sys.getrefcount(v) <= ALONE and (v.base is None or sys.getrefcount(v.base) <= ALONE - 1)
        return v if is_alone else v.copy("K")
    return v if isinstance(v, np.generic) or not any(v is x for x in others) else np.copy(v)


def variable(x: Any) -> Tensor:
    """A new leaf with the value of x; if x has a history, a result with a node that continues it."""
    if isinstance(x, Tensor):
        if x.node is not None:
            return input_node(x)
        value = x.data
    elif type(x) is np.ndarray and x.ndim == 0 and x.dtype.kind in "iu":  # a number, as a Python integer is one
        value = x.astype(get_default_dtype())
    elif hasattr(x, "__array_function__"):
        value = x if hasattr(x, "ndim") else np.asarray(x)
    elif isinstance(x, np.floating):
        value = np.asarray(x)
    elif isinstance(x, (int, float, np.integer)) and not isinstance(x, bool):
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
    return attach(value, leaf(value))


def _first_complex(nodes: Sequence[Node]) -> str:
    """The first operation that computed a complex number, in parentheses; "" if none did."""
    for node in nodes:
        dtypes = node.dtype if isinstance(node.dtype, tuple) else (node.dtype,)
        if node.primitive is not None and any(dtype.kind == "c" for dtype in dtypes):
            return f" ({node.primitive.name} of shape {node.shape} gave {node.dtype})"
    return ""


def _as(v: Any, dtype: Any, record: bool) -> Any:
    """A cotangent or tangent of the caller, as an array, or as a Tensor if the walk is recorded."""
    if isinstance(v, Tensor):
        v = v if record else v.data
    elif not hasattr(v, "dtype"):
        v = np.asarray(v)
    if v.dtype.kind == "c" and dtype.kind != "c":
        raise complex_refused(f"a cotangent or tangent of dtype {v.dtype} for {dtype}")
    v = v if v.dtype == dtype else v.astype(dtype)
    return attach(v, None) if record and not isinstance(v, Tensor) else v


def _basis(t: Any) -> Any:
    for k in range(t.size):
        unit = np.zeros(t.size, dtype=t.dtype)
        unit[k] = 1
        yield unit.reshape(t.shape)


def _recording(record: bool) -> AbstractContextManager[Any]:
    return enable_grad() if record else nullcontext()
