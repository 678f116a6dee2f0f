"""fit: the loop, history, early stopping, checkpoints, exact resume; and the files behind them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import io, nn, optim
from minigrad.data import DataLoader
from minigrad.nn.constraints import MaxNorm
from minigrad.train.callbacks import Checkpoint, EachStep, EarlyStopping
from minigrad.train.loop import NonFiniteLoss, ProgressBar, evaluate, fit
from minigrad.train.run_state import History, Training

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
LABELS = (X[:, 0] * X[:, 1] > 0).astype(int)


def parts(seed: int = 0) -> tuple[nn.Module, DataLoader, Any]:
    model = nn.Sequential(
        nn.Linear(4, 8, rng=seed), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2, rng=seed + 1)
    )
    loader = DataLoader(X, LABELS, batch_size=16, shuffle=True, rng=seed)
    return model, loader, optim.Adam(model.parameters(), lr=0.01)


def accuracy(out: Any, target: Any) -> float:
    return float(np.mean(out.numpy().argmax(axis=1) == target))


def same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(np.array_equal(ours[k], theirs[k]) for k in ours)


def test_fit_equals_a_hand_written_loop() -> None:
    """Written out: zero_grad, loss, backward, step, for each batch."""
    mg.manual_seed(1)
    model, loader, optimizer = parts()
    history = fit(model, loader, F.cross_entropy, optimizer, 3, metrics={"accuracy": accuracy}, progress=False)
    mg.manual_seed(1)
    other, loader, optimizer = parts()
    losses = []
    for _ in range(3):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            value = F.cross_entropy(other(x), y)
            value.backward()
            optimizer.step()
            total += len(y) * value.item()
        losses.append(total / len(X))
    assert same(model, other)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    assert len(history) == len(history["accuracy"]) == 3
    assert history["loss"][-1] < history["loss"][0]


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    mg.manual_seed(2)
    model, loader, optimizer = parts()
    whole = fit(model, loader, F.cross_entropy, optimizer, 5, progress=False)
    mg.manual_seed(2)
    half, loader, optimizer = parts()
    file = tmp_path / "run" / "state.npz"
    fit(half, loader, F.cross_entropy, optimizer, 2, callbacks=[Checkpoint(file)], progress=False)
    mg.manual_seed(99)
    resumed, loader, optimizer = parts(seed=7)
    history = fit(resumed, loader, F.cross_entropy, optimizer, 5, resume=file, progress=False)
    assert same(resumed, model)
    assert history["loss"] == whole["loss"]


def test_resume_restores_schedules_and_generators_of_layers(tmp_path: Path) -> None:
    file = tmp_path / "state.npz"

    def trained(epochs: int, length: int, **options: Any) -> tuple[nn.Module, Any, EarlyStopping]:
        model, loader, _ = parts()
        model = nn.Sequential(*model.children(), nn.Dropout(0.3, rng=4))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        stopping = EarlyStopping("loss", patience=length)
        cycle = EachStep(optim.OneCycleLR(optimizer, max_lr=0.2, total_steps=length * len(loader)))
        callbacks = [Checkpoint(file), cycle, stopping]
        fit(model, loader, F.cross_entropy, optimizer, epochs, callbacks=callbacks, progress=False, **options)
        return model, optimizer.param_groups[0]["lr"], stopping

    mg.manual_seed(2)
    whole, rate, best = trained(6, 6)
    mg.manual_seed(2)
    trained(3, 6)
    resumed, again, after = trained(6, 6, resume=file)
    assert same(resumed, whole)
    assert rate == again
    assert (best.best, best.best_epoch) == (after.best, after.best_epoch)
    optimizer = optim.SGD(whole.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match="expected the state of 0 callbacks, got 2"):
        fit(whole, parts()[1], F.cross_entropy, optimizer, 6, resume=file, progress=False)


def test_a_schedule_of_epochs_is_saved_after_its_step(tmp_path: Path) -> None:
    """Whatever the order: the checkpoint finds what the next epoch begins with."""
    rates = []
    for epochs, resume in ((4, None), (2, None), (4, tmp_path / "state.npz")):
        model, loader, optimizer = parts()
        callbacks = [Checkpoint(tmp_path / "state.npz"), optim.StepLR(optimizer, 1)]
        fit(model, loader, F.cross_entropy, optimizer, epochs, callbacks=callbacks, resume=resume, progress=False)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-6, 1e-4, 1e-6])
    assert rates[0] == rates[2]


def test_validation_is_measured_in_evaluation_mode() -> None:
    model, loader, optimizer = parts()
    held = DataLoader(X, LABELS, batch_size=25)
    history = fit(
        model, loader, F.cross_entropy, optimizer, 2, validation=held, metrics={"acc": accuracy}, progress=False
    )
    assert list(history.epochs) == ["loss", "acc", "val_loss", "val_acc"]
    model.eval()
    expected = F.cross_entropy(model(X), LABELS).item()
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-12)
    model.train()
    assert evaluate(model, held, F.cross_entropy)["loss"] == pytest.approx(expected, rel=1e-12)
    assert model.training


def test_early_stopping_waits_and_restores_the_best() -> None:
    model, loader, optimizer = parts()
    values = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    states = []

    class Planned:
        def on_epoch_end(self, training: Training) -> None:
            training.history.epochs["val_loss"] = [*training.history.epochs.get("val_loss", []), next(values)]
            states.append(training.model.state_dict())

    stopping = EarlyStopping(patience=2)
    history = fit(model, loader, F.cross_entropy, optimizer, 9, callbacks=[Planned(), stopping], progress=False)
    assert history["val_loss"] == [3.0, 1.0, 2.0, 2.0]
    assert stopping.best_epoch == 2
    assert all(np.array_equal(v, states[1][k]) for k, v in model.state_dict().items())


def test_a_schedule_is_stepped_after_each_epoch() -> None:
    class Schedule:
        steps = 0

        def step(self) -> None:
            self.steps += 1

    schedule = Schedule()
    model, loader, optimizer = parts()
    fit(model, loader, F.cross_entropy, optimizer, 3, callbacks=[schedule], progress=False)
    assert schedule.steps == 3


def test_a_plateau_reads_its_metric_from_the_history() -> None:
    model, loader, optimizer = parts()
    plateau = optim.ReduceLROnPlateau(optimizer, patience=1, threshold=1.0, monitor="loss")  # nothing is good enough
    fit(model, loader, F.cross_entropy, optimizer, 4, callbacks=[plateau], progress=False)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.1)
    with pytest.raises(ValueError, match="'val_loss' was not measured; the history has loss"):
        fit(
            model, loader, F.cross_entropy, optimizer, 1, callbacks=[optim.ReduceLROnPlateau(optimizer)], progress=False
        )


def test_a_schedule_of_steps_is_stepped_after_each_step() -> None:
    model, loader, optimizer = parts()
    cycle = optim.OneCycleLR(optimizer, max_lr=0.1, total_steps=3 * len(loader))
    fit(model, loader, F.cross_entropy, optimizer, 3, callbacks=[EachStep(cycle)], progress=False)
    assert cycle.steps == 3 * len(loader)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 25 / 1e4)


def test_a_constraint_is_a_callback_applied_after_each_step() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    loader = DataLoader(x, x @ np.full((3, 2), 9.0), batch_size=10)

    class Watch:
        def on_step_end(self, training: Training) -> None:
            norms.append(np.linalg.norm(training.model.weight.numpy(), axis=0))

    for constraints, least, most in (([], 1.0, 30.0), ([MaxNorm(0.1)], 0.1 - 1e-12, 0.1 + 1e-12)):
        model, norms = nn.Linear(3, 2, rng=0), list[Any]()
        optimizer = optim.SGD(model.parameters(), lr=0.2)
        fit(model, loader, F.mse_loss, optimizer, 2, callbacks=[*constraints, Watch()], progress=False)
        assert len(norms) == 8
        assert least <= np.min(norms) <= np.max(norms) <= most


def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path) -> None:
    model, loader, optimizer = parts()
    file = tmp_path / "state.npz"
    calls = 0

    def loss(out: Any, target: Any) -> Any:
        nonlocal calls
        calls += 1
        value = F.cross_entropy(out, target)
        return value * np.nan if calls == 6 else value

    with pytest.raises(NonFiniteLoss, match=r"loss is nan in step 6 \(epoch 2\).*learning rate"):
        fit(model, loader, loss, optimizer, 3, callbacks=[Checkpoint(file)], progress=False)
    assert io.load(file)["epoch"] == 1
    assert all(np.isfinite(v).all() for v in model.state_dict().values())


def test_errors() -> None:
    model, loader, optimizer = parts()
    with pytest.raises(ValueError, match="has no batches"):
        fit(model, iter([]), F.cross_entropy, optimizer, 1, progress=False)
    with pytest.raises(ValueError, match="must be an integer, at least 0"):
        fit(model, loader, F.cross_entropy, optimizer, -1)
    with pytest.raises(ValueError, match="'val_loss' was not measured"):
        fit(model, loader, F.cross_entropy, optimizer, 1, callbacks=[EarlyStopping()], progress=False)
    with pytest.raises(ValueError, match="mode is 'auto', 'min' or 'max'"):
        EarlyStopping(mode="least")
    for every in (0, -1, 2.5, True, "2"):
        with pytest.raises(ValueError, match="at least 1"):
            Checkpoint("x", every=every)  # type: ignore[arg-type]
    for delta in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="min_delta"):
            EarlyStopping(min_delta=delta)


def test_the_progress_bar_shows_the_measures(capsys: pytest.CaptureFixture[str]) -> None:
    model, loader, optimizer = parts()
    fit(model, loader, F.cross_entropy, optimizer, 2)
    assert "2/2" in capsys.readouterr().out


def test_the_progress_bar_advances_within_an_epoch() -> None:
    model, loader, optimizer = parts()
    training = Training(model, optimizer, History({"loss": [0.5]}), loader)
    with ProgressBar(training, 2) as bar:
        bar.on_step_end(training)
        (task,) = bar._progress.tasks
        assert task.completed == pytest.approx(1 / len(loader))
        training.epoch = 1
        bar.on_epoch_end(training)
        assert task.completed == 1
        assert task.fields["measured"] == "loss=0.5"


def test_history_as_a_table() -> None:
    history = History({"loss": [0.5, 0.25], "acc": [0.75, 1.0]})
    assert str(history).splitlines() == ["epoch  loss   acc", "    1   0.5  0.75", "    2  0.25     1"]


def test_saved_structures_are_loaded(tmp_path: Path) -> None:
    tree = {
        "a": [np.arange(3), (1, 2.5, "σ", None, True)],
        3: {"t": mg.Tensor([1.0, 2.0]), "big": 2**100},
        "f": np.ones((2, 0), dtype=np.float32),
    }
    io.save(tmp_path / "x.npz", tree)
    found = io.load(tmp_path / "x.npz")
    assert list(found) == ["a", 3, "f"]
    np.testing.assert_array_equal(found["a"][0], np.arange(3))
    assert found["a"][1] == (1, 2.5, "σ", None, True)
    assert found[3]["big"] == 2**100
    np.testing.assert_array_equal(found[3]["t"], [1.0, 2.0])
    assert found["f"].shape == (2, 0)
    assert found["f"].dtype == np.float32
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_unsupported_values_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"the structure\['m'\] is Linear"):
        io.save(tmp_path / "x.npz", {"m": nn.Linear(1, 1)})
    others = (np.array(["a", "b"]), "<U1"), (np.array([None]), "object"), (np.datetime64("2020"), "datetime64")
    for value, kind in others:
        with pytest.raises(TypeError, match=rf"\['m'\] is an array of dtype {kind}.*numbers or booleans") as caught:
            io.save(tmp_path / "x.npz", {"m": value})
        assert (".tolist()" in str(caught.value)) is (kind == "<U1")
    with pytest.raises(TypeError, match="keys must be strings"):
        io.save(tmp_path / "x.npz", {1.5: 2})
    assert list(tmp_path.iterdir()) == []
    np.savez(tmp_path / "other.npz", a=np.ones(1))
    with pytest.raises(ValueError, match="not written by"):
        io.load(tmp_path / "other.npz")


@pytest.mark.parametrize("epochs", [2, 1000])
@pytest.mark.parametrize("columns", [40, 54, 60, 80, 200])
@pytest.mark.parametrize("value", [0.5, 1 / 3, 123456.789, 1.2345e-10, -1.2345e-10, float("nan")])
def test_the_progress_bar_shows_everything_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float, columns: int, epochs: int
) -> None:
    """Whatever the values are: 1/3 takes two digits more than 0.5 does."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("rich._console", None)  # the one console of a process keeps the width it was made with
    model, loader, optimizer = parts()
    history = History({name: [0.5, value] for name in ("loss", "val_loss", "accuracy", "val_another_accuracy")})
    training = Training(model, optimizer, history, loader, epoch=epochs)
    with ProgressBar(training, epochs) as bar:
        bar.on_epoch_end(training)
    said = capsys.readouterr().out
    assert f"{epochs}/{epochs}" in said
    assert "…" not in said
    assert all(len(line) <= columns for line in said.splitlines())
    joined = "".join(re.findall(r"[\w=.+-]+", said))
    for text in (f"{name}={values[-1]:.4g}" for name, values in history.epochs.items()):
        is_wider = len(f"epoch {epochs}/{epochs} ━ {text} -:--:--") > columns  # than a line has room for
        assert text in (joined if is_wider else said)


def test_the_progress_bar_of_fit_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("rich._console", None)
    model, loader, optimizer = parts()
    metrics = dict.fromkeys(("accuracy", "another_accuracy"), accuracy)
    history = fit(model, loader, F.cross_entropy, optimizer, 2, validation=loader, metrics=metrics)
    said = capsys.readouterr().out
    assert "epoch 2/2" in said
    assert "…" not in said
    for name, values in history.epochs.items():
        assert f"{name}={values[-1]:.4g}" in said


def test_a_history_converts_to_a_dict_of_lists() -> None:
    history = History()
    history.add({"loss": 2.0, "accuracy": 0.5})
    history.add({"loss": 1.0, "accuracy": 0.75})
    assert dict(history) == {"loss": [2.0, 1.0], "accuracy": [0.5, 0.75]}
    assert list(history) == list(history.keys()) == ["loss", "accuracy"]
    assert "loss" in history
    assert "val_loss" not in history
    assert len(history) == 2


@pytest.mark.parametrize(
    ("monitor", "sign"), [("val_loss", 1.0), ("val_accuracy", -1.0), ("f1", -1.0), ("val_auc", -1.0), ("mae", 1.0)]
)
def test_early_stopping_knows_which_measures_are_better_when_larger(monitor, sign):
    assert EarlyStopping(monitor).sign == sign
    assert EarlyStopping(monitor, mode="min").sign == 1.0
