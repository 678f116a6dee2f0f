"""Tensor: an array together with the node of the tape that made it."""

from __future__ import annotations

import math
import operator
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minigrad.engine import specialize
from minigrad.engine.borrowed import own
from minigrad.engine.errors import describe
from minigrad.engine.node import Node, leaf, mode
from minigrad.engine.tape import Hook, add_hook, ancestors, pull
from minigrad.ops import indexing
from minigrad.tensor import accumulate, inplace, methods, numpy_protocol, scalar_conversion
from minigrad.tensor.convert import check_device, copied
from minigrad.util import hints

if TYPE_CHECKING:
    from minigrad.tensor.methods import Methods
else:
    Methods = object


class Tensor(Methods):
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
    _part: tuple[Any, Any]  # of what was taken out of a Tensor: weak references to that, and to the loop

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

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor cannot be subclassed: operations return Tensors, so a subclass would be lost at once")

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the elements."""
        return self.data.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size  # type: ignore[no-any-return]

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
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            if wanted:
                return
            raise RuntimeError(
                "requires_grad = False on the result of a recorded operation; use t.detach() for its value alone"
            )
        if not wanted:
            self.node = None
        elif self.node is None:
            if self.data.dtype.kind != "f":
                raise TypeError(
                    f"requires_grad=True needs real floating-point numbers, and this is {describe(self.data)}; "
                    "convert it: mg.Tensor(data, requires_grad=True, dtype=float)"
                )
            if issubclass(type(self.data), np.generic):  # from an operation that gave a number
                self.data = np.asarray(self.data)  # a leaf can be written in place
            self.data = own(self.data)
            self.node = leaf(self.data)
            self.node.owner = weakref.ref(self)

    # Gradients

    @property
    def grad(self) -> Tensor | Any:
        """The gradient that backward() accumulated here, or None. Results keep theirs after retain_grad()."""
        value = getattr(self, "_grad", None)
        return value if value is None or type(value) is Tensor else value.read(self)

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
        node = self._line("backward")
        start = self._cotangent(gradient, recorded=create_graph)
        nodes, _ = ancestors([node])
        if create_graph:
            token = mode.set(mode.get() or "")
            try:
                found = pull(nodes, {node: start}, record=True)
                accumulate.store(found)
            finally:
                mode.reset(token)
        else:
            accumulate.store(pull(nodes, {node: start.data}, retain=retain_graph))

    def _line(self, what: str) -> Node:
        if self.node is None:
            raise RuntimeError(
                f"{what} on a Tensor that was not computed from one with requires_grad=True (shape {self.shape}, dtype "
                f"{self.dtype}). Was it made under no_grad, detached, or by an operation without a gradient?"
            )
        return self.node

    def _cotangent(self, gradient: Any, recorded: bool) -> Tensor:
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(
                    f"backward on a Tensor of shape {self.shape} needs a gradient of that shape; for the gradient of a "
                    "single number reduce it first, for example loss.mean().backward()"
                )
            # A NumPy scalar stays one: its operators cost a tenth of those of an array without axes.
            one = type(self.data)(1) if issubclass(type(self.data), np.generic) else np.ones_like(self.data)
            return specialize.attach(one, None)  # type: ignore[no-any-return]
        if type(gradient) is np.ndarray and gradient.dtype == self.dtype and not recorded:
            given = specialize.attach(gradient, None)  # no node will keep it, and leaves copy what is not theirs
        else:
            given = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
        if given.dtype.kind == "c":
            raise TypeError(f"backward: gradient of dtype {given.dtype}; gradients are real numbers")
        if given is not gradient and given.dtype != self.dtype:
            given = given.astype(self.dtype)
        if given.shape != self.shape:
            raise ValueError(f"backward: gradient of shape {given.shape} for a Tensor of shape {self.shape}")
        return given  # type: ignore[no-any-return]

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
        """Call hook(gradient) when the gradient of this is complete; what it returns, if anything, replaces it.

        Returns:
            A Hook: its remove() ends this.
        """
        node = self._line("register_hook")
        if not callable(hook):
            raise TypeError(f"register_hook({hook!r}): a hook is a function of the gradient")
        return add_hook(node, hook)

    def detach(self) -> Tensor:
        """The same array without its history."""
        return specialize.attach(self.data, None)  # type: ignore[no-any-return]

    def named(self, name: str, label: str | None = None) -> Tensor:
        """Name this node of the tape: printed tapes, reports and pictures use it. Returns the Tensor itself.

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

    # Leaving minigrad

    def numpy(self) -> Any:
        """The value as a NumPy array that cannot be written to."""
        data = self.data
        view = data.view() if isinstance(data, np.ndarray) else np.asarray(data)
        view.flags.writeable = False
        return view

    def item(self) -> Any:
        """The value of a one-element Tensor as a Python number."""
        if self.data.size != 1:
            raise ValueError(f"item: a Tensor of shape {self.shape} is not a single number; use .numpy() or .tolist()")
        return self.data.item()

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self.data.tolist()

    # Typed as an array without numbers, so that type checkers leave `array @ tensor` to Tensor.__rmatmul__.
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.void]:
        if self.node is not None:
            raise TypeError(
                f"NumPy asked for the bare values of a Tensor of shape {self.shape} that requires grad, and the "
                "gradient would be lost. Use t.numpy() or t.detach() for the values; to combine Tensors use "
                "mg.stack([t, u]) or mg.concat, and mg's functions where NumPy's do not pass Tensors on."
            )
        return np.array(self.data if copy else self.numpy(), dtype=dtype, copy=copy)

    def __float__(self) -> float:
        if self.node is not None and mode.get() is not None:
            scalar_conversion.refuse(self)
        return float(self.item())

    def __int__(self) -> int:
        if self.node is not None and mode.get() is not None:
            scalar_conversion.refuse(self)
        return int(self.item())

    def __complex__(self) -> complex:
        if self.node is not None and mode.get() is not None:
            scalar_conversion.refuse(self)
        return complex(self.item())

    def __round__(self, ndigits: int | None = None) -> Any:
        if self.data.size != 1:
            raise TypeError(
                f"round() of a Tensor of shape {self.shape} is not a single number; use "
                f"mg.round(t, decimals={ndigits or 0})"
            )
        if self.node is not None and mode.get() is not None:
            scalar_conversion.refuse(self)
        return round(self.data.item(), ndigits)

    def __trunc__(self) -> int:
        if self.data.size != 1:
            raise TypeError(f"math.trunc of a Tensor of shape {self.shape} is not a single number; use mg.trunc(t)")
        if self.node is not None and mode.get() is not None:
            scalar_conversion.refuse(self)
        return math.trunc(float(self.data.item()))

    def __index__(self) -> int:
        return operator.index(self.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(
                f"the truth value of a Tensor of shape {self.shape} is ambiguous; use mg.all(t), mg.any(t) or mg.where"
            )
        return bool(self.data)

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("len() of a 0-d Tensor")
        return self.data.shape[0]  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Tensor]:
        if self.data.ndim == 0:
            raise TypeError("iteration over a 0-d Tensor")
        return inplace.Rows(self, sys._getframe(1))

    __hash__ = object.__hash__

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise TypeError(
                "only leaf Tensors can be pickled or deep-copied: the history of a result stays behind. Use t.detach()."
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

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

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
        import minigrad

        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ValueError(f"array API version {api_version!r} is not supported; the newest is '2024.12'")
        return minigrad

    def __dlpack__(self, **options: Any) -> Any:
        np.asarray(self)  # refuses what requires grad
        return np.asarray(self.data).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return np.asarray(self.data).__dlpack_device__()

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """The Tensor itself: there is only "cpu"."""
        check_device(device)
        return self


def _rebuilt(data: Any, requires_grad: bool, name: str | None, label: str | None) -> Tensor:
    """A leaf from what pickle and copy keep of it."""
    t = Tensor(data, requires_grad)
    return t if name is None else t.named(name, label)


methods.install(Tensor)
hints.install(Tensor, hints.TENSOR)
specialize.bind(Tensor)
