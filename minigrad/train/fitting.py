"""Checks of what fit receives: its arguments before it begins, then batches, losses and metrics.

An error names the argument, its value, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.data import DataLoader
from minigrad.engine.errors import describe
from minigrad.tensor.tensor import Tensor

HOOKS = ("on_step_end", "on_epoch_end", "on_end")
FOREIGN_HOOKS = (  # of Keras and Lightning, which fit does not call
    "on_batch_begin", "on_batch_end", "on_epoch_begin", "on_step_begin", "on_train_batch_begin", "on_train_batch_end",
    "on_train_begin", "on_train_end", "on_train_epoch_end", "on_train_epoch_start", "on_train_start",
    "on_validation_epoch_end",
)  # fmt: skip
VALIDATION_ROWS = 256  # in a batch, if validation is arrays


def check_parts(model: Any, loss: Any, optimizer: Any, epochs: Any) -> None:
    """Check the model, the loss, the optimizer and the number of epochs."""
    if isinstance(model, type) or not (callable(model) and hasattr(model, "train") and hasattr(model, "eval")):
        raise TypeError(f"fit(model={_shown(model)}): give an nn.Module{_class_hint(model)}")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(
            f"fit(loss={_shown(loss)}): give a function of the model's output and the target, such as "
            f"mg.functional.mse_loss{_class_hint(loss)}"
        )
    if isinstance(optimizer, type) or not (hasattr(optimizer, "step") and hasattr(optimizer, "zero_grad")):
        raise TypeError(
            f"fit(optimizer={_shown(optimizer)}): give an optimizer over the model's parameters, such as "
            "optim.Adam(model.parameters())"
        )
    if getattr(optimizer, "needs_closure", False):
        raise TypeError(
            f"fit(optimizer={type(optimizer).__name__}): its step calls a closure several times, for one loss without "
            "noise, and fit steps once for each batch. Write optimizer.step(closure) in a loop, where closure calls "
            "zero_grad and backward and returns the loss; or take optim.Adam"
        )
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
        raise ValueError(f"fit(epochs={epochs!r}): must be an integer, at least 0")


def checked_callbacks(callbacks: Any) -> list[Any]:
    """The callbacks as a list, each with a hook; those with `is_last` come at the end."""
    if callbacks is None:
        return []
    if isinstance(callbacks, (str, Mapping)) or _has_hook(callbacks) or not isinstance(callbacks, Iterable):
        raise TypeError(
            f"fit(callbacks={_shown(callbacks)}): give a list of callbacks"
            + (f", [{type(callbacks).__name__}(...)]" if _has_hook(callbacks) else "")
        )
    result = list(callbacks)
    for k, callback in enumerate(result):
        unknown = [name for name in FOREIGN_HOOKS if callable(getattr(callback, name, None))]
        if isinstance(callback, type) or unknown or not _has_hook(callback):
            why = f" {', '.join(unknown)} would never be called." if unknown else ""
            raise TypeError(
                f"fit(callbacks=...): callback {k} is {_shown(callback)}{_class_hint(callback)}.{why} A callback is an "
                f"object with {', '.join(HOOKS[:-1])} or {HOOKS[-1]}, each called with the Training, or with step, "
                "which is called after each epoch"
            )
    return sorted(result, key=lambda callback: getattr(callback, "is_last", False))


def checked_metrics(metrics: Any) -> dict[str, Any]:
    """The metrics by name: functions, whose names mean nothing else in the history."""
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise TypeError(f'fit(metrics={_shown(metrics)}): give a dictionary of functions, {{"accuracy": accuracy}}')
    for name, metric in metrics.items():
        if not isinstance(name, str) or isinstance(metric, type) or not callable(metric):
            raise TypeError(
                f"fit(metrics={{{name!r}: {_shown(metric)}}}): give functions of the model's output and the target, "
                f"by name{_class_hint(metric)}"
            )
        if name == "loss" or name.startswith("val_"):
            raise ValueError(
                f"fit(metrics={{{name!r}: ...}}): in the history, 'loss' is the loss, and names that begin with 'val_' "
                "are those of measures on the validation batches; take another name"
            )
    return dict(metrics)


def checked_loader(loader: Any) -> Any:
    """The loader, if it is an iterable of batches, and not of arrays."""
    if _is_array(loader) or _are_arrays(loader) or not isinstance(loader, Iterable):
        raise TypeError(f"fit(loader={_shown(loader)}): give batches: DataLoader(x, y, batch_size=32, shuffle=True)")
    return loader


def checked_validation(validation: Any) -> Any:
    """The batches for validation; arrays (input, ..., target) are split into batches."""
    if validation is None:
        return None
    if _are_arrays(validation) and len(validation) > 1:
        return DataLoader(*validation, batch_size=VALIDATION_ROWS)
    if _is_array(validation) or _are_arrays(validation) or not isinstance(validation, Iterable):
        raise TypeError(
            f"fit(validation={_shown(validation)}): give batches, DataLoader(x, y, batch_size=256), or arrays, (x, y)"
        )
    return validation


def inputs_and_target(batch: Any) -> tuple[list[Any], Any]:
    """The two parts of a batch. An array is refused, as its rows would be taken for inputs and a target."""
    if not isinstance(batch, (tuple, list)):
        raise TypeError(
            f"fit: a batch is {describe(batch)} ({type(batch).__name__}); batches are tuples (input, ..., target): "
            "DataLoader(x, y, ...). A model that has its input for a target takes DataLoader(x, x, ...)"
        )
    if len(batch) < 2:
        raise ValueError(
            f"fit: a batch has {len(batch)} parts; it needs an input and a target: DataLoader(x, y, ...), or "
            "DataLoader(x, x, ...) for a model that has its input for a target"
        )
    *inputs, target = batch
    if not hasattr(target, "__len__") or getattr(target, "shape", None) == ():
        raise ValueError("fit: the target of a batch is a single number; it needs an axis for the rows of the batch")
    return inputs, target


def loss_error(value: Any) -> Exception:
    """The error for a loss that is not a Tensor with a single number."""
    if isinstance(value, (Tensor, np.ndarray)) and value.size != 1:
        return ValueError(
            f"fit: the loss has shape {value.shape}, and training needs a single number; return its mean, loss.mean()"
        )
    return TypeError(f"fit: the loss is {describe(value)} ({type(value).__name__}); it must be a Tensor, one number")


def metric_values(metrics: Mapping[str, Callable[[Any, Any], Any]], out: Any, target: Any) -> dict[str, float]:
    """The metrics of one batch, each a single number."""
    out = out.detach() if isinstance(out, Tensor) else out
    return {name: _number(name, metric(out, target)) for name, metric in metrics.items()}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        is_array = np.ndim(value) > 0 if hasattr(value, "shape") else False
        hint = "; return its mean" if is_array else "; is a return missing?" if value is None else ""
        raise type(error)(
            f"fit: the metric {name!r} returned {describe(value)} ({type(value).__name__}), and it must be a single "
            f"number{hint}"
        ) from error


def _has_hook(x: Any) -> bool:
    return any(callable(getattr(x, name, None)) for name in (*HOOKS, "step"))


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _are_arrays(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str) and len(x) > 0 and all(map(_is_array, x))


def _shown(x: Any) -> str:
    if isinstance(x, (tuple, list)):
        inside = ", ".join(_shown(part) for part in x[:3]) + (", ..." if len(x) > 3 else "")
        return f"[{inside}]" if isinstance(x, list) else f"({inside})"
    return describe(x)


def _class_hint(x: Any) -> str:
    return f"; write {x.__name__}(...), not the class" if isinstance(x, type) else ""
