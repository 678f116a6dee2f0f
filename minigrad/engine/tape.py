"""The tape and the two walks along it: pull (reverse mode) and push (forward mode).

A tape is a view: the lines that some outputs need, in the order in which they were recorded. An array pulled or
pushed along it goes through the rules as they stand; Tensors are recorded on the way, and that is how derivatives of
derivatives come about.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from minigrad.engine.errors import derivative_failed
from minigrad.engine.mutation import check_unchanged
from minigrad.engine.node import Node, leaf, mode
from minigrad.engine.pairwise import HALF, narrow
from minigrad.engine.primitive import read_only, value_of
from minigrad.engine.specialize import attach, select
from minigrad.engine.tape_text import listing
from minigrad.util.locks import LOCK

Array = Any


def ancestors(outputs: Iterable[Node], since: int = 0) -> tuple[list[Node], bool]:
    """The lines that the outputs need, oldest first, and whether some of them are older than `since`.

    Lines older than that are left out: what was recorded before an input existed cannot depend on it.
    """
    pending: list[Any] = list({line for line in outputs if line.serial >= since})
    seen = {None, *pending}  # None stands for a constant
    older = False
    for line in pending:  # which grows meanwhile
        for parent in line.parents:
            if parent not in seen:
                if parent.serial < since:
                    older = True
                else:
                    seen.add(parent)
                    pending.append(parent)
    pending.reverse()  # They were found from young to old, nearly, and sorting what is nearly in order is quick.
    pending.sort(key=by_age)
    return pending, older


by_age = attrgetter("serial")


def pull(
    lines: Sequence[Node],
    due: dict[Node, Array],
    *,
    stop: Iterable[Node] = (),
    keep: Iterable[Node] = (),
    record: bool = False,
    retain: bool = True,
) -> dict[Node, Array]:
    """Reverse mode: from the cotangents of outputs to those of leaves, and of the lines in `stop` and `keep`.

    Every line hands each of its parents a share, and what was used several times adds up its shares. All uses of a
    line come after it on the tape, so on the way back its sum is complete when it is reached. The walk does not go
    beyond lines in `stop`. With `record`, the cotangents are Tensors and so are the values the rules see.
    """
    check_unchanged(lines)
    found: dict[Node, Array] = {}
    stop, keep = frozenset(stop), frozenset(keep)
    special = stop | keep
    if _hooked.data:  # which costs a tenth of len()
        with LOCK:
            special |= {line for line in HOOKED if line in due or line.serial >= lines[0].serial}
    try:
        for line in reversed(lines):
            v = due.pop(line, None)
            if v is None:
                continue
            if line.dtype is HALF and v.dtype is not HALF:
                v = narrow(v)
            if special and line in special:
                for hook in tuple(getattr(line, "hooks", ())):
                    v = hooked(hook, v)
                if line in keep or line in stop:
                    found[line] = v
                if line in stop:
                    continue
            if line.primitive is None:
                found[line] = v
                continue
            saved = line.saved
            if saved is None:
                raise released(line)
            line.primitive.pull(line, v, due, recorded(line, saved) if record else saved)
            if not retain:
                line.saved = None
    except np.linalg.LinAlgError as error:
        raise derivative_failed(error, line, "the backward pass of") from error
    return found


def push(lines: Sequence[Node], tangents: Mapping[Node, Array], *, record: bool = False) -> dict[Node, Array]:
    """Forward mode: from the tangents of some lines to those of all that depend on them."""
    check_unchanged(lines)
    known = dict(tangents)
    try:
        for line in lines:
            if line in known or line.primitive is None:
                continue
            given = [known.get(parent) if parent is not None else None for parent in line.parents]
            if all(v is None for v in given):
                continue
            if line.saved is None:
                raise released(line)
            saved = recorded(line, line.saved) if record else line.saved
            moved = line.primitive.push(line, given, saved)
            known[line] = _pull_of_pull(line, given, saved, record) if moved is None else moved
    except np.linalg.LinAlgError as error:
        raise derivative_failed(error, line, "forward mode through") from error
    return known


def _pull_of_pull(line: Node, tangents: Sequence[Array | None], saved: tuple[Any, ...], record: bool) -> Array:
    """Forward mode from a pull alone.

    pull(v) is linear in v, so its own pull takes tangents to the tangent of the value. It is recorded at v = 0; the
    point does not matter.
    """
    like = next(v for v in tangents if v is not None)
    several = isinstance(line.shape, tuple) and bool(line.primitive.outputs)
    shapes, dtypes = (line.shape, line.dtype) if several else ((line.shape,), (line.dtype,))
    token = mode.set("")
    try:
        zeros = [np.zeros_like(value_of(like), shape=s, dtype=d) for s, d in zip(shapes, dtypes, strict=True)]
        variables = [leaf(zero) for zero in zeros]
        v = [attach(zero, variable) for zero, variable in zip(zeros, variables, strict=True)]
        shares: dict[Node, Any] = {}
        line.primitive.pull(line, tuple(v) if several else v[0], shares, saved)
        due: dict[Node, Array] = {}
        for parent, tangent in dict(zip(line.parents, tangents, strict=True)).items():
            share: Any = shares.get(parent) if parent is not None else None
            if tangent is not None and getattr(share, "node", None) is not None:
                due[share.node] = due[share.node] + tangent if share.node in due else tangent
        lines, _ = ancestors(due, variables[0].serial)
        due = {node: tangent for node, tangent in due.items() if node.serial >= variables[0].serial}
        moved = pull(lines, due, stop=variables, record=record) if due else {}
    finally:
        mode.reset(token)
    values = [moved.get(variable, zero) for variable, zero in zip(variables, zeros, strict=True)]
    return tuple(values) if several else values[0]


def recorded(line: Node, saved: tuple[Any, ...]) -> tuple[Any, ...]:
    """The saved values as Tensors on the tape, for rules whose work is recorded in its turn."""
    primitive, parents = line.primitive, line.parents
    values: list[Any] = []
    for name, value in zip(primitive.saved, saved, strict=True):
        if name == "arrays":
            values.append([x if p is None else attach(x, p) for x, p in zip(value, parents, strict=False)])
        elif name in primitive.operands:
            parent = parents[primitive.operands.index(name)]
            values.append(value if parent is None or value is None else attach(value, parent))
        elif name in primitive.outputs:
            values.append(attach(value, select(line, primitive.outputs.index(name))))
        else:
            values.append(value if value is None else attach(value, line))
    return tuple(values)


def released(line: Node) -> RuntimeError:
    """The error for a line whose saved values are gone."""
    return RuntimeError(
        f"{line.primitive.name} (line {line.serial}, shape {line.shape}) no longer has the values that its derivative "
        "needs: they were released by the first backward pass. If you need a second one, say "
        "backward(retain_graph=True) in the first; if you did not mean to, compute the loss again in every step."
    )


hook_changes = [0]  # how often a hook was added or removed: compiled steps look whether any was
HOOKED: weakref.WeakSet[Node] = weakref.WeakSet()  # lines with hooks; the walk looks at them only if there are any
_hooked: Any = HOOKED


class Hook:
    """What `register_hook` returns: remove(), or a call of it, ends the hook."""

    __slots__ = ("_function", "_line")

    def __init__(self, line: Node, function: Callable[[Any], Any]) -> None:
        self._line = weakref.ref(line)
        self._function: Any = function

    def remove(self) -> None:
        """Call the function no more. A second time this does nothing."""
        with LOCK:
            line, function = self._line(), self._function
            self._function = None
            hook_changes[0] += 1
            hooks = getattr(line, "hooks", [])
            if function is not None and function in hooks:
                hooks.remove(function)
            if line is not None and not hooks:
                HOOKED.discard(line)

    __call__ = remove


def add_hook(line: Node, hook: Callable[[Any], Any]) -> Hook:
    """Call hook with the complete cotangent of a line. What is returned removes it."""
    with LOCK:
        line.hooks = [*getattr(line, "hooks", []), hook]
        HOOKED.add(line)
        hook_changes[0] += 1
    return Hook(line, hook)


def hooked(hook: Any, v: Array) -> Array:
    """What a hook makes of a cotangent: it sees a Tensor, and may return a replacement.

    Others use the cotangent too, so what the hook sees cannot be written to.
    """
    is_tensor = hasattr(v, "node")
    data = read_only(v.data if is_tensor else v)
    given = attach(data, v.node if is_tensor else None)
    replaced = hook(given)
    if given.data is not data:
        raise RuntimeError(
            f"a hook changed the gradient that it was given (shape {v.shape}) in place; return the changed one "
            "instead: lambda g: 2 * g"
        )
    if replaced is None or replaced is given:
        return v
    if np.shape(replaced) != v.shape:
        raise ValueError(
            f"a hook returned shape {np.shape(replaced)} in place of a gradient of shape {v.shape}; return one of "
            "the same shape, or None to leave it as it is"
        )
    return replaced if is_tensor else value_of(replaced)


def listed(outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Outputs that were given one by one, or in one list."""
    return tuple(outputs[0]) if len(outputs) == 1 and type(outputs[0]) in (list, tuple) else outputs


class Tape(Sequence[Node]):
    """The lines that the outputs need, in the order in which they were recorded.

    Args:
        *outputs: Tensors, or one list of them.

    `print(tape)` shows it as a Wengert list (Wengert 1964): one line for each operation, with the names that the
    user gave, shapes and dtypes. Iteration, indexing and `len` give the lines themselves.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([1.0, 2.0], requires_grad=True).named("x")
        >>> print(mg.Tape((x * x).sum()))
        1  x   leaf            (2,)  float64
        2  %2  multiply(x, x)  (2,)  float64
        3  %3  sum(%2)         ()    float64
    """

    def __init__(self, *outputs: Any) -> None:
        outputs = listed(outputs)
        for t in outputs:
            if getattr(t, "node", None) is None:
                raise ValueError(f"Tape: {t!r} was not computed from a Tensor with requires_grad=True")
        self.outputs: tuple[Node, ...] = tuple(t.node for t in outputs)
        self.lines, _ = ancestors(self.outputs)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, k: Any) -> Any:
        return self.lines[k]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.lines)

    def __str__(self) -> str:
        return listing(self.lines)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} lines, {sum(line.is_leaf for line in self.lines)} of them leaves>"

    @property
    def leaves(self) -> list[Node]:
        """The lines that no operation made."""
        return [line for line in self.lines if line.is_leaf]

    def check(self) -> None:
        """Verify what every walk relies on. Raises AssertionError, naming the line."""
        present = set()
        for line in self.lines:
            for parent in line.parents:
                assert parent is None or parent.serial < line.serial, f"{line} was recorded before its parent {parent}"
                assert parent is None or parent in present, f"{parent}, a parent of {line}, is not on the tape"
            if line.primitive is not None and line.saved is not None:
                assert len(line.saved) == len(line.primitive.saved), f"{line} kept {len(line.saved)} values"
                assert len(line.params) == len(line.primitive.static), f"{line} has {len(line.params)} parameters"
            present.add(line)
