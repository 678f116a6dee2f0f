"""An option for numba: the arrays of a kernel do not overlap. numba_backend.py passes shared memory as one argument.

Without it, machine code compares the addresses of all arrays before each loop and contains every loop twice, with and
without vector instructions. With more than a few arrays it always takes the latter. Needs numba.
"""

from __future__ import annotations

from typing import Any

from numba.core.compiler import Compiler


class NoAlias(Compiler):  # type: ignore[misc]  # numba has no types
    """numba's compiler, with LLVM's `noalias` on every argument, for `njit(pipeline_class=NoAlias)`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state.flags.noalias = True
