"""The numba back end: the NumPy program with kernels instead of elementwise ops and reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.compiler.ir.checks import by_kernels
from minigrad.compiler.ir.kernel import EXPENSIVE, Kernel
from minigrad.compiler.ir.program import Op, Program, Value, without_dead_code
from minigrad.compiler.ir.typing import make
from minigrad.compiler.kernels import files as kernel_files
from minigrad.compiler.kernels import winograd
from minigrad.compiler.kernels.fusion import Fusion
from minigrad.compiler.kernels.kernel_source import KernelSource
from minigrad.compiler.kernels.legalize import legalized
from minigrad.compiler.kernels.threads import Chunked, cores
from minigrad.compiler.numpy.plan import is_scalar_op, unshaped
from minigrad.compiler.numpy.program_source import ProgramSource
from minigrad.compiler.refusal import CheckFailed
from minigrad.util.bytecode import code_of

MANY, MANY_EXPENSIVE = 1_000_000, 250_000  # elements from which on threads pay off; see threads.py
SHORT = 20_000  # elements, which take about 10 µs


class NumbaSource(ProgramSource):
    """The source of a program whose loops numba compiles. Matrix products and other ops are NumPy calls."""

    def __init__(self, program: Program, title: str = "A compiled step.") -> None:
        self.kernels: dict[str, tuple[KernelSource, list[Any]]] = {}  # name -> source, (shape, dtype) of arguments
        self.by_text: dict[Any, str] = {}
        self.transforms: set[Any] = set()  # dtypes for which `winograd` is used
        super().__init__(with_kernels(by_kernels(legalized(program))), title)

    @property
    def text(self) -> str:
        """The whole module."""
        if not self.kernels:
            return super().text
        functions = sorted({f for source, _ in self.kernels.values() for f in source.functions})
        imports = ["from numba import njit"]
        imports += [f"from minigrad.compiler.kernels.vecmath import {', '.join(['NoAlias', *functions])}"]
        is_chunked = any(source.is_chunked for source, _ in self.kernels.values())
        imports += ["from minigrad.compiler.kernels.threads import Chunked"] * is_chunked
        kernels = [_function(name, source) for name, (source, _) in self.kernels.items()]
        head, bind = super().text.split("\ndef bind(", 1)
        head = head.replace("import numpy as np\n", "import numpy as np\n" + "\n".join(imports) + "\n", 1)
        return "\n".join([head, "f32, f64 = np.float32, np.float64", "\n", *(f"{k}\n" for k in kernels)]) + (
            f"\ndef bind({bind}"
        )

    def kernel_arguments(self) -> list[tuple[Any, ...]]:
        """The arguments of `kernel_files.load` for each kernel, and for those of convolutions."""
        kernels = [
            (k.text(), sorted(k.functions), arrays + k.scratch(), k.is_chunked, is_short(k.kernel))
            for k, arrays in self.kernels.values()
        ]
        return kernels + [arguments for dtype in self.transforms for arguments in winograd.kernels(dtype)]

    def compiled(self, filename: str = "<compiled step>") -> Callable[..., Any]:
        """The step, with kernels from their files."""
        loaded = [kernel_files.load(*arguments) for arguments in self.kernel_arguments()]
        scope: dict[str, Any] = dict(zip(self.kernels, loaded, strict=False))
        for name, (source, _) in self.kernels.items():
            if source.is_chunked:
                scope[name] = Chunked(scope[name], **source.plan())
        exec(code_of(super().text, filename), scope)
        scope["CheckFailed"] = CheckFailed
        return scope["bind"](**self.bound())

    def _computed(self, op: Op) -> list[str]:
        if op.name == "kernel":
            return [self._kernel(op)]
        if op.name == "convolution":
            function, settings, (x, y) = op.params["function"], dict(op.params["settings"]), op.operands
            if winograd.suits(function, x, y, op.out, settings):
                self.transforms.add(op.out.dtype)
                return [self.calls.convolution(op, winograd.faster(function))]
        return super()._computed(op)

    def _kernel(self, op: Op) -> str:
        kernel: Kernel = op.params["kernel"]
        inner = dict(zip(kernel.ins, op.operands, strict=True))
        outer = dict(zip(kernel.outs, op.outs, strict=True))
        operands = {(self._address(inner[x]), kernel.shape(x)): x for x in kernel.ins}
        places = {v: (self._address(outer[v]), kernel.shape(v)) for v in kernel.outs}
        shared = {v: operands[place] for v, place in places.items() if place in operands and place[0] is not None}
        source = KernelSource(kernel, shared, is_chunked=is_worth_threads(kernel))
        passed = [(v, inner[v]) for v in kernel.ins] + [(v, outer[v]) for v in kernel.outs if v not in shared]
        arrays = [(source.shape(v), v.dtype) for v, _ in passed]
        plan = repr(source.is_chunked and source.plan())
        key = (source.text(), kernel_files.signature(arrays), plan, is_short(kernel))
        if key not in self.by_text:
            self.by_text[key] = self.scope.fresh("kernel")
            self.kernels[self.by_text[key]] = source, arrays
        return f"{self.by_text[key]}({', '.join(self._reshaped(v, source.shape(k)) for k, v in passed)})"

    def _address(self, v: Value) -> int | None:
        """The address of a value, if it is the same in each call."""
        array = self.plan.arrays.get(v)
        return None if array is None or not array.size else int(array.__array_interface__["data"][0])

    def _reshaped(self, v: Value, shape: tuple[int, ...]) -> str:
        """An argument in the shape that the kernel takes. If its memory never changes, bind makes the view."""
        name = self.names[v]
        if v.shape == shape:
            return self._in_order(v)
        if not self.plan.is_static(v):
            return f"{self._in_order(v)}.reshape({', '.join(map(str, shape))})"
        view = f"{name}.reshape({', '.join(map(str, shape))})"
        key = (v, shape)
        if key not in self.by_text:
            self.by_text[key] = self.scope.fresh(f"{name}_flat")
            self.scope.prepared[self.by_text[key]] = view
        return self.by_text[key]

    def _in_order(self, v: Value) -> str:
        """An argument in C order, as kernels require. The result of a NumPy function may have another order."""
        root = self.plan.root[v].op
        unknown = root.name == "call" or (root.name == "input" and root.params["buffer"] in self.program.stores)
        if not unknown or self.plan.is_static(v):
            return self.names[v]
        return f"{self._f('np.ascontiguousarray')}({self.names[v]})"


def is_worth_threads(kernel: Kernel) -> bool:
    """Whether a kernel is large enough to be split into parallel chunks, one for each core."""
    expensive = any(op.name in EXPENSIVE for op in kernel.ops)
    enough = math.prod(kernel.sizes) >= (MANY_EXPENSIVE if expensive else MANY)
    return enough and cores() > 1 and kernel.sizes[0] >= 2 * cores()


def is_short(kernel: Kernel) -> bool:
    """Whether a kernel processes few elements."""
    return math.prod(kernel.sizes) < SHORT


def _function(name: str, source: KernelSource) -> str:
    text = f"@njit({kernel_files.options(is_short(source.kernel))})\n{source.text(name)}"
    if source.is_chunked:
        plan = ", ".join(f"{key}={value!r}" for key, value in source.plan().items())
        text += f"\n\n{name} = Chunked({name}, {plan})\n"
    return text


# The program with kernels


def with_kernels(program: Program) -> Program:
    """The program with kernels instead of elementwise ops and reductions."""
    fusion = Fusion(program)
    results = set(program.results())
    read_outside = set(results)
    for group in fusion.groups:
        read_outside |= {x for x in fusion.read_by(group) if fusion.home.get(x) is not group}
    renamed: dict[Value, Value] = {}
    copies: dict[Value, Op] = {}
    ops: list[Op] = []
    others: set[Op] = set()  # that are in no kernel
    for group in fusion.groups:
        own = fusion.ops_of(group) if group.is_kernel else group.own
        if not group.is_kernel or all(op.name == "full" or is_scalar_op(op) for op in own):
            for op in own:
                if op not in others:
                    others.add(op)
                    ops.append(op.on(renamed.get(x, x) if isinstance(x, Value) else x for x in op.ins))
                    renamed.update(zip(op.outs, ops[-1].outs, strict=True))
            continue
        kernel, views = kernel_of(own, [op.out for op in group.own if op.out in read_outside], results)
        for v in kernel.ins:
            x = renamed.get(v, v)
            if not in_order(x) and x not in copies:
                copies[x] = make("copy", x)
                ops.append(copies[x])
        ops.append(kernel_op(kernel, renamed, copies))
        for v, source in views.items():
            ops.append(make("reshape", renamed[source], shape=v.shape))
            renamed[v] = ops[-1].out
    return without_dead_code(program.replaced(lambda v: renamed.get(v, v), ops))


def kernel_of(ops: list[Op], values: list[Value], results: set[Value]) -> tuple[Kernel, dict[Value, Value]]:
    """A kernel that computes some values, and those of them that are reshapes of another by axes of size 1.

    A result of the program is computed in its own shape, so that it can be computed in its buffer.
    """
    inner = {op.out for op in ops}
    alike: dict[Value, list[Value]] = {}
    for v in values:
        real = v
        while real.op.name == "reshape" and real.op.operands[0] in inner:
            real = real.op.operands[0]
        alike.setdefault(real, []).append(v)
    outs = {v: min(group, key=lambda v: v not in results) for group in alike.values() for v in group}
    return Kernel(ops, dict.fromkeys(outs.values())), {v: out for v, out in outs.items() if out is not v}


def in_order(v: Value) -> bool:
    """Whether a value is in C order, as kernels require."""
    op = v.op
    if op.name == "input":
        array = op.params["buffer"].array
        return array is None or bool(array.flags.carray)
    if op.name == "reshape":
        return in_order(op.operands[0])
    if op.name == "transpose":
        (x,), axes = op.operands, op.params["axes"]
        order = [k for k in axes if x.shape[k] != 1]
        return order == sorted(order) and in_order(x)
    if op.name == "slice":
        (x,) = op.operands
        cut = [k for k, b in enumerate(op.params["bounds"]) if b != (0, x.shape[k], 1)]
        return (
            in_order(x)
            and all(op.params["bounds"][k][2] == 1 for k in cut)
            and all(n == 1 for n in v.shape[: max(cut, default=0)])
        )
    return True


def kernel_op(kernel: Kernel, renamed: dict[Value, Value], copies: dict[Value, Op]) -> Op:
    """The op that runs a kernel. Large arrays that it keeps between its loop nests are outputs as well."""
    outs = {kernel.real(v) for v in kernel.outs}
    saved = [op.out for op in kernel.ops if op.out in kernel.schedule.arrays and op.out not in outs]
    kernel.outs += [v for v in saved if len(kernel.axes(v)) == len(kernel.sizes) > 0]
    kernel.reads = KernelSource(kernel).storage.reads
    ins = [renamed.get(v, v) for v in kernel.ins]
    ins = [unshaped(copies[x].out if x in copies else x) for x in ins]  # a kernel takes them in shapes of its own
    notes = list(dict.fromkeys(inner.note for inner in kernel.ops if inner.note))
    note = ", ".join(notes if len(notes) <= 4 else [*notes[:2], "...", notes[-1]])
    op = Op("kernel", ins, {"kernel": kernel}, [(v.shape, v.dtype) for v in kernel.outs], note)
    for old, new in zip(kernel.outs, op.outs, strict=True):
        new.name, new.label = old.name, old.label
        renamed[old] = new
    return op
