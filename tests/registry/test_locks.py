import errno
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import HubspokeError, LockedError
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.store import Registry
from sqlalchemy import make_url, text

HOLD = """
import sys
from hubspoke.errors import LockedError
from hubspoke.registry.store import Registry
with Registry(sys.argv[1]) as registry:
    try:
        with registry.lock("train garden"):
            print("held", flush=True)
            sys.stdin.readline()
    except LockedError as error:
        print(error, flush=True)
"""
NAME = "train garden"


def refuses(registry: Registry) -> bool:
    """Whether the lock is another's."""
    try:
        with registry.lock(NAME):
            return False
    except LockedError:
        return True


def test_a_lock_is_held_once_and_free_again(registry: Registry) -> None:
    with registry.lock("train garden"):
        with pytest.raises(LockedError, match=r"holds 'train garden'; wait for it to end"):
            registry.lock("train garden").__enter__()
        with registry.lock("train pets"):
            pass
    with pytest.raises(ValueError, match="stop"), registry.lock("train garden"):
        raise ValueError("stop")
    with registry.lock("train garden") as lock:  # after an error too
        lock.check()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_second_process_is_told_who_holds_it_until_that_ends(registry_url: str, start, killed: bool) -> None:
    holder = start(HOLD, registry_url)
    assert holder.stdout.readline() == "held\n"
    told = start(HOLD, registry_url).stdout.readline()
    assert re.search(rf"Process {holder.pid}\b.*holds 'train garden'", told)
    if killed:
        holder.kill()
    holder.communicate("\n")
    # The server notices the closed connection of a killed one by itself, in a moment that is not ours to choose.
    with Registry(registry_url) as registry:
        for _ in range(10_000 if killed else 1):
            try:
                with registry.lock("train garden"):
                    return
            except LockedError:
                continue
    pytest.fail("the lock outlived its process")


# ---- on SQLite: one file, by whatever path ----


@pytest.fixture
def shelf(tmp_path: Path, sqlite_template: Path) -> Path:
    """A registry's file in a folder of its own."""
    (tmp_path / "real").mkdir()
    return Path(shutil.copy(sqlite_template, tmp_path / "real" / "registry.db"))


def linked_file(path: Path) -> Path:
    (link := path.parent.parent / "elsewhere" / "shop.db").parent.mkdir()
    link.symlink_to(path)
    return link


def linked_twice(path: Path) -> Path:
    (second := path.parent.parent / "second.db").symlink_to(os.path.relpath(linked_file(path), path.parent.parent))
    return second


def linked_folder(path: Path) -> Path:
    (link := path.parent.parent / "link").symlink_to(path.parent)
    return link / path.name


def hard_link(path: Path) -> Path:
    (link := path.parent.parent / "elsewhere" / "shop.db").parent.mkdir()
    os.link(path, link)
    return link


SPELLINGS: dict[str, Callable[[Path], Path | str]] = {
    "dots": lambda path: f"{path.parent}/../{path.parent.name}/./{path.name}",
    "slashes": lambda path: f"/{path.parent}//{path.name}",
    "relative": lambda path: os.path.relpath(path),
    **{own.__name__: own for own in (linked_file, linked_twice, linked_folder, hard_link)},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_lock_is_one_by_whatever_path_the_registry_is_named(shelf: Path, spelling: str) -> None:
    other = f"sqlite:///{SPELLINGS[spelling](shelf)}"
    with Registry(f"sqlite:///{shelf}") as first, Registry(other) as second:
        with first.lock(NAME):
            assert refuses(second)
        with second.lock(NAME):
            assert refuses(first)
        assert not refuses(second)


def test_a_lock_is_one_through_a_bind_mount(shelf: Path) -> None:
    (view := shelf.parent.parent / "view").mkdir()
    try:
        subprocess.run(["mount", "--bind", shelf.parent, view], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("binding a folder to another needs the right to mount")
    try:
        mounted = f"sqlite:///{view / shelf.name}"
        with Registry(f"sqlite:///{shelf}") as first, Registry(mounted) as second, first.lock(NAME):
            assert refuses(second)
    finally:
        subprocess.run(["umount", view], check=True)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600), (0o000, 0o666)])
def test_the_umask_decides_who_may_take_a_lock(shelf: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with Registry(f"sqlite:///{shelf}") as registry, registry.lock(NAME):
            (file,) = (shelf.parent / "locks").iterdir()
            assert file.stat().st_mode & 0o777 == mode
            assert file.parent.stat().st_mode & 0o777 == 0o777 & ~umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_use_a_registry(tmp_path: Path, umask: int) -> None:
    url, before = f"sqlite:///{tmp_path / 'new' / 'registry.db'}", os.umask(umask)
    try:
        upgrade(url)
        with Registry(url) as registry:
            registry.domains.add("garden")
            modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("registry.db", "registry.db-wal", "registry.db-shm"), 0o666 & ~umask)


def test_the_lock_of_another_user_who_gives_no_right_to_write_is_replaced_where_nobody_holds_it(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def as_another(path: Any, flags: int, *mode: int) -> int:
        # Nothing is forbidden to root, under whom tests may run.
        if str(path).endswith(".lock") and flags & os.O_RDWR and Path(path).exists():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *mode)

    with Registry(f"sqlite:///{shelf}") as registry:
        with registry.lock(NAME):
            (file,) = (shelf.parent / "locks").iterdir()
            monkeypatch.setattr("hubspoke.registry.locks.os.open", as_another)
            with pytest.raises(LockedError, match=f"Process {os.getpid()} holds"):
                registry.lock(NAME).__enter__()
        before = file.stat().st_ino
        kept = file.open()  # so that its number is not given again
        with registry.lock(NAME) as lock:
            lock.check()
            assert file.stat().st_ino != before
        kept.close()
        monkeypatch.setattr(Path, "unlink", _denied)
        with pytest.raises(HubspokeError, match=r"train%20garden.lock cannot be written; give this user write access"):
            registry.lock(NAME).__enter__()


def _denied(path: Path, *_: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_as_such(
    shelf: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        Registry(f"sqlite:///{shelf}") as registry,
        pytest.raises(HubspokeError, match=r"has no file locks \(.*\); put the registry on a local disk, or in Post"),
    ):
        registry.lock(NAME).__enter__()


def test_a_full_disk_does_not_keep_a_lock_from_being_held(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with Registry(f"sqlite:///{shelf}") as registry, registry.lock(NAME) as lock:
        lock.check()
        with pytest.raises(LockedError, match="Another process holds"):
            registry.lock(NAME).__enter__()


def test_a_lock_whose_file_was_removed_is_taken_again_unless_another_did(shelf: Path) -> None:
    with Registry(f"sqlite:///{shelf}") as first, first.lock(NAME) as lock:
        shutil.rmtree(shelf.parent / "locks")
        lock.check()
        assert refuses(first)
        (file,) = (shelf.parent / "locks").iterdir()
        file.unlink()
        with file.open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            for _ in range(2):
                with pytest.raises(LockedError, match=r"lost its lock on 'train garden' \(its file was removed\), and"):
                    lock.check()


# ---- on PostgreSQL: one lock of the database, by whatever URL, until its session ends ----


@pytest.fixture
def server(postgres: Any) -> Any:
    """The server, its registry emptied in the end."""
    yield postgres
    postgres.empty_registry()


def end_sessions(server: Any) -> None:
    """End every session of the registry's database that holds an advisory lock."""
    name = make_url(server.registry_url).database
    server._execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_database d ON d.oid = database "
        f"WHERE locktype = 'advisory' AND d.datname = '{name}'"
    )


def test_a_lock_is_one_whatever_url_names_the_database(server: Any) -> None:
    url = make_url(server.registry_url)
    server._execute("CREATE ROLE second LOGIN", "GRANT pg_read_all_data TO second")
    others = [
        url.set(username="second"),
        url.set(drivername="postgres"),
        url.update_query_dict({"connect_timeout": "5"}),
    ]
    try:
        with Registry(server.registry_url) as first, first.lock(NAME):
            for other in others:
                with (
                    Registry(other.render_as_string(hide_password=False)) as second,
                    pytest.raises(LockedError, match=f"Process {os.getpid()}"),
                ):
                    second.lock(NAME).__enter__()
    finally:
        server._execute("DROP OWNED BY second", "DROP ROLE second")


def test_a_lock_lost_with_its_session_is_taken_again_unless_another_did(server: Any) -> None:
    with Registry(server.registry_url) as first, Registry(server.registry_url) as second, first.lock(NAME) as lock:
        asked: list[bool] = []
        lock.unchanged = lambda: asked.append(True)
        lock.check()
        assert asked == []  # nothing to ask while it is held
        end_sessions(server)
        lock.check()
        assert asked == [True] and refuses(second)
        end_sessions(server)
        with second.lock(NAME) as other:
            for _ in range(2):
                with pytest.raises(
                    LockedError, match=r"lost its lock on 'train garden' \(the database ended its session\), and"
                ):
                    lock.check()
            other.check()


def test_a_lock_that_its_session_does_not_hold_any_more_is_lost(server: Any) -> None:
    # As behind a pooler that gives the session of one to another: it lives, and the lock is not there.
    with Registry(server.registry_url) as registry, registry.lock(NAME) as lock:
        lock._session.execute(text("SELECT pg_advisory_unlock_all()"))  # type: ignore[attr-defined]
        with (
            Registry(server.registry_url) as second,
            second.lock(NAME),
            pytest.raises(LockedError, match="and another one has taken it"),
        ):
            lock.check()


def test_the_end_of_a_lost_session_hides_no_error(server: Any) -> None:
    with Registry(server.registry_url) as registry:
        with pytest.raises(ValueError, match="the first"), registry.lock(NAME):
            end_sessions(server)
            raise ValueError("the first")
        assert not refuses(registry)


def test_a_server_that_is_not_reached_is_no_loss_yet(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Registry(server.registry_url) as registry, registry.lock(NAME) as lock:
        end_sessions(server)
        with monkeypatch.context() as patched:
            patched.setattr(registry.database.engine.dialect, "connect", _unreached)
            with pytest.raises(HubspokeError, match="does not answer") as told:
                lock.check()
            assert not isinstance(told.value, LockedError)
        lock.check()
        assert refuses(registry)


def _unreached(*_: object, **__: object) -> None:
    import psycopg

    raise psycopg.OperationalError("connection refused")
