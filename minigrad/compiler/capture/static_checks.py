"""Checks before a step is recorded: what it can reach that no recording can show.

C code that is passed to C code is called without a report: map(os.listdir, folders), property(os.stat). So a function
in C that is not known to compute only may be called by the step itself, where `system_calls` sees it, and used in no
other way: it must not escape, by being loaded for anything but a call, or by being where other code finds it.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from minigrad.compiler.capture.system_calls import (
    ALLOWED,
    FUNCTIONS,
    is_in_c,
    is_minigrads,
    is_of_system,
    is_opaque_class,
    name_of_impure,
)
from minigrad.compiler.follow.user_functions import at_name
from minigrad.compiler.refusal import CompileError
from minigrad.compiler.trace.traced_number import TracedNumber
from minigrad.compiler.trace.tracer import TracerArray
from minigrad.reach import MISSING, STANDARD, Reach, StateRef, own_attributes, package_of, variable
from minigrad.reach.code_names import names_of

CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)
SEARCHING = frozenset({"getattr", "vars", "__dict__", "attrgetter", "methodcaller", "__getattribute__"})
MODULE_SEARCHES = frozenset({"import_module", "__import__", "modules"})
JSON_WRITERS = frozenset({"dump", "dumps", "JSONEncoder"})
JSON_HOOKS = frozenset({"default", "cls", "JSONEncoder"})
SETTINGS = frozenset({"geterr", "seterr", "geterrcall", "seterrcall", "setbufsize", "getbufsize"})
SETTINGS |= {"get_printoptions", "set_printoptions", "printoptions"}
ASKING = frozenset({"attrgetter", "methodcaller", "__getattribute__", "getattr_static"})
OF_OBJECT = frozenset({("object", name) for name in ("__repr__", "__str__", "__dir__")})


def unsupported_state(reach: Reach) -> CompileError | None:
    """Why no recording can show what the step does, None if nothing is known against it."""
    for what, hint in _objections(reach):
        return CompileError(f"mg.compile: the step {what}.\nHint: {hint}.")
    return None


def _objections(reach: Reach) -> Iterator[tuple[str, str]]:
    """What the step does that no recording can show, and hints."""
    for path, x in reach.unreadable:
        shown = x if isinstance(x, str) else f"a {type(x).__name__}"
        where = at_name(reach.functions, *path.split(".")[::-1])
        what = f"can read {path}, {shown}, and no guard can test whether it has changed{where}"
        yield what, "use it outside of the step and pass arrays as arguments"
    if (held := _hidden_state(reach)) is not None:
        what = f"can reach {held}, and the compiler cannot see what it does or how it has changed"
        hint = "use it outside of the step, and pass what it returns; take a lock around the call of the compiled"
        yield what, f"{hint} function"
    if any(x is sys.modules for _, x in reach.refs):
        yield "can read sys.modules under another name", "import modules outside of the step"
    if (use := _escaping_code(reach)) is not None:
        yield use, "do it outside of the step, and pass what it returns"
    has_bytes = "bytearray" in reach.words or any(type(x) is bytearray for x in reach.held.values())
    if "extend" in reach.words and has_bytes:
        what = "may call bytearray.extend, which would take the elements of a tracer for bytes"
        yield what, "use x.tobytes()"
    if (how := _looks_behind(reach)) is not None:
        what = f"uses {how}, which would show a tracer instead of an array or a number"
        yield what, "use type(x), hasattr(x, name), getattr(x, name) and repr(x)"
    if (name := _state_of_a_source(reach)) is not None:
        yield f"names {name}, the state of a source of random numbers", "read it outside of the step"
    if settings := SETTINGS & reach.words:
        yield f"names np.{min(settings)}, a global setting of NumPy", "set it outside of the step"
    if writes_json(reach) and any(JSON_HOOKS & names_of(function.__code__).words for function in reach.functions):
        what = "may write JSON with a hook (default=, cls=), which would be called with tracers instead of numbers"
        yield what, "return the values, and write them outside of the step"


def writes_json(reach: Reach) -> bool:
    """Whether the step may pass numbers to the JSON encoder, which is C code that checks their type."""
    return not JSON_WRITERS.isdisjoint(reach.words)


def _hidden_state(reach: Reach) -> str | None:
    """An object in C of a module that does more than compute: a file, a lock, a ctypes variable.

    Neither `with lock` nor `for line in file` is reported as a call. Objects of minigrad have locks.
    """
    own = {id(x) for ref, x in reach.refs if is_minigrads(ref)}
    places = ((ref.path, x) for ref, x in reach.refs if not is_minigrads(ref))
    for path, x in (*places, *(("", x) for x in reach.seen.values() if id(x) not in own)):
        factory = x.default_factory if isinstance(x, defaultdict) else None
        if type(factory) in FUNCTIONS and (name := name_of_impure(factory)) is not None:
            return f"{path or 'an object'}, which calls {name}"
        if not isinstance(x, CODE) and any(map(is_opaque_class, type(x).__mro__)):
            return f"{path or 'an object'}, a {type(x).__name__}"
    return None


def _state_of_a_source(reach: Reach) -> str | None:
    """The name by which the step may read the state of a source of random numbers, which C code does unreported."""
    kinds = {type(x) for x in reach.generators}
    if "state" in reach.words and any(issubclass(kind, np.random.BitGenerator) for kind in kinds):
        return "state"
    if "get_state" not in reach.words:
        return None
    chains = ((f, chain) for f in reach.functions for chain in names_of(f.__code__).chains if chain[-1] == "get_state")
    is_global = any(_resolve(variable(f, names[0]), names[1:-1])[-1] is np.random for f, names in chains)
    return "get_state" if is_global or np.random.RandomState in kinds else None


# Code that sees tracers where others see arrays and numbers


def _looks_behind(reach: Reach) -> str | None:
    """What in the step's code would see that a tracer is not an array."""
    for function in reach.functions:
        names = names_of(function.__code__)
        if ("type",) in names.escaping and "__class__" in names.words:
            return "both `type` and `__class__`"
        if chains := OF_OBJECT & names.chains:
            return ".".join(min(chains))
    if asking := ASKING & reach.words:
        texts = reach.words | _strings_in(tuple(x for _, x in reach.refs))
        if own := _own_names() & {part for text in texts for part in text.split(".")}:
            return f"{min(asking)} and {min(own)}"
    return None


def _strings_in(x: Any) -> set[str]:
    """The strings in nested tuples. What lists hold is in places of its own."""
    if type(x) is str:
        return {x}
    return {text for part in x for text in _strings_in(part)} if type(x) is tuple else set()


@functools.cache
def _own_names() -> frozenset[str]:
    """The attributes that tracers have and the real objects do not have."""
    pairs = (TracerArray, np.ndarray), (TracerArray, np.float64), (TracedNumber, float), (TracedNumber, int)
    return frozenset(name for tracer, kind in pairs for name in {*dir(tracer)} - {*dir(kind)})


# Code in C that escapes


def _escaping_code(reach: Reach) -> str | None:
    """What the step does with code in C whose calls are not reported."""
    modules = [x for _, x in (*reach.refs, *reach.loose) if type(x) is ModuleType]
    if any(x.__name__ == "builtins" for x in modules):
        return _described("the module builtins")
    return _held_code(reach) or _named_code(reach)


def _held_code(reach: Reach) -> str | None:
    """A function in C that is where C code may find it, or a class in C anywhere."""
    escaping = {name for f in reach.functions for chain in names_of(f.__code__).escaping for name in chain}
    for path, x in reach.loose:
        if type(x) in FUNCTIONS and (name := name_of_impure(x)) is not None:
            return _described(name, path)
    for ref, x in reach.refs:
        if type(x) in FUNCTIONS and not is_minigrads(ref) and x is not print:  # print is replaced while recording
            name = name_of_impure(x)
            is_seen = type(x) is BuiltinFunctionType and _is_only_called(ref, escaping, reach.everything)
            if name is not None and not is_seen:
                return _described(name, ref.path)
        if isinstance(x, type) and is_opaque_class(x) and is_in_c(x):
            return _described(f"{x.__module__}.{x.__name__}")
    return None


def _is_only_called(ref: StateRef, escaping: set[str], everything: bool) -> bool:
    """Whether the object in a place is only reached by its name, and that is only loaded for calls."""
    if ref.kind == "cell":
        return ref.path not in escaping
    is_attribute = (ref.owner is not None or ref.kind == "class") and not everything
    if ref.is_variable or is_attribute:
        return ref.key not in escaping and not str(ref.key).startswith("__")  # such as the __wrapped__ of a cache
    return False


def _named_code(reach: Reach) -> str | None:
    """A function in C that some code loads for anything but a call, or a class in C that some code names."""
    strays = [x for _, x in reach.loose] + [x for ref, x in reach.refs if not ref.is_variable]
    codes = [(function, names_of(function.__code__)) for function in reach.functions]
    for function, names in codes:
        for chain in names.chains | names.escaping:
            attributes = chain[2:] if chain[0] == "import" else chain[1:]
            values = _resolve(_first_value(function, chain), attributes)
            if (use := _hidden_use(values, chain, chain in names.escaping)) is not None:
                return use
            is_complete = len(values) > len(attributes)
            if chain in names.escaping and (is_complete or attributes[len(values) - 1] == "__dict__"):
                strays.append(values[-1])
    for _, names in codes:
        words = names.words if names.words & MODULE_SEARCHES else ()
        imported = [sys.modules.get(name) for name in (*words, *(name for name, level in names.imports if not level))]
        modules = [x for x in (*strays, *imported) if type(x) is ModuleType and is_of_system(x)]
        if modules and (by := SEARCHING & names.words):
            return f"may look up functions of {modules[0].__name__} with {min(by)}, and C code may call them"
        for chain in names.escaping:
            for values in _possible_values(chain, modules) if chain[0] == "" else ():
                if (use := _hidden_use(values, chain[1:], True)) is not None:
                    return use
    return None


def _first_value(function: FunctionType, chain: tuple[str, ...]) -> Any:
    """What the first name of a chain means in a function."""
    return sys.modules.get(chain[1]) if chain[0] == "import" else variable(function, chain[0])


def _possible_values(chain: tuple[str, ...], modules: list[ModuleType]) -> Iterator[list[Any]]:
    """What a chain may mean whose first object is unknown: one of these modules, or where a module's name occurs."""
    for module in modules:
        yield _resolve(module, chain[1:])[1:]
    for k, name in enumerate(chain[1:-1], 1):
        if name in STANDARD and name not in ALLOWED and name in sys.modules:
            yield _resolve(sys.modules[name], chain[k + 1 :])[1:]


def _resolve(x: Any, names: tuple[str, ...]) -> list[Any]:
    """The objects along a chain of attributes, beginning with x, as far as no code of the user's decides them."""
    values = [x]
    for name in names:
        kind, own = type(x), own_attributes(x)
        if kind is ModuleType or (type(own) is dict and name in own and not isinstance(x, type)):
            x = own.get(name, MISSING)
        elif package_of(x if isinstance(x, type) else kind) in STANDARD | {"builtins", "numpy"}:
            x = getattr(x, name, MISSING)
        else:
            x = MISSING
        if x is MISSING:
            break
        values.append(x)
    return values


def _hidden_use(values: list[Any], chain: tuple[str, ...], is_escaping: bool) -> str | None:
    """The first of some values that C code may call or make without a report."""
    for x in values:
        if x is sys.modules and is_escaping and chain[:2] != ("sys", "modules"):
            return "may look up modules in sys.modules under another name"
        if isinstance(x, type) and is_opaque_class(x) and is_in_c(x):
            return _described(f"{x.__module__}.{x.__name__}")
        if is_escaping and type(x) in FUNCTIONS and x is not print and (name := name_of_impure(x)) is not None:
            return _described(name, ".".join(chain).removesuffix(".()").removeprefix("import."))
    return None


def _described(name: str, path: str = "") -> str:
    return f"names {name}{f' (as {path})' * (path not in ('', name))}, which C code may call or make unnoticed"
