"""The base classes of arrays that are not NumPy's: one method receives every call that such an array takes part in.

NumPy calls an array of another class in two ways: `__array_ufunc__` for ufuncs and their methods, `__array_function__`
for its other functions. Python's operators are ufuncs. Here all of these calls arrive at one method, `mg_compute`.

Names that ndarray does not have begin with mg_, so that a subclass can have exactly the attributes of an array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class NumPyCalls:
    """Sends NumPy's calls to `mg_compute`. For subclasses of ndarray; other arrays derive from `DuckArray`."""

    __slots__ = ()

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call in which this array is an argument.

        Args:
            function: of NumPy, a ufunc or another function.
            method: of a ufunc: "__call__", "reduce", "accumulate", "outer", "at"; "__call__" for other functions.
            args: of the call, as they were given.
            kwargs: of the call. `out` is a tuple for a ufunc, as NumPy passes it.

        Returns:
            The result, or NotImplemented to let another array among the arguments answer.
        """
        raise NotImplementedError

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return self.mg_compute(ufunc, method, args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.mg_compute(function, "__call__", args, kwargs)


class DuckArray(NumPyCalls, NDArrayOperatorsMixin):
    """An array with operators, a shape and a dtype, whose values Python cannot read.

    A subclass defines `mg_compute`, `shape` and `dtype`, and indexing where it has it. One with values overrides the
    conversions for which it has an answer.

    Example:
        >>> class Counted(DuckArray):
        ...     shape, dtype, calls = (2,), np.dtype(float), 0
        ...     def mg_compute(self, function, method, args, kwargs):
        ...         Counted.calls += 1
        ...         return self
        >>> _ = np.sum(2 * Counted() + 1)
        >>> Counted.calls
        3
    """

    __slots__ = ()

    shape: Any
    dtype: Any
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: np.swapaxes(self, -1, -2))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def mg_refuse(self, conversion: str) -> Any:
        """Called when Python asks for the values, with the name of what was called. Raises an error, or returns them.

        Raises:
            TypeError: here always.
        """
        raise TypeError(f"{type(self).__name__}.{conversion}: the array has no values that Python could read")


class ArrayMethods:
    """The methods of ndarray that are functions of NumPy too: x.sum(axis=0) is np.sum(x, axis=0)."""

    __slots__ = ()


def _conversion(name: str) -> Any:
    def convert(self: DuckArray, *args: Any, **kwargs: Any) -> Any:
        return self.mg_refuse(name)

    convert.__name__ = name
    return convert


def _method(name: str) -> Any:
    function = getattr(np, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__, method.__doc__ = name, f"np.{name}."
    return method


CONVERSIONS = ("__array__", "__bool__", "__int__", "__float__", "__complex__", "__index__", "item", "tolist")
METHODS = ["all", "any", "argmax", "argmin", "argsort", "clip", "cumprod", "cumsum", "diagonal", "dot", "max", "mean"]
METHODS += ["min", "nonzero", "prod", "ravel", "repeat", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes"]
METHODS += ["take", "trace", "var"]
for _name in CONVERSIONS:
    setattr(DuckArray, _name, _conversion(_name))
for _name in METHODS:
    setattr(ArrayMethods, _name, _method(_name))


def arrays_in(x: Any) -> Iterator[Any]:
    """The arrays in an argument, of NumPy's class or any other, within nested tuples, lists and dicts too."""
    if hasattr(type(x), "__array_function__"):
        yield x
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from arrays_in(part)
    elif isinstance(x, dict):
        yield from arrays_in([*x.values()])


def map_arrays(function: Callable[[Any], Any], kinds: Any, x: Any) -> Any:
    """An argument or result with the function applied to each array of some classes, within containers too.

    Example:
        >>> map_arrays(lambda a: a.sum(), np.ndarray, (np.ones(2), [np.ones(3), "text"]))
        (np.float64(2.0), [np.float64(3.0), 'text'])
    """
    if isinstance(x, kinds):
        return function(x)
    if isinstance(x, (tuple, list)):
        parts = [map_arrays(function, kinds, part) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    if isinstance(x, dict):
        return {name: map_arrays(function, kinds, value) for name, value in x.items()}
    return x
