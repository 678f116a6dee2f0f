"""Kernels compiled by numba, from files that are kept: a second process loads machine code instead of compiling.

A kernel's file is named by the hash of what decides about its code: its source, the helpers that it imports, numba's
version, and the processor. Layers that differ in their sizes only share a kernel. kernel_store has the files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import pickle
import platform
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
HELPERS = ("noalias.py", "vecmath.py")
HEAD = '''"""A kernel of a compiled step, compiled for {signature}."""

import numpy as np
from numba import njit

from minigrad.compiler.kernels.noalias import NoAlias
{imports}
f32, f64 = np.float32, np.float64


@njit({options})
'''

gate = Gate()  # forks wait while numba is imported, and machine code linked
_loaded: dict[Job, Callable[..., None]] = {}
_codes: dict[Job, bytes] = {}  # that is not linked yet


def is_available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def options(is_short: bool) -> str:
    """What numba is told. A short kernel is over before another thread could have begun: it keeps the interpreter."""
    return OPTIONS if is_short else f"nogil=True, {OPTIONS}"


def job(
    text: str, functions: Sequence[str], arrays: Sequence[Any], is_chunked: bool = False, is_short: bool = False
) -> Job:
    """What decides about the machine code of a kernel.

    Args:
        text: its source, a function called `kernel` of arrays in C order.
        functions: the names that it uses of `minigrad.compiler.kernels.vecmath`.
        arrays: (shape, dtype) of its arguments.
        is_chunked: whether part, first, end and stage stand before them.
        is_short: whether it has few elements to go through.
    """
    imports = f"from minigrad.compiler.kernels.vecmath import {', '.join(sorted(functions))}\n" if functions else ""
    types = signature(arrays, is_chunked)
    return Job(HEAD.format(imports=imports, options=options(is_short), signature=types) + text, types)


def load(
    text: str, functions: Sequence[str], arrays: Sequence[Any], is_chunked: bool = False, is_short: bool = False
) -> Callable[..., None]:
    """The compiled function, as numba's dispatcher calls it: nobody looks at the types of the arguments any more.

    It waits until there is machine code. The arguments are those of `job`.

    Raises:
        RuntimeError: numba could not compile it, or this is a forked child, of a process that was importing numba and
            could not be waited for.
    """
    wanted = job(text, functions, arrays, is_chunked, is_short)
    gate.watch()
    for is_last in (False, True):
        if wanted in _loaded:
            break
        code = _codes.pop(wanted, None) or (None if is_last else stored(wanted)) or _made(wanted)
        with gate.held():
            if gate.is_broken:
                raise RuntimeError("this process was forked in the middle of loading kernels, and cannot load any")
            if wanted not in _loaded and (kernel := _linked(wanted, code)) is not None:
                _loaded[wanted] = kernel
    return _loaded[wanted]


def request(wanted: Job, ask: Callable[[], float | None]) -> Request | None:
    """Begin to make a kernel for programs that `ask` says to be called so often. None if its machine code is there.

    Raises:
        Unavailable: this system starts no process.
    """
    if wanted in _loaded or wanted in _codes:
        return None
    if (code := stored(wanted)) is not None:
        _codes[wanted] = code
        return None
    return kernel_worker.workers().request(wanted, ask)


def take(made: Request) -> None:
    """Keep what a request has brought for `load`.

    Raises:
        RuntimeError: it could not be made.
    """
    kernel_store.note(made.answer.messages)
    if made.answer.code is None:
        raise RuntimeError(made.answer.error)
    _codes[made.job] = made.answer.code


def stored(wanted: Job) -> bytes | None:
    """Its machine code, if it is kept in a file."""
    return kernel_store.read(*_key(wanted))


def answer(wanted: Job) -> Answer:
    """Machine code from numba, which is kept in a file as well. For the process that compiles."""
    try:
        code = _compiled(wanted)
    except Exception as error:
        return Answer(None, f"{type(error).__name__}: {error}")
    kernel_store.write(*_key(wanted), code)
    return Answer(code, "", tuple(kernel_store.messages()))


def _made(wanted: Job) -> bytes:
    try:
        made = kernel_worker.workers().request(wanted, lambda: math.inf)
        made.done.wait()
        found = made.answer
    except Unavailable:
        found = Answer(None, "", is_lost=True)
    if found.is_lost:  # better here than not at all: somebody waits
        with gate.held():
            found = answer(wanted)
    kernel_store.note(found.messages)
    if found.code is None:
        raise RuntimeError(found.error)
    return found.code


def signature(arrays: Sequence[Any], is_chunked: bool = False) -> str:
    """How numba writes the types of the arguments."""
    types = ", ".join(_type(len(shape), np.dtype(dtype)) for shape, dtype in arrays)
    return f"void({'int64, ' * 4 * is_chunked}{types})"


def _type(ndim: int, dtype: np.dtype[Any]) -> str:
    name = "boolean" if dtype == np.bool_ else dtype.name
    return f"{name}[{', '.join([':'] * (ndim - 1) + ['::1'])}]"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _key(wanted: Job) -> tuple[str, str]:
    """The name of its file, and all that decides about the content, as far as it is known without numba."""
    made_from = f"{wanted.source}{_surroundings()}"
    return f"{_digest(made_from)}.kernel", made_from


@cache
def _surroundings() -> str:
    from importlib.metadata import version

    helpers = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in HELPERS)
    versions = " ".join(version(name) for name in ("numba", "llvmlite"))
    return f"{versions} {np.__version__} {sys.version} {_processor()} {helpers}"


def _processor() -> str:
    """Which instructions there are, so that machines with the same home have files of their own."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        return "\n".join(line for line in text.split("\n") if line.startswith(("model name", "flags", "Features")))
    return f"{platform.machine()} {platform.processor()}"


def _compiled(wanted: Job) -> bytes:
    files = _files()()
    _run(wanted, files)
    return bytes(files.code)


def _linked(wanted: Job, code: bytes) -> Callable[..., None] | None:
    """The function, of machine code. None if that is of another processor."""
    files = _files()(code)
    try:
        return _run(wanted, files)
    except _Foreign:
        return None


class _Foreign(Exception):
    pass


def _run(wanted: Job, files: Any) -> Callable[..., None]:
    name = f"minigrad_kernel_{_digest(wanted.source)}"
    module = ModuleType(name)
    sys.modules[name] = module  # numba looks the module up by its name, also when it reads machine code
    try:
        exec(compile(wanted.source, f"<{name}>", "exec"), module.__dict__)
        module.kernel._cache = files
        return module.kernel.compile(wanted.types)  # type: ignore[no-any-return]
    except BaseException:
        del sys.modules[name]
        raise


@cache
def _files() -> Any:
    """The class of what numba calls a function's cache: machine code that is given to it, or taken from it.

    numba's own keeps an index besides, and reads both without a look at who wrote them. Before, it imports all that the
    compiler knows of Python and NumPy. That takes longer than to load the machine code of a whole step, and only
    compiling needs it.
    """
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.runtime import rtsys
    from numba.core.serialize import dumps

    class Files(NullCache):  # type: ignore[misc]
        def __init__(self, code: bytes | None = None) -> None:
            self.code = code

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            if self.code is None:
                target_context.refresh()
                return None
            processor, data = pickle.loads(self.code)
            if processor != target_context.codegen().magic_tuple():
                raise _Foreign
            try:
                return CompileResult._rebuild(target_context, *pickle.loads(data))
            except Exception as error:
                raise _Foreign from error

        def save_overload(self, sig: Any, data: Any) -> None:
            self.code = pickle.dumps((data.codegen.magic_tuple(), dumps(data._reduce())))

    return Files
