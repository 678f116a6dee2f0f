"""A resumed training is the uninterrupted one, bit for bit, whatever draws random numbers, or an error says why not."""

from __future__ import annotations

import copy
import functools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import io, nn, optim
from minigrad.data import DataLoader
from minigrad.train.callbacks import Checkpoint, EarlyStopping
from minigrad.train.loop import fit

X = np.random.default_rng(0).normal(size=(24, 3))
Y = np.random.default_rng(1).normal(size=(24, 1))
RNG: Any = None  # of the module, for functions that read it


class Holder:
    """An object with a generator, as users write them."""

    shared: Any = None

    def __init__(self, rng: Any) -> None:
        self.rng = rng

    def noisy(self, x: Any, y: Any) -> Any:
        return x + 0.1 * self.rng.normal(size=x.shape), y

    __call__ = noisy


class Slotted:
    __slots__ = ("rng",)

    def __init__(self, rng: Any) -> None:
        self.rng = rng

    def __call__(self, x: Any, y: Any) -> Any:
        return x + 0.1 * self.rng.normal(size=x.shape), y


class OwnLoader:
    """Batches in random order, without minigrad's loader."""

    def __init__(self, rng: Any, spawn: bool = False) -> None:
        self.settings = {"nested": [rng]}
        self.spawn = spawn

    def __iter__(self) -> Any:
        rng = self.settings["nested"][0]
        if self.spawn:
            (rng,) = rng.spawn(1)
        for rows in rng.permutation(len(X)).reshape(4, 6):
            yield X[rows], Y[rows]


class OfClass(OwnLoader):
    rng: Any = None

    def __init__(self) -> None:
        OfClass.rng = np.random.default_rng(5)

    def __iter__(self) -> Any:
        for rows in OfClass.rng.permutation(len(X)).reshape(4, 6):
            yield X[rows], Y[rows]


class NoisyLoss:
    def __init__(self, rng: Any) -> None:
        self.deep = Holder(Holder(rng))

    def __call__(self, out: Any, y: Any) -> Any:
        return F.mse_loss(out, y + 0.1 * self.deep.rng.rng.normal(size=y.shape))


def loader(transform: Any = None, **options: Any) -> DataLoader:
    return DataLoader(X, Y, batch_size=6, transform=transform, **options)


def closure(rng: Any) -> Any:
    return lambda x, y: (x + 0.1 * rng.normal(size=x.shape), y)


def with_default(x: Any, y: Any, rng: Any = None, *, other: Any = None) -> Any:
    return x + 0.1 * (rng or other).normal(size=x.shape), y


def with_global(x: Any, y: Any) -> Any:
    return x + 0.1 * RNG.normal(size=x.shape), y


def indirectly(x: Any, y: Any) -> Any:
    def inner() -> Any:
        return with_global(x, y)

    return inner()


def global_rng(function: Any) -> Any:
    global RNG
    RNG = np.random.default_rng(7)
    return loader(function)


def decorated(rng: Any) -> Any:
    inner = closure(rng)

    @functools.wraps(inner)
    def wrapper(*args: Any) -> Any:
        return inner(*args)

    return wrapper


def numpys(x: Any, y: Any) -> Any:
    return x + np.random.normal(size=x.shape), y  # noqa: NPY002


def pythons(x: Any, y: Any) -> Any:
    return x + random.random(), y


def lcg(rng: random.Random) -> Any:
    return lambda x, y: (x + rng.gauss(0, 1), y)


def bits(source: Any) -> Any:
    return lambda x, y: (x + np.random.Generator(source).normal(size=x.shape), y)


def spawning(seeds: np.random.SeedSequence) -> Any:
    return lambda x, y: (x + np.random.default_rng(seeds.spawn(1)[0]).normal(size=x.shape), y)


def both(kind: Any) -> Callable[[], Any]:
    return lambda: (loader(kind(np.random.default_rng(3))), F.mse_loss)


CASES: dict[str, Callable[[], Any]] = {
    "the loader": lambda: (loader(shuffle=True, rng=3), F.mse_loss),
    "minigrad's global": lambda: (loader(shuffle=True), F.mse_loss),
    "a closure": both(closure),
    "a decorated closure": both(decorated),
    "a bound method": both(lambda rng: Holder(rng).noisy),
    "an object": both(Holder),
    "an object with slots": both(Slotted),
    "a partial": both(lambda rng: functools.partial(with_default, rng=rng)),
    "a default": lambda: (loader(_defaulted(False)), F.mse_loss),
    "a default by name": lambda: (loader(_defaulted(True)), F.mse_loss),
    "a global": lambda: (global_rng(with_global), F.mse_loss),
    "a global of a function that is called": lambda: (global_rng(indirectly), F.mse_loss),
    "a lambda around it": lambda: (global_rng(lambda x, y: with_global(x, y)), F.mse_loss),
    "NumPy's global": lambda: (loader(numpys), F.mse_loss),
    "Python's global": lambda: (loader(pythons), F.mse_loss),
    "RandomState": lambda: (loader(closure(np.random.RandomState(3))), F.mse_loss),
    "random.Random": lambda: (loader(lcg(random.Random(3))), F.mse_loss),
    "a bit generator": lambda: (loader(bits(np.random.PCG64(3))), F.mse_loss),
    "MT19937": lambda: (loader(closure(np.random.Generator(np.random.MT19937(3)))), F.mse_loss),
    "Philox": lambda: (loader(closure(np.random.Generator(np.random.Philox(3)))), F.mse_loss),
    "SFC64": lambda: (loader(closure(np.random.Generator(np.random.SFC64(3)))), F.mse_loss),
    "a seed sequence": lambda: (loader(spawning(np.random.SeedSequence(3))), F.mse_loss),
    "children of a generator": lambda: (OwnLoader(np.random.default_rng(3), spawn=True), F.mse_loss),
    "a loader of the user's": lambda: (OwnLoader(np.random.default_rng(3)), F.mse_loss),
    "a class": lambda: (OfClass(), F.mse_loss),
    "a loss": lambda: (loader(), NoisyLoss(np.random.default_rng(3))),
    "a loss in a closure": lambda: (loader(), _inside(NoisyLoss(np.random.default_rng(3)))),
    "two of them": lambda: (_shuffled(np.random.default_rng(3), 4), NoisyLoss(np.random.default_rng(5))),
    "one in two places": lambda: _shared(np.random.default_rng(3)),
}


def _inside(loss: Any) -> Any:
    return lambda out, y: loss(out, y)


def _shuffled(rng: Any, order: Any) -> Any:
    return loader(closure(rng), shuffle=True, rng=order)


def _shared(rng: Any) -> Any:
    return _shuffled(rng, rng), NoisyLoss(rng)


def _defaulted(by_name: bool) -> Any:
    rng = np.random.default_rng(3)
    if by_name:
        return lambda x, y, *, rng=rng: with_default(x, y, rng)
    return lambda x, y, rng=rng: with_default(x, y, rng)


def parts(case: str) -> tuple[Any, Any, Any, Any]:
    made, loss = CASES[case]()
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.Dropout(0.2, rng=1), nn.Linear(4, 1, rng=2))
    return model, made, loss, optim.Adam(model.parameters(), lr=0.01)


def seed_all(seed: int) -> None:
    mg.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_training_equals_an_uninterrupted_one(case: str, tmp_path: Path) -> None:
    seed_all(0)
    model, made, loss, optimizer = parts(case)
    expected = fit(model, made, loss, optimizer, 5, progress=False)
    seed_all(0)
    model_2, made, loss, optimizer = parts(case)
    fit(model_2, made, loss, optimizer, 2, callbacks=[Checkpoint(tmp_path / "x")], progress=False)
    seed_all(1)  # another process begins elsewhere
    model_2, made, loss, optimizer = parts(case)
    found = fit(model_2, made, loss, optimizer, 5, resume=tmp_path / "x", progress=False)
    assert found.epochs == expected.epochs
    for a, b in zip(model.state_dict().values(), model_2.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)


# A training that had ended


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_training_that_early_stopping_ended_stays_ended(every: int, tmp_path: Path) -> None:
    def run(resume: Any) -> Any:
        seed_all(0)
        model, made, loss, optimizer = parts("the loader")
        stopping = EarlyStopping("loss", patience=2, min_delta=0.05)
        history = fit(
            model,
            made,
            loss,
            optimizer,
            100,
            callbacks=[Checkpoint(tmp_path / "x", every), stopping],
            resume=resume,
            progress=False,
        )
        return history.epochs, [p.numpy().copy() for p in model.parameters()]

    epochs, values = run(None)
    assert 2 < len(epochs["loss"]) < 100
    for _ in range(2):
        again, same = run(tmp_path / "x")
        assert again == epochs
        for a, b in zip(values, same, strict=True):
            np.testing.assert_array_equal(a, b)


def test_any_callback_that_ends_a_training(tmp_path: Path) -> None:
    class Enough:
        def on_step_end(self, training: Any) -> None:
            training.stop = training.step >= 6

    def run(resume: Any) -> int:
        model, made, loss, optimizer = parts("the loader")
        history = fit(
            model,
            made,
            loss,
            optimizer,
            9,
            callbacks=[Enough(), Checkpoint(tmp_path / "x")],
            resume=resume,
            progress=False,
        )
        return len(history)

    assert [run(None), run(tmp_path / "x"), run(tmp_path / "x")] == [2, 2, 2]


# More state than the model's


class Scaled(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        self.log_scale = mg.Tensor(0.0, requires_grad=True)

    def forward(self, out: Any, y: Any) -> Any:
        return F.mse_loss(out, y) * mg.exp(-self.log_scale) + self.log_scale


class Counting(OwnLoader):
    """A loader with a state_dict: it warms up."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Any:
        self.epoch += 1
        yield self.epoch * X, Y

    def state_dict(self) -> Any:
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Any) -> None:
        self.epoch = state["epoch"]


@pytest.mark.parametrize("kind", ["loss", "loader", "free parameter"])
def test_losses_metrics_and_loaders_with_a_state(kind: str, tmp_path: Path) -> None:
    def run(epochs: int, resume: Any) -> Any:
        model = nn.Linear(3, 1, rng=0)
        free = mg.Tensor(np.zeros(1), requires_grad=True)
        loss: Any = Scaled() if kind == "loss" else (lambda out, y: F.mse_loss(out + free, y))
        params = [*model.parameters(), *(loss.parameters() if kind == "loss" else [free])]
        optimizer = optim.Adam(params, lr=0.1)
        made = Counting() if kind == "loader" else loader()
        callbacks = [Checkpoint(tmp_path / f"{epochs}")]
        return fit(model, made, loss, optimizer, epochs, callbacks=callbacks, resume=resume, progress=False).epochs

    expected = run(6, None)
    run(3, None)
    assert run(6, tmp_path / "3") == expected


# Errors


def saved(path: Path) -> Any:
    model, made, loss, optimizer = parts("the loader")
    fit(model, made, loss, optimizer, 1, callbacks=[Checkpoint(path)], progress=False)
    return io.load(path)


def resumed(path: Path, **options: Any) -> None:
    model, made, loss, optimizer = parts("the loader")
    given = {"loader": made, "loss": loss, "optimizer": optimizer, **options}
    if callable(given["optimizer"]):
        given["optimizer"] = given["optimizer"](list(model.parameters()))
    before = copy.deepcopy((model.state_dict(), given["optimizer"].state_dict()))
    try:
        fit(model, given["loader"], given["loss"], given["optimizer"], 3, resume=path, progress=False, callbacks=())
    finally:
        after = model.state_dict(), given["optimizer"].state_dict()
        for name, value in before[0].items():
            np.testing.assert_array_equal(after[0][name], value)
        for k, values in before[1]["state"].items():
            for name, value in values.items():
                np.testing.assert_array_equal(after[1]["state"][k][name], value)


def test_generators_that_differ_are_named(tmp_path: Path) -> None:
    saved(tmp_path / "x")
    with pytest.raises(ValueError, match=r"only here: loader\.transform:rng"):
        resumed(tmp_path / "x", loader=loader(closure(np.random.default_rng(0)), shuffle=True, rng=3))
    with pytest.raises(ValueError, match=r"Only in the file: loader\.rng"):
        resumed(tmp_path / "x", loader=loader())
    with pytest.raises(ValueError, match="MT19937 here, and the state is that of a PCG64"):
        resumed(tmp_path / "x", loader=loader(shuffle=True, rng=np.random.Generator(np.random.MT19937(0))))


@pytest.mark.parametrize("kind", ["generator", "count", "map"])
def test_running_iterators_are_named(kind: str, tmp_path: Path) -> None:
    import itertools

    saved(tmp_path / "x")
    noise: Any = {
        "generator": (k for k in range(100)),
        "count": itertools.count(),
        "map": map(float, range(100)),
    }[kind]
    with pytest.raises(ValueError, match=r"loader\.transform:noise is a running iterator"):
        resumed(tmp_path / "x", loader=loader(lambda x, y: (x + next(noise), y), shuffle=True, rng=3))


DAMAGE = {
    "no dictionary": (lambda s: [1, 2], "it is a list"),
    "a model only": (lambda s: s["model"], "not the state of a training"),
    "no optimizer": (lambda s: {k: v for k, v in s.items() if k != "optimizer"}, "not the state of a training"),
    "another model": (lambda s: {**s, "model": {"w": np.ones(2)}}, "unexpected: w"),
    "another optimizer": (lambda s: {**s, "optimizer": {"state": {}, "param_groups": []}}, "groups of"),
    "a rate below 0": (lambda s: _changed(s, "lr", -1.0), "must not be negative"),
    "callbacks": (lambda s: {**s, "callbacks": [{}], "callback kinds": ["StepLR"]}, "of 0 callbacks, got 1 .StepLR in"),
    "generators": (lambda s: {**s, "sources": s["sources"][:-1]}, "generators of random numbers"),
    "a generator's state": (lambda s: {**s, "sources": [[p, {**b, "state": {}}] for p, b in s["sources"]]}, "fit"),
}


def _changed(state: Any, name: str, value: Any) -> Any:
    state = copy.deepcopy(state)
    state["optimizer"]["param_groups"][0][name] = value
    return state


@pytest.mark.parametrize("name", DAMAGE)
def test_files_that_do_not_fit_change_nothing(name: str, tmp_path: Path) -> None:
    damage, says = DAMAGE[name]
    io.save(tmp_path / "y", damage(saved(tmp_path / "x")))
    with pytest.raises(ValueError, match=says):
        resumed(tmp_path / "y")


def test_files_of_older_versions(tmp_path: Path) -> None:
    """They have the generators of the loader and the layers, in a list, and do not say whether the run had ended."""
    model, made, loss, optimizer = parts("the loader")
    expected = fit(model, made, loss, optimizer, 4, progress=False)
    model, made, loss, optimizer = parts("the loader")
    fit(model, made, loss, optimizer, 2, callbacks=[Checkpoint(tmp_path / "x")], progress=False)
    state = io.load(tmp_path / "x")
    sources = dict(state.pop("sources"))
    old = [sources[name]["state"] for name in ("mg.manual_seed", "loader.rng")]
    old.append(next(bits["state"] for name, bits in sources.items() if name.startswith("model")))
    for name in ("stop", "callback kinds", "others", "parts"):
        del state[name]
    io.save(tmp_path / "x", {**state, "generators": old})
    model, made, loss, optimizer = parts("the loader")
    assert fit(model, made, loss, optimizer, 4, resume=tmp_path / "x", progress=False).epochs == expected.epochs


def test_early_stopping_without_a_best_value_is_saved(tmp_path: Path) -> None:
    """A measure that is NaN in every epoch has no best; infinity goes through the file."""
    stopping = EarlyStopping("loss")
    stopping.best = math.inf
    io.save(tmp_path / "x", stopping.state_dict())
    assert io.load(tmp_path / "x")["best"] == math.inf
