"""Which trace records in this thread, if one does: what `mg.compile` sees while a step runs on tracer arrays."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

active: ContextVar[Any] = ContextVar("minigrad_trace", default=None)
