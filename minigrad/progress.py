"""The progress bar of fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigrad.training import Training


class Bar:
    """A progress bar in a terminal: epochs, and the last measures beside it. A callback, called after the others."""

    def __init__(self, training: Training, epochs: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        measured = TextColumn("{task.fields[measured]}", table_column=Column())  # in a narrow terminal on several lines
        columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(16), measured, TimeRemainingColumn())
        self._progress = Progress(*columns)
        self._task = self._progress.add_task("", total=epochs, completed=training.epoch, measured="")
        self._steps = len(training.loader) if hasattr(training.loader, "__len__") else 0

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def on_step_end(self, training: Training) -> None:
        """Move on within the epoch, if it is known how many steps it has."""
        if self._steps:
            self._progress.update(self._task, advance=1 / self._steps)

    def on_epoch_end(self, training: Training) -> None:
        """Show the measures of the epoch."""
        measured = "  ".join(f"{name}={values[-1]:.4g}" for name, values in training.history.epochs.items())
        self._progress.update(self._task, completed=training.epoch, measured=measured)

    def __exit__(self, *exception: Any) -> None:
        self._progress.stop()
