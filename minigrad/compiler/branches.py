"""Branches of a step that cannot be recorded, such as `if verbose: print(loss)`, run eagerly; others are compiled."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from minigrad.compiler.follow.syntax import node_of
from minigrad.compiler.refusal import OWN
from minigrad.compiler.signature import Signature
from minigrad.compiler.specialization import Specialization

SESSION = str(Path(__file__).parent / "capture" / "session.py")


class Avoided:
    """Calls that are known to take such a branch, by their arguments or by how they decide on numbers.

    To run a call eagerly is always right; whoever is remembered here is not recorded once more.
    """

    def __init__(self) -> None:
        self.signatures: list[Signature] = []
        self.decisions: list[tuple[Specialization, tuple[int, ...]]] = []
        self._keep: list[Any] = []  # keeps alive what has an id in a signature

    def look(
        self, key: Signature, keep: Any, versions: Sequence[Specialization], leaves: Sequence[Any]
    ) -> Callable[[], bool]:
        """What remembers a call, which is about to be recorded, if that cannot be done. It says whether it can be told
        from calls that programs were made for.

        Args:
            key: the signature of its arguments.
            keep: what has an id in it.
            versions: the programs that there are.
            leaves: of the arguments.
        """
        ready = [v for v in versions if v.ready]
        found = [(v, other) for v in ready if v.signature == key and (other := v.decided_otherwise(leaves))]
        is_another = bool(ready) and all(v.signature != key for v in ready)

        def note() -> bool:
            self.decisions += found
            if is_another:
                self.signatures.append(key)
                self._keep.append(keep)
            return is_another or bool(found)

        return note

    def has(self, key: Signature, versions: Sequence[Specialization], leaves: Sequence[Any]) -> bool:
        """Whether a call is known to take such a branch."""
        if key in self.signatures:
            return True
        self.decisions = [(v, other) for v, other in self.decisions if v in versions]
        return any(v.signature == key and v.decided_otherwise(leaves) == other for v, other in self.decisions)


def is_in_branch(frame: FrameType | None) -> bool:
    """Whether a frame of a recorded step, or one that has called it, runs a statement inside of an `if`."""
    while frame is not None and frame.f_code.co_filename != SESSION:
        if not frame.f_code.co_filename.startswith(OWN) and _is_conditional(node_of(frame.f_code), frame.f_lineno):
            return True
        frame = frame.f_back
    return False


def _is_conditional(function: Any, line: int) -> bool:
    """Whether a line of a function stands in the body of an `if`."""
    found = [x for x in ast.walk(function) if isinstance(x, ast.If)] if function is not None else []
    parts = [part for x in found for part in (*x.body, *x.orelse)]
    return any(part.lineno <= line <= (part.end_lineno or 0) for part in parts)
