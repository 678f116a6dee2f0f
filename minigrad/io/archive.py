"""Writing .npz archives, and reading untrusted ones: every size is checked before memory is allocated for it."""

from __future__ import annotations

import errno
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

TREE = "__tree__"  # the entry that describes how the arrays are nested
_PARSING = threading.Lock()
HINT = "Is it another kind of file, or was it cut off while it was copied?"


def write(file: IO[bytes], arrays: Mapping[str, Any]) -> None:
    """Write arrays as numpy.savez does. An interrupt is raised as such, not as an error of the unfinished archive."""
    archive = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
    try:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, array, allow_pickle=False)
        archive.close()
    except BaseException as error:
        archive.fp = None  # so that its deletion does not finish it
        first: BaseException | None = error
        while first is not None:
            if not isinstance(first, Exception):
                raise first from None
            first = first.__context__
        raise


class NotAFile(ValueError, OSError):
    """The path is a folder, a pipe or a device."""


class Archive:
    """The entries of an archive that `io.save` wrote. A context manager, in which every error becomes a ValueError.

    Raises:
        ValueError: on entry or inside, when the content is damaged or has another format; it names the path.
        OSError: the file cannot be opened or the disk cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.names: dict[str, zipfile.ZipInfo] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Archive:
        if not stat.S_ISREG(os.stat(self.path).st_mode):  # a pipe would block
            raise NotAFile(errno.EINVAL, "load: this is not a regular file", str(self.path))
        self._file = open(self.path, "rb")
        try:
            self._open()
        except BaseException as error:
            self.__exit__(type(error), error)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, *rest: Any) -> None:
        if self._file is not None:
            self._file.close()
        if isinstance(error, OSError) and error.errno == errno.EIO:  # the disk; other errors come from wrong offsets
            return
        if isinstance(error, MemoryError):
            raise ValueError(f"load({str(self.path)!r}): not enough memory for its arrays") from error
        if isinstance(error, Exception):
            message = str(error) or type(error).__name__
            raise ValueError(
                f"load({str(self.path)!r}): damaged, or not written by minigrad.io.save: {message}. {HINT}"
            ) from error

    def _open(self) -> None:
        """Read the directory of the archive. Entries are not compressed, so none is larger than the file."""
        assert self._file is not None
        length = os.fstat(self._file.fileno()).st_size
        self._zip = zipfile.ZipFile(self._file)
        members = self._zip.infolist()
        for info in members:
            name = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
                raise ValueError(f"its entry {name!r} is compressed or encrypted")
            if not 0 <= info.header_offset <= length - info.file_size:
                raise ValueError(f"its entry {name!r} lies outside the file")
            self.names[name] = info
        if TREE not in self.names:
            raise ValueError("it has no description of a structure")
        if len(self.names) != len(members) or sum(info.file_size for info in members) > length:
            raise ValueError("its entries overlap, or are larger than the file")
        if length > _memory():
            raise ValueError(f"its {length:,} bytes are more than the memory of this machine")

    def text(self) -> str:
        """The description of the structure, a string."""
        value = self._read(TREE, "U")
        if value.shape != ():
            raise ValueError("the description of the structure is not a string")
        return str(value)

    def array(self, name: str) -> Any:
        """The array of this name."""
        return self._read(name, "biufc")

    def _read(self, name: str, kinds: str) -> Any:
        info = self.names[name]
        with self._zip.open(info) as entry:
            version = npy.read_magic(entry)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
            if read is None:
                raise ValueError(f"the array {name!r} has the format {version}")
            shape, fortran, dtype = _header(entry, read)
            count = 1
            for size in shape:
                count *= size
            remaining = info.file_size - entry.tell()
            if dtype.kind not in kinds or min(shape, default=0) < 0 or count * dtype.itemsize != remaining:
                raise ValueError(
                    f"the array {name!r} claims shape {shape} and dtype {dtype}, which do not fit its {remaining} bytes"
                )
            array = np.empty(count, dtype)
            if remaining:
                _fill(entry, array.view(np.uint8).data)
            if entry.read(1):  # the checksum is compared at the end
                raise ValueError(f"the array {name!r} is longer than it says")
        return array.reshape(shape[::-1]).transpose() if fortran else array.reshape(shape)


def _header(entry: IO[bytes], read: Callable[[IO[bytes]], Any]) -> Any:
    """Shape, order and dtype. NumPy parses them as Python, which may raise a SystemError in two threads at a time.

    This is a defect of CPython (its issue 106905), and a second attempt succeeds.
    """
    position = entry.tell()
    for _ in range(10):
        try:
            with _PARSING:
                return read(entry)
        except SystemError:
            entry.seek(position)
    return read(entry)


def _fill(entry: IO[bytes], buffer: memoryview) -> None:
    """Fill a buffer from the entry."""
    done = 0
    while done < len(buffer):
        chunk = entry.read(min(len(buffer) - done, 1 << 24))
        if not chunk:
            raise EOFError("it ends too early")
        buffer[done : done + len(chunk)] = chunk
        done += len(chunk)


def _memory() -> float:
    """The bytes of memory of this machine, or infinity where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
