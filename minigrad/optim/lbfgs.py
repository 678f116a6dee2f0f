"""L-BFGS: Newton's direction from the last steps and the changes of the gradient along them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minigrad.engine.modes import enable_grad
from minigrad.engine.mutation import note_change
from minigrad.optim.line_search import Point, strong_wolfe
from minigrad.optim.optimizer import Optimizer

Array = Any


class LBFGS(Optimizer):
    """L-BFGS (Liu & Nocedal 1989; Nocedal & Wright 2006, algorithms 7.4 and 7.5), for losses without noise.

        s = xₖ₊₁ - xₖ,   y = ∇f(xₖ₊₁) - ∇f(xₖ),   kept for the last history_size steps with s·y > 1e-10
        d = -H ∇f,   H from (s·y / y·y) I of the last pair by all pairs in turn: H = VᵀH V + ρ s sᵀ
            with V = I - ρ y sᵀ and ρ = 1 / s·y
        x = x + t d,   t = lr, or what the line search finds from there; in the very first step lr min(1, 1 / Σ|∇f|)

    One call of step makes up to max_iter such steps and calls the closure several times. The value of the loss decides
    where it goes, so unlike the other rules it does not run on recorded or symbolic arrays. All parameters must be in
    one group and of one dtype; a missing gradient counts as zero.

    Args:
        params: Tensors, or one group.
        lr: the length of a step, or of the line search's first trial.
        max_iter: the number of steps in one call of step.
        max_eval: the number of evaluations in one call of step; 5/4 max_iter by default. A line search is not cut off.
        tolerance_grad: stop when no |∂f/∂x| is larger.
        tolerance_change: stop when no |t d| is larger, or when the loss changes by less.
        history_size: the number of pairs that are kept.
        line_search_fn: None or "strong_wolfe" (`line_search.strong_wolfe`).

    Raises:
        ValueError: an option is out of range, several groups or dtypes, and as Optimizer.

    Example:
        >>> from minigrad.tensor.tensor import Tensor
        >>> w = Tensor([-1.5, 2.0], requires_grad=True)
        >>> optimizer = LBFGS([w], max_iter=100, tolerance_change=1e-15, line_search_fn="strong_wolfe")
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item()
        12.5
        >>> w.numpy().round(6).tolist()
        [1.0, 1.0]
    """

    instead_of_compiling = (
        "L-BFGS looks at the loss to decide where to go; compile the closure, and call step outside: "
        "optimizer.step(mg.compile(closure))"
    )

    needs_closure = True  # step requires one
    sliced = True  # a compiled closure reads only what the methods that it calls read, not the history of steps

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        options = {"lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad}
        options |= {"tolerance_change": tolerance_change, "history_size": history_size}
        super().__init__(params, {**options, "line_search_fn": line_search_fn})
        self.pairs: list[tuple[Array, Array, float]] = []  # s, y, ρ; the latest last
        self.last: dict[str, Any] = {}  # the step s and the gradient before it
        self.iterations = self.evaluations = 0

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the parameters, which must be one group.

        Raises:
            ValueError: there is a group already, or it has several dtypes.
        """
        if self.param_groups:
            raise ValueError("optim.LBFGS: the direction depends on all parameters together; one group only")
        super().add_param_group(group)
        if len(self.param_groups[0].flats) != 1:
            dtypes = sorted({str(p.dtype) for p in self.param_groups[0]["params"] if p.size})
            raise ValueError(f"optim.LBFGS: expected parameters of one dtype, got {dtypes or 'none with elements'}")

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that are out of range."""
        super().check(options)
        if options["maximize"]:
            raise ValueError(
                "optim.LBFGS(maximize=True): the line search looks for a minimum; return -loss from the closure"
            )
        for name in ("max_iter", "max_eval", "history_size"):
            if not options[name] >= 1:
                raise ValueError(f"optim.LBFGS({name}={options[name]}): must be at least 1")
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                f"optim.LBFGS(line_search_fn={options['line_search_fn']!r}): must be None or 'strong_wolfe'"
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to max_iter steps.

        Args:
            closure: clears the gradients, computes the loss, calls backward on it and returns it.

        Returns:
            The loss before the first step, as the closure returned it.

        Raises:
            TypeError: no closure.

        Where the gradient is not finite it stops, with a RuntimeWarning.
        """
        if closure is None:
            raise TypeError("optim.LBFGS.step needs a closure that calls zero_grad and backward and returns the loss")
        (group,) = self.param_groups
        if group.flats[0].is_stale():
            self._check_replaced()
            group.flats[0].refresh()
        evaluations = self.evaluations
        first_loss, loss, g = self._evaluate(closure)
        for k in range(group["max_iter"]):
            if self._has_ended(loss, g, steps=k) or (k and self.evaluations - evaluations >= group["max_eval"]):
                break
            d = self._direction(g, group["history_size"])
            slope = np.vdot(g, d).item()
            if not slope < -group["tolerance_change"]:
                break
            t = group["lr"] * (1 if self.iterations else min(1.0, 1 / np.sum(np.abs(g)).item()))
            old_loss, with_search = loss, group["line_search_fn"] is not None
            if with_search:
                t, loss, _, new_g = self._search(closure, Point(0.0, loss, slope, g), d, t)
            else:
                self._move(group.flats[0].data + t * d)
            self.iterations += 1
            self.last = {"s": t * d, "gradient": g}
            if t == 0:
                self.pairs.clear()
            if not with_search:
                if k + 1 == group["max_iter"]:
                    break
                _, loss, new_g = self._evaluate(closure)
            g = new_g
            if np.max(np.abs(self.last["s"])) <= group["tolerance_change"]:
                break
            if abs(loss - old_loss) < group["tolerance_change"]:
                break
        return first_loss

    def _has_ended(self, loss: float, g: Array, steps: int) -> bool:
        """Whether the gradient is small enough, or not finite, in which case there is a warning."""
        largest = np.max(np.abs(g)).item()
        if not math.isfinite(largest):
            bad = int(np.count_nonzero(~np.isfinite(g)))
            parameters = "The parameters are those after the last step" if steps else "The parameters are unchanged"
            warnings.warn(
                f"optim.LBFGS.step ended: {bad} of {g.size} elements of the gradient are not finite, and the loss is "
                f"{loss:.3g}. {parameters}. Lower lr, use line_search_fn='strong_wolfe', or find the origin with "
                "mg.detect_anomaly",
                RuntimeWarning,
                stacklevel=3,
            )
            return True
        return bool(largest <= self.param_groups[0]["tolerance_grad"])

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, float, Array]:
        """Call the closure. Returns its result, the value of the loss, and a flat copy of the gradients."""
        with enable_grad():
            loss = closure()
        self.evaluations += 1
        (flat,) = self.param_groups[0].flats
        for p, start, stop in zip(flat.parameters, flat.stops, flat.stops[1:], strict=False):
            np.copyto(flat.gradient[start:stop], 0 if p.grad is None else p.grad.data.reshape(-1))
        return loss, loss.item(), np.copy(flat.gradient)

    def _move(self, x: Array) -> None:
        (flat,) = self.param_groups[0].flats
        np.copyto(flat.data, x)
        note_change(flat.data)

    def _direction(self, g: Array, history_size: int) -> Array:
        """-H g by the two loops of algorithm 7.4, with the pair of the last step added to the history."""
        if self.last:
            s, y = self.last["s"], g - self.last["gradient"]
            curvature = np.vdot(s, y).item()
            if curvature > 1e-10:
                self.pairs = [*self.pairs, (s, y, 1 / curvature)][-history_size:]
        d = -g
        weights = []
        for s, y, rho in reversed(self.pairs):
            weights.append(rho * np.vdot(s, d).item())
            d = d - weights[-1] * y
        if self.pairs:
            _, y, rho = self.pairs[-1]
            d = d * (1 / (rho * np.vdot(y, y).item()))
        for (s, y, rho), a in zip(self.pairs, reversed(weights), strict=True):
            d = d + (a - rho * np.vdot(y, d).item()) * s
        return d

    def _search(self, closure: Callable[[], Any], start: Point, d: Array, t: float) -> Point:
        """Move to the point that the line search finds."""
        group = self.param_groups[0]
        x = np.copy(group.flats[0].data)

        def at(t: float) -> Point:
            self._move(x + t * d)
            _, value, g = self._evaluate(closure)
            return Point(t, value, np.vdot(g, d).item(), g)

        point = strong_wolfe(at, start, t, tolerance=group["tolerance_change"] / np.max(np.abs(d)).item())
        self._move(x + point.t * d)
        return point

    def state_dict(self) -> dict[str, Any]:
        """As Optimizer.state_dict; "history" has the pairs, the last step and the counts."""
        history = {
            "pairs": [(np.copy(s), np.copy(y), rho) for s, y, rho in self.pairs],
            "last": {name: np.copy(value) for name, value in self.last.items()},
            "iterations": self.iterations,
            "evaluations": self.evaluations,
        }
        return {**super().state_dict(), "history": history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken.

        Raises:
            ValueError: groups, parameters or shapes differ; nothing is changed.
        """
        if "history" not in state:
            raise ValueError("optim.LBFGS.load_state_dict: there is no history; the state is that of another optimizer")
        history, size = state["history"], self.param_groups[0].flats[0].data.size
        arrays = [x for s, y, _ in history["pairs"] for x in (s, y)] + list(history["last"].values())
        if any(np.shape(x) != (size,) for x in arrays):
            raise ValueError(
                f"optim.LBFGS.load_state_dict: expected a history of shape {(size,)}, got {np.shape(arrays[0])}"
            )
        super().load_state_dict(state)
        self.pairs = [(np.copy(s), np.copy(y), rho) for s, y, rho in history["pairs"]]
        self.last = {name: np.copy(value) for name, value in history["last"].items()}
        self.iterations, self.evaluations = history["iterations"], history["evaluations"]
