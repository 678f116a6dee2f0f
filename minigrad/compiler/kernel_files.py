"""Kernels compiled by numba, from files that are kept: a second process loads machine code instead of compiling.

A kernel's file is named by the hash of what decides about its code: its source, the helpers that it imports, and
numba's version. Layers that differ in their sizes only share a kernel. Files lie in $MINIGRAD_CACHE, else in the user's
cache folder, else, where neither can be written, in a temporary one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

OPTIONS = 'nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}, pipeline_class=Apart'
HELPERS = ("apart.py", "vecmath.py")
HEAD = '''"""A kernel of a compiled step, compiled for {signature}."""

import numpy as np
from numba import njit

from minigrad.compiler.apart import Apart
{imports}
f32, f64 = np.float32, np.float64


@njit({options})
'''

_lock = threading.Lock()  # numba compiles one at a time
_loaded: dict[str, Callable[..., None]] = {}


def is_available() -> bool:
    """Whether numba is installed."""
    return importlib.util.find_spec("numba") is not None


def load(text: str, functions: Sequence[str], arrays: Sequence[Any], in_parts: bool = False) -> Callable[..., None]:
    """The compiled function, as numba's dispatcher calls it: nobody looks at the types of the arguments any more.

    Args:
        text: its source, a function called `kernel` of arrays in C order.
        functions: the names that it uses of `minigrad.compiler.vecmath`.
        arrays: (shape, dtype) of its arguments.
        in_parts: whether part, first, end and stage stand before them.
    """
    imports = f"from minigrad.compiler.vecmath import {', '.join(sorted(functions))}\n" if functions else ""
    types = signature(arrays, in_parts)
    source = HEAD.format(imports=imports, options=OPTIONS, signature=types) + text
    name = f"minigrad_kernel_{_digest(source)}"
    with _lock:
        if name not in _loaded:
            _loaded[name] = _imported(name, source, types)
        return _loaded[name]


def signature(arrays: Sequence[Any], in_parts: bool = False) -> str:
    """How numba writes the types of the arguments."""
    return f"void({'int64, ' * 4 * in_parts}{', '.join(_type(len(shape), np.dtype(dtype)) for shape, dtype in arrays)})"


def _type(ndim: int, dtype: np.dtype[Any]) -> str:
    name = "boolean" if dtype == np.bool_ else dtype.name
    return f"{name}[{', '.join([':'] * (ndim - 1) + ['::1'])}]"


def _digest(source: str) -> str:
    return hashlib.sha256((source + _surroundings()).encode()).hexdigest()[:16]


@cache
def _surroundings() -> str:
    import numba

    helpers = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in HELPERS)
    return f"{numba.__version__} {np.__version__} {sys.version} {helpers}"


@cache
def folder() -> Path:
    """Where the files lie."""
    given = os.environ.get("MINIGRAD_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigrad"
    for place in [Path(given)] if given else [home]:
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / f".{os.getpid()}").touch()
            (place / f".{os.getpid()}").unlink()
        except OSError:
            continue
        return place
    return Path(tempfile.mkdtemp(prefix="minigrad-"))


def _imported(name: str, source: str, types: str) -> Callable[..., None]:
    path = folder() / f"{name}.py"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")  # several processes may write it at once
        part.write_text(source, encoding="utf-8")
        part.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # numba looks the module up by its name
    spec.loader.exec_module(module)
    module.kernel._cache = _files()(module.kernel.py_func)
    return module.kernel.compile(types)  # type: ignore[no-any-return]


@cache
def _files() -> Any:
    """The class of numba's caches, one for each function.

    numba's own, before it looks for a file, imports all that the compiler knows of Python and NumPy. That takes longer
    than to load the machine code of a whole step, and only compiling needs it.
    """
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys

    class Files(FunctionCache):  # type: ignore[misc]
        def load_overload(self, sig: Any, target_context: Any) -> Any:
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(sig, target_context)
                if found is not None:
                    return found
            return super().load_overload(sig, target_context)

    return Files
