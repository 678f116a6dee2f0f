"""Calls of C code with effects outside of the process, or with answers from there: files, clocks, other threads.

A program would not repeat them, and two recordings may see the same answer: `os.path.exists("stop")`, `time() > end`.
So a recorded step may call only functions in C of which it is known that they compute. Before any other one runs, the
recording is stopped and undone, and the step runs eagerly. Python tells of every call of C code (sys.setprofile); as
that takes time, it is asked only where the step can reach anything of the kind.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from minigrad.bytecode import names_of
from minigrad.compiler.artifact import is_of_library
from minigrad.compiler.refusal import MINIGRAD, NUMPY, WRITTEN, CompileError, place_in
from minigrad.compiler.trace import Trace
from minigrad.reach import MISSING, Reach, StateRef
from minigrad.reach.names import LIBRARIES, STANDARD

# Modules of Python's library that only compute. What draws random numbers is compared before and after.
COMPUTING = frozenset(
    (
        *("abc", "array", "ast", "bisect", "builtins", "cmath", "collections", "colorsys", "contextlib"),
        *("contextvars", "copy", "copyreg", "dataclasses", "enum", "fractions", "functools", "heapq", "inspect"),
        *("itertools", "json", "keyword", "math", "numbers", "operator", "random", "re", "reprlib", "statistics"),
        *("string", "struct", "textwrap", "types", "typing", "unicodedata", "weakref"),
    )
)
ACCELERATORS = frozenset(f"_{name}" for name in COMPUTING) | {"_sre", "_collections_abc", "_datetime", "datetime"}
ALLOWED = COMPUTING | ACCELERATORS | LIBRARIES
PURE = {("posix", "fspath"), ("nt", "fspath"), ("sys", "exc_info"), ("sys", "exception"), ("sys", "intern")}
PURE |= {("sys", "getsizeof"), ("_pickle", "dumps"), ("_pickle", "loads")}
IMPURE = frozenset({"open", "input", "breakpoint", "now", "today", "utcnow"})

WRITERS = frozenset({"dump", "dumps", "JSONEncoder"})  # of JSON
HOOKS = frozenset({"default", "cls", "JSONEncoder"})
SETTINGS = frozenset({"geterr", "seterr", "geterrcall", "seterrcall", "setbufsize", "set_printoptions", "printoptions"})
STATES = frozenset({"getstate", "get_state"})  # of sources of random numbers
FILES = frozenset(
    {"load", "save", "savez", "savez_compressed", "savetxt", "loadtxt", "genfromtxt", "fromfile", "memmap"}
)
FILES |= {"tofile", "dump", "open_memmap", "fromregex", "DataSource"}  # of NumPy


class Stopped(BaseException):
    """Raised in the place of a call that must not happen while a step is recorded, where no handler takes it."""


class SystemCalls:
    """The first call of C code that is not known to compute only.

    Args:
        trace: the trace of the step.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.refusal: CompileError | None = None

    def see(self, frame: FrameType, event: str, function: Any) -> None:
        """What sys.setprofile calls for each call."""
        if event != "c_call" or not self.trace.open:
            return
        whose = _FRAMES.get(frame.f_code) or _whose(frame.f_code)
        if whose == "own" or (whose == "library" and _is_called_by_minigrad(frame)):
            return
        name = name_of_impure(function)
        if name is not None and (whose != "numpy" or name.startswith(("io.", "_io.", "numpy."))):
            self.refuse(name, frame)

    def refuse(self, name: str, frame: FrameType) -> None:
        """Stop the recording where a frame calls what must not be called.

        Raises:
            Stopped: always.
        """
        self.refusal = self.refusal or CompileError(
            f"mg.compile: the step calls {name}, which a program would not repeat, at "
            f"{place_in(_users(frame))}\nHint: do it outside of the step, and pass what it returns."
        )
        raise Stopped

    def check(self) -> None:
        """Whether no such call was met.

        Raises:
            CompileError: one was.
        """
        if self.refusal is not None:
            raise self.refusal


@contextmanager
def watching_calls(trace: Trace, reach: Reach) -> Iterator[None]:
    """Look at calls of C code, if the step can reach what is not known to compute only.

    A profiler's own function is put back afterwards.
    """
    calls = SystemCalls(trace)
    outer, is_needed = sys.getprofile(), reaches_system(reach)
    if is_needed:
        sys.setprofile(calls.see)
    try:
        yield
    except BaseException:  # Stopped, or what the step made of it
        calls.check()
        raise
    finally:
        if is_needed:
            sys.setprofile(outer)
    calls.check()


def unreadable(reach: Reach) -> CompileError | None:
    """What the step can reach that no recording can show, if there is any."""
    if reach.unreadable:
        path, x = reach.unreadable[0]
        return CompileError(
            f"mg.compile: the step can read {path}, {_a(x)}, and nothing tells whether it has changed.\n"
            "Hint: use it outside of the step and pass arrays as arguments."
        )
    if (found := _with_hidden_state(reach)) is not None:
        return CompileError(
            f"mg.compile: the step can reach {found}, and nothing tells what it does or how it has changed.\nHint: use "
            "it outside of the step, and pass what it gives; take a lock around the call of the compiled function."
        )
    if (name := _named_in_c(reach)) is not None:
        return CompileError(
            f"mg.compile: the step names {name}, which C code may call or make without a word.\nHint: do it outside of "
            "the step, and pass what it gives."
        )
    if (name := _state_of_a_source(reach)) is not None:
        return CompileError(
            f"mg.compile: the step names {name}, the state of a source of random numbers.\nHint: ask for it outside of "
            "the step."
        )
    if settings := SETTINGS & reach.words:
        return CompileError(
            f"mg.compile: the step names np.{min(settings)}, a setting of NumPy for everybody.\nHint: set it outside "
            "of the step."
        )
    if writes_json(reach) and not HOOKS.isdisjoint(reach.words):  # C code asks it about tracers too
        return CompileError(
            "mg.compile: the step may write JSON with a hook (default=, cls=), which would be asked about tracers that "
            "stand for numbers.\nHint: return the values, and write them outside of the step."
        )
    return None


def _state_of_a_source(reach: Reach) -> str | None:
    """How the step may ask NumPy's C code where a source of random numbers stands, of which Python does not tell."""
    kinds = {type(x) for x in reach.generators}
    if "state" in reach.words and any(issubclass(kind, np.random.BitGenerator) for kind in kinds):
        return "state"
    return "get_state" if "get_state" in reach.words and np.random.RandomState in kinds else None


def writes_json(reach: Reach) -> bool:
    """Whether the step may give numbers to the writer of JSON, which is C code that looks at their type."""
    return not WRITERS.isdisjoint(reach.words)


def reaches_system(reach: Reach) -> bool:
    """Whether the user's code names or holds a module, a function or an object that does more than compute."""
    if any(_is_of_system(value) and not _is_minigrads(ref) for ref, value in reach.refs):
        return True
    if not (FILES | STATES).isdisjoint(reach.words):
        return True
    if any(ref.key in IMPURE and value is MISSING and ref.kind == "item" for ref, value in reach.refs):
        return True
    return any(
        name.split(".")[0] not in ALLOWED
        for function in reach.functions
        for name, level in names_of(function.__code__).imports
        if not level
    )


def _with_hidden_state(reach: Reach) -> str | None:
    """An object in C of a module that does more than compute: a file, a lock, a ctypes variable.

    Neither `with lock` nor `for line in file` is a call of which Python tells; nor is what C code calls by itself, as
    functools.partial(os.stat, path). Objects of minigrad's own may have locks.
    """
    own = {id(x) for ref, x in reach.refs if _is_minigrads(ref)}
    places = ((ref.path, x) for ref, x in reach.refs if not _is_minigrads(ref))
    held = [*places, *(("", x) for x in reach.seen.values() if id(x) not in own)]
    for path, x in held:
        called = x.func if isinstance(x, functools.partial) else None
        called = x.default_factory if isinstance(x, defaultdict) else called
        if isinstance(called, BuiltinFunctionType) and (name := name_of_impure(called)) is not None:
            return f"{path or 'an object'}, which calls {name}"
        if not isinstance(x, CODE) and any(map(_is_hidden, type(x).__mro__)):
            return f"{path or 'an object'}, a {type(x).__name__}"
    return None


def _named_in_c(reach: Reach) -> str | None:
    """A class in C that does more than compute, as io.FileIO, or such a module where C code may call its functions.

    Python tells neither of calls of classes, nor of those by C code: map(os.listdir, folders).
    """
    values: list[Any] = [x for _, x in reach.refs if isinstance(x, (type, ModuleType))]
    modules = [x for x in values if isinstance(x, ModuleType)]
    if any(x.__name__ == "builtins" for x in modules):
        return "the module builtins"
    if CALLING & reach.words and (found := next((x.__name__ for x in modules if _is_of_system(x)), None)):
        return f"{found} beside {min(CALLING & reach.words)}"
    for function in reach.functions:
        for first, *names in names_of(function.__code__).chains:
            x = function.__globals__.get(first)
            for name in names:
                x = getattr(x, name, None) if isinstance(x, ModuleType) and _is_of_system(x) else None
                values.append(x)
    kinds = (x for x in values if isinstance(x, type))
    return next((f"{x.__module__}.{x.__name__}" for x in kinds if _is_hidden(x) and is_in_c(x)), None)


CALLING = frozenset({"map", "filter", "starmap", "accumulate", "partial", "methodcaller", "defaultdict", "iter", "key"})
CALLING |= {"takewhile", "dropwhile", "filterfalse", "groupby", "reduce"}
CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)


@functools.lru_cache(maxsize=1024)
def _is_hidden(kind: type) -> bool:
    """Whether a class is written in C, in a module of which it is not known that it only computes."""
    root = kind.__module__.split(".")[0]
    if root in ALLOWED or kind.__module__ == "__main__" or issubclass(kind, BaseException):
        return False
    if root in STANDARD:
        return is_in_c(kind)
    return str(getattr(sys.modules.get(kind.__module__), "__file__", "")).endswith((".so", ".pyd"))


def is_in_c(kind: type) -> bool:
    """Whether no method of a class is written in Python."""
    return not any(isinstance(x, FunctionType) for x in vars(kind).values())


def _is_minigrads(ref: StateRef) -> bool:
    """Whether a place belongs to an object of minigrad's: it has locks."""
    return type(ref.owner).__module__.startswith("minigrad.")


def _is_of_system(x: Any) -> bool:
    if type(x) is ModuleType:
        root, is_code = x.__name__.split(".")[0], True
    elif isinstance(x, (BuiltinFunctionType, FunctionType, type)):
        root, is_code = str(x.__module__).split(".")[0], True
    else:
        root, is_code = type(x).__module__.split(".")[0], False
    if root in ALLOWED or (is_code and root == "None"):
        return False
    return root in STANDARD or (isinstance(x, BuiltinFunctionType) and is_code)


_FRAMES: dict[CodeType, str] = {}


def _whose(code: CodeType) -> str:
    name = code.co_filename
    if name.startswith((MINIGRAD, *WRITTEN)):
        kind = "own"
    elif name.startswith(NUMPY):
        kind = "numpy"
    else:
        kind = "library" if is_of_library(name) else "user"
    _FRAMES[code] = kind
    return kind


def _is_called_by_minigrad(frame: FrameType) -> bool:
    """Whether code of Python's library runs for minigrad, as the one that reads the line of a message."""
    above: FrameType | None = frame
    while above is not None and (_FRAMES.get(above.f_code) or _whose(above.f_code)) == "library":
        above = above.f_back
    return above is not None and _FRAMES[above.f_code] == "own"


def _users(frame: FrameType) -> FrameType:
    """The innermost frame of the user's."""
    above: FrameType | None = frame
    while above is not None and (_FRAMES.get(above.f_code) or _whose(above.f_code)) != "user":
        above = above.f_back
    return above or frame


def name_of_impure(function: Any) -> str | None:
    """What a function in C is called, None if it computes only."""
    name = getattr(function, "__name__", "")
    owner = getattr(function, "__self__", None)
    if owner is None or type(owner) is ModuleType:
        kind = getattr(function, "__objclass__", None)
        module = str(function.__module__ if kind is None else kind.__module__)
        shown = f"{module}.{name}"
    else:
        kind = owner if isinstance(owner, type) else type(owner)
        kinds = [base for base in kind.__mro__ if name in vars(base)]
        kind = kinds[0] if kinds else kind
        module, shown = str(kind.__module__), f"{kind.__module__}.{kind.__name__}.{name}"
    root = module.split(".")[0]
    if name in IMPURE and root in ("builtins", "io", "_io", "datetime"):
        return shown
    if (root == "numpy" and name in FILES) or name in STATES:
        return shown
    return None if root in ALLOWED or (root, name) in PURE else shown


def _a(x: Any) -> str:
    return x if isinstance(x, str) else f"a {type(x).__name__}"
