"""Tensor: an array together with the node of the tape that made it.

The way from `z = x * y` to the gradient of x leads through four files:

    tensor/tensor.py      Tensor. Its operators are functions of primitives: Tensor.__mul__ is multiply
    ops/elementwise.py    multiply: a NumPy function, and the rules of its derivative
    engine/codegen.py     what runs for it: record, which computes z and its node, and pull, which calls the rules
    engine/tape.py        the walk that Tensor.backward starts: from z back to x, through the pull of each node
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine import specialize
from minigrad.engine.borrowed import own
from minigrad.engine.errors import describe
from minigrad.engine.gradient_hooks import Hook, add_hook
from minigrad.engine.node import Node, leaf, mode
from minigrad.engine.tape import ancestors, pull
from minigrad.ops import indexing
from minigrad.tensor import accumulate, inplace, methods, numpy_protocol
from minigrad.tensor.convert import check_device, copied
from minigrad.tensor.plain_values import PlainValues
from minigrad.util import hints

if TYPE_CHECKING:
    from minigrad.tensor.methods import Methods

    _Elements = np.dtype["Tensor"]  # type: ignore[type-var]  # a Tensor is no np.generic: that is meant, see __array__
else:
    Methods = object


class Tensor(PlainValues, Methods):
    """An array that remembers how it was computed.

    Args:
        data: a number, a nested list, an array or a Tensor. It is copied (`mg.asarray` does not copy).
        requires_grad: whether gradients are to be computed with respect to it. Needs a floating-point dtype.
        dtype: floating-point lists and numbers become `mg.get_default_dtype()` if this is not given; arrays keep
            theirs.

    Raises:
        TypeError: the data are not numbers, or gradients are asked for integers.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        Tensor([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "_grad", "_part", "data", "node")

    data: Any  # the array itself. Writing into it goes unseen by the tape: use `t[...] = ` under no_grad
    node: Node | None
    _part: tuple[Any, Any]  # of a part of another Tensor: weak references to that, and to the loop over it (inplace.py)

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        if isinstance(data, Tensor) and data.node is not None and mode.get() is not None:
            raise TypeError(
                f"Tensor(t) of a Tensor of shape {data.shape} that requires grad makes a copy without its history, and "
                "the gradient would be lost. Use t itself, mg.copy(t) for a copy with the history, or "
                "mg.Tensor(t.detach()) for one without"
            )
        self.data = copied(data, dtype)
        self.node = None
        if requires_grad:
            self.requires_grad = True

    if TYPE_CHECKING:
        # For NumPy's stubs the elements are no numbers, which leaves `array @ tensor` to Tensor.__rmatmul__, and no
        # NumPy scalars either, so that np.pad(tensor) and its kin are arrays of anything, with all operators.
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, _Elements]: ...

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor cannot be subclassed: operations return Tensors, so a subclass would be lost at once")

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def device(self) -> str:
        """Always "cpu"."""
        return "cpu"

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None or self.node.primitive is None

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to it. May be set on Tensors that no recorded operation made."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if not self.is_leaf:
            if requires_grad:
                return
            raise RuntimeError(
                "requires_grad = False on the result of a recorded operation; use t.detach() for its value alone"
            )
        if not requires_grad:
            self.node = None
        elif self.node is None:
            if self.data.dtype.kind != "f":
                raise TypeError(
                    f"requires_grad=True needs real floating-point numbers, and this is {describe(self.data)}; "
                    "convert it: mg.Tensor(data, requires_grad=True, dtype=float)"
                )
            if issubclass(type(self.data), np.generic):  # a number, which could not be written in place
                self.data = np.asarray(self.data)
            self.data = own(self.data)
            self.node = leaf(self.data)
            self.node.owner = weakref.ref(self)

    # Gradients

    @property
    def grad(self) -> Tensor | Any:
        """The gradient that backward() accumulated here, or None. A result has one only after retain_grad()."""
        value = getattr(self, "_grad", None)
        return value if value is None or type(value) is Tensor else value.read(self)  # a compiled step may defer it

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value, dtype=self.dtype)
            if value.shape != self.shape:
                raise ValueError(f"grad of shape {value.shape} for a Tensor of shape {self.shape}; they must be equal")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Compute the gradients of this with respect to all leaves that require them, and add them to their `.grad`.

        Args:
            gradient: the cotangent to start from, of this Tensor's shape; 1 if this is a single number.
            retain_graph: keep the residuals, so that backward can run again. Implied by create_graph.
            create_graph: record the backward pass itself, so that gradients can be differentiated.

        Raises:
            RuntimeError: nothing was recorded, the residuals were released, or memory changed in place since.
            ValueError: this is not a single number and no gradient is given, or one of another shape.
        """
        node = self._node_for("backward")
        cotangent = accumulate.first_cotangent(self, gradient, create_graph)
        nodes, _ = ancestors([node])
        if create_graph:
            token = mode.set(mode.get() or "")
            try:
                accumulate.store(pull(nodes, {node: cotangent}, record=True))
            finally:
                mode.reset(token)
        else:
            accumulate.store(pull(nodes, {node: cotangent.data}, retain=retain_graph))

    def _node_for(self, method: str) -> Node:
        if self.node is None:
            raise RuntimeError(
                f"{method} on a Tensor that was not computed from one with requires_grad=True (shape {self.shape}, "
                f"dtype {self.dtype}). Was it made under no_grad, detached, or by an operation without a gradient?"
            )
        return self.node

    def retain_grad(self) -> Tensor:
        """Keep the gradient of this intermediate result in `.grad` too. Returns the Tensor itself."""
        if not self.is_leaf:
            reference = weakref.ref(self)

            def keep(v: Tensor) -> None:
                owner = reference()
                if owner is not None:
                    accumulate.accumulate(owner, v)

            self.register_hook(keep)
        return self

    def register_hook(self, hook: Callable[[Tensor], Any]) -> Hook:
        """Call hook(gradient) when the gradient of this is complete. What it returns, if not None, replaces it.

        Returns:
            A Hook; its remove() stops the calls.
        """
        node = self._node_for("register_hook")
        if not callable(hook):
            raise TypeError(f"register_hook({hook!r}): a hook is a function of the gradient")
        return add_hook(node, hook)

    def detach(self) -> Tensor:
        """The same array without its history."""
        return specialize.attach(self.data, None)

    def named(self, name: str, label: str | None = None) -> Tensor:
        """Name the node of this Tensor, for printed tapes, reports and pictures. Returns the Tensor itself.

        Args:
            name: as a Python identifier, for example "var".
            label: as pictures and reports write it, for example "σ²".
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"named({name!r}): a name must be a Python identifier; put other symbols into label=")
        if self.node is not None:
            self.node.name = name
            if label is not None:
                self.node.label = label
        return self

    # As a Python object

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("len() of a 0-d Tensor")
        return self.data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.data.ndim == 0:
            raise TypeError("iteration over a 0-d Tensor")
        return inplace.Rows(self, sys._getframe(1))

    __hash__ = object.__hash__

    def __reduce__(self) -> Any:
        if self.node is not None and self.node.primitive is not None:
            raise TypeError(
                f"only leaf Tensors can be pickled or deep-copied, and the Tensor of shape {self.shape} is the result "
                f"of {self.node.primitive.name}, whose history would be lost. Use t.detach()."
            )
        names = (getattr(self.node, "name", None), getattr(self.node, "label", None))
        return (_rebuilt, (np.asarray(self.data), self.requires_grad, *names))

    def __repr__(self) -> str:
        body = np.array2string(np.asarray(self.data), separator=", ", prefix="Tensor(", threshold=50)
        notes = [] if self.dtype in (np.float64, np.int64, bool) else [f"dtype={self.dtype}"]
        if self.size > 50 or (self.size == 0 and self.ndim > 1):
            notes.insert(0, f"shape={self.shape}")
        if self.node is not None:
            name = getattr(self.node, "name", None)
            notes += [f"name={name!r}"] if name else []
            notes.append("requires_grad=True" if self.is_leaf else f"from {self.node.primitive.name}")
        return f"Tensor({', '.join([body, *notes])})"

    # Reading and writing elements

    def __getitem__(self, index: Any) -> Tensor:
        part = indexing.getitem(self, index=indexing.plain_index(index))
        return inplace.note_part(part, self) if inplace.is_basic(index) else part

    def __setitem__(self, index: Any, value: Any) -> None:
        inplace.set_items(self, index, value)

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return numpy_protocol.ufunc(ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        return numpy_protocol.function(function, inputs, options)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ValueError(f"array API version {api_version!r} is not supported; the newest is '2024.12'")
        return sys.modules["minigrad"]

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """The Tensor itself: there is only "cpu"."""
        check_device(device)
        return self


def _rebuilt(data: Any, requires_grad: bool, name: str | None, label: str | None) -> Tensor:
    """A leaf from its pickled parts."""
    t = Tensor(data, requires_grad)
    return t if name is None else t.named(name, label)


for _name, _member in methods.MEMBERS.items():  # Tensor.__mul__ is multiply itself, so that no call stands in between
    setattr(Tensor, _name, _member)
hints.install(Tensor, hints.TENSOR)
specialize.bind(Tensor)
