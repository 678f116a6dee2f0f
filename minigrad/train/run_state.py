"""The state of a training: all that the next step depends on, as plain data for `io.save`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.mutation import note_change
from minigrad.train.sources import Found, put_state, state_of
from minigrad.util.rng import generator

if TYPE_CHECKING:
    from minigrad.train.loop import Training

NEEDED = {"model", "optimizer", "history", "epoch", "step", "callbacks"}


def taken(training: Training) -> dict[str, Any]:
    """The state."""
    return {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "others": {k: np.copy(p.data) for k, p in others(training)},
        "parts": {name: part.state_dict() for name, part in _parts(training).items()},
        "history": training.history.epochs,
        "epoch": training.epoch,
        "step": training.step,
        "stop": training.stop,
        "sources": [[path, state_of(source)] for path, source in _found(training).sources.items()],
        "callbacks": [callback.state_dict() for callback in remembering(training)],
        "callback kinds": [type(callback).__name__ for callback in remembering(training)],
    }


def put(training: Training, state: Mapping[str, Any]) -> None:
    """Continue exactly where a state was taken. If it does not fit, everything stays as it is.

    Raises:
        ValueError: it does not fit.
    """
    if not isinstance(state, Mapping) or not state.keys() >= NEEDED:
        has = f"has {sorted(map(str, state))[:8]}" if isinstance(state, Mapping) else f"is a {type(state).__name__}"
        raise ValueError(f"fit(resume=...): this is no state of a training as Checkpoint writes it; it {has}")
    before = taken(training)
    try:
        _put(training, state)
    except (ValueError, KeyError, TypeError) as error:
        _put(training, before)
        if str(error).startswith("fit("):
            raise
        raise ValueError(f"fit(resume=...): the file does not fit this training: {error}") from error


def _put(training: Training, state: Mapping[str, Any]) -> None:
    _check_callbacks(training, state)
    found = None if "sources" not in state else _matched(training, state["sources"])
    training.model.load_state_dict(state["model"])
    ours, given = dict(others(training)), state.get("others", {})
    if ours.keys() != given.keys() or any(p.shape != given[k].shape for k, p in ours.items()):
        raise ValueError(
            f"fit(resume=...): parameters {sorted(given)} of the optimizer are not the model's in the file, "
            f"{sorted(ours)} here"
        )
    for k, p in ours.items():
        np.copyto(p.data, given[k], casting="same_kind")
        note_change(p.data)
    parts, states = _parts(training), state.get("parts", {})
    if parts.keys() != states.keys() and "parts" in state:
        raise ValueError(f"fit(resume=...): the file holds the state of {sorted(states)}, here are {sorted(parts)}")
    for name, part in parts.items():
        if name in states:
            part.load_state_dict(states[name])
    training.optimizer.load_state_dict(state["optimizer"])
    training.history.epochs = {name: list(values) for name, values in state["history"].items()}
    training.epoch, training.step, training.stop = state["epoch"], state["step"], bool(state.get("stop", False))
    for callback, values in zip(remembering(training), state["callbacks"], strict=True):
        callback.load_state_dict(values)
    if found is None:
        _put_old(training, state["generators"])
    for path, source, bits in found or ():
        put_state(path, source, bits)


def _check_callbacks(training: Training, state: Mapping[str, Any]) -> None:
    ours = [type(callback).__name__ for callback in remembering(training)]
    kinds_known = "callback kinds" in state
    theirs = state.get("callback kinds", ours if len(ours) == len(state["callbacks"]) else state["callbacks"])
    if ours != theirs:
        kinds = f": {', '.join(theirs) or 'none'} there, {', '.join(ours) or 'none'} here" if kinds_known else ""
        raise ValueError(
            f"fit(resume=...): the file holds the state of {len(theirs)} callbacks, here are {len(ours)}{kinds}; give "
            "the same schedules and callbacks in the same order"
        )


def _found(training: Training) -> Found:
    return Found(
        {
            "loader": training.loader,
            "loss": training.loss,
            "metrics": training.metrics,
            "validation": training.validation,
            "callbacks": training.callbacks,
            "model": training.model,
        }
    )


def _matched(training: Training, saved: list[Any]) -> list[tuple[str, Any, Any]]:
    """Each source with its saved state: the same number, found in the same order."""
    found = _found(training)
    if found.iterators:
        raise ValueError(
            f"fit(resume=...): {', '.join(found.iterators)} is a running iterator, whose place is in no file, so the "
            "training cannot go on where it was. Make it again in each epoch, inside __iter__ of the loader"
        )
    ours, theirs = list(found.sources), [path for path, _ in saved]
    if len(ours) != len(theirs):
        missing = [path for path in theirs if path not in ours] or theirs
        more = [path for path in ours if path not in theirs] or ours
        raise ValueError(
            f"fit(resume=...): the file holds the state of {len(theirs)} generators of random numbers, here are "
            f"{len(ours)}. Only in the file: {', '.join(missing)}; only here: {', '.join(more)}. Give rng= where it "
            "was given"
        )
    return [(path, found.sources[path], bits) for path, (_, bits) in zip(ours, saved, strict=True)]


def _put_old(training: Training, states: list[Any]) -> None:
    """What versions before wrote: the states of the generators of the loader and of layers only."""
    owners = (training.loader, *training.model.modules())
    own = [rng for owner in owners if isinstance(rng := getattr(owner, "rng", None), np.random.Generator)]
    ours = list({id(rng): rng for rng in (generator(), *own)}.values())
    if len(ours) != len(states):
        raise ValueError(
            f"fit(resume=...): the file holds the state of {len(states)} generators, here are {len(ours)}; give rng= "
            "where it was given"
        )
    for rng, bits in zip(ours, states, strict=True):
        rng.bit_generator.state = bits


def remembering(training: Training) -> list[Any]:
    """The callbacks that have a state, such as schedules."""
    return [callback for callback in training.callbacks if hasattr(callback, "state_dict")]


def _parts(training: Training) -> dict[str, Any]:
    """The loader, the loss and the metrics that have a state of their own."""
    metrics = {f"metric {name}": metric for name, metric in (training.metrics or {}).items()}
    parts = {"loader": training.loader, "loss": training.loss, **metrics}
    return {k: x for k, x in parts.items() if hasattr(x, "state_dict") and hasattr(x, "load_state_dict")}


def others(training: Training) -> list[tuple[int, Any]]:
    """The parameters that the optimizer moves and that belong neither to the model nor to the loss."""
    known = {id(p) for x in (training.model, training.loss) if hasattr(x, "parameters") for p in x.parameters()}
    moved = [p for group in getattr(training.optimizer, "param_groups", ()) for p in group["params"]]
    return [(k, p) for k, p in enumerate(moved) if id(p) not in known]
