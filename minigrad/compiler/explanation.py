"""What `explain()` says of a compiled function: its programs, and why there are several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.compiler.capture.compare import difference
from minigrad.compiler.capture.recording import Recording
from minigrad.compiler.signature import shown
from minigrad.reach.differences import Difference
from minigrad.util.text import short

if TYPE_CHECKING:
    from minigrad.compiler.specialization import Specialization


def reason_of(change: Difference, recording: Recording, others: list[Specialization]) -> str:
    """Why another program was needed than those that are there; empty for the first.

    Args:
        change: what had changed in the arguments or the state.
        recording: of the new program.
        others: specializations that differ from it in how branches are taken, if there are any.
    """
    for other in others[-1:]:
        found = difference(other.recording, recording)
        return f"another way through its branches: {found.text}" if found is not None else ""
    path, _, before, now = change
    if not path:
        return ""
    return f"{path} changed" + (
        f" from {short(before, 40)} to {short(now, 40)}" if before is not None or now is not None else ""
    )


def text_of(name: str, version: Specialization) -> str:
    """A program's signature, why it was made, how many operations each pass has left, and its memory."""
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
