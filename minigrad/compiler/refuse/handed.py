"""What the step may hand to C code, which calls it without a word: map(os.listdir, folders), property(os.stat).

Python tells of calls of C code by Python code only. So a function in C that is not known to compute only may be called
by the step itself, where that is seen, and used in no other way: it must not be loaded for anything but a call, nor
stand where other code finds it.
"""

from __future__ import annotations

import builtins
import sys
from collections import defaultdict
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodWrapperType, ModuleType
from typing import Any

from minigrad.compiler.refuse.foreign import ALLOWED, is_hidden, is_in_c, is_of_system, name_of_impure
from minigrad.reach import MISSING, Reach, StateRef, is_of_minigrad, own_attributes, package_of
from minigrad.reach.code import has_a_name
from minigrad.reach.names import STANDARD
from minigrad.util.bytecode import names_of

CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)
FUNCTIONS = frozenset({BuiltinFunctionType, MethodWrapperType})


def with_hidden_state(reach: Reach) -> str | None:
    """An object in C of a module that does more than compute: a file, a lock, a ctypes variable.

    Neither `with lock` nor `for line in file` is a call of which Python tells. Objects of minigrad's have locks.
    """
    own = {id(x) for ref, x in reach.refs if is_minigrads(ref)}
    places = ((ref.path, x) for ref, x in reach.refs if not is_minigrads(ref))
    for path, x in (*places, *(("", x) for x in reach.seen.values() if id(x) not in own)):
        called = x.default_factory if isinstance(x, defaultdict) else None
        if type(called) in FUNCTIONS and (name := name_of_impure(called)) is not None:
            return f"{path or 'an object'}, which calls {name}"
        if not isinstance(x, CODE) and any(map(is_hidden, type(x).__mro__)):
            return f"{path or 'an object'}, a {type(x).__name__}"
    return None


def handed_to_c(reach: Reach) -> str | None:
    """What the step does with code in C that nobody sees called."""
    modules = [x for _, x in (*reach.refs, *reach.loose) if type(x) is ModuleType]
    if any(x.__name__ == "builtins" for x in modules):
        return _names("the module builtins")
    return _held(reach) or _named(reach)


def is_minigrads(ref: StateRef) -> bool:
    """Whether a place belongs to an object of minigrad's: it has locks."""
    return is_of_minigrad(type(ref.owner))


def _held(reach: Reach) -> str | None:
    """A function in C that stands where C code may find it, a class in C anywhere."""
    handed = {name for f in reach.functions for chain in names_of(f.__code__).handed for name in chain}
    for path, x in reach.loose:
        if type(x) in FUNCTIONS and (name := name_of_impure(x)) is not None:
            return _names(name, path)
    for ref, x in reach.refs:
        if type(x) in FUNCTIONS and not is_minigrads(ref) and x is not print:  # which is another while recording
            name = name_of_impure(x)
            is_seen = type(x) is BuiltinFunctionType and _is_only_called(ref, handed, reach.everything)
            if name is not None and not is_seen:
                return _names(name, ref.path)
        if isinstance(x, type) and is_hidden(x) and is_in_c(x):
            return _names(f"{x.__module__}.{x.__name__}")
    return None


def _is_only_called(ref: StateRef, handed: set[str], everything: bool) -> bool:
    """Whether what stands in a place is reached by its name alone, and that is loaded for calls only."""
    if ref.kind == "cell":
        return ref.path not in handed
    is_global = ref.kind == "item" and "__builtins__" in ref.holder
    if is_global or ((ref.owner is not None or ref.kind == "class") and not everything):
        return ref.key not in handed and not str(ref.key).startswith("__")  # as the __wrapped__ of a cache
    return False


def _named(reach: Reach) -> str | None:
    """A function in C that some code loads otherwise than to call it, a class in C that some code names."""
    strays = [x for _, x in reach.loose] + [x for ref, x in reach.refs if not has_a_name(ref)]
    codes = [(function, names_of(function.__code__)) for function in reach.functions]
    for function, named in codes:
        for chain in named.chains | named.handed:
            names = chain[2:] if chain[0] == "import" else chain[1:]
            values = _along(_start(function, chain), names)
            if (found := _hidden(values, chain, chain in named.handed)) is not None:
                return found
            if chain in named.handed and (len(values) > len(names) or names[len(values) - 1] == "__dict__"):
                strays.append(values[-1])
    for _, named in codes:
        words = named.words if named.words & SEARCHED else ()
        imported = [sys.modules.get(name) for name in (*words, *(name for name, level in named.imports if not level))]
        modules = [x for x in (*strays, *imported) if type(x) is ModuleType and is_of_system(x)]
        if modules and (by := SEARCHING & named.words):
            return f"may look up functions of {modules[0].__name__} with {min(by)}, and C code may call them"
        for chain in named.handed:
            for values in _anywhere(chain, modules) if chain[0] == "" else ():
                if (found := _hidden(values, chain[1:], True)) is not None:
                    return found
    return None


SEARCHING = frozenset({"getattr", "vars", "__dict__", "attrgetter", "methodcaller", "__getattribute__"})


SEARCHED = frozenset({"import_module", "__import__", "modules"})


def _start(function: FunctionType, chain: tuple[str, ...]) -> Any:
    """What the first name of a chain means in a function."""
    if chain[0] == "import":
        return sys.modules.get(chain[1])
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    if chain[0] in cells:
        return StateRef(cells[chain[0]], "cell_contents", "cell", "").get()
    return function.__globals__.get(chain[0], getattr(builtins, chain[0], MISSING) if chain[0] else MISSING)


def _anywhere(chain: tuple[str, ...], modules: list[ModuleType]) -> Iterator[list[Any]]:
    """What a chain may mean that begins with what nobody knows: with such a module, or where the name of one stands."""
    for module in modules:
        yield _along(module, chain[1:])[1:]
    for k, name in enumerate(chain[1:-1], 1):
        if name in STANDARD and name not in ALLOWED and name in sys.modules:
            yield _along(sys.modules[name], chain[k + 1 :])[1:]


def _along(x: Any, names: tuple[str, ...]) -> list[Any]:
    """What a chain of attributes means, as far as no code of the user's decides it."""
    found = [x]
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
        found.append(x)
    return found


def _hidden(values: list[Any], chain: tuple[str, ...], is_handed: bool) -> str | None:
    """The first of some values that C code may call or make without a word."""
    for x in values:
        if x is sys.modules and is_handed and chain[:2] != ("sys", "modules"):
            return "may look up modules in sys.modules under another name"
        if isinstance(x, type) and is_hidden(x) and is_in_c(x):
            return _names(f"{x.__module__}.{x.__name__}")
        if is_handed and type(x) in FUNCTIONS and x is not print and (name := name_of_impure(x)) is not None:
            return _names(name, ".".join(chain).removesuffix(".()").removeprefix("import."))
    return None


def _names(name: str, path: str = "") -> str:
    return f"names {name}{f' (as {path})' * (path not in ('', name))}, which C code may call or make without a word"
