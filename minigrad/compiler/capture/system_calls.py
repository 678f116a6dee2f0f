"""What no recorded step may do unnoticed: call C code with effects outside of the process, or with answers from there,
such as files, clocks and other threads, and draw random numbers that no trace records.

A program would not repeat such calls, and two recordings may see the same answer: `os.path.exists("stop")`,
`time() > end`. So a recorded step may only call functions in C that are known to compute. Before any other one runs,
the recording is aborted and undone, and the step runs eagerly. Python reports every call of C code (sys.setprofile). As
that takes time, it is only enabled where the step can reach such a function.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodWrapperType, ModuleType
from typing import Any

from minigrad.compiler.follow.user_functions import at_name
from minigrad.compiler.refusal import GENERATED, MINIGRAD, NUMPY, CompileError, RecordingAborted, is_of_library, line_in
from minigrad.compiler.trace.generators import equal
from minigrad.compiler.trace.trace import Trace
from minigrad.reach import LIBRARIES, STANDARD, Reach, Row, StateRef, differences, is_of_minigrad, package_of
from minigrad.reach.code_names import names_of
from minigrad.recompute.restore import global_sources, put_source, source_state
from minigrad.util import rng

# Modules of Python's library that only compute. Sources of random numbers are compared before and after a step.
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
PURE = {("posix", "fspath"), ("nt", "fspath"), ("sys", "intern"), ("_pickle", "dumps"), ("_pickle", "loads")}
IMPURE = frozenset({"open", "input", "breakpoint", "print", "now", "today", "utcnow", "getweakrefcount", "getweakrefs"})
STATES = frozenset({"getstate", "get_state"})  # of sources of random numbers
FILES = frozenset(  # of NumPy
    {"load", "save", "savez", "savez_compressed", "savetxt", "loadtxt", "genfromtxt", "fromfile", "memmap"}
)
FILES |= {"tofile", "dump", "open_memmap", "fromregex", "DataSource"}
PRINTING = frozenset({"show_config", "show_runtime", "info", "testing"})  # of NumPy
NUMPYS_OWN = ("io.", "_io.", "numpy.", "builtins.print")  # what NumPy's own code may call to read and write files
LOCKING = ("functools", "dataclasses", "reprlib")  # modules that release the locks that they take
EVALUATING = frozenset({"eval", "exec", "compile", "__import__", "import_module", "chdir"})
# Names that lead to such functions: of what may print, of modules that may be in others (contextlib.os), of methods.
NAMING = {"inspect"} | PRINTING | EVALUATING | (STANDARD - ALLOWED) | (IMPURE - {"print"})
FUNCTIONS = frozenset({BuiltinFunctionType, MethodWrapperType})


class SystemCalls:
    """Aborts the recording at the first call of C code that is not known to compute only."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.handled = sys.exc_info()[1]  # the caller may be in a handler

    def on_call(self, frame: FrameType, event: str, function: Any) -> None:
        """The profile function, for sys.setprofile.

        Raises:
            RecordingAborted: this call must not happen.
        """
        if event != "c_call" or not self.trace.open:
            return
        caller = _owner_of(frame.f_code)
        if caller == "own" or (caller == "library" and _is_called_by_minigrad(frame)):
            return
        name = name_of_impure(function)
        if name is None or (caller == "numpy" and not name.startswith(NUMPYS_OWN)) or self._is_harmless(name, frame):
            return
        name = _as_called(frame, name)
        self.trace.abort(
            f"the step calls {name}, which a program would not repeat, at {line_in(_users(frame))}",
            "do it outside of the step, and pass what it returns",
        )

    def _is_harmless(self, name: str, frame: FrameType) -> bool:
        """Whether a call asks for the exception that the step's own handler handles, or is one of functools' own."""
        module = frame.f_globals.get("__name__")
        if name in ("sys.exc_info", "sys.exception"):
            now = sys.exc_info()[1]
            return (now is not None and now is not self.handled) or module == "contextlib"
        return module in LOCKING and name.startswith(("_thread.RLock.", "_thread.get_ident"))

    def on_unraisable(self, outer: Any, error: Any) -> None:
        """The hook for exceptions in __del__, which do not propagate, for sys.unraisablehook."""
        if issubclass(error.exc_type, RecordingAborted):
            sys.setprofile(self.on_call)  # Python removed it when it raised
        else:
            outer(error)


@contextmanager
def watching_calls(trace: Trace, reach: Reach) -> Iterator[None]:
    """Watch calls of C code inside the block, if the step can reach code that is not known to compute only.

    A profiler's own function is put back afterwards.
    """
    calls = SystemCalls(trace)
    outer, is_needed = sys.getprofile(), reaches_system(reach)
    hook = sys.unraisablehook
    sys.unraisablehook = ours = functools.partial(calls.on_unraisable, hook)
    if is_needed:
        sys.setprofile(calls.on_call)
    try:
        yield
    except BaseException:  # RecordingAborted, or what the step made of it
        trace.check_aborted()
        raise
    finally:
        if is_needed:
            sys.setprofile(outer)
        if sys.unraisablehook is ours:
            sys.unraisablehook = hook
    trace.check_aborted()


# What is known about code in C


def name_of_impure(function: Any) -> str | None:
    """The name of a function in C, None if it only computes."""
    if type(function) is MethodWrapperType:  # os.listdir.__call__
        function = function.__self__
    if not callable(function) or isinstance(function, (FunctionType, type)):
        return None
    name = getattr(function, "__name__", "")
    owner = getattr(function, "__self__", None)
    if owner is None or type(owner) is ModuleType:
        kind = getattr(function, "__objclass__", None)
        module = str(function.__module__ if kind is None else kind.__module__)
        full = f"{module}.{name}"
    else:
        kind = owner if isinstance(owner, type) else type(owner)
        kind = next((base for base in kind.__mro__ if name in vars(base)), kind)
        module, full = str(kind.__module__), f"{kind.__module__}.{kind.__name__}.{name}"
    root = module.split(".")[0]
    if name in IMPURE and root in ("builtins", "io", "_io", "datetime", "_weakref"):
        return full
    if (root == "numpy" and name in FILES) or name in STATES:
        return full
    return None if root in ALLOWED or (root, name) in PURE else full


@functools.lru_cache(maxsize=1024)
def is_opaque_class(kind: type) -> bool:
    """Whether a class is written in C, in a module that is not known to compute only."""
    root = package_of(kind)
    if root in ALLOWED or kind.__module__ == "__main__" or issubclass(kind, BaseException):
        return False
    if root in STANDARD:
        return is_in_c(kind)
    return str(getattr(sys.modules.get(kind.__module__), "__file__", "")).endswith((".so", ".pyd"))


def is_in_c(kind: type) -> bool:
    """Whether no method of a class is written in Python."""
    return not any(isinstance(x, FunctionType) for x in vars(kind).values())


def is_of_system(x: Any) -> bool:
    """Whether a module, or a function or an object of one, is not known to compute only."""
    root, is_code = package_of(x), isinstance(x, (ModuleType, BuiltinFunctionType, FunctionType, type))
    if root in ALLOWED or (is_code and root == "None"):
        return False
    return root in STANDARD or (isinstance(x, BuiltinFunctionType) and is_code)


def is_minigrads(ref: StateRef) -> bool:
    """Whether a place belongs to an object of minigrad's, which may have locks."""
    return is_of_minigrad(type(ref.owner))


def reaches_system(reach: Reach) -> bool:
    """Whether the user's code names or holds a module, a function or an object that may do more than compute."""
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
        names = names_of(function.__code__)
        imports = any(name.split(".")[0] not in ALLOWED for name, level in names.imports if not level)
        if imports or not NAMING.isdisjoint(names.words):
            return True
    return False


# Frames


@functools.lru_cache(maxsize=4096)
def _owner_of(code: CodeType) -> str:
    """Whose code it is: "own" (minigrad's), "numpy", "library" (Python's) or "user"."""
    name = code.co_filename
    if name.startswith((MINIGRAD, *GENERATED)):
        return "own"
    return "numpy" if name.startswith(NUMPY) else "library" if is_of_library(name) else "user"


def _is_called_by_minigrad(frame: FrameType) -> bool:
    """Whether code of Python's library runs for minigrad, such as that which reads the line of a message."""
    above: FrameType | None = frame
    while above is not None and _owner_of(above.f_code) == "library":
        above = above.f_back
    return above is not None and _owner_of(above.f_code) == "own"


def _users(frame: FrameType) -> FrameType:
    """The innermost frame of the user's."""
    above: FrameType | None = frame
    while above is not None and _owner_of(above.f_code) != "user":
        above = above.f_back
    return above or frame


def _as_called(frame: FrameType, name: str) -> str:
    """What the user's code calls: a function of Python's library that calls the function in C, or that itself."""
    called = ""
    while _owner_of(frame.f_code) == "library" and frame.f_back is not None:
        called = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    parts = [part for part in called.split(".") if not part.startswith("__")]
    if not called or any(part[:1] in "_<" for part in parts):
        return name
    return ".".join(parts) + ("" if name.startswith("_") else f" (which calls {name})")


# Random numbers that a trace does not record, as every call of the program would repeat them


NP_RANDOM = ("rand", "randn", "randint", "normal", "uniform", "permutation", "shuffle", "choice", "seed", "sample")
OF_MINIGRAD = "minigrad's global generator"
UNTRACED = frozenset({"state", "content", "objects", "described", "abstract"})  # kinds of rows


class UntrackedRandomness:
    """The states of generators that no tracer replaces, before a step and after it.

    Args:
        reached: generators that the step reaches through something that cannot be replaced (a bound `rng.normal`).
        others: rows of other objects that no tracer replaces: iterators, arrays of strings.
        functions: the user's, to find the line for the message.
    """

    def __init__(self, reached: Iterable[Any], others: Iterable[Row], functions: Iterable[FunctionType] = ()) -> None:
        self.functions = list(functions)
        shared = [*global_sources(), (OF_MINIGRAD, rng._global())]
        named = [*shared, *((f"a {type(x).__name__}", x) for x in reached)]
        self.sources = [(name, x, source_state(x)) for name, x in named]
        self.others = list(others)

    def check(self, traced: Iterable[Any]) -> None:
        """Check that all draws were recorded; the trace has recorded those of the Generators in `traced`.

        Raises:
            CompileError: there were others.
        """
        is_traced = any(x is rng._global() for x in traced)
        sources = [(name, x, state) for name, x, state in self.sources if not (is_traced and name == OF_MINIGRAD)]
        changed = [name for name, x, state in sources if not equal(source_state(x), state)]
        if changed:
            names = ("random", *NP_RANDOM) if changed[0] in ("np.random", "the module random") else ()
            raise CompileError(
                f"mg.compile: the step draws from {changed[0]} in a way that cannot be recorded, and every call would "
                f"repeat the numbers of the first{at_name(self.functions, *names)}.\n"
                "Hint: draw with a Generator that the step can reach, rng = np.random.default_rng(seed); "
                "rng.normal(size=...)."
            )
        for row in self.others:
            if next(differences(row), None) is not None:
                raise CompileError(
                    f"mg.compile: the step advances or changes `{row.path}`, a {type(row.holder).__name__}, which a "
                    f"program cannot{at_name(self.functions, *row.path.split('.')[::-1])}.\n"
                    "Hint: do it outside of the step and pass the result as an argument."
                )

    def put_back(self) -> None:
        """Restore the states of all generators. Iterators and other objects cannot be restored."""
        for _, x, state in self.sources:
            put_source(x, state)
