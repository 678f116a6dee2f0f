"""From a proven derivation to a primitive: one line on the tape whose backward pass is the derivation's lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.modes import no_grad
from minigrad.engine.primitive import RESERVED, Primitive, as_function
from minigrad.tensor.naming import probe
from minigrad.tensor.tensor import Tensor
from minigrad.tensor.transforms import vjp
from minigrad.util.pytree import flatten
from minigrad.verify.samples import draw

if TYPE_CHECKING:
    from minigrad.verify.derivation import Derivation
    from minigrad.verify.forward import Forward

Array = Any


def fused(derivation: Derivation) -> Callable[..., Any]:
    """A function of the derivation's inputs, recorded as one line, with the derivation's lines as its joint rule."""
    forward = derivation.forward
    _refuse_unproven(derivation)
    run = draw(forward, {}, np.random.default_rng(0)).truth.run
    _refuse_open_ends(derivation, run.named)
    results = [*run.outputs, *run.named]
    made = Primitive(
        _values(forward, run.named),
        joint=_joint(derivation, results, len(run.outputs)),
        signature=_signature(forward.inputs, forward.constants),
        outputs=[_own(name) for name in results],
        name=derivation.name if derivation.name.isidentifier() else "derivation",
    )
    record = as_function(made)

    def function(*inputs: Any, **constants: Any) -> Any:
        out = record(*inputs, **constants)[: len(run.outputs)]
        return out[0] if len(run.outputs) == 1 else out

    function.__name__ = function.__qualname__ = derivation.name
    function.__signature__ = inspect.signature(forward.function)  # type: ignore[attr-defined]
    function.__doc__ = forward.function.__doc__
    function.primitive = made  # type: ignore[attr-defined]
    return function


def _refuse_unproven(derivation: Derivation) -> None:
    if derivation.proven:
        return
    report = derivation.check()
    if not report.ok:
        raise ValueError(f"{derivation.name} is not proven, so it cannot be fused:\n{report}")
    if report.missing:
        raise ValueError(
            f"{derivation.name} has no line for {', '.join(report.missing)}, whose gradient would be lost; add "
            f"d{report.missing[0]}"
        )


def _refuse_open_ends(derivation: Derivation, named: Sequence[str]) -> None:
    """A gradient that a line uses must have a line of its own, or the backward pass could not compute it."""
    lines = derivation.lines
    open_ends = {k for line in lines.values() for k in line.gradients if k in named} - set(lines)
    if open_ends:
        name = min(open_ends)
        raise ValueError(
            f"{derivation.name} uses d{name} and has no line for it, so the backward pass could not compute it; add "
            f"@derivation.line def d{name}(...)"
        )


def _values(forward: Forward, named: Sequence[str]) -> Callable[..., tuple[Array, ...]]:
    """The forward function on arrays. It returns its outputs, then the named values, which the lines use."""

    def values(*inputs: Array, **constants: Any) -> tuple[Array, ...]:
        found: dict[str, Array] = {}

        def remember(name: str, value: Any, label: str | None) -> Any:
            found[name] = value.data if isinstance(value, Tensor) else value
            return value

        token = probe.set(remember)
        try:
            with no_grad():
                out, _ = flatten(forward.function(*map(_tensor, inputs), **constants))
        finally:
            probe.reset(token)
        return (*(t.data for t in out), *(found[name] for name in named))

    return values


def _tensor(x: Any) -> Any:
    """An operand as the forward function expects it: floating-point arrays as Tensors, labels and masks as they are."""
    return Tensor(x) if getattr(getattr(x, "dtype", None), "kind", "") == "f" else x


def _own(name: str) -> str:
    """The name of an operand in the primitive, where that of the derivation is taken."""
    return f"{name}_" if name in RESERVED else name


def _signature(inputs: Sequence[str], constants: dict[str, Any]) -> inspect.Signature:
    p = inspect.Parameter
    return inspect.Signature(
        [p(_own(name), p.POSITIONAL_ONLY) for name in inputs]
        + [p(name, p.KEYWORD_ONLY, default=value) for name, value in constants.items()]
    )


def _joint(derivation: Derivation, results: list[str], outputs: int) -> Callable[..., Any]:
    """The joint rule: the lines one after the other, from the cotangents of the outputs.

    The named values are outputs of the line too, so that they are kept. When the rule is differentiated they get
    cotangents themselves; those go back through the forward function's own tape.
    """
    forward, order = derivation.forward, derivation.order()
    used = {p for line in derivation.lines.values() for p in line.parameters}
    kept = [name for name in (*forward.inputs, *results, *forward.constants) if name in used or name in forward.inputs]
    if any(name not in kept for name in forward.constants):
        kept += [name for name in forward.constants if name not in kept]

    def contributions(v: Any, *values: Any) -> tuple[Any, ...]:
        known = dict(zip(kept, values, strict=True))
        inputs = [known[name] for name in forward.inputs]
        found: dict[str, Any] = {}
        if any(d is not None for d in v[:outputs]):
            for name, d in zip(results[:outputs], v, strict=False):
                known[f"d{name}"] = np.zeros_like(known[name]) if d is None else d
            for t in order:
                line = derivation.lines[t]
                found[t] = known[f"d{t}"] = line.function(*(known[p] for p in line.parameters))
        totals = [found.get(name) for name in forward.inputs]
        if forward.is_unit and v[0] is not None:  # the lines are those of dL/dL = 1
            totals = [total if total is None else v[0] * total for total in totals]
        if any(d is not None for d in v[outputs:]):
            through = _through_named(derivation, results[outputs:], inputs, v[outputs:], known)
            totals = [b if a is None else a if b is None else a + b for a, b in zip(totals, through, strict=True)]
        return tuple(totals)

    p = inspect.Parameter
    signature = inspect.Signature([p(name, p.POSITIONAL_OR_KEYWORD) for name in ["v", *map(_own, kept)]])
    contributions.__signature__ = signature  # type: ignore[attr-defined]
    return contributions


def _through_named(
    derivation: Derivation, named: list[str], inputs: list[Any], v: Sequence[Any], known: dict[str, Any]
) -> list[Any]:
    """What cotangents of the named values hand to the inputs, by the tape of the forward function."""
    forward = derivation.forward
    moving = [k for k, x in enumerate(inputs) if x.dtype.kind == "f"]

    def values(*tensors: Any) -> Any:
        found: dict[str, Any] = {}

        def remember(name: str, value: Any, label: str | None) -> Any:
            found[name] = value
            return value

        arguments = list(inputs)
        for k, t in zip(moving, tensors, strict=True):
            arguments[k] = t
        token = probe.set(remember)
        try:
            forward.function(*arguments, **{k: known[k] for k in forward.constants})
        finally:
            probe.reset(token)
        return tuple(found[name] for name, d in zip(named, v, strict=True) if d is not None)

    _, pullback = vjp(values, *(inputs[k] for k in moving))
    contributions: list[Any] = [None] * len(inputs)
    for k, contribution in zip(moving, pullback(tuple(d for d in v if d is not None)), strict=True):
        contributions[k] = contribution
    return contributions
