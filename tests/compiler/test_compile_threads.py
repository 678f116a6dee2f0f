"""Compiling in several threads, beside others that train, and in processes that fork meanwhile.

Each program runs in a process of its own, which is killed if it takes too long: what goes wrong here may hang.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minigrad.compiler import gate
from minigrad.compiler.kernels.threads import Pool
from minigrad.engine.errors import is_masked

LIMIT = 180.0  # seconds. On a quiet machine each takes a few
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
HEAD = """
import faulthandler, os, sys, threading, time
import numpy as np
import minigrad as mg
from minigrad.compiler import background
from minigrad.compiler.kernels import files as kernel_files

# Only in children: one of a process that has such a timer would wait for the timer's thread, which it does not have.
if hasattr(os, "register_at_fork"):  # a child says where it hangs
    os.register_at_fork(after_in_child=lambda: faulthandler.dump_traceback_later({limit} / 3, exit=True))
x = np.linspace(-1, 1, 1000)

def step_of(k):
    return mg.compile(lambda x: mg.sum(mg.tanh(x) * mg.exp(x + k)), backend=BACKEND)

def right(k):
    return float((np.tanh(x) * np.exp(x + k)).sum())

def ended(child):
    end = time.monotonic() + {limit} / 2
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"

def until(condition):
    while not condition():
        time.sleep(0.001)
"""


def run(program: str, folder: Path, backend: str = "auto", *flags: str) -> str:
    """What a program prints; it must end by itself, and well."""
    code = f"BACKEND = {backend!r}\n{HEAD.format(limit=LIMIT * 0.9)}\n{program}"
    environment = os.environ | {"MINIGRAD_CACHE": str(folder / "cache")}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", *flags, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done.stdout.strip()


@FORKS
@pytest.mark.parametrize("backend", ["auto", "numba", "numpy"])
def test_a_fork_of_a_process_that_compiles(tmp_path: Path, backend: str) -> None:
    """It compiles, runs what its parent has and had begun, and ends, however far its parent was."""
    pytest.importorskip("numba")
    program = """
for k in range(4):
    steps = [mg.compile(lambda x, j=j: mg.sum(mg.tanh(x) * mg.exp(x + j)), backend="auto") for j in (3 * k, 3 * k + 1)]
    for j, step in enumerate(steps):
        step(x), step(x)  # recorded twice: now kernels are compiled
    time.sleep(0.15 * k)
    child = os.fork()
    if child == 0:
        for j, step in enumerate(steps):  # begun by the parent
            assert np.isclose(float(step(x)), right(3 * k + j), rtol=1e-12)
            step.wait()
            assert np.isclose(float(step(x)), right(3 * k + j), rtol=1e-12)
            assert "kernel" in step.source
        own = step_of(0.5)
        for _ in range(4):
            assert np.isclose(float(own(x)), right(0.5), rtol=1e-12)
        own.wait()
        sys.exit(0)
    assert ended(child) == 0, k
    for j, step in enumerate(steps):
        step.wait()
        assert np.isclose(float(step(x)), right(3 * k + j), rtol=1e-12)
print("done")
"""
    assert run(program, tmp_path, backend) == "done"


@FORKS
def test_forks_from_several_threads(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    program = """
wrong = []

def forking(k):
    for _ in range(3):
        child = os.fork()
        if child == 0:
            step = step_of(k)
            os._exit(0 if all(np.isclose(float(step(x)), right(k)) for _ in range(4)) else 1)
        if (how := ended(child)) != 0:
            wrong.append(how)

compiling = [step_of(k + 0.25) for k in range(3)]
threads = [threading.Thread(target=forking, args=(k,)) for k in range(3)]
for thread in threads:
    thread.start()
for step in compiling:
    step(x), step(x)
for thread in threads:
    thread.join()
for step in compiling:
    step.wait()
print(wrong)
"""
    assert run(program, tmp_path) == "[]"


@FORKS
def test_a_fork_of_a_process_that_imports_numba(tmp_path: Path) -> None:
    """Locks of modules that a thread of the parent was importing would stay locked in the child."""
    pytest.importorskip("numba")
    program = """
step = step_of(0)
step(x)
step(x)  # recorded twice: now kernels can be compiled
threading.Thread(target=step.wait).start()
until(lambda: "numba" in sys.modules)
child = os.fork()
if child == 0:
    import numba
    numba.njit(lambda x: x + 1)(1)
    os._exit(0)
print(ended(child))
"""
    assert run(program, tmp_path) == "0"


@pytest.mark.parametrize("backend", ["auto", "numba", "numpy"])
def test_compiling_in_several_threads_while_others_train(tmp_path: Path, backend: str) -> None:
    pytest.importorskip("numba")
    program = """
sys.setswitchinterval(1e-5)
wrong, stop = [], threading.Event()

def guarded(function):
    def run(*args):
        try:
            function(*args)
        except BaseException as error:
            wrong.append(repr(error))
    return run

@guarded
def compiling(k):
    step = step_of(k)
    for _ in range(20):
        if not np.isclose(float(step(x)), right(k), rtol=1e-12):
            wrong.append(k)
    step.wait()
    for _ in range(20):
        if not np.isclose(float(step(x)), right(k), rtol=1e-12):
            wrong.append(k)

@guarded
def training():
    while not stop.is_set():
        w = mg.Tensor(np.arange(3.0), requires_grad=True)
        y = mg.sum(w * np.ones(3, "f4") * np.float32(2))
        y.backward()
        if w.grad.numpy().tolist() != [2.0, 2.0, 2.0]:
            wrong.append(w.grad)

threads = [threading.Thread(target=compiling, args=(k,)) for k in range(4)]
others = [threading.Thread(target=training) for _ in range(2)]
for thread in (*threads, *others):
    thread.start()
for thread in threads:
    thread.join()
stop.set()
for thread in others:
    thread.join()
print(wrong)
"""
    assert run(program, tmp_path, backend) == "[]"


def test_a_stored_gradient_is_never_half_updated(tmp_path: Path) -> None:
    """Gradients lie where the optimizer gathers them: elsewhere in each back end."""
    pytest.importorskip("numba")
    program = """
from minigrad import nn, optim

mg.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 1))
optimizer = optim.Adam(model.parameters(), lr=0.0)
data = np.random.default_rng(0).normal(size=(64, 20))

def step(x):
    optimizer.zero_grad()
    loss = mg.mean(model(x) ** 2)
    loss.backward()
    optimizer.step()
    return loss

fast = mg.compile(step, backend="auto")
wrong = calls = after = 0
while after < 20:
    x = np.roll(data, calls, axis=1) * (1 + calls % 7)
    fast(x)
    found = [p.grad.numpy().copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    mg.mean(model(x) ** 2).backward()
    wrong += not all(np.allclose(f, p.grad.numpy(), rtol=1e-9, atol=1e-12) for f, p in zip(found, model.parameters()))
    calls += 1
    after += "kernel" in fast.source
    if calls > 5 and fast.latest.kernels is not None and calls % 50 == 0:
        time.sleep(0.01)
    if calls > 20000:
        break
print(wrong, after > 0)
"""
    assert run(program, tmp_path).split() == ["0", "True"]


def test_a_process_may_end_while_it_compiles(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    begin = "for k in range(3):\n    step = step_of(k)\n    step(x), step(x)\nprint('end')"
    assert run(begin, tmp_path) == "end"
    program = """
import atexit

@atexit.register
def late():
    step = step_of(7)
    for _ in range(4):
        assert np.isclose(float(step(x)), right(7))
    assert step.latest.calls == 2
    print("late")

"""
    assert run(program, tmp_path) == "late"  # nothing else is compiled before
    assert run(f"{program}\nstep = step_of(1)\nstep(x), step(x)", tmp_path) == "late"


@pytest.mark.parametrize("pause", [0.1, 0.4, 0.7, 1.1])
def test_a_process_ends_without_messages_while_numba_is_imported(tmp_path: Path, pause: float) -> None:
    """What llvmlite registers at exit must be registered before functions of atexit run."""
    pytest.importorskip("numba")
    program = f"step = step_of(1)\nstep(x), step(x), step(x)\ntime.sleep({pause})\nprint('end')"
    assert run(program, tmp_path) == "end"


def test_masked_arrays_are_known_while_numpy_imports_them() -> None:
    """By their classes: among the modules, numpy.ma may be half imported by another thread."""
    import numpy.ma

    class Of(numpy.ma.MaskedArray):
        pass

    masked = numpy.ma.masked_array([1.0], [True])
    assert is_masked(masked)
    assert is_masked(masked.view(Of))
    assert not is_masked(np.ones(1))
    assert not is_masked(np.float64(1))
    half, sys.modules["numpy.ma"] = sys.modules["numpy.ma"], type(sys)("numpy.ma")
    try:
        assert is_masked(masked)
        assert not is_masked(np.ones(1).view(np.recarray))
    finally:
        sys.modules["numpy.ma"] = half


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_waits_for_threads_inside_the_gate() -> None:
    """And comes before those who wait as well; the child finds the lock open."""
    door = gate.Gate()
    door.watch()
    inside, order = threading.Event(), []

    def work(k: int) -> None:
        for _ in range(3):
            with door.held():
                inside.set()
                time.sleep(0.05)
                order.append(k)

    thread = threading.Thread(target=work, args=(1,))
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(not (door.held().__enter__() is None and not door.is_broken))
    order.append(0)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(order) == [0, 1, 1, 1]
    assert order[0] == 1


@FORKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_gives_up_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that forks has what the other one waits for: the child then knows that it cannot compile."""
    monkeypatch.setattr(gate, "PATIENCE", 0.1)
    door, inside, leave = gate.Gate(), threading.Event(), threading.Event()
    door.watch()

    def work() -> None:
        with door.held():
            inside.set()
            assert leave.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        with door.held():
            os._exit(not door.is_broken)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not door.is_broken
    with door.held():
        child = os.fork()  # inside, in the same thread
        if child == 0:
            os._exit(door.is_broken)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_interrupted_run_waits_for_its_parts() -> None:
    """They write into arrays of the user; and the next run must not take their results for its own."""
    threads, ended = Pool(workers=1), []

    def kernel(part: int, first: int, end: int) -> None:
        if part == 0:
            raise KeyboardInterrupt
        time.sleep(0.1)
        ended.append(part)

    for k in range(3):
        with pytest.raises(KeyboardInterrupt):
            threads.run(kernel, 10)
        assert len(ended) == k + 1


def test_without_threads_parts_run_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    seen: list[tuple[int, int]] = []
    Pool(workers=2).run(lambda part, first, end: seen.append((first, end)), 9)
    assert sorted(seen) == [(0, 3), (3, 6), (6, 9)]
