"""The path of EngineNotFound in version 0.1; it is `minigrad.drawing.EngineNotFound` now."""

import warnings

from minigrad.drawing.render.graphviz_program import EngineNotFound, find, layout, pure

__all__ = ["EngineNotFound", "find", "layout", "pure"]

warnings.warn("minigrad.drawing.engine.EngineNotFound is minigrad.drawing.EngineNotFound now", DeprecationWarning, 2)
