"""The ops of a program as text: names, NumPy calls that write into planned memory, expressions of single numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, ArgSlot, Op, Value
from minigrad.compiler.ir.pysyntax import identifier, index_text, inside, literal, slices, unique
from minigrad.compiler.numpy.plan import FLOAT, Plan
from minigrad.compiler.refusal import DECISION
from minigrad.engine.pairwise import MANY, add_at, add_reduce
from minigrad.ops.special import WHOLE

KNOWN = ("where", "concatenate", "copyto", "empty", "asarray")
RESERVED = ("np", "sys", "memory", "array", "ReusedBuffer", "CheckFailed", "bind", "step", *KNOWN)
ARITHMETIC = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "negative": "-{}",
    "square": "{0} * {0}",
    "absolute": "abs({})",
    "divide": "{0} / {1} if {1} else float({divide}({0}, {1}))",
}
COMPARISONS = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!="}
CHOICES = {  # one of the operands: NaN where there is one, as in NumPy
    "maximum": "{0} if {0} >= {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} <= {1} or {0} != {0} else {1}",
    "where": "{1} if {0} else {2}",
}


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
            return f"slice({', '.join(self._argument(part, ins) for part in (x.start, x.stop, x.step))})"
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
        name = self.fresh(identifier(getattr(function, "__name__", "function")))
        self.constants[name] = function
        return name

    def function(self, path: str, name: str | None = None) -> str:
        """The local name of a NumPy function. A local variable is read faster than an attribute."""
        known = next((known for known, full in self.functions.items() if full == path), None)
        if known is not None:
            return known
        word = name or path.split(".", 1)[1].replace(".", "_")
        is_reserved = path == f"np.{word}" and (word in UFUNCS or word in KNOWN)
        name = word if is_reserved else self.fresh(word)
        self.functions[name] = path
        return name

    def dtype(self, dtype: Any) -> str:
        """The local name of a dtype."""
        return self.function("np.bool_" if np.dtype(dtype).kind == "b" else f"np.{np.dtype(dtype).name}")


def _is_at(path: str, function: Any) -> bool:
    """Whether NumPy has a function at this path. A ufunc of another package may have any name."""
    member: Any = np
    first, *rest = path.split(".")
    for part in rest:
        member = getattr(member, part, None)
    return first == "numpy" and member is function


class Calls:
    """The calls of a program's ops, with the names of a scope."""

    def __init__(self, scope: Scope, plan: Plan, rngs: list[str]) -> None:
        self.scope, self.plan, self.rngs = scope, plan, rngs
        self.names, self._f = scope.names, scope.function
        self.ones: dict[Any, str] = {}
        self.dtypes: dict[Any, str] = {}
        self.can_fail = False  # whether CheckFailed is raised

    @property
    def _copyto(self) -> str:
        return self._f("np.copyto")

    def texts(self, op: Op) -> list[str]:
        """The statements that compute an op."""
        if op.name == "check":
            return [self._check(op)]
        out = self.names[op.outs[0]]
        ins = [self.scope.operand(x) for x in op.ins]
        name = op.name
        if name in UFUNCS:
            return [f"{self._f(f'np.{name}')}({', '.join(ins)}, out={out})"]
        if copied := self._copied(op, ins):
            return [f"{self._copyto}({out}, {copied})"]
        if name == "matmul":
            return [self._product(op, ins[0], ins[1], out, all(x.ndim == 2 for x in op.operands))]
        if name == "convolution":
            return [self.convolution(op, op.params["function"])]
        if name in REDUCTIONS:
            return [self._reduction(op, ins[0], out)]
        if name in ("set_slice", "scatter"):
            first = [] if self._shares(op) else [f"{self._copyto}({out}, {ins[0]})"]
            return [*first, self._set_slice(op, ins, out) if name == "set_slice" else self._scatter(op, ins, out)]
        if name == "concatenate" and self.plan.kind[op.out] == "joined" and op.out not in self.plan.part:
            rows = self.plan.pasted.get(op, ())
            return [f"{self._copyto}({out}[{start}:{end}], {self.names[x]})" for x, start, end in rows]
        if name == "concatenate":
            return [f"{self._f('np.concatenate')}(({', '.join(ins)},), {op.params['axis']}, {out})"]
        if name == "random":
            return self._draw(op, ins, out)
        return [self._call(op, ins), *(self._result_check(v) for v in op.outs)]

    def _copied(self, op: Op, ins: list[str]) -> str:
        """What is copied into the result; "" if the op writes there by itself."""
        if op.name in ("cast", "broadcast", "copy"):
            return ins[0] + ", 'unsafe'" * (op.name == "cast")
        if op.name == "where":
            return f"{self._f('np.where')}({', '.join(ins)})"
        if op.name == "gather":
            return f"{ins[0]}[{index_text(op.params['index'], ins[1:])}]"
        return f"{self.scope.name_of(WHOLE[op.name])}({ins[0]})" if op.name in WHOLE else ""

    # Checks

    def _check(self, op: Op) -> str:
        (x,), low, high = op.operands, op.params["low"], op.params["high"]
        name = self.names[x]
        if x.size == 1 and x.dtype.kind == "b":
            condition = f"{'not ' * bool(low)}{name}.item()"
        elif x.size == 1:
            condition = f"not {literal(low)} <= {name}.item() <= {literal(high)}"
        elif x.dtype.kind == "b":
            condition = f"not {self._over_all('logical_and', name)}"
        elif x.dtype.kind in "iu" and x.dtype.isnative and low <= 0 and high <= np.iinfo(x.dtype).max:
            signed = x.dtype.kind == "i"  # a negative integer is a large one without a sign: one walk is enough
            unsigned = f"{name}.view({self._f(f'np.u{x.dtype}')})" if signed else name
            condition = f"{self._over_all('maximum', unsigned)} > {high}"
            condition += f" and ({self._outside(name, low, high)})" if low and signed else ""
        else:
            condition = self._outside(name, low, high)
        self.can_fail = True
        reason = f"{DECISION} on {name}" if "decides" in op.params else f"a check of {name} failed"
        return f"if {condition}: raise CheckFailed({reason!r})"

    def _outside(self, name: str, low: Any, high: Any) -> str:
        least, largest = (self._over_all(ufunc, name) for ufunc in ("minimum", "maximum"))
        return f"{least} < {literal(low)} or {largest} > {literal(high)}"

    def _over_all(self, ufunc: str, name: str) -> str:
        return f"{self._f(f'np.{ufunc}.reduce', f'reduce_{ufunc}')}({name}, None)"

    def _result_check(self, v: Value) -> str:
        """The check that an opaque function returns the shape and dtype that it returned when it was recorded."""
        name = self.names[v]
        dtype = self.dtypes.get(v.dtype)
        if dtype is None:
            dtype = self.dtypes[v.dtype] = self.scope.fresh("dtype")
            self.scope.prepared[dtype] = f"np.dtype({v.dtype.str!r})"
        other = f"{name}.shape != {v.shape} or {name}.dtype != {dtype}"
        self.can_fail = True
        return (
            f"if {other}: raise CheckFailed({f'{name} has another shape or dtype than when the step was recorded'!r})"
        )

    # Operations

    def convolution(self, op: Op, function: Any) -> str:
        """The call of a function that computes a convolution."""
        arguments = [self.scope.operand(x) for x in op.ins]
        arguments += [f"{name}={value!r}" for name, value in op.params["settings"]]
        return f"{self.scope.name_of(function)}({', '.join(arguments)}, out={self.names[op.out]})"

    def _reduction(self, op: Op, x: str, out: str) -> str:
        v, axes = op.operands[0], op.params["axes"]
        if op.name == "sum" and v.dtype == np.float32 and v.size > MANY * op.out.size:
            axis = axes[0] if len(axes) == 1 else axes
            return f"{self._copyto}({out}, {self.scope.name_of(add_reduce)}({x}, axis={axis}, keepdims=True))"
        if op.name == "sum" and v.ndim == 2 and len(axes) == 1 and v.dtype in (np.float32, np.float64):
            shape = (v.shape[0], 1)[::-1] if axes == (0,) else (v.shape[1], 1)
            ones = self.ones.get((shape, v.dtype))
            if ones is None:
                ones = self.ones[shape, v.dtype] = self.scope.fresh("ones")
                self.scope.prepared[ones] = f"np.ones({shape}, {str(v.dtype)!r})"
            factors = (ones, x) if axes == (0,) else (x, ones)
            return self._product(op, *factors, out, v.dtype == op.out.dtype)  # much faster than np.add.reduce
        function = self._f(f"np.{REDUCTIONS[op.name].__name__}.reduce", f"reduce_{op.name}")
        return f"{function}({x}, {axes[0] if len(axes) == 1 else axes}, None, {out}, True)"

    def _product(self, op: Op, x: str, y: str, out: str, is_simple: bool) -> str:
        """A product of matrices. For small ones the method takes two thirds of the time of np.dot, and np.dot half of
        that of np.matmul. It needs equal dtypes, and a result that is in C order if its memory is planned.
        """
        memory = self.plan.arrays.get(op.out)
        is_alike = op.out.dtype.kind == "f" and all(v.dtype == op.out.dtype for v in op.operands)
        if is_simple and is_alike and (memory is None or memory.flags.carray):
            return f"{x}.dot({y}, {out})"
        return f"{self._f('np.matmul')}({x}, {y}, out={out})"

    def _set_slice(self, op: Op, ins: list[str], out: str) -> str:
        target = out
        for name, arguments in op.params["steps"]:
            target += f".{name}({inside(arguments)})" if name != "slice" else f"[{slices(arguments, None)}]"
        return f"{self._copyto}({target}, {ins[1]})"

    def _shares(self, op: Op) -> bool:
        """Whether the result is computed in the first operand's memory."""
        x, out = op.operands[0], op.out
        arrays = self.plan.arrays
        return x in arrays and out in arrays and _address_and_strides(arrays[x]) == _address_and_strides(arrays[out])

    def _scatter(self, op: Op, ins: list[str], out: str) -> str:
        if op.params["how"] == "set":
            return f"{out}[{index_text(op.params['index'], ins[2:])}] = {ins[1]}"
        v = op.operands[1]
        is_widened = v.dtype == np.float16 or (v.dtype == np.float32 and v.size > MANY)
        function = self.scope.name_of(add_at) if is_widened else self._f("np.add.at", "add_at")
        return f"{function}({out}, ({index_text(op.params['index'], ins[2:], False)},), {ins[1]})"

    def _draw(self, op: Op, ins: list[str], out: str) -> list[str]:
        p = op.params
        if p["method"] == "shuffle":
            copied = f"{self._copyto}({out}, {ins[0]})"
            return [copied, f"{self.rngs[p['generator']]}.shuffle({self.scope.arguments(p, [out])})"]
        call = f"{self.rngs[p['generator']]}.{p['method']}({self.scope.arguments(p, ins)})"
        direct = p["method"] in ("random", "standard_normal") and op.out.ndim > 0
        if direct and set(p["kwargs"]) <= {"dtype"} and len(p["args"]) == 1:
            return [f"{call[:-1]}, out={out})"]
        return [f"{self._copyto}({out}, {call})"]

    def _call(self, op: Op, ins: list[str]) -> str:
        p = op.params
        results = ", ".join(self.names[v] for v in op.outs)
        call = f"{self.scope.name_of(p['function'])}({self.scope.arguments(p, ins)})"
        if len(op.outs) == 1 and op.out.ndim == 0:
            call = f"{self._f('np.asarray')}({call})"
        return f"{results} = {call}"


def _address_and_strides(array: Any) -> tuple[int, tuple[int, ...]]:
    return int(array.__array_interface__["data"][0]), array.strides


# Single numbers


def scalar_literal(x: Any, op: Op) -> str:
    """The text of a literal operand, in the type in which the op computes."""
    is_float = FLOAT in (op.out.dtype, *(v.dtype for v in op.operands))
    return literal(float(x) if is_float else x)


def scalar_expression(op: Op, operands: list[str], function: Callable[[str], str]) -> str:
    """The Python expression of a scalar op. `function` returns the local name of a NumPy function."""
    name, dtype = op.name, op.out.dtype
    if name in ARITHMETIC and dtype == FLOAT:
        return ARITHMETIC[name].format(*operands, divide=function("np.divide") if name == "divide" else "")
    if name in COMPARISONS:
        return f" {COMPARISONS[name]} ".join(operands)
    chosen = [x.dtype for x in op.ins[name == "where" :] if isinstance(x, Value)]
    if name in CHOICES and all(d == dtype for d in chosen):
        return CHOICES[name].format(*operands)
    inner = operands[0] if name == "cast" else f"{function(f'np.{name}')}({', '.join(operands)})"
    return f"{'float' if dtype == FLOAT else 'bool'}({inner})"
