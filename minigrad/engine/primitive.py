"""Primitives: NumPy functions with the rules of their derivatives.

A primitive is a function and one rule for each operand that has a derivative, None for one without. The function's
positional-only parameters are its operands, its keyword-only parameters are params. A rule applies the transposed
derivative to a vector v. It names, as parameters, what it needs besides v:

    x, y, ...           values of operands, by the function's own parameter names (a ufunc's are x, y)
    out                 the value of the function; several outputs have names of their own
    axis, ...           parameters
    x_shape, x_dtype    of an operand, without keeping its value
    arrays, i           of a primitive over a sequence: all values, and which one's contribution is asked for
    needs_grad              in a joint rule: for each operand, whether its contribution is needed

What no rule that will run names is not kept for the backward pass.

Three kinds. Each factory returns a function of arrays or Tensors; on arrays alone it is its NumPy function.

    primitive      only a pull. Forward mode pulls the pull, which is linear in v.
    linear         linear in each operand that has a rule: forward mode is the function itself.
    elementwise    the Jacobian is diagonal, so its own transpose: forward mode is the rule itself.

A fused primitive gives one joint rule, which returns the contributions of all operands at once. Where it has several
outputs, v is a tuple of their cotangents, None for an output that nobody used.

What else is known of a primitive stands at its declaration, too, for the tools that ask for it:

    doc             its docstring; of an elementwise function what it computes, in a few words
    derivative      of an elementwise function, in words or letters; none if no gradient flows through it
    analytic        whether it is analytic where it is differentiable, so that it can be checked with a complex step;
                    a linear function is, unless it says otherwise
    multiply_adds   how many products it adds up, a function of its node; None if that is not most of its work
    example_shapes  of operands that go together, from one size, where neither equal shapes nor one matrix will do
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, overload
from weakref import WeakSet

import numpy as np

from minigrad.engine import codegen, specialize
from minigrad.engine.node import Node
from minigrad.util.locks import LOCK

if TYPE_CHECKING:
    from minigrad.tensor.tensor import Tensor

P = ParamSpec("P")
Array = Any  # whatever answers NumPy's protocols
Rule = Callable[..., Array] | None

RESERVED = frozenset({"v", "n", "pending", "saved"})  # what a pull calls its own parameters

REGISTRY: dict[str, Primitive] = {}  # the primitives that have a derivative, by name
DECLARED: WeakSet[Primitive] = WeakSet()  # and those without
FUNCTIONS: WeakSet[Primitive] = WeakSet()  # and those that users made: all that can be called


on_new: list[Callable[[Primitive], None]] = []  # called with each that is made from here on


class Function(Protocol):
    """What a factory returns: the recording function, with the primitive and the source at hand."""

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
    """A function made of primitives: a Tensor for a Tensor, else what NumPy gives."""

    __name__: str

    @overload
    def __call__(self, x: Tensor, /, *others: P.args, **params: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, x: Any, /, *others: P.args, **params: P.kwargs) -> Any: ...


def tensor_function(function: Callable[Concatenate[Any, P], Any]) -> TensorFunction[P]:
    """Tell type checkers that a Tensor as the first argument makes the result a Tensor."""
    return function


class _Pull:
    """pull(node, v, pending, residuals): reverse mode through one node, written when it is first asked for.

    It is found in the primitive's dictionary from then on. There, layers may stand in its place (intercept.py), which a
    thread that writes it at the same time must not undo.
    """

    def __get__(self, p: Any, kind: type) -> Any:
        if p is None:
            return self
        with LOCK:
            return p.__dict__.setdefault("pull", p.written_pull)


class Primitive:
    """A function, its rules, and what was specialized from them: record and pull."""

    kind = "primitive"
    is_checked = False  # whether what rules return is checked: those of users (custom.py) are

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
        self.signature = _signature(function, signature)
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
        self.names = tuple(codegen.named(rule) for rule in rules)
        # Before version 0.2, needs_grad was called wanted (custom.py warns of it).
        self.joint_names = tuple("needs_grad" if name == "wanted" else name for name in codegen.named(joint))
        self.residuals = codegen.residuals(self)
        self._check_names()
        self.record, self.record_source, self.pull_source = specialize.write(self)

    pull: Any = _Pull()

    @cached_property
    def written_pull(self) -> Callable[..., None]:
        """The pull as it was written, whatever stands around it."""
        return specialize.made(self, self.pull_source)

    @property
    def callee(self) -> Callable[..., Any]:
        """What the record function calls: the function."""
        return self.function

    @property
    def docstring(self) -> str | None:
        """The docstring of the recording function; NumPy's own functions have their signatures in it, so not theirs."""
        is_numpy = (getattr(self.function, "__module__", None) or "numpy").startswith("numpy")
        return self.doc or (None if is_numpy else self.function.__doc__)

    @property
    def source(self) -> str:
        """What was written for this primitive."""
        return "\n".join(filter(None, [self.record_source, self.pull_source]))

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{self.signature}>"

    def _check_names(self) -> None:
        taken = RESERVED & {*self.operands, *self.param_names}
        if taken:
            raise TypeError(
                f"{self.name}{self.signature}: the name {min(taken)!r} is taken (v is the vector that a rule "
                "transforms); call the operand otherwise"
            )
        known = {*self.operands, *self.param_names, *(self.outputs or ("out",)), "i", "needs_grad"}
        known |= {f"{x}_{what}" for x in self.operands for what in ("shape", "dtype")}
        for names in (*self.names, self.joint_names):
            for name in names:
                if name not in known:
                    raise TypeError(
                        f"a rule of {self.name}{self.signature} names {name!r}, which is none of its values"
                    )

    def push(self, node: Node, tangents: Sequence[Array | None], residuals: tuple[Any, ...]) -> Array | None:
        """Forward mode: the tangent of the value from those of the parents (None: zero).

        None as the result says that this kind has no fast way; the walk then pulls the pull.
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
        return (
            tangent_out
            if tangent_out.shape == node.shape
            else tangent_out + np.zeros_like(tangent_out, shape=node.shape)
        )


class Linear(Primitive):
    """Linear in each operand that has a rule.

    If a rule names another such operand (a product) the others are held while one moves; if none does (a sum) all
    move together.
    """

    kind = "linear"

    def push(self, node: Node, tangents: Sequence[Array | None], residuals: tuple[Any, ...]) -> Array | None:
        """Forward mode: the function itself, with tangents in place of operands."""
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
        """Whether the others are held while one operand moves."""
        return any(set(names) & set(self.operands) for names in self.names)


class Opaque:
    """What stands in place of a primitive for one call of a function that is run again, or compiled, for its pull.

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


def read_only(x: Any) -> Any:
    """The same values, which cannot be written to."""
    if type(x) is np.ndarray and x.flags.writeable:
        x = x.view()
        x.flags.writeable = False
    return x


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


def _declare(made: Primitive) -> Function:
    with LOCK:
        DECLARED.add(made)
    if made.pull_source:
        REGISTRY[made.name] = made
    return as_function(made)


def as_function(made: Primitive) -> Function:
    """The recording function of a primitive, with the primitive and its source at hand."""
    with LOCK:
        FUNCTIONS.add(made)
        for told in on_new:
            told(made)
    record: Any = made.record
    module = getattr(made.function, "__module__", None) or "numpy"
    record.primitive = made
    record.source = made.source
    record.__qualname__ = made.name
    record.__doc__ = made.docstring
    record.__module__ = "minigrad" if module.startswith(("minigrad", "numpy")) else module
    function: Function = record
    return function


def _signature(function: Callable[..., Any], given: str | inspect.Signature | None) -> inspect.Signature:
    """The signature as given, for example "(x, /, *, axis=None)"; else a ufunc's, else the function's own."""
    if isinstance(given, inspect.Signature):
        return given
    if given is not None:
        return _read(given)
    if isinstance(function, np.ufunc):
        return _read(f"({'x, y, z'[: 3 * function.nin - 2]}, /)")
    return inspect.signature(function).replace(return_annotation=inspect.Signature.empty)


@lru_cache(maxsize=256)
def _read(text: str) -> inspect.Signature:
    return inspect.signature(eval(f"lambda {text.strip('()')}: None"))
