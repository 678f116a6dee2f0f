"""Files: replaced as a whole, and nothing that is damaged, foreign or too large is taken for a structure."""

from __future__ import annotations

import json
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import threading
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import io
from minigrad.io import atomic

TREE = {
    "w": np.arange(6.0).reshape(2, 3),
    "t": np.float32(2),
    "n": [1, (None, True, "σ")],
    7: np.asfortranarray(np.eye(2)),
}
posix = pytest.mark.skipif(os.name == "nt", reason="links and permissions of POSIX")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


def refuses(path: Path) -> str:
    with pytest.raises(ValueError, match=r"load\(") as caught:
        io.load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# Replacing


def test_roundtrip_leaves_no_other_file(tmp_path: Path) -> None:
    io.save(tmp_path / "x", TREE)
    assert same(io.load(tmp_path / "x"), TREE)
    assert os.listdir(tmp_path) == ["x"]


@posix
def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "x.npz", tmp_path / "link.npz"
    io.save(target, {"v": 1})
    target.chmod(0o640)
    link.symlink_to(target)
    io.save(link, {"v": 2})
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert io.load(target) == io.load(link) == {"v": 2}
    dangling = tmp_path / "dangling.npz"
    dangling.symlink_to(tmp_path / "real" / "new.npz")
    io.save(dangling, {"v": 3})
    assert dangling.is_symlink()
    assert io.load(tmp_path / "real" / "new.npz") == {"v": 3}


@posix
def test_new_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        io.save(tmp_path / "x", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    io.save(tmp_path / "x", TREE)

    def fill_the_disk() -> None:
        with atomic.replacing(tmp_path / "x") as file:
            file.write(b"half of it")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill_the_disk()
    assert same(io.load(tmp_path / "x"), TREE)
    assert os.listdir(tmp_path) == ["x"]


def test_the_disk_has_the_content_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    io.save(tmp_path / "x", TREE)
    assert calls[:2] == [(tmp_path / "x").stat().st_size, "rename"]
    assert calls[2:] == ([] if os.name == "nt" else ["folder"])


def test_temporary_names_are_random_and_opened_exclusively(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["00" * 8, "11" * 8])
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: next(names))
    taken = tmp_path / f".x.{'00' * 8}.tmp"
    monkeypatch.setattr(atomic, "remove_orphans", lambda target: None)
    taken.write_bytes(b"somebody else's")
    io.save(tmp_path / "x", TREE)
    assert taken.read_bytes() == b"somebody else's"
    assert same(io.load(tmp_path / "x"), TREE)


@posix
def test_the_next_save_removes_orphans_but_not_files_in_use(tmp_path: Path) -> None:
    orphan = tmp_path / f".x.{'ab' * 8}.tmp"
    orphan.write_bytes(b"half")
    other = tmp_path / f".y.{'ab' * 8}.tmp"
    other.write_bytes(b"of another file")
    with atomic.replacing(tmp_path / "x") as file:  # while this one is being written, another save comes
        (mine,) = [p for p in tmp_path.iterdir() if p.name.startswith(".x.")]
        assert mine != orphan
        io.save(tmp_path / "x", {"v": 1})
        assert mine.exists()
        file.write(b"the later one")
    assert (tmp_path / "x").read_bytes() == b"the later one"
    assert sorted(os.listdir(tmp_path)) == [other.name, "x"]


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("σ" * 120)
    io.save(path, TREE)
    assert same(io.load(path), TREE)
    assert os.listdir(tmp_path) == [path.name]


@posix
def test_only_regular_files_are_replaced_and_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(OSError, match="not a regular file"):
            io.save(path, {})
        with pytest.raises(ValueError, match="not a regular file") as caught:
            io.load(path)
        assert isinstance(caught.value, OSError)
        assert str(path) in str(caught.value)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.save(tmp_path / "nowhere" / "x", {})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.load(tmp_path / "nowhere")


def test_structures_that_cannot_be_written(tmp_path: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="contains itself"):
        io.save(tmp_path / "x", {"a": circle})
    with pytest.raises(TypeError, match="masked array"):
        io.save(tmp_path / "x", np.ma.masked_array([1.0, 2.0], [False, True]))
    for bad in (np.array([None]), np.array(["text"]), np.zeros(2, "f4,i4"), {1, 2}, b"bytes", object(), np.str_("a")):
        with pytest.raises(TypeError, match=r"\['a'\]\[0\] is"):
            io.save(tmp_path / "x", {"a": [bad]})
    assert os.listdir(tmp_path) == []


def test_many_threads_save_to_one_path(tmp_path: Path) -> None:
    path, errors, seen = tmp_path / "x", list[BaseException](), set[int]()
    io.save(path, {"who": 0, "x": np.zeros(5000)})

    def work(who: int) -> None:
        try:
            for _ in range(25):
                io.save(path, {"who": who, "x": np.full(5000, float(who))})
                found = io.load(path)
                assert (found["x"] == found["who"]).all()
                seen.add(found["who"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert os.listdir(tmp_path) == ["x"]


def test_many_processes_save_to_one_path(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\nfrom minigrad import io\nwho = int(sys.argv[2])\n"
        "for k in range(30):\n"
        "    io.save(sys.argv[1], {'who': who, 'x': np.full(20000, float(who))})\n"
        "    found = io.load(sys.argv[1])\n    assert (found['x'] == found['who']).all()"
    )
    path = tmp_path / "x"
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), str(k)]) for k in range(4)]
    assert [process.wait(120) for process in running] == [0] * 4
    assert os.listdir(tmp_path) == ["x"]


@posix
def test_a_killed_process_leaves_the_old_file_and_a_removable_orphan(tmp_path: Path) -> None:
    io.save(tmp_path / "x", TREE)
    code = (
        "import sys, os, signal\nfrom minigrad.io import atomic\n"
        "with atomic.replacing(sys.argv[1]) as file:\n    file.write(b'half')\n    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    assert same(io.load(tmp_path / "x"), TREE)
    io.save(tmp_path / "x", {"v": 2})
    assert os.listdir(tmp_path) == ["x"]


# Reading


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, bytes]:
    path = tmp_path / "x.npz"
    io.save(path, TREE)
    return path, path.read_bytes()


def is_right(path: Path) -> bool:
    """Whether the file is read as it was written; otherwise it is refused, with its name."""
    try:
        found = io.load(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise
        return False
    assert same(found, TREE)
    return True


def test_truncated_files(whole: tuple[Path, bytes]) -> None:
    path, content = whole
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refuses(path)


@pytest.mark.parametrize("change", [lambda b: b ^ 1, lambda b: 255 - b])
def test_files_with_a_changed_byte(whole: tuple[Path, bytes], change: Any) -> None:
    """Either the checksum, a size or a name is wrong, or the byte means nothing (a date, who made the archive)."""
    path, content = whole
    right = 0
    for k in range(len(content)):
        changed = bytearray(content)
        changed[k] = change(content[k])
        path.write_bytes(changed)
        right += is_right(path)
    assert right < len(content) / 4


@pytest.mark.parametrize("size", [1, 100, 4096])
def test_files_with_removed_doubled_or_overwritten_bytes(whole: tuple[Path, bytes], size: int) -> None:
    path, content = whole
    for start in range(0, len(content), max(size, 16)):
        a, b, c = content[:start], content[start : start + size], content[start + size :]
        for changed in (a + c, a + b + b + c, a + bytes(len(b)) + c, a + os.urandom(len(b)) + c):
            path.write_bytes(changed)
            is_right(path)


def described(tree: Any, **arrays: Any) -> bytes:
    """An archive as NumPy writes it, with any description."""
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=True, __tree__=np.array(json.dumps(tree)), **arrays)
    return buffer.getvalue()


def entry(header: str, data: bytes = b"", name: str = "a0.npy") -> bytes:
    """An archive with an array whose header says anything."""
    text = header.encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data
    buffer = BytesIO(described({"array": "a0"}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, array)
    return buffer.getvalue()


def written(function: Any, *arrays: Any, **named: Any) -> bytes:
    buffer = BytesIO()
    function(buffer, *arrays, **named)
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__tree__.npy", bytes(10_000_000))
    return buffer.getvalue()


def compressed() -> bytes:
    buffer = BytesIO()
    np.savez_compressed(buffer, __tree__=np.array(json.dumps({"array": "a0"})), a0=np.zeros(10**6))
    return buffer.getvalue()


def overlapping() -> bytes:
    """Many entries that all name the same bytes: small on the disk, large in memory."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__tree__.npy", BytesIO(described({"list": []})).getvalue())
        archive.writestr("a0.npy", bytes(5000))
        first = archive.filelist[-1]
        for k in range(1, 50):
            info = zipfile.ZipInfo(f"a{k}.npy")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(info, name, getattr(first, name))
            archive.filelist.append(info)
        archive._didModify = True
    return buffer.getvalue()


def pickled_array() -> bytes:
    buffer = BytesIO()
    np.save(buffer, np.array([Trap()], object), allow_pickle=True)
    return buffer.getvalue()


class Trap:
    """Unpickling it would end the test run."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


TERA = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
FOREIGN = {
    "empty": b"",
    "text": b"hello\n" * 100,
    "zeros": bytes(10_000),
    "noise": np.random.default_rng(0).bytes(10_000),
    "a pickle": pickle.dumps(Trap()),
    "a pickled array": pickled_array(),
    "pickled objects inside": described({"array": "a0"}, a0=np.array([Trap()], object)),
    "texts inside": described({"array": "a0"}, a0=np.array(["text"])),
    "records inside": described({"array": "a0"}, a0=np.zeros(2, "f4,i4")),
    "dates inside": described({"array": "a0"}, a0=np.zeros(2, "M8[s]")),
    "an array of terabytes": entry(TERA),
    "an array of more than there is": entry("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", bytes(16)),
    "an array of less than there is": entry("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", bytes(16)),
    "a product that overflows": entry(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**32}, {2**32}), }}"),
    "negative sizes": entry("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2), }", bytes(16)),
    "a header of code": entry("__import__('os')._exit(3)"),
    "a long header": entry(TERA + " " * 60_000),
    "no header": described({"array": "a0"})[:-30],
    "a bomb": bomb(),
    "compressed": compressed(),
    "overlapping entries": overlapping(),
    "another archive": written(np.savez, a=np.ones(3)),
    "an array alone": written(np.save, np.ones(3)),
    "two entries of one name": entry(TERA, name="aaaaaaaa.npy").replace(b"aaaaaaaa", b"__tree__"),
    "an array that is missing": described({"array": "a0"}),
    "an array twice": described({"list": [{"array": "a0"}] * 2}, a0=np.ones(2)),
    "an array that nothing names": described({"value": 1}, a0=np.ones(2)),
    "the description itself": described({"array": "__tree__"}),
    "no structure": described([1, 2]),
    "an unknown kind": described({"set": []}),
    "two kinds": described({"list": [], "dict": []}),
    "a value that is none": described({"value": {"x": 1}}),
    "keys that are none": described({"dict": [[[1], {"value": 1}]]}),
    "one key twice": described({"dict": [["a", {"value": 1}], ["a", {"value": 2}]]}),
    "nesting": described(json.loads('{"list": [' * 150 + "]}" * 150)),
    "a number of many digits": described({"value": 0}).replace(b"0\x00\x00\x00}", b"9\x00\x00\x00}"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_formats(name: str, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(FOREIGN[name])
    refuses(path)


def test_a_deeply_nested_description(tmp_path: Path) -> None:
    buffer = BytesIO()
    np.savez(buffer, __tree__=np.array('{"list": [' * 100_000))
    (tmp_path / "x").write_bytes(buffer.getvalue())
    refuses(tmp_path / "x")


@posix
def test_a_file_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    io.save(tmp_path / "x", {"w": np.zeros(1000)})
    monkeypatch.setattr("minigrad.io.archive._memory", lambda: 8000.0)
    assert "more than the memory" in refuses(tmp_path / "x")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 42)
    refuses(tmp_path / "sparse")


def test_headers_that_claim_terabytes_allocate_no_memory(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom minigrad import io\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
        "try:\n    io.load(sys.argv[1])\nexcept ValueError as error:\n    print('do not fit' in str(error))"
    )
    if os.name == "nt":
        pytest.skip("limits of POSIX")
    (tmp_path / "x").write_bytes(FOREIGN["an array of terabytes"])
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout == "True\n"


@posix
def test_files_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    io.save(tmp_path / "x", {})
    (tmp_path / "x").chmod(0)
    with pytest.raises(PermissionError, match="x"):
        io.load(tmp_path / "x")
    with pytest.raises(PermissionError, match="x"):
        io.save(tmp_path / "x", {})
