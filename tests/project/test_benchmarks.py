"""The benchmarks: their arithmetic, their tables, that wrong contenders are found out, and every workload once."""

import doctest
import json
from importlib import import_module

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks import contender, peers, quiet, ratios, report, runner
from benchmarks.contender import batch, results
from benchmarks.suites import SUITES
from benchmarks.workload import Disagreement, Step, check_agreement

WORKLOADS = [(suite, w) for suite in SUITES for w in import_module(f"benchmarks.suites.{suite}").WORKLOADS]
OURS = [
    pytest.param(workload, name, id=f"{suite}: {workload.title}: {name}")
    for suite, workload in WORKLOADS
    for name in workload.contenders
    if peers.library(name) == "minigrad" and suite not in ("startup", "lines")  # other suites' steps
]


def workload(suite, start):
    """The workload of a suite whose title starts like this."""
    return next(w for s, w in WORKLOADS if s == suite and w.title.startswith(start))


def outcome(suite, start, name="minigrad", calls=1):
    """The tiny problem, and what a contender makes of it."""
    w = workload(suite, start)
    return w.problem(True), results(w.contenders[name](w.problem(True)), calls)


# The workloads


@pytest.mark.floating(all="ignore")  # where floating-point errors raise, a step runs eagerly
@pytest.mark.parametrize(("w", "name"), OURS)
def test_every_workload_of_minigrad_runs(w, name):
    found = results(w.contenders[name](w.problem(True)), w.calls)
    assert found
    assert all(np.isfinite(a).all() and a.any() for a in found)
    compiled = "minigrad compiled, NumPy"
    if name == "minigrad" and compiled in w.contenders and w.unit == "s":
        check_agreement({name: found, compiled: results(w.contenders[compiled](w.problem(True)), w.calls)}, w.tolerance)


def test_the_expression_of_micrograd_has_the_values_of_its_readme():
    _, (value, da, db) = outcome("scalars", "the expression")
    np.testing.assert_allclose([value, da, db], [24.7041, 138.8338, 645.5773], rtol=1e-6)


def test_moons_loss_is_that_of_arrays():
    p, (loss, *gradients) = outcome("scalars", "moons")
    assert len(gradients) == len(p.leaves) == 13
    step, at = 1e-6, np.array(p.leaves)
    for k in (0, 4, 12):  # a bias, a weight, the last weight
        moved = [p.function([Relu(x) for x in at + sign * step * np.eye(13)[k]]) for sign in (1, -1)]
        np.testing.assert_allclose(gradients[k], (moved[0] - moved[1]) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(loss, p.function([Relu(x) for x in at]), rtol=1e-12)


class Relu(float):
    """A number that has what the scalar graphs ask for."""

    def relu(self):
        return Relu(max(self, 0.0))

    def __add__(self, other):
        return Relu(float(self) + other)

    def __mul__(self, other):
        return Relu(float(self) * other)

    def __rsub__(self, other):
        return Relu(other - float(self))

    __radd__, __rmul__ = __add__, __mul__


@pytest.mark.parametrize("name", ["minigrad", "minigrad, from primitives"])
def test_first_loss_of_a_network_is_that_of_numpy(name):
    p, losses = outcome("networks", "784", name, calls=3)
    x = p.x.astype(np.float64)
    for weight, bias, gamma, beta in p.layers[:-1]:
        z = x @ weight + bias
        x = np.maximum((z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) * gamma + beta, 0)
    logits = x @ p.layers[-1][0] + p.layers[-1][1]
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(x)), p.labels])
    np.testing.assert_allclose(losses[0], expected, rtol=1e-5)
    assert losses[0] > losses[1] > losses[2]


def test_fused_and_composed_batch_norm_agree():
    ours = {name: outcome("normalization", "batch norm, (128", name)[1] for name in ("minigrad", COMPOSED)}
    check_agreement(ours, 1e-5)


COMPOSED = "minigrad, from primitives"


def test_convolution_is_that_of_windows():
    p, (y,) = outcome("convolution", "5×5, 3→6, 32×32, batch 32, forward")
    windows = sliding_window_view(p.x, p.kernel.shape[:2], axis=(1, 2))
    np.testing.assert_allclose(y, np.einsum("nhwckl,klco->nhwo", windows, p.kernel), rtol=1e-4, atol=1e-4)


def test_hessian_vector_product_is_a_difference_of_gradients():
    p, (product,) = outcome("derivatives", "Hessian")
    x, y, kernel, direction = (a.astype(np.float64) for a in (p.x, p.y, p.kernel, p.direction))

    def gradient(kernel):
        t = np.tanh(x @ kernel)
        return x.T @ ((1 - t * t) * (2 / len(y) * (t.sum(1) - y))[:, None])

    expected = (gradient(kernel + 1e-5 * direction) - gradient(kernel - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(product, expected, rtol=1e-3, atol=1e-4)


def test_every_declaration_is_complete():
    for suite, w in WORKLOADS:
        assert all(peers.library(name) for name in w.contenders), suite
        assert "minigrad" in w.contenders, w.title
        assert w.reference in w.contenders, w.title
        for goal in w.goals:
            named = {goal.ours, *([goal.peer] if isinstance(goal.peer, str) else goal.peer)}
            assert named <= set(w.contenders), w.title
            assert goal.stretch < goal.floor, w.title
    assert len({(suite, w.title) for suite, w in WORKLOADS}) == len(WORKLOADS)


# The arithmetic


@pytest.mark.parametrize("module", [ratios, quiet, report])
def test_docstring_examples(module):
    assert doctest.testmod(module) == (0, doctest.testmod(module).attempted)


def test_a_disturbed_round_shows_in_the_spread_but_hardly_in_the_ratio():
    ours = [[2.0, 2.1, 2.0, 2.2] for _ in range(8)]
    peer = [[4.0, 4.1, 4.0, 4.3] for _ in range(8)]
    ours[3] = [9.0, 9.0, 9.0, 9.0]
    found = ratios.ratio(ratios.summary(ours), ratios.summary(peer))
    assert found.quartile == pytest.approx(0.5)
    assert (found.lowest, found.highest) == (pytest.approx(0.5), pytest.approx(2.25))


def test_a_batch_ends_with_its_time_or_its_number_of_calls():
    calls = []
    assert len(batch(Step(calls.append, (1,)), 10.0)) == 200
    assert len(calls) > 200  # the warm-up
    assert len(batch(Step(sum, (range(100_000),)), 0.0)) >= 1


def test_waiting_for_quiet_cores_ends_on_a_busy_machine(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text("cpu  0 0 0 0 0 0 0 0\n" + "".join(f"cpu{k} 50 0 0 50 0 0 0 0\n" for k in range(256)))
    monkeypatch.setattr(quiet, "STAT", stat)
    monkeypatch.setattr(quiet, "SAMPLE", 0.001)
    waiting = quiet.Quiet(patience=0.01)
    assert not waiting.wait()
    assert not waiting.wait()
    assert (waiting.waits, waiting.loud) == (2, 2)


# Agreement


def test_a_wrong_contender_is_named():
    right = [np.array([1.0, 2.0]), np.array(3.0)]
    check_agreement({"a": right, "b": [a * (1 + 1e-6) for a in right]}, 1e-4)
    with pytest.raises(Disagreement, match="result 1 of c is 3 from that of a"):
        check_agreement({"a": right, "b": right, "c": [right[0], np.array(6.0)]}, 1e-4)
    with pytest.raises(Disagreement, match=r"b has shapes \[\(2,\)\]"):
        check_agreement({"a": right, "b": right[:1]}, 1e-4)
    with pytest.raises(Disagreement, match="of b is nan"):
        check_agreement({"a": right, "b": [right[0], np.array(np.nan)]}, 1e-4)


PLANTED = """
import numpy as np
from benchmarks.workload import Step, Workload

def times(factor):
    return lambda p: Step(lambda x: x * factor, (p,))

def fails(p):
    raise RuntimeError("no such thing here")

def problem(tiny):
    return np.ones(3)

WORKLOADS = [
    Workload("right", problem, {"NumPy": times(2), "NumPy again": times(2.0), "NumPy, failing": fails}, "NumPy"),
    Workload("wrong", problem, {"NumPy": times(2), "NumPy, wrong": times(2.001)}, "NumPy"),
    Workload("figure", problem, {"NumPy": lambda p: Step(lambda: 7.0)}, "NumPy", unit="MB", fresh=True),
]
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A suite with a failing and a wrong contender, run in processes."""
    folder = tmp_path_factory.mktemp("suite")
    (folder / "planted.py").write_text(PLANTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return runner.run_suite("planted", runner.Effort(rounds=2, seconds=0.001, patience=0.0))


def test_a_contender_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text(
        "import time\nfrom benchmarks.workload import Workload\n"
        "WORKLOADS = [Workload('', lambda tiny: None, {'NumPy': lambda p: time.sleep(60)})]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(contender, "LONGEST", 0.1)
    with contender.Contender("endless", 0, "NumPy") as slow:
        with pytest.raises(contender.Failed, match=r"no answer in 0\.1 s"):
            slow.ask("results", 1)
        slow.process.join(5)
        assert not slow.process.is_alive()


def test_contenders_are_measured_in_rounds(measured):
    row = measured["rows"][0]
    assert set(row["measured"]) == {"NumPy", "NumPy again"}
    assert all(len(found["rounds"]) == 2 and found["quartile"] > 0 for found in row["measured"].values())
    assert row["left out"] == {"NumPy, failing": "RuntimeError: no such thing here"}


def test_a_workload_with_a_wrong_contender_is_not_timed(measured):
    row = measured["rows"][1]
    assert row["measured"] == {}
    assert "NumPy, wrong is 0.001 from that of NumPy" in row["disagreement"]


def test_a_figure_is_measured_once(measured):
    assert measured["rows"][2]["measured"] == {"NumPy": {"quartile": 7.0, "median": 7.0, "rounds": [7.0]}}


# The tables


def made_up(title, measured):
    found = {name: ratios.summary([[value], [value]]) for name, value in measured.items()}
    left_out = {"MyGrad": "not installed"}
    return {"title": title, "reference": "PyTorch", "unit": "s", "left out": left_out, "measured": found}


def made_up_suite(*rows):
    return {
        **{"date": "2026-01-02", "seconds": 1, "load": [0.1, 0.1], "batches": 8, "not quiet": 3},
        **{"python": "3.11.7", "versions": {"numpy": "2.4.6"}, "cores": 2, "processor": "Z80"},
        "rows": list(rows),
    }


def test_the_tables_of_a_suite():
    chain = made_up(WORKLOADS[0][1].title, {"minigrad": 0.001, "PyTorch": 0.004})
    other = made_up("another", {"jax.jit": 1e-6, "minigrad": 2e-6})
    text = report.tables({"tiny": made_up_suite(chain, other | {"disagreement": "a differs"})})
    assert f"| {SUITES['tiny']}: {chain['title']} | minigrad | PyTorch | **0.25** | 0.25 to 0.25" in text
    assert "| 0.50 | 0.36 | stretch |" in text
    assert "| | minigrad | PyTorch | jax.jit |" in text
    assert f"| {chain['title']} | 0.25 | 4 ms |  |" in text
    assert "| another | 2 µs |  | 1 µs |" in text  # without its reference: times
    assert "MyGrad is left out: not installed." in text
    assert "Not timed, another: a differs." in text
    assert "3 of 8 batches had to begin without quiet cores." in text
    assert "All: measured on 2026-01-02, 2 cores (Z80), Python 3.11.7, numpy 2.4.6." in text


def test_the_quickest_of_several_peers_counts():
    w = workload("cnn", "28")
    row = made_up(w.title, {w.goals[0].ours: 1.0, "PyTorch": 4.0, "jax.jit": 2.0})
    ((_, _, _, peer, found),) = report.reached({"cnn": made_up_suite(row)})
    assert (peer, round(found.quartile, 2)) == ("jax.jit", 0.5)


def test_results_of_other_suites_are_kept(tmp_path):
    path, page = tmp_path / "results.json", tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    first = made_up_suite(made_up("one", {"minigrad": 1.0}))
    second = made_up_suite(made_up("two", {"minigrad": 2.0}))
    report.merge({"memory": first}, path)
    merged = report.merge({"tiny": second}, path)
    assert list(merged) == ["tiny", "memory"]
    assert json.loads(path.read_text()) == merged
    report.write(merged, page)
    once = page.read_text()
    report.write(merged, page)
    assert page.read_text() == once
    assert once.startswith(f"before\n{report.BEGIN}\n")
    assert once.endswith(f"{report.END}\nafter\n")
    assert "old" not in once
    assert "| one | 1 s |" in once
    assert "| two | 2 s |" in once


def test_the_page_has_its_marks():
    text = report.PAGE.read_text(encoding="utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1
    assert text.index(report.BEGIN) < text.index(report.END)
