"""fit given what it cannot take: errors that name the argument and a hint, and what it takes in several forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.data import DataLoader
from minigrad.train.callbacks import Checkpoint, EarlyStopping
from minigrad.train.loop import evaluate, fit
from minigrad.train.run_state import History, Training

X = np.random.default_rng(0).normal(size=(20, 3))
Y = X @ np.ones((3, 1))


def fitted(**changed: Any) -> History:
    """A small training, of which some arguments are others."""
    model = nn.Linear(3, 1, rng=0)
    given = {
        "model": model,
        "loader": DataLoader(X, Y, batch_size=8),
        "loss": F.mse_loss,
        "optimizer": optim.SGD(model.parameters(), lr=0.1),
        "epochs": 2,
        "progress": False,
    }
    for name, value in changed.items():
        given[name] = value(given["optimizer"]) if name == "callbacks" and callable(value) else value
    return fit(**given)


class Keras:
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None: ...

    def on_train_end(self, logs: Any = None) -> None: ...


class Half:
    def on_epoch_end(self, training: Training) -> None: ...

    def on_batch_end(self, batch: int, logs: Any = None) -> None: ...


def unreduced(out: Any, target: Any) -> Any:
    return (out - target) ** 2


HOOKS = "on_step_end, on_epoch_end or on_end"

# what: (arguments of fit, the error, words that must all be in it)
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    # Callbacks
    "a schedule": ({"callbacks": lambda o: optim.StepLR(o, 1)}, TypeError, "fit(callbacks= | a list | [StepLR(...)]"),
    "a callback": ({"callbacks": lambda o: EarlyStopping()}, TypeError, "fit(callbacks= | a list | [EarlyStopping(...)]"),
    "a number": ({"callbacks": 3}, TypeError, "fit(callbacks=3) | a list"),
    "a name": ({"callbacks": "early"}, TypeError, "fit(callbacks='early') | a list"),
    "a dictionary": ({"callbacks": {"a": EarlyStopping()}}, TypeError, "fit(callbacks= | a list"),
    "a lambda inside": ({"callbacks": [lambda t: None]}, TypeError, f"callback 0 | function | {HOOKS}"),
    "None inside": ({"callbacks": [None]}, TypeError, f"callback 0 is None | {HOOKS}"),
    "a text inside": ({"callbacks": ["early"]}, TypeError, f"callback 0 is 'early' | {HOOKS}"),
    "a class inside": ({"callbacks": [EarlyStopping]}, TypeError, "write EarlyStopping(...), not the class"),
    "Keras's hooks": ({"callbacks": [Keras()]}, TypeError, f"callback 0 | on_epoch_begin, on_train_end would never | {HOOKS}"),
    "one of Keras's hooks": ({"callbacks": [Half()]}, TypeError, "on_batch_end would never be called"),
    # Metrics
    "a list of metrics": ({"metrics": [unreduced]}, TypeError, 'fit(metrics= | dictionary | {"accuracy": accuracy}'),
    "a single metric": ({"metrics": unreduced}, TypeError, "fit(metrics= | dictionary"),
    "a metric's name": ({"metrics": {"accuracy": "accuracy"}}, TypeError, "fit(metrics={'accuracy': 'accuracy'}) | functions"),
    "a metric's class": ({"metrics": {"mse": nn.MSELoss}}, TypeError, "write MSELoss(...), not the class"),
    "a metric without return": ({"metrics": {"mae": lambda out, y: None}}, TypeError, "metric 'mae' returned None | return missing"),
    "a metric of several": ({"metrics": {"mae": lambda out, y: np.abs(out.numpy() - y)}}, TypeError, "metric 'mae' returned (8, 1) | mean"),
    "a metric of Tensors": ({"metrics": {"mse": unreduced}}, ValueError, "metric 'mse' returned (8, 1) | mean"),
    "a metric called loss": ({"metrics": {"loss": F.l1_loss}}, ValueError, "fit(metrics={'loss': ...}) | another name"),
    "a metric called val_": ({"metrics": {"val_loss": F.l1_loss}}, ValueError, "fit(metrics={'val_loss': ...}) | another name"),
    # The loss
    "an unreduced loss": ({"loss": unreduced}, ValueError, "fit: the loss has shape (8, 1) | loss.mean()"),
    "a loss of None": ({"loss": lambda out, y: None}, TypeError, "fit: the loss is None"),
    "a loss as a number": ({"loss": lambda out, y: F.mse_loss(out, y).item()}, TypeError, "fit: the loss is | (float) | Tensor"),
    "a loss's class": ({"loss": nn.MSELoss}, TypeError, "fit(loss=MSELoss) | write MSELoss(...), not the class"),
    "a loss's name": ({"loss": "mse"}, TypeError, "fit(loss='mse') | mg.functional.mse_loss"),
    # Data
    "arrays for a loader": ({"loader": (X, Y)}, TypeError, "fit(loader=((20, 3) float64, (20, 1) float64)) | DataLoader(x, y"),
    "an array for a loader": ({"loader": X}, TypeError, "fit(loader=(20, 3) float64) | DataLoader(x, y"),
    "no loader": ({"loader": None}, TypeError, "fit(loader=None) | DataLoader(x, y"),
    "a loader without targets": ({"loader": DataLoader(X, batch_size=8)}, TypeError, "a batch is (8, 3) float64 (ndarray) | DataLoader(x, y"),
    "batches of one part": ({"loader": [(X,)]}, ValueError, "a batch has 1 parts | DataLoader(x, y"),
    "batches as dictionaries": ({"loader": [{"x": X, "y": Y}]}, TypeError, "a batch is | (dict) | tuples"),
    "a target without rows": ({"loader": [(X, 1.0)]}, ValueError, "target of a batch is a single number"),
    "one array for validation": ({"validation": X}, TypeError, "fit(validation=(20, 3) float64) | (x, y)"),
    "arrays without targets": ({"validation": (X,)}, TypeError, "fit(validation=((20, 3) float64)) | (x, y)"),
    "a number for validation": ({"validation": 0.2}, TypeError, "fit(validation=0.2) | (x, y)"),
    "validation without targets": ({"validation": DataLoader(X, batch_size=8)}, TypeError, "a batch is (8, 3) float64"),
    # The others
    "LBFGS": ({"optimizer": optim.LBFGS([mg.Tensor([1.0], requires_grad=True)])}, TypeError, "fit(optimizer=LBFGS) | closure"),
    "an optimizer's name": ({"optimizer": "adam"}, TypeError, "fit(optimizer='adam') | optim.Adam(model.parameters())"),
    "an optimizer's class": ({"optimizer": optim.Adam}, TypeError, "fit(optimizer=Adam) | optim.Adam(model.parameters())"),
    "a function for a model": ({"model": lambda x: x}, TypeError, "fit(model= | nn.Module"),
    "a model's class": ({"model": nn.Linear}, TypeError, "fit(model=Linear) | write Linear(...), not the class"),
    "half an epoch": ({"epochs": 2.5}, ValueError, "fit(epochs=2.5) | an integer"),
    "epochs as a text": ({"epochs": "2"}, ValueError, "fit(epochs='2') | an integer"),
    "epochs as a truth value": ({"epochs": True}, ValueError, "fit(epochs=True) | an integer"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_bad_arguments_are_refused(what: str) -> None:
    arguments, kind, words = REFUSED[what]
    with pytest.raises(kind) as caught:
        fitted(**arguments)
    for word in words.split(" | "):
        assert word in str(caught.value)


TAKEN: dict[str, Callable[[], dict[str, Any]]] = {
    "no callbacks": lambda: {"callbacks": None},
    "a tuple of callbacks": lambda: {"callbacks": (EarlyStopping("loss"),)},
    "callbacks from a generator": lambda: {"callbacks": (c for c in [EarlyStopping("loss")])},
    "no metrics": lambda: {"metrics": None},
    "epochs as a NumPy integer": lambda: {"epochs": np.int64(2)},
    "batches in a list": lambda: {"loader": [(X[:8], Y[:8]), (X[8:16], Y[8:16]), (X[16:], Y[16:])]},
    "batches as lists": lambda: {"loader": [[X[:8], Y[:8]], [X[8:16], Y[8:16]], [X[16:], Y[16:]]]},
}


@pytest.mark.parametrize("what", TAKEN)
def test_valid_arguments_are_accepted(what: str) -> None:
    assert fitted(**TAKEN[what]())["loss"] == fitted()["loss"]


@pytest.mark.parametrize("kind", [tuple, list])
def test_arrays_for_validation_are_measured_over_all_rows(kind: Any) -> None:
    x, y = np.tile(X, (30, 1)), np.tile(Y, (30, 1))  # more than one batch
    found = fitted(validation=kind((x, y)), metrics={"mae": F.l1_loss})
    assert found["val_mae"] == pytest.approx(fitted(validation=[(x, y)], metrics={"mae": F.l1_loss})["val_mae"])
    assert found["val_loss"] == pytest.approx(fitted(validation=DataLoader(X, Y, batch_size=20))["val_loss"])


def test_evaluate_refuses_the_same() -> None:
    model, loader = nn.Linear(3, 1, rng=0), DataLoader(X, Y, batch_size=8)
    with pytest.raises(ValueError, match=r"the loss has shape \(8, 1\)"):
        evaluate(model, loader, unreduced)
    with pytest.raises(TypeError, match="dictionary"):
        evaluate(model, loader, F.mse_loss, [F.l1_loss])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a batch is"):
        evaluate(model, DataLoader(X, batch_size=8), F.mse_loss)


def test_batch_norm_is_frozen_by_the_hook_of_the_docstring() -> None:
    """fit calls train() each epoch; without the hook the running statistics move."""

    def keep_frozen(module: nn.Module, inputs: Any) -> None:
        module.eval()

    for frozen in (False, True):
        norm = nn.BatchNorm(3)
        model = nn.Sequential(norm, nn.Linear(3, 1, rng=0))
        norm.requires_grad_(False).eval()
        if frozen:
            norm.register_forward_pre_hook(keep_frozen)
        before = norm.state_dict()
        optimizer = optim.SGD(model[1].parameters(), lr=0.1)
        fit(model, DataLoader(X, Y, batch_size=8, drop_last=True), F.mse_loss, optimizer, 2, progress=False)
        assert all(np.array_equal(before[k], v) for k, v in norm.state_dict().items()) is frozen


def test_a_callback_with_a_state_is_resumed(tmp_path: Path) -> None:
    class Counter:
        count = 0

        def on_step_end(self, training: Training) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: Any) -> None:
            self.count = state["count"]

    fitted(callbacks=[Counter(), Checkpoint(tmp_path / "state.npz")])
    counter = Counter()
    fitted(callbacks=[counter, Checkpoint(tmp_path / "state.npz")], epochs=3, resume=tmp_path / "state.npz")
    assert counter.count == 9
