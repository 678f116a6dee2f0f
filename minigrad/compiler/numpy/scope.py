"""Names in the source of a program: of values, of NumPy's functions, and of constants that have no short text."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.program import UFUNCS, ArgSlot, Value
from minigrad.compiler.ir.pysyntax import identifier, literal, unique

KNOWN = ("where", "concatenate", "copyto", "empty", "asarray")
RESERVED = ("np", "sys", "memory", "array", "ReusedBuffer", "CheckFailed", "bind", "step", *KNOWN)


class Scope:
    """The names around the body of a step; a name is added when it is first requested.

    `names` are those of values. `functions` maps local names to paths of NumPy's functions, `constants` to arguments of
    `bind`, and `prepared` to expressions that `bind` evaluates once.
    """

    def __init__(self) -> None:
        self.taken: dict[str, Any] = dict.fromkeys((*RESERVED, *UFUNCS), 0)
        self.names: dict[Value, str] = {}
        self.functions: dict[str, str] = {}
        self.constants: dict[str, Any] = {}
        self.prepared: dict[str, str] = {}

    def fresh(self, word: str) -> str:
        """A new name: the word, with a number if it is taken."""
        return unique(word, self.taken)

    def operand(self, x: Any) -> str:
        """A value's name, or a literal."""
        return self.names[x] if isinstance(x, Value) else literal(x)

    def arguments(self, params: dict[str, Any], ins: list[str]) -> str:
        """The arguments of a call or a random op, as text."""
        named = [f"{k}={self._argument(x, ins)}" for k, x in params["kwargs"].items()]
        return ", ".join([*(self._argument(x, ins) for x in params["args"]), *named])

    def _argument(self, x: Any, ins: list[str]) -> str:
        """An argument of a call, as text."""
        if isinstance(x, ArgSlot):
            return ins[x.k]
        if isinstance(x, (tuple, list)):
            inner = ", ".join(self._argument(part, ins) for part in x)
            return f"({inner},)" if isinstance(x, tuple) and x else f"[{inner}]" if x else repr(x)
        if isinstance(x, (bool, int, float, complex, type(None), str)):
            return literal(x)
        if isinstance(x, np.dtype):
            return self.dtype(x)
        if isinstance(x, slice):
            return (
                f"slice({self._argument(x.start, ins)}, {self._argument(x.stop, ins)}, {self._argument(x.step, ins)})"
            )
        name = self.fresh("argument")
        self.constants[name] = x
        return name

    def name_of(self, function: Any) -> str:
        """The local name of a function. NumPy's are found by their path, others become constants."""
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
        """The local name of a NumPy function. A local variable is read faster than an attribute."""
        for known, full in self.functions.items():
            if full == path:
                return known
        word = name or path.split(".", 1)[1].replace(".", "_")
        reserved = path == f"np.{word}" and (word in UFUNCS or word in KNOWN)
        name = word if reserved else unique(word, self.taken)
        self.functions[name] = path
        return name

    def dtype(self, dtype: Any) -> str:
        """The local name of a dtype."""
        return self.function(f"np.{np.dtype(dtype).name}") if np.dtype(dtype).kind != "b" else self.function("np.bool_")


def _is_at(path: str, function: Any) -> bool:
    """Whether NumPy has a function at this path. A ufunc of another package may have any name."""
    member: Any = np
    first, *rest = path.split(".")
    for part in rest:
        member = getattr(member, part, None)
    return first == "numpy" and member is function
