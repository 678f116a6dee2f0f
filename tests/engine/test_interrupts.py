"""An interrupt at any line of a training leaves the modes of the modules and of recording as they were."""

from __future__ import annotations

import re
import sys
import warnings
import zipfile
from linecache import getline
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

import minigrad as mg
from minigrad import functional as F
from minigrad import io, nn, optim
from minigrad.data import DataLoader
from minigrad.engine import modes
from minigrad.train import loop as training
from minigrad.train.callbacks import Checkpoint, EarlyStopping
from minigrad.util.locks import LOCK

# An interrupt inside a generator that is being closed is reported, and goes no further.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# At the end of such a block Python looks for signals after the lock is released, though a tracer is called before.
LOCKED = re.compile(r"\s*with .*lock:", re.IGNORECASE)
PACKAGE = str(Path(mg.__file__).parent)
X, Y = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2


class Interrupted:
    """Raises KeyboardInterrupt at the n-th line, or call of a function, of the package."""

    def __init__(self, at: int, files: tuple[str, ...] = (PACKAGE,)) -> None:
        self.left, self.files = at, files
        self.where, self.at_entry = "", False

    def __enter__(self) -> Interrupted:
        sys.settrace(self.trace)
        return self

    def __exit__(self, *exception: Any) -> None:
        sys.settrace(None)

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self.files):
            return None
        if event in ("line", "call"):
            self.left -= 1
            if self.left <= 0 and not LOCKED.match(getline(frame.f_code.co_filename, frame.f_lineno)):
                first = frame.f_code.co_firstlineno
                self.at_entry = frame.f_code.co_name == "__exit__" and frame.f_lineno <= first + 2
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} {event}"
                raise KeyboardInterrupt
        return self.trace


def network() -> Any:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm(4), nn.Dropout(0.5, rng=1), nn.Linear(4, 2, rng=2))
    model[1].eval()  # a layer that is held in evaluation mode while others train
    return model


def observed(model: Any) -> Any:
    return [(m.training, "training" in vars(m)) for m in model.modules()], mg.is_grad_enabled(), modes.current_scope()


def run(action: Any, model: Any, at: int) -> str:
    """Interrupt the action; the place where it was, or "" if it had ended before."""
    before = observed(model)
    tracer = Interrupted(at)
    try:
        with tracer:
            action()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    assert observed(model) == before, tracer.where
    assert not LOCK._is_owned(), tracer.where
    return tracer.where


def interrupted_everywhere(make: Any, places: int) -> None:
    """Interrupt at places spread over the whole action, and at each of the first and last thirty."""
    make()[1]()
    model, action = make()
    counter = Interrupted(10**9)
    with counter:
        action()
    lines = 10**9 - counter.left
    chosen = {*np.linspace(1, lines, places).astype(int).tolist(), *range(1, 30), *range(max(lines - 30, 1), lines)}
    reached = 0
    for at in sorted(chosen):
        model, action = make()
        reached += bool(run(action, model, at))
    assert reached > 0.9 * len(chosen)


@pytest.mark.parametrize("begin_in_eval", [False, True])
def test_fit(begin_in_eval: bool, tmp_path: Path) -> None:
    def make() -> Any:
        model = network()
        if begin_in_eval:
            model.eval()
        loader = DataLoader(X, Y, batch_size=4, shuffle=True, rng=0)
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        callbacks = [Checkpoint(tmp_path / "x"), EarlyStopping("val_loss", patience=1)]
        options = {"validation": loader, "callbacks": callbacks, "progress": False}
        return model, lambda: training.fit(model, loader, F.cross_entropy, optimizer, 2, **options)

    interrupted_everywhere(make, 30)
    assert io.load(tmp_path / "x")["epoch"] >= 1


def test_evaluate() -> None:
    def make() -> Any:
        model = network()
        return model, lambda: training.evaluate(model, DataLoader(X, Y, batch_size=4), F.cross_entropy)

    interrupted_everywhere(make, 30)


def test_modes_are_restored_after_a_training() -> None:
    model = network()
    before = observed(model)
    loader = DataLoader(X, Y, batch_size=4)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    training.fit(model, loader, F.cross_entropy, optimizer, 1, validation=loader, progress=False)
    assert observed(model) == before
    training.evaluate(model.eval(), loader, F.cross_entropy)
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize("mode", [mg.no_grad, mg.enable_grad, lambda: mg.scope("block")])
def test_blocks(mode: Any) -> None:
    """Also in the code of the blocks themselves, but for __exit__ before its first instruction."""
    for at in range(1, 200):
        tracer = Interrupted(at)
        before = mg.is_grad_enabled(), modes.current_scope()
        block = mode()
        try:
            with tracer, block, mg.no_grad():
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        if not tracer.where:
            break
        after = mg.is_grad_enabled(), modes.current_scope()
        modes.resumed((("", ""), ()))
        if not tracer.at_entry:
            assert after == before, tracer.where


def test_an_interrupt_while_a_file_is_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    io.save(path, {"v": 0})
    files = (PACKAGE, zipfile.__file__, npy.write_array.__code__.co_filename)
    for at in range(1, 3000):
        tracer = Interrupted(at, files)
        try:
            with tracer, warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # an open file that the interrupt took away
                io.save(path, {"v": at})
        except KeyboardInterrupt:
            assert io.load(path)["v"] in (at, at - 1)
        finally:
            sys.settrace(None)
        io.save(path, {"v": at})
        assert io.load(path) == {"v": at}
        assert [p.name for p in tmp_path.iterdir()] == ["x"]
        if not tracer.where:
            break
    else:
        raise AssertionError("the action has more lines than were tried")
