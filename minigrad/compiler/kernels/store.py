"""Files with machine code that belong to one user, and are verified before they are read.

Machine code is executed, and reading a pickle executes code. So files are read from and written to a folder only if
nobody but this user can write into it. Each begins with a digest of its content and of its origin: a file that is
damaged, truncated or of another kernel counts as missing, and is written again. A file appears with its complete
content or not at all, also if several processes write it.

If there is no such folder, or no space, nothing is kept, which only costs time. `warn` says so once.
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
UNFINISHED = ".unfinished-"  # prefix of files that a process is writing, or was writing when it was killed
OLD = 3600.0  # seconds after which such a file is removed
BY_NUMBER = os.open in os.supports_dir_fd  # names relative to an open folder: it cannot be replaced meanwhile
OWNED = hasattr(os, "geteuid")  # not on Windows, where others have no access to a user's folder anyway
FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))

_messages: list[str] = []
_reported: set[str] = set()
_swept: set[str] = set()


class Unsafe(OSError):
    """Another user may have written the file or folder."""


def location() -> Path:
    """$MINIGRAD_CACHE, else `minigrad` in the user's cache folder.

    Raises:
        OSError: the user has no home directory.
    """
    if path := os.environ.get("MINIGRAD_CACHE"):
        return Path(path).expanduser().absolute()
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


def read(name: str, origin: str) -> bytes | None:
    """The content of a file, if it belongs to this user, is complete, and was compiled from this text. Else None."""
    try:
        with _folder() as folder, folder.open(name, os.O_RDONLY) as file:
            data = file.read()
    except OSError:  # what prevents reading also prevents writing, which reports it
        return None
    start = len(MAGIC) + DIGEST
    payload = data[start:]
    return payload if data[:start] == MAGIC + _digest(payload, origin) else None


def write(name: str, origin: str, payload: bytes) -> None:
    """Write a file, if there is a folder for it."""
    try:
        with _folder(create=True) as folder:
            _sweep(folder)
            part = f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(8)}"
            try:
                with folder.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                    file.write(MAGIC + _digest(payload, origin) + payload)
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
    """Warn once why kernels are not kept. Called in the user's thread, where a filter may turn it into an error."""
    while _messages:
        warnings.warn(_messages.pop(0), RuntimeWarning, stacklevel=4)


def messages() -> list[str]:
    """Take the pending messages, so that another process can report them."""
    pending, _messages[:] = _messages[:], []
    return pending


def note(messages: Iterable[str]) -> None:
    """Add messages for `warn`, each once."""
    for message in messages:
        if message not in _reported:
            _reported.add(message)
            _messages.append(message)


def _note(error: OSError) -> None:
    reason = str(error.strerror or error)
    if isinstance(error.filename, str) and os.path.isabs(error.filename):
        reason = f"{error.filename} {reason}" if isinstance(error, Unsafe) else f"{error.filename}: {reason}"
    problem = "mg.compile: compiled kernels are not kept, and each process compiles them again."
    note([f"{problem} {reason}. Set MINIGRAD_CACHE to a folder of your own."])


def _digest(payload: bytes, origin: str) -> bytes:
    text = origin.encode()
    return hashlib.sha256(len(text).to_bytes(8, "big") + text + payload).digest()


class _Folder:
    """An open folder. Names of files are looked up in it, even if its path leads elsewhere by now."""

    def __init__(self, path: Path, number: int | None) -> None:
        self.path, self.number = path, number

    def _name(self, name: str) -> str:
        return name if self.number is not None else str(self.path / name)

    def open(self, name: str, flags: int) -> Any:
        """A regular file of this user, not a link or a pipe.

        Raises:
            Unsafe: it belongs to another user, or others may write to it.
        """
        number = os.open(self._name(name), flags | FLAGS, 0o600, dir_fd=self.number)
        try:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode) or (reason := _unsafe_reason(status)):
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
        with os.scandir(self.path if self.number is None else self.number) as entries:
            return [(x.name, x.stat(follow_symlinks=False).st_mtime) for x in entries if x.name.startswith(UNFINISHED)]


@contextmanager
def _folder(create: bool = False) -> Iterator[_Folder]:
    """The folder, which only this user can write into.

    Raises:
        Unsafe: others can.
        OSError: it does not exist, and could not be created.
    """
    path = location()
    if create:
        _create(path)
    if not BY_NUMBER:
        os.stat(path)
        yield _Folder(path, None)
        return
    if OWNED and path.is_symlink() and path.lstat().st_uid not in (os.geteuid(), 0):
        raise Unsafe(0, "is a link that another user made", str(path))
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if reason := _unsafe_reason(os.fstat(number)):
            raise Unsafe(0, reason, str(path))
        yield _Folder(path, number)
    finally:
        os.close(number)


def _create(path: Path) -> None:
    """Create a folder and missing ones above it, for this user only."""
    if path.is_dir():
        return
    if path.parent != path:
        _create(path.parent)
    with suppress(FileExistsError):  # another process was faster; or it is a file, which opening it reports
        path.mkdir(mode=0o700)


def _unsafe_reason(status: os.stat_result) -> str:
    """Why others may have written to it, or an empty text."""
    if not OWNED:
        return ""
    if status.st_uid != os.geteuid():
        return f"belongs to another user (number {status.st_uid})"
    if status.st_mode & 0o022:
        return f"can be written by others (mode {stat.S_IMODE(status.st_mode):o}): empty it and chmod 700 it"
    return ""


def _sweep(folder: _Folder) -> None:
    """Remove the files of processes that were killed while writing. Done once in a process."""
    if str(folder.path) in _swept:
        return
    _swept.add(str(folder.path))
    with suppress(OSError):
        for name, written in folder.names():
            if time.time() - written > OLD:
                folder.remove(name)
