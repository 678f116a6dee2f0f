"""Kernels compiled by numba, from files that are kept: a second process loads machine code instead of compiling.

A kernel's file is named by the hash of what decides about its code: its source, the helpers that it imports, numba's
version, and the processor. Layers that differ in their sizes only share a kernel. kernel_store has the files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from minigrad.compiler import kernel_store
from minigrad.compiler.gate import Gate

OPTIONS = 'error_model="numpy", fastmath={"contract"}, pipeline_class=Apart'
HELPERS = ("apart.py", "vecmath.py")
HEAD = '''"""A kernel of a compiled step, compiled for {signature}."""

import numpy as np
from numba import njit

from minigrad.compiler.apart import Apart
{imports}
f32, f64 = np.float32, np.float64


@njit({options})
'''

gate = Gate()  # numba compiles one at a time
_loaded: dict[str, Callable[..., None]] = {}


def is_available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def options(is_short: bool) -> str:
    """What numba is told. A short kernel is over before another thread could have begun: it keeps the interpreter."""
    return OPTIONS if is_short else f"nogil=True, {OPTIONS}"


def load(
    text: str, functions: Sequence[str], arrays: Sequence[Any], in_parts: bool = False, is_short: bool = False
) -> Callable[..., None]:
    """The compiled function, as numba's dispatcher calls it: nobody looks at the types of the arguments any more.

    Args:
        text: its source, a function called `kernel` of arrays in C order.
        functions: the names that it uses of `minigrad.compiler.vecmath`.
        arrays: (shape, dtype) of its arguments.
        in_parts: whether part, first, end and stage stand before them.
        is_short: whether it has few elements to go through.

    Raises:
        RuntimeError: this is a forked child, of a process that was compiling and could not be waited for.
    """
    imports = f"from minigrad.compiler.vecmath import {', '.join(sorted(functions))}\n" if functions else ""
    types = signature(arrays, in_parts)
    source = HEAD.format(imports=imports, options=options(is_short), signature=types) + text
    with gate.held():
        name = f"minigrad_kernel_{_digest(source + _surroundings())}"
        if name not in _loaded:
            if gate.is_broken:
                raise RuntimeError("this process was forked in the middle of compiling, and cannot compile")
            _loaded[name] = _compiled(name, source, types)
        return _loaded[name]


def signature(arrays: Sequence[Any], in_parts: bool = False) -> str:
    """How numba writes the types of the arguments."""
    return f"void({'int64, ' * 4 * in_parts}{', '.join(_type(len(shape), np.dtype(dtype)) for shape, dtype in arrays)})"


def _type(ndim: int, dtype: np.dtype[Any]) -> str:
    name = "boolean" if dtype == np.bool_ else dtype.name
    return f"{name}[{', '.join([':'] * (ndim - 1) + ['::1'])}]"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _surroundings() -> str:
    import llvmlite
    import numba

    helpers = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in HELPERS)
    return f"{numba.__version__} {llvmlite.__version__} {np.__version__} {sys.version} {helpers}"


def _compiled(name: str, source: str, types: str) -> Callable[..., None]:
    module = ModuleType(name)
    sys.modules[name] = module  # numba looks the module up by its name, also when it reads machine code
    try:
        exec(compile(source, f"<{name}>", "exec"), module.__dict__)
        module.kernel._cache = _files()(source)
        return module.kernel.compile(types)  # type: ignore[no-any-return]
    except BaseException:
        del sys.modules[name]
        raise


@cache
def _files() -> Any:
    """The class of what numba calls a function's cache.

    numba's own keeps an index besides, and reads both without a look at who wrote them. Before, it imports all that the
    compiler knows of Python and NumPy. That takes longer than to load the machine code of a whole step, and only
    compiling needs it.
    """
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.runtime import rtsys
    from numba.core.serialize import dumps

    class Files(NullCache):  # type: ignore[misc]
        def __init__(self, source: str) -> None:
            self.source = source

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            payload = kernel_store.read(*self._key(target_context.codegen()))
            if payload is not None:
                with suppress(Exception):  # written by this very version; but better compiled again than no step
                    return CompileResult._rebuild(target_context, *pickle.loads(payload))
            target_context.refresh()
            return None

        def save_overload(self, sig: Any, data: Any) -> None:
            if not data.library.has_dynamic_globals:
                kernel_store.write(*self._key(data.codegen), dumps(data._reduce()))

        def _key(self, codegen: Any) -> tuple[str, str]:
            """The name of a file, and all that decides about its content: the processor as well."""
            made_from = f"{self.source}{_surroundings()} {codegen.magic_tuple()}"
            return f"{_digest(made_from)}.kernel", made_from

    return Files
