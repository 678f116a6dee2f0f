"""Error messages: the user's call with shapes and dtypes, and a hint."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

# What NumPy raises for a wrong call. Anything else (a floating-point error, an interrupt) passes unchanged.
ERRORS = (TypeError, ValueError, IndexError)

NUMERIC = frozenset("?" + np.typecodes["AllInteger"] + np.typecodes["AllFloat"])  # dtype characters


def describe(value: Any) -> str:
    """An argument as errors show it: (3, 4) float64 for arrays, the value itself for what is short."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, type):  # a dtype, as np.float32
        return value.__name__
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        text = repr(value)
        return text if len(text) <= 40 else f"{type(value).__name__}"
    return f"{shape} {dtype}"


def call(name: str, operands: tuple[Any, ...], params: dict[str, Any]) -> str:
    """The call as the user wrote it, with shapes and dtypes for values."""
    shown = [describe(x) for x in operands] + [f"{k}={describe(v)}" for k, v in params.items()]
    return f"{name}({', '.join(shown)})"


def explain_error(error: Exception, name: str, operands: tuple[Any, ...], params: dict[str, Any]) -> Exception:
    """The same kind of error, with the call and a hint."""
    if hasattr(error, "minigrad_call"):
        return error
    what = call(name, operands, params)
    values = [getattr(x, "data", None) for x in operands if hasattr(x, "requires_grad")]
    if "operation on Tensors" in str(error) or any(hasattr(value, "requires_grad") for value in values):
        kind: type[Exception] = TypeError
        message = (
            f"{what}: the data of an operand are a Tensor instead of an array. As p.grad is a Tensor, "
            "p.data = p.data - lr * p.grad assigns one: write `with mg.no_grad(): p -= lr * p.grad`, or "
            "p.data = p.data - lr * p.grad.data"
        )
    else:
        kind = next(k for k in (np.linalg.LinAlgError, IndexError, ValueError, TypeError) if isinstance(error, k))
        message = f"{what}: {str(error).strip()}{_hint(error, name, operands)}"
    explained: Any = kind(message)
    explained.minigrad_call = what  # so that no outer call explains it again
    return explained


def _is_finite(x: Any) -> bool:
    values = np.asarray(x.data if hasattr(x, "requires_grad") else x)
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())


def _hint(error: Exception, name: str, operands: tuple[Any, ...]) -> str:
    """What to do about an error of NumPy, or ""."""
    shapes = [np.shape(x) for x in operands]
    if isinstance(error, np.linalg.LinAlgError) and not all(_is_finite(x) for x in operands):
        return (
            "\nThere are NaN or infinity among the elements; within mg.detect_anomaly() an error says where they arise."
        )
    if "core dimension" in str(error):
        return (
            f"\nA product sums over the last axis of x, {shapes[0]}, and the next to last of y, {shapes[1]}; "
            "they must be equal: transpose one of them (y.mT)."
        )
    if "broadcast" in str(error):
        return (
            "\nShapes are matched from the last axis backwards; sizes must be equal or 1. "
            f"{' and '.join(map(str, shapes))} do not fit: insert an axis (x[:, None]) or transpose (x.mT)."
        )
    if "Singular" in str(error):
        return (
            "\nA matrix has no inverse. For a least-squares solution use mg.linalg.pinv(x) @ y; to make the matrix "
            "regular add a small multiple of the identity: x + 1e-6 * mg.eye(n)."
        )
    if "positive definite" in str(error):
        return (
            "\nx must be symmetric with positive eigenvalues. If rounding made the smallest one negative, add a small "
            "multiple of the identity: x + 1e-6 * mg.eye(n)."
        )
    if isinstance(error, TypeError) and "ufunc" in str(error):
        cast = "x.astype(int) or x.astype(bool)" if "bit" in name or "shift" in name else "x.astype(float)"
        return f"\nConvert the operands first: {cast}."
    return ""


def constant(value: Any, name: str) -> Any:
    """The value of an operand that is not a Tensor: a number, an array, or an object with NumPy's protocols."""
    if type(value) is np.ndarray and value.dtype.char in NUMERIC:
        return value
    if is_masked(value) or isinstance(value, np.matrix):
        raise TypeError(
            f"{name}: an operand is a {type(value).__name__}, whose arithmetic is not that of arrays. Convert it "
            "first, for example masked.filled(0) or np.asarray(matrix)."
        )
    if isinstance(value, np.generic) or (hasattr(value, "__array_function__") and hasattr(value, "dtype")):
        if value.dtype.char in NUMERIC:
            kind: Any = type(value)
            return value.view(np.ndarray) if _is_plain_subclass(kind) else value
        raise TypeError(
            f"{name}: an operand has dtype {value.dtype}; minigrad computes with numbers and booleans. "
            "Convert it first, for example x.astype(float)."
        )
    if isinstance(value, (list, tuple, int, float, complex)):
        return constant(np.asarray(value), name)
    if hasattr(value, "__array__"):
        return constant(np.asarray(value), name)
    hint = " To test whether a variable is None, write `t is None`." if value is None and "equal" in name else ""
    raise TypeError(
        f"{name}: an operand is {describe(value)} ({type(value).__name__}); it must be a number, an array or a "
        f"Tensor.{hint}"
    )


@functools.lru_cache(maxsize=256)
def _is_plain_subclass(kind: Any) -> bool:
    """Whether a class of arrays leaves NumPy's protocols unchanged, as np.memmap and np.recarray do."""
    return issubclass(kind, np.ndarray) and all(
        getattr(kind, name) is getattr(np.ndarray, name) for name in ("__array_ufunc__", "__array_function__")
    )


def complex_refused(what: str) -> TypeError:
    """The error for a derivative that passed through complex numbers."""
    return TypeError(
        f"{what}: a complex number was computed on the way. Gradients are defined for real numbers only; compute real "
        "and imaginary parts separately, as real arrays"
    )


def refuse_mask(value: Any, what: str) -> None:
    """Raise a TypeError for a masked array: no operation keeps a mask, so masked elements would take part."""
    if is_masked(value):
        raise TypeError(
            f"{what}: the mask of a masked array would be lost. Fill it first, x.filled(0), or take the elements that "
            "are not masked, x.compressed()"
        )


def is_masked(value: Any) -> bool:
    """Whether this is an array with a mask, by the names of its classes.

    numpy.ma is not imported for this. Nor is it looked up in sys.modules, where it may be half imported by another
    thread.
    """
    kind = type(value)
    return kind is not np.ndarray and any(
        c.__name__ == "MaskedArray" and c.__module__.startswith("numpy.ma") for c in kind.__mro__
    )


def check_function(f: Any, what: str, hint: str) -> None:
    """Raise a TypeError unless f can be called. The hint says what to do with a Tensor, most often the loss."""
    if not callable(f):
        hint = f"; for a Tensor {hint}" if hasattr(f, "requires_grad") else ""
        raise TypeError(f"{what} takes a function, not {describe(f)} ({type(f).__name__}){hint}")


def check_not_called(arguments: tuple[Any, ...], what: str) -> None:
    """Raise a TypeError for arguments beside a function where only the function is taken."""
    if arguments:
        raise TypeError(
            f"{what} takes a function and returns one, which takes the arguments: mg.{what}(f)(x), not mg.{what}(f, x)"
        )


def derivative_failed(error: Exception, node: Any, where: str) -> Exception:
    """An error of linear algebra in a rule, with the user's operation, as the rule may call others."""
    explained: Any = np.linalg.LinAlgError(f"in {where} {node.primitive.name}: {error}")
    explained.minigrad_call = node.primitive.name
    return explained
