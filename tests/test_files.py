"""Files and folders appear whole or not at all, and what a killed writer left goes, but nothing else."""

import os
from pathlib import Path

import pytest
from hubspoke.files import atomic_folder, atomic_write, new_name


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


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "file", "wb", private=True) as file:
        file.write(b"secret")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
