"""The forward function on symbolic arrays, and the contribution of every consumer to the values that it uses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.intercept import intercept
from minigrad.engine.modes import current_scope, enable_grad
from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors, pull
from minigrad.tensor.linearize import variable
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.util.pytree import flatten
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derive.factors import CannotWrite
from minigrad.verify.derive.primitives import Primitives
from minigrad.verify.derive.symbolic import Symbolic
from minigrad.verify.derive.term import ONE, Session, Term, name
from minigrad.verify.derive.term_algebra import Algebra
from minigrad.verify.pairs.pair import is_float_array


@dataclass
class Step:
    """The gradient of one value: a term, and the rules that made it."""

    target: str
    term: Term
    rules: list[str]


@dataclass
class Steps:
    """The steps of a backward pass in the order in which they are computed.

    Attributes:
        values: everything that a step may name, with its term.
        axis_names: the letters of axes, by size.
        session: within which terms are made.
    """

    algebra: Algebra
    inputs: list[str]
    named: list[str]
    outputs: list[str]
    constants: dict[str, Any]
    values: dict[str, Term]
    steps: list[Step] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    axis_names: dict[int, str] = field(default_factory=dict)
    session: Session = field(default_factory=Session)


def steps_of(forward: Forward, arguments: Mapping[str, Any]) -> Steps:
    """The steps of the backward pass of a function, one for each named value and input.

    Raises:
        CannotWrite: an operation has no NumPy source.
    """
    with Session() as session:
        steps = _steps_of(forward, arguments)
    steps.session = session
    return steps


def _steps_of(forward: Forward, arguments: Mapping[str, Any]) -> Steps:
    recorded = _Recorded(forward, arguments)
    steps, a = recorded.steps, recorded.algebra
    inner = [k for k in steps.named if k not in steps.outputs]
    totals: dict[str, list[Term]] = {k: [] for k in [*steps.inputs, *inner]}
    rules: dict[str, list[str]] = {k: [] for k in totals}
    for consumer in [*steps.outputs, *inner[::-1]]:
        for target, term in recorded.contributions(consumer):
            totals[target].append(term)
            rules[target] += recorded.rules(consumer, target)
    for k in [*inner[::-1], *steps.inputs]:
        shape = steps.values[k].shape
        total = a.plus([(ONE, t) for t in totals[k]], shape) if totals[k] else a.number(0, shape)
        steps.steps.append(Step(k, total, list(dict.fromkeys(rules[k]))))
    return steps


class _Recorded:
    """One run of the forward function on symbolic arrays."""

    def __init__(self, forward: Forward, arguments: Mapping[str, Any]) -> None:
        self.forward = forward
        inputs = [k for k in forward.inputs if is_float_array(arguments[k])]
        self.algebra = a = Algebra(_large(sizes_of(arguments)))
        a.fixed = frozenset(forward.constants)
        self.tensors: dict[str, Tensor] = {}
        self.data: dict[str, Any] = {}
        self.steps = Steps(a, inputs, [], [], {}, {})
        by_name: dict[str, Any] = {}
        for k, value in arguments.items():
            by_name[k] = value
            if k in inputs:
                self.data[k] = Symbolic(a, value, name(k, np.shape(value)))
                self.tensors[k] = by_name[k] = variable(self.data[k])
            elif isinstance(value, np.ndarray) or type(value) is float:
                by_name[k] = self.data[k] = Symbolic(a, value, name(k, np.shape(value)))
            self.steps.values[k] = name(k, np.shape(value))
        with enable_grad(), intercept(Primitives(a)), self._names():
            positional = [by_name.pop(k) for k in forward.positional]
            out, _ = flatten(forward.function(*positional, **by_name))
        self.steps.outputs = ["out"] if len(out) == 1 else [f"out{k}" for k in range(len(out))]
        for k, t in zip(self.steps.outputs, out, strict=True):
            if not isinstance(t, Tensor) or not isinstance(t.data, Symbolic):
                raise CannotWrite(f"{forward.name} does not compute its result from its inputs with minigrad or NumPy")
            self.tensors[k] = t
            self._name(k, t.data)
        self.nodes: dict[str, Node] = {k: t.node for k, t in self.tensors.items() if t.node is not None}

    @contextmanager
    def _names(self) -> Iterator[None]:
        token = probe.set(self._store)
        try:
            yield
        finally:
            probe.reset(token)

    def _store(self, text: str, value: Any, label: str | None) -> Any:
        full = "_".join([*current_scope().split("/"), text]).lstrip("_")
        if isinstance(value, Symbolic):
            value = Tensor(value)
        if not isinstance(value, Tensor) or not isinstance(value.data, Symbolic):
            return value
        self._name(full, value.data)
        new = variable(value)
        value.data, value.node = new.data, new.node
        self.tensors[full] = new
        self.steps.named.append(full)
        if label:
            self.steps.labels[full] = label
        return value

    def _name(self, text: str, data: Symbolic) -> None:
        """Write a value by its name from now on."""
        self.algebra.sizes |= _large(sizes_of({text: data.value}))
        term = name(text, data.shape)
        self.steps.values.setdefault(text, term)
        if data.term.op != "name":
            self.algebra.define(term, data.term)
            data.term = term

    def contributions(self, consumer: str) -> list[tuple[str, Term]]:
        """The contributions of a consumer to the values that it uses."""
        node = self.nodes.get(consumer)
        if node is None:
            return []
        same = [k for k, other in self.nodes.items() if other is node and k != consumer]
        data = self.tensors[consumer].data
        upstream = Symbolic(self.algebra, data.value * 0 + 0.5, name(f"d{consumer}", data.shape))
        if same and consumer in self.steps.outputs:  # the result is a named value or an input
            return [(k, upstream.term) for k in same if k not in self.steps.outputs][:1]
        others = {k: other for k, other in self.nodes.items() if other is not node and k not in self.steps.outputs}
        first = min(other.serial for other in self.nodes.values())
        with intercept(Primitives(self.algebra)), np.errstate(all="ignore"):
            pulled = pull(ancestors([node], first)[0], {node: upstream}, stop=others.values())
        return [(k, _term(self.algebra, pulled[other])) for k, other in others.items() if other in pulled]

    def rules(self, consumer: str, target: str) -> list[str]:
        """The rules of the operations between a consumer and a value that it uses."""
        node, end = self.nodes[consumer], self.nodes[target]
        stops = {other for k, other in self.nodes.items() if other is not node}
        found: list[str] = []
        reaches: dict[Node, bool] = {end: True}

        def visit(part: Node) -> bool:
            if part not in reaches:
                reaches[part] = False
                is_open = part not in stops
                reaches[part] = is_open and sum(visit(p) for p in part.parents if p is not None) > 0
                if reaches[part] and part.primitive is not None:
                    found.append(rule_name(part.primitive.name))
            return reaches[part]

        visit(node)
        return [rule for rule in dict.fromkeys(found[::-1]) if rule]


def _term(a: Algebra, x: Any) -> Term:
    return x.term if isinstance(x, Symbolic) else a.number(x)


def sizes_of(arguments: Mapping[str, Any]) -> set[int]:
    """The sizes of axes, and products of sizes of one array."""
    sizes = set()
    for value in arguments.values():
        shape = np.shape(value)
        for count in range(1, len(shape) + 1):
            for axes in itertools.combinations(shape, count):
                sizes.add(math.prod(axes))
    return sizes


def _large(sizes: set[int]) -> set[int]:
    """Sizes that are larger than usual numbers in formulas."""
    return {n for n in sizes if n > 4}


RULES = {
    "add": "sum rule", "subtract": "sum rule", "negative": "sum rule", "multiply": "product rule",
    "divide": "quotient rule", "reciprocal": "quotient rule", "square": "power rule", "power": "power rule",
    "sqrt": "power rule", "matmul": "matrix product", "sum": "a sum spreads its gradient",
    "mean": "a mean spreads its gradient over N", "max": "a maximum passes its gradient to where it is",
    "min": "a minimum passes its gradient to where it is", "where": "a choice passes its gradient to what is chosen",
    "reshape": "shape", "matrix_transpose": "transpose", "transpose": "transpose", "permute_dims": "transpose",
    "getitem": "an index passes its gradient to where it reads", "contract": "Einstein sum", "input": "",
}  # fmt: skip


def rule_name(primitive: str) -> str:
    """The rule of calculus for an operation."""
    return RULES.get(primitive, f"derivative of {primitive}")
