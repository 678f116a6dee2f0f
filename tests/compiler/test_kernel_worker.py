"""The process that compiles kernels: what it leaves alone, how it ends, and what happens without it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler import background
from minigrad.compiler.kernels import files as kernel_files
from minigrad.compiler.kernels import worker as kernel_worker
from minigrad.compiler.kernels.worker import Job, Unavailable

pytest.importorskip("numba")
pytestmark = pytest.mark.floating(all="ignore")
X = np.linspace(-1, 1, 50)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are asked for, and linked, at the first look."""
    monkeypatch.setattr("minigrad.compiler.specialization.is_available", lambda: True)
    for name in ("BEFORE_REQUEST", "FOR_EACH_OP", "BEFORE_IMPORT"):
        monkeypatch.setattr(background, name, 0.0)


def fresh(k: float, **options: Any) -> Any:
    """A step with a kernel that no other test has."""
    return mg.compile(lambda x: (np.tanh(x) * np.exp(x + k)).sum(), fallback="raise", **options)


def right(k: float) -> Any:
    return pytest.approx(float((np.tanh(X) * np.exp(X + k)).sum()), rel=1e-12)


def test_warning_filters_of_the_user_are_unchanged(auto: None) -> None:
    """numba sets and restores them while it compiles, for a whole process: what other threads set meanwhile is lost."""
    step, before = fresh(0.125), warnings.filters[:]
    end = time.monotonic() + 60
    while step.latest is None or not step.latest.ready or step.latest.kernels is not None:
        assert time.monotonic() < end
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert step(X) == right(0.125)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("mine", UserWarning, stacklevel=1)
        assert len(caught) == 1
        assert warnings.filters == before
    assert "kernel" in step.source
    assert step(X) == right(0.125)


def test_a_short_program_requests_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigrad.compiler.specialization.is_available", lambda: True)
    monkeypatch.setattr(kernel_files, "request", lambda *given: pytest.fail("a kernel was asked for"))
    monkeypatch.setattr(background, "BEFORE_REQUEST", 60.0)
    step = fresh(0.25)
    for _ in range(50):
        assert step(X) == right(0.25)


def test_a_killed_process_is_started_again() -> None:
    job = kernel_files.job("def kernel(x):\n    x[0] = 1.25\n", (), [((1,), "f8")])
    workers = kernel_worker.workers()
    request = workers.request(job, lambda: 0.0)
    end = time.monotonic() + 60
    while not (children := list(kernel_worker._children)) and not request.done.is_set():
        assert time.monotonic() < end
        time.sleep(0.001)
    for child in children:
        child.kill()
    assert request.done.wait(60)
    assert request.answer.code, request.answer.error
    x = np.zeros(1)
    kernel_files.load("def kernel(x):\n    x[0] = 1.25\n", (), [((1,), "f8")])(x)
    assert x[0] == 1.25


def test_a_compile_error_of_numba_is_raised() -> None:
    with pytest.raises(RuntimeError, match="TypingError"):
        kernel_files.load("def kernel(x):\n    x[0] = nobody\n", (), [((1,), "f8")])


def test_requests_of_deleted_programs_are_dropped() -> None:
    workers, calls = kernel_worker._Workers(), {"a": 1.0, "b": 5.0, "c": None}
    workers.limit = 0  # nothing is taken from the queue
    made = {k: workers.request(Job(k, ""), lambda k=k: calls[k]) for k in calls}  # type: ignore[misc]
    again = workers.request(Job("a", ""), lambda: None)
    assert again is made["a"]
    assert workers.next() is made["b"]
    assert workers.next() is made["a"]
    calls["d"] = 0.0
    last = workers.request(Job("d", ""), lambda: calls["d"])
    assert workers.next() is last  # and not c
    assert not workers.waiting


def test_a_deleted_compiled_function_requests_no_kernels(auto: None) -> None:
    step = fresh(0.375)
    for _ in range(4):
        step(X)
    (version,) = step.versions
    ask = version.kernels._urgency if version.kernels is not None else lambda: None
    if version.kernels is not None:
        assert ask() == version.calls
    del version, step
    gc.collect()
    assert ask() is None


@pytest.mark.parametrize("how", ["no interpreter", "frozen", "no process"])
def test_without_another_process(monkeypatch: pytest.MonkeyPatch, auto: None, how: str) -> None:
    """Who waits for kernels has them compiled here; else the NumPy program goes on, and says so once."""
    monkeypatch.setattr(kernel_worker, "_workers", kernel_worker._Workers())
    if how == "no process":

        def fails(*given: Any, **options: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(kernel_worker.subprocess, "Popen", fails)
    elif how == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "")
    k = 1 + len(how) / 16
    step = fresh(k)
    with pytest.warns(RuntimeWarning, match="the kernels of .* could not be compiled") as caught:
        found = [float(step(X)) for _ in range(60) if time.sleep(0.001) is None]
    assert found == [right(k)] * 60
    assert len(caught) == 1
    assert step.latest.kernels is None
    waiting = fresh(k + 0.5, backend="numba")
    for _ in range(4):
        assert waiting(X) == right(k + 0.5)
    assert "kernel" in waiting.source


def test_kernels_that_numba_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The NumPy program runs; a caller that waits gets an error."""
    monkeypatch.setattr(kernel_files, "OPTIONS", 'error_model="numpy", pipeline_class=Nobody')
    step = fresh(3.5, backend="numba")
    with pytest.warns(RuntimeWarning, match="NameError.*the NumPy program continues"):
        found = [float(step(X)) for _ in range(4)]
    assert found == [right(3.5)] * 4
    assert step.latest.calls == 2


def test_an_unavailable_interpreter_is_named() -> None:
    workers = kernel_worker._Workers()
    sys_executable, sys.executable = sys.executable, ""
    try:
        with pytest.raises(Unavailable, match="no interpreter"):
            workers.request(Job("a", ""), lambda: None)
    finally:
        sys.executable = sys_executable


def test_an_idle_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_worker, "IDLE", 0.05)
    monkeypatch.setattr(kernel_worker, "_workers", kernel_worker._Workers())
    workers = kernel_worker.workers()
    text = "def kernel(x):\n    x[0] = 1.75\n"
    request = workers.request(kernel_files.job(text, (), [((1,), "f8")]), lambda: 0.0)
    assert request.done.wait(60)
    end = time.monotonic() + 30
    while workers.talking or any(t.name == "minigrad kernels" and t.workers is workers for t in talks()):
        assert time.monotonic() < end
        time.sleep(0.01)
    other = workers.request(kernel_files.job(text.replace("1.75", "1.875"), (), [((1,), "f8")]), lambda: 0.0)
    assert other.done.wait(60)
    assert other.answer.code


def talks() -> list[Any]:
    return [thread for thread in threading.enumerate() if isinstance(thread, kernel_worker._Talk)]


def test_a_process_is_replaced_after_many_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba keeps what it has compiled, so another one goes on."""
    monkeypatch.setattr(kernel_worker, "MANY", 1)
    monkeypatch.setattr(kernel_worker, "_workers", kernel_worker._Workers())
    before = {child.pid for child in kernel_worker._children}
    seen = set()
    for k in range(2):
        job = kernel_files.job(f"def kernel(x):\n    x[0] = {k}.0625\n", (), [((1,), "f8")])
        request = kernel_worker.workers().request(job, lambda: 0.0)
        while not request.done.is_set():
            seen |= {child.pid for child in list(kernel_worker._children)}
            time.sleep(0.001)
        assert request.answer.code
    assert len(seen - before) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_its_own_workers() -> None:
    text = "def kernel(x):\n    x[0] = 2.125\n"
    mine = kernel_worker.workers()
    assert mine.request(kernel_files.job(text, (), [((1,), "f8")]), lambda: 0.0).done.wait(60)
    child = os.fork()
    if child == 0:
        own = kernel_worker.workers()
        os._exit(own is mine or bool(own.talking))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    text = text.replace("2.125", "2.25")
    assert mine.request(kernel_files.job(text, (), [((1,), "f8")]), lambda: 0.0).done.wait(60)  # and the pipe is whole
