"""Written functions: text that was compiled before is not compiled again.

A guard or a program of a step that is recorded again has often the text that it had, and compiling it is the most
expensive part of it.
"""

from __future__ import annotations

from functools import lru_cache
from types import CodeType


def code_of(text: str, filename: str = "<string>") -> CodeType:
    """The code of a module, to be executed.

    Each call returns code objects of its own: the interpreter notes in them where they found their globals, and two
    functions that shared one would find theirs more slowly.

    Raises:
        SyntaxError: the text is no Python.
    """
    return _copy(_compiled(text, filename))


@lru_cache(maxsize=64)
def _compiled(text: str, filename: str) -> CodeType:
    return compile(text, filename, "exec")


def _copy(code: CodeType) -> CodeType:
    return code.replace(co_consts=tuple(_copy(x) if isinstance(x, CodeType) else x for x in code.co_consts))
