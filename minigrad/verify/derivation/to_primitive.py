"""A proven derivation as a primitive: one node on the tape, whose backward pass consists of the derivation's lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.engine.modes import no_grad
from minigrad.engine.primitive import Primitive, as_function, value_of
from minigrad.engine.signatures import RESERVED
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.tensor.transforms import vjp
from minigrad.util.pytree import flatten
from minigrad.verify.derivation.backward_pass import BackwardPass
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derivation.sample import draw_sample
from minigrad.verify.pairs.pair import is_float_array

Array = Any


def to_primitive(derivation: BackwardPass) -> Callable[..., Any]:
    """The function of the derivation's inputs that records one node, with the derivation's lines as its joint rule.

    Raises:
        ValueError: a line uses the gradient of a value that has no line.
    """
    forward = derivation.forward
    run = draw_sample(forward, {}, np.random.default_rng(0)).reference.run
    named = [name for name in run.named if name not in run.outputs]  # a result may have been named "out" too
    _check_complete(derivation, named)
    results = [*run.outputs, *named]
    primitive = Primitive(
        _values(forward, named),
        joint=_joint(derivation, results, len(run.outputs)),
        signature=_signature(forward.inputs, forward.constants),
        outputs=[_operand_name(name) for name in results],
        name=derivation.name if derivation.name.isidentifier() else "derivation",
    )
    record = as_function(primitive)

    def function(*inputs: Any, **constants: Any) -> Any:
        out = record(*inputs, **constants)[: len(run.outputs)]
        return out[0] if len(run.outputs) == 1 else out

    fused: Any = function
    fused.__name__ = fused.__qualname__ = derivation.name
    fused.__signature__ = inspect.signature(forward.function)
    fused.__doc__ = forward.function.__doc__
    fused.primitive = primitive
    return fused


def _check_complete(derivation: BackwardPass, named: Sequence[str]) -> None:
    """Raise ValueError if a line uses a gradient that no line computes."""
    lines = derivation.lines
    missing = {k for line in lines.values() for k in line.gradients if k in named} - set(lines)
    if missing:
        name = min(missing)
        raise ValueError(
            f"{derivation.name} uses d{name} and has no line for it, so the backward pass could not compute it; add "
            f"@derivation.line def d{name}(...)"
        )


def _values(forward: Forward, named: Sequence[str]) -> Callable[..., tuple[Array, ...]]:
    """The forward function on arrays. It returns its outputs, then the named values, which lines may use."""

    def values(*inputs: Array, **constants: Any) -> tuple[Array, ...]:
        with no_grad(), _named_values(value_of) as by_name:
            out, _ = flatten(forward.function(*map(_tensor, inputs), **constants))
        return (*(t.data for t in out), *(by_name[name] for name in named))

    return values


@contextmanager
def _named_values(convert: Callable[[Any], Any] = lambda value: value) -> Iterator[dict[str, Any]]:
    """The converted arguments of mg.name within the block, by name."""
    values: dict[str, Any] = {}

    def store(name: str, value: Any, label: str | None) -> Any:
        values[name] = convert(value)
        return value

    token = probe.set(store)
    try:
        yield values
    finally:
        probe.reset(token)


def _tensor(x: Any) -> Any:
    """An operand for the forward function: a Tensor if it is a floating-point array; labels and masks unchanged."""
    return Tensor(x) if is_float_array(x) else x


def _operand_name(name: str) -> str:
    """The name of an operand of the primitive, changed if it is reserved."""
    return f"{name}_" if name in RESERVED else name


def _signature(inputs: Sequence[str], constants: dict[str, Any]) -> inspect.Signature:
    p = inspect.Parameter
    return inspect.Signature(
        [p(_operand_name(name), p.POSITIONAL_ONLY) for name in inputs]
        + [p(name, p.KEYWORD_ONLY, default=value) for name, value in constants.items()]
    )


def _joint(derivation: BackwardPass, results: list[str], outputs: int) -> Callable[..., Any]:
    """The joint rule: the lines in order, from the cotangents of the outputs.

    The named values are outputs of the node too, so that they are residuals. If the rule is differentiated, they have
    cotangents themselves, which are pulled through the tape of the forward function.
    """
    forward, order = derivation.forward, derivation.order()
    used = {p for line in derivation.lines.values() for p in line.parameters}
    parameters = [*forward.inputs, *(name for name in results if name in used)]
    parameters += [name for name in forward.constants if name in used]
    parameters += [name for name in forward.constants if name not in used]

    def contributions(v: Any, *values: Any) -> tuple[Any, ...]:
        names = dict(zip(parameters, values, strict=True))
        inputs = [names[name] for name in forward.inputs]
        gradients: dict[str, Any] = {}
        if any(d is not None for d in v[:outputs]):
            for name, d in zip(results[:outputs], v, strict=False):
                names[f"d{name}"] = np.zeros_like(names[name]) if d is None else d
            for t in order:
                line = derivation.lines[t]
                gradients[t] = names[f"d{t}"] = line.function(*(names[p] for p in line.parameters))
        totals = [gradients.get(name) for name in forward.inputs]
        if forward.is_unit and v[0] is not None:  # the lines assume dL/dL = 1
            totals = [total if total is None else v[0] * total for total in totals]
        if any(d is not None for d in v[outputs:]):
            through = _through_named(derivation, results[outputs:], inputs, v[outputs:], names)
            totals = [b if a is None else a if b is None else a + b for a, b in zip(totals, through, strict=True)]
        return tuple(totals)

    p = inspect.Parameter
    signature = inspect.Signature([p(name, p.POSITIONAL_OR_KEYWORD) for name in ["v", *map(_operand_name, parameters)]])
    rule: Any = contributions
    rule.__signature__ = signature
    return rule


def _through_named(
    derivation: BackwardPass, named: list[str], inputs: list[Any], v: Sequence[Any], names: dict[str, Any]
) -> list[Any]:
    """The contributions of cotangents of the named values to the inputs, by the tape of the forward function."""
    forward = derivation.forward
    differentiable = [k for k, x in enumerate(inputs) if is_float_array(x)]

    def values(*tensors: Any) -> Any:
        arguments = list(inputs)
        for k, t in zip(differentiable, tensors, strict=True):
            arguments[k] = t
        with _named_values() as by_name:
            forward.function(*arguments, **{k: names[k] for k in forward.constants})
        return tuple(by_name[name] for name, d in zip(named, v, strict=True) if d is not None)

    _, pullback = vjp(values, *(inputs[k] for k in differentiable))
    contributions: list[Any] = [None] * len(inputs)
    for k, contribution in zip(differentiable, pullback(tuple(d for d in v if d is not None)), strict=True):
        contributions[k] = contribution
    return contributions
