"""A program with kernels instead of the ops that run together."""

from __future__ import annotations

from minigrad.compiler.ir.kernel import Kernel
from minigrad.compiler.ir.program import Op, Program, Value, without_dead_code
from minigrad.compiler.ir.typing import make
from minigrad.compiler.kernels.fusion import Fusion
from minigrad.compiler.kernels.kernel_source import KernelSource
from minigrad.compiler.kernels.legalize import with_operands
from minigrad.compiler.numpy.plan import is_scalar_op, unshaped


def with_kernels(program: Program) -> Program:
    """The program with kernels instead of elementwise ops and reductions."""
    fusion = Fusion(program)
    results = set(program.results())
    read_outside = set(results)
    for group in fusion.groups:
        read_outside |= {x for x in fusion.read_by(group) if fusion.home.get(x) is not group}
    renamed: dict[Value, Value] = {}
    copies: dict[Value, Op] = {}
    ops = []
    scalar_ops: set[Op] = set()
    for group in fusion.groups:
        if group.is_kernel and all(op.name == "full" or is_scalar_op(op) for op in fusion.ops_of(group)):
            ops += [with_operands(op, renamed) for op in fusion.ops_of(group) if op not in scalar_ops]
            scalar_ops.update(fusion.ops_of(group))
        elif group.is_kernel:
            outs = [op.out for op in group.own if op.out in read_outside]
            kernel, views = kernel_of(fusion.ops_of(group), outs, results)
            for v in kernel.ins:
                x = renamed.get(v, v)
                if not in_order(x) and x not in copies:
                    copies[x] = make("copy", x)
                    ops.append(copies[x])
            ops.append(kernel_op(kernel, renamed, copies))
            for v, source in views.items():
                ops.append(make("reshape", renamed[source], shape=v.shape))
                renamed[v] = ops[-1].out
        else:
            ops.append(with_operands(group.own[0], renamed))
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
