"""Files with machine code that belong to one user, and are verified before they are read.

Machine code is run, and a pickle runs code when it is read. So files are read from and written to a folder only if
nobody but this user can write into it. Each begins with a digest of its content and of what it was made from: a file
that is damaged, cut off or of another kernel counts as missing, and is written again. A file appears with its whole
content or not at all, also where several processes write it.

Where there is no such folder, or no space, nothing is kept, which costs time only. `warn` says so once.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MAGIC = b"minigrad kernel 1\n"
DIGEST = hashlib.sha256().digest_size
UNFINISHED = ".unfinished-"  # how files begin that a process is writing, or was writing when it was killed
OLD = 3600.0  # seconds after which such a file is left over
BY_NUMBER = os.open in os.supports_dir_fd  # names relative to an open folder: it cannot be exchanged meanwhile
OWNED = hasattr(os, "geteuid")  # not on Windows, where a user's folder is closed to others as it is
FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))

_messages: list[str] = []
_said: set[str] = set()
_swept: set[str] = set()


class Unsafe(OSError):
    """Somebody else may have written it."""


def location() -> Path:
    """$MINIGRAD_CACHE, else `minigrad` in the user's cache folder.

    Raises:
        OSError: the user has no home.
    """
    if given := os.environ.get("MINIGRAD_CACHE"):
        return Path(given).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "minigrad"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise FileNotFoundError("this user has no home directory") from error
    if not home.is_dir():
        raise FileNotFoundError(f"there is no home directory {home}")
    return home / ".cache" / "minigrad"


def read(name: str, made_from: str) -> bytes | None:
    """The content of a file, if it is ours, complete, and made from this text. Else None."""
    try:
        with _folder() as folder, folder.open(name, os.O_RDONLY) as file:
            data = file.read()
    except OSError:  # what keeps it from being read keeps it from being written, which says so
        return None
    start = len(MAGIC) + DIGEST
    payload = data[start:]
    return payload if data[:start] == MAGIC + _digest(payload, made_from) else None


def write(name: str, made_from: str, payload: bytes) -> None:
    """Keep a content, if there is a place for it."""
    try:
        with _folder(make=True) as folder:
            _sweep(folder)
            part = f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}"
            try:
                with folder.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                    file.write(MAGIC + _digest(payload, made_from) + payload)
                folder.rename(part, name)
            except BaseException as error:
                with suppress(OSError):
                    folder.remove(part)
                if isinstance(error, OSError):
                    error.filename, error.filename2 = str(folder.path), None
                raise
    except OSError as error:
        _note(error)


def warn() -> None:
    """Say once why kernels are not kept. Called in the user's thread, where a filter may make an error of it."""
    while _messages:
        warnings.warn(_messages.pop(0), RuntimeWarning, stacklevel=4)


def messages() -> list[str]:
    """What there is to say, for another process to say it."""
    said, _messages[:] = _messages[:], []
    return said


def note(messages: Iterable[str]) -> None:
    """Say these later, each once."""
    for message in messages:
        if message not in _said:
            _said.add(message)
            _messages.append(message)


def _note(error: OSError) -> None:
    why = str(error.strerror or error)
    if isinstance(error.filename, str) and os.path.isabs(error.filename):
        why = f"{error.filename} {why}" if isinstance(error, Unsafe) else f"{error.filename}: {why}"
    note(
        [
            f"mg.compile: compiled kernels are not kept, and each process compiles them again. {why}. "
            "Set MINIGRAD_CACHE to a folder of your own."
        ]
    )


def _digest(payload: bytes, made_from: str) -> bytes:
    text = made_from.encode()
    return hashlib.sha256(len(text).to_bytes(8, "big") + text + payload).digest()


class _Folder:
    """An open folder. Names of files are looked up in it, whatever its path has come to mean."""

    def __init__(self, path: Path, number: int | None) -> None:
        self.path, self.number = path, number

    def _name(self, name: str) -> str:
        return name if self.number is not None else str(self.path / name)

    def open(self, name: str, flags: int) -> Any:
        """A file of this user, which is no link and no pipe.

        Raises:
            Unsafe: it is another's, or others may write it.
        """
        number = os.open(self._name(name), flags | FLAGS, 0o600, dir_fd=self.number)
        try:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode) or (reason := _explained(status)):
                raise Unsafe(reason if stat.S_ISREG(status.st_mode) else "is not a file")
            return open(number, "wb" if flags & os.O_WRONLY else "rb")
        except BaseException:
            os.close(number)
            raise

    def rename(self, old: str, new: str) -> None:
        os.replace(self._name(old), self._name(new), src_dir_fd=self.number, dst_dir_fd=self.number)

    def remove(self, name: str) -> None:
        os.unlink(self._name(name), dir_fd=self.number)

    def names(self) -> list[tuple[str, float]]:
        """Unfinished files, and when they were written."""
        with os.scandir(self.path if self.number is None else self.number) as found:
            return [(x.name, x.stat(follow_symlinks=False).st_mtime) for x in found if x.name.startswith(UNFINISHED)]


@contextmanager
def _folder(make: bool = False) -> Iterator[_Folder]:
    """The folder, which nobody else can write into.

    Raises:
        Unsafe: somebody else can.
        OSError: there is none, and it could not be made.
    """
    path = location()
    if make:
        _made(path)
    if not BY_NUMBER:
        os.stat(path)
        yield _Folder(path, None)
        return
    if OWNED and path.is_symlink() and path.lstat().st_uid not in (os.geteuid(), 0):
        raise Unsafe(0, "is a link that another user made", str(path))
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if reason := _explained(os.fstat(number)):
            raise Unsafe(0, reason, str(path))
        yield _Folder(path, number)
    finally:
        os.close(number)


def _made(path: Path) -> None:
    """Make a folder and those above it that are missing, for this user only."""
    if path.is_dir():
        return
    if path.parent != path:
        _made(path.parent)
    with suppress(FileExistsError):  # another process was faster; or it is a file, which opening it will say
        path.mkdir(mode=0o700)


def _explained(status: os.stat_result) -> str:
    """Why others may have written it, or nothing."""
    if not OWNED:
        return ""
    if status.st_uid != os.geteuid():
        return f"belongs to another user (number {status.st_uid})"
    if status.st_mode & 0o022:
        return f"can be written by others (mode {stat.S_IMODE(status.st_mode):o}): empty it and chmod 700 it"
    return ""


def _sweep(folder: _Folder) -> None:
    """Remove what processes left that were killed while they wrote. Once in a process."""
    if str(folder.path) in _swept:
        return
    _swept.add(str(folder.path))
    with suppress(OSError):
        for name, written in folder.names():
            if time.time() - written > OLD:
                folder.remove(name)
