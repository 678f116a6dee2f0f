"""What the source of a program has names for: values, NumPy's functions, and what has no short text."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.program import UFUNCS, ArgSlot, Value
from minigrad.compiler.ir.pysyntax import identifier, literal, unique

OWN = ("where", "concatenate", "copyto", "empty", "asarray")
RESERVED = ("np", "sys", "memory", "array", "ReusedBuffer", "CheckFailed", "bind", "step", *OWN)


class Scope:
    """The names around the body of a step; asking for one makes it.

    `names` are those of values, `functions` local ones with the paths of NumPy's functions, `constants` what bind is
    given, and `prepared` what bind makes once.
    """

    def __init__(self) -> None:
        self.taken: dict[str, Any] = dict.fromkeys((*RESERVED, *UFUNCS), 0)
        self.names: dict[Value, str] = {}
        self.functions: dict[str, str] = {}
        self.constants: dict[str, Any] = {}
        self.prepared: dict[str, str] = {}

    def fresh(self, word: str) -> str:
        """The word as a name, with a number if it is taken."""
        return unique(word, self.taken)

    def operand(self, x: Any) -> str:
        """A value's name, or a literal."""
        return self.names[x] if isinstance(x, Value) else literal(x)

    def arguments(self, params: dict[str, Any], ins: list[str]) -> str:
        """What stands between the parentheses of a call or draw."""
        named = [f"{k}={self._given(x, ins)}" for k, x in params["kwargs"].items()]
        return ", ".join([*(self._given(x, ins) for x in params["args"]), *named])

    def _given(self, x: Any, ins: list[str]) -> str:
        """An argument of a call."""
        if isinstance(x, ArgSlot):
            return ins[x.k]
        if isinstance(x, (tuple, list)):
            inner = ", ".join(self._given(part, ins) for part in x)
            return f"({inner},)" if isinstance(x, tuple) and x else f"[{inner}]" if x else repr(x)
        if isinstance(x, (bool, int, float, complex, type(None), str)):
            return literal(x)
        if isinstance(x, np.dtype):
            return self.dtype(x)
        if isinstance(x, slice):
            return f"slice({self._given(x.start, ins)}, {self._given(x.stop, ins)}, {self._given(x.step, ins)})"
        name = self.fresh("given")
        self.constants[name] = x
        return name

    def name_of(self, function: Any) -> str:
        """A local name for a function, NumPy's by its path, however deep it lies."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, np.ufunc) and _is_at(f"numpy.{owner.__name__}", owner):
            return self.function(f"np.{owner.__name__}.{function.__name__}", f"{owner.__name__}_{function.__name__}")
        module = getattr(function, "__module__", "") or ""
        path = f"{module}.{getattr(function, '__qualname__', function.__name__)}"
        if _is_at(path, function):
            return self.function(path.replace("numpy.", "np.", 1), function.__name__)
        name = unique(identifier(getattr(function, "__name__", "function")), self.taken)
        self.constants[name] = function
        return name

    def function(self, path: str, name: str | None = None) -> str:
        """The local name of one of NumPy's functions by its path, which is quicker to find than an attribute."""
        for known, full in self.functions.items():
            if full == path:
                return known
        word = name or path.split(".", 1)[1].replace(".", "_")
        reserved = path == f"np.{word}" and (word in UFUNCS or word in OWN)
        name = word if reserved else unique(word, self.taken)
        self.functions[name] = path
        return name

    def dtype(self, dtype: Any) -> str:
        """The local name of a dtype."""
        return self.function(f"np.{np.dtype(dtype).name}") if np.dtype(dtype).kind != "b" else self.function("np.bool_")


def _is_at(path: str, function: Any) -> bool:
    """Whether a function of NumPy's is found under this path. A ufunc of another package may have any name."""
    found: Any = np
    first, *rest = path.split(".")
    for part in rest:
        found = getattr(found, part, None)
    return first == "numpy" and found is function
