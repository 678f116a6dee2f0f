"""Which trace records in this thread, if one does."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minigrad.compiler.trace import Trace

active: ContextVar[Trace | None] = ContextVar("minigrad_trace", default=None)
