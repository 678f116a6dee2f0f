"""The state of a run: what callbacks see (Training, History), and all that the next step depends on, as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.mutation import note_change
from minigrad.train.random_sources import RandomSources, put_state, state_of
from minigrad.util.rng import generator

NEEDED = {"model", "optimizer", "history", "epoch", "step", "callbacks"}


@dataclass
class History:
    """The measures of each epoch: `history["loss"]` is a list with one number per epoch.

    `print(history)` shows a table, `dict(history)` is a dictionary of the lists. Its length is the number of epochs.
    """

    epochs: dict[str, list[float]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> list[float]:
        return self.epochs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.epochs)

    def __contains__(self, name: object) -> bool:
        return name in self.epochs

    def keys(self) -> Iterable[str]:
        """The names of the measures; so `dict(history)` is a dictionary of the lists."""
        return self.epochs.keys()

    def last(self, name: str) -> float:
        """The value of a measure in the last epoch.

        Raises:
            ValueError: there is no measure of this name.
        """
        if name not in self.epochs:
            raise ValueError(
                f"{name!r} was not measured; the history has {', '.join(self.epochs)}. Pass validation= or metrics= "
                "to fit"
            )
        return self.epochs[name][-1]

    def __len__(self) -> int:
        return max(map(len, self.epochs.values()), default=0)

    def add(self, values: Mapping[str, float]) -> None:
        """Append the measures of one epoch."""
        for name, value in values.items():
            self.epochs.setdefault(name, []).append(float(value))

    def __str__(self) -> str:
        rows = [["epoch", *self.epochs]]
        rows += [[str(k + 1), *(f"{v[k]:.4g}" for v in self.epochs.values())] for k in range(len(self))]
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


@dataclass
class Training:
    """What callbacks receive, and may change: set `stop` to end after this epoch."""

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
        """All that the next step depends on, as plain data for `io.save`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "others": {k: np.copy(p.data) for k, p in _other_parameters(self)},
            "parts": {name: part.state_dict() for name, part in _parts(self).items()},
            "history": self.history.epochs,
            "epoch": self.epoch,
            "step": self.step,
            "stop": self.stop,
            "sources": [[path, state_of(source)] for path, source in _random_sources(self).sources.items()],
            "callbacks": [callback.state_dict() for callback in _stateful_callbacks(self)],
            "callback kinds": [type(callback).__name__ for callback in _stateful_callbacks(self)],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where `state` was taken.

        Raises:
            ValueError: it does not fit; nothing is changed then.
        """
        if not isinstance(state, Mapping) or not state.keys() >= NEEDED:
            has = f"has {sorted(map(str, state))[:8]}" if isinstance(state, Mapping) else f"is a {type(state).__name__}"
            raise ValueError(f"fit(resume=...): this is not the state of a training that Checkpoint wrote; it {has}")
        before = self.state()
        try:
            _write(self, state)
        except (ValueError, KeyError, TypeError) as error:
            _write(self, before)
            if str(error).startswith("fit("):
                raise
            raise ValueError(f"fit(resume=...): the file does not fit this training: {error}") from error


def _write(training: Training, state: Mapping[str, Any]) -> None:
    _check_callbacks(training, state)
    sources = None if "sources" not in state else _matched(training, state["sources"])
    training.model.load_state_dict(state["model"])
    ours, saved = dict(_other_parameters(training)), state.get("others", {})
    if ours.keys() != saved.keys() or any(p.shape != saved[k].shape for k, p in ours.items()):
        raise ValueError(
            f"fit(resume=...): the optimizer has the parameters {sorted(ours)} that are not the model's; in the file "
            f"they are {sorted(saved)}"
        )
    for k, p in ours.items():
        np.copyto(p.data, saved[k], casting="same_kind")
        note_change(p.data)
    parts, states = _parts(training), state.get("parts", {})
    if parts.keys() != states.keys() and "parts" in state:
        raise ValueError(
            f"fit(resume=...): expected the state of {sorted(parts)}; the file holds that of {sorted(states)}"
        )
    for name, part in parts.items():
        if name in states:
            part.load_state_dict(states[name])
    training.optimizer.load_state_dict(state["optimizer"])
    training.history.epochs = {name: list(values) for name, values in state["history"].items()}
    training.epoch, training.step, training.stop = state["epoch"], state["step"], bool(state.get("stop", False))
    for callback, values in zip(_stateful_callbacks(training), state["callbacks"], strict=True):
        callback.load_state_dict(values)
    if sources is None:
        _write_old_generators(training, state["generators"])
    for path, source, bits in sources or ():
        put_state(path, source, bits)


def _check_callbacks(training: Training, state: Mapping[str, Any]) -> None:
    ours = [type(callback).__name__ for callback in _stateful_callbacks(training)]
    kinds_known = "callback kinds" in state
    theirs = state.get("callback kinds", ours if len(ours) == len(state["callbacks"]) else state["callbacks"])
    if ours != theirs:
        kinds = f" ({', '.join(theirs) or 'none'} in the file, {', '.join(ours) or 'none'} here)" if kinds_known else ""
        raise ValueError(
            f"fit(resume=...): expected the state of {len(ours)} callbacks, got {len(theirs)}{kinds}; give the same "
            "schedules and callbacks in the same order"
        )


def _random_sources(training: Training) -> RandomSources:
    roots = ("loader", "loss", "metrics", "validation", "callbacks", "model")
    return RandomSources({name: getattr(training, name) for name in roots})


def _matched(training: Training, saved: list[Any]) -> list[tuple[str, Any, Any]]:
    """Each source of random numbers with its saved state: the same number, in the same order."""
    reached = _random_sources(training)
    if reached.iterators:
        raise ValueError(
            f"fit(resume=...): {', '.join(reached.iterators)} is a running iterator, whose position is not saved, so "
            "the training cannot continue where it was. Create it in each epoch, inside __iter__ of the loader"
        )
    ours, theirs = list(reached.sources), [path for path, _ in saved]
    if len(ours) != len(theirs):
        missing = [path for path in theirs if path not in ours] or theirs
        more = [path for path in ours if path not in theirs] or ours
        raise ValueError(
            f"fit(resume=...): the file holds the state of {len(theirs)} generators of random numbers, and the "
            f"training has {len(ours)}. Only in the file: {', '.join(missing)}; only here: {', '.join(more)}. Pass "
            "rng= where it was passed before"
        )
    return [(path, reached.sources[path], bits) for path, (_, bits) in zip(ours, saved, strict=True)]


def _write_old_generators(training: Training, states: list[Any]) -> None:
    """Load from a file of an older version, which has the generators of the loader and of layers only."""
    owners = (training.loader, *training.model.modules())
    own = [rng for owner in owners if isinstance(rng := getattr(owner, "rng", None), np.random.Generator)]
    ours = list({id(rng): rng for rng in (generator(), *own)}.values())
    if len(ours) != len(states):
        raise ValueError(
            f"fit(resume=...): the file holds the state of {len(states)} generators, and the training has {len(ours)}; "
            "pass rng= where it was passed before"
        )
    for rng, bits in zip(ours, states, strict=True):
        rng.bit_generator.state = bits


def _stateful_callbacks(training: Training) -> list[Any]:
    """The callbacks that have a state, such as schedules."""
    return [callback for callback in training.callbacks if hasattr(callback, "state_dict")]


def _parts(training: Training) -> dict[str, Any]:
    """The loader, the loss and the metrics that have a state of their own."""
    metrics = {f"metric {name}": metric for name, metric in (training.metrics or {}).items()}
    parts = {"loader": training.loader, "loss": training.loss, **metrics}
    return {k: x for k, x in parts.items() if hasattr(x, "state_dict") and hasattr(x, "load_state_dict")}


def _other_parameters(training: Training) -> list[tuple[int, Any]]:
    """The parameters of the optimizer that belong neither to the model nor to the loss."""
    known = {id(p) for x in (training.model, training.loss) if hasattr(x, "parameters") for p in x.parameters()}
    parameters = [p for group in getattr(training.optimizer, "param_groups", ()) for p in group["params"]]
    return [(k, p) for k, p in enumerate(parameters) if id(p) not in known]
