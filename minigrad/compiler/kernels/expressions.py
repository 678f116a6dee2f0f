"""What an op of a kernel computes, as an expression of one element."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.compiler.ir.kernel import FLOATS, NUMBERS
from minigrad.compiler.ir.program import REDUCTIONS, Literal, Op, Value
from minigrad.compiler.ir.pysyntax import literal
from minigrad.compiler.ir.typing import kind, loop
from minigrad.ops.special import WHOLE

# Of scalars in a loop; what they make is cast to the dtype that NumPy says.
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
VECTORIZED = frozenset(
    {"exp", "expm1", "log", "log1p", "logaddexp", "tanh", *WHOLE, "maximum", "minimum"}
)  # in vecmath
with np.errstate(all="ignore"):  # newer NumPy takes the root: of -0.0 and -inf that is something else
    HALF_IS_ROOT = bool(np.isnan(np.power(np.array([-np.inf]), 0.5))[0])
UNSIGNED = {"sign": "{0} != 0"}  # where -1 would be their largest number
# What NumPy makes of an integer here depends on the processor, or is an error that depends on its value.
FLOATS_ONLY = frozenset({"power", "reciprocal", *WHOLE})
WRITTEN = VECTORIZED | EXPRESSIONS.keys() | BOOLEANS.keys()
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
        return all(_is_of(x, op.out.dtype) for x in op.ins[1:])
    if op.name in ("broadcast", "full") or op.name in REDUCTIONS:
        return True
    if op.name not in WRITTEN or (op.name in FLOATS_ONLY and op.out.dtype not in FLOATS):
        return False
    if op.name in BOOLEANS:
        return all(d == np.bool_ for d in dtypes)
    read = _read(op)
    return all(d in FLOATS or d in NUMBERS for d in read) and all(map(_is_of, op.ins, read))


def _is_of(x: Value | Literal, dtype: Any) -> bool:
    """Whether an operand is one of a dtype, or can be made so. A number in a comparison may be out of range."""
    if isinstance(x, Value) or not isinstance(x, int):
        return not isinstance(x, complex)
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-(2**1000), 2**1000)
    return bool(least <= x <= most)


def _read(op: Op) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which a ufunc reads its operands."""
    if op.name in WHOLE:
        return (op.out.dtype,)
    return loop(op.name, tuple(map(kind, op.ins)))[:-1]


class Expressions:
    """Writes expressions, and remembers which functions of vecmath they use."""

    def __init__(self) -> None:
        self.functions: set[str] = set()

    def expression(self, op: Op, operands: list[str]) -> str:
        """What an op computes, from the names of its operands."""
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
        made = (table.get(function) or EXPRESSIONS[function]).format(*ready, t=self.dtype(out))
        plain = out == np.bool_ or ((function in ARITHMETIC or function in ("square", "positive")) and out in FLOATS)
        return made if plain else f"{self.dtype(out)}({made})"

    def _vectorized(self, kind: str, operands: list[str], dtype: Any) -> str:
        if kind in ("maximum", "minimum"):
            if dtype not in FLOATS:
                return f"{self.dtype(dtype)}({kind[:3]}({', '.join(operands)}))"
            name = kind
        else:
            name = f"{kind}_{FLOATS[dtype]}"
        self.functions.add(name)
        return f"{name}({', '.join(operands)})"

    def _as(self, x: Value | Literal, name: str, wanted: Any) -> str:
        return self.cast(name, x.dtype, wanted) if isinstance(x, Value) else self.literal(x, wanted)

    def literal(self, x: Literal, dtype: Any) -> str:
        """A Python number as one of a dtype. Not as an integer where floats are wanted: numba's have 64 bits."""
        number = {"b": bool, "f": float}.get(np.dtype(dtype).kind, int)(x)  # type: ignore[arg-type]
        text = literal(number)
        return text if dtype in (np.bool_, np.float64) else f"{self.dtype(dtype)}({text})"

    def cast(self, name: str, given: Any, wanted: Any) -> str:
        """A number as another dtype."""
        wanted = np.dtype(wanted)
        if given == wanted:
            return name
        if wanted == np.bool_:
            return name if given is bool else f"({name} != 0)"
        return f"{self.dtype(wanted)}({name})"

    def dtype(self, dtype: Any) -> str:
        """The name of a dtype in the source."""
        return {"float32": "f32", "float64": "f64"}.get(np.dtype(dtype).name, f"np.{np.dtype(dtype).name}")

    def start(self, op: Op, dtype: Any = None) -> str:
        """What a reduction begins with, in the dtype of its result if no other is given."""
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
        """One more element."""
        dtype = op.out.dtype if dtype is None else dtype
        x = self.cast(x, op.operands[0].dtype, dtype)
        if op.name in STEPS:
            if op.name == "sum" and dtype in FLOATS:
                self.functions.add("added")
                return f"added({total}, {x})"
            made = STEPS[op.name].format(total, x)
            return made if dtype in FLOATS or dtype == np.bool_ else f"{self.dtype(dtype)}({made})"
        if dtype == np.bool_:
            return f"{total} {'or' if op.name == 'max' else 'and'} {x}"
        return self._vectorized({"max": "maximum", "min": "minimum"}[op.name], [total, x], dtype)
