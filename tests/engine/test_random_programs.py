"""Random programs against a naive engine: sharing, reuse, views, rebinding, backward twice, no_grad, detach."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

import minigrad as mg
from minigrad.engine import tape

# The naive engine: a value and, for each operand, how a cotangent is handed on. It follows every path by recursion,
# and what it hands on is made of the same operations, so that gradients have gradients.


class Naive:
    def __init__(self, value: Any, *parents: Any) -> None:
        self.value, self.parents, self.grad = np.asarray(value, dtype=float), parents, None
        self.paths: int = sum(parent.paths for parent, _ in parents) or 1

    def pull(self, v: Naive) -> None:
        self.grad = v if self.grad is None else add(self.grad, v)
        for parent, contribution in self.parents:
            parent.pull(contribution(v))


def add(x: Naive, y: Naive) -> Naive:
    return Naive(x.value + y.value, (x, lambda v: fit(v, x)), (y, lambda v: fit(v, y)))


def multiply(x: Naive, y: Naive) -> Naive:
    return Naive(x.value * y.value, (x, lambda v: fit(multiply(v, y), x)), (y, lambda v: fit(multiply(v, x), y)))


def sin(x: Naive) -> Naive:
    return Naive(np.sin(x.value), (x, lambda v: multiply(v, cos(x))))


def cos(x: Naive) -> Naive:
    return Naive(np.cos(x.value), (x, lambda v: multiply(v, negative(sin(x)))))


def negative(x: Naive) -> Naive:
    return Naive(-x.value, (x, negative))


def fit(v: Naive, x: Naive) -> Naive:
    """The sum of v over the axes along which x was broadcast."""
    lead = v.value.ndim - x.value.ndim
    axes = (*range(lead), *(lead + k for k, n in enumerate(x.value.shape) if n == 1))
    total = v.value.sum(axis=axes, keepdims=True).reshape(x.value.shape)
    return Naive(total, (v, lambda u: spread(u, v.value.shape)))


def spread(x: Naive, shape: Any) -> Naive:
    return Naive(np.broadcast_to(x.value, shape), (x, lambda v: fit(v, x)))


def read(x: Naive, index: Any) -> Naive:
    return Naive(x.value[index], (x, lambda v: put(v, index, x.value.shape)))


def put(v: Naive, index: Any, shape: Any) -> Naive:
    out = np.zeros(shape)
    np.add.at(out, index, v.value)
    return Naive(out, (v, lambda u: read(u, index)))


def write(x: Naive, index: Any, value: Naive) -> Naive:
    kept = np.ones(x.value.shape)
    kept[index] = 0
    return add(multiply(x, Naive(kept)), put(spread(value, x.value[index].shape), index, x.value.shape))


def total(x: Naive) -> Naive:
    return fit(x, Naive(0.0))


# The programs


class Variable:
    """What a program calls by a name: a Tensor, and the same in the naive engine."""

    def __init__(self, tensor: mg.Tensor, naive: Naive) -> None:
        self.tensor, self.naive = tensor, naive
        self.is_part = False  # of another variable


def is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, (int, slice)) for part in parts)


SHAPES = [(), (3,), (2, 3), (2, 1)]
UNARY: dict[str, Any] = {
    "sin": (np.sin, sin),
    "cos": (np.cos, cos),
    "negative": (lambda t: -t, negative),
    "square": (lambda t: t**2, lambda x: multiply(x, x)),
    "sum": (lambda t: t.sum(), total),
    "twice": (lambda t: t + t, lambda x: add(x, x)),
    "itself": (lambda t: +t, lambda x: add(x, Naive(0.0))),
}
BINARY: dict[str, Any] = {
    "add": (lambda t, u: t + u, add),
    "subtract": (lambda t, u: t - u, lambda x, y: add(x, negative(y))),
    "multiply": (lambda t, u: t * u, multiply),
}
IN_PLACE: dict[str, Any] = {"add": mg.Tensor.__iadd__, "subtract": mg.Tensor.__isub__, "multiply": mg.Tensor.__imul__}
INDICES = {
    1: [0, -1, slice(1, None), slice(None, None, -1), [2, 0, 2], [True, False, True], None, ...],
    2: [0, (slice(None), 0), (slice(None), slice(None, None, 2)), [1, 1, 0], (..., None), ([0, 1, 0], [0, 0, 0]), -1],
}
WRITABLE = {
    1: [0, slice(1, None), [2, 0], [True, False, True], ...],
    2: [0, (slice(None), 0), ([0, 1], [0, 0]), -1, ...],
}
seeds = st.integers(0, 1000)


def signed(seed: int, shape: Any) -> Any:
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.3, 1.5, shape)


def same(actual: Any, expected: Any) -> None:
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9 * scale)


class Program(RuleBasedStateMachine):
    variables = Bundle("variables")

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[Variable] = []
        self.all: list[Variable] = []

    def made(self, tensor: mg.Tensor, naive: Naive) -> Any:
        """A new variable; none if its value or its history outgrows the naive engine."""
        same(tensor.data, naive.value)
        if naive.paths > 200 or np.max(np.abs(naive.value), initial=0.0) > 1e3:
            return multiple()
        self.all.append(Variable(tensor, naive))
        return self.all[-1]

    @initialize(target=variables)
    def first(self) -> Any:
        return self.leaf((2, 3), 1, True)

    @rule(target=variables, shape=st.sampled_from(SHAPES), seed=seeds, requires_grad=st.booleans())
    def leaf(self, shape: Any, seed: int, requires_grad: bool) -> Any:
        value = signed(seed, shape)
        made = self.made(mg.Tensor(value, requires_grad=requires_grad), Naive(value))
        if requires_grad:
            self.leaves.append(made)
        return made

    @rule(target=variables, x=variables, name=st.sampled_from(sorted(UNARY)), recording=st.booleans())
    def unary(self, x: Variable, name: str, recording: bool) -> Any:
        function, reference = UNARY[name]
        with nullcontext() if recording else mg.no_grad():
            tensor = function(x.tensor)
        naive = reference(x.naive)
        return self.made(tensor, naive if recording else Naive(naive.value))

    @rule(target=variables, x=variables, y=variables, name=st.sampled_from(sorted(BINARY)))
    def binary(self, x: Variable, y: Variable, name: str) -> Any:
        function, reference = BINARY[name]
        try:
            naive = reference(x.naive, y.naive)
        except ValueError:
            with pytest.raises(ValueError, match=r"do not fit"):
                function(x.tensor, y.tensor)
            return multiple()
        return self.made(function(x.tensor, y.tensor), naive)

    @rule(target=variables, x=variables, k=st.integers(0, 10))
    def view(self, x: Variable, k: int) -> Any:
        assume(x.tensor.ndim in INDICES and x.tensor.size > 1)
        choices = INDICES[x.tensor.ndim]
        index = choices[k % len(choices)]
        try:
            naive = read(x.naive, index)
        except IndexError:
            with pytest.raises(IndexError):
                x.tensor[index]
            return multiple()
        made = self.made(x.tensor[index], naive)
        if isinstance(made, Variable) and made.tensor.ndim and is_basic(index):
            made.is_part = True
        return made

    @rule(target=variables, x=variables)
    def detach(self, x: Variable) -> Any:
        return self.made(x.tensor.detach(), Naive(x.naive.value))

    @rule(x=variables, value=variables, k=st.integers(0, 10))
    def assign(self, x: Variable, value: Variable, k: int) -> None:
        """x[index] = value: an error on leaves, else x is rebound and its older uses stay what they were."""
        assume(x.tensor.ndim in WRITABLE)
        choices = WRITABLE[x.tensor.ndim]
        index = choices[k % len(choices)]
        try:
            shape = x.naive.value[index].shape
        except IndexError:
            with pytest.raises(RuntimeError if x in self.leaves or x.is_part else IndexError):
                x.tensor[index] = 0.0
            return
        fits = value.tensor.shape in ((), shape)
        given, reference = (value.tensor, value.naive) if fits else (value.tensor.sum(), total(value.naive))
        if x in self.leaves or x.is_part:
            with pytest.raises(RuntimeError, match="no_grad" if x in self.leaves else "the part alone would change"):
                x.tensor[index] = given
            return
        naive = write(x.naive, index, reference)
        if naive.paths <= 200:
            x.tensor[index] = given
            x.naive = naive

    @rule(x=variables, y=variables, name=st.sampled_from(sorted(IN_PLACE)))
    def augmented(self, x: Variable, y: Variable, name: str) -> None:
        assume(y.tensor.shape in ((), x.tensor.shape))
        naive = BINARY[name][1](x.naive, y.naive)
        assume(naive.paths <= 200 and np.max(np.abs(naive.value), initial=0.0) < 1e3)
        if x in self.leaves:
            with pytest.raises(RuntimeError, match="no_grad"):
                IN_PLACE[name](x.tensor, y.tensor)
        else:
            assert IN_PLACE[name](x.tensor, y.tensor) is x.tensor
            x.naive, x.is_part = naive, False

    @rule()
    def zero_grad(self) -> None:
        for leaf in self.leaves:
            leaf.tensor.grad = leaf.naive.grad = None

    @rule(x=variables, seed=seeds)
    def backward(self, x: Variable, seed: int) -> None:
        """Gradients accumulate over calls, and the tape is there for the next."""
        u = signed(seed, x.tensor.shape)
        if x.tensor.node is None:
            with pytest.raises(RuntimeError, match="requires_grad"):
                x.tensor.backward(u)
            return
        mg.Tape(x.tensor).check()
        x.tensor.backward(u, retain_graph=True)
        x.naive.pull(Naive(u))
        self.compare()

    @rule(target=variables, x=variables, seed=seeds, k=st.integers(0, 10))
    def gradient(self, x: Variable, seed: int, k: int) -> Any:
        """The gradient of a leaf as a variable, to be used and differentiated in its turn."""
        assume(x.tensor.node is not None)
        self.zero_grad()
        u = signed(seed, x.tensor.shape)
        x.tensor.backward(u, create_graph=True)
        x.naive.pull(Naive(u))
        self.compare()
        leaf = self.leaves[k % len(self.leaves)]
        tensor, naive = leaf.tensor.grad, leaf.naive.grad
        self.zero_grad()
        return multiple() if tensor is None or naive is None else self.made(tensor, naive)

    @rule(x=variables, seed=seeds)
    def forward_mode(self, x: Variable, seed: int) -> None:
        """<u, push(t)> = <pull(u), t>, over all leaves."""
        assume(x.tensor.node is not None)
        u = signed(seed, x.tensor.shape)
        tangents = {leaf.tensor.node: signed(seed + 1, leaf.tensor.shape) for leaf in self.leaves}
        lines = mg.Tape(x.tensor).nodes
        moved = tape.push(lines, tangents)
        pulled = tape.pull(lines, {x.tensor.node: u})
        along = np.sum(u * moved[x.tensor.node]) if x.tensor.node in moved else 0.0
        same(along, sum(np.sum(pulled[node] * t) for node, t in tangents.items() if node in pulled))

    def compare(self) -> None:
        for leaf in self.leaves:
            tensor, naive = leaf.tensor.grad, leaf.naive.grad
            if tensor is None or naive is None:
                assert tensor is naive
            else:
                same(tensor.data, naive.value)

    @invariant()
    def nothing_wrote_into_another_value(self) -> None:
        for x in self.all:
            same(x.tensor.data, x.naive.value)

    def teardown(self) -> None:
        """The last backward releases what was saved, so that another one is an error."""
        self.zero_grad()
        x = next((x for x in reversed(self.all) if not x.tensor.is_leaf), None)
        if x is not None:
            u = np.ones(x.tensor.shape)
            x.tensor.backward(u)
            x.naive.pull(Naive(u))
            self.compare()
            with pytest.raises(RuntimeError, match="retain_graph=True"):
                x.tensor.backward(u)


@pytest.mark.floating(under="ignore")
class TestPrograms(Program.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(max_examples=120, stateful_step_count=30)


@pytest.mark.slow
@pytest.mark.floating(under="ignore")
class TestManyPrograms(Program.TestCase):  # type: ignore[misc, name-defined]
    settings = settings(max_examples=1000, stateful_step_count=50, derandomize=False)
