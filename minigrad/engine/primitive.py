"""Primitives: NumPy functions with the rules of their derivatives.

A primitive is a function and one rule for each operand, None for an operand without a derivative. The function's
positional-only parameters are its operands, its keyword-only parameters are params. A rule applies the transposed
derivative to a vector v. It names, as parameters, what it needs besides v:

    x, y, ...           values of operands, by the function's own parameter names (a ufunc's are x, y)
    out                 the value of the function; several outputs have names of their own
    axis, ...           parameters
    x_shape, x_dtype    of an operand, without keeping its value
    arrays, i           of a primitive over a sequence: all values, and the index of the one to differentiate
    needs_grad          in a joint rule: for each operand, whether its contribution is needed

What no rule that will run names is not kept for the backward pass. For example, in ops/elementwise.py:

    multiply = elementwise(np.multiply, lambda v, y: v * y, lambda v, x: v * x)

`Tensor.__mul__` is this function. Called with a Tensor, it records a node; the walk of tape.py calls the rules. The
code that does both is written for each primitive (codegen.py), and compiled when it first runs (specialize.py).

There are three kinds. Each factory returns a function of arrays or Tensors; on arrays alone it is its NumPy function.

    primitive      only a pull. Forward mode pulls the pull, which is linear in v.
    linear         linear in each operand that has a rule: forward mode is the function itself.
    elementwise    the Jacobian is diagonal, so its own transpose: forward mode is the rule itself.

A fused primitive gives one joint rule, which returns the contributions of all operands at once. Where it has several
outputs, v is a tuple of their cotangents, None for an output that was not used.

Whatever else tools need to know of a primitive stands at its declaration too:

    doc             its docstring; of an elementwise function what it computes, in a few words
    derivative      of an elementwise function, in words or letters; none if no gradient flows through it
    analytic        whether it is analytic where it is differentiable, so that it can be checked with a complex step;
                    a linear function is, unless it says otherwise
    multiply_adds   the number of products that it adds up, a function of its node; None if that is not most of its work
    example_shapes  of operands that fit each other, from one size, where neither equal shapes nor one matrix will do
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, overload
from weakref import WeakSet

import numpy as np

from minigrad.engine import codegen, signatures, specialize
from minigrad.engine.node import Node
from minigrad.util.locks import LOCK

if TYPE_CHECKING:
    from minigrad.tensor.tensor import Tensor

P = ParamSpec("P")
Array = Any  # any object with NumPy's protocols
Rule = Callable[..., Array] | None

REGISTRY: dict[str, Primitive] = {}  # the primitives that have a derivative, by name
DECLARED: WeakSet[Primitive] = WeakSet()  # these, and those without a derivative
FUNCTIONS: WeakSet[Primitive] = WeakSet()  # these, and those of users
on_new: list[Callable[[Primitive], None]] = []  # called with each new primitive


class Function(Protocol):
    """What a factory returns: the record function, with the primitive and the source as attributes."""

    primitive: Primitive
    source: str
    __name__: str

    @overload
    def __call__(self, x: Tensor, /, *others: Any, **params: Any) -> Tensor: ...
    @overload
    def __call__(self, x: Any, y: Tensor, /, *others: Any, **params: Any) -> Tensor: ...
    @overload
    def __call__(self, *operands: Any, **params: Any) -> Any: ...


class TensorFunction(Protocol[P]):
    """A function composed of primitives: it returns a Tensor for a Tensor, else what NumPy returns."""

    __name__: str

    @overload
    def __call__(self, x: Tensor, /, *others: P.args, **params: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, x: Any, /, *others: P.args, **params: P.kwargs) -> Any: ...


def tensor_function(function: Callable[Concatenate[Any, P], Any]) -> TensorFunction[P]:
    """Tell type checkers that a Tensor as the first argument makes the result a Tensor."""
    return function


class Primitive:
    """A function, its rules, and the two functions that are written from them: record and pull."""

    kind = "primitive"
    is_checked = False  # whether the results of rules are checked, as for the rules of users (custom.py)

    def __init__(
        self,
        function: Callable[..., Any],
        *rules: Rule,
        joint: Callable[..., Any] | None = None,
        signature: str | inspect.Signature | None = None,
        outputs: Sequence[str] = (),
        name: str | None = None,
        doc: str | None = None,
        derivative: str | None = None,
        analytic: bool | None = None,
        multiply_adds: Callable[[Node], int] | None = None,
        example_shapes: Callable[[int], list[tuple[int, ...]]] | None = None,
    ) -> None:
        self.function = function
        self.doc = doc
        self.derivative = derivative
        self.is_analytic = self.kind == "linear" if analytic is None else analytic
        self.multiply_adds = multiply_adds
        self.example_shapes = example_shapes
        self.name = name or function.__name__.strip("_")
        self.signature = signatures.signature_of(function, signature)
        parameters = self.signature.parameters.values()
        self.operands = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
        self.param_names = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        self.sequence = self.operands == ("arrays",)
        self.outputs = tuple(outputs)
        self.rules = rules
        self.joint = joint
        if rules and (joint or len(rules) != len(self.operands)):
            raise TypeError(
                f"{self.name}{self.signature} has {len(self.operands)} operands: give one rule for each, or one joint "
                f"rule. {len(rules)} rules were given{' and a joint one' if joint else ''}."
            )
        self.names = tuple(signatures.names_needed(rule) for rule in rules)
        # Before version 0.2, needs_grad was called wanted (custom.py warns of it).
        self.joint_names = tuple("needs_grad" if name == "wanted" else name for name in signatures.names_needed(joint))
        signatures.check_names(self)
        self.residuals = signatures.residual_names(self)
        self.pull_source = codegen.pull_source(self)
        self.record = specialize.record_function(self)

    pull: Any = specialize.Pull()

    @cached_property
    def written_pull(self) -> Callable[..., None]:
        """The pull as it was written, also while layers replace it."""
        return specialize.pull_function(self)

    @property
    def callee(self) -> Callable[..., Any]:
        """The function that the record function calls."""
        return self.function

    @property
    def docstring(self) -> str | None:
        """The docstring of the recording function; NumPy's own functions have their signatures in it, so not theirs."""
        is_numpy = (getattr(self.function, "__module__", None) or "numpy").startswith("numpy")
        return self.doc or (None if is_numpy else self.function.__doc__)

    @property
    def source(self) -> str:
        """The text of record and pull."""
        record = codegen.record_source(self).replace("def record(", f"def {self.name}(", 1)
        return "\n".join(filter(None, [record, self.pull_source]))

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{self.signature}>"

    def push(self, node: Node, tangents: Sequence[Array | None], residuals: tuple[Any, ...]) -> Array | None:
        """Forward mode: the tangent of the value from those of the parents (None: zero).

        None as the result says that this kind has no rule for it; the walk then pulls the pull.
        """
        return None

    def apply(self, k: int, node: Node, v: Array, residuals: tuple[Any, ...]) -> Array:
        """The rule of operand k applied to v, outside the walk."""
        known = self.known(node, residuals)
        parent, rule = node.parents[k], self.rules[k]
        if parent is None or rule is None:
            raise ValueError(f"{self.name}: no derivative flows through {self.operands[k]}")
        known |= {f"{self.operands[k]}_shape": parent.shape, f"{self.operands[k]}_dtype": parent.dtype}
        return rule(v, *(known[name] for name in self.names[k]))

    def known(self, node: Node, residuals: tuple[Any, ...]) -> dict[str, Any]:
        """The residuals and parameters of a node, by name."""
        return dict(zip(self.residuals, residuals, strict=True)) | dict(zip(self.param_names, node.params, strict=True))


class Elementwise(Primitive):
    """Each element of the value depends on the same element of the (broadcast) operands."""

    kind = "elementwise"

    @property
    def docstring(self) -> str | None:
        """The docstring of the recording function: what it computes, its operands and its derivative."""
        if not self.doc:
            return super().docstring
        is_unary = len(self.operands) == 1
        shapes = "of any shape" if is_unary else "whose shapes broadcast"
        derivative = f"{'The derivative is' if is_unary else 'Derivatives:'} {self.derivative}."
        return (
            f"{self.doc[0].upper() if self.doc[:2].isalpha() else self.doc[0]}{self.doc[1:]}, element by element.\n\n"
            f"Args:\n    {', '.join(self.operands)}: numbers, arrays or Tensors {shapes}.\n\n"
            f"{derivative if self.derivative else 'No gradient flows through it.'}\n"
        )

    def push(self, node: Node, tangents: Sequence[Array | None], residuals: tuple[Any, ...]) -> Array:
        """Forward mode: each rule applied to its operand's tangent."""
        tangent_out = total(self.apply(k, node, v, residuals) for k, v in enumerate(tangents) if v is not None)
        if tangent_out.shape != node.shape:
            tangent_out = tangent_out + np.zeros_like(tangent_out, shape=node.shape)
        return tangent_out


class Linear(Primitive):
    """Linear in each operand that has a rule.

    If a rule names another operand, the function is a product: its tangent is a sum with one term for each operand, in
    which the others are constant. Otherwise the function is a sum, and the tangent is the function of the tangents.
    """

    kind = "linear"

    def push(self, node: Node, tangents: Sequence[Array | None], residuals: tuple[Any, ...]) -> Array | None:
        """Forward mode: the function itself, applied to tangents."""
        params = dict(zip(self.param_names, node.params, strict=True))
        known = self.known(node, residuals)
        if self.is_product:
            return total(
                self.record(*(v if j == k else known[name] for j, name in enumerate(self.operands)), **params)
                for k, v in enumerate(tangents)
                if v is not None
            )
        if any(v is None for v in tangents):
            return None
        return self.record(tuple(tangents), **params) if self.sequence else self.record(*tangents, **params)

    @property
    def is_product(self) -> bool:
        """Whether the rule of one operand names another."""
        return any(set(names) & set(self.operands) for names in self.names)


class Opaque:
    """The base of what a node has as its primitive if a whole function is run again, or was compiled, for the pull.

    It has no rules that could be shown as formulas.
    """

    param_names: tuple[str, ...] = ()
    sequence = True
    operands = ("arrays",)
    residuals = ("arrays",)
    names: tuple[tuple[str, ...], ...] = ((),)
    rules: tuple[Rule, ...] = (None,)
    joint: Rule = None
    joint_names: tuple[str, ...] = ()
    signature = inspect.Signature()
    outputs: tuple[str, ...] = ()


def value_of(x: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return x.data if hasattr(x, "node") else x


def total(contributions: Any) -> Array:
    """The sum of at least one contribution."""
    first, *others = contributions
    for contribution in others:
        first = first + contribution
    return first


def primitive(function: Callable[..., Any], *rules: Rule, **options: Any) -> Function:
    """A primitive with a pull only."""
    return _declare(Primitive(function, *rules, **options))


def linear(function: Callable[..., Any], *rules: Rule, **options: Any) -> Function:
    """A primitive that is linear in each operand that has a rule."""
    return _declare(Linear(function, *rules, **options))


def elementwise(function: Callable[..., Any], *rules: Rule, **options: Any) -> Function:
    """A primitive whose Jacobian is diagonal."""
    return _declare(Elementwise(function, *rules, **options))


def _declare(p: Primitive) -> Function:
    with LOCK:
        DECLARED.add(p)
    if p.pull_source:
        REGISTRY[p.name] = p
    return as_function(p)


def as_function(p: Primitive) -> Function:
    """The record function of a primitive, with the primitive and the source as attributes."""
    with LOCK:
        FUNCTIONS.add(p)
        for callback in on_new:
            callback(p)
    record: Any = p.record
    module = getattr(p.function, "__module__", None) or "numpy"
    record.primitive = p
    record.source = p.source
    record.__qualname__ = p.name
    record.__doc__ = p.docstring
    record.__module__ = "minigrad" if module.startswith(("minigrad", "numpy")) else module
    function: Function = record
    return function
