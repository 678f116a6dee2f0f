"""What a watch measures, that it removes its hooks, and its report when little was observed."""

import gc
import json
import subprocess
import sys
import weakref

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import nn, optim
from minigrad.diagnostics import Watch, watch
from minigrad.diagnostics.observer.statistics import DeadUnits, Histogram, ThinnedHistory, Values
from minigrad.diagnostics.report.prediction import predictions
from minigrad.engine import primitive
from minigrad.engine.gradient_hooks import HOOKED

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

rng = np.random.default_rng(3)
X, Y = rng.normal(size=(64, 6)), rng.integers(0, 3, 64)


def network(*activations, seed=0):
    a, b = activations or (nn.ReLU(), nn.Tanh())
    draw = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(6, 8, rng=draw), a, nn.Linear(8, 7, rng=draw), b, nn.Linear(7, 3, rng=draw))


def step(model, optimizer=None):
    optimizer = optimizer or optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    F.cross_entropy(model(X), Y).backward()
    optimizer.step()


def rows(w):
    return {layer.name: layer for layer in w.layers.values()}


# What is measured


def test_measurements_of_a_step():
    model = network()
    before = [p.data.copy() for p in model.parameters()]
    with watch(model) as w:
        step(model)
    hidden = np.maximum(X @ before[0] + before[1], 0)
    bounded = np.tanh(hidden @ before[2] + before[3])
    one, three = rows(w)["1"].now, rows(w)["3"].now
    assert one["mean"] == pytest.approx(hidden.mean())
    assert one["std"] == pytest.approx(hidden.std())
    assert one["zero"] == np.mean(hidden == 0)
    assert one["dead"] == np.mean((hidden == 0).all(axis=0))
    assert three["saturated"] == np.mean(np.abs(bounded) > 0.99)
    change = model[4].weight.data - before[4]
    assert rows(w)["4"].now["update"] == pytest.approx(np.linalg.norm(change) / np.linalg.norm(before[4]))
    t = mg.Tensor(bounded, requires_grad=True)
    F.cross_entropy(t @ before[4] + before[5], Y).backward()
    assert three["gradient"] == pytest.approx(np.sqrt(np.mean(t.grad.data**2)))


def test_step_ends_after_an_update_or_a_backward_pass():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with watch(model) as w:
        with mg.no_grad():
            model(X)
            model(X)
        assert w.step == 0
        for _ in range(3):
            step(model, optimizer)
    assert (w.step, w.updates, w.passes, w.backwards) == (3, 3, 5, 3)
    assert w.history["0"]["step"] == [0.0, 1.0, 2.0]
    assert w.history["0"]["calls"] == [3.0, 1.0, 1.0]
    assert len(w.history["0"]["update"]) == 3


def test_watching_does_not_change_training():
    plain, watched = network(seed=1), network(seed=1)
    optimizers = [optim.Adam(m.parameters()) for m in (plain, watched)]
    for _ in range(3):
        step(plain, optimizers[0])
    with watch(watched):
        for _ in range(3):
            step(watched, optimizers[1])
    assert all(np.array_equal(p.data, q.data) for p, q in zip(plain.parameters(), watched.parameters(), strict=True))


def test_watching_fit():
    from minigrad.data import DataLoader

    model = network()
    with watch(model) as w:
        loader = DataLoader(X, Y, batch_size=32)
        mg.fit(
            model, loader, F.cross_entropy, optim.SGD(model.parameters(), lr=0.1), 2, validation=loader, progress=False
        )
    assert w.updates == 4
    assert w.report().ok


def test_predicted_scale():
    draw = np.random.default_rng(0)
    layers = [m for _ in range(4) for m in (nn.Linear(300, 300, init="he_normal", rng=draw), nn.ReLU())]
    layers += [nn.Linear(300, 300, rng=draw), nn.BatchNorm(300), nn.Sigmoid(), nn.Linear(300, 300, rng=draw)]
    model = nn.Sequential(*layers)
    with watch(model) as w:
        model(draw.normal(size=(500, 300)))
    by_layer = {p.layer: p for p in predictions(list(w.layers.values()))}
    assert [round(p.gain, 1) for p in by_layer.values()] == [2.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    assert by_layer["2"].activation == pytest.approx(0.5, rel=1e-3)
    assert all(p.measured == pytest.approx(p.predicted, rel=0.1) for p in by_layer.values())
    z = draw.normal(size=1000_000)
    assert by_layer["11"].activation == pytest.approx(np.mean(F.sigmoid(z) ** 2), rel=1e-2)


def test_activations_called_as_functions():
    class Net(nn.Module):
        def __init__(self):
            self.fc1, self.fc2 = nn.Linear(6, 8, init="normal", rng=0), nn.Linear(8, 3, rng=1)

        def forward(self, x):
            h = mg.sigmoid(self.fc1(10 * x))
            for _ in range(3):
                h = mg.tanh(h)
            return self.fc2(np.tanh(h.reshape(4, -1, 8)).reshape(-1, 8))

    model = Net()
    with watch(model) as w:
        step(model)
    names = [layer.name for layer in w.layers.values()]
    assert names[:4] == ["fc1", "fc1 → sigmoid", "fc1 → sigmoid → tanh", "fc1 → sigmoid → tanh → tanh"]
    assert names[-1] == "fc2"
    finding = w.report().findings[0]
    assert (finding.layer, finding.cause) == ("fc1 → sigmoid", "saturated")
    assert rows(w)["fc1 → sigmoid"].now["gradient"] > 0


def test_streaming_statistics_agree_with_numpy():
    values, x = Values(), rng.normal(1, 2, (30, 4))
    for part in np.split(x, 3):
        values.add(part, (-1.0, 1.0))
    assert (values.mean, values.std) == pytest.approx((x.mean(), x.std()))
    assert values.saturated == np.count_nonzero((x < -0.99) | (x > 0.99))
    values.add(np.array([[np.nan, 1.0, 2.0, np.inf]]))
    assert values.not_finite == 2
    assert np.isfinite(values.mean)
    huge = Values()
    huge.add(np.full((2, 2), 1e200))
    assert huge.std == np.inf


def test_dead_units_need_many_rows():
    dead, x = DeadUnits(), np.zeros((20, 4))
    x[3, 0] = 1.0
    dead.add(x)
    dead.end_step()
    assert dead.fraction is None
    dead.add(x)
    dead.end_step()
    assert dead.fraction == 0.75


def test_memory_does_not_grow():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    with watch(model) as w:
        step(model, optimizer)
        line = weakref.ref(model(X).node)
        step(model, optimizer)
        gc.collect()
        assert line() is None
    assert not w._sources
    thin = ThinnedHistory(limit=8)
    for k in range(100):
        thin.add(k, {"mean": float(k)})
    curves = thin.curves()
    assert len(curves["step"]) <= 8
    assert curves["step"] == curves["mean"]
    histogram = Histogram()
    histogram.add(rng.normal(size=1000))
    histogram.end_step()
    assert histogram.last.sum() == 1000


# What is left behind


def test_hooks_are_removed():
    model = network()
    before = {p: p.record.__globals__["function"] for p in primitive.FUNCTIONS}
    with watch(model) as w:
        assert model._hooks
        out = model(X)
    assert not {p.node for p in model.parameters()} & set(HOOKED)
    assert not any(module._hooks for module in model.modules())
    assert {p: p.record.__globals__["function"] for p in before} == before
    seen = w.history["0"]
    F.cross_entropy(out, Y).backward()
    step(model)
    assert w.history["0"] == seen
    assert w.step == 1


def test_hooks_are_removed_after_an_exception():
    model = network()
    with pytest.raises(ValueError, match="features"), watch(model) as w:
        model(np.ones((2, 5)))
    assert not any(module._hooks for module in model.modules())
    assert not w.is_open
    assert not primitive.on_new
    assert w.report().notes


def test_call_after_a_failed_call():
    model = network()
    with watch(model) as w:
        with pytest.raises(ValueError, match="features"):
            model(np.ones((2, 5)))
        step(model)
    assert w.report().ok
    assert rows(w)["0"].is_first


def test_submodule_is_called_again_after_raising():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with watch(model) as w:
        with pytest.raises(ValueError, match="features"):
            model[0](np.ones((2, 5)))
        for _ in range(2):
            model[0](X).sum().backward()
            optimizer.step()
    assert (w.step, w.updates, w.passes) == (2, 2, 3)


def test_activations_of_one_layer_have_distinct_names():
    class Gate(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(6, 4, rng=0)

        def forward(self, x):
            a = self.fc(x)
            b = mg.tanh(a)
            return b * mg.tanh(a) * mg.tanh(x[:, :4] * 2)

    with watch(Gate()) as w:
        w.model(X)
    assert list(w.history) == ["fc", "fc → tanh", "fc → tanh 2", "tanh"]


def test_watch_can_be_entered_again():
    model = network()
    w = watch(model)
    for _ in range(2):
        with w:
            step(model)
    assert w.step == 2
    with w, pytest.raises(RuntimeError, match="already open"):
        w.__enter__()


# Little to see


def text(w):
    report = w.report()
    assert json.loads(report.to_json())["model"] == report.model
    assert report._repr_html_().startswith("<div>")
    return str(report)


def test_model_without_layers():
    class Empty(nn.Module):
        def forward(self, x):
            return x * 2

    with watch(Empty()) as w:
        w.model(np.ones(3))
    assert "the model has no parameters" in text(w)
    with watch(nn.Sequential(nn.Sequential())) as w:
        w.model(np.ones(3))
    assert text(w)


def test_model_not_called_inside_the_block():
    model = network()
    with watch(model) as w:
        pass
    step(model)
    assert "the model was not called inside the block" in text(w)
    assert w.report().ok
    with pytest.raises(ValueError, match="nothing was observed"):
        w.plot()


def test_compiled_step_is_observed():
    """The step runs eagerly inside the block, without a warning, and as a program after it."""
    plain, watched = network(), network()
    results, steps = [], []
    for model in (plain, watched):
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        @mg.compile(backend="numpy", audit=False)
        def compiled(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        losses = [float(compiled(X, Y)) for _ in range(3)]
        w = watch(model)
        if model is watched:
            with w, mg.detect_anomaly():
                losses += [float(compiled(X, Y)) for _ in range(3)]
            report = w.report()
            assert "the model was not called" not in text(w)
            assert len(report.layers) == len([m for m in model.modules() if not list(m.children())])
        else:
            losses += [float(compiled(X, Y)) for _ in range(3)]
        losses += [float(compiled(X, Y)) for _ in range(3)]
        results.append(losses)
        steps.append(compiled)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)
    # once more after the block, for modules that have an empty table of hooks then
    assert [(len(step.versions), step.recordings, step.why) for step in steps] == [(1, 2, None), (2, 4, None)]


def test_argument_must_be_a_module():
    with pytest.raises(TypeError, match="the class ReLU"):
        watch(nn.ReLU)
    with pytest.raises(TypeError, match="a function"):
        watch(lambda x: x)


def test_without_a_backward_pass_or_updates():
    model = network()
    with watch(model) as w, mg.no_grad():
        model(X)
    assert "there was no backward pass" in text(w)
    with watch(model) as w:
        F.cross_entropy(model(X), Y).backward()
    assert "no parameter changed" in text(w)


@pytest.mark.floating(all="ignore")
def test_nan_from_the_first_step():
    model = network()
    x = X.copy()
    x[5, 2] = np.nan
    with watch(model) as w:
        for _ in range(2):
            F.cross_entropy(model(x), Y).backward()
    report = w.report()
    assert report.causes == ["NaN from outside"]
    assert report.findings[0].layer == "0"
    assert "look for NaN in the data" in text(w)
    weight = network()
    with mg.no_grad():
        weight[0].weight[0, 0] = np.nan
    with watch(weight) as w:
        step(weight)
    assert "operand weight (weight) had NaN" in w.report().findings[0].sentence


def test_dead_layer_with_a_single_row():
    model = network(nn.ReLU(), nn.ReLU())
    with mg.no_grad():
        model[0].weight[...] = 0
    with watch(model) as w:
        F.cross_entropy(model(X[:1]), Y[:1]).backward()
    assert text(w)


def test_outputs_in_structures_and_integers():
    class Odd(nn.Module):
        def __init__(self):
            self.lstm, self.count = nn.LSTM(2, 3, rng=0), nn.Identity()

        def forward(self, x):
            outputs, (h, c) = self.lstm(x)
            return {"outputs": outputs, "state": (h, c), "count": self.count(np.arange(3))}

    model = Odd()
    with watch(model) as w:
        model(np.ones((4, 5, 2)))["outputs"].sum().backward()
    assert "lstm" in text(w)


def test_shared_layers_and_containers():
    shared = nn.Linear(6, 6, rng=0)

    class Shared(nn.Module):
        def __init__(self):
            self.blocks = nn.ModuleList([shared, nn.ReLU(), shared])
            self.head = nn.Linear(6, 3, rng=1)

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    model = Shared()
    with watch(model) as w:
        step(model)
    assert w.history["blocks.0"]["calls"] == [2.0]
    assert w.report().ok


def test_two_watches_at_the_same_time():
    one, other = network(), network(seed=1)
    with watch(one) as a, watch(other) as b:
        step(one)
        step(other)
    assert (a.step, b.step) == (1, 1)
    with watch(one) as a, watch(one) as b:
        step(one)
    assert a.history == b.history


def test_report_inside_the_block():
    model = network()
    with watch(model) as w:
        step(model)
        assert w.report().ok
        step(model)
    assert w.step == 2
    assert "closed" in repr(w)
    assert isinstance(w, Watch)


# Pictures


def test_histograms(tmp_path):
    model = network()
    with watch(model) as w:
        for _ in range(2):
            step(model)
    figure = w.plot(tmp_path / "layers.png")
    assert (tmp_path / "layers.png").stat().st_size > 5000
    titles = [axes.get_title().strip() for axes in figure.axes]
    assert titles[:5] == ["0 Linear", "1 ReLU", "2 Linear", "3 Tanh", "4 Linear"]


def test_without_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.modules['matplotlib.figure'] = None\n"
        "import numpy as np, minigrad as mg\n"
        "with mg.diagnostics.watch(mg.nn.Linear(2, 2)) as w: w.model(np.ones((3, 2)))\n"
        "try: w.plot()\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'minigrad[plot]'" in done.stdout
