"""Laying out DOT text: with the system's Graphviz, or else with graphviz-pure, which pip can install."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

INSTALL = 'pip install "minigrad[dot]"'
PURE = "graphviz-pure"
RESOLUTION = 150  # dots per inch of PNG pictures


class EngineNotFound(RuntimeError):
    """No program is there that can lay out this graph in this format."""


def find() -> str | None:
    """The program that lays out graphs: the system's `dot`, else graphviz-pure, else None."""
    return shutil.which("dot") or pure()


def pure() -> str | None:
    """The program of the package graphviz-pure, also where a virtual environment was not activated."""
    return shutil.which(PURE) or shutil.which(PURE, path=sysconfig.get_path("scripts"))


def layout(source: str, format: str, program: str | None = None) -> bytes:
    """The picture of DOT text.

    Args:
        source: DOT text.
        format: "svg", "png", "pdf", or whatever else the program can write.
        program: by default the one of `find`.

    Raises:
        EngineNotFound: there is none, or graphviz-pure is asked for a format that only Graphviz has.
        RuntimeError: the program failed; its own words are quoted.
    """
    program = program or find()
    if program is None:
        raise EngineNotFound(
            f"drawing {format.upper()} needs Graphviz or the package graphviz-pure, and neither is there: {INSTALL}"
        )
    if format == "pdf" and Path(program).stem == PURE:
        raise EngineNotFound(
            "drawing PDF needs a system Graphviz (https://graphviz.org/download); graphviz-pure writes SVG and PNG"
        )
    command = [program, f"-T{format}", *([f"-Gdpi={RESOLUTION}"] if format == "png" else [])]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(command)} failed with exit status {done.returncode}: {said}")
    return done.stdout
