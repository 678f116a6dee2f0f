"""Compiled kernels: machine code from numba, or from files, so that a second process loads instead of compiling.

A kernel's file is named by the hash of what determines its code: its source, the helpers that it imports, numba's
version, and the processor. Layers that differ only in their sizes share a kernel. store.py reads and writes the files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import pickle
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.compiler.gate import Gate
from minigrad.compiler.kernels import store as kernel_store
from minigrad.compiler.kernels import worker as kernel_worker
from minigrad.compiler.kernels.worker import Answer, Job, Request, Unavailable

OPTIONS = 'error_model="numpy", fastmath={"contract"}, pipeline_class=NoAlias'
HEAD = '''"""A kernel of a compiled step, compiled for {signature}."""

import numpy as np
from numba import njit

from minigrad.compiler.kernels.vecmath import {names}

f32, f64 = np.float32, np.float64


@njit({options})
'''

gate = Gate()  # forks wait while numba is imported, and machine code linked
_loaded: dict[Job, Callable[..., None]] = {}
_codes: dict[Job, bytes] = {}  # machine code that is not linked yet


def is_available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def options(is_short: bool) -> str:
    """The options for numba. A short kernel keeps the interpreter's lock: it ends before another thread could begin."""
    return OPTIONS if is_short else f"nogil=True, {OPTIONS}"


def job(
    text: str, functions: Sequence[str], arrays: Sequence[Any], is_chunked: bool = False, is_short: bool = False
) -> Job:
    """What determines the machine code of a kernel.

    Args:
        text: its source, a function called `kernel` of arrays in C order.
        functions: the names that it uses from `minigrad.compiler.kernels.vecmath`.
        arrays: (shape, dtype) of its arguments.
        is_chunked: whether the arguments part, first, end and stage come before them.
        is_short: whether it processes few elements.
    """
    types, names = signature(arrays, is_chunked), ", ".join(["NoAlias", *sorted(functions)])
    return Job(HEAD.format(names=names, options=options(is_short), signature=types) + text, types)


def load(
    text: str, functions: Sequence[str], arrays: Sequence[Any], is_chunked: bool = False, is_short: bool = False
) -> Callable[..., None]:
    """The compiled function, as numba's dispatcher calls it, without a check of the types of its arguments.

    Waits until there is machine code. The arguments are those of `job`.

    Raises:
        RuntimeError: numba could not compile it, or this is a forked child, of a process that was importing numba and
            could not be waited for.
    """
    needed = job(text, functions, arrays, is_chunked, is_short)
    gate.watch()
    for is_last in (False, True):
        if needed in _loaded:
            break
        code = _codes.pop(needed, None) or (None if is_last else stored(needed)) or _compiled_elsewhere(needed)
        with gate.held():
            if gate.is_broken:
                raise RuntimeError("this process was forked in the middle of loading kernels, and cannot load any")
            if needed not in _loaded and (kernel := _linked(needed, code)) is not None:
                _loaded[needed] = kernel
    return _loaded[needed]


def request(job: Job, ask: Callable[[], float | None]) -> Request | None:
    """Request a kernel; `ask` says how often its program is called. None if its machine code is there already.

    Raises:
        Unavailable: this system starts no process.
    """
    if job in _loaded or job in _codes:
        return None
    if (code := stored(job)) is not None:
        _codes[job] = code
        return None
    return kernel_worker.workers().request(job, ask)


def take(request: Request) -> None:
    """Keep the answer of a request for `load`.

    Raises:
        RuntimeError: it could not be compiled.
    """
    kernel_store.note(request.answer.messages)
    if request.answer.code is None:
        raise RuntimeError(request.answer.error)
    _codes[request.job] = request.answer.code


def stored(job: Job) -> bytes | None:
    """The machine code of a kernel, if a file has it."""
    return kernel_store.read(*_key(job))


def answer(job: Job) -> Answer:
    """Machine code from numba, which is also written to a file. For the process that compiles."""
    try:
        code = _compiled(job)
    except Exception as error:
        return Answer(None, f"{type(error).__name__}: {error}")
    kernel_store.write(*_key(job), code)
    return Answer(code, "", tuple(kernel_store.messages()))


def serve() -> None:
    """Run as the process that compiles: jobs from standard input, answers to standard output, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for the user's process
    jobs, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what is printed must not be among the answers
    with suppress(OSError, AttributeError):
        os.nice(5)
    while (message := kernel_worker.receive(jobs)) is not None:
        *job, folder = message
        if folder is not None:  # it may have been set since this process started
            os.environ["MINIGRAD_CACHE"] = folder
        kernel_worker.send(answers, answer(Job(*job)))


def _compiled_elsewhere(job: Job) -> bytes:
    try:
        request = kernel_worker.workers().request(job, lambda: math.inf)
        request.done.wait()
        result = request.answer
    except Unavailable:
        result = Answer(None, "", is_lost=True)
    if result.is_lost:  # compile in this process: a thread is waiting
        with gate.held():
            result = answer(job)
    kernel_store.note(result.messages)
    if result.code is None:
        raise RuntimeError(result.error)
    return result.code


def signature(arrays: Sequence[Any], is_chunked: bool = False) -> str:
    """The types of the arguments in numba's notation."""
    types = ", ".join(_type(len(shape), np.dtype(dtype)) for shape, dtype in arrays)
    return f"void({'int64, ' * 4 * is_chunked}{types})"


def _type(ndim: int, dtype: np.dtype[Any]) -> str:
    name = "boolean" if dtype == np.bool_ else dtype.name
    return f"{name}[{', '.join([':'] * (ndim - 1) + ['::1'])}]"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _key(job: Job) -> tuple[str, str]:
    """The name of a kernel's file, and all that determines its content, as far as it is known without numba."""
    origin = f"{job.source}{_environment()}"
    return f"{_digest(origin)}.kernel", origin


@cache
def _environment() -> str:
    from importlib.metadata import version

    helpers = Path(__file__).with_name("vecmath.py").read_text(encoding="utf-8")
    versions = " ".join(version(name) for name in ("numba", "llvmlite"))
    return f"{versions} {np.__version__} {sys.version} {_processor()} {helpers}"


def _processor() -> str:
    """The instructions of the processor, so that machines that share a home directory have their own files."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        return "\n".join(line for line in text.split("\n") if line.startswith(("model name", "flags", "Features")))
    return f"{platform.machine()} {platform.processor()}"


def _compiled(job: Job) -> bytes:
    cache = _cache_class()()
    _run(job, cache)
    return bytes(cache.code)


def _linked(job: Job, code: bytes) -> Callable[..., None] | None:
    """The function from machine code. None if that is for another processor."""
    try:
        return _run(job, _cache_class()(code))
    except _OtherProcessor:
        return None


class _OtherProcessor(Exception):
    pass


def _run(job: Job, cache: Any) -> Callable[..., None]:
    name = f"minigrad_kernel_{_digest(job.source)}"
    module = ModuleType(name)
    sys.modules[name] = module  # numba finds the module by its name, also when it reads machine code
    try:
        exec(compile(job.source, f"<{name}>", "exec"), module.__dict__)
        module.kernel._cache = cache
        return module.kernel.compile(job.types)
    except BaseException:
        del sys.modules[name]
        raise


@cache
def _cache_class() -> Any:
    """The class for what numba calls a function's cache, which holds machine code to load, or that was compiled.

    numba's own class also keeps an index, and reads both files without checking who wrote them. Before that it imports
    all that the compiler knows of Python and NumPy, which takes longer than loading the machine code of a whole step,
    and only compiling needs it.
    """
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.runtime import rtsys
    from numba.core.serialize import dumps

    class KernelCache(NullCache):  # type: ignore[misc]  # numba has no types
        def __init__(self, code: bytes | None = None) -> None:
            self.code = code

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            if self.code is None:
                target_context.refresh()
                return None
            processor, data = pickle.loads(self.code)
            if processor != target_context.codegen().magic_tuple():
                raise _OtherProcessor
            try:
                return CompileResult._rebuild(target_context, *pickle.loads(data))
            except Exception as error:
                raise _OtherProcessor from error

        def save_overload(self, sig: Any, data: Any) -> None:
            self.code = pickle.dumps((data.codegen.magic_tuple(), dumps(data._reduce())))

    return KernelCache
