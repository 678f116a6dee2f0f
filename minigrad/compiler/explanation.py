"""Texts about a compiled function: what `explain()` says, and messages why it runs eagerly."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.compiler.capture.recording import Recording, difference
from minigrad.compiler.learned import IN_A_ROW
from minigrad.compiler.signature import ANOTHER, shown
from minigrad.compiler.specialization import Specialization
from minigrad.reach import Difference
from minigrad.util.text import short


def reason_of(change: Difference, recording: Recording, others: list[Specialization]) -> str:
    """Why another program was needed, \"\" for the first one.

    Args:
        change: the change in the arguments or the state.
        recording: of the new program.
        others: specializations that only take other branches, if there are any.
    """
    for other in others[-1:]:
        first = difference(other.recording, recording)
        return f"it takes other branches: {first.text}" if first is not None else ""
    path, _, before, now = change
    if not path:
        return ""
    return f"{path} changed" + (
        f" from {short(before, 40)} to {short(now, 40)}" if before is not None or now is not None else ""
    )


def text_of(name: str, version: Specialization) -> str:
    """A program in words: its signature, why it was made, the operations after each pass, and its memory."""
    arguments = ", ".join(shown(part) for part in version.signature[1:]) or "no arguments"
    lines = [f"{name}({arguments})"]
    if version.because:
        lines.append(f"    because {version.because}")
    width = max(len(name) for name, _ in version.report)
    lines += [f"    {name:<{width}}  {count:5d} operations" for name, count in version.report]
    source = version.source
    work = f"{len(source.body) - 1 - source.single} NumPy calls"
    work += f", {source.single} lines of single numbers" * bool(source.single)
    lines.append(f"    {work}; {source.memory()}; compiled in {version.seconds:.2f} s")
    return "\n".join(lines)


# Why it runs eagerly


def message(why: Exception | str, name: str, what: str) -> str:
    """A message that names the function and says what it does, and why."""
    text = str(why)
    if not text.startswith("mg.compile"):
        return f"mg.compile: {name} {what}: {text}."
    return text if "runs eagerly" in text else text.replace("mg.compile:", f"mg.compile: {name} {what}:", 1)


def without_program(name: str, attribute: str | None, recordings: int, change: Difference) -> str:
    """Why there is no program yet."""
    path, _, before, now = change
    if not recordings:
        hint = "call it" if attribute is None else f"ask that of an object: x.{attribute}.explain()"
        return f"mg.compile: {name} was not called yet, so there is no program.\nHint: {hint}."
    last = f"; {path} changed last, from {short(before)} to {short(now)}" if path else ""
    times = "once" if recordings == 1 else f"{recordings} times"
    return f"mg.compile: {name} was recorded {times}, and has no program yet{last}."


def too_many_recordings(name: str, recordings: int, runs: int, change: Difference) -> str:
    """Why the step is not recorded again: recordings take more time than programs save."""
    path, _, before, now = change
    last = f"; the last because of {path}, from {short(before)} to {short(now)}" if path else ""
    return (
        f"mg.compile: {name} was recorded in {recordings} of {recordings + runs} calls{last}; it runs eagerly from "
        "here on.\nHint: pass arrays of few shapes, and few different objects; limit= sets how many programs are kept."
    )


def too_many_branches(name: str, count: int, versions: Sequence[Specialization]) -> str:
    """Why the step is not recorded again: it has taken too many combinations of branches."""
    decisions = [op for v in versions for op in v.recording.program.ops if "decides" in op.params]
    note = next((op.note for op in reversed(decisions) if op.note), "")
    where = f" at `{note}`" if note else ""
    return (
        f"mg.compile: {name} was recorded {count} times because it branches on values of arrays{where}, each time "
        "along another path; it runs eagerly from here on.\nHint: choose between values with mg.where, or put the "
        "loop outside of the step."
    )


def too_many_changes(name: str, change: Difference) -> str:
    """Why the step is not recorded again: one place has changed too often."""
    path, _, before, now = change
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
            "np.full(3, n) or np.array([n, n, n])), or outside of the step; the same holds for code that looks "
            "it up or writes it to a file (table[n], writer.writerow([n]))"
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
        f"mg.compile: {name} was recorded {IN_A_ROW} times in a row because of {path}{changed}; it runs eagerly "
        f"from here on.\nHint: {hint}."
    )
