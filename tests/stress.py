"""Trainings that are killed and interrupted at random moments, and threads that share what can be shared.

    python -m tests.stress --kills 1000                # SIGKILL and SIGINT, in turns
    python -m tests.stress --threads 8 --units 4000    # units of work for each thread

Both print figures, and end with an error if there is a difference.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad import functional as F
from minigrad import io, nn, optim
from minigrad.data import DataLoader
from minigrad.train.callbacks import Checkpoint, EachStep, EarlyStopping
from minigrad.train.loop import fit

EPOCHS = 8
X = np.random.default_rng(0).normal(size=(48, 6))
Y = np.argmax(X @ np.random.default_rng(1).normal(size=(6, 3)), axis=1)


def training(seed: int, path: Path | None, resume: bool, watch: Any = None) -> tuple[Any, Any]:
    """A run with everything that draws and remembers, and its model. `watch` is called with the model before it."""
    random.seed(seed)  # Python seeds it again after a fork
    noise = np.random.default_rng([seed, 1])
    model = nn.Sequential(
        nn.Linear(6, 16, rng=seed),
        nn.BatchNorm(16),
        nn.ReLU(),
        nn.Dropout(0.2, rng=seed),
        nn.Linear(16, 3, rng=seed + 1),
    )
    loader = DataLoader(X, Y, batch_size=12, shuffle=True, rng=seed, transform=lambda x, y: (x + noise.normal(), y))
    optimizer = optim.Adam(model.parameters(), lr=0.02, global_clipnorm=1.0)
    callbacks: list[Any] = [EachStep(optim.CosineAnnealingLR(optimizer, 4 * EPOCHS)), EarlyStopping("loss", patience=3)]
    callbacks += [Checkpoint(path)] if path else []
    if watch is not None:
        watch(model)
    begin = path if resume else None
    return fit(
        model, loader, F.cross_entropy, optimizer, EPOCHS, callbacks=callbacks, resume=begin, progress=False
    ), model


# Kills


def kill(count: int, seed: int, folder: Path) -> Counter[str]:
    """Kill or interrupt a training `count` times, and hold what it left to the uninterrupted run."""
    rng, found = np.random.default_rng(seed), Counter[str]()
    path, run = folder / "checkpoint.npz", 0
    expected, longest = reference(run, folder)
    for k in range(count):
        how = signal.SIGKILL if k % 2 else signal.SIGINT
        ended = killed(run, path, how, rng.uniform(0, 0.8 * longest))
        found[{signal.SIGKILL: "kills", signal.SIGINT: "interrupts"}[how]] += 1
        found["that came before the end"] += ended < 0 or ended == INTERRUPTED
        found["modes that were changed"] += ended == CHANGED
        found["crashes"] += ended not in (0, INTERRUPTED, CHANGED, -how)
        orphans = len([name for name in os.listdir(folder) if name != path.name])
        found["that left a part of a file beside"] += orphans > 0
        found["more than one such part"] += orphans > 1
        if path.exists():
            found["files read"] += 1
            state = io.load(path)
            found["files that differ from the uninterrupted run"] += differs(state, expected[state["epoch"]])
        if ended == 0:
            found["runs that ended"] += 1
            path.unlink()
            io.save(path, {})  # orphans go with it
            found["orphans that stayed"] += len(os.listdir(folder)) - 1
            path.unlink()
            run += 1
            expected, longest = reference(run, folder)
    return found


INTERRUPTED, CHANGED = 7, 8


def reference(run: int, folder: Path) -> tuple[dict[int, Any], float]:
    """The state after each epoch of the uninterrupted run, and how long it takes."""
    states: dict[int, Any] = {}

    class Keep(Checkpoint):
        def on_epoch_end(self, of: Any) -> None:
            super().on_epoch_end(of)
            states[of.epoch] = io.load(self.path)

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder.parent) as other:
        globals()["Checkpoint"], kept = Keep, Checkpoint
        try:
            training(run, Path(other) / "x", False)
        finally:
            globals()["Checkpoint"] = kept
    return states, time.perf_counter() - begin


def killed(run: int, path: Path, how: signal.Signals, after: float) -> int:
    """Train in another process, send it a signal after some seconds, and wait: its exit status, -n for signal n."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(in_child(run, path, told))
    os.close(told)
    os.read(ready, 1)  # it has begun
    os.close(ready)
    time.sleep(after)
    os.kill(child, how)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(run: int, path: Path, told: int) -> int:
    modes: list[Any] = []
    models: list[Any] = []

    def watch(model: Any) -> None:
        models.append(model)
        modes.append(observed(model))
        os.write(told, b".")

    try:
        training(run, path, path.exists(), watch)
        status = 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException as error:
        print(f"run {run}: {error!r}", file=sys.stderr, flush=True)
        return 1
    return CHANGED if modes and observed(models[0]) != modes[0] else status


def observed(model: Any) -> Any:
    return [(m.training, "training" in vars(m)) for m in model.modules()], mg.is_grad_enabled()


def differs(a: Any, b: Any) -> bool:
    """Whether two states differ in any bit."""
    if isinstance(a, dict):
        return not isinstance(b, dict) or list(a) != list(b) or any(differs(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is not type(b) or len(a) != len(b) or any(map(differs, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes()
    return bool(a != b) and not (a != a and b != b)  # noqa: PLR0124  # NaN


# Threads


def shared_work(threads: int, units: int, folder: Path) -> Counter[str]:
    """Each thread does `units` units of work: it trains, saves, loads, differentiates, alone and on shared objects."""
    shared = Shared(folder / "shared.npz", threads * units)
    workers = [threading.Thread(target=shared.work, args=(k, units, folder)) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = shared.found
    found["crashes"] += len(shared.errors)
    for error in shared.errors[:5]:
        print(repr(error), file=sys.stderr)
    found["lost additions to a gradient"] = round(float(np.abs(shared.total.grad.numpy() - threads * units).max()))
    found["lost steps of an optimizer"] = threads * units - int(shared.optimizer.state_dict()["state"][0]["step"])
    return found


class Shared:
    """What all threads use at once."""

    def __init__(self, path: Path, units: int) -> None:
        self.path, self.units = path, units
        self.total = mg.Tensor(np.zeros(64), requires_grad=True)
        self.moved = mg.Tensor(np.zeros(64), requires_grad=True)
        self.moved.grad = np.ones(64)
        self.optimizer = optim.SGD([self.moved], lr=1.0, momentum=0.5)
        self.compiled = mg.compile(lambda x: (mg.sin(x) * x).sum(), backend="numpy")
        self.errors: list[BaseException] = []
        self.found: Counter[str] = Counter()
        self.lock = threading.Lock()
        io.save(path, {"who": -1, "x": np.full(200, -1.0)})

    def work(self, who: int, units: int, folder: Path) -> None:
        """The units of one thread."""
        found: Counter[str] = Counter()
        try:
            own = Own(who, folder / f"own{who}.npz")
            for k in range(units):
                self.unit(who, k, own, found)
        except BaseException as error:
            self.errors.append(error)
        with self.lock:
            self.found.update(found)

    def unit(self, who: int, k: int, own: Own, found: Counter[str]) -> None:
        """Every kind of work once."""
        found["units"] += 1
        (self.total * 1.0).sum().backward()
        self.optimizer.step()
        found["own trainings that differ"] += own.train()
        io.save(self.path, {"who": who, "x": np.full(200, float(who))})
        state = io.load(self.path)
        found["files that are not whole"] += bool((state["x"] != state["who"]).any())
        x = np.linspace(0, 1 + k % 7, 16)
        wrong = not np.allclose(mg.grad(lambda x: (mg.sin(x) * x).sum())(x), np.sin(x) + x * np.cos(x), rtol=1e-13)
        wrong |= not np.allclose(self.compiled(x), (np.sin(x) * x).sum(), rtol=1e-13)
        with mg.no_grad():
            wrong |= mg.is_grad_enabled()
        found["derivatives and modes that are wrong"] += wrong or not mg.is_grad_enabled()


class Own:
    """A training of one thread, which begins again every STEPS steps and must come to the same numbers each time."""

    STEPS = 20

    def __init__(self, who: int, path: Path) -> None:
        self.who, self.path = who, path
        self.expected: Any = None
        self.begin()

    def begin(self) -> None:
        """From the start."""
        self.steps = 0
        self.model = nn.Sequential(nn.Linear(6, 16, rng=self.who), nn.BatchNorm(16), nn.Tanh(), nn.Linear(16, 3, rng=1))
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.02)

    def train(self) -> bool:
        """One step, through a file in the middle; whether the last one of a round came to other numbers."""
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(X), Y).backward()
        self.optimizer.step()
        self.steps += 1
        if self.steps == self.STEPS // 2:
            io.save(self.path, [self.model.state_dict(), self.optimizer.state_dict()])
            self.begin()
            model, optimizer = io.load(self.path)
            self.model.load_state_dict(model)
            self.optimizer.load_state_dict(optimizer)
            self.steps = self.STEPS // 2
        if self.steps < self.STEPS:
            return False
        state = self.model.state_dict()
        self.expected = state if self.expected is None else self.expected
        different = differs(state, self.expected)
        self.begin()
        return different


HARMLESS = {"kills", "interrupts", "that came before the end", "that left a part of a file beside", "files read"}
HARMLESS |= {"runs that ended", "units"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="how many kills and interrupts")
    parser.add_argument("--threads", type=int, default=0, help="how many threads")
    parser.add_argument("--units", type=int, default=400, help="units of work of each thread")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, action in (
            ("kills", lambda place: kill(options.kills, options.seed, place)),
            ("threads", lambda place: shared_work(options.threads, options.units, place)),
        ):
            if not getattr(options, name):
                continue
            place = Path(folder) / name
            place.mkdir()
            begin, cpu = time.perf_counter(), time.process_time()
            found = action(place)
            for what, count in found.items():
                print(f"{count:8,}  {what}")
            print(f"{time.perf_counter() - begin:8.1f}  seconds, {time.process_time() - cpu:.1f} of processor time")
            bad += sum(count for what, count in found.items() if what not in HARMLESS)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
