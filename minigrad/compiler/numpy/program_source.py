"""The NumPy back end: a program as straight-line Python source that writes into planned memory.

The source is a module with one function, `bind`. It takes the user's arrays (and Generators) that the step reads and
writes, allocates memory, and returns the step, a function of the arguments only. It needs nothing but NumPy to run;
print it, save it, change it:

    namespace = {}
    exec(step.source, namespace)
    run = namespace["bind"](**arrays)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, cached_property
from textwrap import fill
from typing import Any

from minigrad.compiler.ir.checks import barrier, may_raise
from minigrad.compiler.ir.program import VIEWS, Buffer, Op, Program, Value
from minigrad.compiler.ir.pysyntax import HEAD, identifier, imports, inside, literal, named, slices, title_of
from minigrad.compiler.numpy.buffer_reuse import SMALLEST, ReusedBuffer
from minigrad.compiler.numpy.op_calls import Calls, Scope, scalar_expression, scalar_literal
from minigrad.compiler.numpy.plan import ALIGNMENT, Plan, is_scalar_op, unshaped
from minigrad.compiler.refusal import CheckFailed
from minigrad.util.bytecode import code_of
from minigrad.util.text import text_of_bytes

SILENT = frozenset({"np.asarray", "np.empty", "np.float32", "np.float64"})
SILENT |= {"np.maximum.reduce", "np.minimum.reduce", "np.logical_and.reduce"}  # of checks
SILENT |= {"np.uint8", "np.uint16", "np.uint32", "np.uint64"}
MANY_NAMES = 1000  # CPython passes names to an inner function in a time that grows with the square of their number


def first_guarded(program: Program) -> int:
    """The first op that may raise, or draws random numbers before an op that may fail; -1 if there is none."""
    last = barrier(program)
    guarded = (k for k, op in enumerate(program.ops) if may_raise(op) or (op.name == "random" and k < last))
    return next(guarded, -1)


def used_buffers(program: Program, plan: Plan) -> list[Buffer]:
    """The buffers, other than arguments, that the program reads or writes."""
    read = {op.params["buffer"] for op in program.ops if op.name == "input"}
    used = read | (program.stores.keys() - plan.moved.keys())
    return [b for b in program.buffers if b.kind != "argument" and b in used]


def buffers_under(plan: Plan, v: Value) -> list[Buffer]:
    """The buffers whose memory a value may share: as a view, or as the result of a call, which may be a view."""
    roots, seen = [plan.root[v]], set[Value]()
    for root in roots:  # more are appended
        if root.op.name == "call" and root not in seen:
            roots += [plan.root[x] for x in root.op.operands]
        seen.add(root)
    return list(dict.fromkeys(root.op.params["buffer"] for root in roots if root.op.name == "input"))


@cache
def _text_of(kind: type) -> str:
    """The source of a class, without annotations."""
    return inspect.getsource(kind).replace(": Any", "").replace(" -> Any", "")


class ProgramSource:
    """The source of a program, and what it is bound to."""

    def __init__(self, program: Program, title: str = "A compiled step.") -> None:
        self.program, self.plan, self.title = program, Plan(program), title
        self.scope = scope = Scope()
        self._f = scope.function
        self.buffers = {b: scope.fresh(identifier(b.name)) for b in used_buffers(program, self.plan)}
        self.rngs = [scope.fresh(f"rng{k}") for k in range(len(program.generators))]
        arguments = [b for b in program.buffers if b.kind == "argument"]
        self.arguments = {b: scope.fresh(identifier(b.name)) for b in arguments}
        self.names = scope.names = named(program, scope.taken)
        for op in program.ops:
            if op.name == "input":
                buffer = op.params["buffer"]
                self.names[op.out] = self.buffers.get(buffer) or self.arguments[buffer]
        self.joined: dict[Value, str] = {}
        self.numbers: dict[Value, str] = {}  # values that have a Python number
        self.read_as_numbers = {x for op in program.ops if is_scalar_op(op) for x in op.operands}
        self.single = 0  # lines of text that read or compute such
        self.reuses_buffers = False
        self.filled: list[str] = []  # statements that fill parts of memory once
        self.body: list[str] = []
        self.guarded = range(0)  # lines of the body that may raise, or draw random numbers before one that may
        self.calls = Calls(scope, self.plan, self.rngs)
        self._write()

    # The parts of the module

    @property
    def text(self) -> str:
        """The whole module."""
        parameters = ", ".join([*self.buffers.values(), *self.rngs, *self.scope.constants])
        own = [f"    {name} = {function}" for name, function in self.scope.functions.items()]
        prepared = [f"    {name} = {text}" for name, text in self.scope.prepared.items()]
        prepared += [f"    {line}" for line in self.filled]
        inner = [self._signature(), *(f"        {line}" for line in self._guarded_body())]
        bind = [f"def bind({parameters}):", '    """The step, for these arrays."""', *own]
        blocks = f"    # {self.memory()}, {text_of_bytes(self.plan.unplanned)} if every value had its own"
        return "\n".join([self._head(), *bind, blocks, *prepared, "", *inner, "", "    return step", ""])

    def _signature(self) -> str:
        """The step's first op. Its parameters are the arguments; a long program has the other names as defaults."""
        parameters = [self.arguments[b] for b in sorted(self.arguments, key=lambda b: b.place or 0)]
        if len(self.scope.prepared) > MANY_NAMES:
            around = [*self.buffers.values(), *self.rngs, *self.scope.constants]
            parameters += [f"{name}={name}" for name in [*around, *self.scope.functions, *self.scope.prepared]]
        text = f"    def step({', '.join(parameters)}):"
        return text if len(self.scope.prepared) <= MANY_NAMES else fill(text, 118, subsequent_indent=" " * 8)

    def _head(self) -> str:
        roots = {f.split(".")[0] for f in self.scope.functions.values()} - {"np"}
        roots |= {"sys"} if self.reuses_buffers else set()
        head = HEAD.format(title=title_of(self.title), imports=imports(roots), alignment=ALIGNMENT)
        classes = [ReusedBuffer] * self.reuses_buffers + [CheckFailed] * self.calls.can_fail
        return head + "".join(f"\n{_text_of(kind)}\n" for kind in classes)

    @cached_property
    def is_silent(self) -> bool:
        """Whether no function that the step calls gives floating-point warnings."""
        return set(self.scope.functions.values()) <= SILENT and not any(map(callable, self.scope.constants.values()))

    def bound(self) -> dict[str, Any]:
        """The arguments of bind."""
        arrays = {name: buffer.array for buffer, name in self.buffers.items()}
        return {**arrays, **dict(zip(self.rngs, self.program.generators, strict=True)), **self.scope.constants}

    def compiled(self, filename: str = "<compiled step>") -> Callable[..., Any]:
        """The step."""
        scope: dict[str, Any] = {}
        exec(code_of(self.text, filename), scope)
        scope["CheckFailed"] = CheckFailed  # the source has a class of its own, to run without minigrad
        return scope["bind"](**self.bound())

    # Writing

    def _guarded_body(self) -> list[str]:
        """The body. If a function of others raises, or a check fails, the generators get their state back."""
        if not self.guarded:
            return self.body
        before, after = self.body[: self.guarded.start], self.body[self.guarded.stop :]
        inside = [f"    {line}" for line in self.body[self.guarded.start : self.guarded.stop]]
        saved = [f"{rng}_state = {rng}.bit_generator.state" for rng in self.rngs]
        restored = [f"    {rng}.bit_generator.state = {rng}_state" for rng in self.rngs]
        raised = "    raise CheckFailed(str(error)) from error"
        return [*before, *saved, "try:", *inside, "except Exception as error:", *restored, raised, *after]

    def _write(self) -> None:
        for k, block in enumerate(self.plan.blocks):
            self.scope.prepared[f"block{k}"] = f"memory({block.nbytes})"
        guarded = first_guarded(self.program)
        for k, op in enumerate(self.program.ops):
            if k == guarded:
                self.guarded = range(len(self.body), len(self.body))
            self._write_op(op)
            if k == self.plan.barrier and guarded >= 0:
                self.guarded = range(self.guarded.start, len(self.body))
        first = {v: k for k, v in reversed(list(enumerate(self.program.outputs)))}
        returned = [self._returned(k, v, first[v] == k) for k, v in enumerate(self.program.outputs)]
        self._write_stores()  # buffers change after the returned values were copied
        self.body.append(f"return [{', '.join(returned)}]")

    def _returned(self, number: int, v: Value, is_first: bool) -> str:
        if self.plan.kind[v] == "fresh" and is_first:
            return self.names[v]
        name = self.scope.fresh(f"{self.names[v]}_copy")
        copy = "[()]" if number in self.program.scalars and not v.shape else ".copy()"
        self.body.append(f"{name} = {self.names[v]}{copy}")
        return name

    def _write_op(self, op: Op) -> None:
        if op.name == "check":
            self._append(self._computed(op)[0], op.note)
            return
        for v in op.outs:
            self._prepare(op, v)
        name = self.names[op.outs[0]]
        if op.name in VIEWS:
            if not self.plan.is_static(op.out):
                self.body.append(f"{name} = {self._view(op)}")
        elif is_scalar_op(op):
            self._write_number(op)
        elif op.name not in ("full", "input"):
            for v in op.outs:
                if self.plan.kind[v] == "fresh" and v.nbytes >= SMALLEST:
                    self.body.append(f"{self.names[v]} = {self._reused_buffer(v)}()")
                elif self.plan.kind[v] == "fresh":
                    self.body.append(f"{self.names[v]} = {self._f('np.empty')}({v.shape}, {self.scope.dtype(v.dtype)})")
            for k, text in enumerate(self._computed(op)):
                self._append(text, op.note if k == 0 else "")

    def _append(self, text: str, note: str) -> None:
        comment = "  # " + note.replace("\n", " ") if note else ""
        self.body.append((text + comment)[: max(150, len(text))])

    def _write_number(self, op: Op) -> None:
        v, name, note = op.out, self.names[op.out], op.note
        self.single += 1
        text = scalar_expression(op, [self._number(x, op) for x in op.ins], self.scope.function)
        if self.plan.kind[v] == "number":
            self.numbers[v] = name
            self._append(f"{name} = {text}", note)
            return
        if v in self.read_as_numbers:
            self.numbers[v] = self.scope.fresh(f"{name}_number")
            self._append(f"{self.numbers[v]} = {text}", note)
            text, note = self.numbers[v], ""
            self.single += 1
        made = f"{name} = {self._f('np.asarray')}({text})" if self.plan.kind[v] == "fresh" else f"{name}[()] = {text}"
        self._append(made, note)

    def _number(self, x: Any, op: Op) -> str:
        """An operand of a scalar op, read from its array when it is first needed."""
        if not isinstance(x, Value) or x.op.name == "full":
            return scalar_literal(x.op.params["value"] if isinstance(x, Value) else x, op)
        if x not in self.numbers:
            self.numbers[x] = self.scope.fresh(f"{self.names[x]}_number")
            self.body.append(f"{self.numbers[x]} = {self.names[x]}.item()")
            self.single += 1
        return self.numbers[x]

    def _reused_buffer(self, v: Value) -> str:
        """The name of the ReusedBuffer of a large result."""
        name = self.scope.fresh(f"{self.names[v]}_memory")
        self.scope.prepared[name] = f"ReusedBuffer({v.shape}, {str(v.dtype)!r})"
        self.reuses_buffers = True
        return name

    def _prepare(self, op: Op, v: Value) -> None:
        """Let bind define the name of a value that is in the same memory in each call."""
        if not self.plan.is_static(v) or op.name == "input":
            return
        if op.name in VIEWS:
            text = self._view(op)
        elif op.name == "full":
            text = f"np.full({v.shape}, {literal(op.params['value'])}, {str(v.dtype)!r})"
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
        if text != self.names[v]:
            self.scope.prepared[self.names[v]] = text

    def _joined(self, out: Value) -> str:
        """The memory of a concatenation, an argument of bind: arrays that outlive the step may lie in it."""
        if out not in self.joined:
            self.joined[out] = self.scope.fresh("joined")
            self.scope.constants[self.joined[out]] = self.plan.arrays[out]
            for start, end, value in self.plan.filled.get(out, ()):
                self.filled.append(f"{self.joined[out]}[{start}:{end}] = {literal(value)}")
        return self.joined[out]

    def _view(self, op: Op) -> str:
        x = self.names[op.operands[0]]
        if op.name == "reshape":
            return f"{x}.reshape({inside(op.params['shape'])})"
        if op.name == "transpose":
            axes = op.params["axes"]
            return f"{x}.T" if axes == tuple(range(len(axes)))[::-1] else f"{x}.transpose({inside(axes)})"
        return f"{x}[{slices(op.params['bounds'], op.operands[0].shape)}]"

    def _computed(self, op: Op) -> list[str]:
        return self.calls.texts(op)  # kernels/numba_backend.py overrides it for kernels

    def _write_stores(self) -> None:
        """Stores that are not computed in place. A value that another store overwrites is copied first."""
        copied = self.plan.copied
        targets = {b for b, _ in copied}
        texts = {}
        for buffer, v in copied:
            changing = [source for source in buffers_under(self.plan, v) if source in targets]
            if changing:
                name = self.scope.fresh(f"old_{self.names[v]}")
                others = ", ".join(source.name for source in changing if source is not buffer)
                note = f"  # {others} is about to change" if others else ""
                self.body.append(f"{name} = {self.names[v]}.copy(){note}")
                texts[v] = name
        for buffer, v in copied:
            target = self.arguments[buffer] if buffer.kind == "argument" else self.buffers[buffer]
            if unshaped(v).op.name == "full":
                self.body.append(f"{target}.fill({literal(unshaped(v).op.params['value'])})  # {buffer.name}")
                continue
            self.body.append(f"{self._f('np.copyto')}({target}, {texts.get(v, self.names[v])})  # {buffer.name}")

    def memory(self) -> str:
        """The memory of the program, in words."""
        return f"{text_of_bytes(self.plan.nbytes)} in {len(self.plan.blocks)} blocks"
