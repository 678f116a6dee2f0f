"""The ops of a kernel as Python expressions of one element, and the names of its variables and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.compiler.ir.kernel import FLOATS, NUMBERS, Kernel
from minigrad.compiler.ir.program import REDUCTIONS, Literal, Op, Value
from minigrad.compiler.ir.pysyntax import literal
from minigrad.compiler.ir.typing import kind, loop
from minigrad.ops.special import WHOLE

DOUBLE = np.dtype(np.float64)
# Of scalars in a loop; the result is cast to NumPy's dtype.
ARITHMETIC = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}"}
EXPRESSIONS = {
    **ARITHMETIC,
    "square": "{0} * {0}",
    "positive": "{}",
    "reciprocal": "1 / {}",
    "absolute": "abs({})",
    "fabs": "abs({})",
    "power": "({}) ** {}",  # -2.0 ** x is -(2.0 ** x)
    "float_power": "({}) ** {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_not": "not {}",
    "logical_and": "{} and {}",
    "logical_or": "{} or {}",
    "isnan": "{0} != {0}",
    "sign": "{t}(1) if {0} > 0 else {t}(-1) if {0} < 0 else {t}(0) if {0} == 0 else {0}",
    **{
        name: f"np.{name}({{}})"
        for name in (
            *("sqrt", "rint", "floor", "ceil", "trunc", "isfinite", "isinf", "sin", "cos", "tan", "arctan"),
            *("sinh", "cosh", "arcsin", "arccos", "exp2", "log2", "log10"),
        )
    },
    **{name: f"np.{name}({{}}, {{}})" for name in ("copysign", "arctan2", "hypot")},
}
BOOLEANS = {"bitwise_and": "{} and {}", "bitwise_or": "{} or {}", "invert": "not {}", "bitwise_xor": "{} != {}"}
LOGICAL = {"add": "{} or {}", "multiply": "{} and {}"}  # of bools, where Python's True + True is 2
# in vecmath
VECTORIZED = frozenset({"exp", "expm1", "log", "log1p", "logaddexp", "tanh", *WHOLE, "maximum", "minimum"})
with np.errstate(all="ignore"):  # newer NumPy takes the square root, which differs for -0.0 and -inf
    HALF_IS_ROOT = bool(np.isnan(np.power(np.array([-np.inf]), 0.5))[0])
UNSIGNED = {"sign": "{0} != 0"}  # -1 would be the largest number
# For integers NumPy's result depends on the processor, or is an error that depends on the value.
FLOATS_ONLY = frozenset({"power", "reciprocal", *WHOLE})
SUPPORTED = VECTORIZED | EXPRESSIONS.keys() | BOOLEANS.keys()
FOR_BOOLS = BOOLEANS | LOGICAL
STARTS = {"sum": "0", "prod": "1", "all": "True", "any": "False"}
STEPS = {"sum": "{0} + {1}", "prod": "{0} * {1}", "all": "{0} and {1}", "any": "{0} or {1}"}


def can_write(op: Op) -> bool:
    """Whether an op can be part of a kernel."""
    if op.name in ("input", "kernel", "check"):
        return False
    dtypes = [v.dtype for v in (*op.operands, *op.outs)]
    if not all(d in FLOATS or d in NUMBERS for d in dtypes):
        return False
    if op.name == "cast":
        return op.out.dtype in FLOATS or kind(op.ins[0]) not in {*FLOATS, float}
    if op.name == "where":
        return all(_is_convertible(x, op.out.dtype) for x in op.ins[1:])
    if op.name in ("broadcast", "full") or op.name in REDUCTIONS:
        return True
    if op.name not in SUPPORTED or (op.name in FLOATS_ONLY and op.out.dtype not in FLOATS):
        return False
    if op.name in BOOLEANS:
        return all(d == np.bool_ for d in dtypes)
    dtypes_read = _operand_dtypes(op)
    return all(d in FLOATS or d in NUMBERS for d in dtypes_read) and all(map(_is_convertible, op.ins, dtypes_read))


def _is_convertible(x: Value | Literal, dtype: Any) -> bool:
    """Whether an operand can be converted to a dtype. A number in a comparison may be out of range."""
    if isinstance(x, Value) or not isinstance(x, int):
        return not isinstance(x, complex)
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-(2**1000), 2**1000)
    return bool(least <= x <= most)


def _operand_dtypes(op: Op) -> tuple[np.dtype[Any], ...]:
    """The dtypes to which a ufunc converts its operands."""
    if op.name in WHOLE:
        return (op.out.dtype,)
    return loop(op.name, tuple(map(kind, op.ins)))[:-1]


class Expressions:
    """Writer of expressions; `functions` are the names of vecmath that they use."""

    def __init__(self) -> None:
        self.functions: set[str] = set()

    def expression(self, op: Op, operands: list[str]) -> str:
        """The expression of an op, from the names of its operands."""
        function, out = op.name, op.out.dtype
        if function == "cast" or function in REDUCTIONS:
            return self.cast(operands[0], kind(op.ins[0]), out)
        if function == "broadcast":
            return operands[0]
        if function == "full":
            return self.literal(op.params["value"], out)
        if function == "where":
            x, y = (self._as(v, name, out) for name, v in zip(operands[1:], op.ins[1:], strict=True))
            return f"({x} if {operands[0]} else {y})"
        if function in WHOLE:
            return self._vectorized(function, operands, out)
        dtypes = loop(function, tuple(map(kind, op.ins)))
        if function.startswith("logical_"):
            dtypes = (np.dtype(bool),) * len(dtypes)
        ready = [self._as(v, name, d) for name, v, d in zip(operands, op.ins, dtypes, strict=False)]
        if function in VECTORIZED:
            return self._vectorized(function, ready, dtypes[0])
        table = FOR_BOOLS if out == np.bool_ else UNSIGNED if out.kind == "u" else {}
        if function == "power" and op.ins[1] == 0.5 and HALF_IS_ROOT:
            function = "sqrt"
        text = (table.get(function) or EXPRESSIONS[function]).format(*ready, t=self.dtype(out))
        is_exact = out == np.bool_ or (out in FLOATS and function in (*ARITHMETIC, "square", "positive"))
        return text if is_exact else f"{self.dtype(out)}({text})"

    def _vectorized(self, kind: str, operands: list[str], dtype: Any) -> str:
        if kind in ("maximum", "minimum"):
            if dtype not in FLOATS:
                return f"{self.dtype(dtype)}({kind[:3]}({', '.join(operands)}))"
            name = kind
        else:
            name = f"{kind}_{FLOATS[dtype]}"
        self.functions.add(name)
        return f"{name}({', '.join(operands)})"

    def _as(self, x: Value | Literal, name: str, dtype: Any) -> str:
        return self.cast(name, x.dtype, dtype) if isinstance(x, Value) else self.literal(x, dtype)

    def literal(self, x: Literal, dtype: Any) -> str:
        """A Python number in a dtype. For a float dtype never an integer literal, to which numba gives 64 bits."""
        convert: Any = {"b": bool, "f": float}.get(np.dtype(dtype).kind, int)
        text = literal(convert(x))
        return text if dtype in (np.bool_, np.float64) else f"{self.dtype(dtype)}({text})"

    def cast(self, name: str, old: Any, new: Any) -> str:
        """A number of one dtype in another."""
        new = np.dtype(new)
        if old == new:
            return name
        if new == np.bool_:
            return name if old is bool else f"({name} != 0)"
        return f"{self.dtype(new)}({name})"

    def dtype(self, dtype: Any) -> str:
        """The name of a dtype in the source."""
        return {"float32": "f32", "float64": "f64"}.get(np.dtype(dtype).name, f"np.{np.dtype(dtype).name}")

    def start(self, op: Op, dtype: Any = None) -> str:
        """The initial value of a reduction, by default in the dtype of its result."""
        dtype = op.out.dtype if dtype is None else dtype
        if op.name in STARTS:
            return STARTS[op.name] if dtype == np.bool_ else f"{self.dtype(dtype)}({STARTS[op.name]})"
        sign = "-" if op.name == "max" else ""
        if dtype in FLOATS:
            return f"{self.dtype(dtype)}({sign}np.inf)"
        if dtype == np.bool_:
            return str(op.name == "min")
        limits = np.iinfo(dtype)
        return f"{self.dtype(dtype)}({limits.min if op.name == 'max' else limits.max})"

    def step(self, op: Op, total: str, x: str, dtype: Any = None) -> str:
        """The expression that adds an element `x` to the total of a reduction."""
        dtype = op.out.dtype if dtype is None else dtype
        x = self.cast(x, op.operands[0].dtype, dtype)
        if op.name in STEPS:
            if op.name == "sum" and dtype in FLOATS:
                self.functions.add("added")
                return f"added({total}, {x})"
            text = STEPS[op.name].format(total, x)
            return text if dtype in FLOATS or dtype == np.bool_ else f"{self.dtype(dtype)}({text})"
        if dtype == np.bool_:
            return f"{total} {'or' if op.name == 'max' else 'and'} {x}"
        return self._vectorized({"max": "maximum", "min": "minimum"}[op.name], [total, x], dtype)


class Storage(Expressions):
    """The variables and arrays of a kernel, by value.

    Args:
        kernel: what they belong to.
        shared: outputs that lie in the memory of an operand, which is one argument then.
        is_flat: whether arrays have one axis.
    """

    def __init__(self, kernel: Kernel, shared: Mapping[Value, Value], is_flat: bool) -> None:
        super().__init__()
        self.kernel, self.is_flat = kernel, is_flat
        self.arguments: dict[Value, str] = {v: f"a{k}" for k, v in enumerate(kernel.ins)}
        self.targets: dict[Value, str] = {}
        for v in kernel.outs:
            name = self.arguments[shared[v]] if v in shared else f"o{len(self.targets)}"
            self.targets[kernel.real(v)] = name
        self.names: dict[Value, str] = {}
        for op in kernel.ops:
            self.names.setdefault(op.out, f"v{len(self.names)}")
        self.allocated: dict[str, str] = {}  # arrays that are not arguments, and expressions that create them
        self.reads: dict[Value, set[tuple[float, float]]] = {}  # by operand: loop nest and pass

    def scalar(self, v: Value) -> str:
        """The name of the only element of an operand."""
        return f"s{self.arguments[v]}"

    def array(self, v: Value) -> str:
        """The array of a value that is needed after its pass."""
        return self.arguments.get(v) or self.targets.get(v) or self._allocate("t", v, v.dtype)

    def wide(self, v: Value) -> str:
        """The array in which a sum of float32 is added up."""
        return self._allocate("wide", v, DOUBLE)

    def _allocate(self, prefix: str, v: Value, dtype: np.dtype[Any]) -> str:
        name = f"{prefix}{self.names[v]}"
        sizes = (" * " if self.is_flat else ", ").join(f"n{a}" for a in self.kernel.axes(v))
        self.allocated.setdefault(name, f"np.empty(({sizes},), np.{dtype.name})")
        return name

    def row_buffer(self, v: Value, axis: int) -> str:
        """The array of one row of a value, which a later pass over the same row reads."""
        name = f"row{self.names[v]}"
        if not self.is_flat:
            self.allocated.setdefault(name, f"np.empty(n{axis}, np.{v.dtype.name})")
        return name
