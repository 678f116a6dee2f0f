"""Files that are replaced atomically: at every moment the path holds the old content or the new one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

# Windows has no fcntl. An open file cannot be removed there, so no lock is needed.
fcntl: Any = importlib.import_module("fcntl") if find_spec("fcntl") else None

MAX_NAME = 150  # bytes of a name that temporary files repeat; most file systems allow 255


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a new file that replaces `path` when the block ends without an error.

    The content is written to a temporary file in the same folder, flushed to the disk (fsync) and renamed. A symbolic
    link stays a link, and its target is replaced; an existing file keeps its permissions and, where the system allows
    it, its owner. Temporary files of killed processes are removed.

    Raises:
        OSError: the folder or the file cannot be written, or the path is not a regular file. Nothing is changed.
    """
    target = Path(os.path.realpath(os.fspath(path)))
    present = _status(target)
    remove_orphans(target)
    file, temporary = _temporary(target)
    try:
        with file:
            if present is not None:
                _keep_permissions(file.fileno(), present)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # Windows does not rename what is open
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _status(target: Path) -> os.stat_result | None:
    """The status of a regular file that may be written, or None if there is no file."""
    try:
        present = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(present.st_mode):
        kind = errno.EISDIR if stat.S_ISDIR(present.st_mode) else errno.EINVAL
        raise OSError(kind, "save: this is not a regular file, so it is not replaced", str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "save: the file may not be written", str(target))
    return present


def _temporary(target: Path) -> tuple[IO[bytes], Path]:
    """A new file next to the target, locked as long as it is open."""
    while True:
        path = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}.tmp")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            continue
        except OSError as error:
            raise type(error)(error.errno, f"save: {error.strerror}", str(target)) from None
        file = os.fdopen(descriptor, "w+b")
        if _locked(descriptor, wait=True) is not False and (fcntl is None or os.fstat(descriptor).st_nlink):
            return file, path
        file.close()  # another process removed it as an orphan before it was locked


def _prefix(target: Path) -> str:
    """The beginning of the names of the target's temporary files."""
    name = target.name
    if len(os.fsencode(name)) > MAX_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}."


def remove_orphans(target: Path) -> None:
    """Remove temporary files of this target whose process has ended, which released their locks."""
    pattern = re.compile(re.escape(_prefix(target)) + r"[0-9a-f]{16}\.tmp")
    try:
        names = [name for name in os.listdir(target.parent) if pattern.fullmatch(name)]
    except OSError:
        return
    for name in names:
        path = target.with_name(name)
        with contextlib.suppress(OSError):
            if fcntl is None:
                path.unlink()
                continue
            descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _locked(descriptor, wait=False):
                    path.unlink()
            finally:
                os.close(descriptor)


def _locked(descriptor: int, wait: bool) -> bool | None:
    """Lock a file against other processes and threads. Returns whether that worked, or None without locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks: orphans stay
        return None
    return True


def _keep_permissions(descriptor: int, present: os.stat_result) -> None:
    if not hasattr(os, "fchmod"):
        return
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (present.st_uid, present.st_gid):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, present.st_uid, present.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(present.st_mode))


def _sync_folder(folder: Path) -> None:
    """Flush the new name to the disk."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some file systems cannot
        descriptor: Any = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
