"""A file is opened by the path that was named, and read where nothing can be written."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hubspoke.errors import LockedError
from hubspoke.registry.database import parse_url, shown
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.sqlite import open_sqlite, sqlite_url
from hubspoke.registry.store import Registry
from hypothesis import example, given
from hypothesis import strategies as st

# What has a meaning in URLs, in patterns, in SQL and in shells.
ODD = ("a%20b", "job%2Flogin", "x%41", "q?m", "x#y", "[1]*", "a b ", "n\nl", "ü", "a@b:c", "~", "file:x?mode=ro", "'\"")


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1)


@given(NAMES.filter(lambda name: name != "."))
@example("a%20b?#[1]* \n")
def test_a_url_names_exactly_the_path_that_it_was_made_of(name: str) -> None:
    url = sqlite_url(Path("/folder") / name / "registry.db")
    assert parse_url(url).database == parse_url(shown(url)).database == f"/folder/{name}/registry.db"


@pytest.mark.parametrize("name", ODD)
def test_the_folder_that_was_named_is_the_one_that_is_used(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "registry.db"
    upgrade(sqlite_url(path))
    with Registry(shown(sqlite_url(path))) as registry:
        registry.domains.add("garden")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM domains").fetchone() == (1,)


def test_links_are_followed_before_dots(tmp_path: Path, sqlite_template: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    shutil.copy(sqlite_template, tmp_path / "far" / "registry.db")
    with Registry(sqlite_url(tmp_path / "link" / ".." / "registry.db")) as registry:
        assert registry.domains.add("garden").name == "garden"
        assert registry.database.path == tmp_path / "far" / "registry.db"


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        open_sqlite(tmp_path / "registry.db")
    assert list(tmp_path.iterdir()) == []


# ---- where nothing can be written ----

# Run with the folder as its argument, where it is mounted read-only or is full.
READ = """
import sys, pathlib
from hubspoke.errors import HubspokeError
from hubspoke.registry.query import run_sql
from hubspoke.registry.sqlite import sqlite_url
from hubspoke.registry.store import Registry
from hubspoke.registry.transfer.backup import back_up, inspect_backup

folder, copy = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
url = sqlite_url(folder / "registry.db")
try:
    opened = Registry(url)
except HubspokeError as error:
    print(error)
    sys.exit()
with opened as registry:
    print([domain.name for domain in registry.domains.list()])
    print(run_sql(registry, "SELECT name FROM domains ORDER BY name").rows)
    print(back_up(url, copy).rows["domains"], inspect_backup(copy).rows["domains"])
    try:
        registry.domains.add("late")
    except HubspokeError as error:
        print(error)
print(sorted(path.name for path in folder.iterdir()))
"""
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1" "$4"'
FULL = (
    'cp "$1"/registry.db* "$5"/ && mount -t tmpfs -o size=512k tmpfs "$1" && cp "$5"/registry.db* "$1"/ && '
    '(cat /dev/zero > "$1"/fill || true) 2>/dev/null && exec "$2" -c "$3" "$1" "$4"'
)


def mounted(script: str, folder: Path, *more: Path) -> list[str]:
    """The lines that READ writes in a mount namespace of its own, which ends with it."""
    isolated = ("unshare", "--map-root-user", "--mount") if os.geteuid() else ("unshare", "--mount")
    if shutil.which("unshare") is None or subprocess.run([*isolated, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount in a namespace of his own")
    given = (str(folder), sys.executable, READ, *map(str, more))
    done = subprocess.run([*isolated, "sh", "-c", script, "sh", *given], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def filled(tmp_path: Path, sqlite_template: Path) -> Path:
    """A folder with a registry of two domains."""
    folder = tmp_path / "shop"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "registry.db")
    with Registry(sqlite_url(folder / "registry.db")) as registry:
        registry.domains.add("garden")
        registry.domains.add("pets")
    return folder


def killed_while_open(folder: Path) -> None:
    """Leave the changes of a killed process in the log beside the database."""
    program = "import os, sys; from hubspoke.registry.store import Registry; r = Registry(sys.argv[1])\n"
    program += "r.domains.add('tools'); os._exit(0)"
    subprocess.run([sys.executable, "-c", program, shown(sqlite_url(folder / "registry.db"))], check=True)
    assert (folder / "registry.db-wal").stat().st_size > 0


def test_a_read_only_mount_answers_and_takes_nothing(filled: Path, tmp_path: Path) -> None:
    assert mounted(READ_ONLY, filled, tmp_path / "copy.db") == [
        "['garden', 'pets']",
        "(('garden',), ('pets',))",
        "2 2",
        f"{filled} cannot be written; give this user write access to it, or set another one.",
        "['registry.db']",
    ]


def test_a_read_only_mount_with_the_log_of_a_killed_process(filled: Path, tmp_path: Path) -> None:
    killed_while_open(filled)
    lines = mounted(READ_ONLY, filled, tmp_path / "copy.db")
    assert lines[:3] == ["['garden', 'pets', 'tools']", "(('garden',), ('pets',), ('tools',))", "3 3"]
    assert "cannot be written" in lines[3]


def test_a_full_disk_answers_and_is_told_to_who_writes(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "aside").mkdir()
    lines = mounted(FULL, filled, tmp_path / "copy.db", tmp_path / "aside")
    assert lines[:3] == ["['garden', 'pets']", "(('garden',), ('pets',))", "2 2"]
    assert lines[3].startswith(f"No space is left on the disk that holds {filled / 'registry.db'};")


def test_a_log_that_cannot_be_read_without_writing_is_told(filled: Path, tmp_path: Path) -> None:
    killed_while_open(filled)
    (filled / "registry.db-shm").unlink()
    told = (
        f"{filled / 'registry.db'} has changes in a file beside it that can only be read where {filled} can be written;"
    )
    assert mounted(READ_ONLY, filled, tmp_path / "copy.db")[0].startswith(told)


def test_a_file_taken_for_unchanging_is_looked_at_again(filled: Path) -> None:
    (filled / "registry.db-wal").mkdir()  # keeps even root from making the log
    with Registry(sqlite_url(filled / "registry.db")) as reader:
        assert [domain.name for domain in reader.domains.list()] == ["garden", "pets"]
        with pytest.raises(LockedError, match=r"changed .* while it was read"), reader.database.read() as session:
            session.connection()
            (filled / "registry.db-wal").rmdir()
            with Registry(sqlite_url(filled / "registry.db")) as writer:
                writer.domains.add("tools")
        assert [domain.name for domain in reader.domains.list()] == ["garden", "pets", "tools"]
        assert reader.domains.add("books").name == "books"
