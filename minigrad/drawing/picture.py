"""The Digraph that draw returns."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphviz  # type: ignore[import-untyped]

from minigrad.drawing.describe import describe
from minigrad.drawing.dot import write
from minigrad.drawing.engine import EngineNotFound, layout
from minigrad.drawing.explorer import page
from minigrad.drawing.fold import Levels
from minigrad.drawing.mermaid import mermaid
from minigrad.drawing.model import Graph
from minigrad.engine.tape import Tape

TEXT = ("dot", "gv", "mmd", "mermaid", "html")  # formats that need no layout
EXPLAINED = 3_000  # nodes; on pages of longer tapes, local derivatives are left out unless they are asked for


class Picture(graphviz.Digraph):  # type: ignore[misc]
    """A `graphviz.Digraph` laid out by whatever there is: the system's Graphviz or graphviz-pure."""

    graph: Graph  # what is drawn
    whole: Callable[[], Graph]  # gives it with nothing folded, for pages in which scopes can be unfolded

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write the picture: `save("graph.svg")`.

        Args:
            path: where to. Missing folders are made.
            format: "svg", "png", "pdf", "dot", "mmd" (Mermaid), or "html" for a page to explore: it shows values,
                gradients and local derivatives even if the picture does not. By default the path's suffix says it.

        Returns:
            The path written.

        Raises:
            ValueError: there is no such format.
            OSError: the path cannot be written.
            EngineNotFound: nothing is there to draw with. The DOT text is written beside, as `.dot`.
        """
        path = Path(path)
        format = (format or path.suffix[1:]).lower()
        if format not in {*graphviz.FORMATS, *TEXT}:
            raise ValueError(
                f"save({str(path)!r}): format {format!r} is unknown; "
                "write to a .svg, .png, .pdf, .html, .dot or .mmd file"
            )
        if format in TEXT:
            return _written(path, self._text(format).encode())
        try:
            drawn = layout(self.source, format)
        except EngineNotFound as error:
            beside = self.save(path.with_suffix(".dot"))
            raise EngineNotFound(f"{error}\nThe graph itself is in {beside}.") from None
        return _written(path, drawn)

    def _text(self, format: str) -> str:
        if format == "html":
            return page(self.whole().to_dict())
        return mermaid(self.graph) if format in ("mmd", "mermaid") else str(self.source)

    def render(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """The same as `save`."""
        return self.save(path, format)

    def view(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the picture as SVG, to a temporary folder if no path is given, and show it in the browser."""
        written = self.save(path or Path(tempfile.mkdtemp()) / "tape.svg")
        webbrowser.open(written.resolve().as_uri())
        return written

    def pipe(self, format: str | None = None, encoding: str | None = None) -> Any:
        """The picture as bytes, or as text in the given encoding."""
        drawn = layout(self.source, format or self.format)
        return drawn if encoding is None else drawn.decode(encoding)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, Any]:
        """What a notebook shows: the picture as SVG, or why there is none and the DOT text."""
        try:
            return {"image/svg+xml": self._repr_image_svg_xml()}
        except EngineNotFound as error:
            return {"text/plain": f"{error}\n\n{self.source}"}

    def _repr_image_svg_xml(self) -> str:
        text: str = self.pipe("svg", "utf-8")
        return text


def _written(path: Path, content: bytes) -> Path:
    """The path, when the content is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, f"save: the picture cannot be written: {error.strerror}", str(path)) from None
    return path


def pictured(
    tape: Tape, levels: Levels | None = None, *, direction: str = "TB", legend: bool = False, **wanted: Any
) -> Picture:
    """The picture of a tape; what else is wanted is handed to `describe`."""
    levels = levels or Levels()
    graph = describe(tape, direction=direction, levels=levels, **wanted)
    marked = replace(levels, as_drawn=False)
    given = wanted.get("grads", False)
    formulas = wanted.get("formulas", False) or len(tape) <= EXPLAINED
    everything = wanted | {"values": True, "grads": given is False or given, "formulas": formulas}
    made = Picture(name="tape")
    made.graph, made.whole = graph, lambda: describe(tape, direction=direction, levels=marked, **everything)
    write(graph, made, legend)
    return made
