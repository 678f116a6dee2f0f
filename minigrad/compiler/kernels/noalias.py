"""numba told that the arrays of a kernel do not overlap. plan.py sees to it: what shares memory is one argument.

Without this, machine code compares the places of all arrays before each loop, and holds every loop twice, with vector
instructions and without. Of more than a few arrays it takes the second at once. Needs numba.
"""

from __future__ import annotations

from typing import Any

from numba.core.compiler import Compiler


class NoAlias(Compiler):  # type: ignore[misc]
    """numba's own steps, with LLVM's `noalias` on every argument. For `njit(pipeline_class=NoAlias)`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state.flags.noalias = True
