"""The progress bar of fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigrad.train.loop import Training


class Bar:
    """A progress bar in a terminal: epochs, and the last measures beside it. A callback, called after the others."""

    WIDTH = 16

    def __init__(self, training: Training, epochs: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        # In a narrow terminal the measures take several lines, and what is wider than the whole terminal is broken.
        measured = TextColumn("{task.fields[measured]}", table_column=Column(overflow="fold"))
        self._bar = BarColumn(self.WIDTH)
        columns = (TextColumn("epoch"), MofNCompleteColumn(), self._bar, measured, TimeRemainingColumn())
        self._progress = Progress(*columns)
        self._others = len(f"epoch {epochs}/{epochs}   -:--:-- ")  # columns that the bar and the measures do not have
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
        measures = [f"{name}={values[-1]:.4g}" for name, values in training.history.epochs.items()]
        room = self._progress.console.width - self._others - max(map(len, measures), default=0)
        self._bar.bar_width = min(self.WIDTH, max(room, 1))  # the bar makes room, the measures lose no digit
        self._progress.update(self._task, completed=training.epoch, measured="  ".join(measures))

    def __exit__(self, *exception: Any) -> None:
        self._progress.stop()
