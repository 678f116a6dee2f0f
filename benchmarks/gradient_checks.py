"""Gradient checks of other libraries, applied to the chained lines of a derivation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.verify import Derivation
from minigrad.verify.derivation.backward_pass import CannotRun

Vjp = Callable[..., tuple[Any, ...]]


def value_and_vjp(d: Derivation, arguments: dict[str, Any]) -> tuple[list[str], Callable[..., Any], Vjp]:
    """The inputs, the function on arrays, and its backward pass by the derivation's lines only."""
    inputs = d.forward.run(arguments, record=False).inputs

    def value(*arrays: Any) -> tuple[Any, ...]:
        by_name = dict(zip(inputs, (np.asarray(a) for a in arrays), strict=True))
        run = d.forward.run({**arguments, **by_name}, record=False)
        return tuple(run.values[k] for k in run.outputs)

    def vjp(arrays: Any, cotangents: Any) -> tuple[Any, ...]:
        by_name = dict(zip(inputs, (np.asarray(a) for a in arrays), strict=True))
        run = d.forward.run({**arguments, **by_name}, record=False)
        names = dict(run.values) | {f"d{k}": np.asarray(v) for k, v in zip(run.outputs, cotangents, strict=True)}
        for t in d.order():
            names[f"d{t}"] = d.evaluate(d.lines[t], names)
        return tuple(names[f"d{k}"] for k in inputs)

    return inputs, value, vjp


def peers() -> dict[str, Callable[[Derivation, dict[str, Any]], bool]]:
    """Checks of the chained gradient by other libraries, by name. They return True if they accept it."""
    checks: dict[str, Callable[[Derivation, dict[str, Any]], bool]] = {}
    with contextlib.suppress(ImportError):
        import torch

        def gradcheck(d: Derivation, arguments: dict[str, Any], fast: bool) -> bool:
            inputs, value, vjp = value_and_vjp(d, arguments)

            class Function(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, *tensors: Any) -> Any:
                    ctx.save_for_backward(*tensors)
                    out = tuple(torch.as_tensor(np.array(v)) for v in value(*(t.detach().numpy() for t in tensors)))
                    return out[0] if len(out) == 1 else out

                @staticmethod
                def backward(ctx: Any, *cotangents: Any) -> Any:
                    arrays = [t.detach().numpy() for t in ctx.saved_tensors]
                    gradients = vjp(arrays, [c.detach().numpy() for c in cotangents])
                    return tuple(torch.as_tensor(np.array(g)) for g in gradients)

            tensors = tuple(torch.tensor(arguments[k], requires_grad=True) for k in inputs)
            try:
                return bool(torch.autograd.gradcheck(Function.apply, tensors, fast_mode=fast, raise_exception=False))
            except (RuntimeError, ValueError, CannotRun):
                return False

        checks["gradcheck"] = lambda d, arguments: gradcheck(d, arguments, fast=False)
        checks["gradcheck fast"] = lambda d, arguments: gradcheck(d, arguments, fast=True)
    with contextlib.suppress(ImportError):
        import jax
        from jax.test_util import check_vjp

        jax.config.update("jax_enable_x64", True)

        def check(d: Derivation, arguments: dict[str, Any]) -> bool:
            inputs, value, vjp = value_and_vjp(d, arguments)
            try:
                check_vjp(value, lambda *a: (value(*a), lambda v: vjp(a, v)), tuple(arguments[k] for k in inputs))
            except (AssertionError, ValueError, TypeError, CannotRun):
                return False
            return True

        checks["jax check_vjp"] = check
    return checks
