"""The Digraph that draw returns."""

from __future__ import annotations

import os
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import graphviz

from minigrad.drawing.explorer import page
from minigrad.drawing.graph.describe import describe
from minigrad.drawing.graph.folding import Levels
from minigrad.drawing.graph.model import Graph
from minigrad.drawing.render.dot import write
from minigrad.drawing.render.graphviz_program import EngineNotFound, layout
from minigrad.drawing.render.mermaid import mermaid
from minigrad.engine.tape import Tape

TEXT = ("dot", "gv", "mmd", "mermaid", "html")  # formats that need no layout
MOST_FORMULAS = 3_000  # nodes; pages of longer tapes leave local derivatives out unless they are asked for


class Picture(graphviz.Digraph):  # type: ignore[misc]  # graphviz declares no types
    """A `graphviz.Digraph` that is laid out by the system's Graphviz or by graphviz-pure."""

    graph: Graph  # what is drawn
    whole: Callable[[], Graph]  # returns it with nothing folded, for pages in which scopes can be unfolded

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Write the picture to a file: `save("graph.svg")`.

        Args:
            path: of the file. Missing folders are created.
            format: "svg", "png", "pdf", "dot", "mmd" (Mermaid), or "html" for a page to explore: it shows values,
                gradients and local derivatives even if the picture does not. The suffix of the path by default.

        Returns:
            The path written.

        Raises:
            ValueError: the format is unknown.
            OSError: the path cannot be written.
            EngineNotFound: no program for drawing is installed. The DOT text is written next to the path, as `.dot`.
        """
        path = Path(path)
        format = (format or path.suffix[1:]).lower()
        if format not in {*graphviz.FORMATS, *TEXT}:
            raise ValueError(
                f"save({str(path)!r}): format {format!r} is unknown; "
                "write to a .svg, .png, .pdf, .html, .dot or .mmd file"
            )
        if format in TEXT:
            return _write(path, self._text(format).encode())
        try:
            drawn = layout(self.source, format)
        except EngineNotFound as error:
            text_path = self.save(path.with_suffix(".dot"))
            raise EngineNotFound(f"{error}\nThe graph itself is in {text_path}.") from None
        return _write(path, drawn)

    def _text(self, format: str) -> str:
        if format == "html":
            return page(self.whole().to_dict())
        return mermaid(self.graph) if format in ("mmd", "mermaid") else str(self.source)

    def render(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """The same as `save`."""
        return self.save(path, format)

    def view(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the picture as SVG, by default into a temporary folder, and open it in the browser."""
        written = self.save(path or Path(tempfile.mkdtemp()) / "tape.svg")
        webbrowser.open(written.resolve().as_uri())
        return written

    def pipe(self, format: str | None = None, encoding: str | None = None) -> Any:
        """The picture as bytes, or as text in the given encoding."""
        drawn = layout(self.source, format or self.format)
        return drawn if encoding is None else drawn.decode(encoding)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, Any]:
        """The form for notebooks: the picture as SVG, or the reason why there is none and the DOT text."""
        try:
            return {"image/svg+xml": self._repr_image_svg_xml()}
        except EngineNotFound as error:
            return {"text/plain": f"{error}\n\n{self.source}"}

    def _repr_image_svg_xml(self) -> str:
        text: str = self.pipe("svg", "utf-8")
        return text


def _write(path: Path, content: bytes) -> Path:
    """Write a file into a folder that is created if missing, and return its path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, f"save: the picture cannot be written: {error.strerror}", str(path)) from None
    return path


def picture_of(
    tape: Tape, levels: Levels | None = None, *, direction: str = "TB", legend: bool = False, **options: Any
) -> Picture:
    """The picture of a tape; other options are those of `describe`."""
    levels = levels or Levels()
    grads = options.get("grads", False)
    on_page = options | {
        "values": True,
        "grads": grads is False or grads,
        "formulas": options.get("formulas", False) or len(tape) <= MOST_FORMULAS,
    }
    unfolded = replace(levels, only_mark=True)
    picture = Picture(name="tape")
    picture.graph = describe(tape, direction=direction, levels=levels, **options)
    picture.whole = lambda: describe(tape, direction=direction, levels=unfolded, **on_page)
    write(picture.graph, picture, legend)
    return picture
