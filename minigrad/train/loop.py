"""fit: the training loop, with history, early stopping, checkpoints and exact resume.

A loop of your own takes twenty lines; `examples/digits_mlp.py` shows both.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from minigrad import io
from minigrad.engine import modes
from minigrad.engine.modes import no_grad
from minigrad.tensor.tensor import Tensor
from minigrad.train import fitting
from minigrad.train.run_state import History, Training
from minigrad.util.memory_tuning import tuned_gc

Metric = Callable[[Any, Any], Any]


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite."""


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
        epochs: the number of epochs in all, also after a resume.
        validation: batches, or arrays (input, ..., target), on which loss and metrics are measured after each epoch,
            in evaluation mode: "val_loss", ...
        metrics: functions of output and target, by name, that return a number; their means over the rows are measured.
        callbacks: objects with on_step_end, on_epoch_end or on_end, each called with the Training; a learning-rate
            schedule (an object with `step`) is stepped after each epoch. If a callback has state_dict() and
            load_state_dict(state), Checkpoint saves its state, and resume loads it.
        resume: a file that Checkpoint wrote: training continues as if it had not been interrupted, bit for bit. Give
            the same callbacks. A training that a callback stopped stays stopped. Generators of random numbers are
            found in the model, loader, loss, metrics and callbacks, and in functions that these call. State of your own
            objects is in the file if they have state_dict() and load_state_dict().
        progress: whether to show a bar in a terminal.

    Returns:
        The history: history["loss"], history["val_loss"], and the metrics, a number for each epoch.

    Raises:
        NonFiniteLoss: the loss became NaN or infinite; the error names the step. Parameters are those before it.
        TypeError: an argument, a batch, the loss or a metric has the wrong type.
        ValueError: there are no batches; epochs is not an integer or is negative; the loss is not a single number; the
            file to resume from is damaged or does not fit.

    Each epoch begins with model.train(), also for modules that were in evaluation mode: a BatchNorm whose parameters
    are frozen still updates its running statistics. To freeze these too, set evaluation mode before each of its calls:

        def keep_frozen(module, inputs):
            module.eval()

        norm.requires_grad_(False)
        norm.register_forward_pre_hook(keep_frozen)

    Afterwards, also after an error or an interrupt, all modules are in the mode (training or evaluation) that they had
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
            with tuned_gc(), ProgressBar(training, epochs) if progress else nullcontext() as bar:
                _run_epochs(training, epochs, [*callbacks, bar] if bar else callbacks)
            _call(callbacks, "on_end", training)
        finally:
            _restore_modes(before)
    finally:  # an interrupt may come at any time, also during the inner one
        _restore_modes(before)
    return training.history


def _run_epochs(training: Training, epochs: int, callbacks: Sequence[Any]) -> None:
    """Run the remaining epochs."""
    loss, metrics = training.loss, training.metrics
    while training.epoch < epochs and not training.stop:
        measures = _run_epoch(training, loss, metrics, callbacks)
        if training.validation is not None:
            values = evaluate(training.model, training.validation, loss, metrics)
            measures |= {f"val_{name}": value for name, value in values.items()}
        training.history.add(measures)
        training.epoch += 1
        _call(callbacks, "on_epoch_end", training)


Modes = tuple[list[tuple[dict[str, Any], Any]], Any]  # attributes of each module, its training mode; the grad mode


def _modes(model: Any) -> Modes:
    """The mode (training or evaluation) of each module, and whether gradients are recorded."""
    modules = model.modules() if hasattr(model, "modules") else [model]
    return [(vars(module), vars(module).get("training")) for module in modules], modes.suspended()


def _restore_modes(before: Modes) -> None:
    """Restore the modes of all modules."""
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
    """The mean loss and metrics over all rows, in evaluation mode. All modes are restored afterwards.

    Raises:
        TypeError: a batch, the loss or a metric has the wrong type, as in `fit`.
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
                    mean.add(len(target), {"loss": value} | fitting.metric_values(metrics, out, target))
        finally:
            _restore_modes(before)
    finally:
        _restore_modes(before)
    return mean.values()


def _run_epoch(
    training: Training,
    loss: Callable[[Any, Any], Tensor],
    metrics: Mapping[str, Metric],
    callbacks: Sequence[Any],
) -> dict[str, float]:
    """Run one pass through the loader. Returns the means of the loss and the metrics."""
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
                "(global_clipnorm=1.0), or scale the inputs; a checkpoint of the last epoch is not affected"
            )
        if not hasattr(value, "backward"):
            raise fitting.loss_error(value)
        value.backward()
        training.optimizer.step()
        training.step += 1
        with no_grad():
            mean.add(len(target), {"loss": number} | fitting.metric_values(metrics, out, target))
        _call(callbacks, "on_step_end", training)
    return mean.values()


def _number(loss: Any) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError) as error:
        raise fitting.loss_error(loss) from error


class _Means:
    """Means of several values over rows."""

    def __init__(self) -> None:
        self.rows, self.totals = 0, dict[str, float]()

    def add(self, rows: int, values: Mapping[str, float]) -> None:
        """Add the means over the rows of one batch."""
        self.rows += rows
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + rows * value

    def values(self) -> dict[str, float]:
        if not self.rows:
            raise ValueError("fit: the loader has no batches; is it an iterator that was used up? Give a DataLoader")
        return {name: total / self.rows for name, total in self.totals.items()}


def _call(callbacks: Sequence[Any], event: str, training: Training) -> None:
    for callback in callbacks:
        hook = getattr(callback, event, None)
        if hook is not None:
            hook(training)
        elif event == "on_epoch_end" and hasattr(callback, "step"):
            callback.step()


class ProgressBar:
    """A progress bar in a terminal, with the last measures. It is a callback, called after the others."""

    WIDTH = 16

    def __init__(self, training: Training, epochs: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        # In a narrow terminal the measures take several lines, and a measure wider than the terminal is broken.
        measured = TextColumn("{task.fields[measured]}", table_column=Column(overflow="fold"))
        self._bar = BarColumn(self.WIDTH)
        columns = (TextColumn("epoch"), MofNCompleteColumn(), self._bar, measured, TimeRemainingColumn())
        self._progress = Progress(*columns)
        self._fixed_width = len(f"epoch {epochs}/{epochs}   -:--:-- ")  # of the columns without bar and measures
        self._task = self._progress.add_task("", total=epochs, completed=training.epoch, measured="")
        self._steps = len(training.loader) if hasattr(training.loader, "__len__") else 0

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def on_step_end(self, training: Training) -> None:
        """Advance within the epoch, if the number of steps is known."""
        if self._steps:
            self._progress.update(self._task, advance=1 / self._steps)

    def on_epoch_end(self, training: Training) -> None:
        """Show the measures of the epoch."""
        measures = [f"{name}={values[-1]:.4g}" for name, values in training.history.epochs.items()]
        available = self._progress.console.width - self._fixed_width - max(map(len, measures), default=0)
        self._bar.bar_width = min(self.WIDTH, max(available, 1))  # the bar shrinks, the measures keep all digits
        self._progress.update(self._task, completed=training.epoch, measured="  ".join(measures))

    def __exit__(self, *exception: Any) -> None:
        self._progress.stop()
