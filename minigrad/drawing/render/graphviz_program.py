"""Laying out DOT text with the system's Graphviz, or else with graphviz-pure, which pip can install."""

from __future__ import annotations

INSTALL = 'pip install "minigrad[dot]"'
PURE = "graphviz-pure"
RESOLUTION = 150  # dots per inch of PNG pictures


class EngineNotFound(RuntimeError):
    """No installed program can lay out a graph in this format."""


def find() -> str | None:
    """The program that lays out graphs: the system's `dot`, else graphviz-pure, else None."""
    import shutil

    return shutil.which("dot") or pure()


def pure() -> str | None:
    """The program of the package graphviz-pure, even if its virtual environment is not activated."""
    import shutil
    import sysconfig

    return shutil.which(PURE) or shutil.which(PURE, path=sysconfig.get_path("scripts"))


def layout(source: str, format: str, program: str | None = None) -> bytes:
    """The picture of DOT text.

    Args:
        source: DOT text.
        format: "svg", "png", "pdf", or any other format that the program can write.
        program: the result of `find` by default.

    Raises:
        EngineNotFound: no program is installed, or graphviz-pure is asked for a format that only Graphviz has.
        RuntimeError: the program failed; the error quotes its message.
    """
    import subprocess
    from pathlib import Path

    program = program or find()
    if program is None:
        raise EngineNotFound(
            f"drawing {format.upper()} needs Graphviz or the package graphviz-pure, and neither is installed: {INSTALL}"
        )
    if format == "pdf" and Path(program).stem == PURE:
        raise EngineNotFound(
            "drawing PDF needs a system Graphviz (https://graphviz.org/download); graphviz-pure writes SVG and PNG"
        )
    command = [program, f"-T{format}", *([f"-Gdpi={RESOLUTION}"] if format == "png" else [])]
    result = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if result.returncode or not result.stdout:
        message = result.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(command)} failed with exit status {result.returncode}: {message}")
    return result.stdout
