"""What is known of calls: which of them neither look at a number that they get nor give it to code that might."""

from __future__ import annotations

import math

import numpy as np

from minigrad import nn, optim
from minigrad.tensor.tensor import Tensor

TAKING = frozenset({"float", "int"})
# Builtins that compute with numbers by their own methods or pass them on, and those that ask for their value, which is
# noticed.
KNOWN = TAKING | {"max", "min", "sum", "abs", "list", "tuple", "len", "enumerate", "zip", "isinstance", "print"}
KNOWN |= {"round", "bool", "reversed", "str", "repr", "divmod", "any", "all"}
PLAIN_RESULT = frozenset(
    {"len", "isinstance", "bool", "str", "repr", "range", "any", "all", "hasattr", "print", "type"}
)
# Builtins that may be called with anything but numbers out of arrays.
OTHERS = frozenset({"range", "sorted", "set", "dict", "frozenset", "iter", "next", "hasattr", "type", "issubclass"})
OTHERS |= {"callable", "super", "slice", "pow", "getattr", "id", "format", "complex", "bytes"}
FILLING = frozenset({"append", "appendleft", "update", "setdefault", "extend", "insert"})  # keep what they get
PLAIN = frozenset({"get", "items", "values", "keys", "pop", "popleft", "popitem", "clear", "copy"})
_KINDS = (np.ndarray, Tensor, np.random.Generator, np.ufunc)
METHODS = frozenset(name for kind in _KINDS for name in dir(kind) if name[0] != "_")
METHODS -= {"backward", "dump", "dumps", "tofile"}
RUNNING = frozenset(name for kind in (nn.Module, optim.Optimizer) for name in dir(kind) if name[0] != "_")
RUNNING |= {"backward", "step", "zero_grad", "get_last_lr", "forward"}  # methods of minigrad's, in which hooks run
TEXT = frozenset(name for name in dir(str) if name[0] != "_") - {"format", "format_map"}
COMPUTING = frozenset({"itertools", "collections", "re", "string", "typing", "time", "random", "warnings"})
NUMERIC = frozenset({"minigrad", "numpy"})
# Functions of math whose result is found again from the number at each call.
DECIDING = frozenset({math.isnan, math.isinf, math.isfinite})
THROUGH = frozenset({
    *(math.sqrt, math.exp, math.log, math.log2, math.log10, math.log1p, math.expm1, math.sin, math.cos, math.tan),
    *(math.tanh, math.sinh, math.cosh, math.atan, math.asin, math.acos, math.erf, math.fabs, math.degrees),
    *(math.radians, math.exp2),
})  # fmt: skip
OF_MATH = DECIDING | THROUGH

OPERATORS = frozenset({"__getitem__", "__setitem__", "__contains__", "__iter__", "__next__", "__bool__", "__len__"})
OPERATORS |= {f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert", "round")}
OPERATORS |= {
    f"__{side}{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "divmod")
    for side in ("", "r", "i")
}
# Methods that Python calls when attributes are read or set, or numbers become keys: what they get is not followed.
HARD = frozenset({"__getattr__", "__getattribute__", "__setattr__", "__delattr__", "__set__", "__get__", "__hash__"})
HARD |= {"__missing__", "__set_name__", "__instancecheck__", "__array_ufunc__", "__array_function__"}
