"""The processes that compile kernels, and the queue of requests to them.

The import of numba takes a second and a kernel up to a second, all with the interpreter's lock held, and meanwhile
numba sets Python's warning filters, which are global to the process. In another process it costs the user's process
nothing but a core. That process ends with the user's, after the kernel that it is compiling and writes to a file.

Requests wait in one queue; those of the programs that are called most often come first, and those of programs that no
longer exist are dropped. What the process runs is `files.serve`.
"""

from __future__ import annotations

import atexit
import os
import pickle
import re
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

IDLE = 10.0  # seconds without a request, after which the process ends
MANY = 100  # kernels, after which a new process takes over: numba keeps all that it has compiled
INTERPRETER = re.compile(r"(python|pypy|graalpy)", re.IGNORECASE)  # not a server that has one inside
LENGTH = struct.Struct("<Q")
START = """
import ast, sys
place, path = ast.literal_eval(sys.argv[1])
sys.path[:] = [place, *path]
import minigrad  # the same one, even if the path leads to another by now
sys.path[:] = path
from minigrad.compiler.kernels import files
files.serve()
"""


class Job(NamedTuple):
    """What determines the machine code of a kernel: the source of its module, and the types of its arguments."""

    source: str
    types: str


class Answer(NamedTuple):
    """Machine code or an error, warnings about files, and whether the process failed."""

    code: bytes | None
    error: str
    messages: tuple[str, ...] = ()
    is_lost: bool = False


class Request:
    """A kernel that is being compiled. `done` is set when `answer` is there."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.done = threading.Event()
        self.answer = Answer(None, "")
        self.asking: list[Callable[[], float | None]] = []

    def urgency(self) -> float | None:
        """How often the programs that need the kernel are called; None if none of them exists any more."""
        return max((n for ask in list(self.asking) if (n := ask()) is not None), default=None)


class Unavailable(RuntimeError):
    """Such a process cannot be started."""


class _Workers:
    """The queue, and the threads that each talk to a process. They wait, read and write, and import nothing."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.changed = threading.Condition()
        self.waiting: dict[Job, Request] = {}
        self.running: dict[Job, Request] = {}
        self.talking: list[_Talk] = []
        self.limit = 1

    def request(self, job: Job, ask: Callable[[], float | None]) -> Request:
        """Request a kernel, unless it is being compiled already.

        Raises:
            Unavailable: this system starts no process.
        """
        if not INTERPRETER.match(os.path.basename(sys.executable or "")) or getattr(sys, "frozen", False):
            raise Unavailable("kernels are compiled by another Python process, and there is no interpreter to start")
        with self.changed:
            request = self.running.get(job) or self.waiting.setdefault(job, Request(job))
            request.asking.append(ask)
            self._begin()
            self.changed.notify()
        return request

    def _begin(self) -> None:
        if len(self.talking) < min(self.limit, len(self.waiting) + len(self.running)):
            talk = _Talk(self)
            self.talking.append(talk)
            try:
                talk.start()
            except RuntimeError as error:  # no threads are left, or the process ends
                self.talking.remove(talk)
                raise Unavailable(str(error)) from None

    def hurry(self, limit: int) -> None:
        """Use more processes, because a thread is waiting."""
        with self.changed:
            self.limit = max(self.limit, limit)
            for _ in range(limit):
                self._begin()

    def next(self) -> Request | None:
        """The most urgent request. None after a while without any."""
        with self.changed:
            while True:
                for job, request in list(self.waiting.items()):
                    if request.urgency() is None:
                        del self.waiting[job]
                if self.waiting:
                    request = max(self.waiting.values(), key=lambda r: r.urgency() or 0)
                    self.running[request.job] = self.waiting.pop(request.job)
                    return request
                if not self.changed.wait(IDLE):
                    return None

    def finish(self, request: Request, answer: Answer) -> None:
        """Set the answer of a request."""
        request.answer = answer
        with self.changed:
            del self.running[request.job]
        request.done.set()

    def leave(self, talk: _Talk) -> None:
        """A thread ends."""
        with self.changed:
            self.talking.remove(talk)
            if self.waiting:  # requests that came meanwhile
                with suppress(Unavailable):
                    self._begin()

    def forget(self) -> None:
        """In a forked child: close the pipes, so that the processes see when the parent ends."""
        for talk in self.talking:
            if talk.child is not None:
                talk.child.drop()
                talk.child.process.returncode = 0  # only the parent can wait for it


class _Talk(threading.Thread):
    """A thread and its process."""

    def __init__(self, workers: _Workers) -> None:
        super().__init__(name="minigrad kernels", daemon=True)
        self.workers = workers
        self.child: _Child | None = None

    def run(self) -> None:
        """Handle requests, one after the other."""
        done = 0
        while (request := self.workers.next()) is not None:
            self.workers.finish(request, self._answer(request.job))
            done += 1
            if done % MANY == 0 and self.child is not None:
                self.child.end()
                self.child = None
        child, self.child = self.child, None
        self.workers.leave(self)
        if child is not None:
            child.end()

    def _answer(self, job: Job) -> Answer:
        code = 0
        for _ in range(2):
            try:
                if self.child is None:
                    self.child = _Child()
            except OSError as error:
                return Answer(None, f"the process that compiles kernels could not be started: {error}", is_lost=True)
            send(self.child.jobs, (*job, os.environ.get("MINIGRAD_CACHE")))
            answer = receive(self.child.answers)
            if answer is not None:
                return Answer(*answer)
            code = self.child.end()
            self.child = None  # killed for its memory, or by a signal to all: try again
        return Answer(None, f"the process that compiles kernels ended with exit code {code}", is_lost=True)


class _Child:
    """A process that compiles, and this side of the pipes to and from it."""

    def __init__(self) -> None:
        path = repr((str(Path(__file__).parents[3]), [x for x in sys.path if isinstance(x, str)]))
        jobs, self.jobs = os.pipe()
        self.answers, answers = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-c", START, path],
                stdin=jobs,
                stdout=answers,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except BaseException:
            self.drop()
            raise
        finally:
            os.close(jobs)
            os.close(answers)
        _children.add(self.process)

    def end(self) -> int:
        """Let it end, and wait until it has."""
        self.drop()
        return self.process.wait()

    def drop(self) -> None:
        """Close this side of the pipes."""
        os.close(self.jobs)
        os.close(self.answers)


def send(pipe: int, message: tuple[Any, ...]) -> None:
    """Write a message."""
    data = pickle.dumps(tuple(message))
    rest = memoryview(LENGTH.pack(len(data)) + data)
    with suppress(BrokenPipeError):  # the other side has ended, which the next read reports
        while rest:
            rest = rest[os.write(pipe, rest) :]


def receive(pipe: int) -> Any:
    """Read a message, None at the end."""
    head = _read(pipe, LENGTH.size)
    body = None if head is None else _read(pipe, LENGTH.unpack(head)[0])
    return None if body is None else pickle.loads(body)


def _read(pipe: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = os.read(pipe, size - len(data))
        if not part:
            return None
        data += part
    return data


_workers = _Workers()
_children: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def workers() -> _Workers:
    """The queue of this process."""
    if _workers.process != os.getpid():
        _forget()
    return _workers


def _forget() -> None:
    global _workers
    old, _workers = _workers, _Workers()
    old.forget()


def _ignore_children() -> None:
    """Let Python not warn that this process ends without waiting for the others."""
    for child in list(_children):
        if child.returncode is None:
            child.returncode = 0


atexit.register(_ignore_children)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
