"""Eight threads at once: nothing is lost, nothing dies, and each gets the numbers that it would get alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import functional as F
from minigrad import io, nn, optim
from minigrad.diagnostics import AnomalyError, watch
from minigrad.engine.gradient_hooks import HOOKED
from minigrad.engine.intercept import Observer, layers

THREADS = 8


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What each thread gives; the first exception of any is raised."""
    results: list[Any] = [None] * threads
    errors: list[BaseException] = []
    start = threading.Barrier(threads)

    def run(k: int) -> None:
        start.wait()
        try:
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run, args=(k,)) for k in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if errors:
        raise errors[0]
    return results


# Gradients of a leaf that all share


@pytest.mark.parametrize("size", [(), (3,), (5000,)], ids=str)
@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_all_threads_add_up_at_one_leaf(size: tuple[int, ...], create_graph: bool) -> None:
    w, times = mg.Tensor(np.zeros(size), requires_grad=True), 60

    def work(k: int) -> None:
        for _ in range(times):
            (w * float(k + 1)).sum().backward(create_graph=create_graph)

    together(work)
    assert np.array_equal(w.grad.numpy(), np.full(size, times * sum(range(1, THREADS + 1))))


def test_retained_gradients_add_up() -> None:
    w = mg.Tensor(np.zeros(2000), requires_grad=True)
    y = (w * 1.0).retain_grad()
    together(lambda k: [(y * 2.0).sum().backward(retain_graph=True) for _ in range(40)])
    assert np.array_equal(y.grad.numpy(), np.full(2000, 2.0 * 40 * THREADS))
    assert np.array_equal(w.grad.numpy(), np.full(2000, 2.0 * 40 * THREADS))


def test_hooks_are_added_and_removed() -> None:
    w = mg.Tensor(np.ones(3), requires_grad=True)
    before, seen = len(HOOKED), [0] * THREADS

    def work(k: int) -> None:
        def count(g: mg.Tensor) -> None:
            seen[k] += 1

        for _ in range(100):
            own = mg.Tensor(np.ones(3), requires_grad=True)
            hook, shared = own.register_hook(count), w.register_hook(lambda g: None)
            (own * w).sum().backward()
            hook.remove()
            shared.remove()

    together(work)
    assert seen == [100] * THREADS
    assert w.node.hooks == []
    assert len(HOOKED) == before
    assert np.array_equal(w.grad.numpy(), np.full(3, 100.0 * THREADS))


# What is kept of all threads


def test_leaves_are_written_while_others_look() -> None:
    def work(k: int) -> None:
        for _ in range(300):
            w = mg.Tensor(np.ones(3), requires_grad=True)
            (w * w).sum().backward()
            with mg.no_grad():
                w -= 0.1 * w.grad
            (w * w).sum().backward()
            assert np.allclose(w.grad.numpy(), 3.6)

    together(work)


def test_a_change_is_noticed_in_the_thread_that_needs_the_old_value() -> None:
    w = mg.Tensor(np.ones(3), requires_grad=True)
    loss = (w * w).sum()

    def work(k: int) -> None:
        with mg.no_grad():
            w[0] = 2.0

    together(work, 2)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_checkpoint_forgets_only_what_it_wrote_itself() -> None:
    """The recomputation of one thread puts back what it writes; the notes of others stay."""

    def work(k: int) -> None:
        for _ in range(15):
            memory = np.zeros(20_000)

            def f(x: Any, memory: Any = memory) -> Any:
                memory[0] += 1
                return mg.sin(x) * 2

            x = mg.Tensor(np.ones(3), requires_grad=True)
            mg.checkpoint(f)(x).sum().backward()
            w = mg.Tensor(np.ones(3), requires_grad=True)
            loss = (w * w).sum()
            with mg.no_grad():
                w *= 2.0
            with pytest.raises(RuntimeError, match="changed in place"):
                loss.backward()

    together(work)


def test_primitives_are_made_and_first_used() -> None:
    def work(k: int) -> list[float]:
        found = []
        for n in range(30):
            f = mg.custom(lambda x, m=n: x * (m + 1), lambda v, m: v * (m + 1), name=f"f{k}_{n}")
            found.append(float(mg.grad(lambda x, f=f, n=n: f(x, m=n))(1.0)))
        return found

    assert together(work) == [[n + 1.0 for n in range(30)]] * THREADS


# Layers around operations


def test_anomalies_are_found_where_they_arise_and_nowhere_else() -> None:
    def work(k: int) -> int:
        found = 0
        for _ in range(20):
            x = mg.Tensor([-1.0 if k % 2 else 1.0], requires_grad=True)
            try:
                with mg.detect_anomaly():
                    mg.log(x).sum().backward()
            except AnomalyError:
                found += 1
            with np.errstate(all="ignore"):
                mg.log(mg.Tensor([-1.0], requires_grad=True))  # outside of the block it is not looked at
        return found

    assert together(work) == [0, 20] * (THREADS // 2)


def test_one_block_and_one_decorator_serve_many_threads() -> None:
    block = mg.detect_anomaly()

    @mg.detect_anomaly()
    def decorated(x: Any) -> Any:
        return mg.log(x)

    def work(k: int) -> int:
        found = 0
        for _ in range(20):
            for run in (decorated, lambda x: mg.log(x)):
                try:
                    with block:
                        run(mg.Tensor([-1.0 if k % 2 else 1.0], requires_grad=True))
                except AnomalyError:
                    found += 1
        return found

    assert together(work) == [0, 40] * (THREADS // 2)


@pytest.mark.parametrize("block", [mg.detect_anomaly(), Observer()], ids=["detect_anomaly", "Observer"])
def test_blocks_that_threads_share_find_their_own_layer(block: Any) -> None:
    sys.setswitchinterval(1e-6)  # `_often` puts it back; the list of blocks changed while it was searched

    def work(k: int) -> int:
        for _ in range(400):
            with block:
                mg.log(np.ones(1))
        return len(layers())

    assert together(work) == [0] * THREADS
    assert mg.log.primitive.record.__globals__["function"] is np.log


def test_formulas_watches_and_anomalies_in_parallel() -> None:
    def formulas(k: int) -> str:
        x = mg.Tensor([1.0, 2.0], requires_grad=True).named("x")
        y = mg.sigmoid(x * k).sum()
        return "".join([mg.draw(y, formulas=True).source, mg.to_latex(y)])

    def watched(k: int) -> list[str]:
        net = nn.Sequential(nn.Linear(3, 4, rng=k), nn.ReLU(), nn.Linear(4, 1, rng=k))
        with watch(net) as w:
            net(np.ones((5, 3))).sum().backward()
        return [*w.layers][:1] and [layer.name for layer in w.layers.values()]

    def anomaly(k: int) -> bool:
        with pytest.raises(AnomalyError), mg.detect_anomaly():
            mg.softplus(mg.sigmoid(mg.Tensor([np.nan], requires_grad=True)))
        return True

    kinds = [formulas, watched, anomaly]
    alone = [kinds[k % 3](k) for k in range(THREADS)]
    for _ in range(2):
        assert together(lambda k: kinds[k % 3](k)) == alone
    assert mg.log.primitive.record.__globals__["function"] is np.log


# All of it


def trained(k: int, steps: int, folder: Path) -> list[Any]:
    """A model that is trained, saved, loaded and differentiated; what comes out depends on k only."""
    rng = np.random.default_rng(k)
    x, y = rng.normal(size=(16, 4)), rng.integers(0, 3, 16)
    model = nn.Sequential(
        nn.Linear(4, 8, rng=k), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2, rng=k), nn.Linear(8, 3, rng=k)
    )
    optimizer = [optim.Adam, optim.SGD, optim.AdamW, optim.RMSprop][k % 4](model.parameters(), lr=0.01)
    results: list[Any] = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            path = folder / f"{k}.npz"
            io.save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
            state = io.load(path)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            w = np.asarray(
                state["model"]["0.weight"] if "0.weight" in state["model"] else next(iter(state["model"].values()))
            )
            results.append(mg.grad(lambda w: (mg.tanh(w) ** 2).sum())(w))
            results.append(mg.hvp(lambda w: (w**3).sum(), w, np.ones_like(w)))
            results.append(mg.jvp(mg.sin, (w,), (w,))[1])
            with mg.no_grad():
                results.append(model(x).numpy().copy())
            remade = mg.checkpoint(lambda t: mg.exp(mg.sin(t)))
            results.append(mg.grad(lambda t, f=remade: f(t).sum())(w))
    return [float(loss.item()), *results]


def same(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def counted_work(steps: int, folder: Path) -> None:
    alone = [trained(k, steps, folder) for k in range(THREADS)]
    shared = mg.Tensor(np.zeros(500), requires_grad=True)

    def work(k: int) -> list[Any]:
        found = trained(k, steps, folder)
        for _ in range(steps):
            (shared * float(k)).sum().backward()
        return found

    found = together(work)
    assert all(map(same, found, alone))
    assert np.array_equal(shared.grad.numpy(), np.full(500, steps * sum(range(THREADS))))


def test_eight_threads_train_save_load_and_differentiate(tmp_path: Path) -> None:
    counted_work(30, tmp_path)


@pytest.mark.slow
@pytest.mark.floating(under="ignore")  # of second moments, after many steps
def test_eight_threads_for_a_long_time(tmp_path: Path) -> None:
    """As many steps as an hour of an interactive session: 80,000 in all."""
    counted_work(10_000, tmp_path)
