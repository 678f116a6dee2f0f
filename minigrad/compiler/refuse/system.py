"""Calls of C code with effects outside of the process, or with answers from there: files, clocks, other threads.

A program would not repeat them, and two recordings may see the same answer: `os.path.exists("stop")`, `time() > end`.
So a recorded step may call only functions in C of which it is known that they compute. Before any other one runs, the
recording is stopped and undone, and the step runs eagerly. Python tells of every call of C code (sys.setprofile); as
that takes time, it is asked only where the step can reach anything of the kind.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from minigrad.compiler.follow.places import at_name
from minigrad.compiler.refusal import MINIGRAD, NUMPY, WRITTEN, CompileError, Stopped, place_in
from minigrad.compiler.refuse.artifact import is_of_library
from minigrad.compiler.refuse.foreign import ALLOWED, FILES, IMPURE, SHOWN, STATES, is_of_system, name_of_impure
from minigrad.compiler.refuse.handed import FUNCTIONS, handed_to_c, is_minigrads, with_hidden_state
from minigrad.compiler.refuse.questions import looks_behind
from minigrad.compiler.trace.trace import Trace
from minigrad.reach import Reach, StateRef
from minigrad.reach.names import STANDARD
from minigrad.util.bytecode import names_of

WRITERS = frozenset({"dump", "dumps", "JSONEncoder"})  # of JSON
HOOKS = frozenset({"default", "cls", "JSONEncoder"})
SETTINGS = frozenset({"geterr", "seterr", "geterrcall", "seterrcall", "setbufsize", "getbufsize"})
SETTINGS |= {"get_printoptions", "set_printoptions", "printoptions"}
WRITING = ("io.", "_io.", "numpy.", "builtins.print")  # what NumPy's own code may call to read and write files
LOCKING = ("functools", "dataclasses", "reprlib")  # which leave locks as they were
EVALUATING = frozenset({"eval", "exec", "compile", "__import__", "import_module", "chdir"})
# Names that lead to functions in C: of what may print, of modules that may stand in others (contextlib.os), of methods.
NAMING = {"inspect"} | SHOWN | EVALUATING | (STANDARD - ALLOWED) | (IMPURE - {"print"})


class SystemCalls:
    """Stops the recording at the first call of C code that is not known to compute only.

    Args:
        trace: the trace of the step.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.handled = sys.exc_info()[1]  # the caller may be in a handler

    def see(self, frame: FrameType, event: str, function: Any) -> None:
        """What sys.setprofile calls for each call.

        Raises:
            Stopped: this call must not happen.
        """
        if event != "c_call" or not self.trace.open:
            return
        whose = _FRAMES.get(frame.f_code) or _whose(frame.f_code)
        if whose == "own" or (whose == "library" and _is_called_by_minigrad(frame)):
            return
        name = name_of_impure(function)
        if name is None or (whose == "numpy" and not name.startswith(WRITING)) or self._is_harmless(name, frame):
            return
        name = _as_called(frame, name)
        self.trace.halt(
            f"the step calls {name}, which a program would not repeat, at {place_in(_users(frame))}",
            "do it outside of the step, and pass what it returns",
        )

    def _is_harmless(self, name: str, frame: FrameType) -> bool:
        """Whether a call asks for the exception that a handler of the step's own is busy with, or is functools' own."""
        module = frame.f_globals.get("__name__")
        if name in ("sys.exc_info", "sys.exception"):
            now = sys.exc_info()[1]
            return (now is not None and now is not self.handled) or module == "contextlib"
        return module in LOCKING and name.startswith(("_thread.RLock.", "_thread.get_ident"))

    def ignored(self, outer: Any, error: Any) -> None:
        """What sys.unraisablehook calls for an exception in __del__, from where none gets out."""
        if issubclass(error.exc_type, Stopped):
            sys.setprofile(self.see)  # which was taken away when it raised
        else:
            outer(error)


@contextmanager
def watching_calls(trace: Trace, reach: Reach) -> Iterator[None]:
    """Look at calls of C code, if the step can reach what is not known to compute only.

    A profiler's own function is put back afterwards.
    """
    calls = SystemCalls(trace)
    outer, is_needed = sys.getprofile(), reaches_system(reach)
    hook = sys.unraisablehook
    sys.unraisablehook = ours = functools.partial(calls.ignored, hook)
    if is_needed:
        sys.setprofile(calls.see)
    try:
        yield
    except BaseException:  # Stopped, or what the step made of it
        trace.check_halted()
        raise
    finally:
        if is_needed:
            sys.setprofile(outer)
        if sys.unraisablehook is ours:
            sys.unraisablehook = hook
    trace.check_halted()


def unreadable(reach: Reach) -> CompileError | None:
    """What the step can reach that no recording can show, if there is any."""
    if reach.unreadable:
        path, x = reach.unreadable[0]
        return CompileError(
            f"mg.compile: the step can read {path}, {_a(x)}, and nothing tells whether it has changed"
            f"{at_name(reach.functions, *path.split('.')[::-1])}.\n"
            "Hint: use it outside of the step and pass arrays as arguments."
        )
    if (held := with_hidden_state(reach)) is not None:
        return CompileError(
            f"mg.compile: the step can reach {held}, and nothing tells what it does or how it has changed.\nHint: use "
            "it outside of the step, and pass what it gives; take a lock around the call of the compiled function."
        )
    if any(x is sys.modules for _, x in reach.refs):
        return CompileError(
            "mg.compile: the step can read sys.modules under another name.\nHint: import modules outside of the step."
        )
    if (found := handed_to_c(reach)) is not None:
        return CompileError(f"mg.compile: the step {found}.\nHint: do it outside of the step, and pass what it gives.")
    has_bytes = "bytearray" in reach.words or any(type(x) is bytearray for x in reach.held.values())
    if "extend" in reach.words and has_bytes:
        return CompileError(
            "mg.compile: the step may call bytearray.extend, which would take the elements of a tracer for bytes.\n"
            "Hint: use x.tobytes()."
        )
    if (how := looks_behind(reach)) is not None:
        return CompileError(
            f"mg.compile: the step uses {how}, which sees a tracer where an array or a number is.\n"
            "Hint: ask type(x), hasattr(x, name), getattr(x, name) and repr(x)."
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
    if writes_json(reach) and any(
        HOOKS & names_of(function.__code__).words for function in reach.functions
    ):  # C code asks it about tracers too
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
    if "get_state" not in reach.words:
        return None
    is_common = any(_asks_for_state(f, chain) for f in reach.functions for chain in names_of(f.__code__).chains)
    return "get_state" if is_common or np.random.RandomState in kinds else None


def _asks_for_state(function: FunctionType, chain: tuple[str, ...]) -> bool:
    """Whether names in a function stand for np.random.get_state, under whatever name the module is known."""
    if chain[-1] != "get_state":
        return False
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    found: Any = function.__globals__.get(chain[0])
    for name, cell in cells:
        found = StateRef(cell, "", "cell", "").get() if name == chain[0] else found
    for name in chain[1:-1]:
        found = vars(found).get(name) if type(found) is ModuleType else None
    return found is np.random


def writes_json(reach: Reach) -> bool:
    """Whether the step may give numbers to the writer of JSON, which is C code that looks at their type."""
    return not WRITERS.isdisjoint(reach.words)


def reaches_system(reach: Reach) -> bool:
    """Whether the user's code names or holds a module, a function or an object that does more than compute."""
    if any(is_of_system(value) and not is_minigrads(ref) for ref, value in reach.refs):
        return True
    held = [x for _, x in (*reach.refs, *reach.loose)]
    if any(type(x) is ModuleType and (x is inspect or is_of_system(x)) for x in held):
        return True
    if any(type(x) in FUNCTIONS and name_of_impure(x) is not None for x in held):
        return True
    if not (FILES | STATES).isdisjoint(reach.words):
        return True
    for function in reach.functions:
        named = names_of(function.__code__)
        imports = any(name.split(".")[0] not in ALLOWED for name, level in named.imports if not level)
        if imports or not NAMING.isdisjoint(named.words):
            return True
    return False


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


def _as_called(frame: FrameType, name: str) -> str:
    """What the user's code calls: a function of Python's library that calls the function in C, or that itself."""
    called = ""
    while (_FRAMES.get(frame.f_code) or _whose(frame.f_code)) == "library" and frame.f_back is not None:
        called = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    parts = [part for part in called.split(".") if not part.startswith("__")]
    if not called or any(part[:1] in "_<" for part in parts):
        return name
    return ".".join(parts) + ("" if name.startswith("_") else f" (which calls {name})")


def _a(x: Any) -> str:
    return x if isinstance(x, str) else f"a {type(x).__name__}"
