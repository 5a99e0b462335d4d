"""Files and folders appear whole or not at all, and what a killed writer left goes, but nothing else."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import HubspokeError, NotFoundError
from hubspoke.files import atomic_files, atomic_folder, atomic_path, atomic_write, file_faults, new_name
from safetensors import SafetensorError
from safetensors.numpy import save_file


@pytest.mark.parametrize("name", ["out", "out [1].v2", "*"])
def test_what_a_killed_writer_left_goes_and_nothing_else_does(tmp_path: Path, name: str) -> None:
    machine, pid, start, number = new_name().split("-")
    dead = f".{name}.{machine}-{pid}-{int(start) + 1}-{number}.tmp"  # this process's number, given again
    kept = [f".{name}.{new_name()}.tmp", f".{name}.notes.tmp", f".other.{machine}-{pid}-1-{number}.tmp", f"{name}.tmp"]
    for left in (dead, *kept):
        (tmp_path / left).touch()
        os.utime(tmp_path / left, (0, 0))
    with atomic_write(tmp_path / name) as file:
        file.write("whole")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, name}
    assert (tmp_path / name).read_text() == "whole"


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "file") as file:
        file.write("half")
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "folder") as folder:
        (folder / "half").touch()
        1 / 0  # noqa: B018
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


@pytest.mark.parametrize("name", ["file:x", "s3:x", "a%20b"])
def test_a_name_that_looks_like_a_url_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_path(Path(name)) as temporary:
        pl.DataFrame({"id": [1]}).write_csv(temporary)
    with atomic_folder(Path(f"{name}.d")) as folder:
        pl.DataFrame({"id": [2]}).write_parquet(folder / "part")
    assert (tmp_path / name).read_text() == "id\n1\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([name, f"{name}.d", "part"])


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file", "wb", private=True) as file:
        file.write(b"secret")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


# Each as the library says it on a disk without space.
FULL = {
    "python": OSError(errno.ENOSPC, "No space left on device", "x"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "polars": pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
    "polars csv": OSError("No space left on device (os error 28)"),
    "faiss": RuntimeError("Error: 'ret == (size * 4)' failed: write error in x: 4 != 9 (No space left on device)"),
}


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_a_full_disk_is_called_so_whoever_says_it(tmp_path: Path, error: Exception) -> None:
    full = pytest.raises(HubspokeError, match=r"^No space is left on the disk that holds .*; free some and")
    with full, file_faults(tmp_path):
        raise error


def test_what_is_no_fault_of_a_file_passes_and_ours_stay(tmp_path: Path) -> None:
    for error in (
        ValueError("x (os error 2)"),
        KeyError(28),
        FileNotFoundError(2, "x"),
        NotFoundError("no space left"),
    ):
        with pytest.raises(type(error)) as told, file_faults(tmp_path):
            raise error
        assert told.value is error
    for denied in (PermissionError(errno.EACCES, "x", "there"), OSError(errno.EROFS, "x", "there")):
        with (
            pytest.raises(HubspokeError, match=r"^there cannot be written; give this user write"),
            file_faults(tmp_path),
        ):
            raise denied


def test_a_limit_on_files_is_no_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for write in (
            lambda: (tmp_path / "file").write_bytes(bytes(2000)),
            lambda: save_file({"a": np.zeros(1000)}, tmp_path / "file"),
            lambda: pl.DataFrame({"a": np.arange(9000.0)}).write_parquet(tmp_path / "file"),
        ):
            limited = pytest.raises(HubspokeError, match="larger than its file system or `ulimit -f` allows")
            with limited, file_faults(tmp_path):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_use_what_is_written(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "file"), atomic_folder(tmp_path / "folder" / "inner"):
            pass
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"file": 0o666 & ~umask, "folder": 0o777 & ~umask, "inner": 0o777 & ~umask}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    (disk := tmp_path / "disk").mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk that can be filled needs the right to mount one")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_files_appear_together_in_a_folder_that_is_there_or_is_made(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("a", "other"):
        (tmp_path / "old" / name).write_text("old")
    for folder in (tmp_path / "old", tmp_path / "new" / "deep"):
        with atomic_files(folder) as temporary:
            for name in "ab":
                (temporary / name).write_text("new")
            assert sorted(path.name for path in folder.glob("[!.]*")) == (["a", "other"] if folder.exists() else [])
    read = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert read == {"old/a": "new", "old/b": "new", "old/other": "old", "new/deep/a": "new", "new/deep/b": "new"}


def test_files_of_a_block_that_fails_leave_no_folder_and_change_none(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a").write_text("old")
    for folder in (tmp_path / "old", tmp_path / "new" / "deep"):
        for error in (ValueError, KeyboardInterrupt):
            with pytest.raises(error), atomic_files(folder) as temporary:
                (temporary / "a").write_text("new")
                raise error
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["old", "old/a"]
    assert (tmp_path / "old" / "a").read_text() == "old"


TABLE = pl.DataFrame({"a": np.random.default_rng(0).random(50_000)})
WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: path.write_bytes(bytes(200_000)),
    "csv": lambda path: TABLE.write_csv(path),
    "parquet": lambda path: TABLE.write_parquet(path, compression="zstd"),
    "safetensors": lambda path: save_file({"a": TABLE["a"].to_numpy()}, path),
    "numpy": lambda path: TABLE["a"].to_numpy().tofile(path),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_disk_that_fills_leaves_nothing_half_written(small_disk: Path, write: Callable[[Path], object]) -> None:
    for writing, inner in ((atomic_path, ""), (atomic_folder, "file")):
        full = pytest.raises(HubspokeError, match=r"^No space is left on the disk that holds .*/disk; free some")
        with full, writing(small_disk / "out") as temporary:
            write(temporary / inner if inner else temporary)
        assert list(small_disk.iterdir()) == []
    for folder in (small_disk, small_disk / "new" / "deep"):
        with pytest.raises(HubspokeError, match=r"^No space is left"), atomic_files(folder) as temporary:
            (temporary / "small").write_text("x")
            write(temporary / "large")
        assert list(small_disk.iterdir()) == []
