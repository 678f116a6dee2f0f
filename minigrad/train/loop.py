"""fit: the training loop, with history, early stopping, checkpoints and exact resume.

It does nothing that twenty lines could not do; `examples/digits_mlp.py` shows those lines as well.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from minigrad import io
from minigrad.engine import modes
from minigrad.engine.modes import no_grad
from minigrad.tensor.tensor import Tensor
from minigrad.train import fitting, run_state
from minigrad.train.progress import Bar
from minigrad.util.gc_tuning import tuned_gc

Metric = Callable[[Any, Any], Any]


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


@dataclass
class History:
    """What was measured in each epoch: `history["loss"]` is a list with a number for each.

    `print(history)` shows a table, `dict(history)` are the lists by name. Its length is the number of epochs.
    """

    epochs: dict[str, list[float]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> list[float]:
        return self.epochs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.epochs)

    def __contains__(self, name: object) -> bool:
        return name in self.epochs

    def keys(self) -> Iterable[str]:
        """What was measured; so `dict(history)` are the lists by name."""
        return self.epochs.keys()

    def last(self, name: str) -> float:
        """What was measured in the last epoch.

        Raises:
            ValueError: nothing of this name was measured.
        """
        if name not in self.epochs:
            raise ValueError(
                f"{name!r} is not measured; there is {', '.join(self.epochs)}. Give validation= or metrics="
            )
        return self.epochs[name][-1]

    def __len__(self) -> int:
        return max(map(len, self.epochs.values()), default=0)

    def add(self, values: Mapping[str, float]) -> None:
        """One more epoch."""
        for name, value in values.items():
            self.epochs.setdefault(name, []).append(float(value))

    def __str__(self) -> str:
        rows = [["epoch", *self.epochs]]
        rows += [[str(k + 1), *(f"{v[k]:.4g}" for v in self.epochs.values())] for k in range(len(self))]
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


@dataclass
class Training:
    """What callbacks see, and may change: set `stop` to end after this epoch."""

    model: Any
    optimizer: Any
    history: History
    loader: Any = None
    callbacks: Sequence[Any] = ()
    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps, over all epochs
    stop: bool = False
    loss: Any = None
    metrics: Any = None
    validation: Any = None

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return run_state.taken(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state` was taken.

        Raises:
            ValueError: it does not fit; nothing is changed then.
        """
        run_state.put(self, state)


def fit(
    model: Any,
    loader: Iterable[Any],
    loss: Callable[[Any, Any], Tensor],
    optimizer: Any,
    epochs: int,
    *,
    validation: Iterable[Any] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    callbacks: Iterable[Any] | None = (),
    resume: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Train a model.

    Args:
        model: an nn.Module, called with all arrays of a batch but the last.
        loader: gives batches (input, ..., target); a DataLoader.
        loss: a function of the model's output and the target.
        optimizer: over the model's parameters.
        epochs: how many there are in all, also after a resume.
        validation: batches, or arrays (input, ..., target), on which loss and metrics are measured after each epoch,
            in evaluation mode: "val_loss", ...
        metrics: functions of output and target, by name, that return a number; their means over the rows are measured.
        callbacks: objects with on_step_end, on_epoch_end or on_end, each called with the Training; a learning-rate
            schedule (an object with `step`) is stepped after each epoch. What a callback returns from a state_dict()
            of its own is saved by Checkpoint, and resume gives it to its load_state_dict(state).
        resume: a file that Checkpoint wrote: training goes on as if it had not been interrupted, bit for bit. Give the
            same callbacks. A training that had ended, because a callback stopped it, stays ended. Generators of random
            numbers are found in the model, loader, loss, metrics and callbacks, and in functions that these call.
            Numbers that your own objects count up are in the file if they have state_dict() and load_state_dict().
        progress: whether to show a bar in a terminal.

    Returns:
        The history: history["loss"], history["val_loss"], and the metrics, a number for each epoch.

    Raises:
        NonFiniteLoss: the loss became NaN or infinite; the error names the step. Parameters are those before it.
        TypeError: an argument is of another kind than said here, or a batch, the loss or a metric is.
        ValueError: there are no batches, or epochs is no whole number or negative; the loss is not a single number; the
            file of resume is damaged or does not fit.

    Each epoch begins with model.train(), also for parts that were in evaluation mode before: a BatchNorm whose
    parameters are frozen goes on moving its running statistics. To keep all of it as it is, put it into evaluation mode
    before each of its calls:

        def keep_frozen(module, inputs):
            module.eval()

        norm.requires_grad_(False)
        norm.register_forward_pre_hook(keep_frozen)

    However it ends, also by an interrupt, all modules are in the mode (training or evaluation) in which they were
    before, and so is the recording of gradients.

    Example:
        >>> import numpy as np
        >>> import minigrad as mg
        >>> from minigrad import nn, optim
        >>> from minigrad.data import DataLoader
        >>> x = np.random.default_rng(0).normal(size=(64, 3))
        >>> y = x @ np.array([[1.0], [-2.0], [0.5]])
        >>> model = nn.Linear(3, 1, rng=0)
        >>> loader = DataLoader(x, y, batch_size=16, shuffle=True, rng=0)
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> history = fit(model, loader, mg.functional.mse_loss, optimizer, epochs=20, progress=False)
        >>> history["loss"][-1] < 1e-3
        True
    """
    fitting.check_parts(model, loss, optimizer, epochs)
    callbacks = fitting.checked_callbacks(callbacks)
    training = Training(model, optimizer, History(), fitting.checked_loader(loader), callbacks)
    training.loss, training.metrics = loss, fitting.checked_metrics(metrics)
    training.validation = fitting.checked_validation(validation)
    if resume is not None:
        training.load(io.load(resume))
    before = _modes(model)
    try:
        try:
            with tuned_gc(), Bar(training, epochs) if progress else nullcontext() as bar:
                _run(training, epochs, [*callbacks, bar] if bar else callbacks)
            _call(callbacks, "on_end", training)
        finally:
            _put_modes(before)
    finally:  # an interrupt may come at any time, also into the other one
        _put_modes(before)
    return training.history


def _run(training: Training, epochs: int, called: Sequence[Any]) -> None:
    """All epochs that are left."""
    loss, metrics = training.loss, training.metrics
    while training.epoch < epochs and not training.stop:
        measured = _epoch(training, loss, metrics, called)
        if training.validation is not None:
            values = evaluate(training.model, training.validation, loss, metrics)
            measured |= {f"val_{name}": value for name, value in values.items()}
        training.history.add(measured)
        training.epoch += 1
        _call(called, "on_epoch_end", training)


Modes = tuple[list[tuple[dict[str, Any], Any]], Any]  # attributes of modules, what they have for "training"; grad mode


def _modes(model: Any) -> Modes:
    """Training or evaluation of each module, and whether gradients are recorded."""
    modules = model.modules() if hasattr(model, "modules") else [model]
    return [(vars(module), vars(module).get("training")) for module in modules], modes.suspended()


def _put_modes(before: Modes) -> None:
    """Put the modes back, also those of modules that train() and eval() do not reach at once."""
    attributes, recording = before
    modes.resumed(recording)
    for own, mode in attributes:
        if mode is None:
            own.pop("training", None)
        else:
            own["training"] = mode


def evaluate(
    model: Any, loader: Iterable[Any], loss: Callable[[Any, Any], Any], metrics: Mapping[str, Metric] | None = None
) -> dict[str, float]:
    """The mean loss and metrics over all rows, in evaluation mode; all modes are put back afterwards.

    Raises:
        TypeError: a batch, the loss or a metric is of another kind than `fit` says.
        ValueError: there are no batches; the loss is not a single number.
    """
    metrics = fitting.checked_metrics(metrics)
    before = _modes(model)
    mean = _Means()
    try:
        try:
            model.eval()
            with no_grad():
                for batch in loader:
                    inputs, target = fitting.inputs_and_target(batch)
                    out = model(*inputs)
                    value = _number(loss(out, target))
                    mean.add(len(target), {"loss": value} | fitting.measured(metrics, out, target))
        finally:
            _put_modes(before)
    finally:
        _put_modes(before)
    return mean.values()


def _epoch(
    training: Training,
    loss: Callable[[Any, Any], Tensor],
    metrics: Mapping[str, Metric],
    callbacks: Sequence[Any],
) -> dict[str, float]:
    """One pass through the loader."""
    training.model.train()
    mean = _Means()
    for batch in training.loader:
        inputs, target = fitting.inputs_and_target(batch)
        training.optimizer.zero_grad()
        out = training.model(*inputs)
        value = loss(out, target)
        number = _number(value)
        if not math.isfinite(number):
            raise NonFiniteLoss(
                f"fit: the loss is {number} in step {training.step + 1} (epoch {training.epoch + 1}). The "
                "parameters are those before this step. Lower the learning rate, clip the gradients "
                "(global_clipnorm=1.0), or scale the inputs; a checkpoint of the last epoch is unharmed"
            )
        if not hasattr(value, "backward"):
            raise fitting.loss_error(value)
        value.backward()
        training.optimizer.step()
        training.step += 1
        with no_grad():
            mean.add(len(target), {"loss": number} | fitting.measured(metrics, out, target))
        _call(callbacks, "on_step_end", training)
    return mean.values()


def _number(loss: Any) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError) as error:
        raise fitting.loss_error(loss) from error


class _Means:
    """Means over rows."""

    def __init__(self) -> None:
        self.rows, self.totals = 0, dict[str, float]()

    def add(self, rows: int, values: Mapping[str, float]) -> None:
        """Means over the rows of one batch."""
        self.rows += rows
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + rows * value

    def values(self) -> dict[str, float]:
        if not self.rows:
            raise ValueError("fit: the loader gave no batches; is it an iterator that was used up? Give a DataLoader")
        return {name: total / self.rows for name, total in self.totals.items()}


def _call(callbacks: Sequence[Any], event: str, training: Training) -> None:
    for callback in callbacks:
        act = getattr(callback, event, None)
        if act is not None:
            act(training)
        elif event == "on_epoch_end" and hasattr(callback, "step"):
            callback.step()
