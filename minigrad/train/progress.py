"""The progress bar of fit."""

from __future__ import annotations

from typing import Any

from minigrad.train.run_state import Training


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
