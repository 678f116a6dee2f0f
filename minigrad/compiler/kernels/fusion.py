"""Which ops run together in one kernel.

A cheap elementwise value whose recipe reads at most one stored array of its own size is *inlined*: it is never stored,
and every kernel that uses it computes it again, unless an op outside of kernels needs its memory. The other ops are
taken in order. An op joins one of the kernels that come after all its operands: the kernel of its last operand, else
the first one with the same space, else a new one. In the end a kernel whose results all go to one later kernel is
merged into that one, and a kernel of single numbers only is dissolved: Python computes those in less time than a call
of a kernel takes (numpy/plan.py).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from operator import attrgetter

import numpy as np

from minigrad.compiler.ir.kernel import padded, recipe
from minigrad.compiler.ir.program import REDUCTIONS, Op, Program, Value, origin
from minigrad.compiler.kernels.expressions import can_write

MAX_RECIPE, MAX_SCALAR_RECIPE = 12, 30
MAX_OPS = 120
PLACE = attrgetter("place")
MAX_ARRAYS = 64  # numba compiles a function in a time that grows with the square of the number of its arguments


def is_alias(op: Op) -> bool:
    """Whether a reshape only adds or drops leading axes of size 1."""
    if op.name != "reshape":
        return False
    x, out = op.operands[0], op.out
    ndim = max(x.ndim, out.ndim)
    return padded(x.shape, ndim) == padded(out.shape, ndim)


def space_of(op: Op) -> tuple[int, ...]:
    """The shape over which an op runs."""
    return op.operands[0].shape if op.name in REDUCTIONS else op.out.shape


def fits(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether one of two spaces contains the other."""
    try:
        return np.broadcast_shapes(a, b) in (a, b)
    except ValueError:
        return False


class FusionGroup:
    """The ops of a future kernel, or one op of another kind; `place` is its number among the groups."""

    def __init__(self, op: Op, is_kernel: bool) -> None:
        self.own, self.is_kernel = [op], is_kernel
        self.space = space_of(op) if is_kernel else ()
        self.place = 0
        self.arrays: set[Value] = set()  # arrays that it reads or writes

    def add(self, op: Op) -> None:
        """Add an op to the kernel."""
        self.own.append(op)
        self.space = np.broadcast_shapes(self.space, space_of(op))

    @property
    def has_room(self) -> bool:
        """Whether an op may join."""
        return self.is_kernel and len(self.own) < MAX_OPS and len(self.arrays) < MAX_ARRAYS


class Fusion:
    """The groups of a program, in order."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.number = {op: k for k, op in enumerate(program.ops)}
        self.stored_for_others = self._needed_in_memory()
        self.inlined: set[Value] = set()
        self.groups: list[FusionGroup] = []
        self.home: dict[Value, FusionGroup] = {}
        self.by_space: dict[tuple[int, ...], list[FusionGroup]] = {}  # kernels in order, without some that are full
        for op in program.ops:
            self._place(op)
        self._merge_into_users()
        self._delay_stores()

    def _needed_in_memory(self) -> set[Value]:
        needed = set(self.program.results())
        for op in reversed(self.program.ops):
            if is_alias(op):
                needed.update(x for x in op.operands if op.out in needed)
            elif not can_write(op):
                needed.update(op.operands)
        return needed

    def _place(self, op: Op) -> None:
        if is_alias(op) and self._is_inner(op.operands[0]) and op.out not in self.stored_for_others:
            self.inlined.add(op.out)
            return
        if is_alias(op) and (group := self.home.get(op.operands[0])) is not None and group.is_kernel:
            group.own.append(op)  # the kernel writes it in the shape that ops outside read
            self.home[op.out] = group
            return
        constant = op.name == "full" and op.out in self.stored_for_others
        if constant or is_alias(op) or not can_write(op):
            self._open(op, is_kernel=False)
            return
        if self._is_inlined(op):
            self.inlined.add(op.out)
            return
        group = self._kernel_for(op)
        if group is None:
            last = self._last_home(op)
            place = last.place + 1 if last is not None else 0
            self._open(op, is_kernel=True, place=place if op.out.size == 1 else None)
        else:
            self._join(group, op)

    def _open(self, op: Op, is_kernel: bool, place: int | None = None) -> None:
        """A new group, by default the last. Single numbers come as early as possible, to be merged into users."""
        group = FusionGroup(op, is_kernel)
        group.place = len(self.groups) if place is None else place
        self.groups.insert(group.place, group)
        for later in self.groups[group.place + 1 :]:
            later.place += 1
        for v in op.outs:
            self.home[v] = group
        if is_kernel:
            group.arrays = self._arrays(op, group)
            insort(self.by_space.setdefault(group.space, []), group, key=PLACE)

    def _arrays(self, op: Op, group: FusionGroup) -> set[Value]:
        """The arguments that a group has because of an op, as far as they are known yet."""
        reads = {x for x in self.leaves(op) if self.home[x] is not group}
        return reads | self.stored_for_others.intersection(op.outs)

    def _join(self, group: FusionGroup, op: Op) -> None:
        """Add an op to a kernel, which may change its space."""
        before = group.space
        group.add(op)
        group.arrays |= self._arrays(op, group)
        self.home[op.out] = group
        if group.space != before:
            kernels = self.by_space[before]
            del kernels[bisect_left(kernels, group.place, key=PLACE)]
            insort(self.by_space.setdefault(group.space, []), group, key=PLACE)

    def _is_inner(self, v: Value) -> bool:
        return v in self.inlined or can_write(v.op)

    def _is_inlined(self, op: Op) -> bool:
        v = op.out
        if op.name == "full":
            return v not in self.stored_for_others
        if op.name in REDUCTIONS or v in self.stored_for_others or v.size == 0:
            return False
        limit = MAX_SCALAR_RECIPE if v.size == 1 else MAX_RECIPE
        leaves = recipe(v, lambda x: x not in self.inlined, limit)
        return leaves is not None and sum(x.size == v.size for x in leaves) <= 1

    def leaves(self, op: Op) -> set[Value]:
        """The stored values that an op needs, directly or through inlined values."""
        leaves, pending = set[Value](), list(op.operands)
        while pending:
            x = pending.pop()
            if x in self.inlined:
                pending += x.op.operands
            else:
                leaves.add(x)
        return leaves

    def _last_home(self, op: Op) -> FusionGroup | None:
        """The last of the groups that compute what an op needs."""
        return max((self.home[x] for x in self.leaves(op)), key=PLACE, default=None)

    def _kernel_for(self, op: Op) -> FusionGroup | None:
        last, space = self._last_home(op), space_of(op)
        if last is not None and last.has_room and fits(last.space, space):
            return last
        kernels = self.by_space.get(space, [])
        first = bisect_left(kernels, last.place if last is not None else 0, key=PLACE)
        while first < len(kernels) and not kernels[first].has_room:
            del kernels[first]  # it will never have room again
        return kernels[first] if first < len(kernels) else None

    def ops_of(self, group: FusionGroup) -> list[Op]:
        """The ops of a kernel with the inlined ones that they use, in order."""
        ops, pending = set(group.own), list(group.own)
        while pending:
            for x in pending.pop().operands:
                if x in self.inlined and x.op not in ops:
                    ops.add(x.op)
                    pending.append(x.op)
        return sorted(ops, key=self.number.__getitem__)

    def _merge_into_users(self) -> None:
        """Merge each kernel whose results all go to one later kernel into that one."""
        results = set(self.program.results())
        reads = {group: self.read_by(group) for group in self.groups}
        readers: dict[Value, set[FusionGroup]] = {}
        for group, values in reads.items():
            for x in values:
                readers.setdefault(x, set()).add(group)
        merged: set[FusionGroup] = set()
        for group in reversed(self.groups):
            outs = {v for op in group.own for v in op.outs}
            if not group.is_kernel or outs & results:
                continue
            users = set[FusionGroup]().union(*(readers.get(v, ()) for v in outs)) - {group}
            if len(users) != 1:
                continue
            (user,) = users
            fitting = user.is_kernel and fits(user.space, group.space)
            arrays = (group.arrays | user.arrays) - outs
            if not fitting or len(user.own) + len(group.own) > MAX_OPS or len(arrays) > MAX_ARRAYS:
                continue
            user.arrays = arrays
            user.own = sorted([*group.own, *user.own], key=self.number.__getitem__)
            user.space = np.broadcast_shapes(user.space, group.space)
            for v in outs:
                self.home[v] = user
            for x in reads[group]:
                readers[x].discard(group)
                readers[x].add(user)
            reads[user] |= reads[group]
            merged.add(group)
        self.groups = [group for group in self.groups if group not in merged]

    def _delay_stores(self) -> None:
        """Move kernels that only change the user's arrays to the end, and those that overwrite what others read last.

        Then the old content is read before, and the new one can be computed in its memory.
        """
        read = {x for group in self.groups for x in self.read_by(group) if self.home.get(x) is not group}
        delayed = {group for group in self.groups if group.is_kernel and not any(op.out in read for op in group.own)}
        old = {b: op.out for op in self.program.ops if op.name == "input" for b in [op.params["buffer"]]}
        overwritten = {self.home.get(v): old[b] for b, v in self.program.stores.items() if b in old}
        readers: dict[Value, set[FusionGroup]] = {}
        for group in delayed:
            for x in self.read_by(group):
                readers.setdefault(origin(x), set()).add(group)

        def order(group: FusionGroup) -> int:
            if group not in delayed:
                return 0
            x = overwritten.get(group)
            return 1 + bool(x is not None and readers.get(x, set()) - {group})

        self.groups.sort(key=order)

    def read_by(self, group: FusionGroup) -> set[Value]:
        """The values that a group reads, including its own."""
        if not group.is_kernel:
            return set(group.own[0].operands)
        return {x for op in self.ops_of(group) for x in op.operands}
