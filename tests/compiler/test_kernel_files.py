"""Kernels that are kept in files: machine code for a second process, which only its user may have written."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minigrad.compiler.kernels import store as kernel_store

STEP = """
import sys
import warnings
import numpy as np
import minigrad as mg

x = np.linspace(0, 1, 12).reshape(4, 3)
step = mg.compile(lambda x: (np.exp(x) * x).sum(axis=0), backend="numba", fallback="raise", audit=False)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(4):  # the last two run the program
        assert np.allclose(step(x), (np.exp(x) * x).sum(axis=0), rtol=1e-14, atol=0)
    other = mg.compile(lambda x: (np.tanh(x) * x).sum(axis=0), backend="numba", fallback="raise")
    for _ in range(2):
        other(x)
from minigrad.compiler.kernels import worker as kernel_worker
print("kernel" in step.source, bool(kernel_worker._children), "numba.np.arraymath" in sys.modules)
print([str(w.message) for w in caught if "kernels are not kept" in str(w.message)])
"""
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX")
ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")


def run(**environment: str) -> tuple[bool, list[str]]:
    """Whether kernels were compiled in a new process, and what it said about files."""
    pytest.importorskip("numba")
    command = [sys.executable, "-c", STEP]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    words, said = done.stdout.strip().split("\n")
    is_kernel, is_compiled, has_compiler = words.split()
    assert (is_kernel, has_compiler) == ("True", "False")
    return is_compiled == "True", eval(said)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is not there yet, for files of this process."""
    path = tmp_path / "a" / "b"
    monkeypatch.setenv("MINIGRAD_CACHE", str(path))
    monkeypatch.setattr(kernel_store, "_reported", set())
    monkeypatch.setattr(kernel_store, "_swept", set())
    monkeypatch.setattr(kernel_store, "_messages", [])
    yield path
    assert not kernel_store._messages, "a message that no test expects"


def said() -> str:
    """What the user would be told."""
    with pytest.warns(RuntimeWarning, match="kernels are not kept") as caught:
        kernel_store.warn()
    (message,) = caught
    return str(message.message)


def modes(path: Path) -> dict[str, str]:
    return {p.name: oct(stat.S_IMODE(p.stat().st_mode)) for p in path.rglob("*")}


def test_a_second_process_loads_machine_code_without_the_compiler(tmp_path: Path) -> None:
    environment = {"MINIGRAD_CACHE": str(tmp_path / "cache")}
    assert run(**environment) == (True, [])
    assert run(**environment) == (False, [])


@POSIX
def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run(XDG_CACHE_HOME=str(tmp_path / "x"), MINIGRAD_CACHE="")
    finally:
        os.umask(before)
    found = modes(tmp_path)
    assert {found.pop("x"), found.pop("minigrad")} == {"0o700"}
    assert found
    assert set(found.values()) == {"0o600"}
    assert {Path(name).suffix for name in found} == {".kernel"}


def test_damaged_files_are_compiled_again(tmp_path: Path) -> None:
    """Cut off, changed, exchanged: silently replaced, and right."""
    environment = {"MINIGRAD_CACHE": str(tmp_path)}
    run(**environment)
    first, second = sorted(tmp_path.iterdir())
    right = {file: file.read_bytes() for file in (first, second)}
    damages: list[Any] = [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:],
    ]
    for damage in damages:
        for file in (first, second):
            file.write_bytes(damage(right[file]))
        assert run(**environment) == (True, [])
        assert run(**environment) == (False, [])
    first.write_bytes(second.read_bytes())
    assert run(**environment) == (True, [])
    assert run(**environment) == (False, [])


def test_read_returns_what_was_written(folder: Path) -> None:
    assert kernel_store.read("k", "source") is None
    kernel_store.write("k", "source", b"code")
    assert kernel_store.read("k", "source") == b"code"
    kernel_store.write("k", "source", b"newer")
    assert kernel_store.read("k", "source") == b"newer"
    assert kernel_store.read("k", "sourc") is None
    assert kernel_store.read("k", "") is None
    data = (folder / "k").read_bytes()
    for size in range(len(data)):
        (folder / "k").write_bytes(data[:size])
        assert kernel_store.read("k", "source") is None
    for place in range(len(data)):
        (folder / "k").write_bytes(data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :])
        assert kernel_store.read("k", "source") is None
    (folder / "k").write_bytes(data)
    assert kernel_store.read("k", "source") == b"newer"


def test_a_pickle_of_another_user_is_never_loaded(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    evil = pickle.dumps("evil")
    for data in (evil, kernel_store.MAGIC + evil, kernel_store.MAGIC + b"\0" * kernel_store.DIGEST + evil):
        (folder / "k").write_bytes(data)
        (folder / "k").chmod(0o600)
        assert kernel_store.read("k", "source") is None


@POSIX
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_writable_by_others_is_refused(folder: Path, mode: int) -> None:
    kernel_store.write("k", "source", b"code")
    folder.chmod(mode)
    assert kernel_store.read("k", "source") is None
    for _ in range(2):
        kernel_store.write("m", "source", b"code")
    message = said()
    assert str(folder) in message
    assert f"mode {mode:o}" in message
    assert "chmod 700" in message
    assert "MINIGRAD_CACHE" in message
    assert not (folder / "m").exists()
    folder.chmod(0o755)
    assert kernel_store.read("k", "source") == b"code"


@ROOT
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    kernel_store.write("k", "source", b"code")
    os.chown(folder, 1234, 1234)
    assert kernel_store.read("k", "source") is None
    kernel_store.write("m", "source", b"code")
    message = said()
    assert f"{folder} belongs to another user (number 1234)" in message
    assert [p.name for p in folder.iterdir()] == ["k"]


@POSIX
def test_a_process_with_a_refused_folder_compiles_without_files(tmp_path: Path) -> None:
    """It computes the same, says so once, and leaves nothing there."""
    tmp_path.chmod(0o777)
    is_compiled, messages = run(MINIGRAD_CACHE=str(tmp_path))
    assert is_compiled
    (message,) = messages
    assert "can be written by others" in message
    assert not list(tmp_path.iterdir())


@ROOT
def test_a_file_of_another_user_is_replaced(folder: Path) -> None:
    kernel_store.write("k", "source", b"code")
    os.chown(folder / "k", 1234, 1234)
    assert kernel_store.read("k", "source") is None
    kernel_store.write("k", "source", b"code")
    assert kernel_store.read("k", "source") == b"code"
    assert (folder / "k").stat().st_uid == 0


@POSIX
def test_links_pipes_and_folders_instead_of_files(folder: Path, tmp_path: Path) -> None:
    """A file that others can write, a link, a pipe (it would wait for ever): all are replaced; a folder stays."""
    kernel_store.write("k", "source", b"code")
    (folder / "k").chmod(0o666)
    assert kernel_store.read("k", "source") is None
    (folder / "k").chmod(0o600)
    outside = tmp_path / "outside"
    (folder / "k").rename(outside)
    (folder / "k").symlink_to(outside)
    assert kernel_store.read("k", "source") is None
    kernel_store.write("k", "source", b"newer")
    assert kernel_store.read("k", "source") == b"newer"
    assert outside.read_bytes().endswith(b"code")
    (folder / "k").unlink()
    os.mkfifo(folder / "k", 0o600)
    assert kernel_store.read("k", "source") is None
    kernel_store.write("k", "source", b"code")
    assert kernel_store.read("k", "source") == b"code"
    (folder / "k").unlink()
    (folder / "k").mkdir()
    assert kernel_store.read("k", "source") is None
    kernel_store.write("k", "source", b"code")
    assert str(folder) in said()
    assert [p.name for p in folder.iterdir()] == ["k"]


@POSIX
def test_a_link_to_the_folder(folder: Path, tmp_path: Path) -> None:
    """The user's own link counts, another user's does not; nor does where it leads if that is open to others."""
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(real)
    kernel_store.write("k", "source", b"code")
    assert kernel_store.read("k", "source") == b"code"
    real.chmod(0o777)
    assert kernel_store.read("k", "source") is None
    kernel_store.write("k", "source", b"code")
    assert "written by others" in said()
    if os.geteuid() == 0:
        real.chmod(0o700)
        os.chown(folder, 1234, 1234, follow_symlinks=False)
        assert kernel_store.read("k", "source") is None
        kernel_store.write("k", "source", b"code")
        assert "a link that another user made" in said()


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/nowhere/cache"])
def test_a_folder_that_cannot_be_created(tmp_path: Path, place: str) -> None:
    if not Path(place).parent.parent.exists():
        pytest.skip("this system has no such place")
    is_compiled, messages = run(MINIGRAD_CACHE=place)
    assert is_compiled
    (message,) = messages
    assert "MINIGRAD_CACHE" in message


def test_a_user_without_home_directory(tmp_path: Path) -> None:
    home = tmp_path / "nobody"
    is_compiled, messages = run(HOME=str(home), USERPROFILE=str(home), XDG_CACHE_HOME="", MINIGRAD_CACHE="")
    assert is_compiled
    assert str(home) in messages[0]
    assert len(messages) == 1
    assert not home.exists()


def test_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, *given: Any) -> None:
            self.file = plain(*given)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[:20])
            raise OSError(28, "No space left on device")

    plain = open
    with monkeypatch.context() as patch:
        patch.setattr(kernel_store, "open", Full, raising=False)
        for _ in range(2):
            kernel_store.write("k", "source", b"code")
    assert f"{folder}: No space left on device" in said()
    assert not list(folder.iterdir())
    kernel_store.write("k", "source", b"code")
    assert kernel_store.read("k", "source") == b"code"


def test_unfinished_files_of_killed_processes_are_removed(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    old, new = folder / f"{kernel_store.UNFINISHED}1-a", folder / f"{kernel_store.UNFINISHED}2-b"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    kernel_store.write("k", "source", b"code")
    assert sorted(p.name for p in folder.iterdir()) == sorted([new.name, "k"])


def test_concurrent_writers(folder: Path) -> None:
    """A reader sees one of the contents, never a part."""
    contents = [bytes([k]) * 100_000 for k in range(4)]
    kernel_store.write("k", "source", contents[0])
    wrong: list[Any] = []

    def write(content: bytes) -> None:
        for _ in range(50):
            kernel_store.write("k", "source", content)

    writers = [threading.Thread(target=write, args=(c,)) for c in contents]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        found = kernel_store.read("k", "source")
        if found not in contents:
            wrong.append(found)
    assert not wrong
    assert [p.name for p in folder.iterdir()] == ["k"]


def test_processes_that_start_together(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    environment = os.environ | {"MINIGRAD_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", STEP], env=environment, stdout=subprocess.PIPE) for _ in range(3)
    ]
    try:
        assert [process.wait(timeout=300) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
    assert run(MINIGRAD_CACHE=str(tmp_path)) == (False, [])
    assert not list(tmp_path.glob(f"{kernel_store.UNFINISHED}*"))


def test_location_of_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("MINIGRAD_CACHE", "~/kernels")
    assert kernel_store.location() == tmp_path / "kernels"
    monkeypatch.setenv("MINIGRAD_CACHE", "")
    assert kernel_store.location() == tmp_path / ".cache" / "minigrad"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert kernel_store.location() == tmp_path / "x" / "minigrad"
