"""The block in which every NaN and every harmful infinity raises."""

from __future__ import annotations

import inspect
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import Any

import numpy as np

from minigrad.diagnostics.anomaly.anomaly import AnomalyError
from minigrad.diagnostics.anomaly.tracker import AnomalyTracker
from minigrad.engine.intercept import layers

# How many blocks are open in this context, and NumPy's error settings before the first.
_silent: ContextVar[tuple[int, Any]] = ContextVar("minigrad_silent", default=(0, None))


def _silence(change: int) -> None:
    """Count one more (1) or one less (-1) block in which NumPy does not warn. Blocks may end in any order."""
    depth, before = _silent.get()
    if depth == 0 and change > 0:
        before = np.seterr(all="ignore")
    elif depth == 1 and change < 0:
        np.seterr(**before)
    _silent.set((max(depth + change, 0), before))


class detect_anomaly(ContextDecorator):
    """Find where a NaN or an infinity arises: the operation, the line of your code, the chain, and a hint.

    `with mg.detect_anomaly():` or `@mg.detect_anomaly()`. A NaN raises where it arises, in the forward pass or in a
    gradient. An infinity may be intended (a mask, a limit): it raises when a backward pass starts from it, when it
    turns into NaN, or when the block ends and nothing has used it. Infinities from outside are left alone. NumPy's own
    warnings are silent inside. Each operation takes some microseconds longer inside; nothing is slower outside.

    Raises:
        AnomalyError: an ArithmeticError; its `.anomaly` has the details. Another exception that leaves the block gets a
            note, if there is an infinity that may be its cause.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([1.0, 0.0], requires_grad=True)
        >>> with mg.detect_anomaly():
        ...     mg.sum(x * mg.log(x))
        Traceback (most recent call last):
        ...
        minigrad.diagnostics.AnomalyError: NaN arises in multiply at <doctest ...
    """

    def __init__(self) -> None:
        self._open: list[AnomalyTracker] = []  # of all threads

    def __call__(self, function: Any) -> Any:
        """Decorate a function; not a generator or a coroutine, whose body would run after the block has ended."""
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(
                f"detect_anomaly: {function.__name__} is a generator or a coroutine; write "
                "`with mg.detect_anomaly():` around the operations inside it"
            )
        return super().__call__(function)

    def __enter__(self) -> None:
        self._open.append(AnomalyTracker(raising=True).__enter__())
        _silence(1)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        here, blocks = layers(AnomalyTracker), tuple(self._open)  # a copy: other threads enter and leave meanwhile
        tracker = next((block for block in reversed(blocks) if block in here), blocks[-1])
        self._open.remove(tracker)
        tracker.__exit__(kind, error, traceback)
        _silence(-1)
        anomaly = tracker.remaining()
        if anomaly is None or isinstance(error, AnomalyError):
            return
        if error is None:
            raise AnomalyError(anomaly)
        error.add_note(f"detect_anomaly: {anomaly}")
