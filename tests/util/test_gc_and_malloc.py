"""tune_malloc: freed memory stays with the process; tune_gc: old objects are searched less often."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.data import DataLoader
from minigrad.util.memory_tuning import tuned_gc

FAULTS = """
import resource
import numpy as np
import minigrad as mg
{tuned}
x = np.ones((1024, 1024))
for _ in range(5):
    several = [x + 1 for _ in range(4)]
    del several
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    several = [x + 1 for _ in range(4)]
    del several
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(tuned: str) -> int:
    """Pages that the system hands out while arrays of 8 MB are made and given back, four at a time."""
    code = FAULTS.format(tuned=tuned)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_freed_memory_is_used_again() -> None:
    assert faults("assert mg.tune_malloc()") < faults("") / 10


@pytest.mark.parametrize("keep", [0, -1, 1 << 31])
def test_bad_input(keep: int) -> None:
    with pytest.raises(ValueError, match=rf"tune_malloc\(keep={keep}\): must be a positive number"):
        mg.tune_malloc(keep)


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("thresholds")
def test_the_collector_is_tuned_when_asked() -> None:
    assert mg.tune_gc()
    assert gc.get_threshold() == (700, 10, 100)
    assert mg.tune_gc(50)
    assert gc.get_threshold() == (700, 10, 50)
    with pytest.raises(ValueError, match=r"tune_gc\(patience=0\): must be a positive number"):
        mg.tune_gc(0)


@pytest.mark.usefixtures("thresholds")
def test_thresholds_of_the_program_are_left_alone() -> None:
    gc.set_threshold(500, 5, 20)
    assert not mg.tune_gc()
    with tuned_gc():
        assert gc.get_threshold() == (500, 5, 20)
    assert gc.get_threshold() == (500, 5, 20)
    gc.set_threshold(700, 10, 10)
    with tuned_gc():
        gc.set_threshold(300, 3, 3)
    assert gc.get_threshold() == (300, 3, 3)


@pytest.mark.usefixtures("thresholds")
def test_fit_tunes_the_collector_while_it_runs() -> None:
    seen = []

    class See:
        def on_step_end(self, training: object) -> None:
            seen.append(gc.get_threshold())

    def train(callback: object) -> None:
        model = nn.Linear(1, 1, rng=0)
        loader = DataLoader(np.ones((4, 1)), np.ones((4, 1)), batch_size=2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        mg.fit(model, loader, mg.functional.mse_loss, optimizer, epochs=3, callbacks=[callback], progress=False)

    threads = [threading.Thread(target=train, args=(See(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {(700, 10, 100)}
    assert gc.get_threshold() == (700, 10, 10)

    class Fails:
        def on_step_end(self, training: object) -> None:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        train(Fails())
    assert gc.get_threshold() == (700, 10, 10)
