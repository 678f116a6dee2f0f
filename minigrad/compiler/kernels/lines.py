"""A program with kernels in place of the lines that run together."""

from __future__ import annotations

from minigrad.compiler.ir.kernel import Kernel
from minigrad.compiler.ir.program import Line, Program, Value, without_dead_code
from minigrad.compiler.ir.typing import make
from minigrad.compiler.kernels.fusion import Fusion
from minigrad.compiler.kernels.loops import KernelSource
from minigrad.compiler.numpy.scalars import is_of_numbers


def grouped(program: Program) -> Program:
    """The program with kernels in place of elementwise lines and reductions."""
    fusion = Fusion(program)
    results = set(program.results())
    read_outside = set(results)
    for group in fusion.groups:
        read_outside |= {x for x in fusion.read_by(group) if fusion.home.get(x) is not group}
    renamed: dict[Value, Value] = {}
    copies: dict[Value, Line] = {}
    lines = []
    alone: set[Line] = set()
    for group in fusion.groups:
        if group.is_kernel and all(line.op == "full" or is_of_numbers(line) for line in fusion.lines_of(group)):
            lines += [_renamed(line, renamed) for line in fusion.lines_of(group) if line not in alone]
            alone.update(fusion.lines_of(group))
        elif group.is_kernel:
            wanted = [line.out for line in group.own if line.out in read_outside]
            kernel, views = kernel_of(fusion.lines_of(group), wanted, results)
            for v in kernel.ins:
                x = renamed.get(v, v)
                if not in_order(x) and x not in copies:
                    copies[x] = make("copy", x)
                    lines.append(copies[x])
            lines.append(kernel_line(kernel, renamed, copies))
            for v, source in views.items():
                lines.append(make("reshape", renamed[source], shape=v.shape))
                renamed[v] = lines[-1].out
        else:
            lines.append(_renamed(group.own[0], renamed))
    return without_dead_code(program.replaced(lambda v: renamed.get(v, v), lines))


def kernel_of(lines: list[Line], wanted: list[Value], results: set[Value]) -> tuple[Kernel, dict[Value, Value]]:
    """A kernel that makes the values wanted, and which of those are views of another: they differ by axes of size 1.

    What is stored or returned is made in its own shape, so that it can be computed where it belongs.
    """
    inner = {line.out for line in lines}
    alike: dict[Value, list[Value]] = {}
    for v in wanted:
        real = v
        while real.line.op == "reshape" and real.line.operands[0] in inner:
            real = real.line.operands[0]
        alike.setdefault(real, []).append(v)
    outs = {v: min(same, key=lambda v: v not in results) for same in alike.values() for v in same}
    return Kernel(lines, dict.fromkeys(outs.values())), {v: made for v, made in outs.items() if made is not v}


def in_order(v: Value) -> bool:
    """Whether a value lies in C order, as kernels want it."""
    line = v.line
    if line.op == "input":
        array = line.params["buffer"].array
        return array is None or bool(array.flags.carray)
    if line.op == "reshape":
        return in_order(line.operands[0])
    if line.op == "transpose":
        (x,), axes = line.operands, line.params["axes"]
        wide = [k for k in axes if x.shape[k] != 1]
        return wide == sorted(wide) and in_order(x)
    if line.op == "slice":
        (x,) = line.operands
        cut = [k for k, b in enumerate(line.params["bounds"]) if b != (0, x.shape[k], 1)]
        return (
            in_order(x)
            and all(line.params["bounds"][k][2] == 1 for k in cut)
            and all(n == 1 for n in v.shape[: max(cut, default=0)])
        )
    return True


def kernel_line(kernel: Kernel, renamed: dict[Value, Value], copies: dict[Value, Line]) -> Line:
    """The line that runs a kernel. Large arrays that it keeps between its walks are outputs as well."""
    made = {kernel.real(v) for v in kernel.outs}
    kept = [v for v in kernel.schedule.arrays if v not in made and len(kernel.axes(v)) == len(kernel.sizes)]
    kernel.outs += [v for v in kept if kernel.axes(v)]
    kernel.reads = KernelSource(kernel).reads
    ins = [renamed.get(v, v) for v in kernel.ins]
    ins = [unshaped(copies[x].out if x in copies else x) for x in ins]
    notes = list(dict.fromkeys(inner.note for inner in kernel.lines if inner.note))
    note = ", ".join(notes if len(notes) <= 4 else [*notes[:2], "...", notes[-1]])
    line = Line("kernel", ins, {"kernel": kernel}, [(v.shape, v.dtype) for v in kernel.outs], note)
    for old, new in zip(kernel.outs, line.outs, strict=True):
        new.name, new.label = old.name, old.label
        renamed[old] = new
    return line


def unshaped(x: Value) -> Value:
    """What a value is a reshape of: a kernel takes its arguments in a shape of its own."""
    while x.line.op == "reshape":
        x = x.line.operands[0]
    return x


def _renamed(line: Line, renamed: dict[Value, Value]) -> Line:
    if not any(x in renamed for x in line.operands):
        return line
    ins = [renamed.get(x, x) if isinstance(x, Value) else x for x in line.ins]
    made = Line(line.op, ins, line.params, [(v.shape, v.dtype) for v in line.outs], line.note)
    for old, new in zip(line.outs, made.outs, strict=True):
        new.name, new.label = old.name, old.label
        renamed[old] = new
    return made
