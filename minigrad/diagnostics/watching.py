"""watch: a model under observation, and the report on it."""

from __future__ import annotations

from typing import Any, Self

from minigrad.diagnostics.observer.observer import ModelObserver
from minigrad.diagnostics.report.plots import histograms
from minigrad.diagnostics.report.watch_report import WatchReport
from minigrad.nn.module import Module


def watch(model: Module) -> Watch:
    """Watch a model while it runs: `with mg.diagnostics.watch(model) as w:`, then `print(w.report())`.

    Inside the block, each layer's output, gradient and parameters are measured in each step, with streaming statistics:
    memory does not grow with the number of batches, and no activations are stored. A step ends when the model is called
    after its parameters have changed or a backward pass has run. Layers may be called several times in a step.
    Activations that a model calls as functions (`mg.relu(self.linear(x))`) are watched too. At the end of the block,
    also after an exception, all hooks are removed; the report remains.

    Args:
        model: an nn.Module.

    Returns:
        A Watch: `.report()` says what is wrong, `.history` has the curves, `.plot()` draws the histograms.

    Raises:
        TypeError: this is not a Module.

    Example:
        >>> import numpy as np
        >>> import minigrad as mg
        >>> from minigrad import nn
        >>> net = nn.Sequential(nn.Linear(100, 100, init="normal", rng=0), nn.Sigmoid(), nn.Linear(100, 1, rng=1))
        >>> with mg.diagnostics.watch(net) as w:
        ...     net(np.random.default_rng(0).normal(size=(200, 100))).sum().backward()
        >>> w.report().findings[0].cause
        'saturated'
    """
    if not isinstance(model, Module):
        argument = f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"
        raise TypeError(
            f"diagnostics.watch({argument}): expected an nn.Module, whose layers have names and parameters. Put "
            "functions into a Module's forward; for a function alone, mg.detect_anomaly() finds NaN"
        )
    return Watch(model)


class Watch(ModelObserver):
    """The result of `watch`: the observation of one model. It can be entered again, and then continues."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def history(self) -> dict[str, dict[str, list[float]]]:
        """For each layer the curves over the steps: "step", "mean", "std", "zero", "gradient", "update", ...

        If there are more than 1024 steps, every other one is dropped, as often as needed.
        """
        return {layer.name: layer.history.curves() for layer in self.layers.values()}

    def report(self) -> WatchReport:
        """What is wrong, worst first, with the numbers of each layer. Print it."""
        if self.is_open:
            self.end_step()
        return WatchReport.of(self)

    def plot(self, path: Any = None) -> Any:
        """The histograms of activations and gradients, layer by layer: of the first step and of the last.

        Args:
            path: a file to write; its suffix determines the format.

        Returns:
            The matplotlib figure.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
            ValueError: nothing was observed.
        """
        return histograms(self, self.report(), path)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<watch of {type(self.model).__name__}, {state}: {self.step} steps, {len(self.layers)} layers>"
