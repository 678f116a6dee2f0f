"""A compiled function as its users see it: like its function, also in classes; what it says about its programs."""

from __future__ import annotations

import functools
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Self

from minigrad.compiler.background import check_backend
from minigrad.compiler.capture.recording import Recording, difference
from minigrad.compiler.learned import IN_A_ROW, Avoided, Learned
from minigrad.compiler.refusal import CompileError, CompileWarning, caller_level
from minigrad.compiler.signature import ANOTHER, shown
from minigrad.compiler.specialization import Specialization
from minigrad.engine.tracing import active
from minigrad.util.text import short

FALLBACKS = ("warn", "raise")

# The attributes of a compiled function itself. All others are those of its function.
OWN = frozenset({
    *("function", "state", "limit", "backend", "fallback", "audit", "verify", "versions", "latest", "eager", "why"),
    *("learned", "derivatives", "recordings", "forgotten", "discarded", "lock", "attribute", "is_homeless"),
    *("avoided", "has_warned"),
})  # fmt: skip
_all: weakref.WeakSet[Wrapper] = weakref.WeakSet()


class Wrapper:
    """Behaves like the function that it wraps, also as an attribute of a class. `Compiled` makes its calls."""

    attribute: str | None = None  # its name in a class
    is_homeless = False  # whether an object had no place for its compiled method
    lock: threading.RLock

    def __init__(
        self,
        function: Callable[..., Any],
        state: Iterable[Any] = (),
        limit: int = 8,
        backend: str = "auto",
        fallback: str = "warn",
        audit: bool = True,
        verify: bool = False,
    ) -> None:
        check_backend(backend)
        if fallback not in FALLBACKS:
            raise ValueError(f"compile(fallback={fallback!r}): must be 'warn' or 'raise'")
        self.function, self.state, self.limit, self.backend = function, list(state), limit, backend
        self.fallback, self.audit, self.verify = fallback, audit, verify
        self.versions: list[Specialization] = []
        self.latest: Specialization | None = None
        self.eager = False
        self.why: str | None = None
        self.learned, self.avoided = Learned(), Avoided()
        self.derivatives: dict[Any, Self] = {}
        self.recordings = self.forgotten = self.discarded = 0
        self.has_warned = False
        self._renew_lock()
        _all.add(self)
        wrapper: Any = self  # its subclasses have the calls
        functools.update_wrapper(wrapper, function, updated=())

    def __reduce__(self) -> Any:
        """A copy has no programs, as these belong to the arrays of the original."""
        options = (self.state, self.limit, self.backend, self.fallback, self.audit, self.verify)
        return type(self), (self.function, *options)

    def minigrad_reach(self) -> list[Any]:
        """What another step reaches through this one."""
        return [self.function, self.state]

    def _renew_lock(self) -> None:
        self.lock = threading.RLock()  # a program's memory serves one call at a time

    def _like(self, function: Any) -> Self:
        """The same wrapper around another function."""
        kind, (_, *options) = self.__reduce__()
        return kind(function, *options)

    def derivative(self, key: Any, make: Callable[[], Any]) -> Self:
        """The compiled function that computes the vjp of this one."""
        if key not in self.derivatives:
            self.derivatives[key] = self._like(make())
        return self.derivatives[key]

    @property
    def name(self) -> str:
        """The name of the step."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __getattr__(self, name: str) -> Any:
        """Other attributes are the function's: counters on it, the parameters of a model."""
        if name.startswith("__") or "function" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN or name.startswith("__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.function, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.function, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As an attribute of a class it is a method, with one compiled step for each object."""
        if instance is None:
            return self
        method = self.function.__get__(instance)
        own = getattr(instance, "__dict__", None)
        if self.attribute is None:  # assigned to the class later
            attributes = ((n, x) for base in type(instance).__mro__ for n, x in vars(base).items())
            self.attribute = next((n for n, x in attributes if x is self), None)
        name = self.attribute
        if own is not None and name in own:  # the user has assigned something else
            return own[name]
        if own is None or name is None:
            self._warn_homeless(instance)
            return method
        if active.get() is not None:
            return method
        key = f"<compiled {getattr(self.function, '__qualname__', name)}>"  # a subclass may have another of that name
        step = own.get(key)
        if step is None or getattr(step.function, "__self__", None) is not instance:  # that of a copied object
            step = own[key] = self._like(method)
        return step

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.attribute] = value  # with this method, Python calls __get__ before it looks there

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    def _warn_homeless(self, instance: Any) -> None:
        """Warn once that a method runs eagerly, as its object cannot keep a compiled step."""
        if self.is_homeless:
            return
        self.is_homeless = True
        why, hint = f"as a {type(instance).__name__} has no __dict__ to keep it in", "compile the method in __init__"
        if isinstance(instance, type):  # a class method
            why = f"as it is a method of the class {instance.__name__} itself, which keeps no compiled one"
            hint = "make it a static method"
        text = f"mg.compile: {self.name} runs eagerly, {why}.\nHint: {hint}."
        warnings.warn(CompileWarning(text), stacklevel=caller_level())

    # Its programs

    @property
    def source(self) -> str:
        """The program of the latest call as Python source. It runs on its own: bind(**arrays) returns the step."""
        return self._latest().source.text

    @property
    def arrays(self) -> dict[str, Any]:
        """The arguments of `bind` in the source: the arrays of the step's state, and Generators."""
        return self._latest().source.bound()

    def explain(self) -> str:
        """For each program why it exists, its operations after each pass, and its memory."""
        if (why_not := self._why_not()) is not None:
            return why_not
        for version in self.versions:
            version.prepare(self.backend, self.verify)
        return "\n\n".join(map(text_of, self.versions))

    def __repr__(self) -> str:
        count = len(self.versions)
        state = "runs eagerly" if self.eager else f"{count} program{'s' * (count != 1)}"
        return f"<compiled {self.name}: {state}>"

    def _latest(self) -> Specialization:
        if self.latest is None:
            raise CompileError(self._why_not())
        self.latest.prepare(self.backend, self.verify)
        return self.latest

    @property
    def runs(self) -> int:
        """How often programs were called."""
        return self.forgotten + sum(version.calls for version in self.versions)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the kernels of all programs so far are compiled, which otherwise happens in the background.

        Args:
            timeout: in seconds, for each program.

        Raises:
            RuntimeError: numba could not compile a kernel.
        """
        for version in self.versions:
            if version.kernels is not None:
                version.kernels.wait(timeout)
                with self.lock:
                    version.check_now()

    # Texts

    def _message(self, why: Exception | str, what: str) -> str:
        """A message that names the function and says what it does, and why."""
        text = str(why)
        if not text.startswith("mg.compile"):
            return f"mg.compile: {self.name} {what}: {text}."
        return text if "runs eagerly" in text else text.replace("mg.compile:", f"mg.compile: {self.name} {what}:", 1)

    def _why_not(self) -> str | None:
        """Why there is no program; None if there is one."""
        if self.why is not None or self.latest is not None:
            return self.why
        path, _, before, now = self.learned.reason
        if not self.recordings:
            hint = "call it" if self.attribute is None else f"ask that of an object: x.{self.attribute}.explain()"
            return f"mg.compile: {self.name} was not called yet, so there is no program.\nHint: {hint}."
        last = f"; {path} changed last, from {short(before)} to {short(now)}" if path else ""
        times = "once" if self.recordings == 1 else f"{self.recordings} times"
        return f"mg.compile: {self.name} was recorded {times}, and has no program yet{last}."

    def _reason(self, recording: Recording, others: list[Specialization]) -> str:
        """Why a recording makes another program: what has changed, or the branch that none of the others takes."""
        if others:
            first = difference(others[-1].recording, recording)
            return f"it takes other branches: {first.text}" if first is not None else ""
        path, _, before, now = self.learned.reason
        is_known = before is not None or now is not None
        return f"{path} changed{f' from {short(before, 40)} to {short(now, 40)}' * is_known}" if path else ""

    def _too_many_recordings(self) -> str:
        """Why the step is not recorded again: recordings take more time than programs save."""
        path, _, before, now = self.learned.reason
        last = f"; the last because of {path}, from {short(before)} to {short(now)}" if path else ""
        return (
            f"mg.compile: {self.name} was recorded in {self.recordings} of {self.recordings + self.runs} calls{last}; "
            "it runs eagerly from here on.\nHint: pass arrays of few shapes, and few different objects; limit= sets "
            "how many programs are kept."
        )

    def _too_many_branches(self, count: int) -> str:
        """Why the step is not recorded again: it has taken too many combinations of branches."""
        decisions = [op for v in self.versions for op in v.recording.program.ops if "decides" in op.params]
        note = next((op.note for op in reversed(decisions) if op.note), "")
        where = f" at `{note}`" if note else ""
        return (
            f"mg.compile: {self.name} was recorded {count} times because it branches on values of arrays{where}, each "
            "time along another path; it runs eagerly from here on.\nHint: choose between values with mg.where, or "
            "put the loop outside of the step."
        )

    def _too_many_changes(self) -> str:
        """Why the step is not recorded again: one place has changed too often."""
        path, _, before, now = self.learned.reason
        is_known = before is not None or now is not None
        changed = f", which last changed from {short(before)} to {short(now)}" if is_known else ""
        if changed and short(before) == short(now):
            changed = ", which is another one that looks the same"
        hint = "keep it the same (pad batches, drop_last=True), or pass it as an array"
        if path.startswith("len("):
            hint = 'let the step only append to a list: history.append(x) or logs["history"].append(x)'
        elif path.startswith("a decision"):
            hint = (
                "compute with the number by NumPy's functions (np.cos instead of math.cos, n * np.ones(3) instead of "
                "np.full(3, n) or np.array([n, n, n])), or outside of the step; the same holds for code that "
                "looks it up or writes it to a file (table[n], writer.writerow([n]))"
            )
        elif isinstance(before, (dict, list)) and isinstance(now, (dict, list)):
            hint = (
                "write into the arrays of the existing container: best[k][...] = p; if the step only assigns a new "
                "one there, let it read nothing else of the object that holds it"
            )
        elif isinstance(before, str) and isinstance(now, str) and before == now == ANOTHER:
            changed = ", which is another object in each call"
            hint = "pass arrays, or a dataclass, a dictionary or a list of arrays, of which the content counts"
        return (
            f"mg.compile: {self.name} was recorded {IN_A_ROW} times in a row because of {path}{changed}; it runs "
            f"eagerly from here on.\nHint: {hint}."
        )


def text_of(version: Specialization) -> str:
    """A program in words: its signature, why it was made, the operations after each pass, and its memory."""
    arguments = ", ".join(shown(part) for part in version.signature[1:]) or "no arguments"
    lines = [f"{version.title}({arguments})"]
    if version.because:
        lines.append(f"    because {version.because}")
    width = max(len(name) for name, _ in version.report)
    lines += [f"    {name:<{width}}  {count:5d} operations" for name, count in version.report]
    source = version.source
    work = f"{len(source.body) - 1 - source.single} NumPy calls"
    work += f", {source.single} lines of single numbers" * bool(source.single)
    lines.append(f"    {work}; {source.memory()}; compiled in {version.seconds:.2f} s")
    return "\n".join(lines)


def _renew_locks() -> None:
    """In a forked child: nothing would release what another thread had locked."""
    for wrapper in list(_all):
        wrapper._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
