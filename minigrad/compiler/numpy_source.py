"""The NumPy back end: a program as straight-line Python source that writes into planned memory.

The source is a module with one function, `bind`. It takes the arrays of the user that the step reads and writes (and
Generators), sets the memory up, and returns the step, a function of the arguments alone. Nothing but NumPy is needed to
run it; print it, save it, change it:

    namespace = {}
    exec(step.source, namespace)
    run = namespace["bind"](**arrays)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cached_property
from textwrap import fill
from typing import Any

import numpy as np

from minigrad.compiler.names import identifier, named, unique
from minigrad.compiler.plan import ALIGNMENT, Plan, unshaped
from minigrad.compiler.program import REDUCTIONS, UFUNCS, VIEWS, Buffer, Line, Place, Program, Value
from minigrad.compiler.recycling import FROM, Recycled
from minigrad.compiler.single_numbers import expression, is_of_numbers, number_text
from minigrad.compiler.texts import HEAD, imports, index_text, inside, literal, slices, title_of, tuple_text
from minigrad.ops.special import erf_values
from minigrad.units import text_of_bytes

SILENT = frozenset({"np.dot", "np.empty", "np.float32", "np.float64"})
OWN = ("where", "concatenate", "copyto", "empty", "asarray")
RESERVED = ("np", "sys", "memory", "array", "Recycled", "bind", "step", *OWN)
MANY_NAMES = 1000  # CPython hands names to an inner function in a time that grows with the square of their number


def used_buffers(program: Program, plan: Plan) -> list[Buffer]:
    """The buffers, other than arguments, that the program reads or writes."""
    read = {line.params["buffer"] for line in program.lines if line.op == "input"}
    used = read | (program.stores.keys() - plan.moved.keys())
    return [b for b in program.buffers if b.kind != "argument" and b in used]


class Source:
    """The source of a program, and what it is bound to."""

    def __init__(self, program: Program, title: str = "A compiled step.", recycle: bool = True) -> None:
        self.program, self.plan, self.title = program, Plan(program, recycle), title
        self.functions: dict[str, str] = {}  # local names of NumPy's functions
        self.constants: dict[str, Any] = {}  # what has no short text
        self.taken: dict[str, Any] = dict.fromkeys((*RESERVED, *UFUNCS), 0)
        self.buffers = {b: unique(identifier(b.name), self.taken) for b in used_buffers(program, self.plan)}
        self.rngs = [unique(f"rng{k}", self.taken) for k in range(len(program.generators))]
        arguments = [b for b in program.buffers if b.kind == "argument"]
        self.arguments = {b: unique(identifier(b.name), self.taken) for b in arguments}
        self.names = named(program, self.taken)
        for line in program.lines:
            if line.op == "input":
                buffer = line.params["buffer"]
                self.names[line.out] = self.buffers.get(buffer) or self.arguments[buffer]
        self.ones: dict[Any, str] = {}
        self.joined: dict[Value, str] = {}
        self.numbers: dict[Value, str] = {}  # values that are there as Python numbers
        self.single = 0  # lines that read or compute such
        self.recycled = False
        self.prepared: dict[str, str] = {}  # what bind makes once, by name
        self.filled: list[str] = []  # and the parts of it that it fills once
        self.body: list[str] = []
        self.made: set[Value] = set()  # fresh arrays that exist already
        self._write()

    # The parts of the module

    @property
    def text(self) -> str:
        """The whole module."""
        parameters = ", ".join([*self.buffers.values(), *self.rngs, *self.constants])
        own = [f"    {name} = {function}" for name, function in self.functions.items()]
        prepared = [f"    {line}" for line in (*(f"{n} = {text}" for n, text in self.prepared.items()), *self.filled)]
        inner = [self._signature(), *(f"        {line}" for line in self.body)]
        bind = [f"def bind({parameters}):", '    """The step, for these arrays."""', *own]
        blocks = f"    # {self.memory()}, {text_of_bytes(self.plan.unplanned)} if every value had its own"
        return "\n".join([self._head(), *bind, blocks, *prepared, "", *inner, "", "    return step", ""])

    def _signature(self) -> str:
        """The step's first line. Its parameters are the arguments; in a long program the others have their values."""
        parameters = [self.arguments[b] for b in sorted(self.arguments, key=lambda b: b.place or 0)]
        if len(self.prepared) > MANY_NAMES:
            around = (*self.buffers.values(), *self.rngs, *self.constants, *self.functions, *self.prepared)
            parameters += [f"{name}={name}" for name in around]
        text = f"    def step({', '.join(parameters)}):"
        return text if len(self.prepared) <= MANY_NAMES else fill(text, 118, subsequent_indent=" " * 8)

    def _head(self) -> str:
        roots = {f.split(".")[0] for f in self.functions.values()} - {"np"}
        if not self.recycled:
            return HEAD.format(title=title_of(self.title), imports=imports(roots), alignment=ALIGNMENT)
        head = HEAD.format(title=title_of(self.title), imports=imports({"sys", *roots}), alignment=ALIGNMENT)
        return f"{head}\n{inspect.getsource(Recycled).replace(': Any', '').replace(' -> Any', '')}\n"

    @cached_property
    def is_silent(self) -> bool:
        """Whether nothing that the step calls gives floating-point warnings."""
        return set(self.functions.values()) <= SILENT and not any(map(callable, self.constants.values()))

    def bound(self) -> dict[str, Any]:
        """The arguments of bind."""
        arrays = {name: buffer.array for buffer, name in self.buffers.items()}
        return {**arrays, **dict(zip(self.rngs, self.program.generators, strict=True)), **self.constants}

    def compiled(self, filename: str = "<compiled step>") -> Callable[..., Any]:
        """The step."""
        scope: dict[str, Any] = {}
        exec(compile(self.text, filename, "exec"), scope)
        return scope["bind"](**self.bound())  # type: ignore[no-any-return]

    # Writing

    def _write(self) -> None:
        plan = self.plan
        for k, block in enumerate(plan.blocks):
            self.prepared[f"block{k}"] = f"memory({block.nbytes})"
        for line in self.program.lines:
            self._write_line(line)
        first = {v: k for k, v in reversed(list(enumerate(self.program.outputs)))}
        returned = [
            self._returned(v, first[v] == k) for k, v in enumerate(self.program.outputs)
        ]  # before buffers change
        self._write_stores()
        self.body.append(f"return [{', '.join(returned)}]")

    def _returned(self, v: Value, is_first: bool) -> str:
        if self.plan.kind[v] == "fresh" and is_first:
            return self.names[v]
        name = unique(f"{self.names[v]}_copy", self.taken)
        self.body.append(f"{name} = {self.names[v]}.copy()")
        return name

    def _write_line(self, line: Line) -> None:
        for v in line.outs:
            self._prepare(line, v)
        name = self.names[line.outs[0]]
        if line.op in VIEWS:
            if not self.plan.is_static(line.out):
                self.body.append(f"{name} = {self._view(line)}")
        elif is_of_numbers(line):
            self._write_number(line)
        elif line.op not in ("full", "input"):
            for v in line.outs:
                if self.plan.kind[v] == "fresh" and v.nbytes >= FROM:
                    self.body.append(f"{self.names[v]} = {self._recycled(v)}()")
                elif self.plan.kind[v] == "fresh":
                    self.body.append(f"{self.names[v]} = {self._f('np.empty')}({v.shape}, {self._dtype(v.dtype)})")
            for k, text in enumerate(self._computed(line)):
                self._append(text, line.note if k == 0 else "")

    def _append(self, text: str, note: str) -> None:
        words = note.replace("\n", " ")
        comment = f"  # {words}" if words else ""
        self.body.append(f"{text}{comment}" if len(text) + len(comment) < 150 else text + comment[: 150 - len(text)])

    def _write_number(self, line: Line) -> None:
        v, name = line.out, self.names[line.out]
        self.single += 1
        text = expression(line, [self._number(x, line) for x in line.ins], self._f)
        if self.plan.kind[v] == "number":
            self.numbers[v] = name
            self._append(f"{name} = {text}", line.note)
        elif self.plan.kind[v] == "fresh":
            self._append(f"{name} = {self._f('np.asarray')}({text})", line.note)
        else:
            self._append(f"{name}[()] = {text}", line.note)

    def _number(self, x: Any, line: Line) -> str:
        """An operand of a line of single numbers: read from its array when it is first needed."""
        if not isinstance(x, Value) or x.line.op == "full":
            return number_text(x.line.params["value"] if isinstance(x, Value) else x, line)
        if x not in self.numbers:
            self.numbers[x] = unique(f"{self.names[x]}_number", self.taken)
            self.body.append(f"{self.numbers[x]} = {self.names[x]}.item()")
            self.single += 1
        return self.numbers[x]

    def _recycled(self, v: Value) -> str:
        """The name of what hands out memory for a large result."""
        name = unique(f"{self.names[v]}_memory", self.taken)
        self.prepared[name] = f"Recycled({v.shape}, {str(v.dtype)!r})"
        self.recycled = True
        return name

    def _prepare(self, line: Line, v: Value) -> None:
        """The name of a value that lies in the same memory in each call."""
        if not self.plan.is_static(v):
            return
        name = self.names[v]
        if line.op == "input":
            return
        if line.op in VIEWS:
            text = self._view(line)
        elif line.op == "full":
            text = f"np.full({v.shape}, {literal(line.params['value'])}, {str(v.dtype)!r})"
        elif v in self.plan.block:
            text = f"array(block{self.plan.block[v]}, {v.shape}, {str(v.dtype)!r})"
        elif v in self.plan.part:
            out, start, end = self.plan.part[v]
            text = f"{self._joined(out)}[{start}:{end}].reshape({inside(v.shape)})"
        elif self.plan.kind[v] == "joined":
            text = self._joined(v)
        else:
            buffer = self.plan.home[v]
            text = self.buffers[buffer] + ("" if buffer.shape == v.shape else f".reshape({inside(v.shape)})")
        if text != name:
            self.prepared[name] = text

    def _joined(self, out: Value) -> str:
        """The memory of a concatenation is given to bind: arrays that live on may lie in it."""
        if out not in self.joined:
            self.joined[out] = unique("joined", self.taken)
            self.constants[self.joined[out]] = self.plan.arrays[out]
            for start, end, value in self.plan.filled.get(out, ()):
                self.filled.append(f"{self.joined[out]}[{start}:{end}] = {literal(value)}")
        return self.joined[out]

    def _view(self, line: Line) -> str:
        x = self.names[line.operands[0]]
        if line.op == "reshape":
            return f"{x}.reshape({inside(line.params['shape'])})"
        if line.op == "transpose":
            axes = line.params["axes"]
            return f"{x}.T" if axes == tuple(range(len(axes)))[::-1] else f"{x}.transpose({inside(axes)})"
        return f"{x}[{slices(line.params['bounds'], line.operands[0].shape)}]"

    def _computed(self, line: Line) -> list[str]:
        out = self.names[line.outs[0]]
        ins = [self._operand(x) for x in line.ins]
        op = line.op
        if op in UFUNCS:
            return [f"{self._f(f'np.{op}')}({', '.join(ins)}, out={out})"]
        if op in ("cast", "broadcast", "copy"):
            unsafe = ", 'unsafe'" if op == "cast" else ""
            return [f"{self._f('np.copyto')}({out}, {ins[0]}{unsafe})"]
        if op == "erf":
            return [f"{self._f('np.copyto')}({out}, {self._function(erf_values)}({ins[0]}))"]
        if op == "matmul":
            function = "np.dot" if self._is_plain_product(line) else "np.matmul"
            return [f"{self._f(function)}({ins[0]}, {ins[1]}, out={out})"]
        if op == "convolution":
            settings = ", ".join(f"{name}={value!r}" for name, value in line.params["settings"])
            return [f"{self._function(self._convolution(line))}({', '.join(ins)}, {settings}, out={out})"]
        if op in REDUCTIONS:
            return [self._reduction(line, ins[0], out)]
        writer = {"where": self._where, "put": self._put, "gather": self._gather, "scatter": self._scatter}.get(op)
        if writer is not None:
            return writer(line, ins, out)
        if op == "concatenate" and line.out in self.joined:
            rows = self.plan.left.get(line, ())
            return [f"{self._f('np.copyto')}({out}[{start}:{end}], {self.names[x]})" for x, start, end in rows]
        if op == "concatenate":
            return [f"{self._f('np.concatenate')}(({', '.join(ins)},), {line.params['axis']}, {out})"]
        if op == "draw":
            return self._draw(line, out)
        if op == "kernel":
            return [self._kernel(line)]
        return [self._call(line, ins)]

    def _operand(self, x: Any) -> str:
        return self.names[x] if isinstance(x, Value) else literal(x)

    def _reduction(self, line: Line, x: str, out: str) -> str:
        v, axes = line.operands[0], line.params["axes"]
        if line.op == "sum" and v.ndim == 2 and len(axes) == 1 and v.dtype in (np.float32, np.float64):
            shape = (v.shape[0], 1)[::-1] if axes == (0,) else (v.shape[1], 1)
            ones = self.ones.get((shape, v.dtype))
            if ones is None:
                ones = self.ones[shape, v.dtype] = unique("ones", self.taken)
                self.prepared[ones] = f"np.ones({shape}, {str(v.dtype)!r})"
            factors = (ones, x) if axes == (0,) else (x, ones)
            return f"{self._f('np.matmul')}({', '.join(factors)}, out={out})"  # far quicker than np.add.reduce
        function = self._f(f"np.{REDUCTIONS[line.op].__name__}.reduce", f"reduce_{line.op}")
        return f"{function}({x}, {axes[0] if len(axes) == 1 else axes}, None, {out}, True)"

    def _is_plain_product(self, line: Line) -> bool:
        """Whether np.dot can do it, which for small matrices takes half the time of np.matmul."""
        lies = self.plan.arrays.get(line.out)
        alike = all((x.ndim, x.dtype) == (2, line.out.dtype) for x in line.operands) and line.out.dtype.kind == "f"
        return alike and (lies is None or bool(lies.flags.carray))

    def _where(self, line: Line, ins: list[str], out: str) -> list[str]:
        return [f"{self._f('np.copyto')}({out}, {self._f('np.where')}({', '.join(ins)}))"]

    def _put(self, line: Line, ins: list[str], out: str) -> list[str]:
        target = out
        for op, given in line.params["steps"]:
            target += f".{op}({inside(given)})" if op != "slice" else f"[{slices(given, None)}]"
        copyto = self._f("np.copyto")
        first = [] if self._shares(line) else [f"{copyto}({out}, {ins[0]})"]
        return [*first, f"{copyto}({target}, {ins[1]})"]

    def _shares(self, line: Line) -> bool:
        """Whether the value is computed in its first operand's memory."""
        x, out = line.operands[0], line.out
        arrays = self.plan.arrays
        return x in arrays and out in arrays and _data(arrays[x]) == _data(arrays[out])

    def _gather(self, line: Line, ins: list[str], out: str) -> list[str]:
        return [f"{self._f('np.copyto')}({out}, {ins[0]}[{index_text(line.params['index'], ins[1:])}])"]

    def _scatter(self, line: Line, ins: list[str], out: str) -> list[str]:
        first = [] if self._shares(line) else [f"{self._f('np.copyto')}({out}, {ins[0]})"]
        index = index_text(line.params["index"], ins[2:])
        if line.params["how"] == "set":
            return [*first, f"{out}[{index}] = {ins[1]}"]
        return [
            *first,
            f"{self._f('np.add.at', 'add_at')}({out}, ({tuple_text(line.params['index'], ins[2:])},), {ins[1]})",
        ]

    def _draw(self, line: Line, out: str) -> list[str]:
        p = line.params
        call = f"{self.rngs[p['generator']]}.{p['method']}({self._arguments(p, [])})"
        direct = p["method"] in ("random", "standard_normal") and line.out.ndim > 0
        if direct and set(p["kwargs"]) <= {"dtype"} and len(p["args"]) == 1:
            return [f"{call[:-1]}, out={out})"]
        return [f"{self._f('np.copyto')}({out}, {call})"]

    def _call(self, line: Line, ins: list[str]) -> str:
        p = line.params
        made = ", ".join(self.names[v] for v in line.outs)
        call = f"{self._function(p['function'])}({self._arguments(p, ins)})"
        if len(line.outs) == 1 and line.out.ndim == 0:
            call = f"{self._f('np.asarray')}({call})"
        return f"{made} = {call}"

    def _convolution(self, line: Line) -> Callable[..., Any]:
        return line.params["function"]  # type: ignore[no-any-return]

    def _kernel(self, line: Line) -> str:
        raise NotImplementedError  # numba_source.py writes these

    def _arguments(self, params: dict[str, Any], ins: list[str]) -> str:
        named = [f"{k}={self._given(x, ins)}" for k, x in params["kwargs"].items()]
        return ", ".join([*(self._given(x, ins) for x in params["args"]), *named])

    def _given(self, x: Any, ins: list[str]) -> str:
        """An argument of a call."""
        if isinstance(x, Place):
            return ins[x.k]
        if isinstance(x, (tuple, list)):
            inner = ", ".join(self._given(part, ins) for part in x)
            return f"({inner},)" if isinstance(x, tuple) and x else f"[{inner}]" if x else repr(x)
        if isinstance(x, (bool, int, float, complex, type(None), str)):
            return literal(x)
        if isinstance(x, np.dtype):
            return self._dtype(x)
        if isinstance(x, slice):
            return f"slice({self._given(x.start, ins)}, {self._given(x.stop, ins)}, {self._given(x.step, ins)})"
        name = unique("given", self.taken)
        self.constants[name] = x
        return name

    def _function(self, function: Any) -> str:
        """A local name for NumPy's function, however deep it lies."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, np.ufunc):
            return self._f(f"np.{owner.__name__}.{function.__name__}", f"{owner.__name__}_{function.__name__}")
        module = getattr(function, "__module__", "") or ""
        path = f"{module}.{getattr(function, '__qualname__', function.__name__)}"
        if module.startswith("numpy") and "<" not in path:
            return self._f(path.replace("numpy.", "np.", 1), function.__name__)
        name = unique(identifier(getattr(function, "__name__", "function")), self.taken)
        self.constants[name] = function
        return name

    def _f(self, path: str, name: str | None = None) -> str:
        """The local name of a function, which is quicker to find than an attribute."""
        for known, full in self.functions.items():
            if full == path:
                return known
        word = name or path.split(".", 1)[1].replace(".", "_")
        reserved = path == f"np.{word}" and (word in UFUNCS or word in OWN)
        name = word if reserved else unique(word, self.taken)
        self.functions[name] = path
        return name

    def _dtype(self, dtype: Any) -> str:
        return self._f(f"np.{np.dtype(dtype).name}") if np.dtype(dtype).kind != "b" else self._f("np.bool_")

    def _write_stores(self) -> None:
        """Stores that are not computed in place. What another of them overwrites is copied first."""
        copied = self.plan.copied
        targets = {b for b, _ in copied}
        texts = {}
        for buffer, v in copied:
            root = self.plan.root[v]
            source = root.line.params["buffer"] if root.line.op == "input" else None
            if source in targets and source is not buffer:
                name = unique(f"old_{self.names[v]}", self.taken)
                self.body.append(f"{name} = {self.names[v]}.copy()  # {source.name} is about to change")
                texts[v] = name
            elif source is buffer:
                name = unique(f"old_{self.names[v]}", self.taken)
                self.body.append(f"{name} = {self.names[v]}.copy()")
                texts[v] = name
        for buffer, v in copied:
            target = self.arguments[buffer] if buffer.kind == "argument" else self.buffers[buffer]
            if unshaped(v).line.op == "full":
                self.body.append(f"{target}.fill({literal(unshaped(v).line.params['value'])})  # {buffer.name}")
                continue
            self.body.append(f"{self._f('np.copyto')}({target}, {texts.get(v, self.names[v])})  # {buffer.name}")

    def memory(self) -> str:
        """How much memory the program has, in words."""
        return f"{text_of_bytes(self.plan.nbytes)} in {len(self.plan.blocks)} blocks"


def _data(array: Any) -> int:
    return int(array.__array_interface__["data"][0])
